"""The command that takes what was drawn into a data set."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from scribble_tools.convert.case_patients import REGEX
from scribble_tools.dataset.raw import RawDataset

PATIENTS = "patients.csv"


def update_command(
    dataset: Path,
    scribbles: Path,
    images: Path | None = None,
    exclude: Sequence[str] = (),
    patients: Path | None = None,
) -> str:
    """A line to paste.

    Args:
        images: of new cases, whose patients are found as those of the data set's cases.
        exclude: files of them that were passed over.
        patients: table of their patients, where those are not found so.
    """
    words = ["--update", "--scribbles", scribbles]
    if images is not None:
        words += ["--images", images]
        regex = RawDataset.read(dataset, tolerate=("splits", "record")).record.get(REGEX)
        if patients is not None:
            words += ["--patients", patients]
        elif regex:
            words += ["--patient-regex", regex]
    words += ["--exclude", *exclude] if exclude else []
    named = re.match(r"Dataset(\d{3})_", dataset.name)  # a folder of another name has no id yet
    words += ["--dataset-id", named[1] if named else "ID", "--out", dataset.parent]
    return f"scribble_tools convert folder {shlex.join(map(str, words))}"
