"""Uncertainty-guided labels: what both decoders are sure of, and every scribble."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_pclmix.method.label_encoding import LabelEncoding


def mean_probabilities(
    labels: LabelEncoding, main_logits: Tensor, auxiliary_logits: Tensor | None
) -> Tensor:
    """p = (p_c + p_t) / 2 of the decoders' softmax, or sigmoid, float32, shapes (B, C, *spatial).

    Without an auxiliary decoder (``None``) p is p_c alone.
    """
    p = labels.probabilities(main_logits)
    if auxiliary_logits is None:
        return p
    return (p + labels.probabilities(auxiliary_logits)) / 2


def certainty_label(
    labels: LabelEncoding, probabilities: Tensor, target: Tensor, threshold: float | Tensor
) -> Tensor:
    """Label of the pixels that are certain (PCLMix, uncertainty-guided pixel contrast).

    Args:
        labels: what probabilities and target mean.
        probabilities: (B, C, *spatial) mean prediction p.
        target: (B, T, *spatial) scribbles.
        threshold: entropy in nats up to which a pixel is certain, see `certainty_threshold`; a
            number or a scalar on the device.

    Returns:
        (B, *spatial) int64 exclusive classes: the scribble's where there is one, else the one
        predicted by p where the entropy of p is at most ``threshold``, else ``num_classes``.
    """
    nothing = labels.num_classes
    # written so that NaN, of an overflow in float16, is not certain
    uncertain = ~(labels.uncertainty(probabilities) <= threshold)
    predicted = labels.exclusive(labels.predict(probabilities, 0.5)).masked_fill(uncertain, nothing)
    scribble = labels.exclusive(target)
    return torch.where(scribble != nothing, scribble, predicted)
