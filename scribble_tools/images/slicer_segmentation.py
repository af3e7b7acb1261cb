"""3D Slicer's ``.seg.nrrd``: labels by segment name, overlapping segments, cropped extents.

A segment is a value in a layer; values and layers may differ from file to file, so that only the
name says what a segment is. Layers are the channels of the file; segments of different layers may
overlap. The file covers the segments' bounding box, not the image: what it leaves out belongs to
no segment.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.file_kind import (
    DETACHED_NRRD,
    NATURAL,
    NRRD,
    ending_of_content,
    file_ending_of,
    kind_of,
)
from scribble_tools.images.flat_images import is_flat
from scribble_tools.images.image_io import read_image
from scribble_tools.images.label_files import IMAGE, GridRules, fit_to_grid
from scribble_tools.images.mismatches import Mismatch

ENDING = ".seg.nrrd"
LONGEST_HEADER = 1 << 20
OVERLAPS = ("refuse", "ignore", "first")
ALIGNED_VOXELS = 0.05  # deviation from the image's grid that float32 headers of NIfTI explain


@dataclass(frozen=True)
class Segment:
    """A named segment: the voxels with ``value`` in channel ``layer``."""

    name: str
    value: int
    layer: int


def stem_of(path: Path) -> str:
    """The file's name without its ending; ``.nii.gz`` and ``.seg.nrrd`` are one ending."""
    ending = ENDING if path.name.lower().endswith(ENDING) else file_ending_of(path)
    return path.name[: len(path.name) - len(ending)]


def is_segmentation(path: Path) -> bool:
    """Whether the file is called ``.seg.nrrd``, or is any NRRD whose header names segments."""
    if path.name.lower().endswith(ENDING):
        return True
    try:
        if kind_of(path) not in (NRRD, DETACHED_NRRD):
            return False
        with path.open("rb") as file:
            header = file.read(LONGEST_HEADER)
    except (OSError, ValueError):
        return False
    header = re.split(rb"\r?\n\r?\n", header, maxsplit=1)[0]
    return re.search(rb"(?m)^Segment\d+_Name:=", header) is not None


def _number(image: sitk.Image, key: str, default: int, path: Path) -> int:
    if not image.HasMetaDataKey(key):
        return default
    try:
        return int(image.GetMetaData(key))
    except ValueError:
        raise ValueError(f"{path}: {key} is {image.GetMetaData(key)!r}, no whole number") from None


def read_segmentation(path: Path) -> tuple[sitk.Image, list[Segment]]:
    """Read a segmentation: one channel per layer, and what the header says of the segments.

    Raises:
        FileNotFoundError, ValueError: no such file, or its header names no segments, or some that
            cannot be told apart.
    """
    image = read_image(path)
    segments = []
    keys = [re.fullmatch(r"Segment(\d+)_Name", key) for key in image.GetMetaDataKeys()]
    for k in sorted(int(match.group(1)) for match in keys if match):
        # files older than Slicer 4.11 give every segment a layer of its own, with value 1
        value = _number(image, f"Segment{k}_LabelValue", 1, path)
        layer = _number(image, f"Segment{k}_Layer", k, path)
        name = unicodedata.normalize("NFC", image.GetMetaData(f"Segment{k}_Name").strip())
        segments.append(Segment(name, value, layer))
    if not segments:
        raise ValueError(f"{path} names no segments: was it saved by 3D Slicer as a segmentation?")
    if empty := [segment.name for segment in segments if segment.value == 0]:
        raise ValueError(
            f"{path}: {', '.join(empty)} has the value 0, which is what lies in no segment. Load "
            "it in 3D Slicer and save it again; a program that wrote it must count from 1"
        )
    layers = image.GetNumberOfComponentsPerPixel()
    if lost := [segment.name for segment in segments if not 0 <= segment.layer < layers]:
        raise ValueError(f"{path}: {', '.join(lost)} should lie in layers that the file lacks")
    places: dict[tuple[int, int], list[str]] = {}
    for segment in segments:
        places.setdefault((segment.layer, segment.value), []).append(segment.name)
    if shared := {place: names for place, names in places.items() if len(names) > 1}:
        words = [
            f"{' and '.join(names)} have the same value {value} in the same layer {layer}"
            for (layer, value), names in shared.items()
        ]
        raise ValueError(
            f"{path}: {'; '.join(words)}, so that nobody can tell whose voxels are whose. Load it "
            "in 3D Slicer, mend the segments and save it again; a program that wrote it must give "
            "each its own value"
        )
    return image, segments


