"""The summary of an evaluation: a table to read, CSV, JSON and Markdown files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scribble_tools.csv_files import write_csv
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.evaluate.confusion import parts_of
from scribble_tools.evaluate.confusion_report import (
    CASE_FIELDS,
    case_rows,
    format_confusion_markdown,
)
from scribble_tools.evaluate.scores import METRICS, OUTCOMES, ClassScore, Metric, in_unit
from scribble_tools.evaluate.statistics import LEAST_GROUPS, bootstrap_weights, describe
from scribble_tools.images.units import MILLIMETRES
from scribble_tools.storage.file_sets import write_json
from scribble_tools.text_tables import interval, markdown_table, number, text_table
from scribble_tools.wording import counted

MISSING_HD95 = ("exclude", "diagonal")
OUTCOME_TITLES = ("missed", "invented", "both empty")
# what the printed table has room for; the files hold all
PRINTED = ("dice", "hd95_mm", "assd_mm", "surface_dice", "volume_error_percent", "islands")


@dataclass(frozen=True)
class Evaluation:
    """All scores, notes for the user with the cases they are about, and the labels scored.

    ``confusion`` has `confusion.confusion_of_case` of every case; ``unit`` is that of all lengths,
    see `images.units`.
    """

    scores: Sequence[ClassScore]
    notes: Mapping[str, Sequence[str]]
    labels: LabelSet
    confusion: Mapping[str, np.ndarray] = field(default_factory=dict)
    unit: str = MILLIMETRES


def value_table(
    scores: Sequence[ClassScore], metric: str, missing_hd95: str = "exclude"
) -> np.ndarray:
    """One metric of all scores as (cases, classes), in the order in which they first occur.

    NaN where there is no value; distances of a class that only one of prediction and reference has
    are NaN too, or the image's diagonal if ``missing_hd95`` is "diagonal".
    """
    cases = {case: row for row, case in enumerate(dict.fromkeys(s.case for s in scores))}
    classes = {label: column for column, label in enumerate(dict.fromkeys(s.label for s in scores))}
    table = np.full((len(cases), len(classes)), math.nan)
    for score in scores:
        value = getattr(score, metric)
        if math.isinf(value):
            value = score.diagonal_mm if missing_hd95 == "diagonal" else math.nan
        table[cases[score.case], classes[score.label]] = value
    return table


def groups_of(scores: Sequence[ClassScore], patients: Mapping[str, str] | None) -> list[str]:
    """The patient of every row of `value_table`; the case itself without ``patients``."""
    return [patients[case] if patients else case for case in dict.fromkeys(s.case for s in scores)]


def _means(statistics: Mapping[str, dict], scores: Sequence[ClassScore]) -> dict[str, float]:
    means = {name: numbers["mean"] for name, numbers in statistics.items()}
    return {
        "cases": len({score.case for score in scores}),
        "islands_per_case": means.pop("islands"),
        **means,
        "hd95_cases": statistics["hd95_mm"]["n"],
        **{outcome: sum(s.outcome == outcome for s in scores) for outcome in OUTCOMES},
    }


def summarise(
    scores: Sequence[ClassScore],
    missing_hd95: str = "exclude",
    patients: Mapping[str, str] | None = None,
) -> dict[str, dict]:
    """Means over cases for each class, and over classes, with spread and confidence intervals.

    Args:
        missing_hd95: one of `MISSING_HD95`; HD95 and ASSD are missing together.
        patients: patient of every case, to resample patients and not cases.

    Returns:
        ``{"per_class": {name: means}, "overall": means, "statistics": ..., "resampled": ...}``.
        ``overall`` holds the mean over the classes' means of every metric, and the *sum* over
        the classes of islands per case. ``hd95_cases`` is the number of values that a mean HD95
        rests on, ``overall`` those of all classes. ``statistics`` has the same two entries with
        `describe`'s numbers for every metric. ``resampled`` says whether patients or cases were
        drawn for the confidence intervals, and how many there are.

    Raises:
        ValueError: ``missing_hd95`` is neither "exclude" nor "diagonal".
    """
    if missing_hd95 not in MISSING_HD95:
        raise ValueError(f"missing_hd95 is {missing_hd95!r}; choose one of {MISSING_HD95}")
    groups = groups_of(scores, patients)
    weights = bootstrap_weights(groups)
    columns = {
        metric.name: describe(
            value_table(scores, metric.name, missing_hd95), groups, weights, metric.summed
        )
        for metric in METRICS
    }
    labels = list(dict.fromkeys(score.label for score in scores))
    *rows, all_classes = by_class(columns)
    per_class = {
        label: _means(row, [score for score in scores if score.label == label])
        for label, row in zip(labels, rows, strict=True)
    }
    overall = _means(all_classes, scores)
    overall["hd95_cases"] = sum(means["hd95_cases"] for means in per_class.values())
    return {
        "per_class": per_class,
        "overall": overall,
        "statistics": {
            "per_class": dict(zip(labels, rows, strict=True)),
            "overall": all_classes,
        },
        "resampled": {"what": "patients" if patients else "cases", "n": len(set(groups))},
    }


def intervals_in_words(resampled: Mapping) -> str:
    """How `summarise` made the confidence intervals, or why there are none."""
    number, one = resampled["n"], resampled["what"].removesuffix("s")
    if number < LEAST_GROUPS:
        few = counted(number, f"{one} is", f"{one}s are")
        return f"none, {few} too few (it takes {LEAST_GROUPS})"
    return f"by bootstrap over {counted(number, one)}"


def by_class(columns: Mapping[str, Sequence]) -> list[dict]:
    """Turn ``{metric: [class, class, ..., overall]}`` into one ``{metric: ...}`` per class."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def named_rows(summary: Mapping) -> list[tuple[str, dict]]:
    """The rows of a ``{"per_class": {name: row}, "overall": row}``, overall last."""
    return [*summary["per_class"].items(), ("overall", summary["overall"])]


