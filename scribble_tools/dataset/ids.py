"""Numbers of data sets: which are free in a folder like ``nnUNet_raw``."""

from __future__ import annotations

import argparse
from pathlib import Path

from scribble_tools.arguments import positive_int

LAST_ID = 999  # nnU-Net writes three digits


def dataset_number(text: str) -> int:
    """The number of a data set, as an argument.

    Raises:
        argparse.ArgumentTypeError: nnU-Net takes no such number.
    """
    value = positive_int(text)
    if value > LAST_ID:
        raise argparse.ArgumentTypeError(f"{text!r}: nnU-Net takes 1 to {LAST_ID}")
    return value


def free_id(out: Path, first: int) -> int | None:
    """The lowest number from ``first`` on that no ``DatasetNNN_*`` in ``out`` has, or None."""
    taken = {path.name[len("Dataset") : len("Dataset000")] for path in out.glob("Dataset*_*")}
    return next((n for n in range(first, LAST_ID + 1) if f"{n:03d}" not in taken), None)
