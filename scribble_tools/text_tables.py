"""Numbers and tables as text, for a terminal and in Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

SHORTEST = 20  # letters of a name, which tell "left atrium" and "left ventricle" apart


def number(value: float, decimals: int, signed: bool = False) -> str:
    """A number for a table: no decimals where they say nothing (from 1000 on), ``-`` for NaN."""
    if math.isnan(value):
        return "-"
    return f"{value:{'+' if signed else ''}.{decimals if abs(value) < 1000 else 0}f}"


def interval(numbers: Mapping[str, float], decimals: int, signed: bool = False) -> str:
    """The confidence interval among `describe`'s numbers, ``-`` if there is none."""
    if math.isnan(numbers["ci_low"]):
        return "-"
    return " to ".join(number(numbers[key], decimals, signed) for key in ("ci_low", "ci_high"))


def text_table(header: Sequence[str], rows: Iterable[Sequence[object]], width: int = 100) -> str:
    """Aligned columns; names in the first are cut for lines within ``width``, to `SHORTEST`."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    first, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    first = min(first, max(SHORTEST, width - sum(widths) - 2 * len(widths)))
    text = []
    for name, *cells in lines:
        name = name if len(name) <= first else f"{name[: first - 2]}.."
        aligned = [cell.rjust(w) for cell, w in zip(cells, widths, strict=True)]
        text.append("  ".join((name.ljust(first), *aligned)))
    return "\n".join(text)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; a ``|`` in a name is escaped."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |"
        for line in lines
    )


def natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts names as people do: 3, 5, 10, 40."""
    parts = re.findall(r"\d+|\D+", name)
    return [(not p.isdigit(), int(p) if p.isdigit() else 0, p.casefold()) for p in parts]
