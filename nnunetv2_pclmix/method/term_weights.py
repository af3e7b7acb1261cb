"""Which terms the weighted sum L of PCLMix has, and their weights in the course of a training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.schedules import delayed_power, linear_fall, sigmoid_ramp


def term_weights(config: PCLMixConfig, progress: float) -> dict[str, float]:
    """Weight of every term that the settings switch on, in the order in which they are logged.

    Args:
        progress: fraction of the planned iterations that are done, in [0, 1].

    Example:
        At the start nothing is contrasted; the pseudo labels count from the first iteration on:

        >>> from nnunetv2_pclmix.config import PCLMixConfig
        >>> weights = term_weights(PCLMixConfig(), progress=0.0)
        >>> weights["contrast"], weights["pseudo_main"]
        (0.0, 0.3)
    """
    auxiliary = config.lambda_auxiliary
    heterogeneous = config.lambda_heterogeneous * sigmoid_ramp(progress, config.heterogeneous_ramp)
    pseudo = config.lambda_pseudo * sigmoid_ramp(progress, config.pseudo_ramp)
    background = config.lambda_background * config.stroke_support

    def of_strokes(suffix: str) -> dict[str, float]:
        terms = {"scribble_main": 1.0}
        if background:
            terms["background_main"] = background
        if config.partial_dice:
            terms["dice_main"] = config.partial_dice
        if config.auxiliary_decoder:
            terms["scribble_auxiliary"] = auxiliary
            if background:
                terms["background_auxiliary"] = auxiliary * background
        return {name + suffix: weight for name, weight in terms.items()}

    agreement = config.auxiliary_decoder and config.lambda_heterogeneous
    weights = of_strokes("")
    if agreement:
        weights["heterogeneous"] = heterogeneous
    if config.contrast:
        weights["contrast"] = config.lambda_contrast * delayed_power(
            progress, config.contrast_start, config.contrast_power
        )
    if config.dynamic_mix:
        mixed = of_strokes("_mixed")
        if not config.mixed_dice:
            mixed.pop("dice_main_mixed", None)
        mixed = {name: config.lambda_mixed_scribble * w for name, w in mixed.items()}
        if config.lambda_pseudo:
            mixed["pseudo_main"] = pseudo
            if config.pseudo_dice:
                mixed["pseudo_dice_main"] = pseudo * config.pseudo_dice
            if config.auxiliary_decoder:
                mixed["pseudo_auxiliary"] = auxiliary * pseudo
        if agreement:
            mixed["heterogeneous_mixed"] = heterogeneous
        left = linear_fall(progress, config.mix_fade)
        weights |= {name: left * weight for name, weight in mixed.items()}
    return weights


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of weight times term over the terms of one pass."""
    # what all have in common is one operation: it is the pass' own, such as the mix' that fades
    common = max(weights[name] for name in terms) or 1.0
    parts = [scaled(weights[name] / common, value) for name, value in terms.items()]
    return scaled(common, torch.stack(parts).sum())


def scaled(weight: float, value: Tensor) -> Tensor:
    """The product, without an operation where the weight is 1, as it mostly is."""
    return value if weight == 1 else weight * value
