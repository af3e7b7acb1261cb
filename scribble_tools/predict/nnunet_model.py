"""A trained model as nnU-Net's own predictor runs it: labels and probabilities, case by case.

nnU-Net and torch are imported when a model is opened, not before: they take seconds.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scribble_tools.predict.training_state import CHECKPOINTS, begun_in_words, has_begun
from scribble_tools.predict.verify import verify_model

NEEDED = ("dataset.json", "plans.json")


@dataclass(frozen=True)
class TrainedModel:
    """Where a model's folds lie.

    Attributes:
        folder: ``TRAINER__PLANS__CONFIGURATION``, as nnU-Net's training leaves it.
        folds: such as ``("0", "1")``, or ``("all",)``.
        checkpoint: file name in every fold.
    """

    folder: Path
    folds: tuple[str, ...]
    checkpoint: str


@dataclass(frozen=True)
class CasePrediction:
    """What a model says of one case, on the grid of its image; of a 2D picture z is 1.

    Attributes:
        labels: (z, y, x) as in dataset.json.
        probabilities: (classes, z, y, x) float32, background first; of regions (regions, z, y, x),
            each for itself.
    """

    labels: np.ndarray
    probabilities: np.ndarray


def find_model(
    folder: Path, folds: Sequence[str] | None = None, checkpoint: str | None = None
) -> TrainedModel:
    """Find what there is to predict with.

    Args:
        folder: a model's folder, or one of its folds.
        folds: default: all that are trained; ``all`` only if there is no other.
        checkpoint: default: the first of `CHECKPOINTS` that all of the folds have.

    Raises:
        FileNotFoundError: no such folder, or files are missing; all of them are named. Or a
            training has begun and has no checkpoint yet.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    if folder.name.startswith("fold_"):
        folds = folds or [folder.name.removeprefix("fold_")]
        folder = folder.absolute().parent
    names = CHECKPOINTS if checkpoint is None else (checkpoint,)
    if folds is None:
        having = {
            path.name.removeprefix("fold_")
            for path in folder.glob("fold_*")
            if any((path / name).is_file() for name in names)
        }
        folds = sorted(having - {"all"}) or sorted(having)
    missing = [str(folder / name) for name in NEEDED if not (folder / name).is_file()]
    if not folds:
        missing.append(f"{folder}/fold_X/{names[0]}")
    for name in names:
        lacking = [f for f in folds if not (folder / f"fold_{f}" / name).is_file()]
        if folds and not lacking:
            break
    else:
        missing += [f"{folder}/fold_{fold}/{names[0]}" for fold in folds]
    if missing:
        asked = [folder / f"fold_{fold}" for fold in folds] or sorted(folder.glob("fold_*"))
        if begun := [fold for fold in asked if has_begun(fold)]:
            raise FileNotFoundError(f"no trained model in {folder}. {begun_in_words(begun)}")
        raise FileNotFoundError(
            f"no trained model in {folder}; there is no {', no '.join(missing)}. Give the folder "
            "that nnUNetv2_train wrote, nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION"
        )
    return TrainedModel(folder, tuple(folds), name)


def choose_device(name: str | None = None) -> str:
    """``cuda``, ``mps`` or ``cpu``: the one asked for, or the fastest that torch has."""
    import torch

    if name is not None:
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextlib.contextmanager
def _in_words(folder: Path, what: str, remedy: str) -> Iterator[None]:
    """What nnU-Net raises where a model's files say what they should not, as a ValueError.

    It looks at single values of plans and checkpoints while it uses them, so that it may be
    anything.
    """
    try:
        yield
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{folder} cannot {what} ({reason}). {remedy}") from error


