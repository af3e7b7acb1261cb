"""Draw the best, median and worst validation case of a model, with another model's beside it.

Label maps only, without the images, which may not be passed on: scribble, the other prediction, the
model's, the dense reference, in the slice where the two err most. Ranked by the mean Dice of the
model's row in the results.

    python benchmarks/accuracy/picture.py ROWS.jsonl --dataset "$nnUNet_raw/Dataset027_ACDC" \
        --model FOLD/benchmark_raw --other OTHER_FOLD/benchmark_raw --out picture.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np
import SimpleITK as sitk

from scribble_tools.draw.contact_sheet import colour_of

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def main() -> None:
    """Rank, read and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--row", type=int, default=-1, help="line of the model (default: the last)")
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--names", nargs=2, default=("stock nnU-Net", "PCLMix"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    row = json.loads(args.rows.read_text().splitlines()[args.row])
    content = json.loads((args.dataset / "dataset.json").read_text())
    ignore = content["labels"]["ignore"]
    dice: dict[str, list[float]] = {}
    for case, _, value, *_ in row["raw"]["cases"]:
        dice.setdefault(case, []).append(value)
    ranked = sorted(dice, key=lambda case: -np.mean(dice[case]))
    chosen = [("best", ranked[0]), ("median", ranked[len(ranked) // 2]), ("worst", ranked[-1])]
    titles = ["scribble", *args.names, "dense reference"]
    folders = ["labelsTr", args.other, args.model, "labelsTr_dense"]
    figure, axes = plt.subplots(3, 4, figsize=(8.4, 6.6), dpi=80, layout="constrained")
    for line, (rank, case) in zip(axes, chosen, strict=True):
        maps = [
            sitk.GetArrayFromImage(
                sitk.ReadImage(str(args.dataset / folder / f"{case}{content['file_ending']}"))
            )
            for folder in folders  # an absolute folder replaces the data set's
        ]
        wrong = sum((labels != maps[3]).sum((1, 2)) for labels in maps[1:3])
        at = wrong.argmax()
        for axis, title, labels in zip(line, titles, maps, strict=True):
            shown = np.full((*labels.shape[1:], 3), 0.93)
            for label in np.unique(labels[at]):
                if 0 < label < ignore:
                    shown[labels[at] == label] = matplotlib.colors.to_rgb(colour_of(int(label)))
            if title == "scribble":
                shown[labels[at] == 0] = 0.35
            axis.imshow(shown, interpolation="nearest")
            axis.set(xticks=[], yticks=[], title=title if rank == "best" else "")
        line[0].set_ylabel(f"{rank}: {case}\nDice {np.mean(dice[case]):.2f}", fontsize=8)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out)


if __name__ == "__main__":
    main()
