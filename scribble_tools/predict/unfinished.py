"""Which folds of a model are used before their training has ended, and how far they had come."""

from __future__ import annotations

from pathlib import Path

from scribble_tools.predict.nnunet_model import TrainedModel
from scribble_tools.predict.training_state import FINAL
from scribble_tools.trust.checkpoint import read_checkpoint

MOST_EPOCHS = 100_000  # what a file says beyond that is not believed


def unfinished_in_words(model: TrainedModel) -> str:
    """Such as ``checkpoint_best.pth, fold 0 after 3 of 500 epochs``; empty where all have ended.

    How many epochs were planned is known of this package's trainers only. A checkpoint that cannot
    be read as plain data tells nothing, and is left to what opens the model.
    """
    folds = [(fold, model.folder / f"fold_{fold}") for fold in model.folds]
    found = [
        f"fold {fold}{_epochs(path / model.checkpoint)}"
        for fold, path in folds
        if not (path / FINAL).is_file()
    ]
    return ", ".join([model.checkpoint, *found]) if found else ""


def _epochs(path: Path) -> str:
    try:
        content = read_checkpoint(path, checksums=False).content
    except (OSError, ValueError):
        return ""
    content = content if isinstance(content, dict) else {}
    ours = content.get("pclmix")
    done, planned = content.get("current_epoch"), isinstance(ours, dict) and ours.get("num_epochs")
    if not _is_number(done):
        return ""
    if _is_number(planned):
        return f" after {done} of {planned} epochs"
    return f" after {done} epoch{'s' * (done != 1)}"


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_EPOCHS
