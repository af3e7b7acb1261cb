"""The formats that `convert` reads, in one tuple: it feeds command line, `inspect` and documents.

A format is a file and a line: a module here with what `Format` names, and its name and summary in
`FORMATS`. No module is imported before it is needed, so that ``-h`` answers at once.

    python -m scribble_tools.convert.formats    prints the table of docs/formats.md
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from scribble_tools.dataset.ids import free_id

FIRST_ID = 100  # that is proposed: nnU-Net's own data sets have lower ones


@dataclass(frozen=True)
class Row:
    """What a user may have, as a row of the table in docs/formats.md; in Markdown."""

    have: str
    command: str
    unlabelled: str
    background: str


@dataclass(frozen=True)
class Seen:
    """What `inspect` has looked at.

    Attributes:
        folder: of the files.
        groups: files of one name pattern each: at least ``pattern``, ``folder``, ``kind`` and
            ``key`` (of an h5), of labels ``values``, ``unlabelled`` and ``background``.
    """

    folder: Path
    files: Sequence[Path]
    groups: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Advice:
    """What files are, and the command that fits.

    Attributes:
        words: of the command after ``scribble_tools``, quoted; capitals are for the user to fill
            in. None: there is none.
    """

    layout: str
    advice: str = ""
    words: Sequence[str] | None = None

    @property
    def to_fill_in(self) -> bool:
        """Whether the line has words in capitals."""
        return bool(re.search(r"(^| )[A-Z_]+($| )", self.command))

    @property
    def command(self) -> str:
        """The line to type, or nothing."""
        return " ".join(("scribble_tools", *self.words)) if self.words else ""


def target() -> str:
    """Where a command writes to: an id that is free in nnU-Net's folder, and that folder."""
    raw = os.environ.get("nnUNet_raw")
    number = free_id(Path(raw), FIRST_ID) if raw else None
    return f'--dataset-id {number or FIRST_ID} --out "$nnUNet_raw"'


def quote(path: Path) -> str:
    """A path as a word of a command line."""
    return shlex.quote(str(path))


@dataclass(frozen=True)
class Format:
    """A format, and the module that knows it.

    The module is a command (`scribble_tools.subcommands`), whose ``Options`` begin with `Target`'s.
    It has ``source_of(options) -> Source``, ``recognise(seen) -> Advice | None`` and `ROWS`, its
    rows of the table.

    Attributes:
        name: of the module, and the word after ``scribble_tools convert``.
        summary: line of help.
        published: a public data set, whose labels have known values; the names of its files alone
            tell it, but not where somebody has drawn other labels for them.
    """

    name: str
    summary: str
    published: bool = False

    @property
    def module_name(self) -> str:
        """Dotted name of the module."""
        return f"scribble_tools.convert.{self.name}"

    @property
    def module(self) -> ModuleType:
        """The module, imported."""
        return importlib.import_module(self.module_name)

    def recognise(self, seen: Seen) -> Advice | None:
        """The command for these files, if they are of this format."""
        return self.module.recognise(seen)

    @property
    def documentation(self) -> Sequence[Row]:
        """Its rows of the table in docs/formats.md."""
        return self.module.ROWS


# What is recognised by more comes later: files are looked at from the end of this list.
FORMATS = (
    Format("folder", "any images and label files: NIfTI, NRRD, MHA, 3D Slicer, ITK-SNAP, PNG, TIF"),
    Format("acdc", "ACDC with the scribbles of Valvano et al.", published=True),
    Format("mscmr", "MSCMRseg in the layout of CycleMix", published=True),
    Format("wsl4mis", "the h5 files of WSL4MIS", published=True),
    Format("scribblebench", "an nnU-Net data set with scribbles that ScribbleBench generated"),
)
DENSE_ONLY = Row(
    "[dense labels](#dense-labels-only) only", "first `scribble_tools generate`", "", ""
)


def recognise(seen: Seen, drawn_anew: bool = False) -> list[Advice]:
    """What the formats that know the files say, the one that knows by most first.

    Of a second published set among the files only what can be run as it stands: a set's files may
    be another's, too, such as ACDC's images for WSL4MIS.

    Args:
        drawn_anew: the labels are not those of a published set.
    """
    found: list[Advice] = []
    for known in reversed(FORMATS):
        if known.published and drawn_anew or not (advice := known.recognise(seen)):
            continue
        if not found or (known.published and advice.words and not advice.to_fill_in):
            found.append(advice)
    return found


def table() -> str:
    """The table of docs/formats.md."""
    rows = [row for known in FORMATS for row in known.documentation]
    head = Row("you have", "`scribble_tools convert`", "unlabelled", "background scribble")
    cells = [
        (row.have, row.command, row.unlabelled, row.background) for row in (head, *rows, DENSE_ONLY)
    ]
    lines = [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in cells]
    return "\n".join([lines[0], "|---|---|---|---|", *lines[1:]]).replace("|  |", "| |")


if __name__ == "__main__":
    print(table())
