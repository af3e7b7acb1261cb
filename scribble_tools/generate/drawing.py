"""Scribbles for one label file after the other, in processes; all problems are reported at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from scribble_tools.dataset.provenance import package_versions
from scribble_tools.generate.plan import ScribblePlan, generate_scribbles
from scribble_tools.images.image_files import (
    NATURAL,
    file_ending_of,
    read_finite_channels,
    write_image,
)
from scribble_tools.images.image_io import geometry_difference, write_labels
from scribble_tools.images.label_appearance import is_label_map
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.parallel import parallel_map
from scribble_tools.problems import refuse


@dataclass(frozen=True)
class Job:
    """What a process needs to scribble the files of a folder."""

    classes: tuple[int, ...]
    unlabelled: int
    may_ignore: bool
    plan: ScribblePlan


@dataclass(frozen=True)
class Item:
    """A label file, and what is made of it.

    Attributes:
        case: name, part of the seed.
        source: dense labels.
        target: scribble file to write.
        copies: files that belong to the labels, and where they are copied to: images, which must
            be images on the labels' grid, and the labels themselves.
        is_scribbled: else ``target`` gets nothing but the unlabelled value.
    """

    case: str
    source: Path
    target: Path
    copies: tuple[tuple[Path, Path], ...] = ()
    is_scribbled: bool = True


def _copy(item: Item, image) -> list[str]:
    """Copy what belongs to the labels, whose grid ``image`` has; returns what is wrong."""
    problems = []
    for source, target in item.copies:
        try:
            channels, whole = read_finite_channels(source)
            natural = file_ending_of(source) in NATURAL
            if len(channels) > 1:
                problems.append(f"{source} holds {len(channels)} images, nnU-Net expects one")
            elif difference := geometry_difference(channels[0], image, size_only=natural):
                problems.append(
                    f"{source} does not lie on the voxel grid of {item.source}: {difference}"
                )
            else:
                write_image(source, channels[0], whole, target)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
    return problems


def _scribble_file(job: Job, item: Item) -> tuple[Counter, list[str]]:
    """Write one scribble file.

    Returns:
        the number of voxels of each label value, and what is wrong, to report all at once.
    """
    try:
        dense, image = read_labels(item.source)
    except (FileNotFoundError, ValueError) as error:
        return Counter(), [str(error)]
    if dense.ndim not in (2, 3):
        return Counter(), [f"{item.source} has {dense.ndim} dimensions; labels have 2 or 3"]
    problems = _copy(item, image)
    found = set(np.unique(dense).tolist())
    known = {*job.classes, job.unlabelled} if job.may_ignore else {*job.classes}
    if unknown := sorted(found - known):
        problems.append(f"{item.source} holds {unknown}; expected {sorted(known)}")
    elif np.count_nonzero(dense == job.unlabelled) > dense.size / 2:
        problems.append(
            f"{item.source}: most voxels are unlabelled ({job.unlabelled}), so these are scribbles "
            "already. Give dense labels, or put them into labelsTr_dense"
        )
    if problems:
        return Counter(), problems
    if item.is_scribbled:
        spacing_mm = image.GetSpacing()[::-1]
        scribble = generate_scribbles(
            dense, spacing_mm, job.classes, job.unlabelled, job.plan, item.case
        )
    else:
        scribble = np.full(dense.shape, job.unlabelled)
    try:
        write_labels(scribble, image, item.target)
    except ValueError as error:
        return Counter(), [str(error)]
    values, counts = np.unique(scribble, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True))), []


def values_in(path: Path) -> tuple[set[int], list[str], bool]:
    """The label values of a file, what is wrong with it, and whether it looks like no labels."""
    try:
        array = read_labels(path)[0]
    except (FileNotFoundError, ValueError) as error:
        return set(), [str(error)], True
    return set(np.unique(array).tolist()), [], not is_label_map(array)


def scribble_files(job: Job, items: Sequence[Item], num_processes: int) -> Counter:
    """Write all scribble files; returns the number of voxels of each value in all of them.

    Raises:
        ValueError: files are not what they should be; the message lists all of them.
    """
    total, problems = Counter(), []
    for counts, own in parallel_map(partial(_scribble_file, job), items, num_processes, "drawing"):
        total += counts
        problems += own
    refuse(problems)
    return total


def record_of(source: Path, plan: ScribblePlan, classes: Mapping[str, int], **more: object) -> dict:
    """What the record of generated scribbles says of how they were made."""
    return {
        "format": "generate",
        "versions": package_versions(),
        "source": str(source),
        "mode": plan.mode,
        "slices": plan.slices,
        "every_nth_slice": plan.every_nth,
        "seed": plan.seed,
        "classes": {}
        if plan.every_nth
        else {name: asdict(plan.settings_of(value)) for name, value in classes.items()},
        **more,
    }


def refuse_other_classes(plan: ScribblePlan, values: Collection[int], source: Path) -> None:
    """Refuse settings of a class that ``source`` has not.

    Raises:
        ValueError: there is one.
    """
    if unknown := sorted({*plan.by_class} - {*values}):
        raise ValueError(
            f"--class: {source} holds no label {', '.join(map(str, unknown))}, but {sorted(values)}"
        )
