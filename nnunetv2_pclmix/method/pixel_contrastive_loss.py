"""Pixel contrast against the class-wise memory: choice of anchors, and InfoNCE."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from nnunetv2_pclmix.method.global_mean import Mean

ABSENT = -1e4
KEYS = 2**24
"""Random numbers that pixels are sorted by; equal ones are as rare as those of float32 in 0..1."""


def _rank_within_groups(group: Tensor, key: Tensor, num_groups: int) -> tuple[Tensor, Tensor]:
    """Rank (from 0) of each element among the elements of its group, by ascending ``key``.

    Args:
        group: (N,) int64 in 0..num_groups-1.
        key: (N,) int64 in 0..KEYS-1.

    Returns:
        (N,) ranks and (num_groups,) sizes of the groups.
    """
    order = torch.add(key, group, alpha=KEYS).argsort(stable=True)
    count = torch.zeros(num_groups, dtype=torch.long, device=group.device)
    count.scatter_add_(0, group, torch.ones_like(group))
    start = count.cumsum(0) - count
    rank = torch.arange(len(group), device=group.device) - start[group[order]]
    return torch.empty_like(rank).scatter_(0, order, rank), count


@torch.no_grad()
def sample_anchors(
    label: Tensor,
    prediction: Tensor,
    num_classes: int,
    per_class: int,
    total: int,
    min_pixels: int = 1,
) -> tuple[Tensor, Tensor]:
    """Choose the pixels that serve as anchors, at random, in fixed shapes.

    Every class of every image gives the same number of anchors, at most ``per_class`` and together
    at most ``total``: half hard (``prediction`` differs from ``label``), half easy, topped up from
    the other half when one is short.

    Args:
        label: (B, P) certainty label; values outside 0..num_classes-1 give no anchors.
        prediction: (B, P) argmax of the main decoder.
        min_pixels: a class with fewer labelled pixels in an image gives no anchors there.

    Returns:
        (A,) indices into the flattened B * P pixels and (A,) bool, false where the slot is unused;
        A = min(total, B * P).

    Example:
        Class 1 has one pixel, so that it gives one anchor; 2 is no class:

        >>> import torch
        >>> label = torch.tensor([[0, 0, 0, 1, 2]])
        >>> index, used = sample_anchors(label, label, num_classes=2, per_class=2, total=4)
        >>> sorted(label[0, index[used]].tolist())
        [0, 0, 1]
    """
    batch, pixels = label.shape
    device = label.device
    image = torch.arange(batch, device=device)[:, None]
    nowhere = batch * num_classes
    unknown = (label < 0) | (label >= num_classes)
    pair = (image * num_classes + label).masked_fill(unknown, nowhere).flatten()  # image and class
    easy = (prediction == label).flatten()
    random = torch.randint(KEYS, (batch * pixels,), device=device)
    half = 2 * pair + easy  # the hard ones of a pair, and the easy ones
    rank, size = _rank_within_groups(half, random, 2 * nowhere + 2)

    count = size.view(-1, 2).sum(1)
    usable = count >= max(1, min_pixels)
    # a number assigned through an index would be copied to the device, and waited for
    usable.narrow(0, nowhere, 1).fill_(False)
    quota = (total // usable.sum().clamp(min=1)).clamp(min=1, max=per_class)

    # hard and easy pixels of a pair take turns, the hard ones first, until one half has no more:
    # the first `quota` are half and half, and go on with whichever is left
    place = rank + torch.minimum(rank + easy, size[half ^ 1])
    chosen = usable[pair] & (place < quota)

    # chosen pixels first, in random order, cut to a fixed number
    index = (random - KEYS * chosen).argsort()[: min(total, batch * pixels)]
    return index, chosen[index]


class _InfoNCE(torch.autograd.Function):
    """The sum over the anchors of `pixel_contrastive_loss`, with the gradient of the anchors.

    With s the similarities of an anchor, L the logsumexp of its negatives' and w the weights of
    its positives, the loss is sum_p w_p softplus(L - s_p). Its gradient in s_p is
    -w_p sigmoid(L - s_p), in a negative's s_q it is sum_p w_p sigmoid(L - s_p) exp(s_q - L). Both
    come out of the one (A, K N) matrix that value and gradient are made in, one after the other;
    operation by operation autograd would keep five of them.
    """

    @staticmethod
    def forward(ctx, anchors, entries, absent, classes, weight, temperature):
        num_classes, size = absent.shape
        entries = entries.flatten(0, 1)
        product = torch.addmm(absent.flatten(), anchors, entries.T, alpha=1 / temperature)
        similarity = product.view(-1, num_classes, size)
        index = classes[:, None, None].expand(-1, 1, size)
        positive = similarity.gather(1, index)[:, 0]
        own = torch.arange(num_classes, device=classes.device) == classes[:, None]  # (A, K)
        # the largest negative at most, so that their sum can neither overflow nor vanish
        largest = similarity.amax(2).masked_fill(own, ABSENT).amax(1)
        similarity.sub_(largest[:, None, None]).exp_()
        total = similarity.sum(2).masked_fill(own, 0).sum(1).clamp(min=1e-30)
        difference = (largest + total.log())[:, None] - positive
        pull = difference.sigmoid() * weight
        similarity.mul_((pull.sum(1) / total)[:, None, None])
        similarity.scatter_(1, index, -pull[:, None])
        ctx.save_for_backward(product @ entries / temperature)
        return (F.softplus(difference) * weight).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (of_anchors,) = ctx.saved_tensors
        return gradient * of_anchors, None, None, None, None, None


def info_nce(
    anchors: Tensor,
    classes: Tensor,
    valid: Tensor,
    entries: Tensor,
    stored: Tensor,
    temperature: float,
) -> Mean:
    """InfoNCE of anchors against the memory (PCLMix, pixel contrastive loss), in float32.

    For anchor i of class c, the mean over the positives q+ (entries of class c) of
    -log(exp(i·q+ / T) / (exp(i·q+ / T) + sum over q- of exp(i·q- / T))), where q- are the entries
    of all other classes; then the mean over the anchors that have a positive.

    Args:
        anchors: (A, D) L2-normalised embeddings.
        classes: (A,) int64 class in 0..K-1 of each anchor (anything where ``valid`` is false).
        valid: (A,) bool, anchors that count.
        entries: (K, N, D) L2-normalised memory.
        stored: (K, N) bool, entries that count.
        temperature: T.

    Returns:
        0, with zero gradients, when no anchor has a positive. The gradient goes to the anchors
        only: the memory is no part of the network.
    """
    classes = classes.clamp(0, len(entries) - 1)
    # entries that do not count get a finite stand-in for minus infinity: the logsumexp of nothing
    # stays finite. Adding it within the product spares masks of (A, K, N)
    absent = ~stored * ABSENT
    weight = (stored[classes] & valid[:, None]).float()
    counts = weight.any(1).sum()
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
    total = _InfoNCE.apply(anchors.float(), entries.float(), absent, classes, weight, temperature)
    return Mean(total, counts)


def pixel_contrastive_loss(
    anchors: Tensor,
    classes: Tensor,
    valid: Tensor,
    entries: Tensor,
    stored: Tensor,
    temperature: float,
) -> Tensor:
    """The value of `info_nce`, a scalar.

    Example:
        An anchor that lies on its class' entry, and one on the other class' entry:

        >>> import torch
        >>> entries = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> stored, one = torch.ones(2, 1, dtype=torch.bool), torch.ones(1, dtype=torch.bool)
        >>> for anchor in ([1.0, 0.0], [0.0, 1.0]):
        ...     loss = pixel_contrastive_loss(
        ...         torch.tensor([anchor]), torch.tensor([0]), one, entries, stored, temperature=0.1
        ...     )
        ...     print(f"{loss.item():.3f}")
        0.000
        10.000
    """
    return info_nce(anchors, classes, valid, entries, stored, temperature).value()
