"""A pattern that fits no file of its folder, but some of another: folders exchanged by a slip."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

from scribble_tools.convert.pairing import DENSE, Place
from scribble_tools.images.file_kind import normal_form
from scribble_tools.images.image_files import files_below
from scribble_tools.images.name_patterns import compile_pattern


def _first(pattern: str, folder: Path) -> Path | None:
    form = compile_pattern(normal_form(pattern))
    for path in files_below(folder):
        if form.fullmatch(normal_form(path.relative_to(folder).as_posix())):
            return path
    return None


def exchanged_folders(places: Sequence[Place]) -> str:
    """A question to follow the refusal of files that were not found; empty where none is due."""
    there = [place for place in places if place.folder.is_dir()]
    for place, other in permutations(there, 2):
        if place.pattern is None or _first(place.pattern, place.folder):
            continue
        if path := _first(place.pattern, other.folder):
            options = (f"--{p.option}" + "s" * (p.option != DENSE) for p in (place, other))
            return f". {path} fits {place.pattern!r}: are {' and '.join(options)} exchanged?"
    return ""
