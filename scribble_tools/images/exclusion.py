"""Files that a user wants passed over, as shell patterns (``--exclude '*_old.*'``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from scribble_tools.images.file_kind import is_hidden, normal_form
from scribble_tools.images.image_files import files_below


def is_excluded(below: Path, exclude: Sequence[str]) -> bool:
    """Whether a path below a folder, or its name alone, fits one of the shell patterns."""
    text = normal_form(below.as_posix())
    words = [normal_form(word) for word in exclude]
    return any(fnmatch(text, word) or fnmatch(text.rsplit("/", 1)[-1], word) for word in words)


def exclusion_problems(folders: Iterable[Path], exclude: Sequence[str]) -> list[str]:
    """Patterns that fit no file in any of the folders: as they are, they pass over nothing.

    Those of hidden files, which are passed over anyway, are right.
    """
    if not exclude:
        return []
    there = list(dict.fromkeys(folders))
    below = [path.relative_to(folder) for folder in there for path in files_below(folder)]

    def fits(word: str) -> bool:
        return any(is_excluded(path, [word]) for path in below)

    where = " or ".join(map(str, there))
    return [
        f"--exclude {word!r} fits no file below {where}: {_remedy(word, fits)}"
        for word in exclude
        if not is_hidden(Path(word)) and not fits(word)
    ]


def _remedy(word: str, fits: Callable[[str], bool]) -> str:
    """What to say in place of a pattern that fits no file."""
    for other in (f"{word.rstrip('/')}/*", f"*/{word}", f"*/{word.rstrip('/')}/*"):
        if fits(other):
            return f"a pattern is that of a whole path or of a name. Say {other!r}"
    return "is it misspelt? A pattern is that of a name or of a path below ('*_old.*', 'FOLDER/*')"
