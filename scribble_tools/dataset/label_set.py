"""Which label values make up which class, and which one means "unlabelled"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scribble_tools.dataset.writing import IGNORE

MOST_LABELS = 250  # different values of label files; a brain atlas has some 190


@dataclass(frozen=True)
class LabelSet:
    """Foreground classes by name, each with the label values it consists of, and the ignore value.

    More than one value per class is nnU-Net's region: ``{"whole_tumour": (1, 2, 3)}``.
    """

    classes: Mapping[str, tuple[int, ...]]
    ignore: int | None = None

    @property
    def values(self) -> set[int]:
        """Every value that may stand in a prediction: background and the classes'."""
        return {0}.union(*self.classes.values())

    @property
    def by_value(self) -> list[str]:
        """Names of the classes in the order of a network's channels, without the background.

        nnU-Net sorts labels by their values; regions stay in the order of dataset.json.
        """
        if any(len(own) > 1 for own in self.classes.values()):
            return [*self.classes]
        return sorted(self.classes, key=lambda name: self.classes[name])


def label_set_of(labels: Mapping[str, int | Sequence[int]]) -> LabelSet:
    """The classes and the ignore value that the ``labels`` of dataset.json name."""
    values = {name: _values(own) for name, own in labels.items()}
    ignore = values.pop(IGNORE, (None,))[0]
    return LabelSet({n: v for n, v in values.items() if v != (0,)}, ignore)


def label_names_of(labels: Mapping[str, int | Sequence[int]]) -> dict[int, str]:
    """The name of every single label value (background too, regions not), for legends."""
    return {v[0]: n for n, own in labels.items() if len(v := _values(own)) == 1}


def _values(own: int | Sequence[int]) -> tuple[int, ...]:
    return (own,) if isinstance(own, int) else tuple(own)


def parse_label_set(words: Sequence[str], ignore: int | None = None) -> LabelSet:
    """Build a label set from words as a user types them: ``2``, ``RV=1`` or ``heart=1,2,3``.

    Raises:
        ValueError: a word is none of these, names the background or a class once more.
    """
    classes = {}
    for word in words:
        name, _, values = word.rpartition("=")
        if (name or word) in classes:
            raise ValueError(f"label {word!r}: {name or word} stands twice, write NAME=1,2")
        try:
            classes[name or word] = tuple(int(value) for value in values.split(","))
        except ValueError:
            raise ValueError(f"label {word!r}: write 2, RV=1 or heart=1,2,3") from None
        if 0 in classes[name or word]:
            raise ValueError(f"label {word!r}: 0 is background, which is not scored")
    return LabelSet(classes, ignore)
