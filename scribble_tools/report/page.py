"""The report as one HTML page, and its numbers as JSON."""

from __future__ import annotations

import base64
import hashlib
import math
import textwrap
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from scribble_tools.check.findings import format_lines, group_findings
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.evaluate.comparison_picture import comparison_figure
from scribble_tools.evaluate.scores import in_unit
from scribble_tools.evaluate.summary import finite_or_none, intervals_in_words
from scribble_tools.images.units import PIXELS
from scribble_tools.report.confusion import confusion_numbers, confusion_section
from scribble_tools.report.data import Prediction, ReportData
from scribble_tools.report.figures import (
    distribution_figure,
    paired_figure,
    plot_style,
    training_figure,
)
from scribble_tools.report.names import OTHER, THIS
from scribble_tools.report.pictures import encode_figure, encode_file, svg_uri, webp_uri
from scribble_tools.report.record import record_in_words
from scribble_tools.report.rows import (
    OVERALL,
    TERM,
    cards_of,
    cases_of,
    cautions_of,
    columns_of,
    extremes_of,
    outcomes_of,
    summary_of,
)
from scribble_tools.report.tables import DISAGREEMENT, ISLANDS, VOLUME
from scribble_tools.report.training import Training
from scribble_tools.report.verdict import title_of, verdict
from scribble_tools.text_tables import interval, number

TEMPLATES = Path(__file__).parent / "templates"
FIGURE_DOTS_PER_INCH = 110
PICTURE_WIDTH, PICTURE_BYTES = 1400, 250_000  # of progress.png and the like
MOST_SNAPSHOTS = 6
MEANINGS = {
    "dice": "2 |P and R| / (|P| + |R|)",
    "hd95_mm": "95th percentile of both directions' surface distances, {unit}",
    "surface_dice": "share of both surfaces within 2 {unit} of the other",
    "volume_error_percent": "signed, of the reference's size",
    "islands": "connected components beyond the largest",
    "volume_ml": "of the prediction",
    "reference_ml": "of the reference",
    "disagreement_percent": "annotated voxels that are predicted as another class",
}


