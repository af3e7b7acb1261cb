"""Dual consistency: agreement of the decoders, and agreement with the mixed pseudo label."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_pclmix.method.global_mean import global_mean


def heterogeneous_consistency(
    main_logits: Tensor,
    auxiliary_logits: Tensor,
    probabilities: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Mean squared difference of the decoders' (B, C, *spatial) logits, or of their probabilities.

    Args:
        probabilities: softmax over the channels, or sigmoid; without it the logits are compared.
    """
    one, two = main_logits.float(), auxiliary_logits.float()
    if probabilities is not None:
        one, two = probabilities(one), probabilities(two)
    total = F.mse_loss(one, two, reduction="sum")
    # filled on the device: a number copied there would make the host wait
    return global_mean(total, total.new_full((), one.numel()))


@torch.no_grad()
def pseudo_labels(
    main_logits: Tensor,
    auxiliary_logits: Tensor | None,
    predict: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Labels (B, T, *spatial) of both decoders, which dynamic mix makes the mixed pseudo label of.

    PCLMix mixes the softmax of D_c on the first source with that of D_t on the second and takes the
    argmax. Mixing copies and never blends, and softmax keeps the order, so mixing the argmax of the
    logits gives the same label without the softmax; and so for the sigmoid of regions and its
    threshold. Without D_t (``None``) both come from D_c.

    Args:
        predict: (B, C, *spatial) logits to the label (B, T, *spatial), see `LabelEncoding`.
    """
    main = predict(main_logits)
    return main, main if auxiliary_logits is None else predict(auxiliary_logits)
