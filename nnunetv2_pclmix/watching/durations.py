"""Durations in words."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """A duration as people say it: ``40 s``, ``12 min``, ``3.5 hours``, ``2 days``, ``5 weeks``."""
    for unit, length, upto in (
        ("s", 1, 100),
        ("min", 60, 100 * 60),
        ("hours", 3600, 36 * 3600),
        ("days", 86400, 21 * 86400),
    ):
        if seconds < upto:
            number = seconds / length
            return f"{number:.1f} {unit}" if number < 10 and length > 1 else f"{number:.0f} {unit}"
    return f"{seconds / (7 * 86400):.0f} weeks"
