"""Segmentations of 3D Slicer that are read by value, though their names say otherwise."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.evaluate.reference_values import OPTION
from scribble_tools.images.slicer_segmentation import is_segmentation, read_segmentation
from scribble_tools.wording import counted

BY_NAME = "bring them to label values by their names: scribble_tools convert folder, or export them"


def numbered_otherwise(
    predictions: Iterable[Path], references: Iterable[Path] | None, labels: LabelSet
) -> list[str]:
    """What is wrong where a segment bears a class' name and another class' value, a line each.

    Args:
        references: None where it is said what their values mean.
    """
    values = {_key(name): own[0] for name, own in labels.classes.items() if len(own) == 1}
    lines = []
    for paths, is_reference in ((predictions, False), (references or (), True)):
        numbers: dict[str, set[int]] = {}  # that segments of a class' name have
        wrong: dict[str, list[str]] = {}
        for path in paths:
            for segment in _segments(path):
                if (key := _key(segment.name)) not in values:
                    continue
                numbers.setdefault(key, set()).add(segment.value)
                if segment.value != values[key]:
                    words = f"{path}: the segment {segment.name!r} has the value {segment.value}"
                    wrong.setdefault(key, []).append(words)
        one_each = all(len(own) == 1 for own in numbers.values())
        remedy = _ref_labels(numbers, labels) if is_reference and one_each else BY_NAME
        for key, own in wrong.items():
            more = f" (so in {counted(len(own), 'file')})" * (len(own) > 1)
            lines.append(
                f"{own[0]}, but the class of that name has {values[key]}{more}. Values are scored: "
                f"{remedy}"
            )
    return lines


def _segments(path: Path) -> list:
    try:
        return read_segmentation(path)[1] if is_segmentation(path) else []
    except (FileNotFoundError, ValueError):
        return []  # whoever reads the labels says so


def _key(name: str) -> str:
    return name.replace("_", " ").casefold()


def _ref_labels(numbers: Mapping[str, set[int]], labels: LabelSet) -> str:
    """The option that says what the values mean, with VALUE where no segment is of that name."""
    known = {key: str(*own) for key, own in numbers.items()}
    words = [f"{name}={known.get(_key(name), 'VALUE')}" for name in labels.classes]
    return f"say {OPTION} {shlex.join(words)}"
