"""Which part of the cases' names is the patient: the number that several of them share."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

FEWEST_PATIENTS = 3  # of fewer, what is shared is rather a site or a year


def _heads(names: Sequence[str]) -> Iterator[re.Pattern[str]]:
    """Beginnings of all names, each up to a number and with that, the shortest first."""
    parts = [re.split(r"(\d+)", name) for name in names]  # words and numbers by turns
    head = ""
    for words in zip(*(own[:-1:2] for own in parts), strict=False):
        if len(set(words)) > 1:
            return
        head += re.escape(words[0]) + r"\d+"
        yield re.compile(head)


def _shared(names: Sequence[str], head: re.Pattern[str]) -> int:
    """How many patients a beginning makes of the names; 0 if they share none.

    What is numbered through, ``site1_001`` and ``site1_002``, is a patient each.
    """
    found = [head.match(name)[0] for name in names]
    tails = [name[len(own) :] for name, own in zip(names, found, strict=True)]
    patients = len(Counter(found))
    if patients in (1, len(names)) or all(re.fullmatch(r"[_-]?\d{3,}", tail) for tail in tails):
        return 0
    return patients


def patient_regex(names: Sequence[str]) -> list[str]:
    """``--patient-regex`` for names such as ``patient1_a`` and ``patient1_b``, or ``dish1_1``.

    Of several numbers the first counts, so that no patient ends on both sides of a fold, unless
    that leaves fewer than `FEWEST_PATIENTS`.

    Args:
        names: of the cases.

    Returns:
        The option as a word, or nothing.
    """
    shared = {head.pattern: number for head in _heads(names) if (number := _shared(names, head))}
    if not shared:
        return []
    most = max(shared, key=shared.get)
    many = [head for head, number in shared.items() if number >= FEWEST_PATIENTS]
    return [f"--patient-regex {shlex.quote(f'({(many or [most])[0]})')}"]
