"""`scribble_tools preview`: image, scribble, predictions and reference side by side in one PNG."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import maximum_filter

from scribble_tools.image_io import read_image
from scribble_tools.label_set import find_dataset_json, read_label_names, read_label_set
from scribble_tools.segmentation_files import read_labels

# Okabe & Ito's colours, told apart with any colour vision; 0 is the background scribble.
COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2")
PANEL_INCHES = 2.4
DOTS_PER_INCH = 150
STROKE_DOTS = 3  # a scribble is drawn about this wide, or as wide as it is


@dataclass(frozen=True)
class Panel:
    """One column of the sheet: a label map (slices, rows, columns) over the image.

    ``hidden`` is the value left transparent: the unlabelled voxels of a scribble, the background
    of a segmentation. ``strokes`` draws thin lines opaque and wide enough to be seen.
    """

    title: str
    labels: np.ndarray
    hidden: int = 0
    strokes: bool = False


def colour_of(value: int) -> str:
    """The fixed colour of a label value; it repeats after seven."""
    return COLOURS[value % len(COLOURS)]


def overlay(labels: np.ndarray, hidden: int, alpha: float, thicken: int = 0) -> np.ndarray:
    """RGBA picture (rows, columns, 4) of a label slice, transparent where it is ``hidden``.

    ``thicken`` widens every line by that many pixels to each side, for display only.
    """
    shown = np.where(labels == hidden, -1, labels.astype(np.int32))
    if thicken:
        wider = maximum_filter(shown, size=2 * thicken + 1)
        shown = np.where(shown == -1, wider, shown)
    picture = np.zeros((*labels.shape, 4))
    for value in np.unique(shown[shown >= 0]).tolist():
        picture[shown == value] = (*to_rgb(colour_of(value)), alpha)
    return picture


def choose_slices(panels: Sequence[Panel], count: int) -> list[int]:
    """Up to ``count`` slices with the most labelled pixels in the first panel, in their order."""
    first = panels[0]
    labelled = np.count_nonzero(first.labels != first.hidden, axis=(1, 2))
    return sorted(np.argsort(-labelled, kind="stable")[:count].tolist())


def contact_sheet(
    image: np.ndarray,
    panels: Sequence[Panel],
    spacing_mm: Sequence[float],
    label_names: Mapping[int, str] | None = None,
    slices: Sequence[int] | None = None,
) -> Figure:
    """Draw rows of slices, with the bare image and then every panel as columns.

    Args:
        image: (slices, rows, columns); so are all panels' labels.
        spacing_mm: of the rows and of the columns, for the right aspect; (row, column).
        label_names: for the legend; a value without name is shown as its number.
        slices: rows of the sheet; default: the three with most labels in the first panel.

    Raises:
        ValueError: there is no panel, a shape differs, or there is no such slice.
    """
    if not panels:
        raise ValueError("nothing to show over the image: give a scribble, prediction or reference")
    for panel in panels:
        if panel.labels.shape != image.shape:
            raise ValueError(f"{panel.title}: shape {panel.labels.shape}, image: {image.shape}")
    slices = choose_slices(panels, 3) if slices is None else list(slices)
    if wrong := [k for k in slices if not 0 <= k < len(image)]:
        raise ValueError(f"no slice {wrong[0]}: the image has slices 0 to {len(image) - 1}")
    _, rows, columns = image.shape
    height_mm, width_mm = rows * spacing_mm[0], columns * spacing_mm[1]
    scale = PANEL_INCHES / max(height_mm, width_mm)
    dots_per_pixel = scale * DOTS_PER_INCH * min(spacing_mm)
    thicken = max(0, round((STROKE_DOTS / dots_per_pixel - 1) / 2))
    low, high = np.percentile(image[slices], (0.5, 99.5))

    size = (scale * width_mm * (1 + len(panels)) + 0.4, (scale * height_mm) * len(slices) + 0.9)
    figure = Figure(size, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(slices), 1 + len(panels), squeeze=False)
    for row, k in enumerate(slices):
        axes[row, 0].set_ylabel(f"slice {k}")
        for axis, panel in zip(axes[row], (None, *panels), strict=True):
            axis.set(xticks=[], yticks=[])
            axis.imshow(
                image[k],
                cmap="gray",
                vmin=low,
                vmax=max(high, low + 1e-6),
                aspect=spacing_mm[0] / spacing_mm[1],
            )
            if row == 0:
                axis.set_title("image" if panel is None else panel.title, fontsize=9)
            if panel is not None:
                picture = overlay(
                    panel.labels[k],
                    panel.hidden,
                    alpha=1.0 if panel.strokes else 0.6,
                    thicken=thicken if panel.strokes else 0,
                )
                axis.imshow(picture, aspect=spacing_mm[0] / spacing_mm[1], interpolation="nearest")
    present = sorted({v for p in panels for v in np.unique(p.labels).tolist() if v != p.hidden})
    names = {0: "background", **(label_names or {})}
    handles = [Patch(color=colour_of(v), label=names.get(v, f"label {v}")) for v in present]
    if handles:
        legend_height = 0.4 / size[1]
        figure.get_layout_engine().set(rect=(0, legend_height, 1, 1 - legend_height))
        figure.legend(handles=handles, loc="lower center", ncols=len(handles), fontsize=9)
    return figure


def _slices_first(array: np.ndarray, axis: int) -> np.ndarray:
    return array[None] if array.ndim == 2 else np.moveaxis(array, axis, 0)


def preview(
    image_file: Path,
    scribble_file: Path | None,
    prediction_files: Sequence[Path],
    reference_file: Path | None,
    out: Path,
    slices: Sequence[int] | None = None,
) -> None:
    """Write a contact sheet of the given files as PNG.

    Slices are cut across the axis of the largest voxel size (the first one if all are equal).
    Names and the ignore label come from the dataset.json in or above the scribble's (then the
    reference's) folder; without one, the scribble's most frequent value is taken as unlabelled.

    Raises:
        FileNotFoundError, ValueError: a file is missing or unusable, or shapes differ.
    """
    source = read_image(image_file)
    image = sitk.GetArrayFromImage(source)
    if source.GetNumberOfComponentsPerPixel() > 1:
        image = image.mean(axis=-1)  # colour is of no use under coloured labels
    spacing_mm = source.GetSpacing()[::-1]
    axis = int(np.argmax(spacing_mm)) if len(spacing_mm) == 3 else -1
    in_plane = [s for k, s in enumerate(spacing_mm) if k != axis]

    folders = [path.parent for path in (scribble_file, reference_file) if path is not None]
    dataset_json = find_dataset_json(folders)
    names = read_label_names(dataset_json) if dataset_json else {}
    panels = []
    if scribble_file is not None:
        labels = read_labels(scribble_file)[0]
        unlabelled = read_label_set(dataset_json).ignore if dataset_json else None
        if unlabelled is None:
            values, counts = np.unique(labels, return_counts=True)
            unlabelled = int(values[np.argmax(counts)])
        panels.append(("scribble", labels, unlabelled, True))
    titles = [path.name.split(".")[0] for path in prediction_files]
    if len(set(titles)) < len(titles) or len(titles) == 1:
        titles = [path.absolute().parent.name for path in prediction_files]
    panels += [
        (title, read_labels(path)[0], 0, False)
        for title, path in zip(titles, prediction_files, strict=True)
    ]
    if reference_file is not None:
        panels.append(("reference", read_labels(reference_file)[0], 0, False))
    for title, labels, _, _ in panels:
        if labels.shape != image.shape:
            raise ValueError(f"{title}: shape {labels.shape}, {image_file}: shape {image.shape}")
    sheet = contact_sheet(
        _slices_first(image, axis),
        [Panel(t, _slices_first(labels, axis), hidden, s) for t, labels, hidden, s in panels],
        in_plane,
        names,
        slices,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.savefig(out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "One picture per case: rows are slices, columns are the image, the scribble, predictions "
        "and the reference, in colours that everyone can tell apart."
    )
    parser.epilog = (
        "example:\n  scribble_tools preview --image imagesTr/demo001_ed_0000.nii.gz \\\n"
        "    --scribble labelsTr/demo001_ed.nii.gz --ref labelsTr_dense/demo001_ed.nii.gz \\\n"
        "    --out demo001_ed.png"
    )
    parser.add_argument("--image", type=Path, required=True, help="one channel of the image")
    parser.add_argument("--scribble", type=Path, help="its scribble")
    parser.add_argument(
        "--pred", type=Path, nargs="+", default=[], help="predictions, titled by their folders"
    )
    parser.add_argument("--ref", type=Path, help="dense reference")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    parser.add_argument(
        "--slice",
        type=int,
        nargs="+",
        help="slices to show, from 0 (default: the three with most of the scribble)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the sub-command and return its exit code."""
    preview(args.image, args.scribble, args.pred, args.ref, args.out, args.slice)
    print(f"wrote {args.out}")
    return 0
