"""Names of cases that are the same on macOS and Windows, where letter case tells no files apart."""

from __future__ import annotations

from collections.abc import Iterable

from scribble_tools.images.file_kind import normal_form


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Names that differ in nothing but upper and lower case, together; sorted.

    Examples:
        >>> alike(["case_1", "CASE_1", "case_2"])
        [('CASE_1', 'case_1')]
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(normal_form(name).lower(), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _alike_among(names: Iterable[str], new: Iterable[str] | None) -> str:
    groups = alike(names)
    if new is not None:
        added = set(new)
        groups = [group for group in groups if added.intersection(group)]
    return ", ".join(" and ".join(group) for group in groups)


def alike_problems(names: Iterable[str], new: Iterable[str] | None = None) -> list[str]:
    """A sentence on all names that are `alike`, in a list; an empty one where all differ.

    Args:
        new: those that are to come to the others; what the others are alike in is not said then.
    """
    if not (pairs := _alike_among(names, new)):
        return []
    return [
        f"names of cases differ in upper and lower case only: {pairs}. On macOS and Windows one "
        "would overwrite the other: rename them, or leave one of each out"
    ]


def alike_patients(patients: Iterable[str], new: Iterable[str] | None = None) -> list[str]:
    """What `alike_problems` is for cases, for the patients that they are of."""
    if not (pairs := _alike_among(patients, new)):
        return []
    return [
        f"patients differ in upper and lower case only: {pairs}. If they are one, folds would "
        "validate on patients that they train on: write the name in one way. If not, name them "
        "otherwise (--patients)"
    ]
