"""In which unit lengths are said: pictures such as PNG state no size, so theirs are pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scribble_tools.images.file_kind import NATURAL, file_ending_of

MILLIMETRES, PIXELS = "mm", "px"


def unit_of(path: Path, spacing: Sequence[float]) -> str:
    """`PIXELS` for a picture whose file states no resolution, else `MILLIMETRES`.

    Args:
        spacing: as read from the file.
    """
    natural = file_ending_of(path) in NATURAL
    return PIXELS if natural and all(side == 1 for side in spacing) else MILLIMETRES
