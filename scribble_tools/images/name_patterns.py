"""Patterns of file names, in which ``{case}`` stands for the case's name."""

from __future__ import annotations

import re

PLACEHOLDER = "{case}"


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern, with the group ``case``.

    Args:
        pattern: of the path below a folder, or of the name alone when it has no slash: ``{case}``
            stands for the case's name, ``*`` for anything but a slash.

    Raises:
        ValueError: there is no ``{case}`` in it.
    """
    if PLACEHOLDER not in pattern:
        raise ValueError(f"pattern {pattern!r} must hold {PLACEHOLDER}, such as '{{case}}.nii.gz'")
    parts = [
        "[^/]*".join(re.escape(word) for word in part.split("*"))
        for part in pattern.split(PLACEHOLDER)
    ]
    any_folder = "" if "/" in pattern else "(?:.*/)?"
    return re.compile(any_folder + parts[0] + "(?P<case>[^/]+)" + "(?P=case)".join(parts[1:]))
