"""Whether what is to be written lies in what is read, or the other way round."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

REMEDY = "take another place or name for the result"


def lies_in(path: Path, folder: Path) -> bool:
    """Whether ``path`` is ``folder`` or below it: by name, through links, or by another mount."""
    # not Path.resolve, which before Python 3.13 stops at links in a loop
    path, folder = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if path.is_relative_to(folder):
        return True
    try:
        place = folder.stat()
    except OSError:
        return False
    for parent in (path, *path.parents):
        try:
            if os.path.samestat(parent.stat(), place):
                return True
        except OSError:
            continue
    return False


def refuse_sources_in(target: Path, sources: Iterable[Path], remedy: str = REMEDY) -> None:
    """Refuse to write a folder in which files lie that are read.

    Raises:
        ValueError: one of ``sources`` lies in ``target``.
    """
    if not os.path.lexists(target):
        return
    seen: dict[Path, bool] = {}
    for source in map(Path, sources):
        # files of one folder share the answer, but for links
        where = source if source.is_symlink() or source.is_dir() else source.parent
        if where not in seen:
            seen[where] = lies_in(where, target)
        if seen[where]:
            raise ValueError(
                f"{source} lies in {target}, which would be replaced by what is made of it: "
                f"{remedy}"
            )


def refuse_overlap(target: Path, source: Path, remedy: str = REMEDY) -> None:
    """Refuse to write a folder that is, holds or lies in the folder that is read.

    Raises:
        ValueError: they overlap.
    """
    if lies_in(source, target):
        raise ValueError(f"{source}, which is read, lies in {target} or is the same: {remedy}")
    if lies_in(target, source):
        raise ValueError(f"{target} would be written into {source}, which is read: {remedy}")


def refuse_same_file(target: Path, sources: Iterable[Path]) -> None:
    """Refuse to write a file that is read.

    Raises:
        ValueError: ``target`` is one of ``sources``, by name or by a link.
    """
    for source in sources:
        same = os.path.realpath(target) == os.path.realpath(source)
        if same or (target.exists() and source.exists() and os.path.samefile(target, source)):
            raise ValueError(f"{target} is {source}, which is read: {REMEDY}")
