"""Print the rows of benchmarks/accuracy/results as Markdown: means over seeds, paired differences.

    python benchmarks/accuracy/table.py benchmarks/accuracy/results/acdc_coarse.jsonl
    python benchmarks/accuracy/table.py ROWS --against nnUNetTrainer --patient-regex '(.*)_frame'

A line holds all seeds of one trainer with the same settings, length and plans. With ``--against``
a second table holds the differences to each line of that trainer on the same cases: scores are
averaged over the seeds, then compared case by case. The interval is the bootstrap 95 % one, which
resamples patients if ``--patient-regex`` tells them, and cases otherwise; with few seeds it knows
little of how a training differs from the next.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scribble_tools.evaluate.statistics import bootstrap_weights, weighted_means

FINAL = "checkpoint_final.pth"
KINDS = ("raw", "largest_component")


def read_groups(files: Sequence[Path]) -> dict[tuple, list[dict]]:
    """Rows that differ in the seed alone, by (dataset, plans, name, iterations)."""
    groups: dict[tuple, list[dict]] = {}
    for file in files:
        for row in map(json.loads, file.read_text().splitlines()):
            checkpoint = row.get("checkpoint", FINAL)
            name = [row["trainer"], *sorted(row.get("settings", []))]
            name += [checkpoint] * (checkpoint != FINAL)
            name += [f"fold {row['fold']}"] * (row["fold"] > 0)
            length = row["epochs"] * row["iterations_per_epoch"]
            groups.setdefault((row["dataset"], row["plans"], " ".join(name), length), []).append(
                row
            )
    return groups


def spread(values: Sequence[float], digits: int) -> str:
    """Mean, and the standard deviation over the seeds where there are several."""
    text = f"{np.mean(values):.{digits}f}"
    return text + (f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else "")


def means_table(groups: dict[tuple, list[dict]]) -> list[list[str]]:
    """One line per group, the heading first."""
    heading = "data|plans|trainer and settings|iterations|seeds|minutes|Dice|HD95 mm|islands|"
    heading += "missed or invented|Dice, largest|HD95, largest"
    lines = [heading.split("|")]
    for (dataset, plans, name, length), rows in groups.items():
        raw, kept = ([row[kind]["summary"]["overall"] for row in rows] for kind in KINDS)
        lines.append(
            [
                dataset.split("_", 1)[1],
                plans.removeprefix("nnUNetPlans_"),
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
    return lines


def dice_of_cases(rows: Sequence[dict], kind: str) -> dict[str, float]:
    """Mean over seeds and classes, by case; a class that is absent on both sides is left out."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for case, _, dice, *_ in row[kind]["cases"]:
            if dice is not None:
                values.setdefault(case, []).append(dice)
    return {case: float(np.mean(dice)) for case, dice in values.items()}


def difference(ours: Sequence[dict], theirs: Sequence[dict], kind: str, patients: str) -> str:
    """Mean difference of the Dice with its interval, and the share of cases that are better."""
    a, b = dice_of_cases(ours, kind), dice_of_cases(theirs, kind)
    cases = sorted(a.keys() & b.keys())
    gain = np.array([a[case] - b[case] for case in cases])
    found = [re.search(patients, case) for case in cases]
    names = [m.group(m.re.groups) if m else case for m, case in zip(found, cases, strict=True)]
    resampled = weighted_means(gain[:, None], bootstrap_weights(names))[:, 0]
    low, high = np.percentile(resampled, [2.5, 97.5])
    better = int((gain > 0).sum())
    return f"{gain.mean():+.3f} [{low:+.3f}, {high:+.3f}], {better} of {len(gain)} better"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="+", type=Path)
    parser.add_argument("--against", metavar="NAME", help="as in the column 'trainer and settings'")
    parser.add_argument(
        "--patient-regex", default="(?!)", help="finds the patient in a case's name"
    )
    args = parser.parse_args()
    groups = read_groups(args.rows)
    tables = [means_table(groups)]
    if args.against:
        tables.append(
            [["data", "plans", "trainer and settings", "against", "Dice", "Dice, largest"]]
        )
        for (dataset, plans, name, length), rows in groups.items():
            for (*place, other, their_length), their_rows in groups.items():
                if other == args.against != name and place == [dataset, plans]:
                    gains = [difference(rows, their_rows, k, args.patient_regex) for k in KINDS]
                    here = [dataset.split("_", 1)[1], plans.removeprefix("nnUNetPlans_")]
                    tables[1].append([*here, f"{name} {length}", f"{other} {their_length}", *gains])
    for table in tables:
        for number, line in enumerate(table):
            print(f"|{'|'.join(line)}|")
            if number == 0:
                print("|---" * len(line) + "|")
        print()


if __name__ == "__main__":
    main()
