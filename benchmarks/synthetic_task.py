"""A drawn data set with plans of chosen sizes, and nnU-Net's trainers on it: no data needed."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from in_threads import pools_of_threads
from torch import Tensor

from nnunetv2_pclmix.discovery import register

DATASET_ID = 999


@dataclass(frozen=True)
class Plan:
    """What decides how long a step takes: configuration, patch, batch and channels per stage."""

    configuration: str
    patch: tuple[int, ...]
    batch: int
    features: tuple[int, ...]


# "planned" is what nnU-Net plans: ACDC 2d and hippocampus 3d_fullres as it does for an 8 GB card,
# and its usual largest cube. "reduced" is what a CPU steps through in seconds, "tiny" is for tests.
PLANS = {
    "planned": {
        "acdc_2d": Plan("2d", (256, 224), 56, (32, 64, 128, 256, 512, 512)),
        "hippocampus_3d": Plan("3d_fullres", (40, 56, 40), 7, (32, 64, 128, 256)),
        "large_3d": Plan("3d_fullres", (128, 128, 128), 2, (32, 64, 128, 256, 320, 320)),
    },
    "reduced": {
        "acdc_2d": Plan("2d", (144, 144), 12, (16, 32, 64, 128, 128)),
        "acdc_2d_wide": Plan("2d", (144, 144), 2, (32, 64, 128, 256, 512)),
        "hippocampus_3d": Plan("3d_fullres", (40, 56, 40), 2, (16, 32, 64, 128)),
        "large_3d": Plan("3d_fullres", (64, 64, 64), 2, (16, 32, 64, 128, 160)),
    },
    "tiny": {
        "acdc_2d": Plan("2d", (32, 32), 2, (8, 16, 32)),
        "hippocampus_3d": Plan("3d_fullres", (16, 16, 16), 2, (8, 16, 32)),
    },
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what nnU-Net prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _settings(plan: Plan) -> dict[str, Any]:
    """What a configuration of nnU-Net's plans says about the sizes."""
    axes, stages = len(plan.patch), len(plan.features)
    return {
        "n_stages": stages,
        "features_per_stage": list(plan.features),
        "kernel_sizes": [[3] * axes] * stages,
        "strides": [[1] * axes] + [[2] * axes] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }


def write_task(root: Path, plans: dict[str, Plan], patients: int = 4) -> None:
    """Draw, plan and preprocess a data set below ``root``, and write the plans named in ``plans``.

    nnU-Net's three folders lie in ``root`` from then on, in this process and those it starts.
    """
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (root / name).mkdir(parents=True)
        os.environ[name] = str(root / name)
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiments, preprocess

    from scribble_tools.demo.command import make_demo_data

    raw = make_demo_data(root / "nnUNet_raw", DATASET_ID, patients, test_patients=0)
    configurations = sorted({plan.configuration for plan in plans.values()})
    with quiet(), contextlib.redirect_stderr(io.StringIO()), pools_of_threads():
        fingerprint = DatasetFingerprintExtractor(DATASET_ID, num_processes=1)
        fingerprint.num_foreground_voxels_for_intensitystats = 1e4  # 1e8 take half a minute
        fingerprint.run()
        plan_experiments([DATASET_ID])
        preprocess(
            [DATASET_ID], configurations=configurations, num_processes=[1] * len(configurations)
        )
    folder = root / "nnUNet_preprocessed" / raw.name
    planned = json.loads((folder / "nnUNetPlans.json").read_text())
    for name, plan in plans.items():
        content = deepcopy(planned)
        configuration = content["configurations"][plan.configuration]
        configuration.update(patch_size=list(plan.patch), batch_size=plan.batch)
        configuration["architecture"]["arch_kwargs"].update(_settings(plan))
        content.update(plans_name=name, configurations={plan.configuration: configuration})
        (folder / f"{name}.json").write_text(json.dumps(content))


def make_trainer(name: str, plan: str, device: torch.device) -> Any:
    """A trainer on plans that `write_task` wrote; not initialised.

    Args:
        name: of the trainer; ``NAME:SETTING=VALUE,...`` changes settings of PCLMixConfig.
    """
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    name, _, settings = name.partition(":")
    register()  # also where the package is not installed, only on the path
    with quiet():
        cls = recursive_find_trainer_class_by_name(name)
    if settings:
        pairs = (item.split("=") for item in settings.split(","))
        values = {key: ast.literal_eval(value) for key, value in pairs}
        # the name is part of the results folder's
        name = "_".join((name, *(f"{key}_{value}" for key, value in values.items())))
        cls = type(name, (cls,), {"config": replace(cls.config, **values)})
    (folder,) = Path(os.environ["nnUNet_preprocessed"]).glob(f"Dataset{DATASET_ID}_*")
    plans = json.loads((folder / f"{plan}.json").read_text())
    (configuration,) = plans["configurations"]
    dataset = json.loads((folder / "dataset.json").read_text())
    with quiet():
        trainer = cls({**plans, "continue_training": False}, configuration, 0, dataset, device)
    trainer.print_to_log_file = lambda *_, **__: None
    return trainer


def random_batch(trainer: Any, annotated: float = 0.01) -> dict[str, Tensor | list[Tensor]]:
    """A batch as nnU-Net's loader makes it: noise, and labels on a share of the voxels."""
    sizes = trainer.configuration_manager
    shape = (sizes.batch_size, 1, *sizes.patch_size)
    ignore = trainer.label_manager.ignore_label
    target = torch.randint(0, ignore, shape, dtype=torch.int16)
    target.masked_fill_(torch.rand(shape) > annotated, ignore)
    scales = trainer._get_deep_supervision_scales()
    steps = [[round(1 / s) for s in scale] for scale in scales]
    targets = [target[(..., *(slice(None, None, s) for s in step))] for step in steps]
    return {"data": torch.randn(shape), "target": [t.contiguous() for t in targets]}
