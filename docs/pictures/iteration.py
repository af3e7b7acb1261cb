"""Draw docs/pictures/iteration.png: one iteration of the complete method.

python docs/pictures/iteration.py docs/pictures/iteration.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

# Okabe & Ito, lightened
DATA, NETWORK, LABEL, LOSS = "#e8e8e8", "#cfe6f5", "#fdeab8", "#f8d3c4"
RED = "#b5361c"


class Box:
    """A box with text; its sides are where arrows begin and end."""

    def __init__(
        self, axes: Axes, at: tuple[float, float], text: str, colour: str, size=(1.5, 0.62)
    ) -> None:
        (self.x, self.y), (self.width, self.height) = at, size
        corner = (self.x - self.width / 2, self.y - self.height / 2)
        axes.add_patch(
            FancyBboxPatch(
                corner, *size, boxstyle="round,pad=0,rounding_size=0.08", fc=colour, ec="#555555"
            )
        )
        axes.text(self.x, self.y, text, ha="center", va="center", fontsize=10, linespacing=1.15)

    def side(self, name: str, shift: float = 0.0) -> tuple[float, float]:
        """A point on an edge: ``left``, ``right``, ``top`` or ``bottom``, moved along it."""
        return {
            "left": (self.x - self.width / 2, self.y + shift),
            "right": (self.x + self.width / 2, self.y + shift),
            "top": (self.x + shift, self.y + self.height / 2),
            "bottom": (self.x + shift, self.y - self.height / 2),
        }[name]


def arrow(axes: Axes, *points: tuple[float, float], colour="#333333", dashed=False) -> None:
    """Along the points; dashed where no gradient flows."""
    line = {"color": colour, "lw": 1.4, "linestyle": (0, (4, 2)) if dashed else "-"}
    axes.plot(*zip(*points[:-1], strict=True), solid_joinstyle="miter", **line)
    tip = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **line}
    axes.annotate("", points[-1], points[-2], arrowprops=tip)


def note(axes: Axes, x: float, y: float, text: str, ha="left", **more) -> None:
    """Text without a box."""
    axes.text(x, y, text, fontsize=10, ha=ha, va="center", **more)


def network(axes: Axes, y: float, image: str) -> dict[str, Box]:
    """Image, encoder and both decoders of one pass, with their arrows."""
    boxes = {
        "image": Box(axes, (0.9, y), image, DATA, (1.4, 0.6)),
        "encoder": Box(axes, (2.8, y), "encoder $E$", NETWORK, (1.4, 0.6)),
        "main": Box(axes, (5.0, y + 0.55), "main decoder $D_c$", NETWORK, (2.1, 0.6)),
        "auxiliary": Box(axes, (5.0, y - 0.55), "auxiliary decoder $D_t$", NETWORK, (2.1, 0.6)),
    }
    arrow(axes, boxes["image"].side("right"), boxes["encoder"].side("left"))
    for name in ("main", "auxiliary"):
        arrow(axes, boxes["encoder"].side("right"), boxes[name].side("left"))
    return boxes


def losses(axes: Axes, boxes: dict[str, Box], y: float, texts: tuple[str, str], then: str) -> None:
    """The loss terms of both decoders, and what is done with them."""
    after = Box(axes, (12.6, y), then, DATA, (1.9, 0.95))
    for name, shift, text in zip(("main", "auxiliary"), (0.55, -0.55), texts, strict=True):
        box = Box(axes, (9.5, y + shift), text, LOSS, (3.4, 0.75))
        arrow(axes, boxes[name].side("right"), box.side("left"))
        arrow(axes, box.side("right"), after.side("left", 0.2 if shift > 0 else -0.2), colour=RED)


def main(out: Path) -> None:
    """Draw both passes and what goes from one to the other."""
    figure, axes = pyplot.subplots(figsize=(13.6, 7.0))
    axes.set(xlim=(0.1, 13.65), ylim=(-0.2, 8.0))
    axes.axis("off")

    note(axes, 0.2, 7.75, "Pass 1: the image", weight="bold")
    first = network(axes, 6.5, "image $x$")
    losses(
        axes, first, 6.5,
        (
            "strokes: cross-entropy and Dice,\nimplied background",
            "strokes, implied background,\nagreement with $D_c$",
        ),
        "backward;\nthe memory takes\nthis batch in",
    )  # fmt: skip
    head = Box(axes, (2.8, 5.05), "embedding $e$", NETWORK, (1.4, 0.6))
    learned = "contrast with the memory,\nback-propagated, too"
    contrast = Box(axes, (4.96, 5.05), learned, LOSS, (2.45, 0.75))
    arrow(axes, first["encoder"].side("bottom"), head.side("top"))
    arrow(axes, head.side("right"), contrast.side("left"))

    note(axes, 0.2, 4.25, "Between the passes", weight="bold")
    mixed = "mix: a box of one sample\ninto another, images,\nstrokes and labels"
    mix = Box(axes, (1.85, 3.5), mixed, LABEL, (2.9, 0.95))
    labels = Box(
        axes, (6.75, 3.5), "labels of both decoders,\ncorrected by the strokes", LABEL, (2.7, 0.75)
    )
    support = Box(axes, (10.0, 3.5), "growing strokes,\nstroke support", LABEL, (1.9, 0.75))
    strokes = Box(axes, (12.6, 3.5), "strokes", DATA, (1.4, 0.6))
    arrow(axes, (6.4, 7.05), (6.4, 3.875), dashed=True)
    arrow(axes, (6.7, 5.95), (6.7, 3.875), dashed=True)
    arrow(axes, (7.1, 7.05), (7.1, 4.6), (9.6, 4.6), (9.6, 3.8), dashed=True)
    note(axes, 6.28, 7.25, "$z_c$")
    note(axes, 6.75, 5.77, "$z_t$")
    arrow(axes, strokes.side("left"), support.side("right"), dashed=True)
    arrow(axes, support.side("left"), labels.side("right"), dashed=True)
    arrow(axes, labels.side("left"), mix.side("right"), dashed=True)
    arrow(axes, (10.4, 3.8), (10.4, 5.575), dashed=True)
    note(axes, 10.5, 4.75, "grown strokes,\nimplied background")

    note(axes, 3.6, 2.6, "Pass 2: the mixed image", weight="bold")
    second = network(axes, 1.4, "mixed $x'$")
    arrow(axes, (0.9, 3.025), second["image"].side("top"), dashed=True)
    losses(
        axes, second, 1.4,
        (
            "mixed strokes, Dice, background,\nmixed pseudo label",
            "mixed strokes, background,\nmixed pseudo label, agreement",
        ),
        "backward;\nthen one step of\nthe optimiser",
    )  # fmt: skip
    note(
        axes, 6.9, -0.05,
        "blue: network      orange: loss terms      yellow: what is made of labels      "
        "red: back-propagated      dashed: without gradient",
        ha="center",
    )  # fmt: skip
    figure.savefig(out, dpi=95, bbox_inches="tight", pad_inches=0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
