"""Write the tables of README, docs/results.md and LOG.md from the rows that page.json names.

    python benchmarks/accuracy/page.py            rewrites the tables in these pages
    python benchmarks/accuracy/page.py --print stock

In a page a table stands below a comment with its name, ``<!-- table: stock -->``. In page.json it
has columns, as title to value (see `VALUES`), and lines. A line takes its rows from ``file`` (a
pattern of names in results/) where all of ``where`` holds: a value, a list of values, a pattern
with ``*``, of a key or of a key in a dictionary (``settings.lambda_pseudo``); null asks nothing.
What stands in the table's ``each`` holds for all of its lines. ``against`` and ``bound`` select
other rows in the same way, with the line's own ``file`` and ``where`` as default. A line with
``if_any`` is left out as long as there are no rows for it. A cell of ``json`` is the number at that
place in a file of benchmarks/results.

Differences are ours minus theirs with the same seeds, where they have them, on the same cases, with
a 95 % interval over patients: see `row_values.difference`.
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from row_values import (
    DICE,
    KINDS,
    Measure,
    Paired,
    difference,
    read_rows,
    score,
    share_of_bound,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md", HERE / "LOG.md")
PATIENTS = "(.*)_frame"
RAW, LARGEST = KINDS
MEAN_DICE = {kind: Measure("Dice", 3, 1, score(kind, DICE)) for kind in KINDS}
Rows = Sequence[Mapping]


def short(value: float, digits: int, signed: bool = False) -> str:
    """``.833``, ``-.019``, ``12.4``: without the zero before the point."""
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return re.sub(r"^([+-]?)0\.", r"\1.", text)


def of_summary(rows: Rows, kind: str, key: str, label: str | None = None) -> float:
    """Mean over the seeds of a number in the summary, of one class or over all."""
    summaries = [row[kind]["summary"] for row in rows]
    chosen = [s["per_class"][label] if label else s["overall"] for s in summaries]
    return float(np.mean([numbers[key] for numbers in chosen]))


def of_same_seeds(ours: Rows, theirs: Rows) -> Rows:
    """Theirs of our seeds, or all of them where a seed of ours is missing."""
    seeds = {row["seed"] for row in ours}
    same = [row for row in theirs if row["seed"] in seeds]
    return same if len(same) == len(seeds) else theirs


def paired(ours: Rows, theirs: Rows, kind: str) -> Paired:
    """The difference of the Dice."""
    return difference(ours, theirs, MEAN_DICE[kind], PATIENTS)


def share(ours: Rows, bound: Rows) -> Paired:
    """Per cent of the bound's Dice."""
    return share_of_bound(ours, bound, MEAN_DICE[RAW], PATIENTS)


def commits(rows: Rows) -> str:
    """Of the code that made the rows; of a rewritten history, what holds that code now."""
    return " ".join(sorted({row["commit"].split(" ")[0] for row in rows}))


SCORES = {
    "Dice": lambda rows: short(of_summary(rows, RAW, "dice"), 3),
    "HD95": lambda rows: short(of_summary(rows, RAW, "hd95_mm"), 1),
    "islands": lambda rows: short(of_summary(rows, RAW, "islands_per_case"), 1),
    "Dice, largest": lambda rows: short(of_summary(rows, LARGEST, "dice"), 3),
    "HD95, largest": lambda rows: short(of_summary(rows, LARGEST, "hd95_mm"), 1),
    "RV": lambda rows: short(of_summary(rows, RAW, "dice", "RV"), 3),
    "MYO": lambda rows: short(of_summary(rows, RAW, "dice", "MYO"), 3),
    "LV": lambda rows: short(of_summary(rows, RAW, "dice", "LV"), 3),
    "seeds": lambda rows: str(len(rows)),
    "iterations": lambda rows: str(rows[0]["iterations"]),
    "commit": commits,
    "file": lambda rows: f"`{rows[0]['file']}`",
}


# number of the `Paired`, its decimals, whether it has a sign
PARTS = {"difference": ("value", 3, True), "from": ("low", 3, True), "to": ("high", 3, True)}
PARTS |= {"better": ("better", 0, False)}
PAIRS = {
    f"{name}{after}": (kind, *part)
    for kind, after in ((RAW, ""), (LARGEST, ", largest"))
    for name, part in PARTS.items()
}
SHARES = {"share": "value", "share from": "low", "share to": "high"}
VALUES = (*SCORES, *(f"{side} {name}" for side in ("their", "bound") for name in SCORES))
VALUES += (*PAIRS, *SHARES)


