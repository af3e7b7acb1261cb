"""Drawing a contact sheet: rows of slices, columns of an image with label maps over it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import distance_transform_edt, label

from scribble_tools.draw.greys import largest_pieces, scaled
from scribble_tools.storage.file_sets import written_atomically

# Okabe & Ito's colours, told apart with any colour vision; 0 is the background scribble.
COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2")
SHADES = 3  # as they are, then lighter, then darker
DOTS_PER_INCH = 150
PANEL_INCHES = 2.4  # the longer side of a panel
SMALLEST_INCHES = 1.0  # a narrower panel stands in a column of this width
GAP_INCHES = 0.06
COLOUR_KEPT = 0.4  # of a colour image under labels: theirs stand out, and what it shows is seen
STROKE_DOTS = 4  # a scribble is drawn about this wide, or as wide as it is
LETTER = 0.6  # of the font's size: about the width of a letter
TITLE_POINTS, TEXT_POINTS, FOOTER_POINTS = 10, 8, 7
LEFT_INCHES = 1.35 * TEXT_POINTS / 72 + 2 * GAP_INCHES  # a line of text beside the rows
TALLEST_INCHES = 3.6
TALLEST_ROWS = 8  # of a sheet whose rows all stand one above the other
IMAGE = "image"  # the first column's title, where there is no choice of channels


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

    @property
    def organs(self) -> np.ndarray:
        """Where it shows anything but background."""
        return (self.labels != self.hidden) & (self.labels != 0)


@dataclass(frozen=True)
class Shades:
    """One column of the sheet: values (slices, rows, columns) from 0, black, to 1, white."""

    title: str
    values: np.ndarray


def colour_of(value: int) -> tuple[float, float, float]:
    """The fixed colour of a label value; after 7 lighter, after 14 darker, after 21 it repeats."""
    colour = np.array(to_rgb(COLOURS[value % len(COLOURS)]))
    shade = value // len(COLOURS) % SHADES
    return tuple((colour, 0.5 + 0.5 * colour, 0.45 * colour)[shade].tolist())


def thicken(
    labels: np.ndarray, hidden: int, width_mm: float, spacing_mm: Sequence[float]
) -> np.ndarray:
    """A label slice (rows, columns) in which thin strokes are about ``width_mm`` wide, to be seen.

    Strokes (8-connected pixels of one label) that are that wide already stay as they are. Labelled
    pixels are never changed; hidden ones take the label of the nearest stroke.

    Args:
        spacing_mm: of rows and of columns.
    """
    strokes = np.zeros(labels.shape, np.int32)
    for value in set(np.unique(labels).tolist()) - {hidden}:
        found, _ = label(labels == value, structure=np.ones((3, 3)))
        strokes += np.where(found, found + strokes.max(), 0)
    if not strokes.any():
        return labels
    count = strokes.max() + 1
    area = np.bincount(strokes.ravel(), minlength=count) * spacing_mm[0] * spacing_mm[1]
    perimeter, padded = np.zeros(count), np.pad(strokes, 1)
    for axis in (0, 1):
        border = np.diff(padded, axis=axis) != 0
        for side in (np.delete(padded, 0, axis), np.delete(padded, -1, axis)):
            perimeter += np.bincount(side[border], minlength=count) * spacing_mm[1 - axis]
    # a stroke of length l and width w has the area l w and, for l >> w, the perimeter 2 l
    pixels = np.round((width_mm - 2 * area / perimeter) / 2 / min(spacing_mm)).clip(0)
    pixels[0] = 0
    distance_mm, nearest = distance_transform_edt(
        labels == hidden, sampling=spacing_mm, return_indices=True
    )
    nearest = tuple(nearest)
    # the tolerance keeps pixels at exactly the distance, whatever its rounding
    reached = distance_mm <= (pixels[strokes[nearest]] + 1e-6) * min(spacing_mm)
    return np.where(reached, labels[nearest], hidden)


def overlay(labels: np.ndarray, hidden: int, alpha: float) -> np.ndarray:
    """RGBA picture (rows, columns, 4) of a label slice, transparent where it is ``hidden``."""
    picture = np.zeros((*labels.shape, 4), np.float32)
    for value in set(np.unique(labels).tolist()) - {hidden}:
        picture[labels == value] = (*colour_of(value), alpha)
    return picture


def labelled_slices(panel: Panel) -> np.ndarray:
    """The slices that hold any label."""
    return np.flatnonzero((panel.labels != panel.hidden).any(axis=(1, 2)))


def organs_of(
    panels: Sequence[Panel], slices: Sequence[int], reference: str = "reference"
) -> np.ndarray | None:
    """Where in these slices strokes and reference have organs; None: nowhere.

    Without these, where predictions have them: the largest piece of each class.

    Args:
        reference: title of the panel with the reference.
    """
    slices = list(slices)
    known = [panel for panel in panels if panel.strokes or panel.title == reference]
    masks = [replace(panel, labels=panel.labels[slices]).organs for panel in known]
    if not any(mask.any() for mask in masks):
        shown = [replace(panel, labels=panel.labels[slices]) for panel in panels]
        masks = [largest_pieces(panel.labels * panel.organs) for panel in shown]
    return np.logical_or.reduce(masks) if any(mask.any() for mask in masks) else None


def choose_slices(panel: Panel, count: int) -> list[int]:
    """Up to ``count`` labelled slices, spread over their range.

    The labelled slices are split into ``count`` runs of about equal length; each gives the slice
    with the most different labels; of these, the one nearest to the run's middle for strokes and
    the one with most labelled pixels for a segmentation. Without any label it is the middle slice.
    """
    labelled = labelled_slices(panel)
    number_of_labels = np.array([np.unique(s[s != panel.hidden]).size for s in panel.labels])
    if not labelled.size:
        return [len(panel.labels) // 2]
    pixels = np.count_nonzero(panel.labels != panel.hidden, axis=(1, 2))
    chosen = []
    for run in np.array_split(labelled, min(count, labelled.size)):
        second = np.abs(run - run.mean()) if panel.strokes else -pixels[run]
        chosen.append(int(run[np.lexsort((second, -number_of_labels[run]))[0]]))
    return chosen


def _paled(colours: np.ndarray) -> np.ndarray:
    """Pictures (slices, rows, columns, 3) near to grey: red on green may be one grey, and gone."""
    grey = colours.mean(axis=-1, keepdims=True)
    return grey + COLOUR_KEPT * (colours - grey)


def _line_inches(points: float) -> float:
    return 1.35 * points / 72


def _wrap(text: str, width_inches: float, points: float) -> list[str]:
    """Break a text into lines that fit, also after the double underscores of nnU-Net's names."""
    letters = max(4, int(width_inches / (LETTER * points / 72)))
    return [line.replace("__ ", "__") for line in textwrap.wrap(text.replace("__", "__ "), letters)]


