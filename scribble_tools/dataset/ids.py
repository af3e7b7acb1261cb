"""Numbers of data sets: which are free in a folder like ``nnUNet_raw``."""

from __future__ import annotations

from pathlib import Path

LAST_ID = 999  # nnU-Net writes three digits


def free_id(out: Path, first: int) -> int | None:
    """The lowest number from ``first`` on that no ``DatasetNNN_*`` in ``out`` has, or None."""
    taken = {path.name[len("Dataset") : len("Dataset000")] for path in out.glob("Dataset*_*")}
    return next((n for n in range(first, LAST_ID + 1) if f"{n:03d}" not in taken), None)
