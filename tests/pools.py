"""Threads for pools of processes, which import torch for seconds, or are forks of what is large."""

import concurrent.futures
import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool


class Threads:
    """multiprocessing's context that spawns, with threads in its pools."""

    Pool = staticmethod(ThreadPool)

    def __init__(self, spawning):
        self.spawning = spawning

    def __getattr__(self, name):
        return getattr(self.spawning, name)


def pools_of_threads(setattr=setattr):
    """nnU-Net's, from now on in this process; ``setattr`` is pytest's, where it is undone."""
    stock = multiprocessing.get_context

    def get_context(method=None):
        context = stock(method)
        return Threads(context) if method == "spawn" else context

    setattr(multiprocessing, "get_context", get_context)
    for module in ("multiprocessing", "nnunetv2.utilities.utils"):  # it forks 12 to list files
        if module in sys.modules:
            setattr(sys.modules[module], "Pool", ThreadPool)


def no_processes():
    """Nor ours: for Python that is started, before it imports anything."""
    pools_of_threads()
    concurrent.futures.ProcessPoolExecutor = lambda number, *_, **__: ThreadPoolExecutor(number)
