"""`pclmix_snapshots/epoch_XXXX.png`: a step's samples as rows, what was made of them as columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nnunetv2_pclmix.watching.snapshots import Column, Snapshot
from scribble_tools.draw.contact_sheet import colour_of, overlay, save_png, thicken

FOLDER = "pclmix_snapshots"
DOTS_PER_INCH = 120
PANEL_INCHES = 1.9  # the longer side of a panel
SMALLEST_INCHES = 1.3  # a narrower panel stands in a place of this width, for its title
GAP_INCHES, LEFT_INCHES, TOP_INCHES = 0.05, 0.45, 0.5
BOTTOM_INCHES, LINE_INCHES = 0.65, 0.17  # the legend has more where it has more lines
STROKE_DOTS = 3  # a scribble is drawn about this wide
LEGEND_ENTRIES, LETTER_INCHES = 24, 0.07
ROW_TITLE_LETTERS = 28
UNCERTAINTY_COLOURS = "cividis"  # the same to any colour vision


def _grey(image: np.ndarray) -> np.ndarray:
    """Scaled to 0..1 so that outliers do not darken it."""
    image = np.nan_to_num(image, posinf=0, neginf=0)
    low, high = np.percentile(image, (1, 99))
    return np.clip((image - low) / max(high - low, 1e-6), 0, 1)


def _draw_panel(
    axis: Axes,
    column: Column,
    row: int,
    place: Sequence[float],
    pixel: Sequence[float],
    largest_uncertainty: float,
) -> None:
    """Draw one map over its image.

    Args:
        place: left, right, bottom and top in inches.
        pixel: its height and width in inches.
    """
    where = {"extent": place, "aspect": "auto", "origin": "upper"}
    shown = column.maps[row]
    if column.style == "uncertainty":
        shades = {"cmap": UNCERTAINTY_COLOURS, "vmin": 0, "vmax": largest_uncertainty}
        axis.imshow(shown, **shades, **where)
        return
    axis.imshow(_grey(column.images[row]), cmap="gray", vmin=0, vmax=1, **where)
    if column.style == "strokes":
        wide = thicken(shown, column.hidden, STROKE_DOTS / DOTS_PER_INCH, pixel)
        axis.imshow(overlay(wide, column.hidden, 1.0), interpolation="nearest", **where)
    elif column.style == "labels":
        axis.imshow(overlay(shown, column.hidden, 0.55), interpolation="nearest", **where)
    if column.outline is not None:
        # a border between the sources, where the slice has both
        mask = column.outline[row]
        if mask.any() and not mask.all():
            rows, columns = mask.shape
            x = place[0] + (np.arange(columns) + 0.5) * pixel[1]
            y = place[3] - (np.arange(rows) + 0.5) * pixel[0]
            axis.contour(x, y, mask.astype(float), [0.5], colors="white", linewidths=0.8)


def _handles(snapshot: Snapshot, classes: Sequence[str]) -> list[Patch]:
    """Legend entries of the classes that are shown."""
    present: set[int] = set()
    for column in snapshot.columns:
        if column.style in ("strokes", "labels"):
            present |= set(np.unique(column.maps).tolist()) - {column.hidden}
    named = sorted(present)[:LEGEND_ENTRIES]
    handles = [Patch(color=colour_of(k), label=classes[k]) for k in named]
    if len(present) > len(named):
        handles.append(Patch(color="none", label=f"and {len(present) - len(named)} more"))
    return handles


def _draw_scale(axis: Axes, snapshot: Snapshot, left: float, right: float, top: float) -> None:
    """The colours of the uncertainty, and how to read the columns, below that column."""
    ramp, largest = np.linspace(0, 1, 64)[None], snapshot.largest_uncertainty
    place = (left, right, top - 0.1, top)
    axis.imshow(ramp, cmap=UNCERTAINTY_COLOURS, extent=place, aspect="auto")
    text = f"entropy, 0 to {largest:.2f} nats"
    if snapshot.threshold is not None:
        text += f"\ncertain up to {snapshot.threshold:.2f} (mark)"
        x = left + (right - left) * snapshot.threshold / largest
        axis.plot((x, x), (top - 0.14, top + 0.03), color="black", lw=1.5)
    axis.text(left, top - 0.17, text, fontsize=7, va="top", linespacing=1.3)
    notes = ["Thin scribbles are drawn thicker."]
    if snapshot.threshold is not None:
        notes.insert(0, "Certainty label: uncoloured is not certain.")
    if snapshot.columns[-1].outline is not None:
        notes.append("White: border of the two samples that are mixed.")
    notes = "\n".join(notes)
    axis.text(right + 2 * GAP_INCHES, top, notes, fontsize=7, va="top", linespacing=1.3)


def snapshot_figure(
    snapshot: Snapshot, title: str, classes: Sequence[str], spacing: Sequence[float]
) -> Figure:
    """Draw what a snapshot has taken.

    Args:
        classes: names, the background first.
        spacing: of the pictures' rows and columns, in any unit.
    """
    columns, rows, largest = snapshot.columns, snapshot.rows, snapshot.largest_uncertainty
    pixels = columns[0].maps.shape[1:]
    longest = max(count * step for count, step in zip(pixels, spacing, strict=True))
    pixel = [step * PANEL_INCHES / longest for step in spacing]
    height, width = (count * step for count, step in zip(pixels, pixel, strict=True))
    wide, high = (max(side, SMALLEST_INCHES) for side in (width, height))
    lefts = [LEFT_INCHES + (wide + GAP_INCHES) * k for k in range(len(columns))]
    scale = lefts[[column.style for column in columns].index("uncertainty")]

    handles = _handles(snapshot, classes)
    longest = max((len(handle.get_label()) for handle in handles), default=0)
    legend_columns = max(1, int(scale / (LETTER_INCHES * (longest + 6))))
    lines = -(-len(handles) // legend_columns)
    bottom = max(BOTTOM_INCHES, LINE_INCHES * (lines + 1))
    sheet = (
        lefts[-1] + wide + GAP_INCHES,
        TOP_INCHES + (high + GAP_INCHES) * len(rows) + bottom,
    )

    figure = Figure(sheet, dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    # one axes, in inches: an axes for every panel would take longer than all the rest
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    axis.text(GAP_INCHES, sheet[1] - GAP_INCHES, title, fontsize=10, va="top")
    tops = [sheet[1] - TOP_INCHES - (high + GAP_INCHES) * k for k in range(len(rows))]
    for left, column in zip(lefts, columns, strict=True):
        x = left + wide / 2
        axis.text(x, tops[0] + 0.04, column.title, fontsize=8, ha="center")
        for row, top in enumerate(tops):
            y = top - high / 2
            place = (x - width / 2, x + width / 2, y - height / 2, y + height / 2)
            _draw_panel(axis, column, row, place, pixel, largest)
    for top, text in zip(tops, rows, strict=True):
        text = "\n".join(line[-ROW_TITLE_LETTERS:] for line in text.splitlines())
        beside = {"rotation": 90, "ha": "right", "va": "center", "fontsize": 7}
        axis.text(LEFT_INCHES - GAP_INCHES, top - high / 2, text, **beside)
    below = bottom - 2 * GAP_INCHES
    _draw_scale(axis, snapshot, scale, scale + wide, below)
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(LEFT_INCHES / sheet[0], below / sheet[1]),
        ncols=legend_columns,
        fontsize=8,
        frameon=False,
        handlelength=1.2,
        borderaxespad=0,
        borderpad=0,
    )
    axis.set(xlim=(0, sheet[0]), ylim=(0, sheet[1]))  # imshow and contour change them
    return figure


def draw_snapshot(
    snapshot: Snapshot, epoch: int, classes: Sequence[str], spacing: Sequence[float], folder: Path
) -> None:
    """Write ``pclmix_snapshots/epoch_XXXX.png`` below ``folder``, whole or not at all."""
    path = folder / FOLDER / f"epoch_{epoch:04d}.png"
    path.parent.mkdir(exist_ok=True)
    title = f"Last iteration of epoch {epoch}: the training samples with most annotation"
    title += ", augmented: turned, scaled, mirrored"
    # nnU-Net's own plot changes how matplotlib draws from then on
    with matplotlib.style.context("default"):
        save_png(snapshot_figure(snapshot, title, classes, spacing), path)
