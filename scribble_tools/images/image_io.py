"""Reading and writing with SimpleITK, without its flood of warnings and its silent failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.file_integrity import refuse_cut_off

# ACDC's headers make ITK print "unexpected scales in sform" for every file that is opened. ITK
# then uses the qform, which is right. Errors are raised as exceptions and stay visible.
sitk.ProcessObject.SetGlobalWarningDisplay(False)

LABEL_TYPES = (np.uint8, np.int16, np.uint16, np.int32)


def read_image(path: Path) -> sitk.Image:
    """Read an image of any format SimpleITK knows, or a TIF of 64 bits.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no image that SimpleITK can read, or it was cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        if path.suffix.lower() in (".tif", ".tiff") and (image := _read_wide_tiff(path)):
            return image
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path} cannot be read as an image ({reason})") from None
    refuse_cut_off(path)
    return image


def _read_wide_tiff(path: Path) -> sitk.Image | None:
    """A TIF of 64 bits, as napari saves labels that numpy made, and ITK refuses; None of others."""
    import tifffile  # few need it

    try:
        array = tifffile.imread(path)
        if array.dtype.kind not in "iuf" or array.dtype.itemsize != 8:
            return None
        return sitk.GetImageFromArray(array.astype(array.dtype.newbyteorder("=")))
    except Exception:  # whatever is wrong with the file, SimpleITK's error will be raised
        return None


def geometry_difference(
    image: sitk.Image, other: sitk.Image, tolerance: float = 1e-3, size_only: bool = False
) -> str:
    """Say in words how the voxel grids of two images differ; empty when they agree.

    Args:
        tolerance: in mm for spacing and origin, absolute for the direction cosines.
        size_only: compare nothing else, for formats that say nothing reliable about the rest.
    """
    if image.GetSize() != other.GetSize():
        return f"size {image.GetSize()} against {other.GetSize()}"
    if size_only:
        return ""
    for name in ("Spacing", "Origin", "Direction"):
        a, b = getattr(image, f"Get{name}")(), getattr(other, f"Get{name}")()
        if not np.allclose(a, b, rtol=0, atol=tolerance):
            return f"{name.lower()} {np.round(a, 4).tolist()} against {np.round(b, 4).tolist()}"
    return ""


def save_image(image: sitk.Image, path: Path) -> None:
    """Write an image, compressed where the format allows it.

    Raises:
        ValueError: the format cannot hold the image, or the file was cut off (a full disk).
    """
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path} cannot be written ({reason})") from None
    refuse_cut_off(path)  # of a full disk, ITK's writer of NIfTI says nothing


def write_labels(array: np.ndarray, like: sitk.Image, path: Path) -> None:
    """Write labels (*spatial) as the smallest integers that hold them, on the grid of ``like``.

    Raises:
        ValueError: see `save_image`.
    """
    low, high = array.min(), array.max()
    dtype = next(t for t in LABEL_TYPES if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    labels = sitk.GetImageFromArray(array.astype(dtype))
    labels.CopyInformation(like)
    save_image(labels, path)
