"""Partial cross-entropy: cross-entropy averaged over annotated voxels only (pCE).

The average is over the batch of all processes, see `global_mean`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_pclmix.method.global_mean import Mean


def partial_nll(log_probabilities: Tensor, targets: Tensor, ignore_label: int) -> list[Mean]:
    """Negative log-likelihood averaged over the voxels whose target is not ``ignore_label``.

    Args:
        log_probabilities: (B, K, *spatial), float32.
        targets: (n, B, *spatial), integers in 0..K-1 or ``ignore_label``.

    Returns:
        One for each of the n targets; 0, with zero gradients, when every voxel is ignored.
    """
    # flattened, because one 1D kernel serves 2D and 3D alike
    annotated = (targets != ignore_label).flatten(1).sum(1)
    log_probabilities, targets = log_probabilities.flatten(2), targets.long().flatten(2)
    return [
        Mean(F.nll_loss(log_probabilities, y, ignore_index=ignore_label, reduction="sum"), count)
        for y, count in zip(targets, annotated, strict=True)
    ]


def partial_cross_entropy(logits: Tensor, target: Tensor, ignore_label: int) -> Tensor:
    """`partial_nll` of the softmax of ``logits`` (B, K, *spatial), computed in float32.

    Example:
        Of four voxels two are annotated, as class 0 and class 1; 2 stands for "not annotated":

        >>> import torch
        >>> logits = torch.tensor([[[2.0, 0.0, 5.0, 5.0], [0.0, 2.0, 5.0, -5.0]]])
        >>> target = torch.tensor([[0, 1, 2, 2]])
        >>> round(partial_cross_entropy(logits, target, ignore_label=2).item(), 4)
        0.1269
    """
    log_probabilities = torch.log_softmax(logits, 1, dtype=torch.float32)
    (mean,) = partial_nll(log_probabilities, target[None], ignore_label)
    return mean.value()


def partial_binary_nll(logits: Tensor, target: Tensor) -> Mean:
    """Binary cross-entropy of regions, averaged over annotated voxels and summed over regions.

    Summed, it is the negative log-likelihood of all that is known of a voxel, as cross-entropy is
    for exclusive labels; nnU-Net's loss for regions with an ignore label has the same value.

    Args:
        logits: (B, R, *spatial), float32.
        target: (B, R + 1, *spatial), 0 or 1 of any type; the last channel is 1 where ignored.

    Returns:
        0, with zero gradients, when every voxel is ignored.
    """
    ignored = target[:, -1:].bool()
    loss = F.binary_cross_entropy_with_logits(
        logits, target[:, :-1].to(logits.dtype), reduction="none"
    )
    return Mean(loss.masked_fill(ignored, 0).sum(), (~ignored).sum())


def partial_binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """The value of `partial_binary_nll`, a scalar.

    Example:
        Two regions and, as the last channel, what is ignored: here the second of two voxels.

        >>> import torch
        >>> logits = torch.tensor([[[0.0, 9.0], [0.0, 9.0]]])
        >>> target = torch.tensor([[[1, 0], [0, 0], [0, 1]]])
        >>> round(partial_binary_cross_entropy(logits, target).item(), 4)
        1.3863
    """
    return partial_binary_nll(logits, target).value()
