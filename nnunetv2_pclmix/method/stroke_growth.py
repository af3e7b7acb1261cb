"""Strokes speak for the voxels beside them, too: they grow by a share of their class' thickness.

Ours, not PCLMix'. Strokes keep away from outlines, so a network learns the inside of its classes
and draws the outline where the image has an edge: around what readers count as part of an organ,
and too far inside. Grown strokes show it the organ's rim. How far they may grow the prediction
tells, of each image for itself: by less than a class' half thickness there they stay inside of it
wherever they were drawn along its middle. The background grows as far as the other classes of the
batch do on average, and no deeper than its own strokes lie, which may follow outlines. Where
classes are about equally thick that favours no side of an outline; against a much thinner class,
the background. It does not grow where the network is sure of another class: that may be an object
without a stroke.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_pclmix.method.global_mean import global_sum
from nnunetv2_pclmix.method.label_encoding import LabelEncoding
from nnunetv2_pclmix.method.triton_kernels import Kernel, tried

KERNEL = "nnunetv2_pclmix.method.stroke_growth_triton"
MOST_RINGS = 6
"""Voxels by which strokes grow at most."""
DEEPEST = 8
"""Voxels up to which it is counted how deep the background's strokes lie."""
SURE = 0.9
"""Probability of a foreground class, or region, from which the background leaves it alone."""
SAMPLE_STRIDE = 2
"""Of the prediction every second voxel along each axis with a period of 1 is looked at."""


def ring_periods(spacing: Sequence[float]) -> list[int]:
    """For each axis after how many rings strokes grow along it, so that they grow alike in mm.

    Args:
        spacing: of the axes, in mm.

    >>> ring_periods((8.0, 1.5, 1.5))
    [5, 1, 1]
    """
    finest = min(spacing)
    return [max(1, round(s / finest)) for s in spacing]


@torch.no_grad()
def grow_strokes(
    labels: LabelEncoding, logits: Tensor, scribble: Tensor, share: float, periods: Sequence[int]
) -> Tensor:
    """The scribble with strokes that have grown.

    A voxel becomes what the strokes nearest to it are, if they are of one class, and not further
    than ``share`` of that class' half thickness in this image. A class grows as far as the network
    knows its strokes there: not at all where half of their voxels or fewer are predicted to be of
    it. The background does not grow over voxels where one foreground class has a probability of
    `SURE` or more.

    Args:
        labels: what logits and scribble mean.
        logits: (B, C, *spatial).
        scribble: (B, T, *spatial).
        share: of the half thickness.
        periods: see `ring_periods`.

    Returns:
        (B, T, *spatial) of the scribble's type.
    """
    drawn = labels.exclusive(scribble)
    predicted = labels.exclusive(labels.predict(logits))
    reach = share * half_thickness(drawn, predicted, labels.num_classes, periods)
    for number in labels.not_grown:
        reach.select(1, number).zero_()  # a number that is assigned would be copied and waited for
    grown = grown_classes(drawn, reach, list(periods))
    foreground = labels.probabilities(logits)[:, labels.foreground_from :].amax(1)
    grown = grown.masked_fill((grown == 0) & (foreground >= SURE), labels.num_classes)
    return labels.with_scribble(labels.of_classes(grown).to(scribble.dtype), scribble)


def half_thickness(
    drawn: Tensor, predicted: Tensor, num_classes: int, periods: Sequence[int]
) -> Tensor:
    """(B, K) in voxels: half the thickness of predicted classes, as far as their strokes are known.

    It is volume by surface less half a voxel, which leads from the middle voxel of a wall to the
    outermost one. That of the background is the mean of the others' over the batch, as far as they
    are there: it has to be learned in images without any of them, too. It is at most how deep most
    of its strokes lie in this image. With S_r the share of their voxels that lie r or more voxels
    inside, that is the sum of 2 S_r - 1 over all r for which this is positive. In 3D all is counted
    in the planes of the axes with a period of 1.

    Args:
        drawn: (B, *spatial) int64 classes of the strokes, K where there are none.
        predicted: (B, *spatial) int64 classes.
        num_classes: K, the background first.
        periods: see `ring_periods`.
    """
    both = torch.stack((predicted + 1, num_classes - predicted)).to(_fastest(predicted.device))
    planes = [axis for axis, period in enumerate(periods) if period == 1]
    largest, smallest = _spread(both, planes, diagonally=True)
    edge = (largest != both[0]) | (smallest != both[1])

    strides = [SAMPLE_STRIDE if period == 1 else 1 for period in periods]
    part = (slice(None), *(slice(None, None, stride) for stride in strides))
    number = torch.arange(num_classes, device=drawn.device).view(-1, *[1] * drawn.ndim)
    member, at = predicted[part] == number, drawn[part] == number
    counts = torch.stack((member, member & edge[part], at, at & member)).flatten(3).sum(3)
    volume, surface, strokes, known = counts.transpose(1, 2).float()
    trust = (2 * known / strokes.clamp(min=1) - 1).clamp(min=0)
    half = trust * (volume / surface.clamp(min=1) - 0.5).clamp(min=0)
    others = half[:, 1:]
    total, there = global_sum(torch.stack((others.sum(), (others > 0).sum())))
    mean = total / there.clamp(min=1)

    rims = [edge[:, None].float()]
    for _ in range(DEEPEST - 1):
        rims.append(_pooled(rims[-1], planes))
    inside = torch.stack([rim[:, 0][part] for rim in rims]) == 0
    own = (inside & (at[0] & member[0])).flatten(2).sum(2)
    shares = own / strokes[:, 0].clamp(min=1)
    depth = (2 * shares - 1).clamp(min=0).sum(0)
    return torch.cat((torch.minimum(mean, depth)[:, None], others), 1)


