"""Means over the batch of all processes, so that training on N GPUs is training on one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist


def exchanging() -> bool:
    """Whether processes train together; it may be one."""
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if exchanging() else 1


def global_sum(x: Tensor) -> Tensor:
    """``x``, which is changed, added up over all processes; without gradient."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


def global_total(x: Tensor) -> Tensor:
    """``x`` added up over all processes, with gradient.

    DDP averages the processes' gradients. Each has that of its own part times their number, so that
    the average is the gradient of what all of them compute of the total.
    """
    if world_size() == 1:
        return x
    return global_sum(x.detach().clone()) + world_size() * (x - x.detach())


def global_mean(total: Tensor, count: Tensor) -> Tensor:
    """``total / count``, where the count is that of all processes together.

    DDP averages the processes' gradients. Strokes are few and unevenly spread, so the average of
    each process' own mean would not be the mean over the batch. With T_r and n_r the totals and
    counts of R processes, each gets R T_r / sum(n), whose average is sum(T) / sum(n).

    Args:
        total: scalar, with gradient.
        count: scalar, what ``total`` was summed over; 0 gives 0, with zero gradients.
    """
    count = global_sum(count.detach().float().clone())
    return total * world_size() / count.clamp(min=1)


class Mean(NamedTuple):
    """A `global_mean` that is still to be taken: with others, whose counts are exchanged at once.

    Attributes:
        total: scalar, with gradient.
        count: int64 scalar, what ``total`` was summed over.
    """

    total: Tensor
    count: Tensor

    def value(self) -> Tensor:
        """The mean, by an exchange of its own."""
        return global_mean(self.total, self.count)


def values_of(means: Sequence[Mean]) -> Tensor:
    """(n,) values of n means by one exchange of counts."""
    counts = global_sum(torch.stack([mean.count for mean in means])).clamp(min=1)
    totals = torch.stack([mean.total for mean in means])
    return totals / (counts if world_size() == 1 else counts / world_size())


@torch.no_grad()
def gather_batch(x: Tensor, largest: int) -> Tensor:
    """Concatenate (B_r, ...) of all processes, each padded with zeros to ``largest`` samples.

    Without batch Dice, nnU-Net's shares of a batch can differ by one. Exchanging their sizes would
    wait for the device in every iteration, so the padding stays: zeros are no region that the
    memory would enqueue.
    """
    if world_size() == 1:
        return x
    padded = torch.cat((x, x.new_zeros(largest - len(x), *x.shape[1:])))
    # as bytes: not every backend exchanges booleans
    flag = padded.dtype == torch.bool
    padded = padded.to(torch.uint8) if flag else padded
    parts = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(parts, padded)
    gathered = torch.cat(parts)
    return gathered.bool() if flag else gathered
