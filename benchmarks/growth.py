"""How the cost of all that is not network grows with image size and number of classes.

Losses of both passes with their back-propagation to the network's outputs, memory queue, pseudo
label and mix, on random outputs: no network, no data. Seconds, peak memory of tensors, and the
exponent p of a fit cost ~ n^p over the larger half of the sizes (1 is linear; the smaller half is
the constant cost of starting operations).

    python benchmarks/growth.py --out benchmarks/results/growth_cpu.json

writes a plot beside the JSON file. A few minutes on two cores, of which the largest volumes take
most; ``--sizes-2d``, ``--sizes-3d`` and ``--classes`` choose others.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from machine import provenance
from peak_memory import peak_mib
from step_parts import Clock
from torch import Tensor

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.dynamic_mix import draw_mix
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
from nnunetv2_pclmix.method.network import TrainingOutput
from nnunetv2_pclmix.method.objective import Objective
from nnunetv2_pclmix.method.pixel_embedding import PixelEmbedding
from nnunetv2_pclmix.method.pixel_memory import PixelMemory
from nnunetv2_pclmix.method.stroke_support import stroke_support
from nnunetv2_pclmix.method.term_weights import term_weights, weighted_sum
from scribble_tools.dataset.writing import write_json
from scribble_tools.text_tables import text_table

BATCH, LEVELS, HALFWAY = 2, 4, 0.5
FEATURES = 128  # of the embedded feature
CLASSES, SIZE = 4, 128  # what stays the same while the other one grows
SIZES_2D, SIZES_3D = (64, 96, 128, 192, 256, 384, 512), (32, 48, 64, 96, 128, 160)
NUMBERS_OF_CLASSES = (2, 4, 8, 16, 32, 64, 100)


class NotNetwork:
    """A training step without its network, for images (BATCH, 1, *spatial)."""

    def __init__(self, spatial: Sequence[int], classes: int, device: torch.device) -> None:
        from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
        from nnunetv2.utilities.helpers import softmax_helper_dim1

        self.config = PCLMixConfig()
        # as nnU-Net sets both
        weights = np.array([2.0**-i for i in range(LEVELS - 1)] + [0.0])
        dice = MemoryEfficientSoftDiceLoss(
            softmax_helper_dim1, batch_dice=True, do_bg=False, smooth=1e-5, ddp=False
        )
        labels = ExclusiveLabels(classes)
        levels = list(weights / weights.sum())
        self.objective = Objective(self.config, labels, levels, dice, device)
        size, dim = self.config.memory_per_class(classes), self.config.embedding_dim
        self.memory = PixelMemory(classes, size, dim).to(device)
        self.sizes = [[s // 2**level for s in spatial] for level in range(LEVELS)]
        self.coarse = [s // self.config.embedding_stride for s in spatial]
        self.classes, self.device = classes, device
        self.image = torch.randn(BATCH, 1, *spatial, device=device)
        target = torch.randint(0, classes, self.image.shape, dtype=torch.int16, device=device)
        target.masked_fill_(torch.rand(self.image.shape, device=device) > 0.01, classes)
        self.scribble = target
        entry = torch.randn(size, classes, dim, device=device)
        self.memory.enqueue(
            F.normalize(entry, dim=2), torch.ones(size, classes, dtype=torch.bool, device=device)
        )

    def output(self) -> TrainingOutput:
        """Random outputs of a network, as leaves."""

        def random(channels: int, size: Sequence[int]) -> Tensor:
            return torch.randn(BATCH, channels, *size, device=self.device)

        dim = self.config.embedding_dim
        weights = torch.randn(dim, FEATURES, device=self.device), torch.zeros(dim).to(self.device)
        embedding = PixelEmbedding(random(FEATURES, self.coarse).requires_grad_(), *weights)
        return TrainingOutput(
            [random(self.classes, size).requires_grad_() for size in self.sizes],
            random(self.classes, self.sizes[0]).requires_grad_(),
            embedding,
        )

    def __call__(self, first: TrainingOutput, second: TrainingOutput) -> None:
        """What a training step does with the outputs of its two passes."""
        weights = term_weights(self.config, HALFWAY)
        encoding = self.objective.labels
        support = stroke_support(encoding, first.main[0], self.scribble)
        terms, queued = self.objective.first_pass(
            first, self.scribble, self.memory, HALFWAY, support
        )
        weighted_sum(terms, weights).backward()
        self.memory.enqueue(*queued)
        labels = self.objective.pseudo_labels(first, self.scribble, support, HALFWAY)
        mix = draw_mix(BATCH, self.sizes[0], self.config.mix_area, self.device)
        mix(self.image)
        terms = self.objective.second_pass(
            second, mix(self.scribble), mix(*labels), mix(support.background), support.trust
        )
        weighted_sum(terms, weights).backward()


def measure(
    spatial: Sequence[int], classes: int, device: torch.device, repeats: int, clock: Clock
) -> dict[str, float]:
    """Seconds, the least of some repeats, and peak MiB."""
    step = NotNetwork(spatial, classes, device)
    seconds = []
    for _ in range(repeats + 1):
        outputs = step.output(), step.output()
        start = clock.mark()
        step(*outputs)
        seconds.append(clock.seconds(start, clock.mark()))
    outputs = step.output(), step.output()
    return {
        "voxels": BATCH * int(np.prod(spatial)),
        "classes": classes,
        "seconds": min(seconds[1:]),
        "mib": peak_mib(lambda: step(*outputs), device),
    }


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """p of the fit cost ~ size^p over the larger half; None for fewer than two sizes."""
    half = len(sizes) // 2
    sizes, costs = sizes[min(half, len(sizes) - 2) :], costs[min(half, len(sizes) - 2) :]
    if len(sizes) < 2:
        return None
    return round(float(np.polyfit(np.log(sizes), np.log(costs), 1)[0]), 3)


def draw(series: dict[str, dict[str, Any]], path: Path) -> None:
    """Cost over size on logarithmic axes, with a dashed line of linear growth for each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(8, 6), layout="constrained")
    colours = dict(zip(series, ("#0072B2", "#D55E00", "#009E73"), strict=True))
    for name, content in series.items():
        column = int(content["grows"] == "classes")
        for axis, cost, unit in zip(
            axes[:, column], ("seconds", "mib"), ("time, s", "peak memory, MiB"), strict=True
        ):
            x = np.array([row[content["grows"]] for row in content["rows"]])
            y = np.array([row[cost] for row in content["rows"]])
            power = content["exponents"][cost]
            label = name if power is None else f"{name}: exponent {power:.2f}"
            axis.loglog(x, y, "o-", color=colours[name], label=label)
            axis.loglog(x, y[-1] * x / x[-1], "--", color=colours[name], alpha=0.5)
            axis.set(ylabel=unit, xlabel=content["grows"] + (" in the batch" if not column else ""))
            if column:  # few numbers, all of which fit
                axis.set_xticks(x, x)
                axis.minorticks_off()
            axis.grid(which="major", alpha=0.3)
            axis.legend(fontsize="small")
    figure.suptitle("Cost of all that is not network; dashed: linear growth")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table, write JSON and plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file; the plot gets its name with .png")
    parser.add_argument("--sizes-2d", type=int, nargs="*", default=SIZES_2D)
    parser.add_argument("--sizes-3d", type=int, nargs="*", default=SIZES_3D)
    parser.add_argument("--classes", type=int, nargs="*", default=NUMBERS_OF_CLASSES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: seconds of the process"
    )
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    clock = Clock(device, args.clock == "cpu")
    plan = {
        "2D": ("voxels", [((size, size), CLASSES) for size in sorted(args.sizes_2d)]),
        "3D": ("voxels", [((size,) * 3, CLASSES) for size in sorted(args.sizes_3d)]),
        f"{SIZE} x {SIZE}": ("classes", [((SIZE, SIZE), k) for k in sorted(args.classes)]),
    }
    series = {}
    for name, (grows, points) in plan.items():
        rows = []
        for spatial, classes in points:
            row = measure(spatial, classes, device, args.repeats, clock)
            rows.append({"spatial": list(spatial), **row})
        if rows:
            sizes = [row[grows] for row in rows]
            powers = {c: exponent(sizes, [row[c] for row in rows]) for c in ("seconds", "mib")}
            series[name] = {"grows": grows, "rows": rows, "exponents": powers}
            table = [
                (
                    " x ".join(map(str, row["spatial"])),
                    row["classes"],
                    f"{1000 * row['seconds']:.1f}",
                    f"{1e9 * row['seconds'] / row['voxels'] / row['classes']:.1f}",
                    f"{row['mib']:.1f}",
                    f"{row['mib'] * 2**20 / row['voxels'] / row['classes']:.0f}",
                )
                for row in rows
            ]
            header = ("size", "classes", "ms", "ns / voxel / class", "MiB", "bytes / voxel / class")
            print(text_table(header, table))
            print(
                f"{name}: cost ~ {grows}^p, p = {powers['seconds']} time, {powers['mib']} memory\n"
            )
    if args.out:
        settings = {"batch": BATCH, "repeats": args.repeats, "clock": args.clock}
        write_json({"series": series, "settings": settings, **provenance(device)}, args.out)
        draw(series, args.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
