"""Which patient the cases of a folder are of, as the user says it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from scribble_tools.convert.pairing import CaseFiles
from scribble_tools.csv_files import csv_table, plain_cell
from scribble_tools.dataset.case_names import alike_patients
from scribble_tools.dataset.patients import patient_in
from scribble_tools.dataset.writing import RECORD
from scribble_tools.images.file_kind import normal_form
from scribble_tools.images.name_patterns import PATIENT, compile_pattern
from scribble_tools.problems import refuse

REGEX = "patient_regex"  # of the record
OWN_PATIENTS = "every case counts as a patient of its own: --patient-regex or --patients if not so"


def read_patients(path: Path) -> dict[str, str]:
    """Read a CSV table (comma or semicolon) with the columns ``case`` and ``patient``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column is missing, a case stands twice, or the file is not UTF-8.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}): save it as CSV UTF-8") from None
    table = csv_table(lines)
    if not {"case", "patient"} <= set(table.fieldnames or ()):
        raise ValueError(f"{path} needs the columns case,patient; found {table.fieldnames}")
    cells = [[plain_cell(row[name] or "").strip() for name in ("case", "patient")] for row in table]
    rows = [(normal_form(case), patient) for case, patient in cells]
    if len(dict(rows)) < len(rows):
        raise ValueError(f"{path} names a case twice")
    return dict(rows)


def assign_patients(
    cases: Mapping[str, CaseFiles], root: Path, patients_csv: Path | None, patient_regex: str | None
) -> dict[str, str]:
    """Case to patient: by table, by regular expression, or every case its own.

    Args:
        root: folder of the images.
        patients_csv: see `read_patients`.
        patient_regex: its first group, or its whole match, in the case's name or else in the
            image's path below ``root``, is the patient.

    Raises:
        FileNotFoundError, ValueError: see `read_patients`; no regular expression; cases without
            patient, all of which are named.
    """
    if patients_csv is not None:
        patients = read_patients(patients_csv)
        where = str(patients_csv)
    elif patient_regex is not None:
        where = _option(patient_regex)
        patients = patients_by_regex(
            {case: files.images[0] for case, files in cases.items()}, root, patient_regex
        )
    else:
        return {case: case for case in cases}
    if missing := sorted(set(cases) - {case for case, patient in patients.items() if patient}):
        raise ValueError(f"{where} gives no patient for the cases {', '.join(missing)}")
    return {case: patients[case] for case in cases}


def regex_of_patterns(patterns: Iterable[str | None]) -> str | None:
    """The ``patient_regex`` that image patterns with ``{patient}`` are; None without such."""
    own = (pattern for pattern in patterns if pattern and PATIENT in pattern)
    return next((compile_pattern(normal_form(pattern)).pattern for pattern in own), None)


def patients_by_regex(images: Mapping[str, Path], root: Path, patient_regex: str) -> dict[str, str]:
    """Case to patient as a regular expression finds it in names; nothing where it does not fit.

    Args:
        images: case to its first image.
        root, patient_regex: see `assign_patients`.

    Raises:
        ValueError: no regular expression.
    """
    try:
        regex = re.compile(patient_regex)
    except re.error as error:
        raise ValueError(f"{_option(patient_regex)}: {error}") from None
    below = {case: normal_form(path.relative_to(root).as_posix()) for case, path in images.items()}
    return {case: patient_in(case, regex) or patient_in(below[case], regex) for case in images}


def assign_new_patients(
    cases: Mapping[str, CaseFiles],
    root: Path,
    patients_csv: Path | None,
    patient_regex: str | None,
    record: Mapping,
) -> dict[str, str]:
    """Case to patient of cases that join a data set, by its own rule where none is given.

    Args:
        record: the data set's conversion.json; for the others see `assign_patients`.

    Raises:
        FileNotFoundError, ValueError: see `assign_patients`; a patient of the data set may come
            under another name, or in other letters.
    """
    known = record.get("patients", {})
    if patients_csv is None and patient_regex is None:
        patient_regex = record.get(REGEX)
        if patient_regex is None and share_patients(known):
            raise ValueError(
                f"cases of the data set share patients, and {RECORD} does not say how to find "
                f"those of the new cases {', '.join(sorted(cases))}: --patient-regex or --patients"
            )
    given = patients_csv or patient_regex
    try:
        patients = assign_patients(cases, root, patients_csv, patient_regex)
    except ValueError as error:
        raise ValueError(f"{error}{_of_record(given, record)}") from None
    joining = {*patients.values()} - {*known.values()}
    refuse(alike_patients([*known.values(), *joining], joining))
    if patients_csv is not None:
        table = read_patients(patients_csv)
        said, where = {case: table.get(case) for case in known}, str(patients_csv)
    elif patient_regex is not None:
        regex = re.compile(patient_regex)
        said, where = {case: patient_in(case, regex) for case in known}, _option(patient_regex)
    else:
        return patients
    # where no old case shares its patient, others may all the same: what is new is kept apart
    joined, new = share_patients(known), set(patients.values())
    other = [c for c, own in said.items() if own and own != known[c] and (joined or own in new)]
    if other:
        raise ValueError(
            f"{where} gives the patient {said[other[0]]} to the old case {other[0]}, whose patient "
            f"is {known[other[0]]} in {RECORD}: a patient would end on both sides of a fold. Say "
            "what gives the patients that stand there, or convert old and new cases together to "
            "another --dataset-id"
        )
    return patients


def share_patients(patients: Mapping[str, str]) -> bool:
    """Whether a patient has several cases."""
    return len(set(patients.values())) < len(patients)


def _of_record(given: object, record: Mapping) -> str:
    """What to add to a message on a regular expression that nobody has typed now."""
    if given != record.get(REGEX):
        return ""
    return f". It is the first conversion's ({RECORD}): say another one, or --patients"


def _option(patient_regex: str) -> str:
    return f"--patient-regex {shlex.quote(patient_regex)}"
