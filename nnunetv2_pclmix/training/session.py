"""Around a training: one at a time in a folder, workers that end with it, one last message."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from scribble_tools.storage.interruptions import (
    Terminated,
    exit_code_of,
    full_in_words,
    is_full,
    sigterm_raises,
    stopped_by,
)
from scribble_tools.storage.locks import Busy, locked
from scribble_tools.storage.workshop import lock_path

DEAD_WORKERS = "background workers are no longer alive"  # batchgenerators' words
STOPPED = (exit_code_of(KeyboardInterrupt()), exit_code_of(Terminated()))
PATIENCE_S = 10  # for a worker of this training that torchrun has just ended


class FolderGuard:
    """Keeps other trainings out of a training's folder, for as long as a block lasts.

    Args:
        folder: of the training.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._is_held = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder; within such a block of this guard, at once.

        Raises:
            Busy: another training runs there; the message says which.
        """
        if self._is_held:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(lock_path(self.folder, "training"), PATIENCE_S):
            self._is_held = True
            try:
                yield
            finally:
                self._is_held = False


@contextlib.contextmanager
def without_echo_of_dead_workers() -> Iterator[None]:
    """Threads that wait for nnU-Net's workers do not tell that these are no more.

    SIGTERM from a batch system, or of `kill` for a job, ends the workers, too. Where they die
    otherwise, the training stops with the same message when it asks for the next batch.

    A worker that dies while it sends breaks its pipe. What is said of that waits for the end: the
    thread may see it before the signal is seen here.
    """
    tell = threading.excepthook
    broken_pipes = []

    def tell_others(error: threading.ExceptHookArgs) -> None:
        if _is_broken_pipe_of_worker(error):
            broken_pipes.append(error)
        elif DEAD_WORKERS not in str(error.exc_value):
            tell(error)

    threading.excepthook = tell_others
    try:
        yield
    except SystemExit as end:
        if end.code in STOPPED:
            broken_pipes.clear()
        raise
    finally:
        threading.excepthook = tell
        for error in broken_pipes:
            tell(error)


def _is_broken_pipe_of_worker(error: threading.ExceptHookArgs) -> bool:
    """Whether batchgenerators' thread that takes the workers' batches raised it."""
    frames = traceback.walk_tb(error.exc_traceback)
    return isinstance(error.exc_value, (ConnectionError, EOFError)) and any(
        frame.f_code.co_name == "results_loop" for frame, _ in frames
    )


@contextlib.contextmanager
def one_last_message(
    say: Callable[[str], None], what_was_saved: Callable[[], str], clear_up: Callable[[], None]
) -> Iterator[None]:
    """Ctrl-C, SIGTERM, a full disk, a folder in use and a failing compiler end with one message.

    Args:
        say: takes the message.
        what_was_saved: and how to go on, in words.
        clear_up: ends the workers.

    Raises:
        SystemExit: after the message, as shells number the cause.
    """
    try:
        with sigterm_raises():
            yield
    except KeyboardInterrupt as error:
        clear_up()
        say(f"The training was stopped by {stopped_by(error)}. {what_was_saved()}")
        raise SystemExit(exit_code_of(error)) from None
    except Busy as error:
        say(f"ERROR: {error}. Two trainings in one folder would spoil each other's checkpoints")
        raise SystemExit(1) from None
    except OSError as error:
        if not is_full(error):
            raise
        clear_up()
        say(f"ERROR: {full_in_words(error)}. Make room. {what_was_saved()}")
        raise SystemExit(1) from None
    except Exception as error:
        if not _is_of_compiler(error):
            raise
        clear_up()
        traceback.print_exc()
        say(
            f"ERROR: torch.compile failed ({type(error).__name__}, torch {torch.__version__}). "
            "Without it a training is right, too, but slower: export nnUNet_compile=f and start "
            f"again. {what_was_saved()}"
        )
        raise SystemExit(1) from None


def _is_of_compiler(error: BaseException) -> bool:
    """Whether torch.compile raised it, which is not imported for this: it takes a second.

    Not if the GPU's memory ran out meanwhile, which it would without compiling, too.
    """
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    if any(isinstance(cause, torch.OutOfMemoryError) for cause in causes):
        return False
    compilers = ("torch._dynamo", "torch._inductor", "triton.")
    return any(kind.__module__.startswith(compilers) for kind in type(error).__mro__)


def validation_in_words(nothing_saved: bool) -> str:
    """What is left of a training whose validation was stopped.

    Args:
        nothing_saved: checkpoints were switched off.
    """
    if nothing_saved:
        return "The training is finished; checkpoints were switched off, so nothing of it is saved"
    return (
        "The training is finished and saved; its validation is not. Run it again with the same "
        "command, without --c, and with --val"
    )


@contextlib.contextmanager
def alone(
    guard: FolderGuard | None,
    say: Callable[[str], None],
    what_was_saved: Callable[[], str],
    clear_up: Callable[[], None],
) -> Iterator[None]:
    """`one_last_message`, in a folder that no other training uses meanwhile.

    Args:
        guard: of the first of several processes, None in the others.
    """
    with without_echo_of_dead_workers(), one_last_message(say, what_was_saved, clear_up):
        with guard.held() if guard is not None else contextlib.nullcontext():
            yield


def finish_workers(*loaders: Any) -> None:
    """End the processes of nnU-Net's loaders, without what they print."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        for loader in loaders:
            with contextlib.suppress(Exception):
                getattr(loader, "_finish", lambda: None)()
    for child in multiprocessing.active_children():
        child.terminate()
