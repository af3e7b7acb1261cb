"""Which predicted foreground has a stroke behind it, and what background follows from that.

Ours, not PCLMix': strokes lie where the organs are, so that most of an image is annotated by
nothing. A network trained on the strokes alone paints organs there too, and pseudo labels repeat
it. But a prediction together with the strokes tells what is wrong: predicted foreground that a
background stroke reaches sooner than a foreground stroke is false, and what is far from all
foreground is background. Foreground that nothing reaches may be an object that got no stroke: of
it nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_pclmix.method.global_mean import global_sum
from nnunetv2_pclmix.method.label_encoding import LabelEncoding

CELLS = {2: 64, 3: 32}
"""Largest number of cells per axis of the grid on which strokes spread, by the number of axes."""
LIKENESS = 0.5
"""Share of the mean probability at strokes from which a voxel may be foreground."""


@dataclass(frozen=True)
class StrokeSupport:
    """What strokes say of a prediction; the masks, (B, 1, *spatial) bool, are disjoint.

    Attributes:
        background: background by implication; predicted foreground in it is false.
        unknown: predicted foreground that no stroke reaches.
        trust: scalar that rises from 0 to 1 while the mean probability of the strokes' classes at
            the strokes rises from 1/2 to 3/4. What a network implies that does not know its
            classes yet would only keep it from learning them.
    """

    background: Tensor
    unknown: Tensor
    trust: Tensor

    def correct(self, labels: LabelEncoding, target: Tensor) -> Tensor:
        """A predicted target (B, T, *spatial) with background as implied and unknown ignored."""
        return labels.ignore(target.masked_fill(self.background, 0), self.unknown)


def dilate(x: Tensor) -> Tensor:
    """(B, C, *grid) floats to the largest of each cell and its neighbours, diagonal ones too."""
    if x.device.type != "cpu":
        return dilate_by_pooling(x)
    # torch pools many times slower than this on a CPU, where it does not use vector instructions
    for axis in range(2, x.ndim):
        y, n = x.clone(), x.shape[axis] - 1
        for to, of in ((0, 1), (1, 0)):
            part = y.narrow(axis, to, n)
            torch.maximum(part, x.narrow(axis, of, n), out=part)
        x = y
    return x


def dilate_by_pooling(x: Tensor) -> Tensor:
    """`dilate` in one operation."""
    return (F.max_pool2d if x.ndim == 4 else F.max_pool3d)(x, 3, 1, 1)


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
def stroke_support(labels: LabelEncoding, logits: Tensor, scribble: Tensor) -> StrokeSupport:
    """What the strokes say of the foreground that the logits show.

    Args:
        logits: (B, C, *spatial).
        scribble: (B, T, *spatial).
    """
    foreground, recognised = foreground_like_strokes(labels, logits, scribble)
    trust = (4 * recognised - 2).clamp(0, 1)
    return StrokeSupport(*imply(labels, foreground, scribble), trust)


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
    strokes = labels.strokes(scribble)
    sums = [torch.stack(((p[:, k] * at).sum(), at.sum())) for k, at in enumerate(strokes)]
    total, count = global_sum(torch.stack(sums)).unbind(1)
    seen = count > 0
    level = torch.where(seen, total / count.clamp(min=1), 1)
    likeness = p / level.clamp(min=1e-6).view(1, -1, *[1] * (p.ndim - 2))
    recognised = (level * seen).sum() / seen.sum().clamp(min=1)
    return likeness.amax(1, keepdim=True) >= LIKENESS, recognised


@torch.no_grad()
def imply(labels: LabelEncoding, foreground: Tensor, scribble: Tensor) -> tuple[Tensor, Tensor]:
    """Let the strokes spread through the foreground: what is background, and what is unknown.

    Foreground and background strokes spread in lockstep, the former twice as fast because outlines
    are drawn around organs with some distance, on a grid of at most `CELLS` per axis; always as
    many steps as the grid is wide, so that nothing waits for the device. What is implied holds in
    annotated slices only, and further than one cell from what may be foreground.

    Args:
        foreground: (B, 1, *spatial) bool.
        scribble: (B, T, *spatial).
    """
    classes = labels.exclusive(scribble)[:, None]
    strokes = (classes > 0) & (classes < labels.num_classes)
    foreground = foreground | strokes
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
    lone = judged * (inside - ours - theirs)
    far = judged * (1 - dilate(torch.maximum(ours, lone)))
    masks = torch.cat((far, judged * theirs, lone), 1) > 0
    for axis, factor in enumerate(kernel, 2):
        masks = masks.repeat_interleave(factor, axis).narrow(axis, 0, size[axis - 2])
    far, theirs, lone = masks.split(1, 1)
    return far | (theirs & foreground), lone & foreground
