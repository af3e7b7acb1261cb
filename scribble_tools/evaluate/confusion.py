"""Confusion of classes: of all voxels of a true class, how many are predicted as which class.

Classes may overlap, as nnU-Net's regions do ({"tumour": (1, 2), "core": (2,)}), while every voxel
of a confusion matrix stands in one row and one column. So rows and columns are the *parts* that the
classes cut the label values into: values that belong to the same classes are one part, named after
these classes ("tumour", "tumour + core"). Without overlap parts are the classes themselves. The
first part is the background: every value that belongs to no class.

With R_i and P_j the voxels of part i in the reference and of part j in the prediction, entry (i, j)
is 100 |R_i & P_j| / |R_i|, in per cent, over all voxels of all cases together. Rows add up to 100.
Large organs weigh more than small ones; the mean over cases, in which all cases weigh the same,
stands beside it in the files. Ignored voxels of the reference count nowhere.

Empty cases: a case whose reference lacks part i adds nothing to row i, and has no value in it,
whatever was predicted; what is invented stands in the rows of what it covers. A part that is never
predicted has a column of zeros, one that no reference has a row without values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.evaluate.scores import connected_components
from scribble_tools.evaluate.statistics import are_enough, bootstrap_weights, wilcoxon_p

BACKGROUND = "background"
IGNORED = -1
DECIMALS = 9  # a smaller difference is rounding


def parts_of(labels: LabelSet) -> dict[str, tuple[int, ...]]:
    """Name to label values of the parts, the background (0) first; see the module's docstring.

    >>> parts_of(LabelSet({"tumour": (1, 2), "core": (2,), "liver": (3,)}))
    {'background': (0,), 'tumour': (1,), 'tumour + core': (2,), 'liver': (3,)}
    """
    by_classes: dict[tuple[str, ...], list[int]] = {}
    for value in sorted(labels.values - {0}):
        classes = tuple(name for name, values in labels.classes.items() if value in values)
        by_classes.setdefault(classes, []).append(value)
    # in the order of the classes, as every other table
    order = {name: place for place, name in enumerate(labels.classes)}
    ordered = sorted(by_classes, key=lambda classes: [order[name] for name in classes])
    named = {" + ".join(classes): tuple(by_classes[classes]) for classes in ordered}
    # a class of this name is the user's; the rest of the image must still be told from it
    rest = BACKGROUND if BACKGROUND not in named else f"other {BACKGROUND}"
    return {rest: (0,), **named}


def part_map(
    array: np.ndarray, parts: Mapping[str, tuple[int, ...]], ignore: int | None = None
) -> np.ndarray:
    """Index of each voxel's part (*spatial): 0 background, `IGNORED` where ``array`` is ``ignore``.

    Args:
        array: integer labels (*spatial).
        parts: of `parts_of`.
    """
    pairs = sorted((value, i) for i, values in enumerate(parts.values()) for value in values)
    if ignore is not None:
        pairs = sorted({**dict(pairs), ignore: IGNORED}.items())
    values, indices = (np.array(column) for column in zip(*pairs, strict=True))
    place = np.searchsorted(values, array).clip(max=len(values) - 1)
    return np.where(values[place] == array, indices[place], 0).astype(np.int16)


def count_confusion(predicted: np.ndarray, expected: np.ndarray, num_parts: int) -> np.ndarray:
    """Voxels of each pair of parts, (num_parts true, num_parts predicted).

    Args:
        predicted, expected: `part_map` of prediction and reference, of one shape (*spatial).
    """
    known = expected != IGNORED
    pairs = expected[known].astype(np.int64) * num_parts + predicted[known]
    return np.bincount(pairs, minlength=num_parts**2).reshape(num_parts, num_parts)


def percent_of_true(counts: np.ndarray) -> np.ndarray:
    """Per cent of each row, (..., parts, parts); rows without a voxel are NaN."""
    total = counts.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 100 * counts / total, np.nan)


def confusion_of_case(
    prediction: np.ndarray, reference: np.ndarray, labels: LabelSet, keep_largest: bool = False
) -> np.ndarray:
    """Voxels of each pair of parts in one case, (parts true, parts predicted).

    Args:
        prediction, reference: integer label maps (*spatial) of one shape.
        keep_largest: as in `scores.evaluate_case`; what is beyond the largest component of a class
            no longer belongs to that class.
    """
    parts = parts_of(labels)
    predicted, expected = part_map(prediction, parts), part_map(reference, parts, labels.ignore)
    if keep_largest:
        by_values = {values: index for index, values in enumerate(parts.values())}
        classes_of = [
            {name for name, class_values in labels.classes.items() if values[0] in class_values}
            for values in by_values
        ]
        for name, values in labels.classes.items():
            box, components, sizes = connected_components(np.isin(prediction, values))
            if sizes.size < 2:
                continue
            islands = (components > 0) & (components != 1 + sizes.argmax())
            for index, classes in enumerate(classes_of):
                if name in classes:
                    without = classes - {name}
                    # background, too, where no part has just the other classes
                    left = classes_of.index(without) if without in classes_of else 0
                    predicted[box][islands & (predicted[box] == index)] = left
    return count_confusion(predicted, expected, len(parts))


def _ratios(
    counts: np.ndarray, row: int, columns: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per cent of one true part over all cases, resampled, and by case: (C,), (R, C), (cases, C).

    Args:
        counts: (cases, parts, parts).
        columns: C parts predicted; most of thousands never are.
        weights: `bootstrap_weights`, (R, cases).
    """
    of_row = counts[:, row][:, columns].astype(np.float64)
    total = counts[:, row].sum(axis=1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = 100 * of_row.sum(axis=0) / total.sum()
        resampled = 100 * (weights @ of_row) / (weights @ total)[:, None]
        by_case = np.where(total[:, None] > 0, 100 * of_row / total[:, None], math.nan)
    return pooled, resampled, by_case


def _intervals(
    resampled: np.ndarray, groups: Sequence[str], known: np.ndarray
) -> list[dict[str, float]]:
    """The 95 % interval of each column, NaN where too few groups have a value.

    Args:
        resampled: (R, C); a resample without the true part is NaN in all columns.
        known: the cases that have a value, (cases,).
    """
    resampled = resampled[np.isfinite(resampled).all(axis=1)]
    bounds = np.full((2, resampled.shape[1]), math.nan)
    if are_enough(groups, known):
        bounds = np.percentile(resampled, (2.5, 97.5), axis=0)
    return [{"ci_low": low, "ci_high": high} for low, high in bounds.T.tolist()]


def summarise_confusion(
    counts: Mapping[str, np.ndarray],
    parts: Sequence[str],
    patients: Mapping[str, str] | None = None,
) -> list[dict[str, str | int | float]]:
    """Every pair of parts that occurs, in the order of rows and columns.

    Args:
        counts: of `confusion_of_case` by case.
        parts: names of `parts_of`.
        patients: patient of every case, to resample patients and not cases.

    Returns:
        ``true`` and ``predicted``, the number of ``voxels``, ``percent`` of the true part's with
        its bootstrap 95 % interval ``ci_low`` and ``ci_high`` (NaN of too few patients),
        ``mean_of_cases`` and the number ``cases`` of those that have the true part.
    """
    table = np.array([*counts.values()])
    groups = [patients[case] if patients else case for case in counts]
    weights, rows = bootstrap_weights(groups), []
    for i, true in enumerate(parts):
        found = np.flatnonzero(table[:, i].sum(axis=0))
        pooled, resampled, by_case = _ratios(table, i, found, weights)
        known = np.isfinite(by_case).any(axis=1)
        intervals = _intervals(resampled, groups, known)
        for k, j in enumerate(found):
            rows.append(
                {
                    "true": true,
                    "predicted": parts[j],
                    "voxels": int(table[:, i, j].sum()),
                    "percent": float(pooled[k]),
                    **intervals[k],
                    "mean_of_cases": float(by_case[known, k].mean()),
                    "cases": int(known.sum()),
                }
            )
    return rows


def compare_confusion(
    counts: Mapping[str, np.ndarray],
    other: Mapping[str, np.ndarray],
    parts: Sequence[str],
    patients: Mapping[str, str] | None = None,
) -> list[dict[str, str | int | float]]:
    """Paired differences of every pair of parts that occurs on one of the two sides.

    Args:
        counts, other: by case, of the same cases in any order.
        parts, patients: see `summarise_confusion`.

    Returns:
        ``true`` and ``predicted``; per cent of both sides as ``prediction`` and ``other``;
        their ``difference`` with its bootstrap 95 % interval, in which both sides have the same
        cases; ``wilcoxon_p`` of the cases' differences (patients' means); how many cases are
        ``better`` (more that is right, less that is confused), ``worse`` and ``equal``.
    """
    first, second = np.array([*counts.values()]), np.array([other[case] for case in counts])
    groups = [patients[case] if patients else case for case in counts]
    weights, rows = bootstrap_weights(groups), []
    for i, true in enumerate(parts):
        found = np.flatnonzero((first[:, i] + second[:, i]).sum(axis=0))
        a, b = (_ratios(table, i, found, weights) for table in (first, second))
        known = np.isfinite(a[2]).any(axis=1)
        intervals = _intervals(a[1] - b[1], groups, known)
        for k, j in enumerate(found):
            by_case = (a[2][:, k] - b[2][:, k]).round(DECIMALS)
            gain = by_case if i == j else -by_case
            rows.append(
                {
                    "true": true,
                    "predicted": parts[j],
                    "prediction": float(a[0][k]),
                    "other": float(b[0][k]),
                    "difference": float(a[0][k] - b[0][k]),
                    **intervals[k],
                    "wilcoxon_p": wilcoxon_p(by_case, groups)[0],
                    "better": int((gain > 0).sum()),
                    "worse": int((gain < 0).sum()),
                    "equal": int((gain == 0).sum()),
                }
            )
    return rows


def confusion_matrix(
    rows: Sequence[Mapping], parts: Sequence[str], key: str = "percent"
) -> np.ndarray:
    """One number of `summarise_confusion` or `compare_confusion` as (parts true, parts predicted).

    Pairs that do not occur are 0, rows of parts that no reference has are NaN.
    """
    place = {name: k for k, name in enumerate(parts)}
    matrix = np.zeros((len(parts), len(parts)))
    known = {row["true"] for row in rows}
    matrix[[name not in known for name in parts]] = math.nan
    for row in rows:
        matrix[place[row["true"]], place[row["predicted"]]] = row[key]
    return matrix
