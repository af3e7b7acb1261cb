"""A folder that appears, or replaces an earlier one, in one step; the user's files in it stay.

The new folder is made in a private one beside its place. What of the old one is the user's gets a
second name in the new one (a hard link), so that one renaming exchanges a whole folder for a whole
one. What a killed run left is finished or removed by the next one.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath

from scribble_tools.json_files import read_json
from scribble_tools.storage.exchange import exchange
from scribble_tools.storage.workshop import (
    LONGEST_STEM,
    discard,
    lock_path,
    sweep,
    sync,
    sync_tree,
    tell,
    undisturbed,
    workshop,
)

NEW, OLD, WRITTEN = "new", "old", "written.json"


def list_entries(folder: Path) -> list[PurePosixPath]:
    """Files, links and empty folders below ``folder``, as paths relative to it, sorted."""
    found = []
    for parent, folders, files in os.walk(folder):
        here = Path(parent).relative_to(folder)
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        found += [here / name for name in (*files, *links)]
        if not folders and not files and parent != str(folder):
            found.append(here)
    return sorted(PurePosixPath(path) for path in found)


def path_inside(name: object) -> PurePosixPath:
    """A path below a folder, as a record or a note names it.

    Raises:
        ValueError: it is none.
    """
    path = PurePosixPath(name) if isinstance(name, str) else None
    if path is None or path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{name!r:.80} is no path in its folder")
    return path


@contextlib.contextmanager
def written_folder(
    target: Path,
    replaceable: Callable[[Path], Collection[PurePosixPath]] | None = None,
    precedence: Collection[str] = (),
) -> Iterator[Path]:
    """Yield an empty folder that becomes ``target`` when the block succeeds.

    One renaming decides; before it ``target`` is as it was, whatever happens. Folders above it that
    are missing come with it.

    Args:
        target: a link to a folder stays one: the folder that it names is replaced.
        replaceable: says which entries of an old ``target`` an earlier run wrote: these go, all
            others stay. None: ``target`` must not exist. It is asked before the block and again at
            the end, and raises where nothing may be replaced.
        precedence: names of entries that stay the user's although the new folder has such ones.

    Raises:
        FileExistsError: ``target`` exists and ``replaceable`` is None, or an entry of the user's
            has the name of a new one.
        Busy: another run is writing ``target``.
        OSError: a file cannot be written; then ``target`` is as it was.
    """
    target = Path(os.path.abspath(target))
    if target.is_symlink():
        target = Path(os.path.realpath(target))
    end_killed_runs(target)
    place = _outermost_missing(target)
    with workshop(place.parent, place.name, recover_folder) as (work, lock):
        _refuse_new(place, target)
        _written_before(target, replaceable)
        new = work / NEW / target.relative_to(place)
        new.mkdir(parents=True)
        yield new
        _refuse_new(place, target)
        written = _written_before(target, replaceable)
        if target.exists():
            _take_over(target, new, written, precedence)
            (work / WRITTEN).write_text(json.dumps([str(path) for path in written]))
        sync_tree(work)
        with undisturbed():
            lock.note(work=work.name, target=place.name, inode=(work / NEW).stat().st_ino)
            lock.keep_file = True
            _switch(work, place)
            lock.keep_file = not _remove_old(work, place)


def end_killed_runs(target: Path) -> None:
    """Finish or remove what killed runs left of making ``target``, or a folder above with it."""
    for path in (target, *target.parents):
        if lock_path(path.parent, path.name).is_file():
            sweep(path.parent, glob.escape(path.name[:LONGEST_STEM]), recover_folder)


def _outermost_missing(path: Path) -> Path:
    """``path``, or the highest folder above it that is not there."""
    while not os.path.lexists(path.parent):
        path = path.parent
    return path


def _refuse_new(place: Path, target: Path) -> None:
    if place != target and os.path.lexists(place):
        raise FileExistsError(f"{place} has just come into being: run the same command again")


@contextlib.contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it; what was made goes again if the block fails.

    What has come into it meanwhile stays, with its folder.
    """
    folder = Path(os.path.abspath(folder))
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _written_before(
    target: Path, replaceable: Callable[[Path], Collection[PurePosixPath]] | None
) -> list[PurePosixPath]:
    if not os.path.lexists(target):
        return []
    if replaceable is None:
        raise FileExistsError(f"{target} exists already: choose another name or say --overwrite")
    if not target.is_dir():
        raise FileExistsError(f"{target} exists and is no folder: not replaced")
    return sorted(replaceable(target))


