"""References whose values mean other classes than those of the predictions: which is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.evaluate.confusion import BACKGROUND
from scribble_tools.wording import counted

OPTION = "--ref-labels"


def parse_reference_values(words: Sequence[str], labels: LabelSet) -> dict[int, int]:
    """A reference's value to the prediction's, of words as a user types them.

    Args:
        words: ``RV=600``, ``wall=200,210``, ``background=7``; every class has to be named.
        labels: the classes, with the predictions' values.

    Raises:
        ValueError: a word is none of these, a class is missing, unknown, or of several values, or
            a value stands twice.

    >>> parse_reference_values(["RV=600", "LV=500"], LabelSet({"RV": (1,), "LV": (3,)}))
    {600: 1, 500: 3}
    """
    known = {BACKGROUND: (0,), **labels.classes}
    if several := [name for name, values in known.items() if len(values) > 1]:
        raise ValueError(
            f"{OPTION} takes classes of one value each; of several are {', '.join(several)}. Name "
            "classes of one value with --labels"
        )
    values: dict[int, int] = {}
    named = []
    for word in words:
        name, _, own = word.rpartition("=")
        if name not in known:
            raise ValueError(
                f"{OPTION} {word}: write NAME=VALUE, with the names {', '.join(known)}"
            )
        try:
            numbers = [int(value) for value in own.split(",")]
        except ValueError:
            raise ValueError(f"{OPTION} {word}: write RV=600 or wall=200,210") from None
        if twice := [v for k, v in enumerate(numbers) if v in values or v in numbers[:k]]:
            raise ValueError(f"{OPTION} {word}: {twice[0]} stands twice")
        values |= dict.fromkeys(numbers, known[name][0])
        named.append(name)
    if missing := [name for name in labels.classes if name not in named]:
        raise ValueError(
            f"{OPTION}: {', '.join(missing)} {'has' if len(missing) == 1 else 'have'} no value "
            "there; a class that REF does not have is left out of --labels"
        )
    return values


def as_predicted(
    reference: np.ndarray, values: Mapping[int, int], ignore: int | None
) -> tuple[np.ndarray, list[str]]:
    """The reference with the predictions' values, and remarks.

    Args:
        reference: integer labels (*spatial).
        values: of `parse_reference_values`. 0 is background unless it is named; what has no name
            is background, too.
        ignore: stays as it is, unless it is named.
    """
    result = np.zeros(reference.shape, np.int32)
    unknown = []
    for value in np.unique(reference).tolist():
        if value in values:
            result[reference == value] = values[value]
        elif value == ignore:
            result[reference == value] = ignore
        elif value:
            unknown.append(value)
    if not unknown:
        return result, []
    number = f"{counted(len(unknown), 'value')} of the references without a name in {OPTION}"
    return result, [f"{number} counted as background: {', '.join(map(str, unknown[:3]))}"]
