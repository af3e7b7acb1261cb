"""CSV tables: what is written opens in a spreadsheet as data, and what is read takes that back.

A spreadsheet runs a cell that begins as a formula, and names of cases, classes and segments may
come from strangers. So a quotation mark stands before such a text, as is the custom. Numbers stay
numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# what spreadsheets take for a formula, also in the wide letters of East Asia
_FORMULA = re.compile(r"'*[=+\-@\t\r\uff0b\uff0d\uff1d\uff20]")


def safe_cell(value: object) -> object:
    """A cell as it is written: a text that begins as a formula gets a quotation mark in front.

    Examples:
        >>> [safe_cell(value) for value in ("=1+2", "-CASE", "CASE", "-1.5", -1.5)]
        ["'=1+2", "'-CASE", 'CASE', '-1.5', -1.5]
    """
    if not isinstance(value, str) or not _FORMULA.match(value) or _is_number(value):
        return value
    return f"'{value}"


def plain_cell(text: str) -> str:
    """The text that `safe_cell` made of it.

    Examples:
        >>> [plain_cell(text) for text in ("'=1+2", "'CASE", "-1.5")]
        ['=1+2', "'CASE", '-1.5']
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write_csv(rows: Iterable[Mapping], path: Path, fields: Sequence[str]) -> None:
    """Write rows as CSV under a line with their ``fields``."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, fieldnames=list(fields))
        writer.writeheader()
        writer.writerows({key: safe_cell(value) for key, value in row.items()} for row in rows)


def csv_table(lines: Sequence[str]) -> csv.DictReader:
    """The rows of a table with commas or semicolons, of which the first line has the names.

    Give the cells to `plain_cell`.
    """
    return csv.DictReader(lines, delimiter=";" if lines and ";" in lines[0] else ",")


def _is_number(text: str) -> bool:
    try:
        float(text)
        return True
    except ValueError:
        return False
