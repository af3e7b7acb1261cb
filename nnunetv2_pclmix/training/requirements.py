"""What a training cannot do without, said before it begins."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn

from nnunetv2_pclmix.method.global_mean import world_size
from scribble_tools.dataset.preprocessed_plans import preprocess_command
from scribble_tools.subcommands import NOT_HERE

HOOKS = (
    "initialize",
    "on_train_start",
    "get_tr_and_val_datasets",
    "on_train_epoch_start",
    "train_step",
    "on_train_epoch_end",
    "load_checkpoint",
)
"""Methods of our trainer without which something else would be trained, in silence."""


class CannotTrain(RuntimeError):
    """What the user can mend before a training; the message says how."""


def refuse_unsupported(what: str, problems: Sequence[str]) -> None:
    """Raise all problems of a training at once.

    Args:
        what: which training.

    Raises:
        CannotTrain: there are problems.
    """
    if problems:
        raise CannotTrain("\n- ".join((f"{what}:", *problems)))


def unsupported(
    labels: Mapping[str, Any],
    has_ignore_label: bool,
    device: torch.device,
    batch_size: int,
    batch_dice: bool,
    preprocessed: str | None = None,
) -> list[str]:
    """All that keeps us from training, a sentence with its remedy each.

    Args:
        labels: of dataset.json.
        batch_size, batch_dice: of the planned configuration.
        preprocessed: folder of the preprocessed cases.
    """
    problems = [] if os.name == "posix" else [NOT_HERE]
    if preprocessed is not None and not any(Path(preprocessed).glob("*")):
        problems.append(
            f"there are no preprocessed cases in {preprocessed}. Run: "
            f"{preprocess_command(Path(preprocessed).parent, Path(preprocessed).name)}"
        )
    if not has_ignore_label:
        problems.append(
            f"dataset.json has no 'ignore' label (labels: {labels}): "
            "scribbles need it for what is not annotated; it must be the highest label. Add "
            "it to the raw data set and run nnUNetv2_plan_and_preprocess again"
        )
    if device.type == "cuda" and not torch.cuda.is_available():
        problems.append(
            "torch sees no GPU, and nnU-Net's default is -device cuda. Without one: reduced "
            "plans (nnunetv2_pclmix small-plans -h) and -device cpu; with one, nnunetv2_pclmix "
            "doctor says what torch sees"
        )
    values = [value for value in labels.values() if isinstance(value, int)]
    if len(values) == len(labels) and sorted(values) != [*range(len(values))]:
        problems.append(
            f"the labels of dataset.json are {', '.join(map(str, sorted(values)))}: nnU-Net needs "
            "0, 1, 2, ... without gaps, of which 'ignore' is the highest. Change the values in the "
            "raw data set's labels, and run nnUNetv2_plan_and_preprocess again"
        )
    processes = world_size()
    # nnU-Net's Dice gathers tensors of all processes as if they were of one shape
    if batch_dice and batch_size % processes:
        problems.append(
            f"the planned batch of {batch_size} cannot be shared equally by {processes} processes, "
            "as nnU-Net's Dice of the batch needs it: take a number of GPUs that divides "
            f"{batch_size}, or plans with another batch size (nnunetv2_pclmix small-plans -h)"
        )
    return problems


def replaced_hooks(trainer: type, ours: type) -> list[str]:
    """Which classes, named before ours, would take something away from it, a sentence each.

    nnU-Net's variants that call ``super()`` add to what comes after them; others replace it.

    Args:
        trainer: the class that trains.
        ours: the one whose hooks training cannot do without.
    """
    problems = []
    for name in HOOKS:
        owner = next(cls for cls in trainer.__mro__ if name in vars(cls))
        asks_ours = "super" in vars(owner)[name].__code__.co_names
        if not (issubclass(owner, ours) or asks_ours):
            problems.append(
                f"{owner.__name__} replaces {name} of {ours.__name__}, which training needs: name "
                f"{owner.__name__} after it among the bases of {trainer.__name__}"
            )
    return problems


def levels_and_dice(loss: nn.Module, deep_supervision: bool) -> tuple[Sequence[float], nn.Module]:
    """Weights of the levels, and the Dice, of nnU-Net's own loss; training takes its settings.

    That loss stays in use for validation, so that its numbers compare with the stock trainer's; its
    weights are used in training as they are.

    Raises:
        RuntimeError: the plans have so few stages that nnU-Net's loss is not finite, or its Dice is
            none that training can compute.
    """
    dice = getattr(loss.loss if deep_supervision else loss, "dc", None)
    dice = getattr(dice, "_orig_mod", dice)  # nnU-Net compiles it
    if type(dice) is not MemoryEfficientSoftDiceLoss:
        raise RuntimeError(
            f"the loss' Dice, dc, is {type(dice).__name__}. Training computes that of nnU-Net's "
            "MemoryEfficientSoftDiceLoss itself: take a _build_loss that has it"
        )
    if not deep_supervision:
        return [1.0], dice
    levels = loss.weight_factors
    if not np.isfinite(levels).all():
        raise RuntimeError(
            f"the plans have {len(levels) + 1} stages, of which nnU-Net's deep supervision "
            "makes no finite loss: use plans with at least 3"
        )
    return levels, dice
