"""Draw the same slices before and after: where two models' outlines lie on the edges of the image.

One line per case: the image alone, so that its edges are seen; the reference's outlines; and those
of the two predictions, over the reference's dashed in white. Zoomed to the organs.

    python benchmarks/accuracy/before_after.py --dataset "$nnUNet_raw/Dataset031_Crop" \
        --before STOCK/fold_0/benchmark_raw --after OURS/fold_0/benchmark_raw \
        --names "stock" "with support" --out before_after.png

Without ``--slice`` it shows, among the cases that both folders and ``labelsTr_dense`` have, those
of the best, the median and the worst change of Dice, so that losses are seen as well as gains; of
each the slice in which the two predictions differ most. The picture holds the images' voxels: pass
it on only as their licence allows.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.dataset.raw import RawDataset
from scribble_tools.dataset.writing import find_raw_dataset, written_atomically
from scribble_tools.draw.contact_sheet import colour_of
from scribble_tools.draw.display_plane import display_plane
from scribble_tools.evaluate.scores import dice
from scribble_tools.images.file_kind import NATURAL, file_ending_of
from scribble_tools.images.image_io import geometry_difference, read_image
from scribble_tools.images.segmentation_files import labels_of

PANEL_INCHES = 2.5


@dataclass(frozen=True)
class Shown:
    """A case as it is displayed: arrays (slices, rows, columns), spacing in mm of the last two."""

    name: str
    image: np.ndarray
    reference: np.ndarray
    before: np.ndarray
    after: np.ndarray
    spacing_mm: tuple[float, float]


def class_dice(predicted: np.ndarray, reference: np.ndarray, labels: LabelSet) -> float:
    """Mean Dice of the classes that are on one of the two sides; NaN if none is."""
    values = [dice(np.isin(predicted, v), np.isin(reference, v)) for v in labels.classes.values()]
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def read_case(name: str, image: Path, maps: Mapping[str, Path]) -> Shown:
    """Read one case, turned as it is displayed.

    Args:
        maps: files of ``reference``, ``before`` and ``after``.

    Raises:
        ValueError: files are missing, unreadable or on other grids than the image; all are named.
    """
    problems, read = [], {}
    for path in (image, *maps.values()):
        try:
            read[path] = read_image(path)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    first, natural = read[image], file_ending_of(image) in NATURAL
    for path in maps.values():
        if difference := geometry_difference(read[path], first, size_only=natural):
            problems.append(f"{path} does not lie on the grid of {image}: {difference}")
    if problems:
        raise ValueError("\n".join(problems))
    plane = display_plane(first, image)
    pixels = sitk.GetArrayFromImage(first)
    if pixels.ndim > first.GetDimension():  # colours
        pixels = pixels.mean(axis=-1)
    cut = {key: plane.cut(labels_of(read[path], path)) for key, path in maps.items()}
    return Shown(name, plane.cut(pixels), **cut, spacing_mm=plane.spacing_mm)


def find_cases(
    dataset: Path, before: Path, after: Path, channel: int
) -> dict[str, tuple[Path, dict[str, Path]]]:
    """Image and label maps of the cases that have all of them.

    Raises:
        FileNotFoundError: a folder is missing, or no case has all.
    """
    raw = RawDataset.read(dataset)
    if missing := [str(folder) for folder in (before, after) if not folder.is_dir()]:
        raise FileNotFoundError(f"no such folder: {', '.join(missing)}")
    found = {}
    for name, reference in raw.files("labelsTr_dense").items():
        image = dataset / "imagesTr" / f"{name}_{channel:04d}{raw.file_ending}"
        maps = {
            "reference": reference,
            "before": before / reference.name,
            "after": after / reference.name,
        }
        if image.is_file() and all(path.is_file() for path in maps.values()):
            found[name] = (image, maps)
    if not found:
        raise FileNotFoundError(
            f"no case has a reference in {dataset / 'labelsTr_dense'}, an image, and a prediction "
            f"in both {before} and {after}"
        )
    return found


def choose(gains: Mapping[str, float]) -> dict[str, str]:
    """The cases of the best, the median and the worst change of Dice, with these words.

    Of one or two cases, all; a case without Dice is not chosen.
    """
    ranked = sorted((name for name in gains if np.isfinite(gains[name])), key=lambda n: -gains[n])
    places = {"best change": 0, "median change": len(ranked) // 2, "worst change": len(ranked) - 1}
    chosen: dict[str, str] = {}
    for words, place in places.items():
        if ranked:
            chosen.setdefault(ranked[place], words)
    return chosen


def differing_slice(shown: Shown) -> int:
    """The slice in which the two predictions differ most; where they are equal, the largest one."""
    changed = np.count_nonzero(shown.before != shown.after, axis=(1, 2))
    if not changed.any():
        changed = np.count_nonzero(shown.reference, axis=(1, 2))
    return int(changed.argmax())


def zoom(
    maps: Sequence[np.ndarray], values: Sequence[int], spacing_mm: Sequence[float], margin_mm: float
) -> tuple[slice, slice]:
    """The box (rows, columns) around the classes in all maps, with a margin; all if there is none.

    Args:
        maps: label slices (rows, columns) of one shape.
    """
    mask = np.logical_or.reduce([np.isin(labels, values) for labels in maps])
    if not mask.any():
        return slice(None), slice(None)
    box = []
    for axis, spacing in enumerate(spacing_mm):
        hits = np.flatnonzero(mask.any(axis=1 - axis))
        margin = int(np.ceil(margin_mm / spacing))
        box.append(slice(max(0, int(hits[0]) - margin), int(hits[-1]) + margin + 1))
    return tuple(box)


def draw_outlines(axis, labels: np.ndarray, classes: LabelSet, style: Mapping) -> None:
    """The classes' outlines between pixels, each in its colour or as ``style`` says."""
    for values in classes.classes.values():
        mask = np.pad(np.isin(labels, values), 1).astype(float)
        if mask.any():
            grid = (np.arange(n) - 1 for n in mask.shape[::-1])
            own = {"colors": [colour_of(values[0])], **style}
            axis.contour(*grid, mask, levels=[0.5], **own)


