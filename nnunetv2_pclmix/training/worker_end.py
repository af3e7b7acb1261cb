"""Workers that load and augment end with the training that started them, however it ended.

nnU-Net's workers wait for a sign of their training. One that was killed (out of memory, a job's
time that is over, ``kill -9``) gives none: they would stay, each with its memory, until the machine
is started anew.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import Any

EVERY_SECONDS = 2.0
_watched_by: int | None = None  # the process that has a watching thread: a fork copies this, too


def end_with_parent() -> None:
    """End this process when its parent is no more; in a process without one nothing happens."""
    global _watched_by
    parent = multiprocessing.parent_process()
    if parent is None or _watched_by == os.getpid():
        return
    _watched_by = os.getpid()
    threading.Thread(target=_wait_and_end, args=(parent,), daemon=True).start()


def _wait_and_end(parent: Any) -> None:
    if os.name == "posix" and os.getppid() == parent.pid:
        # not parent.join(): workers that were forked later keep open what it waits for
        while os.getppid() == parent.pid:
            time.sleep(EVERY_SECONDS)
    else:  # a fork server has made this process, as is usual from Python 3.14 on; or it is Windows
        parent.join()
    os._exit(1)


class EndsWithParent:
    """nnU-Net's data set for a worker that is to end with its training.

    Args:
        dataset: of which nnU-Net's loader uses no more than the names and ``load_case``.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.identifiers = dataset.identifiers

    def load_case(self, identifier: str) -> tuple:
        """Data, labels, previous stage's labels and properties of a case."""
        end_with_parent()
        return self.dataset.load_case(identifier)