# the schema in words: torch 2.6 cannot read it from a list[int]
@torch.library.custom_op(
    "nnunetv2_pclmix::grown_classes",
    mutates_args=(),
    schema="(Tensor drawn, Tensor reach, int[] periods) -> Tensor",
)
def grown_classes(drawn: Tensor, reach: Tensor, periods: list[int]) -> Tensor:
    """Let strokes grow ring by ring, each class up to its reach, `MOST_RINGS` rings at most.

    On CUDA a ring is one Triton kernel; elsewhere, and without Triton, it is several operations.

    Rings go along the axes and, every second time, across corners too, which makes octagons of
    them. Where strokes of two classes arrive at once, or the first to arrive is beyond its reach,
    nothing is said, and nothing grows on.

    Args:
        drawn: (B, *spatial) int64 classes, K where there are no strokes.
        reach: (B, K) in voxels.
        periods: see `ring_periods`.

    Returns:
        (B, *spatial) int64 classes, K where nothing is said.
    """
    if drawn.device.type == "cuda":
        with torch.cuda.device(drawn.device):  # Triton takes the current one
            return (kernel().launch or _by_torch)(drawn, reach, periods)
    return _by_torch(drawn, reach, periods)


@grown_classes.register_fake
def _(drawn: Tensor, reach: Tensor, periods: list[int]) -> Tensor:
    return torch.empty_like(drawn, memory_format=torch.contiguous_format)


def kernel() -> Kernel:
    """The one on the current GPU."""
    return tried(KERNEL, _by_torch)


def _by_torch(drawn: Tensor, reach: Tensor, periods: Sequence[int]) -> Tensor:
    num_classes = reach.shape[1]
    # the largest and the smallest class that arrives, 0 where none has: they agree on one class
    both = torch.stack((drawn + 1, num_classes - drawn))
    both = both.mul_(drawn < num_classes).to(_fastest(drawn.device))
    rings = torch.zeros_like(both[0], dtype=torch.int16)
    for ring in range(1, MOST_RINGS + 1):
        free = both[0] == 0
        rings += free
        axes = [axis for axis, period in enumerate(periods) if ring % period == 0]
        both = torch.where(free, _spread(both, axes, diagonally=ring % 2 == 0), both)
    largest, smallest = both
    alone = (largest + smallest == num_classes + 1) & (largest > 0)
    owner = (largest - 1).clamp(min=0).long()
    reached = rings <= reach.gather(1, owner.flatten(1)).view_as(owner)
    return torch.where(alone & reached, owner, num_classes)


def _fastest(device: torch.device) -> torch.dtype:
    """Type in which `_spread` is fastest: a GPU pools, at one operation for eight of a CPU's."""
    return torch.float32 if device.type == "cuda" else torch.int16


def _spread(values: Tensor, axes: Sequence[int], diagonally: bool) -> Tensor:
    """The largest of each voxel and its neighbours along the axes of (N, B, *spatial).

    Floating point numbers by pooling, which a CPU does several times slower than the rest.
    """
    if values.is_floating_point():
        if diagonally or not axes:
            return _pooled(values, axes)
        return functools.reduce(torch.maximum, (_pooled(values, [axis]) for axis in axes))
    result = values.clone()
    for axis in axes:
        of, size = result.clone() if diagonally else values, values.shape[2 + axis] - 1
        for to, back in ((0, 1), (1, 0)):
            part = result.narrow(2 + axis, to, size)
            part.copy_(torch.maximum(part, of.narrow(2 + axis, back, size)))
    return result


def _pooled(values: Tensor, axes: Sequence[int]) -> Tensor:
    """The largest of each voxel and its neighbours, those across corners too."""
    spatial = range(values.ndim - 2)
    kernel = [3 if axis in axes else 1 for axis in spatial]
    pool = F.max_pool2d if len(spatial) == 2 else F.max_pool3d
    return pool(values, kernel, 1, [k // 2 for k in kernel])
