"""`pclmix_losses.png`: every term, its weight, and what the steps tell of themselves, per epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from scribble_tools.draw.contact_sheet import COLOURS, colour_of, save_png

FILE_NAME = "pclmix_losses.png"
PREFIX, WEIGHT = "pclmix_", "pclmix_weight_"
# Okabe & Ito, neighbours as different as can be; their yellow cannot be seen on white
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
STROKES = ("scribble", "background", "dice")
SOLID, DASHED = "-", (0, (4, 1.5))
FEW_EPOCHS = 30  # up to here every epoch has a dot
SMOOTHED_FROM = 100  # epochs; from here a mean over neighbours is drawn over the pale values
SHARES = {
    "decoder_agreement": "decoders agree",
    "certain_share": "certain",
    "annotated_share": "annotated",
    "queue_fill": "queue entries that are filled",
    "stroke_trust": "trust in what strokes imply",
    "implied_share": "background that strokes imply",
    "unknown_share": "foreground that no stroke reaches",
    "clipped_share": "steps whose gradient was clipped",
}
SMALLEST_SHARE = 1e-5  # of predicted classes; one that is lost is drawn here
SHARE_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)  # what is beyond is drawn at the edge

Series = Mapping[str, Sequence[float]]


def smoothed(values: np.ndarray) -> np.ndarray:
    """Mean over a fiftieth of the values around each, fewer at the ends; NaN is left out."""
    half = len(values) // 100
    known = np.isfinite(values)
    index = np.arange(len(values))
    low, high = (index - half).clip(0), (index + half + 1).clip(max=len(values))
    total, count = (np.append(0, np.cumsum(x)) for x in (np.where(known, values, 0), known))
    with np.errstate(invalid="ignore"):
        return (total[high] - total[low]) / (count[high] - count[low])


def _line(
    axis: Axes, values: Sequence[float], label: str | None, colour: object, dash: object
) -> None:
    values = np.asarray(values, float)
    if len(values) >= SMOOTHED_FROM:
        axis.plot(values, color=colour, lw=0.6, alpha=0.3)
        values = smoothed(values)
    marker = "o" if len(values) <= FEW_EPOCHS else None
    axis.plot(values, color=colour, ls=dash, lw=1.6, marker=marker, ms=3.5, label=label)


def _logarithmic(axis: Axes) -> None:
    """With numbers that are read at a glance, and are quick to draw."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    subs = (1, 2, 5) if high > 8 * low else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    axis.yaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter("{x:g}")


def _draw_terms(axis: Axes, terms: Series, title: str) -> None:
    """Logarithmic; what is computed on the mixed image is dashed in the colour of its partner."""
    bases = list(dict.fromkeys(name.removesuffix("_mixed") for name in terms))
    for name, values in terms.items():
        colour = LINES[bases.index(name.removesuffix("_mixed")) % len(LINES)]
        values = np.asarray(values, float)
        # 0 is what was not computed, such as the contrast before its queue has entries
        values = np.where(values == 0, np.nan, values)
        if "dice" in name:  # nnU-Net's is minus the Dice
            name, values = f"1 + {name}", 1 + values
        values = np.where(values > 0, values, np.nan)
        _line(axis, values, name, colour, DASHED if name.endswith("_mixed") else SOLID)
    _logarithmic(axis)
    axis.set(title=title, ylabel="mean of the epoch, unweighted")


def _draw_weights(axis: Axes, weights: Series) -> None:
    """Weights that are the same in every epoch share a line; on mixed images they are dashed."""
    groups: dict[tuple[bool, bytes], list[str]] = {}
    for name, values in weights.items():
        key = name.endswith("_mixed"), np.array(values, float).tobytes()
        groups.setdefault(key, []).append(name)
    colours: dict[str, str] = {}
    for (mixed, _), names in groups.items():
        values = weights[names[0]]
        if mixed:  # in the colour of its partner, whose name the legend has
            _line(axis, values, None, colours[names[0].removesuffix("_mixed")], DASHED)
            continue
        colour = LINES[len({*colours.values()}) % len(LINES)]
        colours |= dict.fromkeys(names, colour)
        _line(axis, values, ", ".join(names), colour, SOLID)
    axis.set(title="Weights of the terms", ylabel="weight at the end of the epoch")
    axis.set_ylim(bottom=0)


