"""A full disk, Ctrl-C and SIGTERM end a command with one message instead of tracebacks."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

NO_FOLDER = {errno.EEXIST, errno.ENOTDIR}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOTHING = "Nothing was written or changed. Run the same command again"


class Terminated(KeyboardInterrupt):
    """SIGTERM, as from a batch system or `kill`."""


def is_full(error: BaseException) -> bool:
    """Whether an error is that a disk, quota or limit of file sizes is full."""
    return isinstance(error, OSError) and error.errno in FULL


def full_in_words(error: OSError) -> str:
    """What is full, and where."""
    what = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the quota is used up",
        errno.EFBIG: "a limit of file sizes is reached",
    }[error.errno]
    where = error.filename2 or error.filename
    return what + (f" ({where} could not be written)" if where else "")


def error_in_words(error: Exception) -> str:
    """An error as the message of a command that it ends."""
    if is_full(error):
        return f"{full_in_words(error)}. {NOTHING} when there is room"
    if isinstance(error, OSError) and error.errno in NO_FOLDER and error.filename:
        path = Path(str(error.filename2 or error.filename))
        in_the_way = [place for place in (path, *path.parents) if place.is_file()]
        if in_the_way:
            return f"{in_the_way[0]} is a file where a folder is needed: give another path"
    return str(error)


@functools.cache
def _end_forked_processes() -> None:
    """From now on SIGTERM ends forked processes as if they had no handler of ours.

    It waits while a process forks: one that came before the child has its own handler would be
    taken by ours, in the middle of what Python does there, and forgotten.
    """
    forking = threading.local()

    def before() -> None:
        if getattr(signal.getsignal(signal.SIGTERM), "ends_forked", False):
            forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def in_parent() -> None:
        if (mask := vars(forking).pop("mask", None)) is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def in_child() -> None:
        if "mask" in vars(forking):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            in_parent()

    if hasattr(os, "register_at_fork"):  # where processes can be forked
        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """SIGTERM raises `Terminated`, so that what was begun is cleared away.

    Processes that are forked meanwhile end by it without a word.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set handlers
        return

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would disturb clearing up
        raise Terminated

    # in a forked process a handler of Python's runs only if Python does: one that waits for a lock
    # of a thread that was not forked with it would never end, and its parent wait for ever
    stop.ends_forked = True
    _end_forked_processes()
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def stopped_by(error: BaseException) -> str:
    """What an interruption came from, in words."""
    return "SIGTERM" if isinstance(error, Terminated) else "Ctrl-C"


def exit_code_of(error: BaseException) -> int:
    """The exit code that shells give to a process that ended by this signal."""
    return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)


def _reader_is_gone() -> bool:
    """Whether nobody reads standard output any more, as after ``| head``; then it leads nowhere."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False  # it is no file
    if not poll.poll(0):
        return False
    # what is left to be written is written at the end of the program
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def run_command(program: str, run: Callable[..., int], *arguments: object) -> int:
    """Run a command and return its exit code; what a user can mend is one message.

    Args:
        program: for messages.
        run: of the arguments to the exit code.
    """
    try:
        with sigterm_raises():
            code = run(*arguments)
            sys.stdout.flush()
            return code
    except KeyboardInterrupt as error:
        print(f"\n{program}: stopped by {stopped_by(error)}. {NOTHING}", file=sys.stderr)
        return exit_code_of(error)
    except (OSError, ValueError) as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return 128 + signal.SIGPIPE
        print(f"{program}: error: {error_in_words(error)}", file=sys.stderr)
        return 1
