"""How a program with sub-commands is put together: a table of modules, of which one is imported.

A sub-command is a module with a dataclass ``Options``, a field for each argument,
``add_arguments(parser)``, which also sets the parser's description and epilog, and
``run(options) -> int``, which returns the exit code. Its line in the table gives the words to type,
the module and a line of help; so ``-h`` answers at once, whatever a module imports.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import importlib
import os
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from scribble_tools.arguments import options_of
from scribble_tools.trust.printable import printable


class Help(argparse.HelpFormatter):
    """Fills paragraphs to the terminal's width and leaves indented lines, examples, as they are.

    An empty or an indented line ends a paragraph, any other runs on.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks: list[str] = []
        for line in text.split("\n"):
            if blocks and all(own and own[0] != " " for own in (blocks[-1], line)):
                blocks[-1] += f" {line}"
            else:
                blocks.append(line)
        filled = [
            block if block.startswith(" ") else textwrap.fill(block, width, **WHOLE_WORDS)
            for block in blocks
        ]
        return "\n".join(indent + line for line in "\n".join(filled).split("\n"))


WHOLE_WORDS = {"break_long_words": False, "break_on_hyphens": False}
LAYOUT = {"formatter_class": Help}
NOT_HERE = "this package runs on Linux and macOS. On Windows, install and run it inside WSL"
ALIKE = 0.75  # as `difflib` counts: two spellings of one option
OTHER_WORDS = {"--ignore": "--unlabelled", "--ignore-label": "--unlabelled"}  # as nnU-Net says it


@dataclass(frozen=True)
class Group:
    """Sub-commands of two words that share the first, such as ``convert folder``."""

    summary: str
    epilog: str = ""
    metavar: str = "SOURCE"


def refuse_strange_words(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """End the program where an argument is empty, or would break the lines of its messages."""
    if "" in words:
        parser.error("an argument is empty: a variable such as $nnUNet_raw that is not set?")
    if broken := [word for word in words if "\n" in word or "\r" in word]:
        parser.error(f"an argument holds a line break: {printable(broken[0])}. Rename the file?")


def parse_words(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line with a parser of `add_subcommands`; end the program where it is wrong.

    Of options that do not exist, the message says which of the sub-command's own may be meant.
    """
    refuse_strange_words(parser, words)
    arguments, unknown = parser.parse_known_args(words)
    if not unknown:
        return arguments
    known = re.findall(r"--[\w-]+", arguments.usage)
    said = [word.partition("=")[0] for word in unknown if word.startswith("--")]
    meant = {own: None for word in said for own in _meant(word, known)}
    hint = f". Did you mean {', '.join(meant)}?" if meant else ""
    parser.usage = arguments.usage.removeprefix("usage: ")
    parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _meant(word: str, known: Sequence[str]) -> list[str]:
    other = [own for own in known if own == OTHER_WORDS.get(word)]
    return other[:1] or difflib.get_close_matches(word, known, 1, ALIKE)


def add_subcommands(
    parser: argparse.ArgumentParser,
    table: Mapping[tuple[str, ...], tuple[str, str]],
    words: Sequence[str],
    groups: Mapping[str, Group] | None = None,
) -> None:
    """Add the sub-commands of a table to a parser; parsed arguments get its ``run`` and ``usage``.

    Args:
        table: words of the sub-command -> (name of its module, line of help).
        words: the command line. Only the module of the sub-command that it begins with is imported.
        groups: by their first word.
    """
    # what torch says to its own developers when torchvision is imported
    warnings.filterwarnings("ignore", r".torch\.jit\.\w+. is deprecated", FutureWarning)
    commands = parser.add_subparsers(metavar="SUB-COMMAND", required=True)
    opened = {}
    for name, (module_name, summary) in table.items():
        siblings = commands
        if len(name) == 2:
            group = (groups or {})[name[0]]
            if name[0] not in opened:
                opened[name[0]] = commands.add_parser(
                    name[0],
                    help=group.summary,
                    description=group.summary,
                    epilog=group.epilog,
                    **LAYOUT,
                ).add_subparsers(metavar=group.metavar, required=True)
            siblings = opened[name[0]]
        sub_parser = siblings.add_parser(name[-1], help=summary, description=summary, **LAYOUT)
        if tuple(words[: len(name)]) == name:
            module = importlib.import_module(module_name)
            module.add_arguments(sub_parser)
            usage = sub_parser.format_usage()
            sub_parser.set_defaults(run=functools.partial(_run, module), usage=usage)


def _run(module: ModuleType, arguments: argparse.Namespace) -> int:
    if os.name != "posix":
        raise OSError(NOT_HERE)
    return module.run(options_of(module.Options, arguments))
