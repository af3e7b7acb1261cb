"""Where Triton's kernels run: each has a module of its own, and torch does the same without it."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable

from torch import Tensor


@functools.cache
def launcher(module: str) -> Callable[..., Tensor] | None:
    """The ``launch`` of a module, tried with its ``example()``; None where it does not run."""
    try:
        found = importlib.import_module(module)
        found.launch(*found.example())
    # Triton may be missing, too old, or find no C compiler: in whatever way it fails, there is
    # another that gives the same
    except Exception as error:
        what = module.rpartition(".")[2].removesuffix("_triton").replace("_", " ")
        text = f"{what} takes many small steps: {type(error).__name__}: {error}"
        warnings.warn(text, stacklevel=2)
        return None
    return found.launch
