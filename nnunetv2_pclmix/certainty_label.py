"""Uncertainty-guided labels: what both decoders are sure of, and every scribble."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_probabilities(main_logits: Tensor, auxiliary_logits: Tensor | None) -> Tensor:
    """p = (softmax z_c + softmax z_t) / 2, float32, shapes (B, K, *spatial).

    Without an auxiliary decoder (``None``) p is softmax z_c alone.
    """
    p = torch.softmax(main_logits.float(), 1)
    if auxiliary_logits is None:
        return p
    return (p + torch.softmax(auxiliary_logits.float(), 1)) / 2


def certainty_label(
    probabilities: Tensor, scribble: Tensor, threshold: float, ignore_label: int
) -> Tensor:
    """Label of the pixels that are certain (PCLMix, uncertainty-guided pixel contrast).

    Args:
        probabilities: (B, K, *spatial) mean prediction p.
        scribble: (B, *spatial) in 0..K-1 or ``ignore_label``.
        threshold: entropy in nats up to which a pixel is certain, see `certainty_threshold`.

    Returns:
        (B, *spatial) int64: the scribble where there is one, else argmax p where the entropy of p
        is at most ``threshold``, else ``ignore_label``.
    """
    uncertainty = torch.special.entr(probabilities).sum(1)
    # written so that NaN, of an overflow in float16, is not certain
    uncertain = ~(uncertainty <= threshold)
    label = probabilities.argmax(1).masked_fill(uncertain, ignore_label)
    return torch.where(scribble != ignore_label, scribble.long(), label)
