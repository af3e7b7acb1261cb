"""The command ``nnunetv2_pclmix``: it only hands over to its sub-commands."""

import argparse
import sys
from collections.abc import Sequence

from nnunetv2_pclmix import __version__
from nnunetv2_pclmix.commands import ct_fingerprint, doctor, export, small_plans, verify


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sub-command named in ``argv`` (default: ``sys.argv``) and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="nnunetv2_pclmix",
        description="PCLMix for nnU-Net v2: segmentation learned from scribbles. "
        "To train, use nnU-Net's own command: nnUNetv2_train ... -tr nnUNetTrainerPCLMix",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # Each sub-command's module adds its own parser, with `run`: parsed arguments -> exit status.
    doctor.add_command(commands)
    small_plans.add_command(commands)
    ct_fingerprint.add_command(commands)
    export.add_command(commands)
    verify.add_command(commands)
    arguments = parser.parse_args(argv)
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
