"""Which patient a case belongs to: volumes of one patient are no independent samples."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection
from pathlib import Path

from scribble_tools.dataset.raw import read_record
from scribble_tools.dataset.writing import RECORD

FEWEST_HEADS = 3  # of names that are followed by numbers: one or two are rather sites or devices


def patient_in(text: str, pattern: re.Pattern[str]) -> str:
    """What the first group, or without groups all of the pattern, finds; or nothing."""
    match = pattern.search(text)
    return (match and match[1 if pattern.groups else 0]) or ""


def common_ending(cases: Collection[str]) -> str:
    """What all names end in, from a separator on, such as ``_T2``; empty for a single name.

    >>> common_ending(["anna_1_T2", "ben_1_T2"])
    '_1_T2'
    """
    if len(cases) < 2:
        return ""
    ending = os.path.commonprefix([case[::-1] for case in cases])[::-1]
    return ending[re.search("[_-]|$", ending).start() :]


def perhaps_of_one(cases: Collection[str]) -> list[str]:
    """The first cases whose names differ as those of one patient's images do, or none.

    ``anna_before`` and ``anna_after`` do, or ``sub-01_ses-1`` and ``sub-01_ses-2``, also where all
    names end alike; cases that are numbered through, ``photo_1`` and ``photo_2`` or ``site1_001``
    and ``site1_002``, do not. ``anna_1`` and ``anna_2`` do if others are called so, too.
    """
    shared = len(common_ending(cases))
    by_head: dict[str, list[str]] = {}
    numbered: dict[str, list[str]] = {}
    for case in sorted(cases):
        head, last = re.fullmatch("(.*?)[_-]?([^_-]*)", case[: len(case) - shared]).groups()
        if re.fullmatch(r"\d{3,}", last):
            numbered[case] = [case]
        elif re.search(r"\d", last) and not re.search(r"\d", head):
            numbered.setdefault(head or case, []).append(case)
        else:
            by_head.setdefault(head or case, []).append(case)
    several = [len(group) for group in numbered.values() if len(group) > 1]
    # many numbers of few sites are cases, few numbers of many people their images
    if len(several) >= FEWEST_HEADS and len(numbered) > max(several):
        for head, group in numbered.items():
            by_head.setdefault(head, []).extend(group)
    alike = [group for group in by_head.values() if len(group) > 1]
    return alike[0] if alike and len(by_head) + len(numbered) > 1 else []


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
