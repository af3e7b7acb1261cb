"""Label files on their image's voxel grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.file_kind import NATURAL, file_ending_of
from scribble_tools.images.image_io import geometry_difference, read_image
from scribble_tools.images.segmentation_files import labels_of


class Mismatch(ValueError):
    """A label file does not fit its image."""


class GridMismatch(Mismatch):
    """A label file lies on another voxel grid than its image."""


def grids_in_words(label: sitk.Image, image: sitk.Image) -> str:
    """What tells the grids of a label file and its image apart: size, spacing, origin, axes."""
    own, its = (
        f"size {grid.GetSize()}, spacing {np.round(grid.GetSpacing(), 4).tolist()}, "
        f"origin {np.round(grid.GetOrigin(), 4).tolist()}"
        for grid in (label, image)
    )
    turned = not np.allclose(label.GetDirection(), image.GetDirection(), atol=1e-3)
    return f"it has {own}; its image {its}" + "; their axes have other directions" * turned


def read_label_image(path: Path) -> tuple[sitk.Image, np.ndarray]:
    """Read a label file on its own grid, as image and as integers (*spatial).

    Raises:
        FileNotFoundError, ValueError: no such file, or it holds no labels.
    """
    if file_ending_of(path) in (".jpg", ".jpeg"):
        raise ValueError(f"{path}: JPG changes label numbers when it saves them, use PNG")
    label = read_image(path)
    if file_ending_of(path) in NATURAL and label.GetNumberOfComponentsPerPixel() > 1:
        raise ValueError(
            f"{path} is a picture in colours or with a palette; labels must be one grey channel "
            "of 8 or 16 bit: save the label numbers as grey values"
        )
    return label, labels_of(label, path)


def read_on_grid(
    path: Path, image: sitk.Image, resample: bool = False, outside: int = 0
) -> np.ndarray:
    """Read a label file (*spatial) that lies on the voxel grid of ``image``.

    Args:
        resample: bring a file that lies on another grid to the image's (nearest neighbour)
            instead of refusing it; never a picture, whose place in space is unknown.
        outside: value of the voxels that a resampled file does not reach.

    Raises:
        FileNotFoundError, ValueError: no such file, or no labels.
        Mismatch: another dimension.
        GridMismatch: another voxel grid.
    """
    label, array = read_label_image(path)
    natural = file_ending_of(path) in NATURAL
    difference = geometry_difference(image, label, size_only=natural)
    if not difference:
        return array
    if label.GetDimension() != image.GetDimension():
        raise Mismatch(
            f"has {label.GetDimension()} dimensions, its image {image.GetDimension()}: are they a "
            "pair?"
        )
    if not resample or natural:
        grids = difference if natural else grids_in_words(label, image)
        raise GridMismatch(f"does not lie on its image's voxel grid: {grids}")
    # as int32, which holds any value of ``outside``
    integers = sitk.GetImageFromArray(array.astype(np.int32))
    integers.CopyInformation(label)
    return sitk.GetArrayFromImage(resample_labels(integers, image, outside))


def resample_labels(label: sitk.Image, image: sitk.Image, outside: int = 0) -> sitk.Image:
    """Bring labels (of one or more channels) to the grid of ``image``, nearest neighbour."""
    return sitk.Resample(label, image, sitk.Transform(), sitk.sitkNearestNeighbor, outside)
