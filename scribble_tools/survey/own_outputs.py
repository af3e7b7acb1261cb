"""What `suggest` and `predict` wrote is no new data set: which line goes on from there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from scribble_tools.convert.formats import Advice, Seen, quote
from scribble_tools.convert.update_line import PATIENTS, update_command
from scribble_tools.dataset.not_strokes import NOT_STROKES
from scribble_tools.dataset.origin import dataset_of_predictions, is_dataset_name, predicted_by
from scribble_tools.dataset.preprocessed_plans import number_of
from scribble_tools.dataset.raw import RawDataset
from scribble_tools.images.file_kind import READABLE, file_ending_of, normal_form
from scribble_tools.images.slicer_segmentation import stem_of
from scribble_tools.json_files import Record, Text, read_json

RAW = "$nnUNet_raw"
LABELS, SUGGESTIONS = "labels", "suggestions.json"  # of `suggest`
BESIDE_PREDICTIONS = ("uncertainty", "pictures")  # folders
DENSE_PARTS = ("labelsTr_dense", "labelsTs_dense")


def own_output(seen: Seen) -> Advice | None:
    """What to do with files of these tools' own; None where they are none."""
    for folder in (seen.folder, seen.folder / LABELS):
        if (folder / NOT_STROKES).is_file():
            return _suggested(folder)
    inside = seen.folder.name in BESIDE_PREDICTIONS
    for folder in (seen.folder, *[seen.folder.parent] * inside):
        if command := predicted_by(folder):
            return _predicted(folder, command)
    return None


def _raw(name: str) -> RawDataset | None:
    """The data set of this name, if it lies in nnUNet_raw and can be read."""
    root = os.environ.get("nnUNet_raw")
    try:
        return RawDataset.read(Path(root) / name, ("splits", "record")) if root and name else None
    except (OSError, ValueError):
        return None


def _cases_in(folder: Path) -> set[str]:
    """Names of the label files, without their endings."""
    return {
        normal_form(stem_of(path))
        for path in folder.iterdir()
        if path.is_file() and file_ending_of(path) in READABLE
    }


def _dataset_of_suggestions(folder: Path) -> str:
    try:
        said = read_json(folder / SUGGESTIONS, Record(required={"dataset": Text()}))["dataset"]
    except (OSError, ValueError):
        return ""
    return said if is_dataset_name(said) else ""


def _suggested(labels: Path) -> Advice:
    """The line that `suggest` printed, as far as its files tell it."""
    above = labels.parent if labels.name == LABELS else labels.resolve().parent
    name = _dataset_of_suggestions(above)
    raw = _raw(name)
    where = raw.folder if raw else Path(RAW) / (name or "DATASET")
    new = bool(raw and _cases_in(labels) - set(raw.files("labelsTr")))
    table = above / PATIENTS
    line = update_command(
        where,
        labels,
        Path("IMAGES") if new else None,
        patients=table if new and table.is_file() else None,
    )
    # the shell is to put the folder there
    line = line.replace(shlex.quote(RAW), f'"{RAW}"').removeprefix("scribble_tools ")
    advice = (
        "they hold predictions and marks besides strokes: only strokes of your own classes count. "
        "Draw into them, then take them into the data set that they were made for"
    )
    advice += ". IMAGES is the folder of the new images that suggest looked at" * new
    advice += ". ID is that data set's number" * (not name)
    return Advice("label files that scribble_tools suggest wrote", advice, (line,))


def _reference(raw: RawDataset | None, cases: Sequence[str]) -> str:
    """The data set's own references, if it has some of these cases."""
    for part in DENSE_PARTS if raw else ():
        if set(cases) & set(raw.files(part)):
            return quote(raw.folder / part)
    return "REF"


def _predicted(folder: Path, command: str) -> Advice:
    """Scores, and where the images are the data set's own, a report."""
    name = dataset_of_predictions(folder)
    raw, cases = _raw(name), sorted(_cases_in(folder))
    reference = _reference(raw, cases)
    advice = "they are no data set, and nothing to convert or train on: compare them with outlines"
    advice += ". REF is the folder of these, dense references" * (reference == "REF")
    if raw and set(cases) & {*raw.images(), *raw.images("imagesTs")}:
        number = number_of(raw.folder.name)
        line = f"scribble_tools report --dataset {number} --pred {quote(folder)} --out report.html"
        advice += f"\na page with pictures of them, with references or without:\n  {line}"
    return Advice(
        f"predictions that {command} wrote", advice, ("evaluate", quote(folder), reference)
    )
