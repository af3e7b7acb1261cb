"""Which files are which of a model's channels: said, and refused where their names contradict."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from scribble_tools.images.channel_patterns import channel_named, exchanged_channels
from scribble_tools.images.file_kind import NATURAL, file_ending_of
from scribble_tools.images.name_patterns import PLACEHOLDER
from scribble_tools.images.slicer_segmentation import stem_of
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


def patterns_in_words(names: Sequence[str], cases: Sequence[NewImage]) -> str:
    """What to type where each channel has a file of its own, and each was taken for a case.

    Returns:
        Nothing where there is one channel, a case of several files, or a picture.
    """
    files = [path for case in cases for path in case.files]
    if len(names) == 1 or len(files) > len(cases) or file_ending_of(files[0]) in NATURAL:
        return ""
    found: dict[int | None, set[str]] = {}
    for path in files:
        pattern = PLACEHOLDER + re.sub(r"^.*(?=[_-])", "", stem_of(path)) + file_ending_of(path)
        found.setdefault(channel_named(pattern, names), set()).add(pattern)
    if found.keys() == {*range(len(names))} and all(len(own) == 1 for own in found.values()):
        patterns = [found[k].pop() for k in range(len(names))]
    else:
        patterns = [f"{PLACEHOLDER}_{name}{file_ending_of(files[0])}" for name in names]
    return (
        f"If each channel is a file of its own, say how they are called, {', '.join(names)} in "
        f"this order: --image-pattern {shlex.join(patterns)}"
    )


def refuse_exchanged_channels(names: Sequence[str], patterns: Sequence[str]) -> None:
    """Refuse patterns that name the model's channels in another order than the model's.

    Raises:
        ValueError: they do; the message has them in order.
    """
    if found := exchanged_channels(names, patterns):
        wrong, ordered = found
        raise ValueError(
            f"channels exchanged: {wrong}. The model wants {', '.join(names)} in this order: "
            f"--image-pattern {ordered}. If it was really trained with them exchanged, "
            "call the files CASE_0000, CASE_0001, ..., and say no --image-pattern"
        )
