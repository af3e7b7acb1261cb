"""Gathering what a report shows: data set, predictions, scores, another model's scores, training.

Two kinds of metrics: those that need a dense reference (`scores`), and those that do
not (`cases.Unscored`). The tables of both have a row for every case and NaN where a case has
no value, such as the Dice of a case without reference.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from scribble_tools.check.annotations import classes_of
from scribble_tools.check.command import check_dataset
from scribble_tools.check.findings import Report
from scribble_tools.check.splits import patients_of
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.dataset.raw import FILE, SPLITS, RawDataset
from scribble_tools.dataset.writing import read_splits
from scribble_tools.draw.preview import find_case_files
from scribble_tools.draw.shown_case import ShownFiles
from scribble_tools.evaluate.command import evaluate_folders
from scribble_tools.evaluate.comparison import compare
from scribble_tools.evaluate.occurring import occurring, refuse_images
from scribble_tools.evaluate.scores import ClassScore, in_unit
from scribble_tools.images.image_files import files_in
from scribble_tools.images.image_io import image_grid
from scribble_tools.images.units import MILLIMETRES
from scribble_tools.parallel import parallel_map
from scribble_tools.report.cases import CaseLook, draw_strip, look_at
from scribble_tools.report.names import column_titles, model_of, names_of
from scribble_tools.report.tables import (
    DISAGREEMENT,
    ISLANDS,
    SCORED,
    ComparedRow,
    Table,
    compare_tables,
    make_tables,
)
from scribble_tools.report.training import (
    Training,
    find_fold,
    find_predictions,
    read_training,
)
from scribble_tools.text_tables import natural

# base64 makes four bytes of three; with figures and tables 200 cases stay below 20 MB
ALL_SHEETS_BYTES, LARGEST_SHEET_BYTES = 11_000_000, 120_000
OWN_IMAGES = "a report shows the data set's own images; scribble_tools evaluate scores others, too"
RECORD_LISTS = ("cases", "patients", "scribbled_cases")  # an entry for every case: too long


@dataclass(frozen=True)
class Prediction:
    """One model's predictions: its tables by metric name, and its scores where references exist.

    Attributes:
        title: of its column, and its key.
        name: which model or folder it is, in words.
        model: that made it, ``TRAINER__PLANS__CONFIGURATION``; "" where it is not known.
        confusion: `evaluate.confusion.confusion_of_case` of the cases that have a reference.
    """

    title: str
    name: str
    model: str
    folder: Path
    tables: Mapping[str, Table]
    scores: Sequence[ClassScore]
    notes: Mapping[str, Sequence[str]]
    training: Training | None = None
    confusion: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportData:
    """All that a report shows.

    Attributes:
        classes: names of the tables' columns; the background, of which only the disagreement with
            scribbles is known, is last.
        roles: ``validation`` or ``training`` in the model's fold, or ``test``, where it is known.
        grids: size and spacing (x, y, z) of the training images.
        compared: rows of paired differences prediction minus other: class (None: all together),
            metric, numbers.
        comparison: of the scored metrics as `comparison.compare` makes it, for its
            figure.
        patients: of every case; empty if nothing tells.
        resampled: "patients" or "cases", which the confidence intervals rest on, and how many.
        record: how the data set was made, as far as it says.
        typical: the median case, and a picture of it.
        unit: of lengths, see `images.units`.
    """

    dataset: Path
    labels: LabelSet
    classes: Sequence[str]
    cases: Sequence[str]
    roles: Mapping[str, str]
    looks: Mapping[str, CaseLook]
    predictions: Sequence[Prediction]
    check: Report
    grids: Sequence[tuple[tuple[int, ...], tuple[float, ...]]]
    num_test: int
    channels: Sequence[str]
    resampled: tuple[str, int]
    patients: Mapping[str, str] = field(default_factory=dict)
    compared: Sequence[ComparedRow] = ()
    comparison: Mapping[str, dict] | None = None
    record: Mapping[str, object] = field(default_factory=dict)
    typical: tuple[str, bytes] | None = None
    unit: str = MILLIMETRES

    @property
    def prediction(self) -> Prediction:
        """The predictions that the report is about."""
        return self.predictions[0]

    @property
    def scored(self) -> bool:
        """Whether any case has a reference."""
        return bool(self.prediction.scores)

    @property
    def ranking(self) -> Table:
        """What orders the cases from best to worst: Dice, else what is known without reference."""
        tables = self.prediction.tables
        names = ("dice", "disagreement_percent", "islands")
        return next(tables[n] for n in names if np.isfinite(tables[n].overall).any())

    @property
    def worst_first(self) -> list[int]:
        """Rows of the cases, the worst first; equal ones, and those without a value, by name."""
        table = self.ranking
        sign = 1 if table.metric.better == "higher" else -1
        values = [math.inf if math.isnan(v) else sign * v for v in table.overall.tolist()]
        return sorted(range(len(values)), key=lambda k: (values[k], natural(self.cases[k])))

    @property
    def median(self) -> int:
        """Row of the case in the middle of those that have a value."""
        known = [row for row in self.worst_first if math.isfinite(self.ranking.overall[row])]
        return known[len(known) // 2]


def _score(
    files: Sequence[ShownFiles], title: str, labels: LabelSet, ending: str, num_processes: int
) -> tuple[list[ClassScore], dict[str, list[str]], dict[str, np.ndarray]]:
    """Scores, remarks and confusion of cases with a reference; these may lie in two folders."""
    by_folder: dict[tuple[Path, Path], list[str]] = {}
    for case in files:
        if case.reference is not None:
            folders = case.predictions[title].parent, case.reference.parent
            by_folder.setdefault(folders, []).append(case.name)
    scores, notes, confusion, problems = [], {}, {}, []
    for (predicted, reference), cases in by_folder.items():
        try:
            found = evaluate_folders(predicted, reference, labels, None, num_processes, cases)
        except ValueError as error:
            problems.append(str(error))
            continue
        scores += found.scores
        confusion |= found.confusion
        for note, about in found.notes.items():
            if not note.startswith("no reference"):
                notes.setdefault(note, []).extend(about)
    if problems:
        raise ValueError("\n".join(problems))
    return scores, notes, confusion


def _roles(
    raw: RawDataset, preprocessed: Path | None, fold: str | None, files: Sequence[ShownFiles]
) -> dict[str, str]:
    """Part of every case, as the splits tell it: those that trainings use, before the raw ones."""
    splits = raw.splits
    if preprocessed is not None and (path := preprocessed / SPLITS).is_file():
        splits = None
        with suppress(ValueError):  # unusable splits are among the findings of `check`
            splits = read_splits(path)
    sides: Mapping[str, Sequence[str]] = {"train": [], "val": []}
    if splits and fold is not None and fold.isdigit() and int(fold) < len(splits):
        sides = splits[int(fold)]
    roles = {}
    for case in files:
        if case.image.parent.name == "imagesTs":
            roles[case.name] = "test"
        elif fold == "all" or case.name in sides["train"]:
            roles[case.name] = "training"
        elif case.name in sides["val"]:
            roles[case.name] = "validation"
    return roles


def _grids(dataset: Path, ending: str) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    grids = []
    for path in files_in(dataset / "imagesTr", f"_0000{ending}"):
        try:
            grids.append(image_grid(path))
        except ValueError:
            continue  # `check` says so
    return grids


def gather(
    dataset: Path,
    model: Path | None = None,
    predictions: Path | None = None,
    reference: Path | None = None,
    other: Path | None = None,
    fold: str | None = None,
    patient_regex: str | None = None,
    num_processes: int = 2,
) -> ReportData:
    """Gather all that a report shows.

    Args:
        dataset: folder of a raw data set.
        model: ``TRAINER__PLANS__CONFIGURATION`` of nnU-Net's results, or one of its folds.
        predictions: default: the validation cases of the model's fold.
        reference: folder of dense labels; default: labelsTr_dense and labelsTs_dense of the data
            set, for the cases that have one there.
        other: predictions, or a model's folder, to compare with.
        fold: of the model, needed if it has several.
        patient_regex: see `patients.find_patients`.

    Raises:
        FileNotFoundError, ValueError: something is missing or cannot be used; the message lists
            all of it.
    """
    if model is None and predictions is None:
        raise ValueError("nothing to report on: give --model, --pred or both")
    raw = RawDataset.read(dataset, tolerate=("splits", "record"))  # `check` judges these
    labels, ending = raw.labels, raw.file_ending
    fold_folder = None if model is None else find_fold(model, fold)
    folders = [find_predictions(predictions or fold_folder, ending, fold)]
    if other is not None:
        folders.append(find_predictions(other, ending, fold))
    titles = column_titles(folders)
    files = find_case_files(dataset, folders, reference, remedy=OWN_IMAGES, titles=titles)
    shown = (path for case in files for _, path in case.label_maps)
    predicted = (path for case in files for path in case.predictions.values())
    refuse_images(predicted, labels, num_processes)
    labels, left_out = occurring(labels, shown, num_processes)
    preprocessed = os.environ.get("nnUNet_preprocessed")
    preprocessed = Path(preprocessed, dataset.name) if preprocessed else None

    cases = [case.name for case in files]
    patients, _ = patients_of(dataset, cases, patient_regex)
    check = check_dataset(
        dataset,
        preprocessed,
        patient_regex=patient_regex,
        resampled_cases=0,
        num_processes=num_processes,
    )
    max_bytes = min(LARGEST_SHEET_BYTES, ALL_SHEETS_BYTES // len(files))
    look = partial(look_at, dataset / FILE, labels, max_bytes)
    looks = [*parallel_map(look, files, num_processes, "drawing")]
    problems = [look for look in looks if isinstance(look, str)]
    scored = []
    for title in titles:
        try:
            scored.append(_score(files, title, labels, ending, num_processes))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))
    if left_out:
        for _, notes, _ in scored:
            notes[left_out] = ["all cases"]
    looks = dict(zip(cases, looks, strict=True))
    groups = [patients.get(case, case) for case in cases]
    classes = [*labels.classes]
    if any(look.unscored[titles[0]].disagreement_percent for look in looks.values()):
        classes += classes_of(labels).keys() - labels.classes.keys()
    units = {look.unit for look in looks.values()}
    unit = units.pop() if len(units) == 1 else MILLIMETRES
    trainings = [None if fold_folder is None else read_training(fold_folder)]
    if other is not None:
        trainings.append(_training_of(folders[1]))
    models = [t.name if t else model_of(f) for t, f in zip(trainings, folders, strict=True)]
    found = [
        Prediction(
            title,
            name,
            model,
            folder,
            make_tables(title, cases, classes, scores, looks, groups, unit),
            scores,
            notes,
            training,
            confusion,
        )
        for title, name, model, folder, (scores, notes, confusion), training in zip(
            titles, names_of(folders, models), models, folders, scored, trainings, strict=True
        )
    ]
    comparison, compared = None, []
    if other is not None:
        comparison, compared = _compare(found[0], found[1], classes, groups, patients)
        compared = [(name, in_unit(metric, unit), row) for name, metric, row in compared]
    training = found[0].training
    data = ReportData(
        dataset=dataset,
        labels=labels,
        classes=classes,
        cases=cases,
        roles=_roles(raw, preprocessed, training.fold if training else fold, files),
        looks=looks,
        predictions=found,
        check=check,
        grids=_grids(dataset, ending),
        num_test=len(files_in(dataset / "imagesTs", f"_0000{ending}")),
        channels=[*raw.channels],
        patients=patients,
        resampled=("patients" if patients else "cases", len(Counter(groups))),
        compared=compared,
        comparison=comparison,
        unit=unit,
        record={k: v for k, v in raw.record.items() if k not in RECORD_LISTS},
    )
    name = cases[data.median]
    shown = next(case for case in files if case.name == name)
    return replace(data, typical=(name, draw_strip(dataset / "dataset.json", shown)))


def _training_of(predictions: Path) -> Training | None:
    """The training of the model in whose folder predictions lie, if they do."""
    fold = predictions.absolute().parent
    return read_training(fold) if fold.name.startswith("fold_") else None


def _compare(
    prediction: Prediction,
    other: Prediction,
    classes: Sequence[str],
    groups: Sequence[str],
    patients: Mapping[str, str],
) -> tuple[dict | None, list[ComparedRow]]:
    rows, comparison, unscored = [], None, [ISLANDS, DISAGREEMENT]
    if prediction.scores:
        comparison = compare(prediction.scores, other.scores, patients=patients or None)
        unscored = [DISAGREEMENT]
        named = [*comparison["per_class"].items(), (None, comparison["overall"])]
        for metric in (*SCORED, ISLANDS):
            rows += [(name, metric, row[metric.name]) for name, row in named]
    for metric in unscored:
        tables = (side.tables[metric.name] for side in (prediction, other))
        rows += compare_tables(*tables, classes, groups)
    return comparison, rows
