"""What a set of label files holds, for a user who has to say what it means."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from scribble_tools.convert.masks import MaskFiles, read_mask
from scribble_tools.dataset.label_mapping import MANY
from scribble_tools.images.segmentation_files import (
    AS_THEY_ARE,
    COLOUR,
    LabelReading,
    read_labels,
    show_values,
)
from scribble_tools.images.slicer_segmentation import (
    count_segment_voxels,
    is_segmentation,
    read_segmentation,
)

VALUE, SEGMENT, MASK = "value", "segment", "mask of"
FEW = 3  # files that are named when they alone hold a value: often a slip, rarely a class


def only_in_few(places: Mapping[int | str, Sequence[Path]], num_files: int) -> list[str]:
    """``6, 7 only in patient05_a.nii.gz``: the values or names that few of the files hold."""
    found: dict[tuple[Path, ...], list[str]] = {}
    for what, paths in places.items():
        if 0 < len(paths) <= FEW and len(paths) < num_files:
            found.setdefault(tuple(paths), []).append(str(what))
    return [
        f"{', '.join(own)} only in {', '.join(map(str, paths))}" for paths, own in found.items()
    ]


@dataclass
class LabelSurvey:
    """What is seen: values or, in segmentations of 3D Slicer, segment names.

    Attributes:
        kind: `VALUE` or `SEGMENT`.
        num_files: how many there are.
        voxels: value or name to its voxels in all files.
        places: value or name to the files that hold it.
        total: voxels of all files.
        problems: why files could not be read.
        reading: how the files were read.
        names_of_value: of segmentations, the segments that have a value, each with a file.
    """

    kind: str
    num_files: int
    voxels: Counter[int | str] = field(default_factory=Counter)
    places: defaultdict[int | str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    total: int = 0
    problems: list[str] = field(default_factory=list)
    reading: LabelReading = AS_THEY_ARE
    names_of_value: defaultdict[int, dict[str, Path]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    @property
    def many(self) -> bool:
        """Whether there are more values than labels have, as a rule."""
        return self.kind == VALUE and len(self.voxels) > MANY

    @property
    def odd_files(self) -> list[Path]:
        """The files that hold more values than labels have, where most others hold fewer."""
        values = Counter(path for paths in self.places.values() for path in paths)
        odd = sorted(path for path, number in values.items() if number > MANY)
        return odd if self.kind == VALUE and 2 * len(odd) <= self.num_files else []

    def table(self, names: Mapping[int, str] | None = None) -> str:
        """One line per value or name, those of most voxels if there are too many of them.

        Args:
            names: of values, shown beside them.
        """
        kind = "colour" if self.reading.pictures == COLOUR else self.kind
        rows = [(kind, "voxels", "share", "files")]
        shown = self.voxels
        if self.many:
            shown = dict(self.voxels.most_common(MANY))
        for what in sorted(shown):
            name = f" ({names[what]})" if names and what in names else ""
            share = f"{100 * self.voxels[what] / max(self.total, 1):.3f} %"
            files = str(len(self.places[what]))
            rows.append((f"{self.shown(what)}{name}", str(self.voxels[what]), share, files))
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = [
            "  " + row[0].ljust(widths[0]) + "".join(f"  {row[k]:>{widths[k]}}" for k in (1, 2, 3))
            for row in rows
        ]
        if self.many:
            lines.append(f"  and {len(self.voxels) - MANY} more")
        return "\n".join(lines)

    def shown(self, what: int | str) -> str:
        """A value or name as a user writes it: colours as ``#ff0000``."""
        return what if isinstance(what, str) else show_values([what], self.reading)[0]

    def named_files(self, unknown: Sequence[int | str]) -> str:
        """Lines to follow an error about ``unknown`` values or names: the files, where few."""
        few = only_in_few({self.shown(what): self.places[what] for what in unknown}, self.num_files)
        return "".join(f"\n  {line}" for line in few)


def count_voxels(path: Path, reading: LabelReading) -> tuple[Mapping[int | str, int], int]:
    """Voxels of every value, or segment name, of a label file, and of the whole file.

    Raises:
        FileNotFoundError, ValueError: no such file, or no labels.
    """
    if is_segmentation(path):
        return count_segment_voxels(path)
    array = read_labels(path, reading)[0]
    values, voxels = np.unique(array, return_counts=True)
    return dict(zip(values.tolist(), voxels.tolist(), strict=True)), array.size


def survey_masks(masks: MaskFiles, reading: LabelReading, num_threads: int = 2) -> LabelSurvey:
    """Count the voxels of every class's masks."""
    classes = {
        path: name for own in masks.files.values() for name, paths in own.items() for path in paths
    }

    def count(path: Path) -> tuple[Mapping[int | str, int], int]:
        mask, _ = read_mask(path, reading)
        return {classes[path]: int(np.count_nonzero(mask))}, mask.size

    survey = LabelSurvey(MASK, len(classes), reading=reading)
    _fill(survey, [*classes], count, num_threads, "masks")
    return survey


def survey_labels(
    paths: Sequence[Path],
    num_threads: int = 2,
    title: str = "labels",
    reading: LabelReading = AS_THEY_ARE,
) -> LabelSurvey:
    """Count the values or segments of label files.

    Raises:
        ValueError: some are segmentations of 3D Slicer and others are not.
    """
    by_name = {is_segmentation(path): path for path in reversed(paths)}
    if len(by_name) > 1:
        raise ValueError(
            f"{title}: some files are segmentations of 3D Slicer, such as {by_name[True]}, and "
            f"others are not, such as {by_name[False]}: use one kind"
        )
    survey = LabelSurvey(SEGMENT if True in by_name else VALUE, len(paths), reading=reading)
    _fill(survey, paths, partial(count_voxels, reading=reading), num_threads, title)
    if survey.kind == SEGMENT and not survey.problems:
        for path in paths:
            for segment in read_segmentation(path)[1]:
                survey.names_of_value[segment.value].setdefault(segment.name, path)
    return survey


def _fill(
    survey: LabelSurvey,
    paths: Sequence[Path],
    count: Callable[[Path], tuple[Mapping[int | str, int], int]],
    num_threads: int,
    title: str,
) -> None:
    def count_or_problem(path: Path) -> tuple[Mapping[int | str, int], int] | str:
        try:
            return count(path)
        except (FileNotFoundError, ValueError) as error:
            return str(error)

    with ThreadPoolExecutor(num_threads) as pool:
        results = pool.map(count_or_problem, paths)
        results = tqdm(results, f"reading {title}", len(paths), unit="file")
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, str):
                survey.problems.append(result)
                continue
            counts, size = result
            survey.total += size
            survey.voxels.update(counts)
            for what in (what for what, voxels in counts.items() if voxels):
                survey.places[what].append(path)
