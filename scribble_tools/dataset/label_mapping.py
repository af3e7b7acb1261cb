"""From the label values of the user's files to nnU-Net's consecutive ones, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np

from scribble_tools.dataset.writing import IGNORE

BACKGROUND = "background"
MANY = 60  # values; files with more are images, as a rule


@dataclass(frozen=True)
class LabelMapping:
    """Which values of the source files make up which class, and which mean "unlabelled".

    Attributes:
        classes: class name to its source values, ``background`` among them. nnU-Net's labels are
            0 for the background and then 1, 2, ... in this order.
        unlabelled: source values that become nnU-Net's ignore label; none in dense labels.

    Raises:
        ValueError: there is no background or no other class, a value stands twice, or a name is
            reserved.
    """

    classes: Mapping[str, tuple[int, ...]]
    unlabelled: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        problems = []
        if BACKGROUND not in self.classes:
            near = get_close_matches(BACKGROUND, self.classes, 1)
            meant = f" (is {near[0]} meant?)" if near else ""
            problems.append(
                f"no {BACKGROUND}{meant}: say which value is the background scribble, such as "
                f"{BACKGROUND}=5. Without one nothing tells the network what is not an organ"
            )
        if not set(self.classes) - {BACKGROUND}:
            problems.append("no class besides the background, such as RV=1")
        if IGNORE in self.classes:
            problems.append(f"'{IGNORE}' is no class: say which values are --unlabelled")
        values = [v for own in self.classes.values() for v in own] + [*self.unlabelled]
        if twice := sorted({v for v in values if values.count(v) > 1}):
            problems.append(f"the values {twice} stand more than once")
        if problems:
            raise ValueError(f"labels {self.describe()}: " + "; ".join(problems))

    @property
    def names(self) -> tuple[str, ...]:
        """The class names in the order of nnU-Net's labels, background first."""
        return (BACKGROUND, *(name for name in self.classes if name != BACKGROUND))

    @property
    def labels(self) -> dict[str, int]:
        """``labels`` of dataset.json: consecutive, the ignore label last."""
        names = (*self.names, IGNORE) if self.unlabelled else self.names
        return {name: value for value, name in enumerate(names)}

    def _target_of(self) -> dict[int, int]:
        target = {v: k for k, name in enumerate(self.names) for v in self.classes[name]}
        return target | {v: len(self.classes) for v in self.unlabelled}

    def apply(self, array: np.ndarray, word: Callable[[int], str] = str) -> np.ndarray:
        """Turn source values (*spatial, integers) into nnU-Net's labels (uint8 or uint16).

        Args:
            word: of a value, for messages.

        Raises:
            ValueError: the array holds values that are not mapped, all of which are named.
        """
        target_of = self._target_of()
        found, where = np.unique(array, return_inverse=True)
        if unknown := [v for v in found.tolist() if v not in target_of]:
            if len(unknown) > MANY:
                raise ValueError(
                    f"holds {len(unknown)} values that are not mapped, such as "
                    f"[{', '.join(map(word, unknown[:3]))}] ({self.describe(word)}): is this an "
                    "image?"
                )
            counts = np.bincount(where.ravel(), minlength=len(found))
            seen = ", ".join(f"{word(v)} ({n})" for v, n in zip(found, counts, strict=True))
            raise ValueError(
                f"holds the values [{', '.join(map(word, unknown))}], which are not mapped "
                f"({self.describe(word)}). Values and voxels seen: {seen}"
            )
        dtype = np.uint8 if len(self.labels) < 256 else np.uint16
        table = np.array([target_of[v] for v in found.tolist()], dtype)
        return table[where].reshape(array.shape)

    def restore(self, array: np.ndarray) -> np.ndarray:
        """Turn nnU-Net's labels back into source values; of several values the first.

        Raises:
            ValueError: the array holds a value that is no label of this mapping.
        """
        sources = [self.classes[name][0] for name in self.names] + [*self.unlabelled[:1]]
        if unknown := [v for v in np.unique(array).tolist() if not 0 <= v < len(sources)]:
            raise ValueError(f"holds the values {unknown}; labels are 0 to {len(sources) - 1}")
        return np.array(sources)[array.astype(np.intp)]

    def describe(self, word: Callable[[int], str] = str) -> str:
        """The mapping as a user types it: ``background=5 RV=1 unlabelled=0``.

        Args:
            word: of a value.
        """
        words = [f"{name}={','.join(map(word, own))}" for name, own in self.classes.items()]
        if self.unlabelled:
            words.append(f"unlabelled={','.join(map(word, self.unlabelled))}")
        return " ".join(words) or "(none)"

    def as_json(self) -> dict:
        """Content for a conversion record, read by `from_json`."""
        return {
            "classes": {name: list(own) for name, own in self.classes.items()},
            "unlabelled": list(self.unlabelled),
        }

    @classmethod
    def from_json(cls, content: Mapping) -> LabelMapping:
        """Rebuild a mapping from `as_json`'s content."""
        classes = {name: tuple(own) for name, own in content["classes"].items()}
        return cls(classes, tuple(content["unlabelled"]))
