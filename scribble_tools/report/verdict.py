"""What a report says first, in sentences: how good, what is weakest and wrong, better or not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from scribble_tools.report.data import Prediction, ReportData
from scribble_tools.report.names import OTHER
from scribble_tools.report.tables import DISAGREEMENT, Table
from scribble_tools.text_tables import number
from scribble_tools.wording import counted

FAR_OFF = 20  # per cent of a class's volume
BACKGROUND = "background"
MANY_ISLANDS = 1.0  # per case
PLURAL = {"validation": "validation cases", "training": "training cases", "test": "test cases"}


def what_was_predicted(data: ReportData) -> str:
    """``12 validation cases``; ``cases`` where their roles differ or are not known."""
    roles = {data.roles.get(case, "") for case in data.cases}
    words = PLURAL.get(roles.pop(), "cases") if len(roles) == 1 else "cases"
    return f"{len(data.cases)} {words if len(data.cases) > 1 else words[:-1]}"


def title_of(data: ReportData) -> str:
    """The report's title in words."""
    name = re.sub(r"^Dataset\d{3}_", "", data.dataset.name).replace("_", " ")
    own, *others = _short_names(data.predictions)
    by = f"segmented by {own}" if data.prediction.model else f"of {own}"
    against = f", compared with {others[0]}" if others else ""
    return f"{name}: {what_was_predicted(data)} {by}{against}"


def _short_names(predictions: Sequence[Prediction]) -> list[str]:
    """The trainers, if they tell models apart, and folders."""
    trainers = [prediction.model.split("__")[0] for prediction in predictions]
    told_apart = len(set(trainers)) == len(trainers)
    return [
        (trainer if told_apart else own.name) if own.model else f"the folder {own.name}"
        for trainer, own in zip(trainers, predictions, strict=True)
    ]


def _worst_class(table: Table, classes: Sequence[str]) -> str:
    """A sentence on the class that needs most work; "" where all agree."""
    means = _known_means(table, classes).values()
    if table.metric.name == "dice" and means and not any(means):
        return "Nothing of any class was found." if len(means) > 1 else "Nothing of it was found."
    if (most := _needs_most_work(table, classes)) is None:
        return ""
    return f"Weakest is {most[0]}, {number(most[1], table.metric.decimals)}."


def _known_means(table: Table, classes: Sequence[str]) -> dict[str, float]:
    """By class; what is left, the background, is none."""
    means = {name: row["mean"] for name, row in zip(classes, table.statistics[:-1], strict=True)}
    return {n: mean for n, mean in means.items() if math.isfinite(mean) and n != BACKGROUND}


def _needs_most_work(table: Table, classes: Sequence[str]) -> tuple[str, float] | None:
    """The weakest class and its mean; None where all agree."""
    means = _known_means(table, classes)
    if len({number(mean, table.metric.decimals) for mean in means.values()}) < 2:
        return None
    best_first = sorted(means, key=means.__getitem__, reverse=table.metric.better == "higher")
    return best_first[-1], means[best_first[-1]]


def _scores(data: ReportData) -> list[str]:
    table = data.ranking
    mean, metric = table.statistics[-1]["mean"], table.metric
    if not math.isfinite(mean):
        return []
    worst = data.worst_first[0]
    if metric.name == DISAGREEMENT.name:
        return _disagreement(data, mean, worst)
    what = "Mean Dice" if metric.name == "dice" else f"Mean {metric.title}"
    value = number(table.overall[worst], metric.decimals)
    return [
        f"{what} over {what_was_predicted(data)} is {number(mean, metric.decimals)}.",
        _worst_class(table, data.classes),
        f"The worst case is {data.cases[worst]}, {value}." if len(data.cases) > 1 else "",
    ]


def _disagreement(data: ReportData, mean: float, worst: int) -> list[str]:
    """What stands first without references: how far predictions follow the strokes."""
    percent = f"{_percent(mean)} of the strokes' voxels"
    most = _needs_most_work(data.ranking, data.classes)
    most = f", most of {most[0]}: {_percent(most[1])}" if most else ""
    if len(data.cases) == 1:
        return [f"{percent} in {data.cases[0]} are predicted otherwise{most}."]
    most_of_all = _percent(data.ranking.overall[worst])
    worst_case = f"The worst case is {data.cases[worst]}, {most_of_all}."
    if most_of_all == _percent(0):
        worst_case = "That is so in every case, so that their order here means nothing."
    return [
        f"On average {percent} are predicted otherwise{most} ({what_was_predicted(data)}).",
        worst_case,
    ]


def _percent(value: float) -> str:
    return f"{value:.0f} %" if value >= 10 or not value else f"{value:.1f} %"


def _faults(data: ReportData) -> list[str]:
    """What is systematically wrong, so that a reader knows what to look for."""
    said = []
    tables = data.prediction.tables
    errors = [row["mean"] for row in tables["volume_error_percent"].statistics[:-1]]
    for size, sign in (("large", 1), ("small", -1)):
        off = [
            f"{name} ({error:+.0f} %)"
            for name, error in zip(data.classes, errors, strict=True)
            if sign * error > FAR_OFF
        ]
        if off:
            said.append(f"Predicted too {size} on average: {', '.join(off)}.")
    islands = tables["islands"].statistics[-1]["mean"]
    if math.isfinite(islands) and islands >= MANY_ISLANDS:
        said.append(
            f"There are {number(islands, 1)} islands per case beyond the largest pieces: false "
            "ones, where a class is one piece."
        )
    missed = sum(score.outcome == "missed" for score in data.prediction.scores)
    if missed:
        said.append(f"A class that is there was missed altogether {counted(missed, 'time')}.")
    return said


def difference(data: ReportData) -> tuple[str, Mapping[str, float], str] | None:
    """Of the ranking metric over all classes: title, this model minus the other, and a sentence."""
    metric = data.ranking.metric
    rows = [n for name, m, n in data.compared if name is None and m.name == metric.name]
    if not rows or not math.isfinite(rows[0]["mean"]):
        return None
    numbers = rows[0]
    size = number(abs(numbers["mean"]), metric.decimals)
    gain = numbers["mean"] if metric.better == "higher" else -numbers["mean"]
    sides = np.sign([numbers["ci_low"], numbers["ci_high"]])
    pairs = counted(numbers["n"], "case")
    cases = f"better in {numbers['better']}, worse in {numbers['worse']} of {pairs}"
    if math.isnan(numbers["ci_low"]) or sides[0] * sides[1] <= 0:
        what = f"no clear difference in {metric.title} ({size} on average)"
    else:
        what = f"{'better' if gain > 0 else 'worse'} by {size} {metric.title}"
    few = f": too few {data.resampled[0]} to be sure" * math.isnan(numbers["ci_low"])
    name = data.predictions[1].name
    return metric.title, numbers, f"Against {OTHER}, {name}: {what}, {cases}{few}."


def verdict(data: ReportData) -> list[str]:
    """Sentences: how good, what is weakest, what is wrong, and how the other model compares."""
    sentences = [*_scores(data), *_faults(data)]
    if compared := difference(data):
        sentences.append(compared[2])
    return [sentence for sentence in sentences if sentence]
