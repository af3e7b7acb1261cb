"""Our window attention blocks beside MONAI's Swin blocks: seconds and memory of forward + backward.

MONAI is no dependency of this project: install it (pip install monai) to repeat this. The two
are timed in turns within one run; what counts is the ratio.

    python benchmarks/window_attention.py [--threads N]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import monai
import numpy as np
import torch
from monai.networks.nets.swin_unetr import BasicLayer
from torch import nn

from nnunetv2_pclmix.method.window_attention import PositionBias, WindowBlock

CASES = {  # feature map, channels, heads, batch, window
    "2D, 36 x 36, 64 channels": ((36, 36), 64, 2, 12, 7),
    "2D, 64 x 56, 96 channels": ((64, 56), 96, 3, 12, 7),
    "3D, 16 x 20 x 16, 96 channels": ((16, 20, 16), 96, 3, 2, 7),
}


class Pair(nn.Module):
    """One plain and one shifted block, as the auxiliary decoder has them."""

    def __init__(self, channels, heads, size, window):
        super().__init__()
        self.blocks = nn.ModuleList(
            WindowBlock(channels, heads, size, window, shifted) for shifted in (False, True)
        )
        windows = [block.attention.window for block in self.blocks]
        self.position_bias = PositionBias(windows, [heads, heads])

    def forward(self, x):
        """(B, *size, C) to the same shape."""
        for block, bias in zip(self.blocks, self.position_bias(x.dtype), strict=True):
            x = block(x, bias)
        return x


def blocks(size, channels, heads, window, whose):
    """One plain and one shifted block with an MLP twice as wide as the tokens."""
    if whose == "ours":
        return Pair(channels, heads, size, window)
    layer = BasicLayer(
        channels, 2, heads, [window] * len(size), [0.0, 0.0], mlp_ratio=2.0, qkv_bias=True
    )
    return layer


def main() -> None:
    """Measure, print and write benchmarks/results/window_attention.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = {}
    for name, (size, channels, heads, batch, window) in CASES.items():
        x = torch.randn(batch, *size, channels, requires_grad=True)
        runs = {
            "ours": (blocks(size, channels, heads, window, "ours"), x),
            "monai": (blocks(size, channels, heads, window, "monai"), x.movedim(-1, 1)),
        }
        seconds = {whose: [] for whose in runs}
        for _ in range(args.repeats):
            for whose, (module, y) in runs.items():
                start = time.perf_counter()
                module(y).square().mean().backward(retain_graph=True)
                seconds[whose].append(time.perf_counter() - start)
        median = {whose: float(np.median(s[1:])) for whose, s in seconds.items()}
        rows[name] = {
            **{f"{whose}_seconds": round(m, 4) for whose, m in median.items()},
            "monai_over_ours": round(median["monai"] / median["ours"], 2),
        }
        print(name, rows[name])
    result = {
        "rows": rows,
        "threads": args.threads,
        "repeats": args.repeats,
        "versions": {"torch": torch.__version__, "monai": monai.__version__},
        "machine": f"{platform.machine()} CPU",
    }
    path = Path(__file__).parent / "results" / "window_attention.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
