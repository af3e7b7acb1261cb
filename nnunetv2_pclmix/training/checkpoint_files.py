"""Checkpoint files that a kill at any moment leaves whole: the latest, and the one before it."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch

from scribble_tools.storage.file_sets import finish_sets, written_atomically
from scribble_tools.trust.checkpoint import load_checkpoint
from scribble_tools.wording import counted

LATEST = "checkpoint_latest.pth"
PREVIOUS = "checkpoint_previous.pth"
FINAL = "checkpoint_final.pth"
# what a training leaves in its folder
LEFT = (
    "checkpoint_*.pth",
    "training_log_*.txt",
    "debug.json",
    "progress.png",
    "pclmix_*",
    "validation",
    "validation_raw",
)


class _RememberingFile:
    """A file that keeps why it could not be written: torch only says that it could not."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def write_checkpoint(checkpoint: dict, path: Path) -> None:
    """``torch.save``, with the system's error where the file cannot be written.

    Raises:
        OSError: such as that the disk is full.
    """
    remembering = None
    try:
        with path.open("wb") as file:
            remembering = _RememberingFile(file)
            torch.save(checkpoint, remembering)
    except RuntimeError as error:
        reason = None if remembering is None else remembering.error
        if reason is None:
            raise
        raise OSError(reason.errno, reason.strerror, str(path)) from error


def save_whole(checkpoint: dict, filename: str) -> None:
    """Write a checkpoint beside its place and move it there; a latest one it replaces is kept.

    The old file gets a second name before the new one takes its place, so that there is a latest
    one at any moment: without it nnU-Net goes on from the best one, which may be much older.

    Raises:
        OSError: it cannot be written; then the old one is as it was.
    """
    path = Path(filename)
    with written_atomically(path) as temporary:
        write_checkpoint(checkpoint, temporary)
        if path.name == LATEST and path.is_file():
            with written_atomically(path.with_name(PREVIOUS)) as previous:
                try:
                    os.link(path, previous)
                except OSError:  # not every file system has hard links
                    shutil.copyfile(path, previous)


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


class SavedEpochs:
    """What of a running training has been saved."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}

    def note(self, filename: str, epochs: int) -> None:
        """A checkpoint of so many finished epochs was written, or read to go on."""
        self._epochs[os.path.basename(filename)] = epochs

    def in_words(self) -> str:
        """What was saved, and how to go on."""
        if not self._epochs:
            return (
                "No checkpoint was written yet; the first one comes with the end of the first "
                "epoch, unless checkpoints are switched off. Run the same command again"
            )
        # as nnU-Net's --c chooses
        order = (FINAL, LATEST, *sorted(self._epochs))
        name = next(name for name in order if name in self._epochs)
        done = counted(self._epochs[name], "finished epoch")
        return (
            f"{name} holds {done}. Go on with the same command and "
            "--c (without -pretrained_weights)"
        )


def remove_half_written(folder: Path) -> None:
    """Remove checkpoints that a kill has left half written; also those of earlier versions."""
    for path in folder.glob("checkpoint_*.pth.part"):
        path.unlink(missing_ok=True)
    finish_sets(folder, "checkpoint_*")


@contextmanager
def tidied(folder: Path | None, saving: bool) -> Iterator[None]:
    """Around nnU-Net's end of a training, which removes the latest checkpoint.

    Args:
        folder: of the training; None in a process that writes nothing.
        saving: whether the training has saved a final one. Then the previous one goes, too, and
            half written ones. Otherwise what is there is another training's, and stays.
    """
    if folder is None:
        yield
        return
    latest = folder / LATEST
    hidden = latest.with_name(f"{LATEST}.hidden")
    if not saving and latest.is_file():
        latest.rename(hidden)
    try:
        yield
    finally:
        if hidden.is_file():
            hidden.rename(latest)
    if saving:
        (folder / PREVIOUS).unlink(missing_ok=True)
        remove_half_written(folder)


def set_aside(folder: Path, tell: Callable[[str], None], keep: Collection[Path] = ()) -> None:
    """Move what an earlier training left out of the way of a new one in the same folder.

    nnU-Net would write over some of it and leave the rest, which --c then takes for the new
    training: its final checkpoint for the end, and its latest one until the new one has one. Also
    predictions of its validation would be scored with the new ones.

    Args:
        keep: the new training's own files in ``folder``.
    """
    remove_half_written(folder)
    own = {path.name for path in keep}
    found = {path for pattern in LEFT for path in folder.glob(pattern) if path.name not in own}
    if not any(path.suffix == ".pth" for path in found):
        return
    numbers = (n for n in itertools.count(1) if not (folder / f"earlier_training_{n}").exists())
    target = folder / f"earlier_training_{next(numbers)}"
    target.mkdir()
    # the checkpoint from which --c would go on first of all
    for path in sorted(found, key=lambda path: (path.suffix != ".pth", path.name != FINAL, path)):
        path.rename(target / path.name)
    tell(f"what an earlier training left here is now in {target}")