def _draw_shares(axis: Axes, series: Series) -> None:
    """On an axis that is as fine near 1 as near 0, where these shares lie in the end."""
    low, *_, high = SHARE_TICKS
    for k, (name, label) in enumerate(SHARES.items()):
        if PREFIX + name in series:
            values = np.clip(series[PREFIX + name], low, high)
            _line(axis, values, label, LINES[k], SOLID)
    axis.set_yscale("logit")
    axis.set_yticks(SHARE_TICKS, [f"{tick:g}" for tick in SHARE_TICKS])
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set(
        title="Shares, and trust",
        ylabel="share",
        ylim=(0.9 * low, 1 - 0.9 * low),
    )


def _draw_classes(axis: Axes, series: Mapping[str, Sequence], classes: Sequence[str]) -> None:
    """Share of each foreground class in the decoders' labels; logarithmic."""
    for decoder, dash in (("predicted_main", SOLID), ("predicted_auxiliary", DASHED)):
        # a single NaN stands for an epoch of a version that did not log them
        rows = [np.broadcast_to(row, len(classes) - 1) for row in series.get(PREFIX + decoder, ())]
        for k, values in enumerate(np.array(rows, float, ndmin=2).T if rows else (), 1):
            label = (
                classes[k] if decoder == "predicted_main" and len(classes) <= len(COLOURS) else None
            )
            _line(axis, np.maximum(values, SMALLEST_SHARE), label, colour_of(k), dash)
    _logarithmic(axis)
    dashed = " (auxiliary decoder dashed)" * (PREFIX + "predicted_auxiliary" in series)
    axis.set(
        title=f"Predicted classes{dashed}",
        ylabel=f"share of voxels ({SMALLEST_SHARE:.5f} or less: lost)",
    )


def training_curves(series: Mapping[str, Sequence], classes: Sequence[str]) -> Figure:
    """Draw what the trainer has logged, in a panel for each kind that there is.

    Args:
        series: by name, one value per epoch (NaN where it is not known), as in the checkpoints'
            ``logging``: those that begin with ``pclmix_``.
        classes: names, the background first.
    """
    weights = {k.removeprefix(WEIGHT): v for k, v in series.items() if k.startswith(WEIGHT)}
    terms = {name: series[PREFIX + name] for name in weights}
    by_scribbles = {k: v for k, v in terms.items() if k.startswith(STROKES)}
    by_pseudo = {k: v for k, v in terms.items() if k.startswith("pseudo")}
    others = {k: v for k, v in terms.items() if k not in {**by_scribbles, **by_pseudo}}

    panels: list[Callable[[Axes], None]] = [
        partial(_draw_terms, terms=chosen, title=title)
        for chosen, title in (
            (by_scribbles, "Against the scribbles and the background they imply"),
            (by_pseudo, "Against the mixed pseudo labels"),
            (others, "Consistency of the decoders, contrast"),
        )
        if chosen
    ]
    panels.append(partial(_draw_weights, weights=weights))
    panels.append(partial(_draw_shares, series=series))
    panels.append(partial(_draw_classes, series=series, classes=classes))
    columns = -(-len(panels) // 2)
    width = 5.5 * columns
    figure = Figure((width, 11.5), dpi=100)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(0.825 / width, 0.21, 0.99, 0.94, wspace=0.22, hspace=0.7)
    axes = figure.subplots(2, columns).ravel()
    for unused in axes[len(panels) :]:
        unused.remove()
    axes = axes[: len(panels)]
    for draw, axis in zip(panels, axes, strict=True):
        draw(axis)
    epochs = max(map(len, series.values()), default=0)
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.set_xlim(-0.02 * max(epochs - 1, 1), 1.02 * max(epochs - 1, 1))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(lw=0.4, alpha=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        if any(not line.get_label().startswith("_") for line in axis.lines):
            axis.legend(
                loc="upper left",
                bbox_to_anchor=(0, -0.16),
                ncols=1 if axis is axes[-3] else 2,  # lists of names
                fontsize=8,
                handlelength=3.5,
                frameon=False,
                borderaxespad=0,
            )
    notes = []
    if any(name.endswith("_mixed") for name in terms):
        notes.append("Terms: solid of the image, dashed of the mixed image.")
    if epochs >= SMOOTHED_FROM:
        notes.append("Pale: each epoch; strong: mean over neighbouring epochs.")
    figure.text(0.825 / width, 0.975, " ".join(notes), fontsize=9)
    return figure


def draw_training_curves(
    series: Mapping[str, Sequence], classes: Sequence[str], folder: Path
) -> None:
    """Write ``pclmix_losses.png`` to the folder, whole or not at all; see `training_curves`."""
    # nnU-Net's own plot changes how matplotlib draws from then on
    with matplotlib.style.context("default"):
        save_png(training_curves(series, classes), folder / FILE_NAME)