def format_table(
    summary: Mapping[str, dict], missing_hd95: str = "exclude", unit: str = MILLIMETRES
) -> str:
    """The summary as text of at most 100 columns, with a line for whatever the means leave out."""
    printed = [in_unit(metric, unit) for metric in METRICS if metric.name in PRINTED]
    statistics = named_rows(summary["statistics"])
    resampled, overall = summary["resampled"], summary["overall"]
    lines = [
        text_table(
            ("mean ± SD", *(metric.title for metric in printed)),
            [
                (name, *(_mean_and_sd(row[metric.name], metric) for metric in printed))
                for name, row in statistics
            ],
        ),
        "",
        text_table(
            ("", "Dice, 95 % CI", f"HD95 {unit}, 95 % CI", "cases", *OUTCOME_TITLES),
            [
                (
                    name,
                    interval(row["dice"], 3),
                    interval(row["hd95_mm"], 2),
                    *(counts[key] for key in ("cases", "missed", "invented", "both_empty")),
                )
                for (name, row), (_, counts) in zip(statistics, named_rows(summary), strict=True)
            ],
        ),
        "",
        "overall: mean over classes; islands: sum over classes",
        f"95 % CI of the mean: {intervals_in_words(resampled)}",
    ]
    if one_sided := overall["missed"] + overall["invented"]:
        treated = (
            "left out of the means of HD95 and ASSD"
            if missing_hd95 == "exclude"
            else "in the means of HD95 and ASSD with the image's diagonal"
        )
        lines.append(f"missed or invented: {one_sided}, Dice and surface Dice 0, {treated}")
    if overall["both_empty"]:
        lines.append(f"both empty: {overall['both_empty']}, left out of all means but the islands'")
    return "\n".join(lines)


def _mean_and_sd(numbers: Mapping[str, float], metric: Metric) -> str:
    mean = number(numbers["mean"], metric.decimals, metric.signed)
    return (
        mean if math.isnan(numbers["sd"]) else f"{mean} ± {number(numbers['sd'], metric.decimals)}"
    )


