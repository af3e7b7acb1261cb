"""3D Slicer's ``.seg.nrrd``: labels by segment name, overlapping segments, cropped extents.

A segment is a value in a layer; values and layers may differ from file to file, so that only the
name says what a segment is. Layers are the channels of the file; segments of different layers may
overlap. The file covers the segments' bounding box, not the image: what it leaves out belongs to
no segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, count
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.image_io import read_image
from scribble_tools.images.label_files import (
    GridMismatch,
    Mismatch,
    grids_in_words,
    resample_labels,
)

ENDING = ".seg.nrrd"
OVERLAPS = ("refuse", "ignore", "first")
ALIGNED_VOXELS = 0.05  # deviation from the image's grid that float32 headers of NIfTI explain


@dataclass(frozen=True)
class Segment:
    """A named segment: the voxels with ``value`` in channel ``layer``."""

    name: str
    value: int
    layer: int


def is_segmentation(path: Path) -> bool:
    """Whether the file is called ``.seg.nrrd``."""
    return path.name.lower().endswith(ENDING)


def read_segmentation(path: Path) -> tuple[sitk.Image, list[Segment]]:
    """Read a segmentation: one channel per layer, and what the header says of the segments.

    Raises:
        FileNotFoundError, ValueError: no such file, or its header names no segments.
    """
    image = read_image(path)
    segments = []
    for k in count():
        if not image.HasMetaDataKey(f"Segment{k}_Name"):
            break
        # files older than Slicer 4.11 give every segment a layer of its own, with value 1
        value, layer = (
            int(image.GetMetaData(key)) if image.HasMetaDataKey(key) else default
            for key, default in ((f"Segment{k}_LabelValue", 1), (f"Segment{k}_Layer", k))
        )
        segments.append(Segment(image.GetMetaData(f"Segment{k}_Name").strip(), value, layer))
    if not segments:
        raise ValueError(f"{path} names no segments: was it saved by 3D Slicer as a segmentation?")
    layers = image.GetNumberOfComponentsPerPixel()
    if lost := [segment.name for segment in segments if segment.layer >= layers]:
        raise ValueError(f"{path}: {', '.join(lost)} should lie in layers that the file lacks")
    return image, segments


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
    resample: bool = False,
    passed_over: tuple[str, ...] = (),
) -> np.ndarray:
    """Read a segmentation as labels (*spatial) on the voxel grid of ``image``.

    Args:
        label_of: segment name to label. Names that the file lacks are passed over.
        elsewhere: label of what lies in no segment.
        overlaps: where segments of different labels overlap, ``refuse``, or choose ``elsewhere``
            (``ignore``) or the label that stands ``first`` in ``label_of``.
        resample: bring a segmentation whose voxels do not coincide with the image's there
            (nearest neighbour) instead of refusing it.
        passed_over: beginnings of the names of segments that are as if they were not there.

    Raises:
        FileNotFoundError, ValueError: see `read_segmentation`; overlaps; segments that have
            voxels but no label.
        Mismatch: a flat image, or labelled voxels outside it.
        GridMismatch: the voxels do not coincide with the image's.
    """
    segmentation, segments = read_segmentation(path)
    segments = [segment for segment in segments if not segment.name.startswith(passed_over)]
    labels = np.full(image.GetSize()[::-1], elsewhere, np.int32)
    if _has_no_voxels(segmentation):
        return labels
    if image.GetDimension() != 3:
        raise Mismatch(f"is three-dimensional, but its image has {image.GetDimension()} axes")
    offset = aligned_offset(segmentation, image)
    if offset is None:
        if not resample:
            raise GridMismatch(
                "does not lie on its image's voxel grid, nor on a part of it: "
                + grids_in_words(segmentation, image)
            )
        segmentation = resample_labels(segmentation, image)
        offset = (0,) * image.GetDimension()
    found = _combine(path, segmentation, segments, label_of, elsewhere, overlaps)
    # the segmentation's box, cut to the image's
    low = np.array(offset[::-1])
    start, stop = np.maximum(low, 0), np.minimum(low + found.shape, labels.shape)
    inside = tuple(slice(a, max(a, b)) for a, b in zip(start - low, stop - low, strict=True))
    if lost := np.count_nonzero(found != elsewhere) - np.count_nonzero(found[inside] != elsewhere):
        raise Mismatch(f"has {lost} labelled voxels outside its image: are they a pair?")
    labels[tuple(slice(a, max(a, b)) for a, b in zip(start, stop, strict=True))] = found[inside]
    return labels


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
