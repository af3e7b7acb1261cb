"""The one module that nnU-Net scans for our trainers. It only passes them on.

nnU-Net imports every module of a folder named in ``nnUNet_extTrainer`` under a bare name and
forgets it after the look-up. Classes defined here would therefore be new ones on every look-up and
could not be pickled; classes that are only passed on keep their place in ``nnunetv2_pclmix``.
"""

from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix  # noqa: F401
from nnunetv2_pclmix.variants import *  # noqa: F403
