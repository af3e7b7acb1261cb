"""The trainers for ``-tr``: three methods, their lengths, PCLMix with one thing switched off."""

from dataclasses import replace

from nnunetv2_pclmix.config import COMPLETE, PUBLISHED, STROKE_SUPPORT
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix

__all__ = [
    "nnUNetTrainerStrokeSupport",
    "nnUNetTrainerPCLMix_published",
    "nnUNetTrainerPCLMix_5epochs",
    "nnUNetTrainerPCLMix_20epochs",
    "nnUNetTrainerPCLMix_100epochs",
    "nnUNetTrainerPCLMix_250epochs",
    "nnUNetTrainerStrokeSupport_5epochs",
    "nnUNetTrainerStrokeSupport_20epochs",
    "nnUNetTrainerStrokeSupport_100epochs",
    "nnUNetTrainerStrokeSupport_250epochs",
    "nnUNetTrainerPCLMix_noMix",
    "nnUNetTrainerPCLMix_noContrast",
    "nnUNetTrainerPCLMix_noConsistency",
    "nnUNetTrainerPCLMix_noAuxiliary",
    "nnUNetTrainerPCLMix_noSupport",
    "nnUNetTrainerPCLMix_noDice",
]


class nnUNetTrainerStrokeSupport(nnUNetTrainerPCLMix):
    """Strokes and the background that they imply, in one pass: ours, nothing of PCLMix."""

    config = STROKE_SUPPORT


class nnUNetTrainerPCLMix_published(nnUNetTrainerPCLMix):
    """The paper's terms alone: no Dice, no stroke support; agreement on logits."""

    config = PUBLISHED


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


class nnUNetTrainerStrokeSupport_5epochs(nnUNetTrainerStrokeSupport):
    """5 epochs."""

    epochs = 5


class nnUNetTrainerStrokeSupport_20epochs(nnUNetTrainerStrokeSupport):
    """20 epochs."""

    epochs = 20


class nnUNetTrainerStrokeSupport_100epochs(nnUNetTrainerStrokeSupport):
    """100 epochs."""

    epochs = 100


class nnUNetTrainerStrokeSupport_250epochs(nnUNetTrainerStrokeSupport):
    """250 epochs."""

    epochs = 250


class nnUNetTrainerPCLMix_noMix(nnUNetTrainerPCLMix):
    """Without mix: one pass, no mixed image, hence no mixed pseudo label either."""

    config = replace(COMPLETE, dynamic_mix=False)


class nnUNetTrainerPCLMix_noContrast(nnUNetTrainerPCLMix):
    """Without pixel contrast: no embedding head, no memory."""

    config = replace(COMPLETE, contrast=False)


class nnUNetTrainerPCLMix_noConsistency(nnUNetTrainerPCLMix):
    """Mixed images are trained on their strokes only, and decoders need not agree."""

    config = replace(COMPLETE, lambda_pseudo=0.0, lambda_heterogeneous=0.0)


class nnUNetTrainerPCLMix_noAuxiliary(nnUNetTrainerPCLMix):
    """One decoder: pseudo labels and uncertainty come from it alone."""

    config = replace(COMPLETE, auxiliary_decoder=False)


class nnUNetTrainerPCLMix_noSupport(nnUNetTrainerPCLMix):
    """Nothing is implied, strokes do not grow, and predicted labels are taken as they are."""

    config = replace(COMPLETE, stroke_support=False, stroke_growth=0.0)


class nnUNetTrainerPCLMix_noDice(nnUNetTrainerPCLMix):
    """Strokes and pseudo labels have cross-entropy alone."""

    config = replace(COMPLETE, partial_dice=0.0, pseudo_dice=0.0)
