"""Training in several processes: the device, the wrapping, who goes first, means over all."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import distributed as dist
from torch import nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel as DDP

from nnunetv2_pclmix.method.global_mean import world_size


def own_device(device: torch.device) -> torch.device:
    """The device of one of several processes, which nnU-Net and our `train` have chosen.

    nnU-Net takes the global rank for the device's index and CUDA for granted, which is wrong on a
    second machine and for a test on CPU. LOCAL_RANK, which nnU-Net does not set, may be a
    stranger's.
    """
    return torch.device("cuda", torch.cuda.current_device()) if device.type == "cuda" else device


def wrap(network: nn.Module, device: torch.device) -> DDP:
    """Wrap the network for DDP on the device that it is on."""
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    devices = [device.index] if device.type == "cuda" else None
    # buffers are constants; exchanging them would hang the final validation, in which one process
    # can have more cases than another. torch 2.15 renamed the option
    newer = "forward_sync_buffers" in inspect.signature(DDP).parameters
    no_sync = {"forward_sync_buffers" if newer else "broadcast_buffers": False}
    return DDP(network, device_ids=devices, **no_sync)


def bare(network: nn.Module) -> nn.Module:
    """The network without what DDP and torch.compile wrap around it."""
    network = network.module if isinstance(network, DDP) else network
    return network._orig_mod if isinstance(network, OptimizedModule) else network


@contextlib.contextmanager
def first_process_first(several: bool, rank: int) -> Iterator[None]:
    """Let rank 0 through the block before the others, which then find what it has written."""
    if several and rank != 0:
        dist.barrier()
    yield
    if several and rank == 0:
        dist.barrier()


def draw_otherwise(rank: int, epoch: int) -> None:
    """Other draws than the first process', whose random state is the one that is saved."""
    if rank != 0:
        torch.manual_seed(torch.initial_seed() + rank + 1000 * epoch)


def mean_over_processes(
    values: Sequence[np.ndarray], problem: str | None
) -> tuple[list[np.ndarray], str | None]:
    """Means of each value over all processes, and the first problem that one of them has."""
    of_processes: list = [None] * world_size()
    dist.all_gather_object(of_processes, (*values, problem))
    *gathered, problems = zip(*of_processes, strict=True)
    return [np.mean(value, 0) for value in gathered], next(filter(None, problems), None)
