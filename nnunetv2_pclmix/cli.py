"""The command ``nnunetv2_pclmix``: the table of its modules, see `scribble_tools.subcommands`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nnunetv2_pclmix import __version__
from scribble_tools.storage.interruptions import run_command
from scribble_tools.subcommands import LAYOUT, add_subcommands, parse_words
from scribble_tools.trust.printable import printable_output

# words of the sub-command -> (module with `add_arguments` and `run`, line of help)
COMMANDS: dict[tuple[str, ...], tuple[str, str]] = {
    ("doctor",): (
        "nnunetv2_pclmix.commands.doctor",
        "check versions, folders, device and whether nnU-Net finds the trainer",
    ),
    ("train",): (
        "nnunetv2_pclmix.commands.train",
        "train as nnUNetv2_train does, here or on several machines by torchrun",
    ),
    ("small-plans",): (
        "nnunetv2_pclmix.commands.small_plans",
        "derive plans that a CPU can train: smaller patch, batch and network",
    ),
    ("ct-fingerprint",): (
        "nnunetv2_pclmix.commands.ct_fingerprint",
        "take CT intensity statistics from scribbled voxels, not from the whole image",
    ),
    ("export",): (
        "nnunetv2_pclmix.commands.export",
        "write a lean model folder or zip that stock nnU-Net predicts with",
    ),
    ("verify",): (
        "nnunetv2_pclmix.commands.verify",
        "tell whether a model from somewhere else is plain data, before it is used",
    ),
}


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser for the command line ``words``, see `add_subcommands`."""
    parser = argparse.ArgumentParser(
        prog="nnunetv2_pclmix",
        description="PCLMix for nnU-Net v2: segmentation learned from scribbles. "
        "To train, nnU-Net's own command does: nnUNetv2_train ... -tr nnUNetTrainerPCLMix",
        **LAYOUT,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    add_subcommands(parser, COMMANDS, words)
    return parser


@printable_output()
def main(argv: Sequence[str] | None = None) -> int:
    """Run the sub-command named in ``argv`` (default: ``sys.argv``) and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    return run_command("nnunetv2_pclmix", _parse_and_run, words)


def _parse_and_run(words: Sequence[str]) -> int:
    """Ctrl-C may come here already: the sub-command's module is imported."""
    parser = build_parser(words)
    arguments = parse_words(parser, words)
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
