"""Dual consistency: agreement of the decoders, and agreement with the mixed pseudo label."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_pclmix.dynamic_mix import Mix


def heterogeneous_consistency(
    main_logits: Tensor, auxiliary_logits: Tensor, on: str = "logits"
) -> Tensor:
    """Mean squared difference of the decoders' (B, K, *spatial) logits, or of their softmax."""
    one, two = main_logits.float(), auxiliary_logits.float()
    if on == "probabilities":
        one, two = torch.softmax(one, 1), torch.softmax(two, 1)
    return (one - two).square().mean()


@torch.no_grad()
def mixed_pseudo_label(mix: Mix, main_logits: Tensor, auxiliary_logits: Tensor | None) -> Tensor:
    """Pseudo label of the mixed image, (B, 1, *spatial) int64.

    PCLMix mixes the softmax of D_c on the first source with that of D_t on the second and takes the
    argmax. Mixing copies and never blends, and softmax keeps the order, so mixing the argmax of the
    logits gives the same label without the softmax. Without D_t (``None``) both come from D_c.
    """
    main = main_logits.argmax(1, keepdim=True)
    if auxiliary_logits is None:
        return mix(main)
    return mix(main, auxiliary_logits.argmax(1, keepdim=True))