@functools.cache
def _rows_of(pattern: str) -> list[dict]:
    files = sorted((HERE / "results").glob(pattern))
    return [{**row, "file": file.name} for file in files for row in read_rows(file)]


def _holds(row: Mapping, key: str, wanted: object) -> bool:
    value = row
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(wanted, str) and "*" in wanted:
        return isinstance(value, str) and fnmatch.fnmatchcase(value, wanted)
    if isinstance(value, list):
        return sorted(value) == sorted(wanted)
    return value in wanted if isinstance(wanted, list) else value == wanted


def select(line: Mapping) -> list[dict]:
    """The rows of a line, by seed.

    Raises:
        ValueError: none is there, two are of one seed, or they differ in their length.
    """
    where = {key: wanted for key, wanted in line["where"].items() if wanted is not None}
    rows = [r for r in _rows_of(line["file"]) if all(_holds(r, *item) for item in where.items())]
    rows = sorted(rows, key=lambda row: row["seed"])
    seeds = [row["seed"] for row in rows]
    lengths = {row["iterations"] for row in rows}
    if len(set(seeds)) != len(seeds) or len(lengths) > 1 or not (rows or line.get("if_any")):
        raise ValueError(
            f"{line['file']} where {where}: seeds {seeds}, iterations {sorted(lengths)}"
        )
    return rows


def _other(line: Mapping, key: str) -> Mapping:
    other = line[key]
    return {
        "file": other.get("file", line["file"]),
        "where": {**line["where"], **other.get("where", {})},
    }


def number_at(place: str) -> str:
    """``FILE:key/key/index`` of benchmarks/results: a number, with two decimals if it has any."""
    file, _, path = place.partition(":")
    value = json.loads((ROOT / "benchmarks" / "results" / file).read_text(encoding="utf-8"))
    for part in path.split("/"):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return str(value) if isinstance(value, int) else short(value, 2)


def cells(line: Mapping, values: Sequence[str]) -> list[str] | None:
    """One table line without its name; None where it has no rows and may do without."""
    if "json" in line:
        return [number_at(place) for place in line["json"]]
    ours = select(line)
    if not ours:
        return None
    theirs = of_same_seeds(ours, select(_other(line, "against"))) if "against" in line else None
    bound = select(_other(line, "bound")) if "bound" in line else None
    found, differences = [], {}
    reached = share(ours, bound) if bound else None
    for value in values:
        side, _, name = value.partition(" ")
        if value in SCORES:
            found.append(SCORES[value](ours))
        elif side in ("their", "bound"):
            found.append(SCORES[name](theirs if side == "their" else bound))
        elif value in SHARES:
            found.append(short(getattr(reached, SHARES[value]), 1))
        elif not theirs:
            found.append("")
        else:
            kind, part, *form = PAIRS[value]
            if kind not in differences:
                differences[kind] = paired(ours, theirs, kind)
            found.append(short(getattr(differences[kind], part), *form))
    return found


def table(spec: Mapping) -> str:
    """A table in Markdown, one number in each cell."""
    each = spec.get("each", {})
    lines = [["", *spec["columns"]]]
    for own in spec["lines"]:
        line = {**each, **own, "where": {**each.get("where", {}), **own.get("where", {})}}
        if line.get("against") == {}:
            del line["against"]
        if (numbers := cells(line, [*spec["columns"].values()])) is not None:
            lines.append([line["name"], *numbers])
    text = ["|" + "".join(f" {cell} |" if cell else " |" for cell in line) for line in lines]
    return "\n".join([text[0], "|---" * len(lines[0]) + "|", *text[1:]])


def tables(chosen: str | None = None) -> dict[str, str]:
    """The tables of page.json by name: all, or one of them."""
    specs = json.loads((HERE / "page.json").read_text(encoding="utf-8"))
    return {name: table(spec) for name, spec in specs.items() if chosen in (None, name)}


def with_tables(page: str, found: Mapping[str, str]) -> str:
    """The text of a page with its tables as they are now."""

    def written(old: re.Match) -> str:
        return f"{old[1]}\n\n{found[old[2]]}\n"

    return re.sub(r"(<!-- table: (\S+) -->)\n(?:\n?(?:\|.*\n)+)?", written, page)


def main() -> None:
    """Rewrite the pages, or print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--print", metavar="TABLE", dest="name")
    args = parser.parse_args()
    found = tables(args.name)
    if args.name:
        print(found[args.name])
        return
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
