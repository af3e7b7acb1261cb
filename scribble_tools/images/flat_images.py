"""Pictures and volumes of one slice: labels that were drawn in one and saved as the other.

ITK-SNAP and 3D Slicer load a picture as a volume of one slice, with x to the left and y to the
back, the way its pixels run, and save its labels so. Programs that know no geometry write a header
that says nothing true of the picture. So the size decides, and where a header says that x or y run
the other way, the place of the first voxel tells whether the voxels were stored in reverse.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.mismatches import GridMismatch, Mismatch

PIXELS = 0.51  # so near the first voxel must be to a corner of the picture


def is_flat(image: sitk.Image) -> bool:
    """Whether an image is 2D, or a volume of one slice, along whichever axis."""
    return image.GetDimension() == 2 or (image.GetDimension() == 3 and 1 in image.GetSize())


def flattened(
    array: np.ndarray, label: sitk.Image, image: sitk.Image, natural: bool, as_stored: bool
) -> tuple[np.ndarray, sitk.Image]:
    """Labels of one slice with as many axes as their image, and an image of their geometry.

    Args:
        array, label: voxels (*spatial) and geometry of the labels.
        natural: one of both files is a picture, so that only the size can be compared.
        as_stored: take the voxels as they are stored, whatever the header says.

    Raises:
        Mismatch: one of both has several slices, or the label's axes are turned.
    """
    if not (is_flat(image) and is_flat(label)):
        slices = [one.GetSize()[2] if one.GetDimension() > 2 else 1 for one in (label, image)]
        raise Mismatch(
            f"has {label.GetDimension()} dimensions and {slices[0]} slices, its image "
            f"{image.GetDimension()} and {slices[1]}: are they a pair?"
        )
    plane, label = _plane_of(array), _in_plane(label, as_stored)
    if natural and not as_stored:
        # pictures run as ITK's x and y do; a volume of one slice may not
        picture = _in_plane(image, as_stored)
        plane, label = _unflipped(plane, label, picture)
    if image.GetDimension() == 2:
        return plane, label
    volume = sitk.JoinSeries(label)
    volume.SetSpacing((*label.GetSpacing(), image.GetSpacing()[2]))
    volume.SetOrigin((*label.GetOrigin(), image.GetOrigin()[2]))
    return plane[None], volume


def _plane_of(array: np.ndarray) -> np.ndarray:
    """The only slice (rows, columns) of an array."""
    if array.ndim == 2:
        return array
    return np.squeeze(array, 0 if array.shape[0] == 1 else array.shape.index(1))


def _in_plane(image: sitk.Image, as_stored: bool) -> sitk.Image:
    """The 2D image of a volume's only slice; without its place in space if ``as_stored``."""
    if image.GetDimension() == 2:
        return image
    direction = np.reshape(image.GetDirection(), (3, 3))
    lies_flat = image.GetSize()[2] == 1 and abs(abs(direction[2, 2]) - 1) <= 1e-3
    if as_stored and not lies_flat:
        size = [*image.GetSize()]
        size.remove(1)
        return sitk.Image(size, sitk.sitkUInt8)
    flat = sitk.Image(image.GetSize()[:2], sitk.sitkUInt8)
    flat.SetSpacing(image.GetSpacing()[:2])
    flat.SetOrigin(image.GetOrigin()[:2])
    if not lies_flat:
        raise GridMismatch(
            "is a slice that does not lie in the plane of x and y",
            "If its pixels are its picture's as they are stored, say --geometry image",
        )
    flat.SetDirection(direction[:2, :2].ravel().tolist())
    return flat


def _unflipped(
    plane: np.ndarray, label: sitk.Image, image: sitk.Image
) -> tuple[np.ndarray, sitk.Image]:
    """Labels whose rows and columns run as the image's do."""
    between = np.reshape(image.GetDirection(), (2, 2)).T @ np.reshape(label.GetDirection(), (2, 2))
    if not np.allclose(abs(between), np.eye(2), atol=1e-2):
        raise GridMismatch(
            "has axes that are turned against its picture's",
            "If its voxels are the picture's one by one, say --geometry image",
        )
    reverse = [axis for axis in (0, 1) if between[axis, axis] < 0]
    if not reverse:
        return plane, label
    size, spacing = np.array(label.GetSize()), np.array(label.GetSpacing())
    step = np.reshape(image.GetDirection(), (2, 2)).T @ np.subtract(
        label.GetOrigin(), image.GetOrigin()
    )
    first = step / spacing
    expected = np.where(np.diag(between) < 0, size - 1, 0)
    if label.GetSize() != image.GetSize() or (abs(first - expected) > PIXELS).any():
        names = " and ".join("xy"[axis] for axis in reverse)
        raise GridMismatch(
            f"is mirrored against its picture by its header: {names} run the other way, from the "
            f"voxel {np.round(first, 3).tolist()} on",
            "Nobody can tell from the files whether its voxels or its header are mirrored. If the "
            "header is wrong (nibabel writes such a one when it is told of no geometry) and the "
            "voxels are the picture's one by one, say --geometry image, and look at it (preview)",
        )
    for axis in reverse:
        plane = np.flip(plane, 1 - axis)
    straight = sitk.GetImageFromArray(np.zeros(plane.shape, np.uint8))
    straight.SetSpacing(label.GetSpacing())
    return plane, straight
