"""What the decoders' predictions are taken for: targets of the mix, classes of the contrast."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nnunetv2_pclmix.method.label_encoding import LabelEncoding
from nnunetv2_pclmix.method.stroke_support import StrokeSupport

AT_ONCE = 8  # classes that are counted together


def mean_probabilities(
    labels: LabelEncoding, main_logits: Tensor, auxiliary_logits: Tensor | None
) -> Tensor:
    """p = (p_c + p_t) / 2 of the decoders' softmax, or sigmoid, float32, shapes (B, C, *spatial).

    Without an auxiliary decoder (``None``) p is p_c alone.
    """
    p = labels.probabilities(main_logits)
    if auxiliary_logits is None:
        return p
    return p.lerp(labels.probabilities(auxiliary_logits), 0.5)


@torch.no_grad()
def predicted_target(
    labels: LabelEncoding,
    scores: Tensor,
    scribble: Tensor,
    threshold: float | Tensor | None = None,
    support: StrokeSupport | None = None,
    present: float = 0.5,
) -> Tensor:
    """The target that a prediction speaks for; a scribbled voxel always keeps its scribble.

    Args:
        labels: what scores and targets mean.
        scores: (B, C, *spatial) probabilities; logits will do without a threshold.
        scribble: (B, T, *spatial).
        threshold: entropy in nats up to which a voxel is certain, see `certainty_threshold`; the
            others are ignored. Without it, none is.
        support: what the strokes say of the prediction, which corrects it.
        present: score above which a region is there: 0.5 of probabilities, 0 of logits.

    Returns:
        (B, T, *spatial) of the scribble's type.
    """
    target = labels.predict(scores, present).to(scribble.dtype)
    if threshold is not None:
        # written so that NaN, of an overflow in float16, is not certain
        target = labels.ignore(target, ~(labels.uncertainty(scores) <= threshold)[:, None])
    if support is not None:
        target = support.correct(labels, target)
    return labels.with_scribble(target, scribble)


def certainty_label(
    labels: LabelEncoding,
    probabilities: Tensor,
    scribble: Tensor,
    threshold: float | Tensor,
    support: StrokeSupport | None = None,
) -> Tensor:
    """Label of the pixels that are certain (PCLMix, uncertainty-guided pixel contrast).

    Args:
        labels: what probabilities and scribble mean.
        probabilities: (B, C, *spatial) mean prediction p.
        scribble: (B, T, *spatial).
        threshold: entropy in nats up to which a pixel is certain, see `certainty_threshold`; a
            number or a scalar on the device.
        support: what the strokes say of the prediction; what contradicts them is not certain.

    Returns:
        (B, *spatial) int64 exclusive classes: the scribble's where there is one, else the one
        predicted by p where the entropy of p is at most ``threshold``, else ``num_classes``.

    Example:
        The second voxel is torn between two classes, so that it gets 2, "no class". The third is,
        too, but has a scribble:

        >>> import torch
        >>> from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
        >>> p = torch.tensor([[[0.99, 0.5, 0.5], [0.01, 0.5, 0.5]]])
        >>> scribble = torch.tensor([[[2, 2, 1]]])
        >>> certainty_label(ExclusiveLabels(2), p, scribble, threshold=0.3).tolist()
        [[0, 2, 1]]
    """
    target = predicted_target(labels, probabilities, scribble, threshold, support)
    return labels.exclusive(target)


def classes_in_cells(classes: Tensor, size: Sequence[int], num_classes: int) -> Tensor:
    """How many voxels of each class lie in each cell of a coarser grid.

    Args:
        classes: (B, *spatial) int64 in 0..num_classes, of which the last is "no class".
        size: of the grid; ``spatial`` is a multiple of it.

    Returns:
        (B, cells, num_classes) int64, the cells in the order of a flattened ``size``.
    """
    batch, axes = len(classes), len(size)
    cell = [n // m for n, m in zip(classes.shape[1:], size, strict=True)]
    parts = classes.view(batch, *(n for pair in zip(size, cell, strict=True) for n in pair))
    if _additions_wait(classes.device):
        return counts_by_comparison(parts, num_classes)
    order = [*range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2)]
    members = parts.permute(0, *order).reshape(batch, math.prod(size), math.prod(cell))
    counts = members.new_zeros(batch, math.prod(size), num_classes + 1)
    return counts.scatter_add_(2, members, torch.ones_like(members))[..., :num_classes]


def _additions_wait(device: torch.device) -> bool:
    """Whether many additions to one number wait for each other, as they do on a GPU."""
    return device.type != "cpu"


def counts_by_comparison(parts: Tensor, num_classes: int) -> Tensor:
    """`classes_in_cells` without such additions.

    Args:
        parts: (B, n1, c1, n2, c2, ...) int64 with n cells of c voxels along each axis.
    """
    inside = tuple(range(3, parts.ndim + 1, 2))
    numbers = torch.arange(num_classes, device=parts.device).view(-1, *[1] * (parts.ndim - 1))
    # some classes at once: of all of a hundred, a large image's masks would need too much memory
    counts = [(parts[:, None] == some).sum(inside).flatten(2) for some in numbers.split(AT_ONCE)]
    return torch.cat(counts, 1).mT if len(counts) > 1 else counts[0].mT


def label_of_cells(
    certain: Tensor,
    scribble: Tensor,
    predicted: Tensor,
    size: Sequence[int],
    num_classes: int,
) -> tuple[Tensor, Tensor]:
    """Class of each cell of the embedding, whose pixels are larger than the image's.

    The class of most scribbled voxels in a cell where there are any, else the one that more than
    half of the cell is certain to be. The authors look at one voxel of each cell, which misses
    most strokes, and takes cells on an outline for either class.

    Args:
        certain: (B, *spatial) int64, see `certainty_label`.
        scribble: (B, *spatial) int64 exclusive classes.
        predicted: (B, *spatial) int64.
        size: of the embedding.

    Returns:
        (B, cells) int64, ``num_classes`` where a cell is of no class; and the class that most of a
        cell is predicted to be.
    """
    every = classes_in_cells(torch.cat((certain, scribble, predicted)), size, num_classes).max(2)
    (count, strokes, _), (best, drawn, prediction) = (x.chunk(3) for x in every)
    most = certain[0].numel() // math.prod(size) // 2  # half of a cell
    label = best.masked_fill(count <= most, num_classes)
    return torch.where(strokes > 0, drawn, label), prediction
