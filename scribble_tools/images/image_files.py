"""Image files: which of them nnU-Net takes as they are, reading them, handing them over."""

from __future__ import annotations

import fnmatch
import gzip
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.file_integrity import count_not_finite, has_trailing_bytes
from scribble_tools.images.file_kind import (
    NATURAL,
    NIFTI,
    PACKED_NIFTI,
    READABLE,
    TIF,
    TIFF,
    VOLUMES,
    ending_of_content,
    file_ending_of,
    is_hidden,
    kind_of,
    normal_form,
)
from scribble_tools.images.image_io import read_image, refuse_other_bytes, save_image
from scribble_tools.images.unpacking import Content, chunks_of
from scribble_tools.trust.printable import printable
from scribble_tools.wording import counted


def files_below(folder: Path, pattern: str = "*") -> list[Path]:
    """Files in a folder and its sub-folders whose names fit a shell pattern, sorted.

    Hidden ones are passed over, see `is_hidden`. Links to folders are followed, as ``Path.rglob``
    does not; each folder is visited once. A folder that is called like an image and holds none is
    listed too: whoever reads it says so, where else a case would be missing without a word.
    """
    found, seen, called_so = [], set(), []
    for parent, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(parent, name) for name in fnmatch.filter(names, pattern)]
        called_so += [Path(parent, name) for name in fnmatch.filter(folders, pattern)]
    holding = {above for path in found for above in path.parents}
    found += [p for p in called_so if file_ending_of(p) in READABLE and p not in holding]
    return _named(path for path in found if not is_hidden(path.relative_to(folder)))


def files_in(folder: Path, ending: str = "") -> list[Path]:
    """Files of this ending directly in a folder, sorted; hidden ones are passed over."""
    if not folder.is_dir():
        return []
    return _named(
        path
        for path in folder.iterdir()
        if path.name.endswith(ending) and not is_hidden(Path(path.name))
    )


def _named(paths: Iterable[Path]) -> list[Path]:
    """The paths, sorted.

    Raises:
        ValueError: a line break stands in a name, which could fake a line of a message or a list.
    """
    paths = sorted(paths)
    for path in paths:
        if not {"\n", "\r"}.isdisjoint(str(path)):
            raise ValueError(f"{printable(path)}: a line break stands in its name: rename it")
    return paths


def cases_in(folder: Path, ending: str) -> dict[str, Path]:
    """Case to file of this ending directly in a folder, sorted; hidden files are passed over.

    Names are compared in Unicode's form C, whatever form their files have.
    """
    return {normal_form(path.name.removesuffix(ending)): path for path in files_in(folder, ending)}


def dataset_file_ending(images: Sequence[Path]) -> str:
    """The ending that lets most images be copied as they are; else ``.nii.gz`` or ``.png``.

    Never ``.bmp``: SimpleITK and nnU-Net disagree on whether an 8-bit BMP is grey or coloured.
    """
    endings = {ending_of_content(path) for path in images}
    if endings <= NATURAL:
        return ".tif" if endings <= TIFF else ".png"
    return endings.pop() if len(endings) == 1 and endings <= VOLUMES else ".nii.gz"


def read_channels(path: Path) -> tuple[list[sitk.Image], bool]:
    """The images that nnU-Net wants from a file: one per channel, but one for a colour picture.

    Four-dimensional files and those with several values per voxel are taken apart, because
    nnU-Net's reader mistakes the latter's channels for an axis and cannot export the former.

    Returns:
        The images, and whether the file holds just the one image as it is.

    Raises:
        FileNotFoundError, ValueError: no such image, or neither 2D nor 3D nor channels of these.
    """
    image = read_image(path)
    if ending_of_content(path) in NATURAL:
        if image.GetDimension() != 2:
            raise ValueError(
                f"{path} has {image.GetSize()[-1]} pages, of which nnU-Net reads one: save every "
                "page as a file of its own, or the stack as NRRD or NIfTI with its spacing in mm"
            )
        if (channels := image.GetNumberOfComponentsPerPixel()) not in (1, 3, 4):
            raise ValueError(
                f"{path} has {channels} channels; of a picture nnU-Net reads 1, 3 or 4. Is one of "
                "them transparency? Then save it without"
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


def read_finite_channels(path: Path) -> tuple[list[sitk.Image], bool]:
    """See `read_channels`; an image with NaN or infinite voxels is refused."""
    images, whole = read_channels(path)
    number = sum(count_not_finite(path, sitk.GetArrayViewFromImage(image)) for image in images[:1])
    number += sum(
        int(np.count_nonzero(~np.isfinite(sitk.GetArrayViewFromImage(image))))
        for image in images[1:]
        if "float" in image.GetPixelIDTypeAsString()
    )
    if number:
        raise ValueError(
            f"{path} holds "
            f"{counted(number, 'voxel that is NaN', 'voxels that are NaN')}"
            " or infinite; nnU-Net stops at them, or "
            "takes them for 0 (NIfTI). Put a value that makes sense in their place, often 0 or "
            "the lowest intensity (with numpy: nan_to_num)"
        )
    return images, whole


def channel_problems(path: Path) -> list[str]:
    """What is wrong with one image by itself."""
    try:
        read_finite_channels(path)
        return []
    except (FileNotFoundError, ValueError) as error:
        return [str(error)]


def count_channels(path: Path) -> int:
    """How many channels nnU-Net would see in the file.

    Raises:
        FileNotFoundError, ValueError: see `read_channels`.
    """
    return sum(image.GetNumberOfComponentsPerPixel() for image in read_channels(path)[0])


def _is_nnunets(path: Path, image: sitk.Image, whole: bool, ending: str) -> bool:
    """Whether the file can be handed to nnU-Net as it is, under ``ending``."""
    kind = kind_of(path)
    if ending in TIFF:
        # a palette looks like 16-bit RGB here, and nnU-Net would read the bare indices
        wide = image.GetPixelID() == sitk.sitkVectorUInt16
        return kind == TIF and not wide and image.GetNumberOfComponentsPerPixel() in (1, 3, 4)
    if not whole or kind.endings[:1] != (ending,):
        return False
    return not (kind.packed and has_trailing_bytes(path))


def write_image(path: Path, image: sitk.Image, whole: bool, target: Path) -> None:
    """Keep the file byte for byte where nnU-Net takes its format, re-encode it where not.

    ``whole``: the image is all that the file holds.

    Raises:
        ValueError, OSError: see `save_image`.
    """
    ending = file_ending_of(target)
    if _is_nnunets(path, image, whole, ending):
        shutil.copyfile(path, target)
        refuse_other_bytes(target, chunks_of(path), chunks_of(target))
    elif whole and kind_of(path) in (NIFTI, PACKED_NIFTI) and ending == ".nii.gz":
        # without name and time of packing, the same file gives the same bytes
        with target.open("wb") as file, gzip.GzipFile("", "wb", 4, file, mtime=0) as packed:
            for chunk in Content(path):
                packed.write(chunk)
        refuse_other_bytes(target, Content(path), Content(target))
    else:
        try:
            save_image(image, target)
        except ValueError as error:
            raise ValueError(f"{path} cannot be written as {ending}: {error}") from None
