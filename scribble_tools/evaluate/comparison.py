"""Two sets of predictions of the same cases, compared pair by pair.

A difference is the first prediction's score minus the other's. Volume errors are compared by their
absolute values. A pair of which one side has no value (see `scores`: HD95 and ASSD of
a class that was missed or invented, most of all) has no difference: it enters neither mean nor
test and is counted as ``only_prediction``, ``only_other`` or ``neither``, after who has a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from scribble_tools.csv_files import write_csv
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.evaluate.confusion import parts_of
from scribble_tools.evaluate.confusion_report import (
    format_confusion_difference,
    format_confusion_difference_markdown,
    paired_case_rows,
)
from scribble_tools.evaluate.pairs import DECIMALS, match_scores, paired_tables
from scribble_tools.evaluate.scores import METRICS, ClassScore, Metric, in_unit
from scribble_tools.evaluate.statistics import (
    bootstrap_weights,
    describe,
    over_classes,
    wilcoxon_p,
)
from scribble_tools.evaluate.summary import (
    PRINTED,
    Evaluation,
    by_class,
    finite_or_none,
    groups_of,
    intervals_in_words,
    named_rows,
)
from scribble_tools.images.units import MILLIMETRES
from scribble_tools.storage.file_sets import write_json
from scribble_tools.text_tables import interval, markdown_table, number, text_table

LACKING = ("only_prediction", "only_other", "neither")


def _counts(metric: Metric, differences: np.ndarray) -> dict[str, int]:
    gain = differences if metric.better == "higher" else -differences
    return {
        "better": int((gain > 0).sum()),
        "worse": int((gain < 0).sum()),
        "equal": int((gain == 0).sum()),
    }


def compare(
    scores: Sequence[ClassScore],
    other: Sequence[ClassScore],
    missing_hd95: str = "exclude",
    patients: Mapping[str, str] | None = None,
) -> dict[str, dict]:
    """Paired differences ``scores`` minus ``other`` for each class and over all of them.

    Args:
        other: scores of the same cases and classes, in any order.
        missing_hd95: "diagonal" gives the pairs that lack a distance the image's diagonal.
        patients: patient of every case: intervals and test then rest on patients.

    Returns:
        ``{"per_class": {name: {metric: numbers}}, "overall": {metric: numbers}, "resampled": ...}``
        Numbers are `describe`'s of the differences, ``wilcoxon_p`` with the number ``wilcoxon_n``
        of differences tested (patients' means if patients are known), how many cases are
        ``better``, ``worse`` and ``equal``, and the pairs without a difference. ``overall``
        rests on each case's mean difference (islands: sum) over classes.

    Raises:
        ValueError: see `match_scores`.

    Example:
        Two models on the same case, of which the first finds one pixel more:

        >>> import numpy as np
        >>> from scribble_tools.dataset.label_set import LabelSet
        >>> from scribble_tools.evaluate.scores import evaluate_case
        >>> labels, reference = LabelSet({"organ": (1,)}), np.array([[0, 1, 1, 0]])
        >>> good, poor = (
        ...     evaluate_case("anna", np.array([row]), reference, (1, 1), labels)
        ...     for row in ([0, 1, 1, 0], [0, 1, 0, 0])
        ... )
        >>> round(compare(good, poor)["overall"]["dice"]["mean"], 3)
        0.333
    """
    scores, other = match_scores(scores, other)
    groups = groups_of(scores, patients)
    weights = bootstrap_weights(groups)
    columns = {}
    for metric in METRICS:
        a, b, difference = paired_tables(scores, other, metric, missing_hd95)
        has_a, has_b = np.isfinite(a), np.isfinite(b)
        lacking = [
            [*table.sum(axis=0).tolist(), int(table.sum())]
            for table in (has_a & ~has_b, has_b & ~has_a, ~has_a & ~has_b)
        ]
        numbers = describe(difference, groups, weights, metric.summed)
        together = over_classes(difference, metric.summed).round(DECIMALS)
        difference = np.column_stack((difference, together))
        for row, column, *lack in zip(numbers, difference.T, *lacking, strict=True):
            row["wilcoxon_p"], row["wilcoxon_n"] = wilcoxon_p(column, groups)
            row |= _counts(metric, column)
            row |= dict(zip(LACKING, lack, strict=True))
        columns[metric.name] = numbers
    labels = dict.fromkeys(score.label for score in scores)
    *rows, overall = by_class(columns)
    return {
        "per_class": dict(zip(labels, rows, strict=True)),
        "overall": overall,
        "resampled": {"what": "patients" if patients else "cases", "n": len(set(groups))},
    }


def paired_rows(
    scores: Sequence[ClassScore], other: Sequence[ClassScore], missing_hd95: str = "exclude"
) -> list[dict[str, str | float]]:
    """One row per case, class and metric, for the CSV file."""
    scores, other = match_scores(scores, other)
    cases, labels = (dict.fromkeys(getattr(s, key) for s in scores) for key in ("case", "label"))
    tables = {m.name: paired_tables(scores, other, m, missing_hd95) for m in METRICS}
    return [
        {
            "case": case,
            "label": label,
            "metric": name,
            **{
                key: float(table[row, column])
                for key, table in zip(("prediction", "other", "difference"), triple, strict=True)
            },
        }
        for row, case in enumerate(cases)
        for column, label in enumerate(labels)
        for name, triple in tables.items()
    ]


HEADER = ("class", "score", "pairs", "mean", "95 % CI", "p", "better", "worse", "equal")


def _cells(comparison: Mapping[str, dict], unit: str) -> list[tuple]:
    return [
        (
            name,
            in_unit(metric, unit).title,
            row["n"],
            number(row["mean"], metric.decimals, signed=True),
            interval(row, metric.decimals, signed=True),
            "-" if math.isnan(row["wilcoxon_p"]) else f"{row['wilcoxon_p']:.2g}",
            row["better"],
            row["worse"],
            row["equal"],
            *(row[key] for key in LACKING),
        )
        for name, metrics in named_rows(comparison)
        for metric in METRICS
        for row in (metrics[metric.name],)
    ]


def _remarks(comparison: Mapping[str, dict]) -> list[str]:
    resampled = comparison["resampled"]
    hd95 = comparison["overall"]["hd95_mm"]
    lines = [
        "Volume errors are compared by their absolute values. "
        "Overall: mean over classes, of islands the sum.",
        f"95 % CI of the mean: {intervals_in_words(resampled)}; p by Wilcoxon's",
        f"signed-rank test on {resampled['what']}, not corrected for the number of comparisons.",
    ]
    if any(hd95[key] for key in LACKING):
        lines.append(
            f"Pairs left out of HD95 and ASSD: {hd95['only_prediction']} have a value only in "
            f"PRED, {hd95['only_other']} only in OTHER, {hd95['neither']} in neither."
        )
    return lines


def format_comparison(comparison: Mapping[str, dict], unit: str = MILLIMETRES) -> str:
    """The comparison as text of at most 100 columns, with what has room."""
    titles = {in_unit(metric, unit).title for metric in METRICS if metric.name in PRINTED}
    rows = [row[: len(HEADER)] for row in _cells(comparison, unit) if row[1] in titles]
    lines = [text_table(HEADER, rows), "", *_remarks(comparison)]
    if "confusion" in comparison:
        lines += ["", "Confusion of classes:", format_confusion_difference(comparison["confusion"])]
    return "\n".join(lines)


def format_comparison_markdown(
    comparison: Mapping[str, dict], names: tuple[str, str], unit: str = MILLIMETRES
) -> str:
    """The comparison as a Markdown document, with all scores."""
    header = (*HEADER, "only PRED has a value", "only OTHER", "neither")
    text = (
        f"# Comparison\n\nPRED, {names[0]}, minus OTHER, {names[1]}.\n\n"
        f"{markdown_table(header, _cells(comparison, unit))}\n\n"
        + "\n".join(_remarks(comparison))
        + "\n"
    )
    if "confusion" in comparison:
        text += f"\n{format_confusion_difference_markdown(comparison['confusion'])}"
    return text


def distinct_names(first: Path, second: Path) -> tuple[str, str]:
    """The last part of each path in which they differ, to tell two predictions apart by."""
    parts = [path.absolute().parts[::-1] for path in (first, second)]
    pairs = zip_longest(*parts, fillvalue="")
    return next((pair for pair in pairs if pair[0] != pair[1]), (first.name, second.name))


def write_comparison(
    evaluation: Evaluation,
    other: Evaluation,
    comparison: Mapping[str, dict],
    settings: Mapping[str, object],
    names: tuple[str, str],
    out: Path,
) -> None:
    """Write comparison.csv (a row per case, class and score), .json, .md and .png into ``out``.

    Args:
        comparison: of `compare`; with `confusion.compare_confusion`'s rows as ``confusion``, if
            the evaluations know it.
    """
    # matplotlib is slow to import, and the processes that score import this module
    from scribble_tools.evaluate.comparison_picture import comparison_figure

    missing_hd95 = str(settings["missing_hd95"])
    rows = paired_rows(evaluation.scores, other.scores, missing_hd95)
    if evaluation.confusion:
        parts = list(parts_of(evaluation.labels))
        rows += paired_case_rows(evaluation.confusion, other.confusion, parts)
    write_csv(rows, out / "comparison.csv", list(rows[0]))
    content = {
        "comparison": finite_or_none(comparison),
        "other_notes": dict(other.notes),
        "settings": dict(settings),
        "versions": package_versions(),
    }
    write_json(content, out / "comparison.json")
    text = format_comparison_markdown(comparison, names, evaluation.unit)
    (out / "comparison.md").write_text(text, encoding="utf-8", errors="backslashreplace")
    sides = (evaluation.scores, other.scores)
    figure = comparison_figure(*sides, comparison, names, missing_hd95, evaluation.unit)
    figure.savefig(out / "comparison.png")