def _as_set(settings: Mapping[str, object]) -> dict[str, str]:
    """The settings that are set, as text; what is as usual is in the JSON file alone."""
    shown = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):  # values of labels
            value = [f"{label}={','.join(map(str, values))}" for label, values in value.items()]
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        usual = name == "missing_hd95" and value == MISSING_HD95[0]
        if not usual and value is not None and value is not False and value != "":
            shown[name] = str(value)
    return shown


def format_markdown(summary: Mapping[str, dict], settings: Mapping[str, object]) -> str:
    """The summary as a Markdown document: settings, all statistics, empty cases."""
    resampled, unit = summary["resampled"], str(settings.get("unit", MILLIMETRES))
    titles = {name: name.replace("_mm", f"_{unit}").replace("_", " ") for name in settings}
    statistics = markdown_table(
        ("class", "score", "n", "mean", "SD", "median", "95 % CI of the mean"),
        [
            (
                name,
                in_unit(metric, unit).title,
                row[metric.name]["n"],
                number(row[metric.name]["mean"], metric.decimals, metric.signed),
                number(row[metric.name]["sd"], metric.decimals),
                number(row[metric.name]["median"], metric.decimals, metric.signed),
                interval(row[metric.name], metric.decimals, metric.signed),
            )
            for name, row in named_rows(summary["statistics"])
            for metric in METRICS
        ],
    )
    counts = markdown_table(
        ("class", "cases", *OUTCOMES),
        [
            (name, row["cases"], *(row[outcome] for outcome in OUTCOMES))
            for name, row in named_rows(summary)
        ],
    )
    return (
        "# Evaluation\n\n"
        + "".join(f"- {titles[name]}: {text}\n" for name, text in _as_set(settings).items())
        + f"- confidence intervals: {intervals_in_words(resampled)}\n"
        "- overall: mean over classes, for islands the sum; its SD, median and n are those of the "
        "cases' means (sums) over classes\n\n"
        f"{statistics}\n\n## Empty cases\n\n{counts}\n"
    )


def finite_or_none(content: object) -> object:
    """NaN and infinity are no JSON; ``outcome`` says which of them a null was."""
    if isinstance(content, Mapping):
        return {key: finite_or_none(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite_or_none(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_report(
    evaluation: Evaluation,
    summary: Mapping[str, dict],
    settings: Mapping,
    out: Path,
    files: Sequence[str],
) -> None:
    """Write ``evaluation.csv`` (a row per case and class), ``.json`` and ``.md`` into ``out``.

    And ``confusion.csv`` (a row per case and pair of classes), where ``summary`` has ``confusion``,
    `confusion.summarise_confusion`'s rows.

    Args:
        out: exists; a private folder, from which the files go to their place together.
        files: names of all files of this run, for the record.
    """
    settings = {
        **settings,
        "labels": {name: list(values) for name, values in evaluation.labels.classes.items()},
        "ignore_label": evaluation.labels.ignore,
    }
    rows = [score.as_row() for score in evaluation.scores]
    write_csv(rows, out / "evaluation.csv", list(rows[0]))
    content = {
        "summary": finite_or_none(summary),
        "cases": [finite_or_none(row) for row in rows],
        "notes": dict(evaluation.notes),
        "settings": settings,
        "versions": package_versions(),
        "files": list(files),
    }
    write_json(content, out / "evaluation.json")
    text, parts = format_markdown(summary, settings), list(parts_of(evaluation.labels))
    if "confusion" in summary:
        rows = case_rows(evaluation.confusion, parts)
        write_csv(rows, out / "confusion.csv", CASE_FIELDS)
        text += f"\n{format_confusion_markdown(summary['confusion'], parts)}"
    (out / "evaluation.md").write_text(text, encoding="utf-8", errors="backslashreplace")
