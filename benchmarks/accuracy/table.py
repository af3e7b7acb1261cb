"""Print the rows of benchmarks/accuracy/results as Markdown: means over seeds, paired differences.

    python benchmarks/accuracy/table.py benchmarks/accuracy/results/acdc_coarse.jsonl
    python benchmarks/accuracy/table.py ROWS --against nnUNetTrainer --patient-regex '(.*)_frame'
    python benchmarks/accuracy/table.py SCRIBBLED DENSE --bound ACDCCropDense:nnUNetTrainer

A line holds all seeds of one trainer with the same settings, length and plans, as mean ± standard
deviation over the seeds. Rows that know it have a second table: of all voxels of a true class, per
cent predicted as another (the largest of these confusions), and the volume error of each class.

``--bound`` adds what share of another line's Dice is reached on the same cases, of the same length
if there is one, else of its longest. NAME is the text in the column 'trainer and settings', with
the data set before it where several have such a line (``DATA:NAME``).

``--against`` adds a table for each line of that name: the differences to it on the same cases, with
the cases that are better. Seeds are averaged per case, then cases compared. Intervals are bootstrap
95 % ones, which resample patients if ``--patient-regex`` tells them, and cases otherwise; with few
seeds they know little of how a training differs from the next. Volume errors are compared by their
absolute values.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from row_values import (
    DICE,
    HD95,
    ISLANDS,
    KINDS,
    VOLUME,
    Measure,
    Paired,
    classes_of,
    confusion,
    difference,
    largest_confusions,
    over_cases,
    read_groups,
    score,
    share_of_bound,
)

Groups = Mapping[tuple, list[dict]]
RAW, LARGEST = KINDS
MEAN_DICE = Measure("Dice", 3, 1, score(RAW, DICE))
SCORES = (
    MEAN_DICE,
    Measure("HD95 mm", 1, -1, score(RAW, HD95)),
    Measure("islands", 1, -1, score(RAW, ISLANDS, summed=True)),
    Measure("Dice, largest", 3, 1, score(LARGEST, DICE)),
    Measure("HD95, largest", 1, -1, score(LARGEST, HD95)),
)


def spread(values: Sequence[float], digits: int, signed: bool = False) -> str:
    """Mean, and the standard deviation over the seeds where there are several."""
    text = f"{np.mean(values):{'+' if signed else ''}.{digits}f}"
    return text + (f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else "")


def data_and_plans(dataset: str, plans: str) -> list[str]:
    """The two as the tables show them."""
    return [dataset.split("_", 1)[-1], plans.removeprefix("nnUNetPlans_")]


def with_interval(paired: Paired, digits: int, signed: bool) -> str:
    """``+0.011 [+0.004, +0.018]``."""
    sign = "+" if signed else ""
    low, high = (f"{bound:{sign}.{digits}f}" for bound in (paired.low, paired.high))
    return f"{paired.value:{sign}.{digits}f} [{low}, {high}]"


def find_bound(groups: Groups, name: str) -> dict[int, list[dict]]:
    """The rows of the bound by length.

    Raises:
        ValueError: there is none of this name, or in several data sets or plans.
    """
    found: dict[tuple, dict[int, list[dict]]] = {}
    for (dataset, plans, own, length), rows in groups.items():
        short = dataset.split("_", 1)[-1]
        if name in (own, f"{dataset}:{own}", f"{short}:{own}"):
            found.setdefault((dataset, plans), {})[length] = rows
    if len(found) != 1:
        names = sorted({f"{dataset.split('_', 1)[-1]}:{own}" for dataset, _, own, _ in groups})
        what = "stands in several data sets or plans" if found else "is not there"
        raise ValueError(f"--bound {name} {what}; there are {', '.join(names)}")
    return found.popitem()[1]


def of_bound(
    rows: Sequence[dict], length: int, bound: Mapping[int, list[dict]], patients: str
) -> str:
    """The share of the bound's Dice, in per cent, and the bound's length if it is another one."""
    chosen = length if length in bound else max(bound)
    paired = share_of_bound(rows, bound[chosen], MEAN_DICE, patients)
    if paired is None:
        return "-"
    return with_interval(paired, 1, False) + f" of {chosen}" * (chosen != length)


def means_table(
    groups: Groups, bound: Mapping[int, list[dict]] | None, patients: str
) -> list[list[str]]:
    """One line per group, the heading first."""
    heading = "data|plans|trainer and settings|iterations|seeds|minutes|Dice|HD95 mm|islands|"
    heading += "missed or invented|Dice, largest|HD95, largest"
    lines = [heading.split("|") + ["Dice, % of the bound"] * (bound is not None)]
    for (dataset, plans, name, length), rows in groups.items():
        raw, kept = ([row[kind]["summary"]["overall"] for row in rows] for kind in KINDS)
        lines.append(
            [
                *data_and_plans(dataset, plans),
                name,
                str(length),
                " ".join(str(row["seed"]) for row in rows),
                f"{np.mean([row['seconds_of_the_last_run'] for row in rows]) / 60:.1f}",
                spread([r["dice"] for r in raw], 3),
                spread([r["hd95_mm"] for r in raw], 1),
                spread([r["islands_per_case"] for r in raw], 1),
                spread([r["missed"] + r["invented"] for r in raw], 0),
                spread([r["dice"] for r in kept], 3),
                spread([r["hd95_mm"] for r in kept], 1),
            ]
        )
        if bound is not None:
            lines[-1].append(of_bound(rows, length, bound, patients))
    return lines


def band_measures(rows: Sequence[dict], top: int, absolute: bool) -> list[Measure]:
    """Confusions and volume errors; none if the rows do not know them."""
    pairs = largest_confusions(rows, RAW, top)
    measures = [Measure(f"{a} as {b}, %", 1, -1, confusion(RAW, a, b)) for a, b in pairs]
    return measures + [
        Measure(
            f"{'absolute ' * absolute}volume error {name}, %",
            1,
            -1,
            score(RAW, VOLUME, name, absolute=absolute),
        )
        for name in classes_of(rows, RAW)
        if any("confusion" in row[RAW] for row in rows)
    ]


def band_table(groups: Groups, top: int) -> list[list[str]]:
    """One line per group that knows its confusion, all of the same classes; empty if none does."""
    known = {
        key: rows for key, rows in groups.items() if all("confusion" in row[RAW] for row in rows)
    }
    measures = band_measures([row for rows in known.values() for row in rows], top, False)
    lines = []
    for (dataset, plans, name, length), rows in known.items():
        cells = [*data_and_plans(dataset, plans), name, str(length)]
        for measure in measures:
            values = [v for row in rows if (v := over_cases(row, measure)) is not None]
            signed = measure.title.startswith("volume")
            cells.append(spread(values, measure.decimals, signed) if values else "-")
        lines.append(cells)
    heading = ["data", "plans", "trainer and settings", "iterations", *(m.title for m in measures)]
    return [heading, *lines] if lines else []


def differences_table(
    groups: Groups, place: tuple[str, str], against: tuple[str, int], top: int, patients: str
) -> list[list[str]]:
    """A line per measure, a column per other group of the same data and plans."""
    theirs = groups[(*place, *against)]
    others = {
        key: rows for key, rows in groups.items() if key[:2] == place and key[2] != against[0]
    }
    rows = [row for group in (theirs, *others.values()) for row in group]
    lines = [
        [
            f"{', '.join(data_and_plans(*place))}: difference to {against[0]} {against[1]}",
            *(f"{name} {length}" for _, _, name, length in others),
        ]
    ]
    for measure in (*SCORES, *band_measures(rows, top, True)):
        cells = []
        for ours in others.values():
            paired = difference(ours, theirs, measure, patients)
            text = "-"
            if paired is not None:
                text = with_interval(paired, measure.decimals, True)
                text += f", {paired.better} of {paired.cases} better"
            cells.append(text)
        lines.append([measure.title, *cells])
    return lines if others else []


def print_table(lines: Sequence[Sequence[str]]) -> None:
    """As Markdown, the first line as the heading."""
    for number, line in enumerate(lines):
        print(f"|{'|'.join(line)}|")
        if number == 0:
            print("|---" * len(line) + "|")
    print()


def main(words: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="+", type=Path)
    parser.add_argument("--against", metavar="NAME", help="as in the column 'trainer and settings'")
    parser.add_argument("--bound", metavar="[DATA:]NAME", help="whose Dice is 100 %%")
    parser.add_argument(
        "--patient-regex", default="(?!)", help="finds the patient in a case's name"
    )
    parser.add_argument(
        "--confusions", type=int, default=6, metavar="N", help="at most so many (default: 6)"
    )
    args = parser.parse_args(words)
    groups = read_groups(args.rows)
    try:
        bound = find_bound(groups, args.bound) if args.bound else None
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    print_table(means_table(groups, bound, args.patient_regex))
    # lines of the same classes stand together, whatever data set they were trained on
    by_classes: dict[tuple, dict[tuple, list[dict]]] = {}
    for key, rows in groups.items():
        by_classes.setdefault(tuple(classes_of(rows, RAW)), {})[key] = rows
    for same in by_classes.values():
        if lines := band_table(same, args.confusions):
            print_table(lines)
    for dataset, plans, name, length in groups:
        if name == args.against:
            lines = differences_table(
                groups, (dataset, plans), (name, length), args.confusions, args.patient_regex
            )
            if lines:
                print_table(lines)


if __name__ == "__main__":
    main()
