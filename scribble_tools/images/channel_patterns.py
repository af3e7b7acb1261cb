"""Which channel a pattern of file names speaks of, by the channels' names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from fnmatch import fnmatchcase

from scribble_tools.images.name_patterns import PLACEHOLDER, compile_pattern


def channel_named(pattern: str, names: Sequence[str]) -> int | None:
    """The one channel whose name stands in a pattern, as a word or as its beginning (T1w)."""
    found = set()
    for word in re.findall(r"[^\W_]+", pattern.replace(PLACEHOLDER, " ").lower()):
        own = {name.lower(): k for k, name in enumerate(names)}
        fitting = [n for n in own if word == n or (len(n) > 1 and word.startswith(n))]
        if fitting:
            found.add(own[max(fitting, key=len)])  # t1ce is no T1 where there is a T1ce
    return found.pop() if len(found) == 1 else None


def order_of_files(files: Sequence[str], patterns: Sequence[str]) -> list[str] | None:
    """The patterns in the order of the channels' files, where it is another one; else None.

    Args:
        files: of one case, a name for each channel.
        patterns: of which each must fit one of the names, else nothing is known.
    """
    fits = [[k for k, file in enumerate(files) if _fits(p, file)] for p in patterns]
    of_channel = {own[0]: p for own, p in zip(fits, patterns, strict=True) if len(own) == 1}
    if len(of_channel) < len(files) or len(patterns) != len(files):
        return None
    ordered = [of_channel[k] for k in range(len(files))]
    return None if ordered == [*patterns] else ordered


def _fits(pattern: str, file: str) -> bool:
    name = pattern.rpartition("/")[2]
    if PLACEHOLDER in name:
        return bool(compile_pattern(name).fullmatch(file))
    return fnmatchcase(file, name)


def exchanged_channels(names: Sequence[str], patterns: Sequence[str]) -> tuple[str, str] | None:
    """What to say where patterns name the channels in another order than ``names``; else None.

    Returns:
        The channels with patterns of others, and all patterns in order, to be typed.
    """
    named = {k: j for k, p in enumerate(patterns) if (j := channel_named(p, names)) is not None}
    if named.keys() != {*named.values()} or all(k == j for k, j in named.items()):
        return None
    ordered = [*patterns]
    for k, j in named.items():
        ordered[j] = patterns[k]
    wrong = ", ".join(f"{names[k]} = {patterns[k]}" for k, j in named.items() if k != j)
    return wrong, shlex.join(ordered)
