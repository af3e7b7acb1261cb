"""Peak memory of tensors, on CUDA and on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def peak_mib(run: Callable[[], Any], device: torch.device) -> float:
    """Most memory that tensors made by ``run`` hold at once.

    On a CPU the profiler's allocations and releases, in order, are summed up: resident size is
    too coarse for the small ones.
    """
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        run()
    events = profile.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(np.cumsum([size for _, size in changes])) / 2**20
