"""Which files are which of a model's channels: said, and refused where their names contradict."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from scribble_tools.images.name_patterns import PLACEHOLDER
from scribble_tools.predict.new_images import NewImage


def channels_in_words(
    names: Sequence[str], patterns: Sequence[str], cases: Sequence[NewImage]
) -> str:
    """The file of each channel; nothing where a file holds all.

    Args:
        names: the channels', of the model.
        patterns, cases: see `find_new_images`.
    """
    own = next((case for case in cases if len(case.files) == len(names)), None)
    if own is None or len(names) == 1:
        return ""
    files = patterns or [path.name.replace(own.name, PLACEHOLDER, 1) for path in own.files]
    return ", ".join(f"{name} = {file}" for name, file in zip(names, files, strict=True))


def _channel_named(pattern: str, names: Sequence[str]) -> int | None:
    """The one channel whose name stands in a pattern, as a word or as its beginning (T1w)."""
    found = set()
    for word in re.findall(r"[^\W_]+", pattern.replace(PLACEHOLDER, " ").lower()):
        own = {name.lower(): k for k, name in enumerate(names)}
        fitting = [n for n in own if word == n or (len(n) > 1 and word.startswith(n))]
        if fitting:
            found.add(own[max(fitting, key=len)])  # t1ce is no T1 where there is a T1ce
    return found.pop() if len(found) == 1 else None


def refuse_exchanged_channels(names: Sequence[str], patterns: Sequence[str]) -> None:
    """Refuse patterns that name the model's channels in another order than the model's.

    Raises:
        ValueError: they do; the message has them in order.
    """
    named = {k: j for k, p in enumerate(patterns) if (j := _channel_named(p, names)) is not None}
    if named.keys() != {*named.values()} or all(k == j for k, j in named.items()):
        return
    ordered = [*patterns]
    for k, j in named.items():
        ordered[j] = patterns[k]
    wrong = ", ".join(f"{names[k]} = {patterns[k]}" for k, j in named.items() if k != j)
    raise ValueError(
        f"channels exchanged: {wrong}. The model wants {', '.join(names)} in this order: "
        f"--image-pattern {shlex.join(ordered)}. If it was really trained with them exchanged, "
        "call the files CASE_0000, CASE_0001, ..., and say no --image-pattern"
    )
