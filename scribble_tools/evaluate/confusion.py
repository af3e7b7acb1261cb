"""Confusion of classes: of all voxels of a true class, how many are predicted as which class.

Classes may overlap, as nnU-Net's regions do ({"tumour": (1, 2), "core": (2,)}), while every voxel
of a confusion matrix stands in one row and one column. So rows and columns are the *parts* that the
classes cut the label values into: values that belong to the same classes are one part, named after
these classes ("tumour", "tumour + core"). Without overlap parts are the classes themselves. The
first part is the background: every value that belongs to no class.

Per case, with R_i and P_j the voxels of part i in the reference and of part j in the prediction,
entry (i, j) is 100 |R_i & P_j| / |R_i|, in per cent. Rows add up to 100. Ignored voxels of the
reference count nowhere.

Empty cases: a row is NaN in a case whose reference lacks the part, whatever was predicted (what is
invented stands in the rows of what it covers); a column of a part that is not predicted is 0.
Averaged over cases, a row rests on the cases whose reference has the part.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scribble_tools.dataset.label_set import LabelSet

BACKGROUND = "background"
IGNORED = -1


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
