"""Which trained model is meant, for all commands that predict."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from scribble_tools.dataset.origin import dataset_of_model, is_dataset_name
from scribble_tools.dataset.raw import FILE, read_label_set
from scribble_tools.dataset.writing import find_dataset
from scribble_tools.predict.nnunet_model import TrainedModel, find_model
from scribble_tools.predict.training_state import FINAL, go_on_in_words, has_checkpoint
from scribble_tools.predict.unfinished import unfinished_in_words
from scribble_tools.wording import some_of

# what to train where nothing is trained yet
FIRST = "2d 0 -tr nnUNetTrainerStrokeSupport (3d_fullres where voxels are nearly cubes)"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `find_model_of` asks for, besides the data set, and where the model is to run."""
    parser.add_argument(
        "--model",
        type=Path,
        help="folder that nnUNetv2_train wrote, or its name among the data set's models (default: "
        "the only one)",
    )
    parser.add_argument("--fold", nargs="+", dest="folds", help="default: all that are trained")
    parser.add_argument(
        "--device", choices=("cpu", "cuda", "mps"), help="default: the fastest there is"
    )


def find_model_of(
    dataset: str | None, model: Path | None, folds: Sequence[str] | None = None
) -> TrainedModel:
    """What there is to predict with in the folder that `find_model_folder` finds."""
    return find_model(find_model_folder(dataset, model), folds)


def find_model_folder(dataset: str | None, model: Path | None, option: str = "--model") -> Path:
    """The folder of a model: itself, or of that name among a data set's in nnUNet_results.

    Args:
        dataset: id or full name; needed where ``model`` is no folder.
        model: default: the data set's only one that has a checkpoint.
        option: that names the model.

    Raises:
        FileNotFoundError: there is none, or several and none is named; all are listed.
        ValueError: nnUNet_results is needed and not set.
    """
    if model is not None and model.is_dir():
        return model
    results = os.environ.get("nnUNet_results")
    if dataset is None or (model is not None and model.name != str(model)):
        raise FileNotFoundError(f"{model} is not a folder{_models_beside(model)}")
    if not results:
        raise ValueError(f"nnUNet_results is not set: give the folder of the model with {option}")
    train = f". Train one first, such as: nnUNetv2_train {shlex.quote(Path(dataset).name)} {FIRST}"
    try:
        root = find_dataset(Path(results), Path(dataset).name)
    except FileNotFoundError as error:  # nnU-Net makes the folders with the first training
        there = Path(results).is_dir()
        said = str(error) if there else f"nnUNet_results is {results}, which is no folder yet"
        raise FileNotFoundError(f"no model: {said}{train}") from None
    there = sorted(path.name for path in root.iterdir() if any(path.glob("fold_*")))
    if model is None:  # those that a training has only begun if there are no others
        named = [name for name in there if _is_saved(root / name)] or there
    else:
        named = [name for name in there if name == str(model)]
    if len(named) != 1:
        lines = [f"\n  {option} {name}{_remark(root / name)}" for name in there]
        listed = "".join(lines) or "\n  none at all"
        what = "several models" if model is None and there else f"no model {model or ''}".rstrip()
        raise FileNotFoundError(f"{root} has {what}. There are:{listed}{train * (not there)}")
    return root / named[0]


def _models_beside(model: Path | None) -> str:
    """The models of the folder that one was looked for in, if it is there."""
    above = model.parent if model else Path()
    if model is None or not above.is_dir():
        return ""
    there = sorted(path.name for path in above.iterdir() if any(path.glob("fold_*")))
    return f"; in {above} there are {some_of(there)}" * bool(there)


def _is_saved(model: Path) -> bool:
    return any(map(has_checkpoint, model.glob("fold_*")))


def _remark(model: Path) -> str:
    """Which folds' training has not ended, as a comment behind what is to be pasted."""
    if not _is_saved(model):
        return "  # no checkpoint yet"
    folds = sorted(fold for fold in model.glob("fold_*") if not (fold / FINAL).is_file())
    numbers = ", ".join(fold.name.removeprefix("fold_") for fold in folds)
    return f"  # not finished: fold {numbers}" if numbers else ""


def model_in_words(model: TrainedModel) -> str:
    """The model, its folds and the checkpoint, on one line; others warn of unfinished folds."""
    line = f"model: {model.folder}, fold {', '.join(model.folds)}, {model.checkpoint}"
    if unfinished := unfinished_in_words(model):
        line += f"\nwarning: the training is not finished. Used: {unfinished}"
        ended = [f for f in model.folds if (model.folder / f"fold_{f}" / FINAL).is_file()]
        line += f". Finished: --fold {' '.join(ended)}" if ended else ""
        others = [model.folder / f"fold_{f}" for f in model.folds if f not in ended]
        line += "".join(f"\n{go_on_in_words(fold)}" for fold in others)
    return line


def other_dataset_in_words(model: Path, dataset: Path) -> str:
    """Where a model lies among those of another data set than the one that is meant; or nothing."""
    theirs = dataset_of_model(model)
    if not theirs or theirs == dataset.name or not is_dataset_name(dataset.name):
        return ""
    return f"the model {model} is of {theirs}, but --dataset is {dataset.name}"


def refuse_other_classes(model: Path, dataset: Path) -> None:
    """Refuse a model that tells other classes apart than a raw data set has.

    Raises:
        ValueError: their dataset.json name others, or other values.
        OSError: one of them is missing.
    """
    own, theirs = (read_label_set(folder / FILE).classes for folder in (dataset, model))
    if own != theirs:
        where = other_dataset_in_words(model, dataset)
        raise ValueError(
            f"{model / FILE} has other classes ({_listed(theirs)}) than {dataset / FILE} "
            f"({_listed(own)}){': ' * bool(where)}{where}. Say a model that was trained on "
            f"{dataset.name} as it is, or the --dataset of the model"
        )


def _listed(classes: Mapping[str, Sequence[int]]) -> str:
    return " ".join(f"{name}={','.join(map(str, values))}" for name, values in classes.items())
