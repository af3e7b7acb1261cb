"""Threads in nnU-Net's pools: a process that it spawns first imports torch, which takes seconds."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from typing import Any
from unittest.mock import patch


class _Threads:
    """A context of multiprocessing, with threads in its pools."""

    Pool = staticmethod(ThreadPool)

    def __init__(self, stock: Any) -> None:
        self.stock = stock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stock, name)


@contextlib.contextmanager
def pools_of_threads() -> Iterator[None]:
    """For a handful of small cases, which are done before a process would have begun."""
    stock = multiprocessing.get_context

    def get_context(method: str | None = None) -> Any:
        return _Threads(stock(method)) if method == "spawn" else stock(method)

    with patch.object(multiprocessing, "get_context", get_context):
        yield
