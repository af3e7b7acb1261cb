"""Means over the batch of all processes, so that training on N GPUs is training on one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def global_sum(x: Tensor) -> Tensor:
    """``x``, which is changed, added up over all processes; without gradient."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


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