def contact_sheet(
    image: np.ndarray,
    panels: Sequence[Panel],
    spacing_mm: Sequence[float],
    slices: Sequence[int],
    label_names: Mapping[int, str] | None = None,
    title: str = "",
    edges: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    sheet_inches: float | None = None,
    image_title: str = IMAGE,
    shades: Sequence[Shades] = (),
) -> Figure:
    """Draw rows of slices, with the bare image and then all panels and shades as columns.

    Args:
        image: (slices, rows, columns), or (slices, rows, columns, 3) for colours, which are shown
            in the first column and pale under the labels.
        panels: label maps (slices, rows, columns).
        spacing_mm: of rows and of columns, for the right aspect.
        slices: rows of the sheet, see ``choose_slices``.
        label_names: for the legend; a value without name is shown as its number.
        title: above the sheet.
        edges: letters for the left, right, top and bottom of the picture.
        notes: sentences for the sheet's footer.
        sheet_inches: width that the panels are to fill, as far as that makes none taller than
            `TALLEST_INCHES`; default: panels of `PANEL_INCHES`.
        image_title: above the first column.
        shades: further columns.

    Raises:
        ValueError: a panel's shape differs from the image's, or there is no such slice.
    """
    for panel in panels:
        if panel.labels.shape != image.shape[:3]:
            raise ValueError(f"{panel.title}: shape {panel.labels.shape}, image: {image.shape[:3]}")
    slices = list(slices)
    if wrong := [k for k in slices if not 0 <= k < len(image)]:
        raise ValueError(f"no slice {wrong[0]}: the image has slices 0 to {len(image) - 1}")

    height_mm, width_mm = np.multiply(image.shape[1:3], spacing_mm)
    inches_per_mm = PANEL_INCHES / max(height_mm, width_mm)
    if sheet_inches is not None:
        columns = 1 + len(panels) + len(shades)
        wide = (sheet_inches - LEFT_INCHES) / columns - GAP_INCHES
        inches_per_mm = min(wide / width_mm, TALLEST_INCHES / height_mm)
    panel_size = inches_per_mm * width_mm, inches_per_mm * height_mm
    stroke_mm = STROKE_DOTS / (inches_per_mm * DOTS_PER_INCH)
    stored = [panel.labels[slices] for panel in panels]
    drawn = [
        [thicken(labels, panel.hidden, stroke_mm, spacing_mm) for labels in maps]
        if panel.strokes
        else maps
        for panel, maps in zip(panels, stored, strict=True)
    ]
    present = set().union(
        *(
            set(np.unique(maps).tolist()) - {p.hidden}
            for p, maps in zip(panels, stored, strict=True)
        )
    )
    notes = list(notes)
    if any(not np.array_equal(*pair) for pair in zip(drawn, stored, strict=True)):
        notes.append("Thin scribbles are drawn thicker than they are, to be seen.")
    if max(present, default=0) >= SHADES * len(COLOURS):
        notes.append(f"Colours repeat after {SHADES * len(COLOURS)} labels.")
    names = {0: "background", **(label_names or {})}
    handles = [Patch(color=colour_of(v), label=names.get(v, f"label {v}")) for v in sorted(present)]
    column_titles = [image_title, *(column.title for column in (*panels, *shades))]
    row_titles = [f"slice {k}" if len(image) > 1 else "" for k in slices]
    blocks = 1
    if sheet_inches is None and len(slices) > TALLEST_ROWS:  # about as wide as it is tall
        rows_by_columns = len(slices) * panel_size[1] / (len(column_titles) * panel_size[0])
        blocks = max(1, round(math.sqrt(rows_by_columns)))
    figure, corners = _empty_sheet(
        title, column_titles, row_titles, panel_size, handles, notes, blocks
    )

    (axis,) = figure.axes
    shown = scaled(image[slices], organs_of(panels, slices), spacing_mm)
    beneath = _paled(shown) if shown.ndim == 4 else shown
    for row, (first, *others) in enumerate(corners):
        place = {"aspect": "auto", "origin": "upper", "extent": _extent(first, panel_size)}
        axis.imshow(shown[row], cmap="gray", vmin=0, vmax=1, **place)
        _write_edges(axis, place["extent"], edges)
        for corner, column in zip(others[len(panels) :], shades, strict=True):
            place["extent"] = _extent(corner, panel_size)
            axis.imshow(column.values[slices[row]], cmap="gray", vmin=0, vmax=1, **place)
        for corner, panel, maps in zip(others, panels, drawn, strict=False):
            place["extent"] = _extent(corner, panel_size)
            axis.imshow(beneath[row], cmap="gray", vmin=0, vmax=1, **place)
            # opaque, a slice that is annotated wholly would hide the image
            opaque = panel.strokes and (maps[row] == panel.hidden).any()
            picture = overlay(maps[row], panel.hidden, 1.0 if opaque else 0.6)
            axis.imshow(picture, interpolation="nearest", **place)
    return figure


