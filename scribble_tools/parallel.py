"""Cases side by side in processes or threads, with a progress bar."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import active_children, connection, get_context, parent_process
from typing import TypeVar

from tqdm import tqdm

Item, Result = TypeVar("Item"), TypeVar("Result")


def end_with_parent() -> None:
    """Let this process end when the one that started it is gone, be it killed.

    For processes of `multiprocessing`: a worker that waits for work would otherwise sleep for ever.
    """
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def children_without_ctrl_c() -> Iterator[None]:
    """Processes that are started here do not get Ctrl-C, which the terminal sends to all of them.

    It is their parent's to end them; each of them would print a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], num_processes: int, title: str
) -> Iterator[Result]:
    """``map(function, items)`` in up to ``num_processes`` processes, results in the items' order.

    With one process or one item it runs in this one. ``title`` stands beside the bar.
    """
    num_processes = min(num_processes, len(items))
    if num_processes < 2:
        yield from tqdm(map(function, items), title, len(items), unit="case")
        return
    # spawn: the same on every system, and safe when the caller has threads (torch has)
    pool = ProcessPoolExecutor(num_processes, get_context("spawn"), initializer=end_with_parent)
    yield from _mapped(pool, function, items, title)


def threaded_map(
    function: Callable[[Item], Result], items: Sequence[Item], num_threads: int, title: str
) -> Iterator[Result]:
    """As `parallel_map`, in threads of this process."""
    yield from _mapped(ThreadPoolExecutor(num_threads), function, items, title)


def _mapped(
    pool: Executor, function: Callable[[Item], Result], items: Sequence[Item], title: str
) -> Iterator[Result]:
    try:
        with children_without_ctrl_c():
            results = pool.map(function, items)
        yield from tqdm(results, title, len(items), unit="case")
    except KeyboardInterrupt:
        for child in active_children():  # whatever they are at
            child.terminate()
        raise
    except BrokenExecutor:
        raise OSError(
            f"{title}: a worker process was killed, perhaps because memory ran out. Take fewer "
            "processes (-np)"
        ) from None
    finally:
        # after an error or Ctrl-C, what has not begun is not begun
        pool.shutdown(cancel_futures=True)
