"""The numbers of `band.py` over all cases, and how they are printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from band_cases import MEAN, Key
from band_measures import CORRECTIONS, NOTHING, Ratio

from scribble_tools.evaluate.confusion import percent_of_true
from scribble_tools.text_tables import number, text_table


def summarise(
    measured: Sequence[Mapping[Key, Ratio]], weights: np.ndarray
) -> dict[Key, dict[str, object]]:
    """Each measure over all cases.

    Args:
        measured: of every case.
        weights: `bootstrap_weights` of their patients, (resamples, cases).

    Returns:
        ``value`` (NaN without anything to measure), ``resampled`` (resamples,), ``cases`` (cases,).
    """
    summary = {}
    for key in dict.fromkeys(key for case in measured for key in case):
        ratios = np.array([case.get(key, NOTHING) for case in measured], float)
        with np.errstate(invalid="ignore", divide="ignore"):
            total = ratios.sum(axis=0)
            resampled = (weights @ ratios[:, 0]) / (weights @ ratios[:, 1])
            summary[key] = {
                "value": float(np.divide(*total)),
                "resampled": resampled,
                "cases": ratios[:, 0] / ratios[:, 1],
            }
    return summary


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of resampled values; NaN if they are all the same, as of one patient."""
    finite = resampled[np.isfinite(resampled)]
    if not finite.size:
        return math.nan, math.nan
    low, high = np.percentile(finite, (2.5, 97.5))
    return float(low), float(high)


def with_interval(value: float, resampled: np.ndarray, decimals: int, signed: bool) -> str:
    """A cell of a table: ``15.8 [14.1, 17.2]``."""
    if not math.isfinite(value):
        return "-"
    low, high = interval(resampled)
    bounds = ", ".join(number(bound, decimals, signed) for bound in (low, high))
    return f"{number(value, decimals, signed)} [{bounds}]"


def print_pair(topic: str, summaries: Mapping[str, Mapping[Key, dict]]) -> None:
    """Everything about one pair, a column for each model, and their difference if there are two."""
    models = list(summaries)
    header, rows = [topic, *models], []
    if len(models) == 2:
        header.append(f"{models[0]} - {models[1]}")
    for key, first in summaries[models[0]].items():
        if key[0] != topic or not any(math.isfinite(s[key]["value"]) for s in summaries.values()):
            continue
        _, what, unit, dimension = key
        decimals = 1 if unit == "%" else 2
        signed = what.startswith("outline") and "absolute" not in what
        cells = [
            with_interval(s[key]["value"], s[key]["resampled"], decimals, signed)
            for s in summaries.values()
        ]
        if len(models) == 2:
            second = summaries[models[1]][key]
            gain = first["value"] - second["value"]
            cells.append(
                with_interval(gain, first["resampled"] - second["resampled"], decimals, True)
            )
        rows.append([f"{what}, {unit}" + f", {dimension}D" * bool(dimension), *cells])
    print(f"\n{text_table(header, rows, 160)}")


def print_oracles(
    names: Sequence[str], summary: Mapping[Key, dict], dimensions: Sequence[int]
) -> None:
    """Dice before, and what each correction adds to it."""
    for topic in dict.fromkeys(key[0] for key in summary if key[0].endswith(" corrected")):
        for dimension in dimensions:
            dice = {
                correction: [
                    summary[topic, f"{correction}: Dice {name}", "", dimension]["value"]
                    for name in (*names[1:], MEAN)
                ]
                for correction in CORRECTIONS
                if (topic, f"{correction}: Dice {MEAN}", "", dimension) in summary
            }
            if dice:
                rows = [
                    [correction, *(number(value, 3) for value in values)]
                    for correction, values in dice.items()
                ]
                title = f"{topic}, {dimension}D, Dice"
                print(f"\n{text_table((title, *names[1:], MEAN), rows, 160)}")


def print_confusion(names: Sequence[str], counts: np.ndarray) -> None:
    """Confusion in per cent of all voxels of all cases, and the mean volume error of a case.

    Args:
        counts: (cases, parts, parts).
    """
    percent, errors = percent_of_true(counts.sum(axis=0)), volume_errors(counts)
    rows = []
    for k, name in enumerate(names):
        error = "" if k == 0 else number(mean_without_nan(errors[:, k]), 1, signed=True)
        rows.append([name, *(number(value, 1) for value in percent[k]), error])
    print(text_table(("true, % predicted as", *names, "volume error %"), rows, 160))


def volume_errors(counts: np.ndarray) -> np.ndarray:
    """Volume error in per cent, (cases, parts); NaN where the reference lacks the part."""
    expected = counts.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 100 * (counts.sum(axis=1) - expected) / expected, np.nan)


def mean_without_nan(values: np.ndarray) -> float:
    """The mean of what is finite, or NaN."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan


def rounded(value: object) -> object:
    """Numbers short enough to read, None for what is not finite, of anything nested."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
