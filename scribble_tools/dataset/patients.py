"""Which patient a case belongs to: volumes of one patient are no independent samples."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from pathlib import Path

from scribble_tools.dataset.raw import read_record
from scribble_tools.dataset.writing import RECORD


def patient_in(text: str, pattern: re.Pattern[str]) -> str:
    """What the first group, or without groups all of the pattern, finds; or nothing."""
    match = pattern.search(text)
    return (match and match[1 if pattern.groups else 0]) or ""


def perhaps_of_one(cases: Collection[str]) -> list[str]:
    """The first cases whose names differ as those of one patient's images do, or none.

    ``anna_before`` and ``anna_after`` do, or ``sub-01_ses-1`` and ``sub-01_ses-2``; cases that are
    numbered through, ``photo_1`` and ``photo_2`` or ``site1_001`` and ``site1_002``, do not.
    """
    groups: dict[str, list[str]] = {}
    for case in sorted(cases):
        head, last = re.fullmatch("(.*?)[_-]?([^_-]*)", case).groups()
        numbered = re.search(r"\d", last) and not re.search(r"\d", head)
        numbered = numbered or re.fullmatch(r"\d{3,}", last)
        groups.setdefault(case if numbered else head or case, []).append(case)
    alike = [group for group in groups.values() if len(group) > 1]
    return alike[0] if alike and len(groups) > 1 else []


def find_patients(
    cases: Collection[str], reference: Path, regex: str | None = None
) -> dict[str, str] | None:
    """The patient of every case, or None if nothing tells.

    Args:
        reference: folder of the references; the ``patients`` of the conversion.json in or above it
            (`scribble_tools convert` writes one) are taken if they name every case.
        regex: takes precedence: searched in the case's name; its first group, or without groups
            all that it matches, is the patient.

    Raises:
        ValueError: ``regex`` is no regular expression, or does not match every case; or the record
            is not what `scribble_tools convert` writes.
    """
    if regex is not None:
        typed = f"patient regex {shlex.quote(regex)}"
        try:
            pattern = re.compile(regex)
        except re.error as error:
            raise ValueError(f"{typed} is no regular expression: {error}") from None
        found = {case: patient_in(case, pattern) for case in cases}
        if unmatched := [case for case, patient in found.items() if not patient]:
            raise ValueError(f"{typed} does not match {', '.join(unmatched)}")
        return found
    for folder in (reference, reference.absolute().parent):
        try:
            patients = read_record(folder)["patients"]
        except FileNotFoundError:
            continue
        except (ValueError, KeyError) as error:
            reason = error if isinstance(error, ValueError) else f"{folder / RECORD} names none"
            raise ValueError(f"{reason}\ngive --patient-regex, or take the file away") from None
        return {c: patients[c] for c in cases} if patients.keys() >= set(cases) else None
    return None
