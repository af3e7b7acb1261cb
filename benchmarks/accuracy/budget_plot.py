"""Draw Dice over the number of annotated patients: the table `budgets` of page.json as a picture.

python benchmarks/accuracy/budget_plot.py --out docs/pictures/budgets.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from page import tables

# Okabe & Ito
COLOURS = {"stock Dice": "#000000", "ours": "#0072B2"}
NAMES = {"stock Dice": "stock nnU-Net", "ours": "stroke support"}
TITLES = {"hearts": "hearts (ACDC), patients", "drawn": "drawn organs and lesions, cases"}


def main() -> None:
    """Read the table, draw, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    head, _, *lines = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in tables("budgets")["budgets"].splitlines()
    )
    figure, axes = pyplot.subplots(1, len(TITLES), figsize=(10, 3.8), layout="constrained")
    for axis, (task, title) in zip(axes, TITLES.items(), strict=True):
        own = [line for line in lines if line[0].startswith(task)]
        counts = [int(line[0].split()[1]) for line in own]
        for column, name in NAMES.items():
            values = [float(line[head.index(column)]) for line in own]
            axis.plot(counts, values, "o-", color=COLOURS[column], label=name)
        axis.set(xscale="log", xlabel=title, ylabel="Dice", ylim=(0.4, 0.9))
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend(loc="lower right")
    figure.savefig(args.out, dpi=80)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
