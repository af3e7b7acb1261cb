"""What a set of label files holds, for a user who has to say what it means."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from scribble_tools.images.label_files import read_label_image
from scribble_tools.images.slicer_segmentation import count_segment_voxels, is_segmentation

VALUE, SEGMENT = "value", "segment"
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
    """

    kind: str
    num_files: int
    voxels: Counter[int | str] = field(default_factory=Counter)
    places: defaultdict[int | str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    total: int = 0
    problems: list[str] = field(default_factory=list)

    def table(self, names: Mapping[int, str] | None = None) -> str:
        """One line per value or name; ``names`` of values are shown beside them."""
        rows = [(self.kind, "voxels", "share", "files")]
        for what in sorted(self.voxels):
            name = f" ({names[what]})" if names and what in names else ""
            share = f"{100 * self.voxels[what] / max(self.total, 1):.3f} %"
            files = str(len(self.places[what]))
            rows.append((f"{what}{name}", str(self.voxels[what]), share, files))
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        return "\n".join(
            "  " + row[0].ljust(widths[0]) + "".join(f"  {row[k]:>{widths[k]}}" for k in (1, 2, 3))
            for row in rows
        )

    def named_files(self, unknown: Sequence[int | str]) -> str:
        """Lines to follow an error about ``unknown`` values or names: the files, where few."""
        few = only_in_few({what: self.places[what] for what in unknown}, self.num_files)
        return "".join(f"\n  {line}" for line in few)


def _count(path: Path) -> tuple[Mapping[int | str, int], int]:
    if is_segmentation(path):
        return count_segment_voxels(path)
    array = read_label_image(path)[1]
    values, voxels = np.unique(array, return_counts=True)
    return dict(zip(values.tolist(), voxels.tolist(), strict=True)), array.size


def survey_labels(
    paths: Sequence[Path], num_threads: int = 2, title: str = "labels"
) -> LabelSurvey:
    """Count the values or segments of label files.

    Raises:
        ValueError: some are segmentations of 3D Slicer and others are not.
    """
    by_name = {is_segmentation(path) for path in paths}
    if len(by_name) > 1:
        raise ValueError(
            f"{title}: some files are .seg.nrrd of 3D Slicer and others are not: use one kind"
        )
    survey = LabelSurvey(SEGMENT if by_name == {True} else VALUE, len(paths))

    def count_or_problem(path: Path) -> tuple[Mapping[int | str, int], int] | str:
        try:
            return _count(path)
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
    return survey
