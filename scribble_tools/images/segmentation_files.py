"""Reading label maps as integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.image_io import read_image


def labels_of(image: sitk.Image, path: Path) -> np.ndarray:
    """The voxels (*spatial) of a label image as integers that int32 holds.

    Args:
        path: for the message.

    Raises:
        ValueError: the image has several channels or holds other values.
    """
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise ValueError(f"{path} has {image.GetNumberOfComponentsPerPixel()} channels, not labels")
    array = sitk.GetArrayFromImage(image)
    if not np.can_cast(array.dtype, np.int32):
        broken = array[~((abs(array) < 2**31) & (array == np.round(array)))]
        if broken.size:
            raise ValueError(
                f"{path} holds {broken.size} values that are no integers, such as {broken[0]:g}: "
                "is it an image or a probability map? (Labels lie below 2^31)"
            )
        array = array.astype(np.int32)
    return array


def read_labels(path: Path) -> tuple[np.ndarray, sitk.Image]:
    """Read a label map as integers (*spatial), with the image that has its geometry.

    Raises:
        FileNotFoundError, ValueError: there is no such label map, or it holds other than integers.
    """
    image = read_image(path)
    return labels_of(image, path), image