def _hash(text: str) -> str:
    """A source for the Content-Security-Policy that allows exactly this script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _figure_uri(figure: Figure | None) -> str | None:
    return None if figure is None else svg_uri(figure)


def _distribution(data: ReportData) -> str | None:
    tables = data.prediction.tables
    names = ("dice", "hd95_mm", "volume_error_percent", "islands")
    shown = {tables[name].metric: tables[name].values for name in names} if data.scored else {}
    if not data.scored:
        shown = {metric: tables[metric.name].values for metric in (DISAGREEMENT, ISLANDS, VOLUME)}
        shown = {in_unit(metric, data.unit): values for metric, values in shown.items()}
    return _figure_uri(distribution_figure(shown, data.classes))


def _confusion(data: ReportData) -> dict | None:
    if (section := confusion_section(data)) is None:
        return None
    figure, content = section
    return {**content, "figure": webp_uri(encode_figure(figure, FIGURE_DOTS_PER_INCH))}


def _comparison(data: ReportData) -> dict | None:
    if len(data.predictions) == 1:
        return None
    own, other = data.predictions
    names = (own.name, other.name)
    if data.comparison is not None:
        both = own.scores, other.scores
        drawn = comparison_figure(
            *both, data.comparison, names, unit=data.unit, sides=(THIS, OTHER)
        )
        figure = webp_uri(encode_figure(drawn, FIGURE_DOTS_PER_INCH))
        caption = "Both models' values of every case, and their differences"
    else:
        metric = data.ranking.metric
        pairs = [side.tables[metric.name].overall for side in (own, other)]
        titles = (f"{THIS}: {own.name}", f"{OTHER}: {other.name}")
        figure = _figure_uri(paired_figure(metric, *pairs, titles))
        caption = f"Every case: {THIS}'s value over {OTHER}'s; on the line they are equal"
    rows = [
        {
            "class": OVERALL if name is None else name,
            "total": name is None,
            "metric": metric.title,
            "n": numbers["n"],
            "mean": number(numbers["mean"], metric.decimals, signed=True),
            "ci": interval(numbers, metric.decimals, signed=True),
            "p": "-" if math.isnan(numbers["wilcoxon_p"]) else f"{numbers['wilcoxon_p']:.2g}",
            **{word: numbers[word] for word in ("better", "worse", "equal")},
        }
        for name, metric, numbers in data.compared
    ]
    return {
        "names": names,
        "rows": rows,
        "figure": figure,
        "caption": caption,
        "folder": str(other.folder),
        "facts": other.training.facts if other.training else {},
    }


def _grids(data: ReportData) -> list[tuple[str, str, str, str]]:
    """Median, lowest and highest of size and spacing per axis of the training images."""
    rows = []
    dimensions = min((len(size) for size, _ in data.grids), default=0)
    shown = [("size in voxels", 0, "{:.0f}"), ("spacing in mm", 1, "{:.3g}")]
    if data.unit == PIXELS:
        shown = [("size in pixels", 0, "{:.0f}")]
    for title, part, pattern in shown:
        for axis in range(dimensions):
            values = [grid[part][axis] for grid in data.grids]
            numbers = (np.median(values), min(values), max(values))
            rows.append((f"{title}, {'xyz'[axis]}", *(pattern.format(v) for v in numbers)))
    return rows


def _training(training: Training, class_names: Sequence[str]) -> dict:
    remarks = [*training.remarks]
    curves = _figure_uri(training_figure(training.series, class_names))
    pictures = [path for path in training.pictures if path.parent.name != "pclmix_snapshots"]
    snapshots = [path for path in training.pictures if path not in pictures]
    places = np.linspace(0, len(snapshots) - 1, min(len(snapshots), MOST_SNAPSHOTS)).round()
    shown = []
    for path in (*pictures, *(snapshots[int(place)] for place in places)):
        try:
            content = encode_file(path, PICTURE_WIDTH, PICTURE_BYTES)
            folder = "pclmix_snapshots/" if path in snapshots else ""
            shown.append((webp_uri(content), f"{folder}{path.name}"))
        except ValueError as error:
            remarks.append(str(error))
    last = {
        name.removeprefix(TERM).replace("_", " "): f"{values[-1]:.4g}"
        for name, values in training.series.items()
        if name.startswith(TERM) and not isinstance(values[-1], list)
    }
    if not (curves or shown or training.warnings):
        remarks.append("The model's folder has no log of the training and no picture of it.")
    return {
        "facts": training.facts,
        "curves": curves,
        "pictures": [p for p in shown if "/" not in p[1]],
        "snapshots": [p for p in shown if "/" in p[1]],
        "num_snapshots": len(snapshots),
        "last": last,
        "warnings": training.warnings,
        "settings": {
            name: f"{value:.4g}" if isinstance(value, float) else str(value)
            for name, value in training.settings.items()
        },
        "changed": training.changed,
        "remarks": remarks,
    }


def render(data: ReportData, command: str) -> str:
    """The page.

    Args:
        command: that made it, to be shown.
    """
    script, style = ((TEMPLATES / f"report.{kind}").read_text("utf-8") for kind in ("js", "css"))
    columns = columns_of(data)
    cases = cases_of(data, columns)
    training = data.prediction.training
    with plot_style():
        distribution = _distribution(data)
        confusion = _confusion(data)
        comparison = _comparison(data)
        trained = training and _training(training, data.labels.by_value)
    summary_metrics, summary = summary_of(data)
    ranked_by, extremes = extremes_of(data, cases)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = {
        "classes": [OVERALL, *data.classes],
        "columns": [
            {"title": m.title, "decimals": m.decimals, "signed": m.signed} for m, _ in columns
        ],
        "cases": [{key: c[key] for key in ("name", "values", "outcomes")} for c in cases],
    }
    return environment.get_template("report.html.j2").render(
        title=title_of(data),
        verdict=verdict(data),
        typical=data.typical
        and {
            "case": data.typical[0],
            "picture": webp_uri(data.typical[1]),
            "value": number(data.ranking.overall[data.median], data.ranking.metric.decimals),
        },
        worst_first=next(
            (k for k, (m, _) in enumerate(columns) if m.name == data.ranking.metric.name), None
        ),
        lowest_first=data.ranking.metric.better == "higher",
        folder=str(data.prediction.folder),
        command=command,
        made=datetime.now().astimezone().isoformat(" ", "minutes"),
        versions=package_versions(),
        script=script,
        style=style,
        policy=f"default-src 'none'; img-src data:; script-src {_hash(script)}; "
        f"style-src {_hash(style)}; base-uri 'none'; form-action 'none'",
        scored=data.scored,
        cards=cards_of(data),
        cautions=cautions_of(data),
        meanings={name: words.format(unit=data.unit) for name, words in MEANINGS.items()},
        summary_metrics=summary_metrics,
        summary=summary,
        resampled=data.resampled[0],
        intervals_in_words=intervals_in_words(
            dict(zip(("what", "n"), data.resampled, strict=True))
        ),
        distribution=distribution,
        confusion=confusion,
        ranked_by=ranked_by,
        extremes=extremes,
        columns=[metric for metric, _ in columns],
        cases=cases,
        has_roles=any(case["role"] for case in cases),
        has_outcomes=any(any(case["outcomes"]) for case in cases),
        classes=data.classes,
        overall=OVERALL,
        numbers=numbers,
        comparison=comparison,
        training=trained,
        check=data.check,
        findings=group_findings(data.check.findings),
        lines_to_paste=textwrap.dedent(format_lines(data.check.findings)),
        grids=_grids(data),
        num_training=len(data.grids),
        num_test=data.num_test,
        channels=data.channels,
        labels={name: ", ".join(map(str, v)) for name, v in data.labels.classes.items()},
        ignore=data.labels.ignore,
        record=record_in_words(data.record),
    )


def as_json(data: ReportData, command: str) -> dict:
    """All numbers of the report; what is not finite is None, and so is the class of a total."""

    def named(values: Sequence, overall: object) -> dict:
        return {"per_class": dict(zip(data.classes, values, strict=True)), "overall": overall}

    def of_case(row: int, prediction: Prediction) -> dict:
        return {
            name: named(table.values[row].tolist(), float(table.overall[row]))
            for name, table in prediction.tables.items()
        }

    training = data.prediction.training
    content = {
        "dataset": data.dataset.name,
        "classes": list(data.classes),
        "check": data.check.as_json(),
        "predictions": [
            {
                "title": prediction.title,
                "name": prediction.name,
                "folder": str(prediction.folder),
                "statistics": {
                    name: named(table.statistics[:-1], table.statistics[-1])
                    for name, table in prediction.tables.items()
                },
                "cases": {case: of_case(row, prediction) for row, case in enumerate(data.cases)},
                "outcomes": outcomes_of(prediction),
                "notes": dict(prediction.notes),
            }
            for prediction in data.predictions
        ],
        "roles": dict(data.roles),
        "confusion": confusion_numbers(data),
        "resampled": {"what": data.resampled[0], "n": data.resampled[1]},
        "comparison": [
            {"class": name, "metric": metric.name, **numbers}
            for name, metric, numbers in data.compared
        ],
        "training": training
        and {
            "model": training.name,
            "facts": dict(training.facts),
            "settings": dict(training.settings),
            "series": dict(training.series),
            "warnings": list(training.warnings),
        },
        "made": {
            "command": command,
            "versions": package_versions(),
            "data set": dict(data.record),
        },
    }
    return finite_or_none(content)
