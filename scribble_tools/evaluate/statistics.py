"""Summaries over cases: mean, spread, bootstrap confidence interval, paired test.

Every function takes a table of values (cases, classes) in which NaN stands for "no value". Cases
of one group (the volumes of one patient) are no independent samples: the bootstrap draws groups,
each with all of its cases, and the paired test sees one mean difference per group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

RESAMPLES = 5000
SEED = 0
# The bootstrap's interval lies within the range of the values, which misses what they scatter
# around whenever all lie on one side of it: by chance in 2^(1 - n) of n groups, more than 5 % of
# five. Wilcoxon's p needs six to be below 5 %, too.
LEAST_GROUPS = 6


def bootstrap_weights(
    groups: Sequence[str], resamples: int = RESAMPLES, seed: int = SEED
) -> np.ndarray:
    """How often each case occurs in each resample: (resamples, cases), rows drawn by group.

    Args:
        groups: the group of every case; resamples hold as many groups as there are, drawn with
            replacement.
    """
    names, group_of_case = np.unique(np.asarray(groups), return_inverse=True)
    count = len(names)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    return drawn[:, group_of_case].astype(np.float64)


def are_enough(groups: Sequence[str], present: np.ndarray) -> bool:
    """Whether cases that have a value, (cases,), are of enough groups for an interval."""
    return len(set(np.asarray(groups)[present])) >= LEAST_GROUPS


def weighted_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means over cases, (resamples, classes), of ``values`` (cases, classes); NaN where none is.

    ``weights`` is (resamples, cases), such as `bootstrap_weights` gives.
    """
    present = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return (weights @ np.where(present, values, 0)) / (weights @ present.astype(np.float64))


def over_classes(values: np.ndarray, summed: bool) -> np.ndarray:
    """Mean (or sum) over the last axis of (..., classes), without NaN; NaN where all are."""
    present = np.isfinite(values)
    count, total = present.sum(axis=-1), np.where(present, values, 0).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total, math.nan) if summed else total / count


def describe(
    values: np.ndarray, groups: Sequence[str], weights: np.ndarray, summed: bool
) -> list[dict[str, float]]:
    """Statistics of each class and, last, of all classes together.

    Args:
        values: (cases, classes), NaN where a case has no value.
        groups: the group of every case.
        weights: their `bootstrap_weights`, (resamples, cases).
        summed: all classes together are their sum, else their mean.

    Returns:
        Per class ``mean``, ``sd`` (of a sample, n - 1), ``median``, ``ci_low`` and ``ci_high``
        (95 % percentile bootstrap interval of the mean; NaN if fewer than `LEAST_GROUPS` groups
        have values) and ``n``, the number of values. Of all classes together: the mean (sum) over
        classes of their means with its interval; ``sd``, ``median`` and ``n`` are those of the
        cases' means (sums) over classes.
    """
    means = weighted_means(values, np.ones((1, len(values))))
    resampled = weighted_means(values, weights)
    means, resampled, values = (
        np.column_stack((table, over_classes(table, summed)))
        for table in (means, resampled, values)
    )
    statistics = []
    for column, mean, boot in zip(values.T, means[0], resampled.T, strict=True):
        present = np.isfinite(column)
        finite, boot = column[present], boot[np.isfinite(boot)]
        low = high = math.nan
        if are_enough(groups, present):
            low, high = np.percentile(boot, (2.5, 97.5))
        statistics.append(
            {
                "mean": float(mean),
                "sd": float(finite.std(ddof=1)) if finite.size > 1 else math.nan,
                "median": float(np.median(finite)) if finite.size else math.nan,
                "ci_low": float(low),
                "ci_high": float(high),
                "n": int(finite.size),
            }
        )
    return statistics


def wilcoxon_p(differences: np.ndarray, groups: Sequence[str]) -> tuple[float, int]:
    """Two-sided p of Wilcoxon's signed-rank test on the groups' mean differences, and their number.

    ``differences`` (cases,) may hold NaN, which is left out. p is 1 if all differences are 0 and
    NaN if there is none. Zeros are left out of the ranking (Wilcoxon's own treatment).
    """
    from scipy.stats import wilcoxon  # slow to import, and only comparisons need it

    present = np.isfinite(differences)
    if not present.any():
        return math.nan, 0
    _, group_of_case = np.unique(np.asarray(groups)[present], return_inverse=True)
    means = np.bincount(group_of_case, differences[present]) / np.bincount(group_of_case)
    means = means.round(9)  # opposite differences of a group may leave a rounding error
    return float(wilcoxon(means).pvalue if means.any() else 1.0), len(means)