class NNUNetModel:
    """A model opened for prediction.

    Args:
        model: see `find_model`.
        device: of torch; default: see `choose_device`.
        mirroring: average over mirrored copies, as nnU-Net does unless told not to.
        step_size: of the sliding window, as a share of the patch.

    Raises:
        ValueError: the model holds more than plain data (nnU-Net would execute it), its trainer is
            not installed, or it is a cascade's second stage.
    """

    def __init__(
        self,
        model: TrainedModel,
        device: str | None = None,
        mirroring: bool = True,
        step_size: float = 0.5,
    ) -> None:
        verify_model(model.folder)
        import torch
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        self.model = model
        device = choose_device(device)
        with contextlib.redirect_stdout(io.StringIO()):  # it talks about devices
            self._predictor: Any = nnUNetPredictor(
                tile_step_size=step_size,
                use_mirroring=mirroring,
                perform_everything_on_device=device == "cuda",
                device=torch.device(device),
                allow_tqdm=False,
            )
        remedy = "Are plans and checkpoint as they were, and its trainer's package installed here?"
        with _in_words(model.folder, "be opened by nnU-Net", remedy):
            self._predictor.initialize_from_trained_model_folder(
                str(model.folder), model.folds, model.checkpoint
            )
        if previous := self._predictor.configuration_manager.previous_stage_name:
            raise ValueError(
                f"{model.folder} needs the predictions of {previous}: give that model instead"
            )
        self._weights = list(self._predictor.list_of_parameters)

    @property
    def channels(self) -> int:
        """How many channels the model wants."""
        return len(self._predictor.dataset_json["channel_names"])

    @property
    def region_values(self) -> list[int] | None:
        """The label that each region writes, in the order of the probabilities; else None."""
        labels = self._predictor.label_manager
        return [int(v) for v in labels.regions_class_order] if labels.has_regions else None

    @property
    def mirror_axes(self) -> tuple[int, ...]:
        """Spatial axes of the network's input along which training mirrored."""
        return tuple(self._predictor.allowed_mirroring_axes or ())

    def predict(self, files: Sequence[Path]) -> CasePrediction:
        """Predict one case with all folds.

        Args:
            files: a file per channel, of the format that the model was trained on.
        """
        with self._used_for(files):
            data, properties = self._preprocess(files)
            return self._on_image(self._logits(data, self._weights), properties)

    def _used_for(self, files: Sequence[Path]) -> contextlib.AbstractContextManager[None]:
        what = f"be used for {files[0].name}"
        return _in_words(self.model.folder, what, "Do its plans, checkpoint and images fit?")

    def predict_members(self, files: Sequence[Path]) -> Iterator[CasePrediction]:
        """Predict one case with every fold, each as it is and mirrored along every allowed axis.

        Where they differ the model is unsure, whatever each of them says. The mean of their
        probabilities is about what `predict` gives.
        """
        import torch

        with self._used_for(files):
            data, properties = self._preprocess(files)
        first = data.ndim - len(self._predictor.configuration_manager.patch_size)
        use_mirroring, self._predictor.use_mirroring = self._predictor.use_mirroring, False
        try:
            for weights in self._weights:
                for axis in (None, *(self.mirror_axes if use_mirroring else ())):
                    flips = [] if axis is None else [first + axis]
                    with self._used_for(files):
                        logits = self._logits(torch.flip(data, flips), [weights])
                        member = self._on_image(torch.flip(logits, flips), properties)
                    yield member
        finally:
            self._predictor.use_mirroring = use_mirroring

    def _preprocess(self, files: Sequence[Path]) -> tuple[Any, dict]:
        import torch

        predictor = self._predictor
        preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case(
            [str(path) for path in files],
            None,
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.dataset_json,
        )
        return torch.from_numpy(data).to(torch.float32), properties

    def _logits(self, data: Any, weights: Sequence[dict]) -> Any:
        self._predictor.list_of_parameters = weights
        return self._predictor.predict_logits_from_preprocessed_data(data).cpu()

    def _on_image(self, logits: Any, properties: dict) -> CasePrediction:
        from nnunetv2.inference.export_prediction import (
            convert_predicted_logits_to_segmentation_with_correct_shape as on_image,
        )

        predictor = self._predictor
        labels, probabilities = on_image(
            logits,
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.label_manager,
            properties,
            return_probabilities=True,
        )
        return CasePrediction(labels, probabilities.astype(np.float32, copy=False))
