"""`scribble_tools SUB-COMMAND ...`: the table of its modules, see `scribble_tools.subcommands`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from scribble_tools.convert.formats import FORMATS
from scribble_tools.storage.interruptions import run_command
from scribble_tools.subcommands import LAYOUT, Group, add_subcommands, parse_words
from scribble_tools.trust.printable import printable_output

# words of the sub-command -> (module with `add_arguments` and `run`, line of help)
COMMANDS: dict[tuple[str, ...], tuple[str, str]] = {
    ("inspect",): (
        "scribble_tools.survey.command",
        "what a file or folder is, how to convert it",
    ),
    **{("convert", known.name): (known.module_name, known.summary) for known in FORMATS},
    ("generate",): ("scribble_tools.generate.command", "draw scribbles from dense labels"),
    ("check",): ("scribble_tools.check.command", "find what would spoil a training, all at once"),
    ("preview",): ("scribble_tools.draw.command", "pictures of images, scribbles and predictions"),
    ("predict",): ("scribble_tools.predict.command", "labels for new images, as they are"),
    ("evaluate",): (
        "scribble_tools.evaluate.command",
        "Dice, distances and islands against dense labels",
    ),
    ("suggest",): (
        "scribble_tools.suggest.command",
        "where to draw next: a ranked list, a picture, label files to draw into",
    ),
    ("report",): (
        "scribble_tools.report.command",
        "one HTML page: scores, pictures, training curves, data set, comparison",
    ),
    ("restore-labels",): (
        "scribble_tools.convert.restore_labels",
        "predictions back to the label values of the original files",
    ),
    ("install-splits",): (
        "scribble_tools.dataset.install_splits",
        "copy a data set's splits to where nnU-Net looks for them",
    ),
    ("demo-data",): ("scribble_tools.demo.command", "draw a synthetic data set with scribbles"),
}
GROUPS = {
    "convert": Group(
        "turn scribble files into an nnU-Net raw data set",
        """example:
  scribble_tools convert folder -h

Files of your own, from 3D Slicer, ITK-SNAP or elsewhere: folder. `scribble_tools inspect PATH`
looks at files and prints the convert line that fits.""",
    )
}


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser for the command line ``words``.

    Only the module of the sub-command that ``words`` begins with is imported, so that ``-h``
    answers at once.
    """
    parser = argparse.ArgumentParser(
        prog="scribble_tools",
        description="Prepare, look at and score scribble data sets for nnU-Net.",
        epilog="example:\n"
        "  scribble_tools inspect hearts   # says which convert line fits, such as\n"
        "  scribble_tools convert folder --images hearts/mri --scribbles hearts/scribbles \\\n"
        "    --labels background=5 RV=1 --unlabelled 0 --dataset-id 130 --name Hearts \\\n"
        '    --out "$nnUNet_raw"\n'
        "  scribble_tools check 130\n  scribble_tools preview 130 --out pictures\n\n"
        "Dense labels only: generate. No data at all: demo-data.\n"
        "scribble_tools SUB-COMMAND -h explains one sub-command.",
        **LAYOUT,
    )
    add_subcommands(parser, COMMANDS, words, GROUPS)
    return parser


@printable_output()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; return its exit code, 1 after an error that the user can mend."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command("scribble_tools", _parse_and_run, words)


def _parse_and_run(words: Sequence[str]) -> int:
    """Ctrl-C may come here already: the sub-command's module is imported."""
    parser = build_parser(words)
    arguments = parse_words(parser, words)
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
