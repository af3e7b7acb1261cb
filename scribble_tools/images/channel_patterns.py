"""Which channel a pattern of file names speaks of, by the channels' names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from scribble_tools.images.name_patterns import PLACEHOLDER


def channel_named(pattern: str, names: Sequence[str]) -> int | None:
    """The one channel whose name stands in a pattern, as a word or as its beginning (T1w)."""
    found = set()
    for word in re.findall(r"[^\W_]+", pattern.replace(PLACEHOLDER, " ").lower()):
        own = {name.lower(): k for k, name in enumerate(names)}
        fitting = [n for n in own if word == n or (len(n) > 1 and word.startswith(n))]
        if fitting:
            found.add(own[max(fitting, key=len)])  # t1ce is no T1 where there is a T1ce
    return found.pop() if len(found) == 1 else None


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
