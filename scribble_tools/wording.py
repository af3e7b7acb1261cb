"""Numbers with their nouns: 1 case, 2 cases."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 case``, ``2 cases``; ``1 file is``, ``2 files are``.

    Args:
        many: the words for every other number than 1 (default: ``one`` and an s).
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def some_of(names: Sequence[str], most: int = 3) -> str:
    """``a, b, c and 2 more``."""
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)
