"""Stops a training whose loss or weights are not finite any more, before it is saved.

Mixed precision skips steps of infinite gradients as a matter of course, so gradients are not looked
at, and a loss may be infinite now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

# One after the other. A batch with extreme values can overflow in mixed precision, which skips its
# step; five in a row are the weights. Without mixed precision the first has spoiled them already.
TOO_MANY = 5

REMEDY = (
    "Nothing was saved since: --c goes on from the checkpoint of an earlier epoch, and starts anew "
    "in the first epoch, which has none. Do so once; if it comes again, look for images with NaN "
    "or extreme values (scribble_tools check) and at where the terms began to grow "
    "(pclmix_losses.png), and train with a lower learning rate (initial_lr), or without mixed "
    "precision where only that fails"
)


class FiniteWatch:
    """Looks at the losses of one process."""

    def __init__(self) -> None:
        self.in_a_row = 0
        self.began = ""

    def see(self, loss: float, terms: Mapping[str, float], iteration: int) -> None:
        """Take note of an iteration, by values that are on the host already."""
        # with several processes what stops the training is asked for at the end of an epoch only
        if self.in_a_row >= TOO_MANY:
            return
        if np.isfinite(loss):
            self.in_a_row = 0
            return
        if not self.in_a_row:
            names = [name for name, value in terms.items() if not np.isfinite(value)]
            self.began = f"{iteration}, in {', '.join(names) or 'the sum of all terms'}"
        self.in_a_row += 1

    @property
    def problem(self) -> str | None:
        """What the training has to stop for, or None."""
        if self.in_a_row < TOO_MANY:
            return None
        return f"the loss was not finite in {TOO_MANY} iterations in a row from {self.began} on"

    def problem_of_epoch(self, weights: Iterable[Tensor]) -> str | None:
        """The same, and whether the weights are finite; waits for the device once."""
        if torch.stack([tensor.isfinite().all() for tensor in weights]).all():
            return self.problem
        since = f" since {self.began}" if self.in_a_row else ""
        return self.problem or f"the network's weights are not finite any more{since}"


def stop_for(problem: str | None, tell: Callable[[str], None]) -> None:
    """Stop the training for a problem, if there is one.

    Raises:
        RuntimeError: there is; the message says what to do.
    """
    if problem is not None:
        message = f"The training stops: {problem}. {REMEDY}"
        tell(f"ERROR: {message}")
        raise RuntimeError(message)
