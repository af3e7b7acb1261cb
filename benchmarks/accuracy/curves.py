"""Draw the rows of benchmarks/accuracy/results over the length of the training.

Dice and islands over the iterations, one line per trainer, data set and settings through the means
of the seeds, a dot per seed; solid raw, dashed with the largest component of each class.

    python benchmarks/accuracy/curves.py benchmarks/accuracy/results/acdc_whole.jsonl \
        --trainers nnUNetTrainer nnUNetTrainerStrokeSupport --out docs/pictures/acdc_length.png

Trainers are called by today's names: see `row_values.trainer_today`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot
from row_values import KINDS, read_groups

# Okabe & Ito
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
NAMES = {"nnUNetTrainer": "stock nnU-Net", "nnUNetTrainerStrokeSupport": "stroke support"}
PANELS = {"dice": "Dice", "hd95_mm": "HD95, mm", "islands_per_case": "islands per case"}


def main() -> None:
    """Read the rows, draw, write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="+", type=Path)
    parser.add_argument("--trainers", nargs="*", help="with settings as table.py prints them")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    lines: dict[str, dict[int, list[dict]]] = {}
    for (dataset, _, name, length), rows in sorted(read_groups(args.rows).items()):
        name = name.replace(rows[0]["trainer"], rows[0]["today"], 1)
        if args.trainers and name not in args.trainers:
            continue
        short = NAMES.get(name, name)
        lines.setdefault(f"{short}, {dataset.split('_', 1)[1]}", {})[length] = rows
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(12, 4.2), layout="constrained")
    for axis, (key, title) in zip(axes, PANELS.items(), strict=True):
        for (name, lengths), colour in zip(lines.items(), COLOURS, strict=False):
            for kind, dash in zip(KINDS, ("-", "--"), strict=True):
                if key == "islands_per_case" and kind != KINDS[0]:
                    continue  # there are none left
                values = {
                    n: [row[kind]["summary"]["overall"][key] for row in rows]
                    for n, rows in lengths.items()
                }
                means = [np.mean(v) for v in values.values()]
                label = name if kind == KINDS[0] else None
                axis.plot(list(values), means, dash, color=colour, label=label)
                dots = [(n, v) for n, seeds in values.items() for v in seeds]
                axis.plot(*zip(*dots, strict=True), "o", color=colour, ms=4)
        axis.set(xscale="log", xlabel="iterations", title=title)
        axis.set_xticks(sorted({n for lengths in lines.values() for n in lengths}))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        if key != "dice":
            axis.set_ylim(bottom=0)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(args.out, dpi=80)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
