"""Looking for places: every case is predicted, judged by itself, then compared with all others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import distance_transform_edt

from scribble_tools.dataset.label_mapping import BACKGROUND
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.draw.display_plane import DisplayPlane, display_plane
from scribble_tools.images.image_io import read_image
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.images.units import MILLIMETRES, unit_of
from scribble_tools.suggest.evidence import Doubt, combine, evidence_maps, gain
from scribble_tools.suggest.novelty import describe_slices, novelty_of_slices
from scribble_tools.suggest.places import Place, find_places, rank, with_novelty


@dataclass(frozen=True)
class CaseToDraw:
    """The files of one case: one per channel, and its strokes if it has any."""

    name: str
    images: tuple[Path, ...]
    strokes: Path | None = None


@dataclass(frozen=True)
class Judged:
    """What is kept of a case once it is judged by itself.

    Attributes:
        places: in the order of slices.
        descriptions: see `describe_slices`.
        annotated: bool (slices,).
        middles: row and column to look at in every slice.
        spacing_mm: of slices, rows and columns.
        uncertainty: mean over the case.
        members: predictions that were combined.
        unit: of lengths, see `images.units`.
        flat: it is a 2D image.
    """

    case: CaseToDraw
    places: Sequence[Place]
    descriptions: np.ndarray
    annotated: np.ndarray
    middles: Sequence[tuple[int, int]]
    spacing_mm: tuple[float, float, float]
    uncertainty: float
    members: int
    unit: str = MILLIMETRES
    flat: bool = False


def spacing_of(image: sitk.Image, plane: DisplayPlane) -> tuple[float, float, float]:
    """Spacing in mm of slices, rows and columns; a single slice is as thick as a pixel."""
    if plane.dimension == 2:
        return (min(plane.spacing_mm), *plane.spacing_mm)
    return (float(image.GetSpacing()[::-1][plane.axes[0]]), *plane.spacing_mm)


def as_stored(plane: DisplayPlane, array: np.ndarray) -> np.ndarray:
    """An array (*spatial) as (slices, rows, columns), not flipped: a view."""
    return array[None] if plane.dimension == 2 else np.transpose(array, plane.axes)


def voxel_of(plane: DisplayPlane, index: Sequence[int]) -> tuple[int, ...]:
    """Index in the file's array (*spatial) of an index (slice, row, column)."""
    if plane.dimension == 2:
        return tuple(index[1:])
    voxel = [0, 0, 0]
    for axis, number in zip(plane.axes, index, strict=True):
        voxel[axis] = number
    return tuple(voxel)


def read_grey(path: Path) -> tuple[sitk.Image, np.ndarray]:
    """An image and its voxels (*spatial); colours are averaged."""
    image = read_image(path)
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    return image, array.mean(axis=-1) if image.GetNumberOfComponentsPerPixel() > 1 else array


def _strokes_mm(
    strokes: np.ndarray | None, labels: LabelSet, spacing_mm: Sequence[float], at: Sequence[Place]
) -> list[dict[str, float]]:
    """Distance of every place to the nearest stroke of every class, in mm."""
    found: list[dict[str, float]] = [{} for _ in at]
    if strokes is None:
        return found
    for name, values in {BACKGROUND: (0,), **labels.classes}.items():
        own = np.isin(strokes, values)
        if own.any() and at:
            distance = distance_transform_edt(~own, sampling=spacing_mm)
            for place, distances in zip(at, found, strict=True):
                distances[name] = float(distance[place.index])
    return found


