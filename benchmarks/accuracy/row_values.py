"""The numbers in the rows of `score.py`, by case, as `table.py` compares them.

Every measure of a case is a pair (numerator, denominator), and its value over cases the sum of the
numerators through the sum of the denominators: scores have 1 below, so that this is their mean;
confusion has the voxels of the true class, so that it is over all voxels. Seeds are averaged per
case before anything else. A case without a value, such as the Dice of a class that is absent on
both sides, is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scribble_tools.evaluate.statistics import bootstrap_weights

FINAL = "checkpoint_final.pth"
KINDS = ("raw", "largest_component")
DICE, HD95, ISLANDS, VOLUME = 2, 3, 4, 5  # places in a case's line
Row = Mapping
Ratios = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Measure:
    """A column: its title, how it is printed, and its (numerator, denominator) by case of a row.

    Attributes:
        better: 1 if more is better, -1 if less is.
    """

    title: str
    decimals: int
    better: int
    of_row: Callable[[Row], Ratios]


def read_rows(file: Path) -> list[dict]:
    """The rows of a file, each with its length as ``iterations``, and `trainer_today` as ``today``.

    Rows that another script made, of the cropped task and on a GPU, are brought into the same form.
    """
    rows = map(json.loads, file.read_text().splitlines())
    return [{**_in_one_form(row), "today": trainer_today(row)} for row in rows]


def _in_one_form(row: dict) -> dict:
    if "iterations_done" not in row:
        return {**row, "iterations": row["epochs"] * row["iterations_per_epoch"]}
    names = row.get("classes", ("RV", "MYO", "LV"))
    keys = ("dice", "hd95_mm", "islands_per_case")
    dices = zip(names, row.get("dice_of_classes") or row["dice_rv_myo_lv"], strict=True)
    raw = {
        "summary": {
            "overall": {key: row[key] for key in keys},
            "per_class": {name: {"dice": dice} for name, dice in dices},
        },
        "cases": [
            [case, *pair] for case, *own in row["cases"] for pair in zip(names, own, strict=True)
        ],
    }
    largest = {"summary": {"overall": {"dice": row["dice_largest"]}}, "cases": []}
    return {**row, "iterations": row["iterations_done"], "raw": raw, "largest_component": largest}


def trainer_today(row: Row) -> str:
    """Today's name of the trainer that made a row: names changed, settings tell.

    What made one pass with stroke support was once called nnUNetTrainerPCLMix.
    """
    config = row.get("config") or row.get("settings")
    parts = ("dynamic_mix", "auxiliary_decoder", "contrast")
    if isinstance(config, Mapping) and not any(config.get(part) for part in parts):
        return (
            "nnUNetTrainerStrokeSupport" if config.get("stroke_support", True) else row["trainer"]
        )
    return row.get("trainer", row.get("name"))


def read_groups(files: Sequence[Path]) -> dict[tuple, list[dict]]:
    """Rows that differ in the seed alone, by (dataset, plans, name, iterations)."""
    groups: dict[tuple, list[dict]] = {}
    for file in files:
        for row in read_rows(file):
            checkpoint = row.get("checkpoint", FINAL)
            name = [row["trainer"], *sorted(row.get("settings", []))]
            name += [checkpoint] * (checkpoint != FINAL)
            name += [f"fold {row['fold']}"] * (row["fold"] > 0)
            key = (row["dataset"], row["plans"], " ".join(name), row["iterations"])
            groups.setdefault(key, []).append(row)
    return groups


def score(
    kind: str, place: int, label: str | None = None, summed: bool = False, absolute: bool = False
) -> Callable[[Row], Ratios]:
    """A score of every case: of one class, or the mean (sum) over the classes that have a value."""

    def of_row(row: Row) -> Ratios:
        values: dict[str, list[float]] = {}
        for case, name, *numbers in row[kind]["cases"]:
            value = numbers[place - 2] if len(numbers) > place - 2 else None
            if value is not None and label in (None, name):
                values.setdefault(case, []).append(abs(value) if absolute else value)
        return {c: (float(np.sum(v) if summed else np.mean(v)), 1.0) for c, v in values.items()}

    return of_row


def confusion(kind: str, true: str, predicted: str) -> Callable[[Row], Ratios]:
    """Of each case's voxels of a true class, per cent that are predicted as another."""

    def of_row(row: Row) -> Ratios:
        if "confusion" not in row[kind]:
            return {}
        parts = row[kind]["confusion"]["parts"]
        i, j = parts.index(true), parts.index(predicted)
        found = {c: (100.0 * t[i][j], float(sum(t[i]))) for c, t in _tables(row, kind).items()}
        return {case: ratio for case, ratio in found.items() if ratio[1]}

    return of_row


