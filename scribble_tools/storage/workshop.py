"""A private folder beside what is written, under a lock, and what a killed run left of its own."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from scribble_tools.storage.locks import Busy, Lock, locked
from scribble_tools.trust.printable import printable

LONGEST_STEM = 60  # characters, of which each may take 4 of the 255 bytes of a name


def tell(message: str) -> None:
    """A word to the user that is no result."""
    print(f"note: {printable(message)}", file=sys.stderr, flush=True)


def lock_path(folder: Path, title: str) -> Path:
    """The lock file for what is called ``title`` in ``folder``."""
    return folder / f".{title[:LONGEST_STEM]}.lock"


@contextlib.contextmanager
def workshop(
    folder: Path,
    title: str,
    recover: Callable[[Path, dict], None],
    patience_s: float = 0,
) -> Iterator[tuple[Path, Lock]]:
    """Hold the lock for ``title`` in ``folder`` and yield a new private folder in there, with it.

    The private folder has a name that nobody can guess and is removed at the end. What a killed run
    left of its own is given to ``recover`` before.

    Args:
        folder: exists.
        recover: takes that folder and the killed run's notes, and removes or finishes it.
        patience_s: see `locked`.

    Raises:
        Busy: another run holds the lock.
    """
    with locked(lock_path(folder, title), patience_s) as lock:
        left = _left_folder(folder, title, lock.left)
        if left is not None:
            lock.keep_file = True  # until it is done, the notes stay
            lock.note(**{k: v for k, v in lock.left.items() if k not in ("pid", "host")})
            recover(left, lock.left)
            lock.keep_file = False
        work = folder / f".{title[:LONGEST_STEM]}.{secrets.token_hex(8)}"
        lock.note(work=work.name)
        work.mkdir(0o700)  # fails where there is anything of that name, be it a link
        try:
            yield work, lock
        finally:
            if not lock.keep_file:  # else it was decided upon, and the next run ends it
                shutil.rmtree(work, ignore_errors=True)
                lock.keep_file = work.exists()


def _left_folder(folder: Path, title: str, notes: dict) -> Path | None:
    """The private folder that a killed run's notes name, if that is what it is."""
    name, stem = notes.get("work"), re.escape(f".{title[:LONGEST_STEM]}.")
    if not isinstance(name, str) or not re.fullmatch(stem + "[0-9a-f]{16}", name):
        return None
    path = folder / name
    if path.is_symlink() or not path.is_dir() or path.stat().st_uid != os.geteuid():
        return None
    return path


def discard(work: Path, notes: dict | None = None) -> None:
    """Remove a killed run's private folder, with a word."""
    shutil.rmtree(work)
    tell(f"removed {work.name}, which a killed run left in {work.parent}")


def sweep(folder: Path, titles: str, recover: Callable[[Path, dict], None]) -> None:
    """Give what killed runs left in ``folder`` to ``recover``; what is in use stays.

    Args:
        titles: pattern of what they were writing, such as ``Dataset130_*``.
    """
    for path in sorted(folder.glob(f".{titles}.lock")):
        with contextlib.suppress(Busy, PermissionError), locked(path) as lock:
            title = path.name[1 : -len(".lock")]
            if (left := _left_folder(folder, title, lock.left)) is not None:
                lock.keep_file = True
                recover(left, lock.left)
                lock.keep_file = False


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Put Ctrl-C and SIGTERM off until a step that was decided upon is done."""
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def sync_tree(folder: Path) -> None:
    """Wait until all that is in ``folder`` is on the disk; a full or broken one says so here."""
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                sync(path)
        sync(parent)


def sync(path: str | Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # not every file system can
            raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(descriptor)
