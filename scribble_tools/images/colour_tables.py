"""Tables of which colour means which label: CVAT's labelmap.txt, or a CSV table."""

from __future__ import annotations

import re
from pathlib import Path

from scribble_tools.csv_files import csv_table, plain_cell
from scribble_tools.images.picture_labels import parse_colour

# name:red,green,blue:parts:actions
CVAT = re.compile(r"([^:#][^:]*):(\d+),(\d+),(\d+):[^:]*:[^:]*")


def _code(red: str, green: str, blue: str) -> int:
    parts = [int(red), int(green), int(blue)]
    if not all(0 <= part <= 255 for part in parts):
        raise ValueError(f"{red},{green},{blue}: colours lie between 0 and 255")
    return parts[0] << 16 | parts[1] << 8 | parts[2]


def _rows(lines: list[str]) -> list[tuple[str, int]] | None:
    """Name and colour of each row; None of a file that is no such table."""
    said = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if said and all(CVAT.fullmatch(line.strip()) for line in said):
        matches = [CVAT.fullmatch(line.strip()) for line in said]
        return [(match.group(1), _code(*match.groups()[1:])) for match in matches]
    table = csv_table(lines)
    columns = {name.strip().lower(): name for name in table.fieldnames or () if name}
    colour = columns.get("colour") or columns.get("color")
    parts = [columns.get(part) for part in ("red", "green", "blue")]
    if "name" not in columns or not (colour or all(parts)):
        return None
    rows = []
    for row in table:
        name = plain_cell((row[columns["name"]] or "").strip())
        if colour is None:
            rows.append((name, _code(*(row[part] or "" for part in parts))))
        elif (code := parse_colour((row[colour] or "").strip())) is None:
            raise ValueError(f"{name}: {row[colour]!r} is no colour such as #ff8000")
        else:
            rows.append((name, code))
    return rows


def read_colour_table(path: Path) -> dict[str, int] | None:
    """Name to the number of its colour (see `colour_codes`); None where the file is no such table.

    Read are CVAT's ``labelmap.txt`` and CSV tables with the columns ``name`` and ``colour``
    (``#ff8000`` or ``transparent``), or ``name,red,green,blue``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a colour is none, or a name or colour stands twice.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    lines = Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    try:
        rows = _rows(lines)
    except ValueError as error:
        raise ValueError(f"{path} is no table of colours: {error}") from None
    if rows is None:
        return None
    names = [name for name, _ in rows]
    codes = [code for _, code in rows]
    if twice := sorted({n for n, c in rows if names.count(n) > 1 or codes.count(c) > 1}):
        raise ValueError(f"{path}: the name or colour of {', '.join(twice)} stands twice")
    return dict(rows)