def _tables(row: Row, kind: str) -> Mapping[str, list[list[int]]]:
    return row[kind]["confusion"]["cases"]


def largest_confusions(rows: Sequence[Row], kind: str, top: int) -> list[tuple[str, str]]:
    """The pairs of true and predicted class that are confused most over all rows; no background.

    From 1 per cent of the true class on, in the order of rows and columns of the matrix.
    """
    known = [row for row in rows if "confusion" in row[kind]]
    if not known:
        return []
    parts = known[0][kind]["confusion"]["parts"]
    total = sum(
        np.array(table, float)
        for row in known
        if row[kind]["confusion"]["parts"] == parts
        for table in _tables(row, kind).values()
    )
    percent = 100 * total / np.maximum(total.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(percent, 0)
    percent[0] = 0
    chosen = np.argsort(-percent, axis=None, kind="stable")[:top]
    pairs = [divmod(int(k), len(parts)) for k in sorted(chosen) if percent.flat[k] >= 1]
    return [(parts[i], parts[j]) for i, j in pairs]


def classes_of(rows: Sequence[Row], kind: str) -> list[str]:
    """Names of the classes, in the order of the scores."""
    return [*dict.fromkeys(label for row in rows for _, label, *_ in row[kind]["cases"])]


def over_cases(row: Row, measure: Measure) -> float | None:
    """The value of one row over all its cases; None if no case has one."""
    ratios = [*measure.of_row(row).values()]
    return float(np.divide(*np.sum(ratios, axis=0))) if ratios else None


def average(rows: Sequence[Row], measure: Measure) -> Ratios:
    """By case, the mean over seeds of numerator and denominator; cases that all seeds have."""
    found = [measure.of_row(row) for row in rows]
    cases = [case for case in found[0] if all(case in ratios for ratios in found)]
    return {
        case: tuple(np.mean([ratios[case] for ratios in found], axis=0).tolist()) for case in cases
    }


def patients_of(cases: Sequence[str], pattern: str) -> list[str]:
    """The patient in each case's name: what the first group finds, or the case itself."""
    found = [re.search(pattern, case) for case in cases]
    return [m.group(m.re.groups) if m else case for m, case in zip(found, cases, strict=True)]


@dataclass(frozen=True)
class Paired:
    """Two groups on the same cases: value and interval of a difference or a ratio."""

    value: float
    low: float
    high: float
    better: int
    cases: int


def _pair(ours: Ratios, theirs: Ratios, patients: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(cases, 2) of both, and (resamples, cases); a mistake to call without a shared case."""
    cases = sorted(ours.keys() & theirs.keys())
    a, b = (np.array([ratios[case] for case in cases]) for ratios in (ours, theirs))
    return a, b, bootstrap_weights(patients_of(cases, patients))


def difference(
    ours: Sequence[Row], theirs: Sequence[Row], measure: Measure, patients: str
) -> Paired | None:
    """Ours minus theirs, with the bootstrap 95 % interval; None if no case has a value in both.

    Args:
        patients: pattern of `patients_of`; patients are resampled, each with all its cases.
    """
    a, b = average(ours, measure), average(theirs, measure)
    if not a.keys() & b.keys():
        return None
    a, b, weights = _pair(a, b, patients)
    gain = measure.better * (a[:, 0] / a[:, 1] - b[:, 0] / b[:, 1])
    values = [np.divide(*ratios.sum(axis=0)) for ratios in (a, b)]
    resampled = [(weights @ ratios[:, 0]) / (weights @ ratios[:, 1]) for ratios in (a, b)]
    low, high = np.percentile(resampled[0] - resampled[1], [2.5, 97.5])
    better = int((gain > 1e-9).sum())
    return Paired(float(values[0] - values[1]), float(low), float(high), better, len(gain))


def share_of_bound(
    ours: Sequence[Row], bound: Sequence[Row], measure: Measure, patients: str
) -> Paired | None:
    """Per cent that ours reaches of the bound's value on the same cases; None without a case."""
    a, b = average(ours, measure), average(bound, measure)
    if not a.keys() & b.keys():
        return None
    a, b, weights = _pair(a, b, patients)
    a, b = a[:, 0] / a[:, 1], b[:, 0] / b[:, 1]
    low, high = np.percentile(100 * (weights @ a) / (weights @ b), [2.5, 97.5])
    return Paired(
        float(100 * a.sum() / b.sum()), float(low), float(high), int((a > b).sum()), len(a)
    )
