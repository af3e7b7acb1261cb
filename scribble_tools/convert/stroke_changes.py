"""Strokes drawn again: reading them as the first ones, merging, and counting what changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.dataset.drawn_labels import DrawnLabels
from scribble_tools.dataset.not_strokes import read_not_strokes
from scribble_tools.images.label_files import GridRules, read_on_grid
from scribble_tools.images.segmentation_files import (
    AS_THEY_ARE,
    GREY,
    NAN_LABEL,
    LabelReading,
)
from scribble_tools.images.slicer_segmentation import (
    OVERLAPS,
    is_segmentation,
    read_segments_on_grid,
)


@dataclass(frozen=True)
class UpdateOptions:
    """How new strokes go into a data set.

    Attributes:
        unlabelled: further values, or segment names, that are no strokes.
        erase: take away earlier strokes that the new files lack.
        exclude: shell patterns of files to pass over.
        overlaps: see `read_segments_on_grid`.
        rules: what to do with label files on another grid than the image's.
        reading: of label files: NaN, palettes.
        num_threads: readers side by side.
    """

    unlabelled: Sequence[str] = ()
    erase: bool = False
    exclude: Sequence[str] = ()
    overlaps: str = OVERLAPS[0]
    rules: GridRules = field(default_factory=GridRules)
    reading: LabelReading = AS_THEY_ARE
    num_threads: int = 2


@dataclass(frozen=True)
class ClassChange:
    """What became of the voxels of one class in one case.

    Attributes:
        added: that had no stroke before.
        recoloured: that were of another class.
        gone: that are of another class now, or of none.
    """

    case: str
    name: str
    before: int
    added: int
    recoloured: int
    gone: int
    after: int


def merge(
    earlier: np.ndarray, new: np.ndarray, ignore: int, erase: bool = False
) -> tuple[np.ndarray, int]:
    """Labels (*spatial) with new strokes over the earlier ones, and how many of these were kept.

    Args:
        ignore: value of voxels without stroke.
        erase: the new labels alone count.
    """
    missing = (new == ignore) & (earlier != ignore)
    if erase:
        return new, 0
    return np.where(missing, earlier, new), int(missing.sum())


def count_changes(
    case: str, before: np.ndarray, after: np.ndarray, names: Mapping[str, int], ignore: int
) -> list[ClassChange]:
    """What became of every class, of those that changed."""
    rows = []
    for name, value in names.items():
        old, now = before == value, after == value
        if value == ignore or (old == now).all():
            continue
        rows.append(
            ClassChange(
                case,
                name,
                int(old.sum()),
                int((now & (before == ignore)).sum()),
                int((now & (before != ignore) & ~old).sum()),
                int((old & ~now).sum()),
                int(now.sum()),
            )
        )
    return rows


class StrokeReader:
    """Reads label files that were drawn as the data set's first ones.

    Args:
        drawn: how those were drawn.
        folder: of the files, with what `suggest` says of them.

    Raises:
        ValueError: see `read_not_strokes`.
    """

    def __init__(self, drawn: DrawnLabels, folder: Path, options: UpdateOptions) -> None:
        self._beside = read_not_strokes(folder)
        numbers = [int(word) for word in options.unlabelled if re.fullmatch(r"\d+", word)]
        classes = {v for own in drawn.mapping.classes.values() for v in own}
        self._drawn, self._options = drawn, options
        # where the strokes' own values are in the list, it belongs to other files
        self._values = sorted({*self._beside.values, *numbers} - classes)
        self._names = (*self._beside.segments, *options.unlabelled)

    def read(self, path: Path, image: sitk.Image, image_path: Path | None = None) -> np.ndarray:
        """Labels of the data set (*spatial) on the grid of ``image``.

        Raises:
            FileNotFoundError, ValueError: no such file, or it holds what nobody explained.
        """
        mapping = self._drawn.mapping
        outside = mapping.unlabelled[0]
        if is_segmentation(path):
            label_of = dict(self._drawn.values_of_names) or {
                name: own[0] for name, own in mapping.classes.items()
            }
            found = read_segments_on_grid(
                path,
                image,
                label_of,
                outside,
                self._options.overlaps,
                image_path,
                self._options.rules,
                self._names,
            )
        else:
            reading = self._options.reading
            if reading.pictures == GREY:
                reading = replace(reading, pictures=self._drawn.pictures)
            rules = self._options.rules
            found = read_on_grid(path, image, image_path, rules, outside, reading)
            found = self._beside.translate(found)
            found = np.where(np.isin(found, [*self._values, NAN_LABEL]), outside, found)
        return mapping.apply(found)
