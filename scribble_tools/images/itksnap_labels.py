"""ITK-SNAP's label description file: which name belongs to which value of a label map."""

from __future__ import annotations

import re
from pathlib import Path

# index, red, green, blue, opacity, two visibilities, "name"
LINE = re.compile(r'\s*(\d+)\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+\d+\s+\d+\s+"(.*)"\s*')


def read_label_description(path: Path) -> dict[str, int]:
    """Read the label names of ITK-SNAP (Segmentation > Export Label Descriptions).

    Returns:
        name to value; ``Clear Label``, what is not labelled, is 0.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line has another form, a value or a name stands twice, or there is no label.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    lines = Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    values: dict[str, int] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if match is None:
            problems.append(f'line {number}: {line!r}; expected IDX R G B A VIS MSH "LABEL"')
            continue
        value, name = int(match.group(1)), match.group(2).strip()
        if name in values or value in values.values():
            problems.append(f"line {number}: {value} {name!r} stands twice")
        values[name] = value
    if not values and not problems:
        problems.append("no label in it")
    if problems:
        raise ValueError(f"{path} is no label description of ITK-SNAP: " + "; ".join(problems))
    return values
