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


def alike_problems(names: Iterable[str], new: Iterable[str] | None = None) -> list[str]:
    """A sentence on all names that are `alike`, in a list; an empty one where all differ.

    Args:
        new: those that are to come to the others; what the others are alike in is not said then.
    """
    groups = alike(names)
    if new is not None:
        added = set(new)
        groups = [group for group in groups if added.intersection(group)]
    if not groups:
        return []
    pairs = ", ".join(" and ".join(group) for group in groups)
    return [
        f"names of cases differ in upper and lower case only: {pairs}. On macOS and Windows one "
        "would overwrite the other: rename them, or leave one of each out"
    ]
