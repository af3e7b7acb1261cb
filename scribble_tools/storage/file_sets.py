"""Result files that appear together; the next run finishes or undoes what a kill left."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from scribble_tools.json_files import read_json
from scribble_tools.storage.folders import recover_folder, written_folder
from scribble_tools.storage.workshop import (
    discard,
    sweep,
    sync,
    sync_tree,
    tell,
    undisturbed,
    workshop,
)

FILLING, READY, OBSOLETE = "filling", "ready", "obsolete.json"


@contextlib.contextmanager
def written_together(
    folder: Path, title: str, obsolete: Collection[str] = (), patience_s: float = 0
) -> Iterator[Path]:
    """Yield an empty folder; files put into it appear in ``folder`` together when the block ends.

    One renaming decides. Before it ``folder`` is as it was. After it the old files of these names
    go before the new ones come, so that old and new ones never stand side by side, and the next run
    under this ``title`` ends what a kill has left.

    Args:
        folder: exists.
        title: of the set: a second run with the same one is kept out.
        obsolete: names of an earlier run's files in ``folder`` that go when the new ones come; a
            list may be filled within the block.
        patience_s: see `locked`.

    Raises:
        Busy: another run writes there.
        OSError: a file cannot be written; then none of them appears.
    """
    with workshop(folder, title, _finish_or_discard, patience_s) as (work, lock):
        filling = work / FILLING
        filling.mkdir()
        yield filling
        new = {path.name for path in filling.iterdir()}
        old = [name for name in obsolete if name not in new]
        if folders := [name for name in (*old, *new) if (folder / name).is_dir()]:
            raise IsADirectoryError(f"{folder / folders[0]} is a folder: nothing written")
        (work / OBSOLETE).write_text(json.dumps(old))
        sync_tree(work)
        with undisturbed():
            lock.keep_file = True
            filling.rename(work / READY)
            _move(work, folder)
            lock.keep_file = False


def _move(work: Path, folder: Path) -> list[str]:
    """Bring the files of a decided set to their places; returns their names."""
    try:
        obsolete = read_json(work / OBSOLETE)
        obsolete = [name for name in obsolete if name and name == os.path.basename(name)]
    except (OSError, ValueError, TypeError):
        obsolete = []
    files = sorted((work / READY).iterdir())
    if len(files) != 1:  # a single one takes the old one's place at once
        obsolete += [path.name for path in files]
    for name in obsolete:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder / name)
    for path in files:
        os.replace(path, folder / path.name)
    sync(folder)
    return [path.name for path in files]


def _finish_or_discard(work: Path, notes: dict) -> None:
    """Finish a set that was decided upon, remove another."""
    if not (work / READY).is_dir() or (work / READY).is_symlink():
        discard(work)
        return
    names = _move(work, work.parent)
    shutil.rmtree(work)
    tell(f"finished what a killed run was about to write to {work.parent}: {', '.join(names)}")


def finish_sets(folder: Path, titles: str) -> None:
    """Finish or remove what killed runs were about to write, see `written_together`.

    Args:
        titles: pattern, such as ``checkpoint_*``.
    """
    if folder.is_dir():
        sweep(folder, titles, _finish_or_discard)


@contextlib.contextmanager
def written_into(folder: Path, title: str, obsolete: Collection[str] = ()) -> Iterator[Path]:
    """As `written_together`; a ``folder`` that is not there appears with its files, in one step."""
    folder = Path(os.path.abspath(folder))
    if folder.parent.is_dir():
        sweep(folder.parent, glob.escape(folder.name), recover_folder)
    if os.path.lexists(folder):
        with written_together(folder, title, obsolete) as work:
            yield work
    else:
        with written_folder(folder) as work:
            yield work


@contextlib.contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """Yield a new file's path in a private folder; it takes the place of ``path`` at the end.

    A link of that name is replaced, not followed.
    """
    with written_together(path.parent, path.name) as folder:
        yield folder / path.name


def write_json(obj: object, path: Path) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(obj, indent=2) + "\n"
    with written_atomically(path) as temporary:
        temporary.write_text(text)
