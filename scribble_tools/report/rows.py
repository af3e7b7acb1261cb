"""What the page says of cases and of all of them together, as rows, cells and cards of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from scribble_tools.evaluate.scores import Metric, in_unit
from scribble_tools.report.data import Prediction, ReportData
from scribble_tools.report.names import OTHER, THIS
from scribble_tools.report.pictures import webp_uri
from scribble_tools.report.tables import ISLANDS, SCORED, UNSCORED, VOLUME
from scribble_tools.report.verdict import difference
from scribble_tools.text_tables import interval, number
from scribble_tools.wording import counted

OVERALL = "all classes"
TERM = "pclmix_"  # begins the names of PCLMix's series in nnU-Net's logger
AGREEMENT = f"{TERM}decoder_agreement"
REFERENCE_VOLUME = Metric("reference_ml", "reference mL", "", 1)


def outcomes_of(prediction: Prediction) -> dict[str, dict[str, str]]:
    """By case and class what is special about it: missed, invented, or empty in both."""
    found: dict[str, dict[str, str]] = {}
    for score in prediction.scores:
        if score.outcome != "scored":
            found.setdefault(score.case, {})[score.label] = score.outcome.replace("_", " ")
    return found


def _reference_volumes(data: ReportData) -> np.ndarray:
    """(cases, classes) in mL or square pixels, NaN where there is no reference."""
    table = np.full((len(data.cases), len(data.classes)), math.nan)
    rows = {case: row for row, case in enumerate(data.cases)}
    for score in data.prediction.scores:
        volume = score.reference_voxels * data.looks[score.case].voxel_ml
        table[rows[score.case], data.classes.index(score.label)] = volume
    return table


def columns_of(data: ReportData) -> list[tuple[Metric, np.ndarray]]:
    """Metrics of the table of cases with their values (cases, 1 + classes), overall first."""
    tables = data.prediction.tables
    columns = [
        (
            in_unit(metric, data.unit),
            np.column_stack((tables[metric.name].overall, tables[metric.name].values)),
        )
        for metric in (*SCORED, replace(ISLANDS, decimals=0), *UNSCORED[1:])
    ]
    if data.scored:
        values = _reference_volumes(data)
        total = np.full(len(values), math.nan)
        if np.isfinite(tables["volume_ml"].overall).any():  # not of regions inside each other
            total = np.where(np.isfinite(values).any(axis=1), np.nansum(values, axis=1), math.nan)
        place = next(k for k, (m, _) in enumerate(columns) if m.name == VOLUME.name)
        columns.insert(
            place + 1, (in_unit(REFERENCE_VOLUME, data.unit), np.column_stack((total, values)))
        )
    return [(metric, values) for metric, values in columns if np.isfinite(values).any()]


def cases_of(data: ReportData, columns: Sequence[tuple[Metric, np.ndarray]]) -> list[dict]:
    """Rows of the table of cases, the worst first, with pictures and values."""
    outcomes = outcomes_of(data.prediction)
    rows = []
    for row in data.worst_first:
        case = data.cases[row]
        look, special = data.looks[case], outcomes.get(case, {})
        rows.append(
            {
                "name": case,
                "role": data.roles.get(case, ""),
                "thumbnail": webp_uri(look.thumbnail),
                "sheet": webp_uri(look.sheet),
                "cells": [number(v[row, 0], m.decimals, m.signed) for m, v in columns],
                "values": [
                    [None if math.isnan(x) else round(float(x), 4) for x in v[row]]
                    for _, v in columns
                ],
                "outcomes": [
                    "; ".join(f"{name} {word}" for name, word in special.items()),
                    *(special.get(name, "") for name in data.classes),
                ],
            }
        )
    return rows


def summary_of(data: ReportData) -> tuple[list[Metric], list[dict]]:
    """Rows of classes, last all together, with mean, spread and interval of every metric."""
    tables = [
        table
        for metric in (*SCORED, *UNSCORED)
        if np.isfinite((table := data.prediction.tables[metric.name]).overall).any()
        or np.isfinite(table.values).any()
    ]
    rows = []
    for k, name in enumerate((*data.classes, OVERALL)):
        cells = []
        for table in tables:
            numbers, metric = table.statistics[k], table.metric
            mean = number(numbers["mean"], metric.decimals, metric.signed)
            spread = "" if math.isnan(numbers["sd"]) else number(numbers["sd"], metric.decimals)
            between = interval(numbers, metric.decimals, metric.signed)
            cells.append({"mean": mean, "sd": spread, "ci": between, "n": numbers["n"]})
        rows.append({"name": name, "cells": cells})
    return [table.metric for table in tables], rows


def extremes_of(data: ReportData, cases: Sequence[Mapping]) -> tuple[Metric, list[dict]]:
    """Worst, median and best case, of ``cases`` in that order."""
    table = data.ranking
    values = dict(zip(data.cases, table.overall, strict=True))
    known = [case for case in cases if math.isfinite(values[case["name"]])]
    places = {"worst": 0, "median": len(known) // 2, "best": len(known) - 1}
    chosen: dict[int, str] = {}
    for word, place in places.items():
        chosen[place] = f"{chosen[place]} and {word}" if place in chosen else word
    return table.metric, [
        {
            "word": word,
            "value": number(values[known[place]["name"]], table.metric.decimals),
            "index": cases.index(known[place]),
            **known[place],
        }
        for place, word in chosen.items()
    ]


def cards_of(data: ReportData) -> list[tuple[str, str, str]]:
    """Title, value and detail of the numbers that stand first."""
    tables = data.prediction.tables
    cards = [("cases", str(len(data.cases)), _counted(data.roles.values()))]
    for name, title in (
        ("dice", "mean Dice"),
        ("hd95_mm", f"mean HD95, {data.unit}"),
        ("disagreement_percent", "disagreement with scribbles, %"),
        ("islands", "islands per case"),
    ):
        numbers, metric = tables[name].statistics[-1], tables[name].metric
        if math.isfinite(numbers["mean"]):
            between = interval(numbers, metric.decimals)
            detail = "" if between == "-" else f"95 % CI {between}"
            cards.append((title, number(numbers["mean"], metric.decimals), detail))
    if compared := difference(data):
        title, numbers, _ = compared
        metric = data.ranking.metric
        between = interval(numbers, metric.decimals, signed=True)
        detail = "" if between == "-" else f"95 % CI {between}"
        cards.append(
            (
                f"{title}, {THIS} minus {OTHER}",
                number(numbers["mean"], metric.decimals, signed=True),
                detail,
            )
        )
    training = data.prediction.training
    if not data.scored and training and (agreement := training.series.get(AGREEMENT)):
        percent = number(100 * (1 - agreement[-1]), 2)
        cards.append(("decoders disagree, % of voxels", percent, "training, last epoch"))
    return cards


def _counted(words: Sequence[str]) -> str:
    words = [word for word in words if word]
    return ", ".join(f"{words.count(word)} {word}" for word in sorted(set(words), reverse=True))


def unfinished_of(data: ReportData) -> list[str]:
    """A sentence for each model whose training has not ended."""
    return [
        p.training.unfinished if p is data.prediction else f"{p.name}: {p.training.unfinished}"
        for p in data.predictions
        if p.training and p.training.unfinished
    ]


def cautions_of(data: ReportData) -> list[str]:
    """What a reader has to know before believing the numbers."""
    cautions = []
    if trained := [case for case, role in data.roles.items() if role == "training"]:
        cautions.append(
            f"{counted(len(trained), 'of these cases was', 'of these cases were')} trained on in "
            f"this fold ({trained[0]}, for example). Their numbers say nothing about new images."
        )
    cautions += unfinished_of(data)
    if not data.scored:
        cautions.append(
            "There are no dense references. What can be known without them is shown: where "
            "predictions disagree with scribbles, islands, and how large each class is. None of it "
            "is a Dice; look at the pictures, the worst cases first."
        )
    elif missing := len(data.cases) - len({score.case for score in data.prediction.scores}):
        of = counted(len(data.cases), "case")
        cautions.append(f"Without reference, and not scored: {missing} of {of}.")
    for note, about in data.prediction.notes.items():
        cautions.append(f"{note}: {about[0]}" + f" and {len(about) - 1} more" * (len(about) > 1))
    return cautions
