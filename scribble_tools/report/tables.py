"""Metrics of all cases: tables with NaN where a case has no value, and what they say together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scribble_tools.evaluate.comparison import DECIMALS
from scribble_tools.evaluate.scores import METRICS, ClassScore, Metric, in_unit
from scribble_tools.evaluate.statistics import (
    bootstrap_weights,
    describe,
    over_classes,
    wilcoxon_p,
)
from scribble_tools.images.units import MILLIMETRES
from scribble_tools.report.cases import CaseLook

SCORED = tuple(
    metric
    for metric in METRICS
    if metric.name in ("dice", "hd95_mm", "surface_dice", "volume_error_percent")
)
DISAGREEMENT = Metric("disagreement_percent", "scribble disagreement %", "lower", 2)
ISLANDS = next(metric for metric in METRICS if metric.name == "islands")
VOLUME = Metric("volume_ml", "volume mL", "", 1, summed=True)
UNSCORED = (ISLANDS, VOLUME, DISAGREEMENT)
ComparedRow = tuple[str | None, Metric, Mapping[str, float]]


@dataclass(frozen=True)
class Table:
    """One metric of all cases, NaN where there is no value.

    Attributes:
        values: (cases, classes).
        overall: (cases,): mean or sum over the classes; of the disagreement all annotated voxels.
        statistics: `describe`'s numbers of every class and, last, of all classes together.
    """

    metric: Metric
    values: np.ndarray
    overall: np.ndarray
    statistics: Sequence[Mapping[str, float]]


def _fill(
    cases: Sequence[str], classes: Sequence[str], value_of: Callable[[str, str], float | None]
) -> np.ndarray:
    """(cases, classes) of ``value_of(case, class)``; NaN where it is None or infinite."""
    values = [[value_of(case, name) for name in classes] for case in cases]
    table = np.array([[math.nan if v is None else v for v in row] for row in values], float)
    table[np.isinf(table)] = math.nan
    return table


def make_tables(
    title: str,
    cases: Sequence[str],
    classes: Sequence[str],
    scores: Sequence[ClassScore],
    looks: Mapping[str, CaseLook],
    groups: Sequence[str],
    unit: str = MILLIMETRES,
) -> dict[str, Table]:
    """Tables of all metrics by name.

    Args:
        title: of the predictions.
        groups: patient of every case.
        unit: of lengths, see `images.units`.
    """
    weights = bootstrap_weights(groups)
    found = {case: looks[case].unscored[title] for case in cases}
    score_of = {(score.case, score.label): score for score in scores}
    tables = {}
    for metric in (*SCORED, *UNSCORED):
        if metric in SCORED:
            values = _fill(
                cases, classes, lambda c, n, m=metric: getattr(score_of.get((c, n)), m.name, None)
            )
            overall = over_classes(values, metric.summed)
            statistics = describe(values, groups, weights, metric.summed)
        else:
            values = _fill(cases, classes, lambda c, n, m=metric.name: getattr(found[c], m).get(n))
            overall = _fill(cases, [metric.name], lambda c, m: found[c].overall.get(m))
            *statistics, _ = describe(values, groups, weights, metric.summed)
            statistics.append(describe(overall, groups, weights, metric.summed)[0])
            overall = overall[:, 0]
        tables[metric.name] = Table(in_unit(metric, unit), values, overall, statistics)
    return tables


def compare_tables(
    table: Table, other: Table, classes: Sequence[str], groups: Sequence[str]
) -> list[ComparedRow]:
    """Paired differences of a metric that is better the lower it is, as `compare` makes them."""
    columns = [*zip(table.values.T, other.values.T, strict=True), (table.overall, other.overall)]
    weights = bootstrap_weights(groups)
    rows = []
    for name, (a, b) in zip((*classes, None), columns, strict=True):
        difference = (a - b).round(DECIMALS)
        numbers = dict(describe(difference[:, None], groups, weights, False)[0])
        numbers["wilcoxon_p"], numbers["wilcoxon_n"] = wilcoxon_p(difference, groups)
        numbers["better"] = int((difference < 0).sum())
        numbers["worse"] = int((difference > 0).sum())
        numbers["equal"] = int((difference == 0).sum())
        if numbers["n"]:
            rows.append((name, table.metric, numbers))
    return rows
