"""ITK-SNAP's label description file: name and colour of every value of a label map."""

from __future__ import annotations

import re
from collections.abc import Mapping
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


def write_label_description(
    labels: Mapping[int, tuple[str, tuple[float, float, float]]], path: Path
) -> None:
    """Write names and colours for ITK-SNAP (Segmentation > Import Label Descriptions).

    Args:
        labels: value to name and colour (red, green and blue between 0 and 1). 0, which ITK-SNAP
            cannot draw, becomes its ``Clear Label``.

    Raises:
        ValueError: a name would break the file.
    """
    lines = [
        "# ITK-SnAP Label Description File",
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    for value, (name, colour) in sorted(labels.items()):
        if re.search(r'["\r\n]', name):
            raise ValueError(f"{path}: {name!r} cannot be the name of a label in ITK-SNAP")
        if value != 0:
            parts = "  ".join(f"{round(255 * part):3d}" for part in colour)
            lines.append(f'{value:5d}   {parts}        1  1  1    "{name}"')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
