"""Patterns of file names, in which ``{case}`` stands for the case's name."""

from __future__ import annotations

import re

PLACEHOLDER = "{case}"
PATIENT = "{patient}"


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern, with the group ``case``.

    Args:
        pattern: of the path below a folder, or of the name alone when it has no slash: ``{case}``
            stands for the case's name, ``*`` for anything but a slash. In folders of patients with
            a folder for each visit, ``{patient}/{case}/t1.nii.gz``: see `case_of`.

    Raises:
        ValueError: there is no ``{case}`` in it, or ``{patient}`` behind it or twice.
    """
    if PLACEHOLDER not in pattern:
        raise ValueError(f"pattern {pattern!r} must hold {PLACEHOLDER}, such as '{{case}}.nii.gz'")
    if pattern.count(PATIENT) > 1 or PATIENT in pattern[pattern.index(PLACEHOLDER) :]:
        raise ValueError(f"pattern {pattern!r}: {PATIENT} stands once, before {PLACEHOLDER}")

    def literal(text: str) -> str:
        return "[^/]*".join(re.escape(word) for word in text.split("*"))

    first, *others = pattern.split(PLACEHOLDER)
    head = "(?P<patient>[^/]+)".join(map(literal, first.split(PATIENT)))
    any_folder = "" if "/" in pattern else "(?:.*/)?"
    return re.compile(
        any_folder + head + "(?P<case>[^/]+)" + "(?P=case)".join(map(literal, others))
    )


def case_of(match: re.Match[str]) -> str:
    """The case's name: what stands for ``{case}``, behind the patient's name if that is said.

    >>> case_of(compile_pattern("{case}_t1.nii").fullmatch("anna_t1.nii"))
    'anna'
    >>> case_of(compile_pattern("{patient}/{case}/t1.nii").fullmatch("anna/2024/t1.nii"))
    'anna_2024'
    """
    return "_".join(filter(None, (match.groupdict().get("patient"), match["case"])))