def judge(
    case: CaseToDraw,
    members: Iterable[np.ndarray],
    labels: LabelSet,
    region_values: Sequence[int] | None = None,
    with_areas: bool = True,
) -> tuple[Judged, np.ndarray]:
    """Judge one case by itself; return what is found, and the labels (*spatial) of all together.

    Args:
        members: probabilities (classes, z, y, x) of every fold and mirrored image; see `combine`.
        with_areas: slices are compared by what is predicted in them, too.

    Raises:
        FileNotFoundError, ValueError: the files of the case cannot be used.
    """
    image, grey = read_grey(case.images[0])
    plane = display_plane(image, case.images[0])
    spacing_mm = spacing_of(image, plane)
    strokes = None
    if case.strokes is not None:
        drawn, _ = read_labels(case.strokes)
        if drawn.shape != grey.shape:
            raise ValueError(f"{case.strokes} is of another size than {case.images[0]}")
        strokes = as_stored(plane, drawn)
    cut = (as_cut(plane, own, grey.shape) for own in members)
    doubt: Doubt = combine(cut, region_values)
    maps = evidence_maps(doubt, strokes, labels, spacing_mm)
    names = [BACKGROUND, *labels.by_value]
    places = find_places(
        case.name,
        gain(maps, spacing_mm),
        doubt.labels,
        maps,
        doubt.probabilities,
        names,
        spacing_mm,
        region_values is not None,
    )
    places = [
        place.at_distance(distances.get(place.predicted, np.inf))
        for place, distances in zip(
            places, _strokes_mm(strokes, labels, spacing_mm, places), strict=True
        )
    ]
    annotated = np.zeros(len(doubt.labels), bool)
    if strokes is not None and labels.ignore is not None:
        annotated = (strokes != labels.ignore).any(axis=(1, 2))
    back = np.zeros(3, int)
    back[list(plane.axes)] = range(3)
    predicted = doubt.labels[0] if plane.dimension == 2 else np.transpose(doubt.labels, back)
    judged = Judged(
        case,
        places,
        describe_slices(
            as_stored(plane, grey), doubt.labels, [*labels.classes.values()] if with_areas else []
        ),
        annotated,
        [_middle(own) for own in doubt.labels],
        spacing_mm,
        float(doubt.uncertainty.mean()),
        doubt.members,
        unit_of(case.images[0], image.GetSpacing()),
        plane.dimension == 2,
    )
    return judged, predicted.astype(np.uint8 if doubt.labels.max() < 256 else np.uint16)


def describe_annotated(case: CaseToDraw, labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
    """Descriptions of a case's slices, without areas, and which of them are annotated.

    Raises:
        FileNotFoundError, ValueError: the files of the case cannot be used.
    """
    image, grey = read_grey(case.images[0])
    plane = display_plane(image, case.images[0])
    pictures = as_stored(plane, grey)
    strokes = as_stored(plane, read_labels(case.strokes)[0])
    if strokes.shape != pictures.shape:
        raise ValueError(f"{case.strokes} is of another size than {case.images[0]}")
    annotated = (strokes != labels.ignore).any(axis=(1, 2))
    return describe_slices(pictures, strokes, []), annotated


def as_cut(plane: DisplayPlane, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Probabilities (classes, z, y, x) as (classes, slices, rows, columns)."""
    array = array.reshape(len(array), *shape)
    if plane.dimension == 2:
        return array[:, None]
    return np.transpose(array, (0, *(axis + 1 for axis in plane.axes)))


def _middle(labels: np.ndarray) -> tuple[int, int]:
    """Centre of what is predicted in a slice, or of the slice."""
    rows, columns = np.nonzero(labels)
    if not len(rows):
        return labels.shape[0] // 2, labels.shape[1] // 2
    return int(rows.mean()), int(columns.mean())


def rank_cases(
    judged: Mapping[str, Judged],
    number: int | None = None,
    per_case: int | None = None,
    patients: Mapping[str, str] | None = None,
    annotated: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> list[Place]:
    """The places of all cases, best first, see `places.rank`.

    Args:
        annotated: of further cases, see `describe_annotated`: what is unlike them is new.
    """
    known = {f"annotated {name}": own for name, own in (annotated or {}).items()}
    novelty = novelty_of_slices(
        {name: own.descriptions for name, own in judged.items()}
        | {name: descriptions for name, (descriptions, _) in known.items()},
        {name: own.annotated for name, own in judged.items()}
        | {name: slices for name, (_, slices) in known.items()},
    )
    places = [
        place
        for name, own in judged.items()
        for place in with_novelty(name, own.places, novelty[name], own.middles)
    ]
    spacing_mm = {name: own.spacing_mm for name, own in judged.items()}
    chosen = rank(places, spacing_mm, number, per_case, patients)
    return [replace(p, unit=judged[p.case].unit, flat=judged[p.case].flat) for p in chosen]