def _take_over(
    target: Path, new: Path, written: Collection[PurePosixPath], precedence: Collection[str]
) -> None:
    """Give all in ``target`` that is the user's a second name in ``new``."""
    for entry in list_entries(target):
        if entry in written:
            continue
        old, copy = target / entry, new / entry
        if os.path.lexists(copy):
            if str(entry) not in precedence:
                raise FileExistsError(
                    f"{old} is not what an earlier run wrote, and would be replaced: move it away"
                )
            copy.unlink()
        for parent in reversed([p for p in copy.parents if p.is_relative_to(new)]):
            if os.path.lexists(parent) and (parent.is_symlink() or not parent.is_dir()):
                raise FileExistsError(
                    f"{old} would get no place beside the new files: move it away"
                )
            parent.mkdir(exist_ok=True)
        _second_name(old, copy)


def _second_name(old: Path, copy: Path) -> None:
    if old.is_symlink():
        copy.symlink_to(os.readlink(old))
    elif old.is_dir():
        copy.mkdir(exist_ok=True)
        shutil.copystat(old, copy)
    else:
        try:
            os.link(old, copy)
        except OSError:  # not every file system has hard links
            shutil.copy2(old, copy)


def _switch(work: Path, target: Path) -> None:
    """Put the new folder in its place, and an old one to ``work/old``."""
    if not os.path.lexists(target):
        (work / NEW).rename(target)
    elif exchange(work / NEW, target):
        (work / NEW).rename(work / OLD)
    else:  # in two steps; a kill between them is mended by the next run
        target.rename(work / OLD)
        try:
            (work / NEW).rename(target)
        except OSError:
            (work / OLD).rename(target)
            raise
    sync(target.parent)


def _remove_old(work: Path, target: Path) -> bool:
    """Remove what an earlier run wrote from ``work/old``, and second names of what was taken over.

    Returns:
        whether nothing is left there. What else is in it came while the new folder was made; it
        moves to the new one where its name is free.
    """
    old = work / OLD
    if not old.exists():
        return True
    try:
        written = {str(path) for path in read_json(work / WRITTEN)}
    except (OSError, ValueError, TypeError):
        written = set()
    for entry in list_entries(old):
        path, place = old / entry, target / entry
        if path.is_dir() and not path.is_symlink():
            continue
        if str(entry) in written or _same(path, place):
            path.unlink()
        elif not os.path.lexists(place) and target.is_dir():
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
    for parent, _, _ in os.walk(old, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(parent)
    if old.exists():
        tell(f"{old} holds files that no run wrote, and {target} has others of their names")
    return not old.exists()


def _same(one: Path, other: Path) -> bool:
    """Whether two names are of one file, or of links or copies that say the same."""
    try:
        if one.is_symlink() or other.is_symlink():
            return os.readlink(one) == os.readlink(other)
        if os.path.samefile(one, other):
            return True
        return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def recover_folder(work: Path, notes: dict) -> None:
    """Finish or remove what a killed run left."""
    name, inode = notes.get("target"), notes.get("inode")
    new, old = work / NEW, work / OLD
    if not isinstance(name, str) or name != os.path.basename(name) or not isinstance(inode, int):
        discard(work)  # it was killed before anything was decided
        return
    target = work.parent / name
    if new.is_dir() and new.stat().st_ino != inode:
        new.rename(old)  # the folders were exchanged
    elif new.is_dir() and old.is_dir() and not os.path.lexists(target):
        new.rename(target)
    if not old.is_dir():
        if new.is_dir():
            discard(work)
        else:
            shutil.rmtree(work)
        return
    if not _remove_old(work, target):
        return
    shutil.rmtree(work)
    tell(f"finished what a killed run was about to do: {target} is replaced")
