"""Variants in nnU-Net's habit: other lengths, and one per switched-off component (ablations)."""

from dataclasses import replace

from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix

__all__ = [
    "nnUNetTrainerPCLMix_5epochs",
    "nnUNetTrainerPCLMix_20epochs",
    "nnUNetTrainerPCLMix_100epochs",
    "nnUNetTrainerPCLMix_250epochs",
    "nnUNetTrainerPCLMix_noMix",
    "nnUNetTrainerPCLMix_noContrast",
    "nnUNetTrainerPCLMix_noConsistency",
    "nnUNetTrainerPCLMix_noAuxiliary",
    "nnUNetTrainerPCLMix_noDice",
    "nnUNetTrainerPCLMix_noSupport",
    "nnUNetTrainerPCLMix_published",
]

_config = nnUNetTrainerPCLMix.config


class nnUNetTrainerPCLMix_5epochs(nnUNetTrainerPCLMix):
    """5 epochs."""

    epochs = 5


class nnUNetTrainerPCLMix_20epochs(nnUNetTrainerPCLMix):
    """20 epochs."""

    epochs = 20


class nnUNetTrainerPCLMix_100epochs(nnUNetTrainerPCLMix):
    """100 epochs."""

    epochs = 100


class nnUNetTrainerPCLMix_250epochs(nnUNetTrainerPCLMix):
    """250 epochs."""

    epochs = 250


class nnUNetTrainerPCLMix_noMix(nnUNetTrainerPCLMix):
    """One pass; no mixed image, hence no mixed pseudo label either."""

    config = replace(_config, dynamic_mix=False)


class nnUNetTrainerPCLMix_noContrast(nnUNetTrainerPCLMix):
    """No pixel contrast: no embedding head, no memory."""

    config = replace(_config, contrast=False)


class nnUNetTrainerPCLMix_noConsistency(nnUNetTrainerPCLMix):
    """Mixed images are trained on their scribbles only; the decoders need not agree."""

    config = replace(_config, lambda_pseudo=0.0, lambda_heterogeneous=0.0)


class nnUNetTrainerPCLMix_noAuxiliary(nnUNetTrainerPCLMix):
    """One decoder; pseudo labels and uncertainty come from it alone."""

    config = replace(_config, auxiliary_decoder=False)


class nnUNetTrainerPCLMix_noDice(nnUNetTrainerPCLMix):
    """Partial cross-entropy without partial Dice."""

    config = replace(_config, partial_dice=0.0)


class nnUNetTrainerPCLMix_noSupport(nnUNetTrainerPCLMix):
    """Strokes do not judge predictions: no implied background, pseudo labels as predicted."""

    config = replace(_config, stroke_support=False)


class nnUNetTrainerPCLMix_published(nnUNetTrainerPCLMix):
    """The paper's terms alone."""

    config = replace(_config, partial_dice=0.0, stroke_support=False)
