"""Which files are which of a model's channels: said, and refused where their names contradict."""

from __future__ import annotations

from collections.abc import Sequence

from scribble_tools.images.channel_patterns import exchanged_channels
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
