"""How much memory a training takes."""

from __future__ import annotations

import sys

import torch


def peak_gb(device: torch.device) -> float | None:
    """The most memory (10^9 bytes) that this process has used: the GPU's, or the computer's.

    Of the computer's without the workers; None where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used * (1 if sys.platform == "darwin" else 1024) / 1e9
