"""The cases of `band.py`: reading one, and measuring everything of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from band_measures import (
    NOTHING,
    Ratio,
    alike_to_other,
    oracle,
    outline_offset,
    rates_along,
    share,
    spacing_of,
    stroke_distance,
)

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.draw.display_plane import display_plane
from scribble_tools.evaluate.confusion import count_confusion, part_map, parts_of
from scribble_tools.images.image_files import NATURAL, file_ending_of
from scribble_tools.images.image_io import geometry_difference, read_image
from scribble_tools.images.segmentation_files import labels_of

RING_MM = 10.0
MEAN = "mean"  # of the classes' Dice
# (topic, what, unit, dimension): a pair or class, "outline", "mm", 2
Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Case:
    """The files of one case; ``predictions`` by model, the last two may be missing."""

    name: str
    predictions: Mapping[str, Path]
    reference: Path
    image: Path | None
    scribble: Path | None


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        labels: classes and ignore value.
        pairs: indices of parts (true, predicted).
        dimensions: 2, 3 or both.
        ring_mm: see `alike_to_other`.
    """

    labels: LabelSet
    pairs: tuple[tuple[int, int], ...] = ()
    dimensions: tuple[int, ...] = (2, 3)
    ring_mm: float = RING_MM

    @property
    def names(self) -> list[str]:
        """Of the parts."""
        return list(parts_of(self.labels))


@dataclass(frozen=True)
class Loaded:
    """One case: part indices (*spatial), -1 unknown; intensities; ``axis``: of the slices."""

    predicted: Mapping[str, np.ndarray]
    expected: np.ndarray
    image: np.ndarray | None
    strokes: np.ndarray | None
    spacing_mm: tuple[float, ...]
    axis: int | None


def load(case: Case, labels: LabelSet) -> Loaded:
    """Read one case.

    Raises:
        ValueError: files are missing, unreadable or do not lie on the reference's grid; all named.
    """
    files = [case.reference, *case.predictions.values(), case.image, case.scribble]
    problems, images = [], {}
    for path in filter(None, files):
        try:
            images[path] = read_image(path)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    grid, maps = images[case.reference], {}
    natural = file_ending_of(case.reference) in NATURAL
    for path, image in images.items():
        if difference := geometry_difference(image, grid, size_only=natural):
            problems.append(f"{path} does not lie on the grid of {case.reference}: {difference}")
        elif path != case.image:
            ignore = None if path in case.predictions.values() else labels.ignore
            try:
                maps[path] = part_map(labels_of(image, path), parts_of(labels), ignore)
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    intensities = None
    if case.image is not None:
        intensities = sitk.GetArrayFromImage(images[case.image]).astype(np.float32)
        if intensities.ndim > grid.GetDimension():  # colours
            intensities = intensities.mean(axis=-1)
    return Loaded(
        {name: maps[path] for name, path in case.predictions.items()},
        maps[case.reference],
        intensities,
        maps[case.scribble] if case.scribble else None,
        grid.GetSpacing()[::-1],
        display_plane(grid, case.reference).axes[0] if grid.GetDimension() == 3 else None,
    )


def confuse(labels: LabelSet, case: Case) -> dict[str, np.ndarray] | str:
    """Confusion counts (parts, parts) by model, or what is wrong with the case's files."""
    try:
        loaded = load(case, labels)
    except ValueError as error:
        return str(error)
    count = len(parts_of(labels))
    return {n: count_confusion(p, loaded.expected, count) for n, p in loaded.predicted.items()}


def measure_pair(
    loaded: Loaded, predicted: np.ndarray, a: int, b: int, options: Options
) -> dict[Key, Ratio]:
    """All of one pair in one case."""
    names = options.names
    topic, expected, grid = f"{names[a]} as {names[b]}", loaded.expected, loaded.spacing_mm
    confused = (expected == a) & (predicted == b)
    found: dict[Key, Ratio] = {
        (topic, f"of true {names[a]}", "%", 0): share(confused, expected == a)
    }
    if loaded.axis is not None:
        for third, rate in rates_along(predicted, expected, a, b, loaded.axis).items():
            found[topic, f"of true {names[a]}, {third} third of slices", "%", 0] = rate
    if loaded.image is not None:
        alike = alike_to_other(loaded.image, expected, a, b, grid, options.ring_mm)
        of = {f"alike to {names[b]}, of these": confused}
        of[f"alike to {names[b]}, of true {names[a]}"] = expected == a
        if loaded.strokes is not None:
            of[f"alike to {names[b]}, of strokes of {names[a]}"] = loaded.strokes == a
        for what, mask in of.items():
            found[topic, what, "%", 0] = NOTHING if alike is None else share(alike, mask)
    plane = spacing_of(grid, loaded.axis, 2)
    voxel = math.prod(plane) ** (1 / len(plane))
    for dimension in options.dimensions:
        if dimension == 3 and loaded.axis is None:
            continue
        where = (a, b, grid, loaded.axis, dimension)
        lengths: dict[str, Ratio] = {}
        outline = outline_offset(predicted, expected, *where)
        lengths["outline"] = outline["offset"]
        lengths["outline, absolute"] = outline["absolute"]
        found[topic, "border with an outline", "%", dimension] = outline["measured"]
        if loaded.strokes is not None:
            strokes = stroke_distance(loaded.strokes, expected, *where)
            lengths[f"true outline to strokes of {names[a]}"] = strokes["own"]
            lengths[f"true outline to strokes of {names[b]}"] = strokes["other"]
            lengths["outline half way between strokes"] = strokes["halfway"]
            found[topic, "border with strokes of both", "%", dimension] = strokes["measured"]
        for what, (total, count) in lengths.items():
            found[topic, what, "voxels", dimension] = total / voxel, count
            found[topic, what, "mm", dimension] = total, count
    return found


def measure_oracles(loaded: Loaded, predicted: np.ndarray, options: Options) -> dict[Key, Ratio]:
    """Dice after each correction of each class that stands in a pair."""
    names, found = options.names, {}
    for part in sorted({part for pair in options.pairs for part in pair} - {0}):
        for dimension in options.dimensions:
            if dimension == 3 and loaded.axis is None:
                continue
            dice = oracle(predicted, loaded.expected, part, loaded.axis, dimension, len(names))
            for correction, values in dice.items():
                present = [value for value, count in values if count]
                values.append((float(np.mean(present)), 1.0) if present else NOTHING)
                for name, value in zip((*names[1:], MEAN), values, strict=True):
                    topic = f"{names[part]} corrected"
                    found[topic, f"{correction}: Dice {name}", "", dimension] = value
    return found


def measure(options: Options, case: Case) -> dict[str, dict[Key, Ratio]]:
    """All measures of one case, by model."""
    loaded, found = load(case, options.labels), {}
    for name, predicted in loaded.predicted.items():
        found[name] = {}
        for a, b in options.pairs:
            found[name] |= measure_pair(loaded, predicted, a, b, options)
        found[name] |= measure_oracles(loaded, predicted, options)
    return found
