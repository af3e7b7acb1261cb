"""The report's plots. Colours are Okabe & Ito's, told apart with any colour vision and in grey."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scribble_tools.draw.contact_sheet import COLOURS
from scribble_tools.evaluate.scores import Metric

BLUE, ORANGE = COLOURS[6], COLOURS[1]
STYLES = ("-", "--", ":", "-.")  # with the colours: no line looks like another, printed in grey too
MANY_POINTS = 500  # more are drawn as pixels inside the SVG, where each takes a hundred bytes


@contextmanager
def plot_style() -> Iterator[None]:
    """Text as it is: names of classes and cases are no formulas, whatever dollars are in them."""
    style = {"text.parse_math": False, "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9}
    with matplotlib.rc_context(style):
        yield


def _figure(width: float, height: float) -> Figure:
    figure = Figure((width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(lw=0.4, alpha=0.5)


def _draw_line(axis: Axes, values: Sequence[float], number: int, label: str) -> None:
    style = {"color": (BLUE, *COLOURS[1:6])[number % 6], "ls": STYLES[number // 6 % 4]}
    # a line of one epoch would not be seen
    marker = "o" if len(values) < 20 else None
    axis.plot(range(len(values)), values, label=label, marker=marker, ms=3, lw=1.4, **style)


def _epochs(axis: Axes) -> None:
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _tidy(axis)


def training_figure(series: Mapping[str, Sequence], class_names: Sequence[str]) -> Figure | None:
    """Losses, pseudo Dice and learning rate over the epochs; None if nothing was logged.

    Args:
        series: of `training.Training`.
        class_names: in the order of the pseudo Dice's values.
    """
    losses = {"training": "train_losses", "validation": "val_losses"}
    losses = {name: series[key] for name, key in losses.items() if series.get(key)}
    per_class = [values for values in series.get("dice_per_class", ()) if isinstance(values, list)]
    if not losses and not per_class:
        return None
    figure = _figure(11, 3.1)
    left, middle, right = figure.subplots(1, 3)
    for number, (name, values) in enumerate(losses.items()):
        _draw_line(left, values, number, name)
    left.set_title("loss (validation: nnU-Net's own loss)")
    if losses:
        left.legend(frameon=False)
    width = min(map(len, per_class), default=0)
    for number, values in enumerate(zip(*per_class, strict=False)):
        name = class_names[number] if len(class_names) == width else f"class {number + 1}"
        _draw_line(middle, values, number, name)
    middle.set_title("pseudo Dice, on annotated voxels only")
    middle.set_ylim(None, 1.02)
    if 0 < width <= 12:
        middle.legend(frameon=False, fontsize=8)
    if series.get("lrs"):
        _draw_line(right, series["lrs"], 0, "")
    right.set_title("learning rate")
    for axis in (left, middle, right):
        _epochs(axis)
    return figure


def _spread(values: np.ndarray) -> np.ndarray:
    """Offsets between -0.3 and 0.3: neighbours in value go to different places, in every run."""
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return 0.6 * ((order * 0.618) % 1 - 0.5)


def distribution_figure(
    tables: Mapping[Metric, np.ndarray], class_names: Sequence[str]
) -> Figure | None:
    """Every case as a dot, with median and quartiles, by class: one panel per metric.

    Args:
        tables: (cases, classes) of every metric, NaN where a case has no value.
    """
    tables = {metric: table for metric, table in tables.items() if np.isfinite(table).any()}
    if not tables:
        return None
    columns = 2 if len(tables) % 2 == 0 else min(3, len(tables))
    rows = math.ceil(len(tables) / columns)
    figure = _figure(11, rows * (0.9 + 0.32 * len(class_names)))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (metric, table) in zip(axes, tables.items(), strict=False):
        known = [
            column for column in range(len(class_names)) if np.isfinite(table[:, column]).any()
        ]
        for row, column in enumerate(known):
            finite = table[np.isfinite(table[:, column]), column]
            axis.scatter(
                finite,
                row + _spread(finite),
                s=10,
                color=BLUE,
                alpha=0.5,
                lw=0,
                rasterized=table.size > MANY_POINTS,
            )
            low, median, high = np.percentile(finite, (25, 50, 75))
            axis.plot((low, high), (row, row), color="black", lw=2)
            axis.plot(median, row, "D", color="black", mec="white", ms=6, zorder=3)
        names = [textwrap.fill(class_names[column], 16) for column in known]
        axis.set_yticks(range(len(known)), names)
        axis.set_ylim(len(known) - 0.5, -0.5)
        note = "" if metric.better == "" else f", {metric.better} is better"
        axis.set_title(f"{metric.title}{note}")
        if metric.better == "nearer 0":
            axis.axvline(0, color="black", lw=0.8)
        if not table[np.isfinite(table)].any():
            axis.set_xlim(-0.05, 1)  # of nothing but 0 it would show a little below and above
        _tidy(axis)
    for axis in axes[len(tables) :]:
        axis.set_axis_off()
    return figure


def paired_figure(
    metric: Metric, values: np.ndarray, other: np.ndarray, names: tuple[str, str]
) -> Figure | None:
    """Each case's value against the other model's; None if no case has both.

    Args:
        values, other: (cases,), NaN where a case has no value.
    """
    both = np.isfinite(values) & np.isfinite(other)
    if not both.any():
        return None
    values, other = values[both], other[both]
    figure = _figure(5, 4.6)
    axis = figure.subplots()
    ends = [min(values.min(), other.min()), max(values.max(), other.max())]
    axis.plot(ends, ends, color="black", lw=0.8)
    gain = (values - other) * (1 if metric.better == "higher" else -1)
    better = gain > 0
    for mask, colour, marker, word in (
        (better, BLUE, "o", "better"),
        (~better, ORANGE, "^", "worse or equal"),
    ):
        axis.scatter(
            other[mask],
            values[mask],
            s=18,
            color=colour,
            marker=marker,
            alpha=0.7,
            lw=0,
            label=word,
        )
    axis.set_title(f"{metric.title}, {metric.better} is better")
    axis.set_ylabel(textwrap.fill(names[0], 50))
    axis.set_xlabel(textwrap.fill(names[1], 50))
    axis.legend(frameon=False)
    _tidy(axis)
    return figure
