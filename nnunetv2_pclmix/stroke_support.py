"""Which predicted foreground has a stroke behind it, and what background follows from that.

Ours, not PCLMix': strokes lie where the organs are, so that most of an image is annotated by
nothing. A network trained on the strokes alone paints organs there too, and pseudo labels repeat
it. But who draws scribbles marks every object: predicted foreground that no foreground stroke
reaches, or that a background stroke reaches sooner, is false, and what is far from all foreground
that a stroke does reach is background.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_pclmix.label_encoding import LabelEncoding

CELLS = {2: 64, 3: 32}
"""Largest number of cells per axis of the grid on which strokes spread, by the number of axes."""


@dataclass(frozen=True)
class StrokeSupport:
    """What the strokes say of a prediction; both (B, 1, *spatial) bool and nowhere true together.

    Attributes:
        background: background by implication; predicted foreground in it is false.
        unknown: predicted foreground that leaves the patch before it meets a stroke: the stroke
            that supports it may lie outside.
    """

    background: Tensor
    unknown: Tensor

    def correct(self, labels: LabelEncoding, target: Tensor) -> Tensor:
        """A predicted target (B, T, *spatial) with background as implied and unknown ignored."""
        return labels.ignore(torch.where(self.background, 0, target), self.unknown)


def dilate(x: Tensor) -> Tensor:
    """(B, C, *grid) floats to the largest of each cell and its neighbours, diagonal ones too."""
    if x.device.type != "cpu":
        return (F.max_pool2d if x.ndim == 4 else F.max_pool3d)(x, 3, 1, 1)
    # torch pools many times slower than this on a CPU, where it does not use vector instructions
    for axis in range(2, x.ndim):
        y, n = x.clone(), x.shape[axis] - 1
        for to, of in ((0, 1), (1, 0)):
            part = y.narrow(axis, to, n)
            torch.maximum(part, x.narrow(axis, of, n), out=part)
        x = y
    return x


def in_annotated_slices(annotated: Tensor) -> Tensor:
    """Cells whose slices all have annotations; in 2D the whole of an annotated sample.

    Args:
        annotated: (B, 1, *grid), 1 where something is annotated.
    """
    axes = range(2, annotated.ndim)
    if annotated.ndim == 4:
        return annotated.amax(tuple(axes), keepdim=True).expand_as(annotated)
    result = torch.ones_like(annotated)
    for axis in axes:
        result = result * annotated.amax([other for other in axes if other != axis], keepdim=True)
    return result


@torch.no_grad()
def stroke_support(labels: LabelEncoding, predicted: Tensor, scribble: Tensor) -> StrokeSupport:
    """Let the strokes spread through the predicted foreground, and see what they reach.

    Foreground and background strokes spread in lockstep, the former twice as fast because outlines
    are drawn around organs with some distance, on a grid of at most `CELLS` per axis; always as
    many steps as the grid is wide, so that nothing waits for the device. What is implied holds in
    annotated slices only, and further than one cell from supported foreground.

    Args:
        predicted: target (B, T, *spatial) that the network predicts, see `LabelEncoding.predict`.
        scribble: (B, T, *spatial).
    """
    classes = labels.exclusive(scribble)[:, None]
    strokes = (classes > 0) & (classes < labels.num_classes)
    foreground = (labels.exclusive(predicted)[:, None] > 0) | strokes
    size = foreground.shape[2:]
    kernel = [-(-n // CELLS[len(size)]) for n in size]
    pool = F.max_pool2d if len(size) == 2 else F.max_pool3d
    maps = torch.cat((foreground, strokes, classes == 0), 1).float()
    inside, ours, theirs = pool(maps, kernel, ceil_mode=True).split(1, 1)
    judged = in_annotated_slices(torch.maximum(ours, theirs))

    steps = max(inside.shape[2:])
    theirs = theirs * inside * (1 - ours)
    for _ in range(steps):
        free = inside - theirs
        ours = dilate(dilate(ours) * free) * free
        theirs = dilate(theirs) * (inside - ours)
    lone = inside - ours - theirs
    outward = on_border(lone)
    for _ in range(steps):
        outward = dilate(outward) * lone

    far = judged * (1 - torch.maximum(dilate(ours), dilate(outward)))
    masks = torch.cat((far, judged * theirs, outward), 1) > 0
    for axis, factor in enumerate(kernel, 2):
        masks = masks.repeat_interleave(factor, axis).narrow(axis, 0, size[axis - 2])
    far, theirs, outward = masks.split(1, 1)
    return StrokeSupport(far | (theirs & foreground), outward & foreground & ~(classes == 0))


def on_border(x: Tensor) -> Tensor:
    """``x`` in the outermost cells, 0 elsewhere."""
    x = x.clone()
    x[(..., *[slice(1, -1)] * (x.ndim - 2))] = 0
    return x