def _extent(corner: tuple[float, float], size: tuple[float, float]) -> tuple[float, ...]:
    """Left, right, bottom, top of a panel from its lower left corner, width and height."""
    return corner[0], corner[0] + size[0], corner[1], corner[1] + size[1]


def _entry_inches(handle: Patch) -> float:
    return (LETTER * len(handle.get_label()) + 3.5) * TEXT_POINTS / 72


def legend_columns_of(handles: Sequence[Patch], available: float) -> int:
    """Most columns of a legend that fit into so many inches, filled as matplotlib fills them."""
    widths = [*map(_entry_inches, handles)]
    for count in range(len(widths), 1, -1):
        if sum(max(column) for column in np.array_split(widths, count)) <= available:
            return count
    return 1


def _empty_sheet(
    title: str,
    column_titles: Sequence[str],
    row_titles: Sequence[str],
    panel_size: tuple[float, float],
    handles: Sequence[Patch],
    notes: Sequence[str],
    blocks: int,
) -> tuple[Figure, list[list[tuple[float, float]]]]:
    """A figure with the text around the panels, and where the panels' lower left corners go.

    The figure has one axes, in inches. Axes for every panel, or one of matplotlib's layout
    engines, would take longer than all the rest.

    Args:
        panel_size: width and height of a panel in inches.
        blocks: parts, side by side, that the rows are shared out to.

    Returns:
        the figure, and (x, y) in inches per row and column.
    """
    width, height = panel_size
    pitch_x, pitch_y = (max(side, SMALLEST_INCHES) + GAP_INCHES for side in panel_size)
    entries = [*map(_entry_inches, handles)]
    per_block = -(-len(row_titles) // blocks)
    block_width = LEFT_INCHES + pitch_x * len(column_titles)
    sheet_width = max(blocks * block_width, max(entries, default=0) + 2 * GAP_INCHES, 3.0)
    text_width = sheet_width - 2 * GAP_INCHES
    legend_columns = legend_columns_of(handles, text_width)
    legend_rows = -(-len(handles) // legend_columns)

    title_lines = _wrap(title, text_width, TITLE_POINTS)
    panel_titles = [_wrap(text, pitch_x, TEXT_POINTS) for text in column_titles]
    footer = [line for note in notes for line in _wrap(note, text_width, FOOTER_POINTS)]
    legend_bottom = GAP_INCHES + _line_inches(FOOTER_POINTS) * len(footer)
    bottom = legend_bottom + 1.2 * _line_inches(TEXT_POINTS) * legend_rows + GAP_INCHES
    panels_top = bottom + pitch_y * per_block
    sheet_height = panels_top + _line_inches(TEXT_POINTS) * max(map(len, panel_titles))
    sheet_height += _line_inches(TITLE_POINTS) * len(title_lines) + 2 * GAP_INCHES

    figure = Figure((sheet_width, sheet_height), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, sheet_width), ylim=(0, sheet_height))
    axis.set_axis_off()
    top = sheet_height - GAP_INCHES
    axis.text(GAP_INCHES, top, "\n".join(title_lines), va="top", fontsize=TITLE_POINTS)
    small = {"va": "bottom", "fontsize": FOOTER_POINTS, "color": "0.3"}
    axis.text(GAP_INCHES, GAP_INCHES, "\n".join(footer), **small)
    if handles:
        figure.legend(
            handles=handles,
            loc="lower center",
            bbox_to_anchor=(0.5, legend_bottom / sheet_height),
            ncols=legend_columns,
            fontsize=TEXT_POINTS,
            frameon=False,
            borderaxespad=0,
            handlelength=1.2,
            columnspacing=1.2,
        )
    # a panel smaller than its place stands in the middle of it
    spare_x, spare_y = (
        (pitch - GAP_INCHES - side) / 2
        for pitch, side in zip((pitch_x, pitch_y), panel_size, strict=True)
    )
    firsts = [block * block_width + LEFT_INCHES + spare_x for block in range(blocks)]
    beside = {"ha": "center", "va": "bottom", "fontsize": TEXT_POINTS}
    for first in firsts:
        for k, lines in enumerate(panel_titles):
            x = first + pitch_x * k + width / 2
            axis.text(x, panels_top, "\n".join(lines), **beside)
    beside = {"ha": "right", "va": "center", "rotation": 90, "fontsize": TEXT_POINTS}
    corners = []
    for number, text in enumerate(row_titles):
        block, row = divmod(number, per_block)
        y = panels_top - pitch_y * (row + 1) + spare_y
        axis.text(firsts[block] - GAP_INCHES / 2, y + height / 2, text, **beside)
        corners.append([(firsts[block] + pitch_x * k, y) for k in range(len(column_titles))])
    return figure, corners


def _write_edges(axis: Axes, extent: Sequence[float], edges: Sequence[str] | None) -> None:
    """Write where left, right, top and bottom of the picture lie in the patient."""
    left, right, bottom, top = extent
    x, y = (left + right) / 2, (bottom + top) / 2
    places = (
        (left + GAP_INCHES, y, "left", "center"),
        (right - GAP_INCHES, y, "right", "center"),
        (x, top - GAP_INCHES, "center", "top"),
        (x, bottom + GAP_INCHES, "center", "bottom"),
    )
    box = {"facecolor": "black", "alpha": 0.5, "pad": 1, "linewidth": 0}
    style = {"color": "white", "fontsize": TEXT_POINTS, "bbox": box}
    for letters, (x, y, ha, va) in zip(edges or (), places, strict=False):
        axis.text(x, y, letters, ha=ha, va=va, **style)


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure so that ``path`` holds the whole picture or is left as it was."""
    with written_atomically(path) as temporary:
        # matplotlib's default compression takes longer than the drawing
        figure.savefig(temporary, format="png", pil_kwargs={"compress_level": 1})
