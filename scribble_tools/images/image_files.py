"""Image files: which of them nnU-Net takes as they are, reading them, handing them over."""

from __future__ import annotations

import fnmatch
import gzip
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk

from scribble_tools.images.image_io import read_image, save_image

TIFF = frozenset({".tif", ".tiff"})
# 2D pictures, whose files say nothing reliable about geometry
NATURAL = TIFF | {".png", ".bmp", ".jpg", ".jpeg"}
# volumes that nnU-Net reads as they are
VOLUMES = frozenset({".nii.gz", ".nrrd", ".mha", ".gipl"})


def files_below(folder: Path, pattern: str = "*") -> list[Path]:
    """Files in a folder and its sub-folders whose names fit a shell pattern, sorted.

    Links to folders are followed, as ``Path.rglob`` does not; each folder is visited once.
    """
    found, seen = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(parent, name) for name in fnmatch.filter(names, pattern)]
    return sorted(found)


def file_ending_of(path: Path) -> str:
    """The ending as nnU-Net counts it: ``.nii.gz`` is one ending."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def dataset_file_ending(images: Sequence[Path]) -> str:
    """The ending that lets most images be copied as they are; else ``.nii.gz`` or ``.png``.

    Never ``.bmp``: SimpleITK and nnU-Net disagree on whether an 8-bit BMP is grey or coloured.
    """
    endings = {file_ending_of(path) for path in images}
    if endings <= NATURAL:
        return ".tif" if endings <= TIFF else ".png"
    return endings.pop() if len(endings) == 1 and endings <= VOLUMES else ".nii.gz"


def read_picture(path: Path) -> sitk.Image:
    """Read an image or label file; a grey BMP as grey, though SimpleITK shows it as RGB.

    Raises:
        FileNotFoundError, ValueError: see `read_image`.
    """
    image = read_image(path)
    if file_ending_of(path) == ".bmp" and image.GetNumberOfComponentsPerPixel() == 3:
        with path.open("rb") as file:
            bits_per_pixel = int.from_bytes(file.read(30)[28:], "little")
        rgb = sitk.GetArrayViewFromImage(image)
        if bits_per_pixel <= 8 and (rgb == rgb[..., :1]).all():
            return sitk.VectorIndexSelectionCast(image, 0)
    return image


def read_channels(path: Path) -> tuple[list[sitk.Image], bool]:
    """The images that nnU-Net wants from a file: one per channel, but one for a colour picture.

    Four-dimensional files and those with several values per voxel are taken apart, because
    nnU-Net's reader mistakes the latter's channels for an axis and cannot export the former.

    Returns:
        The images, and whether the file holds just the one image as it is.

    Raises:
        FileNotFoundError, ValueError: no such image, or neither 2D nor 3D nor channels of these.
    """
    image = read_picture(path)
    if file_ending_of(path) in NATURAL:
        if image.GetDimension() != 2:
            raise ValueError(
                f"{path} has {image.GetSize()[-1]} pages, of which nnU-Net reads one: save every "
                "page as a file of its own, or the stack as NRRD or NIfTI with its spacing in mm"
            )
        return [image], True
    if image.GetDimension() == 4:
        return [image[:, :, :, k] for k in range(image.GetSize()[3])], False
    if image.GetDimension() > 4:
        raise ValueError(f"{path} has {image.GetDimension()} dimensions, expected 2 or 3")
    components = image.GetNumberOfComponentsPerPixel()
    if components == 1:
        return [image], True
    return [sitk.VectorIndexSelectionCast(image, k) for k in range(components)], False


def count_channels(path: Path) -> int:
    """How many channels nnU-Net would see in the file.

    Raises:
        FileNotFoundError, ValueError: see `read_channels`.
    """
    return sum(image.GetNumberOfComponentsPerPixel() for image in read_channels(path)[0])


def _has_data_elsewhere(path: Path) -> bool:
    """Whether an NRRD or MetaImage file names another one that holds its voxels."""
    field = {
        ".nrrd": rb"(?i)data ?file:(?!=)",
        ".mha": rb"(?i)ElementDataFile\s*=(?!\s*LOCAL)",
    }
    if (pattern := field.get(file_ending_of(path))) is None:
        return False
    with path.open("rb") as file:
        header = file.read(1 << 16)
    # NRRD's header ends at an empty line, MetaImage's with this very field
    header = header.split(b"\n\n")[0].split(b"\r\n\r\n")[0]
    return any(re.match(pattern, line) for line in header.splitlines())


def _is_nnunets(path: Path, image: sitk.Image, whole: bool, ending: str) -> bool:
    """Whether the file can be handed to nnU-Net as it is, under ``ending``."""
    if ending in TIFF:
        # a palette looks like 16-bit RGB here, and nnU-Net would read the bare indices
        wide = image.GetPixelID() == sitk.sitkVectorUInt16
        return file_ending_of(path) in TIFF and not wide
    return whole and file_ending_of(path) == ending and not _has_data_elsewhere(path)


def write_image(path: Path, image: sitk.Image, whole: bool, target: Path) -> None:
    """Keep the file byte for byte where nnU-Net takes its format, re-encode it where not.

    ``whole``: the image is all that the file holds.

    Raises:
        ValueError: see `save_image`.
    """
    ending = file_ending_of(target)
    if _is_nnunets(path, image, whole, ending):
        shutil.copyfile(path, target)
    elif whole and file_ending_of(path) == ".nii" and ending == ".nii.gz":
        # without name and time of packing, the same file gives the same bytes
        with path.open("rb") as plain, target.open("wb") as file:
            with gzip.GzipFile("", "wb", 4, file, mtime=0) as packed:
                shutil.copyfileobj(plain, packed)
    else:
        try:
            save_image(image, target)
        except ValueError as error:
            raise ValueError(f"{path} cannot be written as {ending}: {error}") from None