def value_conflicts(paths: Iterable[Path]) -> list[str]:
    """Values that segmentations of 3D Slicer give different names, one line for each value.

    For commands that read label values: a program that numbers segments anew in every file makes
    one class of several.
    """
    names: dict[int, dict[str, Path]] = {}
    for path in paths:
        try:
            segments = read_segmentation(path)[1] if is_segmentation(path) else ()
        except (FileNotFoundError, ValueError):
            continue  # whoever reads the labels says so
        for segment in segments:
            names.setdefault(segment.value, {}).setdefault(segment.name, path)
    return [
        f"the value {value} is "
        + " and ".join(f"{name!r} in {path}" for name, path in own.items())
        + ": these are segmentations of 3D Slicer, whose values mean nothing. Bring them to label "
        "values by their names first: scribble_tools convert folder, or export label maps"
        for value, own in sorted(names.items())
        if len(own) > 1
    ]


def _layers(image: sitk.Image) -> np.ndarray:
    """The voxels as (layer, z, y, x), a view."""
    array = sitk.GetArrayViewFromImage(image)
    return array[None] if image.GetNumberOfComponentsPerPixel() == 1 else np.moveaxis(array, -1, 0)


def count_segment_voxels(path: Path) -> tuple[dict[str, int], int]:
    """Voxels of every segment name, and of the whole file (which may be less than the image).

    Raises:
        FileNotFoundError, ValueError: see `read_segmentation`; or values of no segment.
    """
    image, segments = read_segmentation(path)
    counts = dict.fromkeys((segment.name for segment in segments), 0)
    if _has_no_voxels(image):
        return counts, 0
    for layer, array in enumerate(_layers(image)):
        names = {s.value: s.name for s in segments if s.layer == layer}
        values, voxels = np.unique(array, return_counts=True)
        for value, number in zip(values.tolist(), voxels.tolist(), strict=True):
            if value in names:
                counts[names[value]] += number
            elif value != 0:
                raise ValueError(f"{path} holds the value {value}, which belongs to no segment")
    return counts, array.size


def _has_no_voxels(image: sitk.Image) -> bool:
    """Slicer writes a segmentation without voxels as one of 0 with a meaningless geometry."""
    return image.GetNumberOfPixels() == 1 and not sitk.GetArrayViewFromImage(image).any()


def aligned_offset(label: sitk.Image, image: sitk.Image) -> tuple[int, ...] | None:
    """Index (x, y, z) in ``image`` of the label's first voxel when their voxels coincide.

    None when they do not, to within `ALIGNED_VOXELS` in every corner of ``label``.
    """
    sizes = label.GetSize()
    first = image.TransformPhysicalPointToContinuousIndex(label.GetOrigin())
    offset = np.rint(first).astype(int)
    for corner in np.ndindex(*(2,) * len(sizes)):
        index = [bit * (size - 1) for bit, size in zip(corner, sizes, strict=True)]
        point = label.TransformIndexToPhysicalPoint(index)
        found = image.TransformPhysicalPointToContinuousIndex(point)
        if np.abs(np.subtract(found, offset + index)).max() > ALIGNED_VOXELS:
            return None
    # an axis of one voxel has both its corners in one place, whichever way it points
    same_axes = np.allclose(label.GetDirection(), image.GetDirection(), atol=1e-3)
    return tuple(offset.tolist()) if same_axes else None


def read_segments_on_grid(
    path: Path,
    image: sitk.Image,
    label_of: Mapping[str, int],
    elsewhere: int,
    overlaps: str = "refuse",
    image_path: Path | None = None,
    rules: GridRules | None = None,
    passed_over: tuple[str, ...] = (),
    left_out: Collection[str] = (),
) -> np.ndarray:
    """Read a segmentation as labels (*spatial) on the voxel grid of ``image``.

    Args:
        label_of: segment name to label. Names that the file lacks are passed over.
        elsewhere: label of what lies in no segment.
        overlaps: where segments of different labels overlap, ``refuse``, or choose ``elsewhere``
            (``ignore``) or the label that stands ``first`` in ``label_of``.
        image_path: the file that ``image`` comes from.
        rules: what to do with a segmentation whose voxels do not coincide with the image's;
            default: it is refused.
        passed_over: beginnings of the names of segments that are as if they were not there.
        left_out: whole names of such segments.

    Raises:
        FileNotFoundError, ValueError: see `read_segmentation`; overlaps; segments that have
            voxels but no label.
        Mismatch: a flat image, or labelled voxels outside it.
        GridMismatch: the voxels do not coincide with the image's.
    """
    rules = rules or GridRules()
    segmentation, segments = read_segmentation(path)
    segments = [
        segment
        for segment in segments
        if not segment.name.startswith(passed_over) and segment.name not in left_out
    ]
    found = _combine(path, segmentation, segments, label_of, elsewhere, overlaps)
    return lay_on_grid(found, segmentation, path, image, image_path, rules, elsewhere)


