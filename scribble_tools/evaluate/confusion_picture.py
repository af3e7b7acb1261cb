"""The confusion of classes as a picture: one matrix per model, and what two models differ by."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

# Okabe & Ito's: told apart with any colour vision, and by lightness in grey
BETTER, WORSE, RIGHT = "#0072B2", "#D55E00", "#E4E4E4"
CONFUSED = LinearSegmentedColormap.from_list("confused", ("#FFFFFF", WORSE))
CHANGED = LinearSegmentedColormap.from_list("changed", (BETTER, "#FFFFFF", WORSE))
FULL_COLOUR = 25.0  # per cent; the same in all pictures, so that they can be compared
FULL_CHANGE = 5.0  # percentage points
MOST_PARTS = 24  # more have no room for their numbers: then the most confused are shown
NAME_WIDTH = 16  # letters in a line
TITLE_WIDTH = 40  # a trainer's name is not broken
LUMINANCE, DARK = np.array((0.2126, 0.7152, 0.0722)), 0.4  # below, white is read better than black


def _draw(axis: Axes, matrix: np.ndarray, parts: Sequence[str], signed: bool) -> None:
    """One matrix; the diagonal, which is what is right, is grey and not in the colours' range."""
    norm = Normalize(-FULL_CHANGE, FULL_CHANGE) if signed else Normalize(0, FULL_COLOUR)
    colours = (CHANGED if signed else CONFUSED)(norm(np.nan_to_num(matrix)))
    colours[np.eye(len(parts), dtype=bool)] = matplotlib.colors.to_rgba(RIGHT)
    colours[~np.isfinite(matrix)] = 1
    axis.imshow(colours)
    ticks = [textwrap.fill(name, NAME_WIDTH) for name in parts]
    axis.set_xticks(range(len(parts)), ticks, rotation=90 if len(parts) > 6 else 0)
    axis.set_yticks(range(len(parts)), ticks)
    axis.set_xlabel("predicted as")
    axis.set_ylabel("true")
    axis.tick_params(length=0)
    axis.set(xlim=(-0.53, len(parts) - 0.47), ylim=(len(parts) - 0.47, -0.53))
    edges = np.arange(len(parts) + 1) - 0.5
    axis.set_xticks(edges, minor=True)
    axis.set_yticks(edges, minor=True)
    axis.grid(which="minor", color="#B0B0B0", lw=0.6)
    axis.tick_params(which="minor", length=0)
    axis.spines[:].set_visible(False)
    for (i, j), value in np.ndenumerate(matrix):
        if not np.isfinite(value):
            text = "-"
        elif abs(value) < 0.05:
            text = "0"
        else:
            text = f"{value:{'+' if signed else ''}.1f}"
        dark = colours[i, j, :3] @ LUMINANCE < DARK
        shade = "white" if dark else "0.6" if text == "0" else "black"
        weight = "bold" if i == j and not signed else "normal"
        size = 10 if len(parts) <= 12 else 7
        style = {"ha": "center", "va": "center", "fontsize": size, "fontweight": weight}
        axis.text(j, i, text, color=shade, **style)


def most_confused(matrices: Sequence[np.ndarray]) -> list[int]:
    """`MOST_PARTS` parts, in their order: the background and those of the largest confusions."""
    largest = np.zeros_like(matrices[0])
    for matrix in matrices:
        largest = np.maximum(largest, np.nan_to_num(matrix))
    np.fill_diagonal(largest, 0)
    chosen = dict.fromkeys([0])
    for place in np.argsort(-largest, axis=None, kind="stable").tolist():
        for part in divmod(place, len(largest)):
            if len(chosen) < MOST_PARTS:
                chosen[part] = None
        if len(chosen) == MOST_PARTS:
            break
    return sorted(chosen)


def confusion_figure(
    matrices: Mapping[str, np.ndarray],
    parts: Sequence[str],
    difference: np.ndarray | None = None,
    sides: tuple[str, str] = ("PRED", "OTHER"),
) -> Figure:
    """Draw matrices in per cent of the true part, side by side.

    Args:
        matrices: by title, (parts true, parts predicted); NaN in rows that no reference has.
        difference: in percentage points, of the first matrix minus the second.
        sides: words for the two.
    """
    note = "% of all voxels of the true class; grey: right, coloured: confused, "
    note += f"in full colour from {FULL_COLOUR:.0f} % on"
    if difference is not None:
        note += "; difference: blue is less confused, orange more, "
        note += f"in full colour from {FULL_CHANGE:.0f} points on"
    if len(parts) > MOST_PARTS:
        note += f"; the {MOST_PARTS} most confused of {len(parts)} classes"
        shown = most_confused([*matrices.values()])
        place = np.ix_(shown, shown)
        parts, matrices = [parts[k] for k in shown], {t: m[place] for t, m in matrices.items()}
        difference = None if difference is None else difference[place]
    panels = [(title, matrix, False) for title, matrix in matrices.items()]
    if difference is not None:
        panels.append((f"{sides[0]} minus {sides[1]}, percentage points", difference, True))
    cell = 0.85 if len(parts) <= 6 else 0.55
    side = max(2.6, cell * len(parts))
    size = ((side + 1.6) * len(panels), side + 1.9)
    figure = Figure(size, dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    # names of classes are text, not formulas, whatever dollars are in them
    with matplotlib.rc_context({"text.parse_math": False, "font.size": 10}):
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (title, matrix, signed) in zip(axes, panels, strict=True):
            _draw(axis, matrix, parts, signed)
            axis.set_title(textwrap.fill(title, max(TITLE_WIDTH, int(8 * side))), fontsize=10)
        figure.supxlabel(textwrap.fill(note, int(11 * size[0])), fontsize=8, color="0.35")
    return figure
