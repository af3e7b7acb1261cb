"""Numbers with their nouns: 1 case, 2 cases."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 case``, ``2 cases``; ``1 file is``, ``2 files are``.

    Args:
        many: the words for every other number than 1 (default: ``one`` and an s).
    """
    return f"{number} {one if number == 1 else many or one + 's'}"