def before_after_figure(
    lines: Sequence[tuple[Shown, int, str]],
    labels: LabelSet,
    names: tuple[str, str],
    margin_mm: float,
) -> Figure:
    """Draw a line per slice.

    Args:
        lines: case, number of the slice, and the words that say why it is shown.
        names: of the two predictions.
    """
    values = sorted(labels.values - {0})
    titles = ("image", "reference", *names)
    size = (PANEL_INCHES * 4 + 0.5, PANEL_INCHES * len(lines) + 0.9)
    figure = Figure(size, dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    # names of cases are text, not formulas, whatever dollars are in them
    with matplotlib.rc_context({"text.parse_math": False}):
        axes = figure.subplots(len(lines), 4, squeeze=False)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title, fontsize=10)
        for row, (shown, at, words) in zip(axes, lines, strict=True):
            maps = {key: getattr(shown, key)[at] for key in ("reference", "before", "after")}
            box = zoom([*maps.values()], values, shown.spacing_mm, margin_mm)
            image = shown.image[at][box].astype(float)
            low, high = np.percentile(image[np.isfinite(image)], (1, 99))
            reference = maps["reference"][box]
            for axis, key in zip(row, ("", *maps), strict=True):
                aspect = shown.spacing_mm[0] / shown.spacing_mm[1]
                axis.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=aspect)
                if key in ("before", "after"):
                    dashed = {"colors": "white", "linestyles": [(0, (4, 4))], "linewidths": 1}
                    draw_outlines(axis, reference, labels, dashed)
                    value = class_dice(maps[key], maps["reference"], labels)
                    text = "no class" if np.isnan(value) else f"Dice {value:.3f} in this slice"
                    axis.set_xlabel(text, fontsize=8)
                if key:
                    draw_outlines(axis, maps[key][box], labels, {"linewidths": 1.4})
                rows, columns = image.shape  # contours reach beyond
                axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xticks=[], yticks=[])
            number = f", slice {at}" if len(shown.image) > 1 else ""
            row[0].set_ylabel(f"{words}\n{shown.name}{number}", fontsize=8)
        handles = [
            Line2D([], [], color=colour_of(values[0]), label=name)
            for name, values in labels.classes.items()
        ]
        dashed = Line2D([], [], color="0.5", ls="--", lw=0.8, label="reference (white)")
        figure.legend(
            handles=[*handles, dashed],
            loc="outside lower center",
            ncols=min(6, len(handles) + 1),
            fontsize=8,
            frameon=False,
        )
    return figure


def run(args: argparse.Namespace) -> None:
    """Choose, draw and write.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: see `find_cases`, `read_case`; or the
            picture exists, or a slice that was asked for does not.
    """
    if args.out.exists() and not args.overwrite:
        raise FileExistsError(f"{args.out} exists: give another --out or say --overwrite")
    dataset = find_raw_dataset(args.dataset)
    labels = RawDataset.read(dataset).labels
    cases = find_cases(dataset, args.before, args.after, args.channel)
    lines: list[tuple[Shown, int, str]] = []
    if args.slice:
        if unknown := sorted({name for name, _ in args.slice} - cases.keys()):
            raise ValueError(f"no such case: {', '.join(unknown)}; there are {', '.join(cases)}")
        for name, at in args.slice:
            shown = read_case(name, *cases[name])
            if not at.isdigit() or int(at) >= len(shown.image):
                raise ValueError(f"--slice {name} {at}: it has slices 0 to {len(shown.image) - 1}")
            lines.append((shown, int(at), ""))
    else:
        gains, problems = {}, []
        for name, files in cases.items():
            try:
                shown = read_case(name, *files)
            except ValueError as error:
                problems.append(str(error))
                continue
            scores = [class_dice(m, shown.reference, labels) for m in (shown.after, shown.before)]
            gains[name] = scores[0] - scores[1]
        if problems:
            raise ValueError("\n".join(problems))
        for name, words in choose(gains).items():
            shown = read_case(name, *cases[name])
            lines.append((shown, differing_slice(shown), f"{words}, Dice {gains[name]:+.3f}"))
    figure = before_after_figure(lines, labels, tuple(args.names), args.margin_mm)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(args.out) as temporary:
        figure.savefig(temporary)
    for shown, at, words in lines:
        print(f"{shown.name}, slice {at}" + f": {words}" * bool(words))
    print(f"wrote {args.out}, of {len(cases)} cases")


def main(words: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="id, name or folder of the raw data set")
    parser.add_argument("--before", type=Path, required=True, help="folder of predictions")
    parser.add_argument("--after", type=Path, required=True, help="folder of predictions")
    parser.add_argument("--names", nargs=2, default=("before", "after"), metavar="NAME")
    parser.add_argument("--out", type=Path, required=True, help="the picture")
    parser.add_argument(
        "--slice",
        nargs=2,
        action="append",
        metavar=("CASE", "NUMBER"),
        help="show this one, as the file counts; may be repeated",
    )
    parser.add_argument(
        "--margin-mm", type=float, default=12, help="around the organs (default: %(default)s)"
    )
    parser.add_argument("--channel", type=int, default=0, help="of the images (default: 0)")
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args(words)
    try:
        run(args)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
