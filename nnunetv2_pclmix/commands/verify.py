"""`nnunetv2_pclmix verify`: is a model from somewhere else plain data?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scribble_tools.trust.verify import verify_model


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``verify`` to the sub-commands of the command line."""
    parser = commands.add_parser(
        "verify",
        help="tell whether a model from somewhere else is plain data, before it is used",
        description="A checkpoint is a program that nnU-Net runs when it predicts or takes "
        "pretrained weights. This looks at every file of a model without running any, and says "
        "whether they hold numbers, text and tensors only.",
        epilog="Exit status 0: plain data, checksums right. 1: do not use it. example: "
        "nnunetv2_pclmix verify model.zip && nnUNetv2_install_pretrained_model_from_zip model.zip",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="folder, zip or checkpoint.pth")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Verify, print what was found; return the exit status."""
    try:
        facts = verify_model(arguments.model)
    except (OSError, ValueError) as error:
        print(f"nnunetv2_pclmix verify: error: {error}", file=sys.stderr)
        return 1
    print(*facts, f"{arguments.model} is plain data", sep="\n")
    return 0