def lay_on_grid(
    found: np.ndarray,
    segmentation: sitk.Image,
    path: Path,
    image: sitk.Image,
    image_path: Path | None,
    rules: GridRules,
    elsewhere: int,
) -> np.ndarray:
    """Labels (*spatial) that were read from a segmentation, on the grid of ``image``.

    See `read_segments_on_grid`: what the segmentation covers may be less than the image.

    Args:
        segmentation: has the geometry of ``found``.
    """
    labels = np.full(image.GetSize()[::-1], elsewhere, np.int32)
    if _has_no_voxels(segmentation):
        return labels
    natural = image_path is not None and ending_of_content(image_path) in NATURAL
    volume = image
    if image.GetDimension() == 2 and is_flat(segmentation):
        volume = _volume_of(image, segmentation, natural)
    same_size = segmentation.GetSize() == volume.GetSize()
    laid = same_size and (natural or rules.geometry == IMAGE)
    if (
        laid
        or volume.GetDimension() != 3
        or (offset := aligned_offset(segmentation, volume)) is None
    ):
        return fit_to_grid(found, segmentation, path, image, image_path, rules, elsewhere)
    # the segmentation's box, cut to the image's
    whole = labels.reshape(volume.GetSize()[::-1])
    low = np.array(offset[::-1])
    start, stop = np.maximum(low, 0), np.minimum(low + found.shape, whole.shape)
    inside = tuple(slice(a, max(a, b)) for a, b in zip(start - low, stop - low, strict=True))
    if lost := np.count_nonzero(found != elsewhere) - np.count_nonzero(found[inside] != elsewhere):
        raise Mismatch(f"has {lost} labelled voxels outside its image: are they a pair?")
    whole[tuple(slice(a, max(a, b)) for a, b in zip(start, stop, strict=True))] = found[inside]
    return labels


def _volume_of(image: sitk.Image, segmentation: sitk.Image, natural: bool) -> sitk.Image:
    """A picture as the volume of one slice that Slicer loads, on which a segmentation was drawn."""
    volume = sitk.JoinSeries(image)
    spacing = segmentation.GetSpacing()
    volume.SetSpacing(spacing if natural else (*image.GetSpacing(), spacing[2]))
    volume.SetOrigin((*image.GetOrigin(), segmentation.GetOrigin()[2]))
    return volume


def _combine(
    path: Path,
    segmentation: sitk.Image,
    segments: list[Segment],
    label_of: Mapping[str, int],
    elsewhere: int,
    overlaps: str,
) -> np.ndarray:
    """Labels (z, y, x) on the segmentation's own grid."""
    layers = _layers(segmentation)
    masks: dict[int, np.ndarray] = {}
    unknown = []
    for segment in segments:
        mask = layers[segment.layer] == segment.value
        if segment.name not in label_of:
            unknown += [segment.name] * bool(mask.any())
        elif (label := label_of[segment.name]) in masks:
            masks[label] |= mask
        else:
            masks[label] = mask
    if unknown:
        raise ValueError(
            f"{path} has the segments {', '.join(unknown)}, which are not mapped "
            f"({', '.join(label_of)})"
        )
    names: dict[int, list[str]] = {}
    for name, label in label_of.items():
        names.setdefault(label, []).append(name)
    in_order = [label for label in names if label in masks]
    overlapping = np.zeros(layers.shape[1:], bool)
    problems = []
    for a, b in combinations(in_order, 2):
        both = masks[a] & masks[b]
        if number := np.count_nonzero(both):
            overlapping |= both
            problems.append(f"{number} in {'/'.join(names[a])} and {'/'.join(names[b])}")
    if problems and overlaps == "refuse":
        raise ValueError(
            f"has voxels in two segments: {', '.join(problems)}. Mend it in Slicer, or say "
            "--overlaps ignore (leave them unlabelled; not in dense references) or first (the "
            "first in --labels wins)"
        )
    result = np.full(overlapping.shape, elsewhere, np.int32)
    for label in reversed(in_order):
        result[masks[label]] = label
    if overlaps == "ignore":
        result[overlapping] = elsewhere
    return result
