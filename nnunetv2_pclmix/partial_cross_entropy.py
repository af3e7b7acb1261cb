"""Partial cross-entropy: cross-entropy averaged over annotated voxels only (pCE)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def partial_nll(log_probabilities: Tensor, target: Tensor, ignore_label: int) -> Tensor:
    """Negative log-likelihood averaged over the voxels whose target is not ``ignore_label``.

    Args:
        log_probabilities: (B, K, *spatial), float32.
        target: (B, *spatial), integers in 0..K-1 or ``ignore_label``.

    Returns:
        A scalar; 0, with zero gradients, when every voxel is ignored.
    """
    target = target.long()
    annotated = (target != ignore_label).sum().clamp(min=1)
    # flattened, because one 1D kernel serves 2D and 3D alike
    total = F.nll_loss(
        log_probabilities.flatten(2),
        target.flatten(1),
        ignore_index=ignore_label,
        reduction="sum",
    )
    return total / annotated


def partial_cross_entropy(logits: Tensor, target: Tensor, ignore_label: int) -> Tensor:
    """`partial_nll` of the softmax of ``logits`` (B, K, *spatial), computed in float32."""
    return partial_nll(torch.log_softmax(logits.float(), 1), target, ignore_label)
