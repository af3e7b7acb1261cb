"""Problems of many files as one message: what is wrong with all of them is said once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from scribble_tools.wording import counted

NAMED = 5  # of the files with the same problem
ALIKE = 3  # files with the same problem share a sentence
# a path, then perhaps its image, then the sentence
FORM = re.compile(r"(?P<path>[^\n]+?\.\w+(?:\.gz)?(?: \(image: [^\n]+?\))?)(?P<said>:? .+)", re.S)
NUMBER = re.compile(r"\d+(\.\d+)?")


def once_per_kind(problems: Iterable[tuple[Path | str, str]]) -> list[str]:
    """Join problems that differ only in the file and in numbers.

    Args:
        problems: file, and what is wrong with it; the text may name the file.

    Returns:
        A text per kind: the first in full, and which other files have the same.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for file, text in problems:
        name = str(file)
        text = text if name in text else f"{name}: {text}"
        kind = NUMBER.sub("#", text.replace(name, "FILE"))
        kinds.setdefault(kind, []).append((name, text))
    joined = []
    for own in kinds.values():
        (_, first), *others = own
        if others:
            named = ", ".join(Path(name).name for name, _ in others[:NAMED])
            more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
            number = f"{len(others)} other file" + "s" * (len(others) > 1)
            first += f"\n  the same in {number}: {named}{more}"
        joined.append(first)
    return joined


def list_problems(problems: Sequence[str]) -> str:
    """One problem a line, in their order; what is said of several files alike is said once."""
    files: dict[str, list[str]] = {}
    for problem in problems:
        match = FORM.fullmatch(problem)
        key, path = (match["said"], match["path"]) if match else (problem, "")
        files.setdefault(key, []).append(path)
    lines = []
    for said, paths in files.items():
        if len(paths) < ALIKE:
            lines += [f"{path}{said}" for path in paths]
        else:
            sentence = said.removeprefix(":").strip()
            lines.append("\n  ".join([f"{counted(len(paths), 'file')}: each {sentence}", *paths]))
    return "\n".join(lines)


def refuse(problems: Sequence[str], nothing: str = "written") -> None:
    """Raise a ValueError with all problems, if there are any; ``nothing`` was done."""
    if problems:
        raise ValueError(
            f"{counted(len(problems), 'problem')}, nothing {nothing}:\n{list_problems(problems)}"
        )
