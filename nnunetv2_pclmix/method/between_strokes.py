"""What lies between strokes: whose strokes are nearer counts beside what the network says.

Ours, not PCLMix'. Between the strokes of two classes nothing tells a network where one ends and the
other begins, so it draws the outline where the image has an edge. But strokes are drawn along the
middle of things, and so the outline runs about half way between them. Where the network has strokes
of two classes about equally near, its word counts; the nearer one class' strokes are than the
others', the more it takes to contradict them. Both together are right more often than either alone.
The network is taught that, at a small weight: it cannot see the strokes, so it learns what holds in
most images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnunetv2_pclmix.method.label_encoding import LabelEncoding
from nnunetv2_pclmix.method.stroke_growth import fastest_dtype, spread

FARTHEST = 10
"""Rings from which on a stroke is too far off to say anything."""
NEARNESS = 3.0
"""Nats by which a class is ahead, times the difference of two distances by their sum."""


@torch.no_grad()
def between_strokes(
    labels: LabelEncoding,
    logits: Tensor,
    scribble: Tensor,
    background: Tensor,
    periods: Sequence[int],
) -> Tensor:
    """The class of each voxel between strokes, by nearness and prediction.

    With d_k the distance to the nearest stroke of class k and d the least of them, it is the class
    with the largest score log p_k - `NEARNESS` * (d_k - d) / (d_k + d). Distances are rings, as
    strokes grow; only their ratio counts. Nothing is said of annotated voxels, of implied
    background, where the predicted class has no stroke nearer than `FARTHEST` rings, as an object
    without a stroke, and in images without strokes of both background and foreground. Regions that
    overlap in part are none of its business: see `LabelEncoding.not_grown`.

    Args:
        labels: what logits and scribble mean.
        logits: (B, C, *spatial).
        scribble: (B, T, *spatial), with strokes that have grown.
        background: (B, 1, *spatial) bool, what is background by implication.
        periods: see `ring_periods`.

    Returns:
        (B, T, *spatial) of the scribble's type, ignored where nothing is said.

    Example:
        A stroke of background, one of class 1, and a network that tells nothing. 2 stands for "not
        annotated":

        >>> import torch
        >>> from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
        >>> scribble = torch.tensor([[[[0, 2, 2, 2, 2, 1]]]])
        >>> nothing = torch.zeros(1, 1, 1, 6).bool()
        >>> logits = torch.zeros(1, 2, 1, 6)
        >>> between_strokes(ExclusiveLabels(2), logits, scribble, nothing, [1, 1]).tolist()
        [[[[2, 0, 0, 1, 1, 2]]]]

        One that is sure of class 1 there, two pixels from the background's stroke:

        >>> logits[0, 1, 0, 2] = 4
        >>> between_strokes(ExclusiveLabels(2), logits, scribble, nothing, [1, 1]).tolist()
        [[[[2, 0, 1, 1, 1, 2]]]]
    """
    number = labels.num_classes
    drawn = labels.exclusive(scribble)
    drawn = drawn.masked_fill(background[:, 0] & (drawn == number), 0)
    classes = torch.arange(number, device=drawn.device).view(-1, *[1] * drawn.ndim)
    reached = (drawn == classes).to(fastest_dtype(drawn.device))
    there = reached.flatten(2).amax(2)
    both = (there[:1] > 0) & (there[1:].amax(0, keepdim=True) > 0)
    rings = (reached == 0).to(torch.int16)
    for ring in range(1, FARTHEST):
        axes = [axis for axis, period in enumerate(periods) if ring % period == 0]
        reached = spread(reached, axes, diagonally=ring % 2 == 0)
        rings += reached == 0
    del reached
    near = rings.amin(0)
    ahead = (rings - near).float().mul_(NEARNESS).div_((rings + near).clamp_(min=1))
    scores = labels.class_scores(logits)
    found = (scores - ahead.transpose(0, 1)).max(1).indices
    predicted = scores.max(1, keepdim=True).indices
    known = rings.transpose(0, 1).gather(1, predicted)[:, 0] < FARTHEST
    known &= (drawn == number) & both[0].view(-1, *[1] * (drawn.ndim - 1))
    found = found.masked_fill(~known, number)
    return labels.of_classes(found).to(scribble.dtype)
