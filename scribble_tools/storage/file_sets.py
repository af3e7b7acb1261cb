"""Result files that appear together; the next run finishes or undoes what a kill left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from scribble_tools.json_files import read_json
from scribble_tools.storage.folders import (
    end_killed_runs,
    list_entries,
    made_folder,
    path_inside,
    written_folder,
)
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

    So do files in folders below it.

    One renaming decides. Before it ``folder`` is as it was. After it the old files of these names
    go before the new ones come, so that old and new ones never stand side by side, and the next run
    under this ``title`` ends what a kill has left.

    Args:
        folder: exists.
        title: of the set: a second run with the same one is kept out.
        obsolete: names of an earlier run's files in ``folder``, or paths below it with slashes,
            that go when the new ones come; a list may be filled within the block.
        patience_s: see `locked`.

    Raises:
        Busy: another run writes there.
        OSError: a file cannot be written; then none of them appears.
    """
    with workshop(folder, title, _finish_or_discard, patience_s) as (work, lock):
        filling = work / FILLING
        filling.mkdir()
        yield filling
        new = _files_in(filling)
        old = [name for name in obsolete if name not in new]
        for name in (*old, *new):
            _refuse_no_place(folder, PurePosixPath(name))
        (work / OBSOLETE).write_text(json.dumps(old))
        sync_tree(work)
        with undisturbed():
            lock.keep_file = True
            filling.rename(work / READY)
            _move(work, folder)
            lock.keep_file = False


def _files_in(folder: Path) -> list[str]:
    """Paths below a folder, with slashes; folders without files are left out."""
    return [str(path) for path in list_entries(folder) if not (folder / path).is_dir()]


def _refuse_no_place(folder: Path, name: PurePosixPath) -> None:
    """Refuse, before anything is decided, what could not be moved to its place.

    Raises:
        OSError: there is a folder in a file's place, or a file or a link in a folder's.
    """
    if (folder / name).is_dir():
        raise IsADirectoryError(f"{folder / name} is a folder: nothing written")
    for parent in map(folder.joinpath, name.parents[:-1]):
        if os.path.lexists(parent) and (parent.is_symlink() or not parent.is_dir()):
            raise NotADirectoryError(f"{parent} is no folder of its own: nothing written")


def _move(work: Path, folder: Path) -> list[str]:
    """Bring the files of a decided set to their places; returns their names."""
    try:
        obsolete = [str(path_inside(name)) for name in read_json(work / OBSOLETE)]
    except (OSError, ValueError, TypeError):
        obsolete = []
    files = _files_in(work / READY)
    places = {folder, *((folder / name).parent for name in (*obsolete, *files))}
    if len(files) != 1:  # a single one takes the old one's place at once
        obsolete += files
    for name in obsolete:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder / name)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(work / READY / name, folder / name)
    for place in places - {folder}:
        with contextlib.suppress(OSError):
            place.rmdir()  # if all that was in it is obsolete
    for place in filter(Path.is_dir, places):
        sync(place)
    return files


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
    end_killed_runs(folder)
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
    text = json.dumps(obj, indent=2) + "\n"
    with made_folder(path.parent), written_atomically(path) as temporary:
        temporary.write_text(text)
