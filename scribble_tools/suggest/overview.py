"""The first places of the list in one picture: the image, and what is drawn and predicted there."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch

from scribble_tools.draw.contact_sheet import colour_of, legend_columns_of, overlay, thicken
from scribble_tools.suggest.places import Place
from scribble_tools.suggest.starting_layers import MARK, ring_mm

COLUMNS = 4  # places side by side, each with two pictures one above the other
INCHES, GAP = 2.6, 0.06
EDGE_INCHES, FOOT_INCHES, TITLE_INCHES = 0.4, 0.35, 0.52
LEGEND_ROW_INCHES = 0.2
ROW_INCHES = 2 * INCHES + TITLE_INCHES + 0.1
LETTERS = 40  # of a title's line
SMALLEST_MM_SHARE = 0.5  # of the slice's longer side: less around a place shows no anatomy
CONTEXT = 4.0  # radii of the place


@dataclass(frozen=True)
class ShownPlace:
    """A place with its slice, cut and turned as `DisplayPlane.cut` does it.

    Attributes:
        image: grey (rows, columns) or colours (rows, columns, 3) between 0 and 1.
        strokes: labels (rows, columns), or None without annotation.
        ignore: value of voxels without stroke.
        predicted: labels (rows, columns).
        at: row and column of the place in these.
        spacing_mm: of rows and columns.
    """

    rank: int
    place: Place
    image: np.ndarray
    strokes: np.ndarray | None
    ignore: int | None
    predicted: np.ndarray
    at: tuple[int, int]
    spacing_mm: tuple[float, float]


def window(shown: ShownPlace) -> tuple[slice, slice]:
    """Rows and columns around the place, square in mm as far as the image goes."""
    sides = np.multiply(shown.image.shape[:2], shown.spacing_mm)
    half_mm = max(CONTEXT * shown.place.radius_mm, SMALLEST_MM_SHARE * sides.max() / 2)
    parts = []
    for at, size, side in zip(shown.at, shown.image.shape[:2], shown.spacing_mm, strict=True):
        half = int(np.ceil(half_mm / side))
        low = int(np.clip(at - half, 0, max(size - 2 * half, 0)))
        parts.append(slice(low, min(size, low + 2 * half)))
    return parts[0], parts[1]


def _draw(axis: Axes, shown: ShownPlace, with_labels: bool) -> None:
    rows, columns = window(shown)
    aspect = shown.spacing_mm[0] / shown.spacing_mm[1]
    style = {"interpolation": "nearest", "aspect": aspect}
    image = shown.image[rows, columns]
    if with_labels and image.ndim == 3:  # green over red would be grey; the colours stand above
        image = image.mean(axis=-1)
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=aspect)
    if with_labels:
        axis.imshow(overlay(shown.predicted[rows, columns], 0, 0.4), **style)
        if shown.strokes is not None and shown.ignore is not None:
            own = shown.strokes[rows, columns]
            wide = thicken(own, shown.ignore, 2.5 * min(shown.spacing_mm), shown.spacing_mm)
            axis.imshow(overlay(wide, shown.ignore, 1.0), **style)
    side = shown.spacing_mm[1]
    radius = ring_mm(shown.place, shown.spacing_mm) / side
    centre = shown.at[1] - columns.start, shown.at[0] - rows.start
    axis.add_patch(Circle(centre, radius, fill=False, color=MARK, lw=2))
    axis.set_axis_off()


def overview_figure(
    places: Sequence[ShownPlace], class_names: dict[int, str], titles: Sequence[str], head: str
) -> Figure:
    """Two pictures of every place, the image alone and under labels, with its title below.

    Args:
        class_names: label to name, for the legend.
        titles: what to say of every place.
    """
    columns = min(COLUMNS, len(places))
    rows = -(-len(places) // columns)
    present = set()
    for shown in places:
        present |= set(np.unique(shown.predicted).tolist()) - {0}
        if shown.strokes is not None:
            present |= set(np.unique(shown.strokes).tolist()) - {shown.ignore}
    handles = [
        Patch(color=colour_of(value), label=class_names.get(value, f"label {value}"))
        for value in sorted(present)
    ]
    handles.append(Patch(fill=False, edgecolor=MARK, lw=2, label="look here"))
    width = INCHES * max(columns, 2)
    legend_columns = legend_columns_of(handles, width)
    foot = FOOT_INCHES + LEGEND_ROW_INCHES * (-(-len(handles) // legend_columns) - 1)
    height = ROW_INCHES * rows + EDGE_INCHES + foot
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure((width, height), dpi=110)
        FigureCanvasAgg(figure)
        for number, (shown, title) in enumerate(zip(places, titles, strict=True)):
            row, column = divmod(number, columns)
            top, left = height - EDGE_INCHES - row * ROW_INCHES, column * INCHES
            lines = [line for part in title.split("\n") for line in textwrap.wrap(part, LETTERS)]
            figure.text((left + GAP) / width, top / height, "\n".join(lines), fontsize=8, va="top")
            side = INCHES - 2 * GAP
            for k, with_labels in enumerate((False, True)):
                bottom = top - TITLE_INCHES - (k + 1) * side - k * GAP
                box = ((left + GAP) / width, bottom / height, side / width, side / height)
                _draw(figure.add_axes(box), shown, with_labels)
        figure.suptitle(head, fontsize=10, y=1 - GAP / height, va="top")
        figure.legend(
            handles=handles, loc="lower center", ncols=legend_columns, fontsize=8, frameon=False
        )
    return figure
