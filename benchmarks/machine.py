"""What a measurement was made on: kind of machine, versions, commit; never a host's name."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from scribble_tools.dataset.provenance import package_versions


def processor() -> str:
    """Model name of the CPU, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def commit() -> str:
    """Abbreviated commit of this checkout, with ``-dirty`` where files differ from it."""
    command = ["git", "describe", "--always", "--dirty"]
    folder = Path(__file__).parent
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout.strip()
    except OSError:  # no git
        return ""


def provenance(device: torch.device) -> dict[str, Any]:
    """``machine``, ``versions`` and ``commit``, for the JSON file of a benchmark."""
    machine = {"processor": processor(), "cores": os.cpu_count(), "device": device.type}
    if device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(device)
    else:
        machine["threads"] = torch.get_num_threads()
    packages = ("torch", "dynamic_network_architectures", "batchgeneratorsv2")
    versions = {**package_versions(), **{name: version(name) for name in packages}}
    return {"machine": machine, "versions": versions, "commit": commit()}
