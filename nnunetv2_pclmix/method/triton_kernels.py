"""Where Triton's kernels run: each has a module of its own, and torch does the same without it."""

from __future__ import annotations

import functools
import importlib
import math
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Kernel(NamedTuple):
    """What became of trying a kernel.

    Attributes:
        launch: calls it; None where it does not run.
        why_not: the reason in words, empty where it runs.
    """

    launch: Callable[..., Tensor] | None
    why_not: str


@functools.cache
def tried(module: str, by_torch: Callable[..., Tensor]) -> Kernel:
    """The ``launch`` of a module, if it gives what torch gives for all of its ``examples()``.

    Warns once where it does not, whatever the reason: Triton may be missing, too old, or find no C
    compiler.
    """
    try:
        found = importlib.import_module(module)
        for example in found.examples():
            if not torch.equal(found.launch(*example), by_torch(*example)):
                raise ValueError("its result is not that of torch")
    except Exception as error:  # in whatever way it fails, there is another that gives the same
        why_not = f"{type(error).__name__}: {error}"
        what = module.rpartition(".")[2].removesuffix("_triton").replace("_", " ")
        warnings.warn(f"{what} takes many small steps: {why_not}", stacklevel=2)
        return Kernel(None, why_not)
    return Kernel(found.launch, "")


def disorder(shape: Sequence[int], device: str) -> Tensor:
    """Numbers from 0 to 60, always the same, for ``examples()``."""
    number = torch.arange(math.prod(shape), device=device)
    return (number * 7919 // 13 % 61).view(*shape)
