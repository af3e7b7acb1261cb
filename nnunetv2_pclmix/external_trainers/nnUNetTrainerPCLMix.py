"""The one module that nnU-Net scans for our trainers. It only passes them on.

nnU-Net imports every module of a folder named in ``nnUNet_extTrainer`` under a bare name and
forgets it after the look-up. Classes defined here would therefore be new ones on every look-up and
could not be pickled; classes that are only passed on keep their place in ``nnunetv2_pclmix``.
"""

import sys

from nnunetv2_pclmix.discovery import nearest
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix  # noqa: F401
from nnunetv2_pclmix.variants import *  # noqa: F403

TRAINERS = [name for name in globals() if name.startswith("nnUNetTrainer")]

if set(TRAINERS) & set(sys.argv):
    # nnU-Net looks among its own trainers first and says 'not found', which reads like an error
    print("The trainer is here: 'not found' above means among nnU-Net's own, where it looks first.")


def __getattr__(name: str) -> object:
    """What is not here; nnU-Net asks for a trainer by its name.

    Raises:
        AttributeError: always. To a name that looks like one of ours the nearest ones are printed.
    """
    if near := nearest(name, TRAINERS):
        print(f"There is no trainer {name}{near}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
