"""Classes that are predicted as each other: prediction and reference number them differently."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import numpy as np

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.evaluate.confusion import parts_of, percent_of_true
from scribble_tools.evaluate.reference_values import OPTION
from scribble_tools.wording import counted

NAMED = 3  # cases, where only some are meant
LEAST = 20  # voxels of each class in a case; fewer may be called anything


def exchanged_parts(counts: np.ndarray) -> dict[int, int]:
    """Parts whose voxels are mostly predicted as each other's: true to predicted.

    Other values do that, while a bad prediction does not: where a class is missed its voxels are
    mostly background, but the background's are not the class.

    Args:
        counts: voxels of each pair of parts, (parts true, parts predicted).

    >>> exchanged_parts(np.array([[9, 0, 0], [0, 2, 8], [0, 9, 1]]))
    {1: 2, 2: 1}
    >>> exchanged_parts(np.array([[9, 0, 0], [0, 2, 8], [0, 0, 9]]))
    {}
    """
    mostly = np.argwhere(percent_of_true(counts) > 50).tolist()  # at most one of a part
    target = {true: predicted for true, predicted in mostly if true != predicted}
    while target.keys() != {*target.values()}:  # until it is a permutation
        target = {a: b for a, b in target.items() if a in target.values() and b in target}
    return target


def exchanged_in_words(
    counts: Mapping[str, np.ndarray], labels: LabelSet, whose: str, say_option: bool = True
) -> str:
    """A question about exchanged classes, of all cases or of some; empty where none is due.

    Args:
        counts: of `confusion_of_case` by case.
        whose: predictions they are, such as PRED.
        say_option: the values of the references were not said already.
    """
    target, cases = _most_often(counts)
    if not target:
        return ""
    parts = parts_of(labels)
    names = [*parts]
    said = ", ".join(f"{names[a]} is predicted as {names[b]}" for a, b in target.items())
    if len(cases) < len(counts):
        more = f" and {len(cases) - NAMED} more" * (len(cases) > NAMED)
        where = f"in {len(cases)} of {counted(len(counts), 'case')}"
        where += f" ({', '.join(cases[:NAMED])}{more})"
        return f"{where} {said}. Do {whose} and REF number their classes differently there?"
    question = f"{said}. Do {whose} and REF number their classes differently?"
    if names[1:] != [*labels.classes] or any(len(own) > 1 for own in parts.values()):
        return question  # the option takes classes of one value each
    values = [own[0] for own in parts.values()]
    meant = {names[target.get(k, k)]: values[k] for k in range(len(names)) if k or k in target}
    words = " ".join(shlex.quote(f"{name}={value}") for name, value in meant.items())
    remedy = f" If it is REF whose values mean something else, say {OPTION} {words}"
    return question + remedy * say_option


def _most_often(counts: Mapping[str, np.ndarray]) -> tuple[dict[int, int], list[str]]:
    """What is exchanged in most cases, if anything is, and in which."""
    found = {}
    for case, table in counts.items():
        target = exchanged_parts(table)
        if target and table[[*target]].sum(axis=1).min() >= LEAST:
            found[case] = target
    if not found:  # of cases that have one class each only all together tell
        together = exchanged_parts(sum(counts.values())) if counts else {}
        return together, [*counts]
    most = max(found.values(), key=[*found.values()].count)
    return most, [case for case, own in found.items() if own == most]
