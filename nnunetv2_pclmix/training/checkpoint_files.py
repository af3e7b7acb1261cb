"""Checkpoint files that a kill at any moment leaves whole: the latest, and the one before it."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from scribble_tools.trust.checkpoint import load_checkpoint

LATEST = "checkpoint_latest.pth"
PREVIOUS = "checkpoint_previous.pth"
FINAL = "checkpoint_final.pth"


def save_whole(checkpoint: dict, filename: str) -> None:
    """Write a checkpoint beside its place and move it there; a latest one it replaces is kept.

    The old file gets a second name before it loses its own, so that there is a latest one at any
    moment: without it nnU-Net goes on from the best one, which may be much older.
    """
    torch.save(checkpoint, f"{filename}.part")
    if os.path.basename(filename) != LATEST or not os.path.isfile(filename):
        os.replace(f"{filename}.part", filename)
        return
    previous = os.path.join(os.path.dirname(filename), PREVIOUS)
    with contextlib.suppress(FileNotFoundError):
        os.remove(f"{previous}.part")
    try:
        os.link(filename, f"{previous}.part")
    except OSError:  # not every file system has hard links
        shutil.copyfile(filename, f"{previous}.part")
    os.replace(f"{filename}.part", filename)
    os.replace(f"{previous}.part", previous)


def read_plain(filename: str, warn: Callable[[str], None]) -> tuple[str, dict]:
    """Read a checkpoint that holds plain data only; for a broken latest one, the one before it.

    Returns:
        The file that was read, and its content, on the CPU.

    Raises:
        RuntimeError: the file is broken or holds more than plain data, and there is none before it.
    """
    try:
        return filename, load_checkpoint(Path(filename))
    except (OSError, ValueError) as error:
        previous = os.path.join(os.path.dirname(filename), PREVIOUS)
        if os.path.basename(filename) != LATEST or not os.path.isfile(previous):
            raise RuntimeError(
                f"{filename} cannot be read ({error}). Without it, and without {LATEST}, --c "
                "goes on from checkpoint_best.pth"
            ) from None
        warn(f"WARNING: {filename} cannot be read ({error}); going on from {previous}")
        return read_plain(previous, warn)


def remove_leftovers(folder: Path) -> None:
    """Remove what a finished training has no use for: the previous file, half written ones."""
    for path in (folder / PREVIOUS, *folder.glob("*.pth.part")):
        path.unlink(missing_ok=True)


def set_aside(folder: Path, tell: Callable[[str], None]) -> None:
    """Move a finished training's checkpoints out of the way of a new one in the same folder.

    nnU-Net would write over some of them and leave the final one, which --c then takes for the end
    of the new training.
    """
    if not (folder / FINAL).is_file():
        return
    numbers = (n for n in itertools.count(1) if not (folder / f"earlier_training_{n}").exists())
    target = folder / f"earlier_training_{next(numbers)}"
    target.mkdir()
    for path in folder.glob("checkpoint_*.pth"):
        path.rename(target / path.name)
    tell(f"the training that was finished here is now in {target}")
