"""A lock on what a command writes: it names its holder, and a kill does not leave it behind.

The lock is the operating system's, on a small hidden file beside what is written, and ends with the
process, however that ends. The file stays after a kill: its notes say what the killed run left.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import shlex
import stat
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from scribble_tools.trust.printable import printable

try:
    import fcntl
except ImportError:  # not a Unix system: there is no lock then, as on a file system without
    fcntl = None

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
HELD = {errno.EACCES, errno.EAGAIN}
NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}
MOST_BYTES = 1 << 16  # of the notes
_held: set[str] = set()  # a process' own locks: the system's are between processes only
_guard = threading.Lock()


class Busy(OSError):
    """Another run is writing there."""


class Lock:
    """A lock that is held.

    Attributes:
        left: the notes of a run that was killed while it held this lock, else empty.
        keep_file: leave the file with the notes when the lock ends, for the next run.
    """

    def __init__(self, descriptor: int, left: dict) -> None:
        self._descriptor = descriptor
        self.left = left
        self.keep_file = False
        self.note()

    def note(self, **notes: object) -> None:
        """Write who holds the lock and ``notes``, in place of earlier notes."""
        line = json.dumps({**_holder(), **notes}).encode() + b"\n"
        # the new line is whole before the rest of a longer old one goes
        os.pwrite(self._descriptor, line, 0)
        os.ftruncate(self._descriptor, len(line))


def _holder() -> dict[str, object]:
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "command": shlex.join(command)[:300],
        "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}",
    }


def _read_notes(descriptor: int) -> dict:
    """The notes in a lock file; empty where there are none, or something else."""
    try:
        notes = json.loads(os.pread(descriptor, MOST_BYTES, 0).split(b"\n")[0])
    except (ValueError, RecursionError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _in_words(notes: dict) -> str:
    """Who holds a lock; anyone may have written the notes, so they are printed as text only."""
    words = {key: printable(value)[:200] for key, value in notes.items()}
    if "pid" not in words:
        return "another run"
    return (
        f"another run ({words.get('command', '?')}; process {words['pid']} on "
        f"{words.get('host', '?')}, since {words.get('since', '?')})"
    )


def _open(path: Path) -> int:
    """Open or make the lock file; never through a link, never a device or somebody's other file.

    Raises:
        OSError: it cannot be made; where nothing can, the message names the folder.
        Busy: there is something else of that name.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise Busy(f"{path} is no lock file but a link or folder: take it away") from None
        if error.errno in NOT_WRITABLE and not os.path.lexists(path):
            raise type(error)(f"cannot write in {path.parent}: {error.strerror}") from None
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise Busy(f"{path} is no lock file but a link or device: take it away")
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file still has its name: an earlier holder removes it at the end."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _lock(path: Path) -> int | None:
    """The descriptor of the locked file; None when the file went in between.

    Raises:
        Busy: another process holds the lock.
    """
    descriptor = _open(path)
    try:
        if fcntl is not None:
            # not flock, which a forked worker would hold on to after its parent is gone
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            words = _in_words(_read_notes(descriptor))
            os.close(descriptor)
            raise Busy(f"{path.parent}: {words} is writing there. Wait until it ends") from None
        if error.errno not in NO_LOCKS:
            os.close(descriptor)
            raise
    if _is_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


@contextlib.contextmanager
def locked(path: Path, patience_s: float = 0) -> Iterator[Lock]:
    """Hold the lock ``path``; its folder must exist.

    On a file system without locks nobody is kept out.

    Args:
        patience_s: how long to try in seconds.

    Raises:
        Busy: another run holds it; the message says which.
        OSError: the file cannot be made.
    """
    key, until = os.path.abspath(path), time.monotonic() + patience_s
    while True:
        with _guard:
            busy = key in _held
            _held.add(key)
        try:
            if busy:  # opening and closing the file again would end the lock
                raise Busy(f"{path.parent}: this process is writing there already")
            descriptor = _lock(path)
        except BaseException as error:
            if not busy:
                _held.discard(key)
            if isinstance(error, Busy) and time.monotonic() < until:
                time.sleep(0.1)
                continue
            raise
        if descriptor is not None:
            break
        _held.discard(key)
    lock = None
    try:
        lock = Lock(descriptor, _read_notes(descriptor))
        yield lock
    finally:
        if lock is None or not lock.keep_file:
            with contextlib.suppress(OSError):
                os.unlink(path)
        os.close(descriptor)
        _held.discard(key)
