"""A folder of suggestions is always a new one: an old one may hold strokes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from scribble_tools.storage.file_sets import written_into

TITLE = "suggestions"


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder whose files appear in ``out``, all together, when the block ends.

    Raises:
        FileExistsError: there is such a folder, and something is in it.
        Busy, OSError: see `written_into`.
    """
    if os.path.lexists(out) and not out.is_dir():
        _refuse(out)
    with written_into(out, TITLE) as work:
        _refuse_filled(out)  # not before: what a killed run has left is finished or gone now
        yield work
        _refuse_filled(out)


def _refuse_filled(out: Path) -> None:
    if out.is_dir() and any(not path.name.startswith(f".{TITLE}.") for path in out.iterdir()):
        _refuse(out)


def _refuse(out: Path) -> None:
    raise FileExistsError(f"{out} exists, and may hold strokes of yours: choose another --out")
