"""Patients of new images, for the command that takes what was drawn into the data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scribble_tools.convert.case_patients import REGEX, patients_by_regex, share_patients
from scribble_tools.convert.update_line import PATIENTS
from scribble_tools.csv_files import write_csv
from scribble_tools.dataset.raw import RawDataset
from scribble_tools.predict.new_images import find_new_images
from scribble_tools.wording import some_of


def write_new_patients(
    images: Path, dataset: Path, out: Path, exclude: Sequence[str] = ()
) -> list[str]:
    """Write a table of new cases' patients where the data set's own rule does not give all of them.

    Otherwise the line to paste would be refused.

    Args:
        images: of the new cases.
        out: folder of the table.
        exclude: files of ``images`` that were passed over.

    Returns:
        The cases that count as a patient of their own there; none: no table is needed.

    Raises:
        FileNotFoundError, ValueError: see `find_new_images` and `patients_by_regex`.
    """
    raw = RawDataset.read(dataset, tolerate=("splits", "record"))
    regex = raw.record.get(REGEX)
    if not regex and not share_patients(raw.record.get("patients", {})):
        return []
    found = find_new_images(images, len(raw.channels), exclude=exclude)
    root = images if images.is_dir() else images.parent
    first = {own.name: own.files[0] for own in found}
    patients = patients_by_regex(first, root, regex) if regex else dict.fromkeys(first, "")
    alone = [case for case, patient in patients.items() if not patient]
    if alone:
        rows = [{"case": case, "patient": own or case} for case, own in patients.items()]
        write_csv(rows, out / PATIENTS, ("case", "patient"))
    return alone


def own_patients_in_words(alone: Sequence[str], table: Path) -> str:
    """What `write_new_patients` took for granted, and where to say otherwise."""
    return (
        f"nothing tells the patient of {some_of(alone)}: each counts as a patient of its own. If "
        f"not so, correct {table} first"
    )
