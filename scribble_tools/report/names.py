"""What a report calls the predictions that it shows: words for columns, and which model made them.

A name such as ``nnUNetTrainerPCLMix__nnUNetPlans__2d`` is a folder's, and is taken apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scribble_tools.draw.preview import distinct_titles

THIS, OTHER = "this model", "the other"


def column_titles(folders: Sequence[Path]) -> list[str]:
    """Of the columns of pictures and of JSON's entries: short, whatever the folders are called.

    Raises:
        ValueError: a folder is given twice.
    """
    found = distinct_titles(folders)
    return found if len(found) == 1 else [THIS, OTHER]


def model_of(folder: Path) -> str:
    """The model in whose folder predictions lie, ``TRAINER__PLANS__CONFIGURATION``, or ""."""
    fold = folder.absolute().parent
    return fold.parent.name if fold.name.startswith("fold_") else ""


def model_in_words(model: str) -> str:
    """``TRAINER, plans PLANS, CONFIGURATION``; another name as it is."""
    parts = model.split("__")
    return f"{parts[0]}, plans {parts[1]}, {parts[2]}" if len(parts) == 3 else model


def names_of(folders: Sequence[Path], models: Sequence[str]) -> list[str]:
    """Which model made predictions, else their folder's name; distinct.

    Args:
        models: of every folder, "" where none is known.
    """
    titles = distinct_titles(folders) if len(folders) > 1 else [folders[0].absolute().name]
    names = [
        model_in_words(model) if model else title
        for model, title in zip(models, titles, strict=True)
    ]
    # two folds of a model, or the models of two data sets
    return names if len(set(names)) == len(names) else titles
