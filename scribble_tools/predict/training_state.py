"""How far the training of a fold has come, by the files in its folder, and how to go on with it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from scribble_tools.json_files import read_json

FINAL = "checkpoint_final.pth"
CHECKPOINTS = (FINAL, "checkpoint_best.pth", "checkpoint_latest.pth")
LOGS = "training_log_*.txt"
NAMED_DEVICES = ("cpu", "mps")  # nnUNetv2_train takes CUDA where none is said


def has_checkpoint(fold: Path) -> bool:
    """Whether the training of a fold has saved anything."""
    return any((fold / name).is_file() for name in CHECKPOINTS)


def has_begun(fold: Path) -> bool:
    """Whether a fold has a training's log, and no checkpoint yet."""
    return not has_checkpoint(fold) and any(fold.glob(LOGS))


def begun_in_words(folds: Sequence[Path]) -> str:
    """What to do about folds that `has_begun` is true of."""
    numbers = ", ".join(fold.name.removeprefix("fold_") for fold in folds)
    log = max(folds[0].glob(LOGS), key=lambda path: path.stat().st_mtime)
    command = train_command(folds[0]) or "nnUNetv2_train ..."
    return (
        f"A training of fold {numbers} was begun or refused, and has saved no checkpoint: the end "
        f"of {log} says which. If it runs, the first checkpoint comes with the end of its first "
        f"epoch, unless checkpoints are switched off. Otherwise train with: {command}"
    )


def go_on_in_words(fold: Path) -> str:
    """How a training goes on that was killed, if it was: nobody knows that from its files."""
    command = train_command(fold, "--c") or "nnUNetv2_train ... --c"
    return f"If it no longer runs, go on with: {command}"


def train_command(fold: Path, *options: str) -> str:
    """The command that trains a fold, to be pasted; empty where its folders' names do not tell."""
    fold = fold.absolute()
    names = fold.parent.name.split("__")
    dataset = fold.parent.parent.name
    if len(names) != 3 or not re.match(r"Dataset\d{3}_", dataset):
        return ""
    trainer, plans, configuration = names
    number = fold.name.removeprefix("fold_")
    words = ["nnUNetv2_train", dataset, configuration, number, "-tr", trainer, "-p", plans]
    device = _device(fold)
    words += ["-device", device] if device in NAMED_DEVICES else []
    return shlex.join([*words, *options])


def _device(fold: Path) -> object:
    """The device that nnU-Net noted."""
    try:
        noted = read_json(fold / "debug.json")
    except (OSError, ValueError):
        return None
    return noted.get("device") if isinstance(noted, dict) else None
