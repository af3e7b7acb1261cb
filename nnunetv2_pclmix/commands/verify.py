"""`nnunetv2_pclmix verify`: is a model from somewhere else plain data?"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    model: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "A checkpoint is a program that nnU-Net runs when it predicts or takes "
        "pretrained weights. This looks at every file of a model without running any, and says "
        "whether they hold numbers, text and tensors only."
    )
    parser.epilog = (
        "Exit status 0: plain data, checksums right. 1: do not use it.\n\n"
        "example:\n"
        "  nnunetv2_pclmix verify model.zip && nnUNetv2_install_pretrained_model_from_zip model.zip"
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="folder, zip or checkpoint.pth")


def run(options: Options) -> int:
    """Verify, print what was found; return the exit status."""
    # not above: the command line must start where packages are missing, for the doctor
    from scribble_tools.predict.verify import verify_model

    try:
        facts = verify_model(options.model)
    except (OSError, ValueError) as error:
        print(f"nnunetv2_pclmix verify: error: {error}", file=sys.stderr)
        return 1
    print(*facts, f"{options.model} is plain data", sep="\n")
    return 0
