"""The scores of an evaluation: means, a table to read, CSV and JSON files."""

from __future__ import annotations

import csv
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scribble_tools.label_set import LabelSet
from scribble_tools.nnunet_dataset import write_json
from scribble_tools.segmentation_scores import OUTCOMES, ClassScore

MISSING_HD95 = ("exclude", "diagonal")


@dataclass(frozen=True)
class Evaluation:
    """All scores, notes for the user with the cases they are about, and the labels scored."""

    scores: Sequence[ClassScore]
    notes: Mapping[str, Sequence[str]]
    labels: LabelSet


def _mean(values: Iterable[float]) -> float:
    """Mean over the values that are finite; NaN if there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def summarise(scores: Sequence[ClassScore], missing_hd95: str = "exclude") -> dict[str, dict]:
    """Means over cases for each class, and over classes.

    Returns:
        ``{"per_class": {name: means}, "overall": means}``. ``overall`` holds the mean over the
        classes' means of Dice and HD95, and the *sum* over the classes of islands per case.
        ``hd95_cases`` is the number of cases that a mean HD95 rests on.

    Raises:
        ValueError: ``missing_hd95`` is neither "exclude" nor "diagonal".
    """
    if missing_hd95 not in MISSING_HD95:
        raise ValueError(f"missing_hd95 is {missing_hd95!r}; choose one of {MISSING_HD95}")
    per_class = {}
    for label in dict.fromkeys(score.label for score in scores):
        own = [score for score in scores if score.label == label]
        distances = [
            s.diagonal_mm if missing_hd95 == "diagonal" and math.isinf(s.hd95_mm) else s.hd95_mm
            for s in own
        ]
        per_class[label] = {
            "cases": len(own),
            "dice": _mean(s.dice for s in own),
            "hd95_mm": _mean(distances),
            "islands_per_case": _mean(s.islands for s in own),
            "hd95_cases": sum(math.isfinite(d) for d in distances),
            **{outcome: sum(s.outcome == outcome for s in own) for outcome in OUTCOMES},
        }
    means = per_class.values()
    overall = {
        "cases": len({score.case for score in scores}),
        "dice": _mean(m["dice"] for m in means),
        "hd95_mm": _mean(m["hd95_mm"] for m in means),
        "islands_per_case": sum(m["islands_per_case"] for m in means),
        **{count: sum(m[count] for m in means) for count in ("hd95_cases", *OUTCOMES)},
    }
    return {"per_class": per_class, "overall": overall}


def format_table(summary: Mapping[str, dict], missing_hd95: str = "exclude") -> str:
    """The summary as text, with a line for whatever the means leave out."""
    rows = {**summary["per_class"], "overall": summary["overall"]}
    width = max(len(name) for name in rows)
    lines = [
        f"{'class':<{width}} {'cases':>6} {'Dice':>7} {'HD95 mm':>8} {'islands/case':>13} "
        f"{'missed':>7} {'invented':>9} {'both empty':>11}"
    ]
    for name, row in rows.items():
        lines.append(
            f"{name:<{width}} {row['cases']:>6} {row['dice']:>7.4f} {row['hd95_mm']:>8.2f} "
            f"{row['islands_per_case']:>13.2f} {row['missed']:>7} {row['invented']:>9} "
            f"{row['both_empty']:>11}"
        )
    lines.insert(-1, "-" * len(lines[0]))
    overall = summary["overall"]
    lines.append("overall: mean over classes; islands: sum over classes")
    if one_sided := overall["missed"] + overall["invented"]:
        treated = (
            "left out of the mean HD95"
            if missing_hd95 == "exclude"
            else "in the mean HD95 with the image's diagonal"
        )
        lines.append(f"missed or invented: {one_sided}, Dice 0, {treated}")
    if overall["both_empty"]:
        lines.append(f"both empty: {overall['both_empty']}, left out of the means of Dice and HD95")
    return "\n".join(lines)


def _finite_or_none(content: object) -> object:
    """NaN and infinity are no JSON; ``outcome`` says which of them a null was."""
    if isinstance(content, Mapping):
        return {key: _finite_or_none(value) for key, value in content.items()}
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("nnunetv2-pclmix", "nnunetv2", "numpy", "scipy", "SimpleITK"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def write_report(
    evaluation: Evaluation, summary: Mapping[str, dict], settings: Mapping, out: Path
) -> None:
    """Write ``evaluation.csv`` (a row per case and class) and ``evaluation.json`` into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [score.as_row() for score in evaluation.scores]
    with (out / "evaluation.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    content = {
        "summary": _finite_or_none(summary),
        "cases": [_finite_or_none(row) for row in rows],
        "notes": dict(evaluation.notes),
        "settings": {
            **settings,
            "labels": {name: list(values) for name, values in evaluation.labels.classes.items()},
            "ignore_label": evaluation.labels.ignore,
        },
        "versions": _versions(),
    }
    write_json(content, out / "evaluation.json")
