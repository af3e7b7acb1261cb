"""What this machine can do: kernels, seconds per iteration, measured on it, and memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method import stroke_growth, stroke_spread
from nnunetv2_pclmix.method.network import PCLMixNetwork
from nnunetv2_pclmix.method.triton_kernels import Kernel
from scribble_tools.wording import counted

WARM_UP = 1  # iterations, not counted
MOST_TIMED, ENOUGH_SECONDS = 6, 3.0  # the fastest counts: others may use the machine, too
LOSS_AND_LOADING = 1.25  # of an iteration's time: loss, step, and augmentation beside it
BUSY = 0.25  # of the cores are at work already: what is measured beside that is too slow
LOOKS, BETWEEN_LOOKS = 10, 0.05  # seconds
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
CGROUP_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def kernels() -> dict[str, Kernel]:
    """What became of trying our kernels on the current GPU, by what they do."""
    return {"stroke spread": stroke_spread.kernel(), "stroke growth": stroke_growth.kernel()}


def build_network(plans: dict, configuration: str, channels: int, classes: int) -> nn.Module:
    """The stock network that the plans describe, with deep supervision."""
    manager = PlansManager(plans).get_configuration(configuration)
    return get_network_from_plans(
        manager.network_arch_class_name,
        manager.network_arch_init_kwargs,
        manager.network_arch_init_kwargs_req_import,
        channels,
        classes,
        deep_supervision=True,
    )


def seconds_per_iteration(
    plans: dict,
    configuration: str,
    channels: int,
    classes: int,
    config: PCLMixConfig,
    device: torch.device,
) -> float:
    """Measure what an iteration of a training takes here, on random images.

    Args:
        plans: with the sizes to try.
        channels, classes: of the data set.
        config: settings of the trainer; with mix an iteration makes two passes.
    """
    sizes = plans["configurations"][configuration]
    patch, batch = sizes["patch_size"], sizes["batch_size"]
    stock = build_network(plans, configuration, channels, classes)
    network = PCLMixNetwork(stock, patch, classes, config).to(device).train()
    data = torch.randn(batch, channels, *patch, device=device)
    taken = []
    while len(taken) <= WARM_UP or (
        len(taken) < WARM_UP + MOST_TIMED and sum(taken[WARM_UP:]) < ENOUGH_SECONDS
    ):
        _wait(device)
        start = time.perf_counter()
        output = network.embedded(network(data))
        feature = None if output.embedding is None else output.embedding.hidden
        tensors = [*output.main, output.auxiliary, feature]
        sum(t.square().mean() for t in tensors if t is not None).backward()
        network.zero_grad(set_to_none=True)
        _wait(device)
        taken.append(time.perf_counter() - start)
    return min(taken[WARM_UP:]) * (1 + config.dynamic_mix) * LOSS_AND_LOADING


def busy_warning() -> str:
    """What to say where others computed in the last minute; empty where not.

    Where the system does not tell, as on Windows, nothing is said.
    """
    cores = os.cpu_count() or 1
    try:
        load = os.getloadavg()[0]
    except (AttributeError, OSError):
        return ""
    if load <= BUSY * cores or not _busy_now(BUSY * cores):
        return ""
    return (
        f"other programs are at work here (load {load:.1f} on {counted(cores, 'core')}). What is "
        "measured now is slower than the machine, and sizes and training come out too small for "
        "it: run this again when it is idle"
    )


def _busy_now(most: float) -> bool:
    """Whether more processes than so many want to compute now, which a load of the last minute
    may be all that is left of. Where the system does not tell, they may.
    """
    wanting = []
    for _ in range(LOOKS):
        time.sleep(BETWEEN_LOOKS)
        try:
            field = Path("/proc/loadavg").read_text().split()[3]  # running/all
            wanting.append(int(field.partition("/")[0]) - 1)  # without this one
        except (OSError, ValueError, IndexError):
            return True
    return sum(wanting) > most * len(wanting)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory_gb(device: torch.device) -> float:
    """Memory (10^9 bytes) that a training may take now: the GPU's, or the computer's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 1e9
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):  # counts what caches would give back
                free = int(line.split()[1]) * 1024
    except (OSError, ValueError, AttributeError):  # not everywhere
        free = 8e9
    for limit, used in zip(CGROUP_LIMITS, CGROUP_USED, strict=True):
        try:
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no container, or "max"
            continue
    return free / 1e9
