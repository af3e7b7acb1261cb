"""Scores of two predictions, matched by case and class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scribble_tools.evaluate.scores import ClassScore, Metric
from scribble_tools.evaluate.summary import value_table

DECIMALS = 9  # a smaller difference is rounding, not one prediction better than the other


def match_scores(
    scores: Sequence[ClassScore], other: Sequence[ClassScore]
) -> tuple[Sequence[ClassScore], list[ClassScore]]:
    """``scores``, and the scores of ``other`` in the same order of cases and classes.

    Raises:
        ValueError: a case or class is on one side only; the message lists all of them.
    """
    own, others = ({(s.case, s.label): s for s in side} for side in (scores, other))
    if alone := [
        f"{case}, class {label}: only in the {where}"
        for keys, where in (
            (own.keys() - others.keys(), "prediction"),
            (others.keys() - own.keys(), "one it is compared with"),
        )
        for case, label in sorted(keys)
    ]:
        raise ValueError("\n".join(["the same cases are needed on both sides:", *alone]))
    return scores, [others[key] for key in own]


def paired_tables(
    scores: Sequence[ClassScore],
    other: Sequence[ClassScore],
    metric: Metric,
    missing_hd95: str = "exclude",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, the other's values and differences of matched scores, each (cases, classes)."""
    a, b = (value_table(side, metric.name, missing_hd95) for side in (scores, other))
    difference = abs(a) - abs(b) if metric.better == "nearer 0" else a - b
    return a, b, difference.round(DECIMALS)
