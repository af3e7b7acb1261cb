"""Which predicted foreground has a stroke behind it, and what background follows from that.

Ours, not PCLMix': strokes lie where the organs are, so that most of an image is annotated by
nothing. A network trained on the strokes alone paints organs there too, and pseudo labels repeat
it. But a prediction together with the strokes tells what is wrong: predicted foreground that a
background stroke reaches sooner than a foreground stroke is false, and what is far from all
foreground is background. Foreground that nothing reaches may be an object that got no stroke: of
it nothing is said. Neither is it where a background stroke only lies beside it, as strokes do that
are drawn around objects.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_pclmix.method.global_mean import global_sum
from nnunetv2_pclmix.method.label_encoding import LabelEncoding
from nnunetv2_pclmix.method.stroke_spread import implied_cells

CELLS = {2: 64, 3: 32}
"""Largest number of cells per axis of the grid on which strokes spread, by the number of axes."""
LIKENESS = 0.5
"""Share of the mean probability at strokes from which a voxel may be foreground."""


@dataclass(frozen=True)
class StrokeSupport:
    """What strokes say of a prediction, as masks (B, 1, *spatial) bool.

    Attributes:
        background: background by implication; predicted foreground in it is false.
        unknown: predicted foreground that no stroke reaches; not background.
        likely: alike to the strokes of a class, see `foreground_like_strokes`.
        trust: scalar that rises from 0 to 1 while the mean probability of the strokes' classes at
            the strokes rises from 1/2 to 3/4. What a network implies that does not know its
            classes yet would only keep it from learning them.
    """

    background: Tensor
    unknown: Tensor
    likely: Tensor
    trust: Tensor

    def cut(self, part: Callable[[Tensor], Tensor]) -> StrokeSupport:
        """What strokes say of ``part`` of the masks."""
        masks = (part(mask) for mask in (self.background, self.unknown, self.likely))
        return StrokeSupport(*masks, self.trust)

    def correct(self, labels: LabelEncoding, target: Tensor) -> Tensor:
        """A predicted target (B, T, *spatial) as far as the strokes do not contradict it.

        What they imply becomes background. What no stroke reaches is ignored, and so is what is
        called background though it is alike to a class' strokes: early in a training everything
        rare is, and as a target it would stay so.
        """
        missed = self.likely & labels.shows_background(target)
        target = labels.ignore(target, self.unknown | missed)
        return target.masked_fill(self.background, 0)


@torch.no_grad()
def stroke_support(
    labels: LabelEncoding, logits: Tensor, scribble: Tensor, drawn: Tensor | None = None
) -> StrokeSupport:
    """What the strokes say of the foreground that the logits show.

    Args:
        logits: (B, C, *spatial).
        scribble: (B, T, *spatial).
        drawn: the scribble before its strokes grew, see `imply`.

    Example:
        Two squares are predicted alike. A stroke of class 1 lies in the left one, a background
        stroke in the right one, which is therefore false. 2 stands for "not annotated":

        >>> import torch
        >>> from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
        >>> labels, logits = ExclusiveLabels(2), torch.zeros(1, 2, 32, 32)
        >>> logits[:, 0] = 4
        >>> logits[:, 1, 12:20, 4:12] = logits[:, 1, 12:20, 20:28] = 8
        >>> scribble = torch.full((1, 1, 32, 32), 2)
        >>> scribble[..., 16, 6:10], scribble[..., 16, 22:26] = 1, 0
        >>> support = stroke_support(labels, logits, scribble)
        >>> [bool(support.background[0, 0, 14, column]) for column in (8, 24)]
        [False, True]
        >>> round(support.trust.item(), 2)
        1.0
        >>> corrected = support.correct(labels, labels.predict(logits))
        >>> corrected[0, 0, 14, [8, 24]].tolist()
        [1, 0]
    """
    foreground, recognised = foreground_like_strokes(labels, logits, scribble)
    trust = (4 * recognised - 2).clamp(0, 1)
    return StrokeSupport(*imply(labels, foreground, scribble, drawn), foreground, trust)


@torch.no_grad()
def foreground_like_strokes(
    labels: LabelEncoding, logits: Tensor, scribble: Tensor
) -> tuple[Tensor, Tensor]:
    """Voxels at least `LIKENESS` as probable as the strokes of a class are on average.

    Once a class is recognised, that is about what is predicted. Before, when all that is rare is
    predicted to be background, it tells an organ from the rest all the same, once the rest is less
    than half as probable; taking such a prediction at its word would make background of the organ
    for good.

    Returns:
        The voxels, (B, 1, *spatial) bool, and a scalar: the mean over the classes of how probable
        they are at their strokes, in the batch of all processes.
    """
    p = labels.probabilities(logits)[:, labels.foreground_from :]
    strokes = labels.belonging(scribble, labels.foreground_from)
    every = [axis for axis in range(p.ndim) if axis != 1]
    total, count = global_sum(torch.stack(((p * strokes).sum(every), strokes.sum(every))))
    seen = count > 0
    level = (total / count.clamp(min=1)).masked_fill(~seen, 1)
    likeness = p / level.clamp(min=1e-6).view(1, -1, *[1] * (p.ndim - 2))
    recognised = (level * seen).sum() / seen.sum().clamp(min=1)
    return likeness.amax(1, keepdim=True) >= LIKENESS, recognised


@torch.no_grad()
def imply(
    labels: LabelEncoding, foreground: Tensor, scribble: Tensor, drawn: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Let the strokes spread through the foreground: what is background, and what is unknown.

    Foreground and background strokes spread in lockstep, the former twice as fast because outlines
    are drawn around organs with some distance, on a grid of at most `CELLS` per axis; at most as
    many steps as the grid is wide, whatever the shapes, so that nothing waits for the device. A
    background stroke spreads from cells with foreground where it is `surrounded`: one beside
    foreground may have been drawn around an object. What is implied holds in annotated slices only,
    and further than one cell from what may be foreground.

    Args:
        foreground: (B, 1, *spatial) bool.
        scribble: (B, T, *spatial).
        drawn: the scribble before its strokes grew: background that has grown up to an object does
            not contradict it. Without it the scribble is as drawn.
    """
    strokes, of_background = labels.annotated(scribble)
    if drawn is not None:
        of_background = labels.annotated(drawn)[1]
    foreground = foreground | strokes
    size = foreground.shape[2:]
    cell = [-(-n // CELLS[len(size)]) for n in size]
    against = of_background & surrounded(foreground, cell)
    maps = torch.cat((foreground, strokes, against, strokes | of_background), 1)
    maps = any_in_cells(maps, cell)
    maps = implied_cells(maps, max(maps.shape[2:]))
    far, theirs, lone = of_voxels(maps, cell, size).split(1, 1)
    return far | (theirs & foreground), lone & foreground


def surrounded(foreground: Tensor, cell: Sequence[int]) -> Tensor:
    """Foreground, and gaps in it of at most two cells: its morphological closing by one cell.

    A stroke in false foreground makes such a gap, since its own voxels are learned first. Outside
    the image there is no foreground.

    Args:
        foreground: (B, 1, *spatial) bool.
        cell: voxels of a cell, per axis.

    Example:
        A stroke between two voxels of foreground, and one beside them:

        >>> import torch
        >>> row = torch.tensor([[[[0, 0, 1, 0, 1, 0, 0]]]]).bool()
        >>> surrounded(row, [1, 1])[0, 0, 0].int().tolist()
        [0, 0, 1, 1, 1, 0, 0]
    """
    pool = F.max_pool2d if len(cell) == 2 else F.max_pool3d
    # each of the pools takes away at the edges half of what is added here
    closed = F.pad(foreground.float(), [2 * n for n in reversed(cell) for _side in range(2)])
    for _ in range(2):  # wider, then narrower again
        for axis, voxels in enumerate(cell):
            window = [2 * voxels + 1 if axis == other else 1 for other in range(len(cell))]
            closed = pool(closed, window, 1)
        closed = -closed
    return closed > 0.5


def any_in_cells(maps: Tensor, cell: Sequence[int]) -> Tensor:
    """Whether there is a true voxel in a cell.

    Args:
        maps: (B, C, *spatial) bool; the last cells of an axis may stick out.
        cell: voxels of a cell, per axis.
    """
    size = maps.shape[2:]
    grid = [-(-n // factor) for n, factor in zip(size, cell, strict=True)]
    missing = [g * f - n for g, f, n in zip(grid, cell, size, strict=True)]
    if any(missing):
        maps = F.pad(maps, [n for gap in reversed(missing) for n in (0, gap)])
    maps = maps.view(*maps.shape[:2], *(n for pair in zip(grid, cell, strict=True) for n in pair))
    # torch pools, and reduces over such axes, many times slower than this on a CPU
    for axis in range(len(size)):
        maps = functools.reduce(torch.bitwise_or, maps.unbind(3 + axis))
    return maps


def of_voxels(maps: Tensor, cell: Sequence[int], size: Sequence[int]) -> Tensor:
    """(B, C, *grid) of cells to (B, C, *size) of the voxels in them."""
    axes = range(2, maps.ndim)
    for axis in reversed(axes):
        maps = maps.unsqueeze(axis + 1)
    shape = list(maps.shape)
    shape[3::2] = cell
    voxels = maps.expand(shape).reshape(
        *shape[:2], *(n * factor for n, factor in zip(shape[2::2], cell, strict=True))
    )
    for axis, n in zip(axes, size, strict=True):
        voxels = voxels.narrow(axis, 0, n)
    return voxels
