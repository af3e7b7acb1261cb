"""The confusion of classes as text, CSV and picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scribble_tools.dataset.writing import written_atomically
from scribble_tools.evaluate.confusion import confusion_matrix, percent_of_true
from scribble_tools.text_tables import interval, markdown_table, number, text_table

MATRIX_WIDTH = 100  # columns of text; wider matrices are printed as a list
LISTED = 10  # of the largest confusions, where they are printed
SMALLEST = 0.05  # per cent; less is 0.0 in the list
MEANING = "Of all voxels of a true class (row), per cent that are predicted as each class (column)."


def confused(rows: Sequence[Mapping], *keys: str) -> list[Mapping]:
    """The rows of two different parts, largest first; what rounds to 0.0 is left out.

    Args:
        keys: numbers of a row, of which the largest counts.
    """
    off = [row for row in rows if row["true"] != row["predicted"]]
    large = [row for row in off if max(abs(row[key]) for key in keys) >= SMALLEST]
    return sorted(large, key=lambda row: -max(abs(row[key]) for key in keys))


def _matrix_cells(rows: Sequence[Mapping], parts: Sequence[str], key: str) -> list[list[str]]:
    matrix, signed = confusion_matrix(rows, parts, key), key == "difference"
    return [
        [name, *(number(value, 1, signed) for value in line)]
        for name, line in zip(parts, matrix, strict=True)
    ]


def _short(names: Sequence[str], width: int = 14) -> list[str]:
    return [name if len(name) <= width else f"{name[: width - 2]}.." for name in names]


def _text_matrix(rows: Sequence[Mapping], parts: Sequence[str], key: str) -> str | None:
    """The matrix, or None if it is too wide for a terminal."""
    header = ("true", *_short(parts))
    if 14 + sum(max(6, len(name)) + 2 for name in header[1:]) > MATRIX_WIDTH:
        return None
    return text_table(header, _matrix_cells(rows, parts, key), MATRIX_WIDTH)


def _list(rows: Sequence[Mapping]) -> list[tuple]:
    return [
        (
            f"{row['true']} as {row['predicted']}",
            number(row["percent"], 1),
            interval(row, 1),
            number(row["mean_of_cases"], 1),
            row["cases"],
        )
        for row in rows
    ]


CASE_FIELDS = ("case", "true", "predicted", "voxels", "percent")
LIST_HEADER = ("true as predicted", "%", "95 % CI", "mean of cases", "cases")


def format_confusion(rows: Sequence[Mapping], parts: Sequence[str]) -> str:
    """Text of at most 100 columns: the matrix where it fits, then the largest confusions."""
    lines = [MEANING, ""]
    if matrix := _text_matrix(rows, parts, "percent"):
        lines += [matrix, ""]
    found = confused(rows, "percent")
    lines.append(text_table(LIST_HEADER, _list(found[:LISTED])) if found else "None is confused.")
    if len(found) > LISTED:
        lines.append(f"and {len(found) - LISTED} smaller ones")
    return "\n".join(lines)


def format_confusion_markdown(rows: Sequence[Mapping], parts: Sequence[str]) -> str:
    """A section for a Markdown document: the matrix, and all confusions with their intervals."""
    matrix = markdown_table(("true", *parts), _matrix_cells(rows, parts, "percent"))
    listed = markdown_table(LIST_HEADER, _list(confused(rows, "percent")))
    return f"## Confusion of classes\n\n{MEANING}\n\n{matrix}\n\n{listed}\n"


DIFFERENCE_HEADER = (
    *("true as predicted", "PRED %", "OTHER %", "difference", "95 % CI", "p"),
    *("better", "worse", "equal"),
)


def _difference_cells(rows: Sequence[Mapping]) -> list[tuple]:
    return [
        (
            f"{row['true']} as {row['predicted']}",
            number(row["prediction"], 1),
            number(row["other"], 1),
            number(row["difference"], 1, signed=True),
            interval(row, 1, signed=True),
            "-" if math.isnan(row["wilcoxon_p"]) else f"{row['wilcoxon_p']:.2g}",
            row["better"],
            row["worse"],
            row["equal"],
        )
        for row in rows
    ]


def format_confusion_difference(rows: Sequence[Mapping]) -> str:
    """Text of at most 100 columns: the largest confusions of either side, and the differences."""
    found = confused(rows, "prediction", "other")
    if not found:
        return "No class is confused on either side."
    text = text_table(DIFFERENCE_HEADER, _difference_cells(found[:LISTED]))
    return text + f"\nand {len(found) - LISTED} smaller ones" * (len(found) > LISTED)


def format_confusion_difference_markdown(rows: Sequence[Mapping]) -> str:
    """A section for a Markdown document, with what is right as well."""
    right = [row for row in rows if row["true"] == row["predicted"]]
    shown = [*right, *confused(rows, "prediction", "other")]
    table = markdown_table(DIFFERENCE_HEADER, _difference_cells(shown))
    return f"## Confusion of classes\n\n{MEANING}\n\n{table}\n"


def case_rows(
    counts: Mapping[str, np.ndarray], parts: Sequence[str]
) -> list[dict[str, str | int | float]]:
    """For CSV: a row per case, true part that it has, and part that is predicted somewhere there.

    A case without any annotated voxel has no row.
    """
    rows = []
    for case, table in counts.items():
        percent = percent_of_true(table)
        for i, j in np.argwhere(table).tolist():
            row = (case, parts[i], parts[j], int(table[i, j]), round(float(percent[i, j]), 4))
            rows.append(dict(zip(CASE_FIELDS, row, strict=True)))
    return rows


def paired_case_rows(
    counts: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], parts: Sequence[str]
) -> list[dict[str, str | float]]:
    """Rows as `comparison.paired_rows` makes them, of the pairs that occur in either prediction."""
    rows = []
    for case, table in counts.items():
        a, b = percent_of_true(table), percent_of_true(other[case])
        rows += [
            {
                "case": case,
                "label": parts[i],
                "metric": f"percent predicted as {parts[j]}",
                "prediction": float(a[i, j]),
                "other": float(b[i, j]),
                "difference": float(a[i, j] - b[i, j]),
            }
            for i, j in np.argwhere(table + other[case]).tolist()
        ]
    return rows


def write_confusion_picture(
    matrices: Mapping[str, Sequence[Mapping]],
    difference: Sequence[Mapping] | None,
    parts: Sequence[str],
    path: Path,
) -> None:
    """Write `confusion_picture.confusion_figure`, all or nothing."""
    # matplotlib is slow to import, and the processes that score import this module
    from scribble_tools.evaluate.confusion_picture import confusion_figure

    figure = confusion_figure(
        {title: confusion_matrix(rows, parts) for title, rows in matrices.items()},
        parts,
        None if difference is None else confusion_matrix(difference, parts, "difference"),
    )
    with written_atomically(path) as temporary:
        figure.savefig(temporary)
