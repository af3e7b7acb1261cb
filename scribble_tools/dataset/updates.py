"""Strokes that were added to a data set after its conversion."""

from __future__ import annotations

from pathlib import Path

from scribble_tools.dataset.shapes import CONVERSION
from scribble_tools.dataset.writing import RECORD
from scribble_tools.json_files import read_json


def refuse_lost_updates(dataset: Path) -> None:
    """Refuse to replace a data set whose added strokes the first sources do not hold.

    Raises:
        ValueError: strokes were added to it, or its record cannot be read.
    """
    path = dataset / RECORD
    if path.is_file() and (updates := read_json(path, CONVERSION).get("updates")):
        folders = ", ".join(dict.fromkeys(str(own.get("scribbles")) for own in updates))
        raise ValueError(
            f"{dataset} has strokes that --update added, from {folders}: they would be lost. "
            "Say --update once more instead of --overwrite, or convert to another --dataset-id"
        )
