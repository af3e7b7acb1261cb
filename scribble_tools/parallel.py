"""Cases side by side in processes, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

Item, Result = TypeVar("Item"), TypeVar("Result")


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
    with ProcessPoolExecutor(num_processes, get_context("spawn")) as pool:
        yield from tqdm(pool.map(function, items), title, len(items), unit="case")
