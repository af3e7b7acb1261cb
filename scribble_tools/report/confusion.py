"""The report's section on the confusion of classes: what its table and picture show."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.figure import Figure

from scribble_tools.evaluate.confusion import (
    compare_confusion,
    confusion_matrix,
    parts_of,
    summarise_confusion,
)
from scribble_tools.evaluate.confusion_picture import confusion_figure
from scribble_tools.evaluate.confusion_report import LISTED, confused
from scribble_tools.report.data import ReportData
from scribble_tools.report.names import OTHER, THIS
from scribble_tools.text_tables import interval, number

SMALL = 6  # parts of a single matrix that is read well without the page's whole width


def confusion_numbers(data: ReportData) -> dict[str, list] | None:
    """Rows of `summarise_confusion` by model, and ``difference`` of two; None without references.

    Keys are the predictions' titles and, of two models, ``difference``.
    """
    if not data.prediction.confusion:
        return None
    parts, patients = list(parts_of(data.labels)), _patients(data)
    numbers = {
        prediction.title: summarise_confusion(prediction.confusion, parts, patients)
        for prediction in data.predictions
    }
    if len(data.predictions) == 2:
        own, other = (prediction.confusion for prediction in data.predictions)
        numbers["difference"] = compare_confusion(own, other, parts, patients)
    return numbers


def _patients(data: ReportData) -> Mapping[str, str] | None:
    # as in the other tables: a case that no patient is known of stands for itself
    return {case: data.patients.get(case, case) for case in data.cases} if data.patients else None


def confusion_section(data: ReportData) -> tuple[Figure, dict] | None:
    """The picture and, for the page, rows of the largest confusions; None without references."""
    numbers = confusion_numbers(data)
    if numbers is None:
        return None
    parts, difference = list(parts_of(data.labels)), numbers.pop("difference", None)
    matrices = {title: confusion_matrix(rows, parts) for title, rows in numbers.items()}
    if difference is not None:
        named = [f"{side.title}: {side.name}" for side in data.predictions]
        matrices = dict(zip(named, matrices.values(), strict=True))
        differing = confusion_matrix(difference, parts, "difference")
        figure = confusion_figure(matrices, parts, differing, (THIS, OTHER))
    else:
        figure = confusion_figure(matrices, parts)
    found = confused(numbers[data.prediction.title], "percent")
    changes = {(row["true"], row["predicted"]): row for row in difference or ()}
    rows = []
    for row in found[:LISTED]:
        change = changes.get((row["true"], row["predicted"]))
        rows.append(
            {
                "true": row["true"],
                "predicted": row["predicted"],
                "percent": number(row["percent"], 1),
                "ci": interval(row, 1),
                "mean_of_cases": number(row["mean_of_cases"], 1),
                "cases": row["cases"],
                "other": number(change["other"] if change else math.nan, 1),
                "difference": number(change["difference"], 1, signed=True) if change else "-",
                "difference_ci": interval(change, 1, signed=True) if change else "-",
            }
        )
    return figure, {
        "rows": rows,
        "more": max(0, len(found) - LISTED),
        "compared": difference is not None,
        "small": difference is None and len(parts) <= SMALL,
        "overlap": any(" + " in part for part in parts[1:] if part not in data.labels.classes),
    }
