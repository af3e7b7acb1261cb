"""Two predictions of the same cases in one picture: paired dots and differences per class."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scribble_tools.evaluate.pairs import match_scores, paired_tables
from scribble_tools.evaluate.scores import METRICS, ClassScore, in_unit
from scribble_tools.evaluate.statistics import over_classes
from scribble_tools.evaluate.summary import named_rows
from scribble_tools.images.units import MILLIMETRES
from scribble_tools.wording import counted

SHOWN = ("dice", "hd95_mm", "islands")
# Okabe & Ito: told apart with any colour vision, and in grey
BETTER, WORSE, EQUAL = "#0072B2", "#E69F00", "#999999"
HALF = 0.22  # half the distance of a pair's two columns, in units of the distance between classes


def _draw_pairs(axis: Axes, a: np.ndarray, b: np.ndarray, colours: np.ndarray) -> None:
    """One line per case and class, from the other's value (left) to the prediction's (right)."""
    for column in range(a.shape[1]):
        x = np.array((column - HALF, column + HALF))
        pairs = np.column_stack((b[:, column], a[:, column]))
        complete = np.isfinite(pairs).all(axis=1)
        if not complete.any():
            continue
        pairs, shades = pairs[complete], colours[complete, column]
        lines = [np.column_stack((x, pair)) for pair in pairs]
        axis.add_collection(LineCollection(lines, colors=shades, linewidths=0.7, alpha=0.6))
        dots = np.broadcast_to(x, pairs.shape)
        axis.scatter(dots, pairs, s=7, c=np.repeat(shades, 2), alpha=0.6, linewidths=0)
        axis.plot(x, pairs.mean(axis=0), "D-", color="black", lw=2, ms=6, mec="white", zorder=3)


def _draw_differences(
    axis: Axes, differences: np.ndarray, colours: np.ndarray, rows: Sequence[Mapping[str, float]]
) -> None:
    """Dots of all differences, spread sideways for display, with mean and confidence interval."""
    axis.axhline(0, color="black", lw=0.8)
    for column, row in enumerate(rows):
        finite = np.isfinite(differences[:, column])
        values = differences[finite, column]
        # neighbours in value go to different places, the same in every run
        order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
        x = column - 0.1 + ((order * 0.618) % 1 - 0.5) * 0.5
        axis.scatter(x, values, s=9, c=list(colours[finite, column]), alpha=0.7, linewidths=0)
        # a mean of equal values may lie beyond its interval by a rounding error
        bounds = np.maximum([row["mean"] - row["ci_low"], row["ci_high"] - row["mean"]], 0)
        axis.errorbar(
            column + 0.3,
            row["mean"],
            bounds[:, None],
            fmt="D",
            color="black",
            ms=6,
            mec="white",
            lw=2,
            capsize=4,
        )


def comparison_figure(
    scores: Sequence[ClassScore],
    other: Sequence[ClassScore],
    comparison: Mapping[str, dict],
    names: tuple[str, str],
    missing_hd95: str = "exclude",
    unit: str = MILLIMETRES,
    sides: tuple[str, str] = ("PRED", "OTHER"),
) -> Figure:
    """Draw Dice, HD95 and islands: left each case's two values, right their differences.

    Args:
        scores, other: of the same cases and classes.
        comparison: their `compare`, whose means and intervals are drawn.
        names: of the two predictions.
        unit: of lengths, see `images.units`.
        sides: words for the two predictions.

    Raises:
        ValueError: a case or class is on one side only.
    """
    scores, other = match_scores(scores, other)
    own_word, other_word = sides
    labels = list(comparison["per_class"])
    metrics = [in_unit(metric, unit) for metric in METRICS if metric.name in SHOWN]
    size = (max(11, 3 + 1.8 * len(labels)), 3.2 * len(metrics) + 1.2)
    figure = Figure(size, dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    legend_height = 0.35 / size[1]
    figure.get_layout_engine().set(rect=(0, legend_height, 1, 1 - legend_height))
    axes = figure.subplots(len(metrics), 2, squeeze=False)
    for (left, right), metric in zip(axes, metrics, strict=True):
        a, b, difference = paired_tables(scores, other, metric, missing_hd95)
        together = over_classes(difference, metric.summed)
        difference = np.column_stack((difference, together))
        gain = difference if metric.better == "higher" else -difference
        colours = np.select([gain > 0, gain < 0], [BETTER, WORSE], EQUAL)
        _draw_pairs(left, a, b, colours)
        rows = [row[metric.name] for _, row in named_rows(comparison)]
        _draw_differences(right, difference, colours, rows)
        lacking = sum(rows[-1][key] for key in ("only_prediction", "only_other", "neither"))
        left.set_title(
            f"{metric.title}, {metric.better} is better"
            + f" ({counted(lacking, 'pair')} without a value, not drawn)" * bool(lacking),
            fontsize=10,
        )
        known = any(np.isfinite(row["ci_low"]) for row in rows)  # of few patients it is not
        what = "mean and 95 % interval" if known else "mean"
        right.set_title(f"{own_word} minus {other_word}; {what}", fontsize=10)
        if not (np.nan_to_num(a).any() or np.nan_to_num(b).any()):
            # of nothing but 0 they would show a little below and above
            left.set_ylim(-0.05, 1)
            right.set_ylim(-1, 1)
        left.set_ylabel(metric.title)
        right.set_ylabel(f"difference of {metric.title}")
        ticks = [textwrap.fill(label, 12) for label in labels]
        left.set_xticks(range(len(ticks)), ticks)
        right.set_xticks(range(len(rows)), [*ticks, "sum" if metric.summed else "overall"])
        for axis in (left, right):
            axis.set_xlim(-0.6, len(axis.get_xticks()) - 0.4)
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", lw=0.4, alpha=0.5)
    figure.align_ylabels()
    handles = [
        *(
            Line2D([], [], color=colour, marker="o", ms=4, label=f"{own_word} {word}")
            for word, colour in (("better", BETTER), ("worse", WORSE), ("equal", EQUAL))
        ),
        Line2D([], [], color="black", marker="D", mec="white", label="mean"),
    ]
    cases = len({score.case for score in scores})
    figure.suptitle(
        f"{own_word}: {names[0]}\n{other_word}: {names[1]}\n{counted(cases, 'case')}; "
        f"left panels: {other_word} on the left, {own_word} on the right of each pair",
        fontsize=10,
    )
    figure.legend(handles=handles, loc="lower center", ncols=4, fontsize=9)
    return figure
