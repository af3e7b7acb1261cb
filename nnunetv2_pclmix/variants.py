"""Variants in nnU-Net's habit: other lengths, the whole method, and one thing switched off."""

from dataclasses import replace

from nnunetv2_pclmix.config import ONE_PASS, PCLMixConfig
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix

__all__ = [
    "nnUNetTrainerPCLMix_5epochs",
    "nnUNetTrainerPCLMix_20epochs",
    "nnUNetTrainerPCLMix_100epochs",
    "nnUNetTrainerPCLMix_250epochs",
    "nnUNetTrainerPCLMix_noDice",
    "nnUNetTrainerPCLMix_noSupport",
    "nnUNetTrainerPCLMix_whole",
    "nnUNetTrainerPCLMix_noMix",
    "nnUNetTrainerPCLMix_noContrast",
    "nnUNetTrainerPCLMix_noConsistency",
    "nnUNetTrainerPCLMix_noAuxiliary",
    "nnUNetTrainerPCLMix_published",
]

WHOLE = PCLMixConfig()


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


class nnUNetTrainerPCLMix_noDice(nnUNetTrainerPCLMix):
    """Partial cross-entropy without partial Dice."""

    config = replace(ONE_PASS, partial_dice=0.0)


class nnUNetTrainerPCLMix_noSupport(nnUNetTrainerPCLMix):
    """No background is implied: the stock loss, with padding ignored."""

    config = replace(ONE_PASS, stroke_support=False)


class nnUNetTrainerPCLMix_whole(nnUNetTrainerPCLMix):
    """Two passes, with every component of PCLMix, and stroke support."""

    config = WHOLE


class nnUNetTrainerPCLMix_noMix(nnUNetTrainerPCLMix):
    """The whole but mix: one pass, no mixed image, hence no mixed pseudo label either."""

    config = replace(WHOLE, dynamic_mix=False)


class nnUNetTrainerPCLMix_noContrast(nnUNetTrainerPCLMix):
    """The whole but pixel contrast: no embedding head, no memory."""

    config = replace(WHOLE, contrast=False)


class nnUNetTrainerPCLMix_noConsistency(nnUNetTrainerPCLMix):
    """The whole, but mixed images are trained on scribbles only, and decoders need not agree."""

    config = replace(WHOLE, lambda_pseudo=0.0, lambda_heterogeneous=0.0)


class nnUNetTrainerPCLMix_noAuxiliary(nnUNetTrainerPCLMix):
    """The whole with one decoder: pseudo labels and uncertainty come from it alone."""

    config = replace(WHOLE, auxiliary_decoder=False)


class nnUNetTrainerPCLMix_published(nnUNetTrainerPCLMix):
    """The paper's terms alone: no partial Dice or stroke support; a finer and wider D_t."""

    config = replace(
        WHOLE,
        partial_dice=0.0,
        stroke_support=False,
        auxiliary_stride=4,
        auxiliary_max_width=96,
    )
