"""Reading and writing with SimpleITK, without its flood of warnings and its silent failures."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import struct
import tempfile
import threading
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.file_integrity import refuse_cut_off
from scribble_tools.images.file_kind import (
    BMP,
    DETACHED_META,
    DETACHED_NRRD,
    GIPL,
    JPG,
    META,
    NIFTI_KINDS,
    NRRD,
    PNG,
    TIF,
    FileKind,
    file_ending_of,
    kind_of,
    readable_kind,
)
from scribble_tools.images.header_limits import (
    GEOMETRY_OF_ANOTHER,
    refuse_unsafe_header,
    refuse_unsafe_name,
)
from scribble_tools.images.nifti import read_header
from scribble_tools.images.packed_volumes import (
    refuse_damaged_volume,
    refuse_other_numbers,
    written_as_text,
)
from scribble_tools.images.pictures import (
    PICTURES,
    end_of_tiff,
    grey_where_grey,
    read_tiff,
    read_with_pillow,
    refuse_cut_off_picture,
    refuse_turned,
)
from scribble_tools.images.png_chunks import has_significant_bits, refuse_missing_rows
from scribble_tools.images.right_angles import refuse_skewed, shear_in_words, sheared_in_words

# ACDC's headers make ITK print "unexpected scales in sform" for every file that is opened. ITK
# then uses the qform, which is right. Errors are raised as exceptions and stay visible.
sitk.ProcessObject.SetGlobalWarningDisplay(False)

# ITK's name of the one reader that is to see a file; it would try all that it has
READERS = {
    **dict.fromkeys(NIFTI_KINDS, "NiftiImageIO"),
    **dict.fromkeys((NRRD, DETACHED_NRRD), "NrrdImageIO"),
    **dict.fromkeys((META, DETACHED_META), "MetaImageIO"),
    GIPL: "GiplImageIO",
    PNG: "PNGImageIO",
    JPG: "JPEGImageIO",
    BMP: "BMPImageIO",
}
_WRITING = threading.Lock()  # teem mixes numbers in writing up that it reads side by side
TOLERANCE = 1e-3  # mm of spacing and origin, absolute for directions
OF_A_VOXEL = 0.01
FLOAT32 = 1e-6
MOST_DIGITS = 12
LABEL_TYPES = (np.uint8, np.int16, np.uint16, np.int32)
LABEL_TYPES_OF = {  # where ITK writes fewer, or few programs read signed numbers
    ".png": (np.uint8, np.uint16),
    **dict.fromkeys((".tif", ".tiff"), (np.uint8, np.uint16, np.int16, np.int32)),
    ".bmp": (np.uint8,),
    ".gipl": (np.uint8, np.int16, np.uint16),
}


def read_image(path: Path) -> sitk.Image:
    """Read an image or label file of any format that SimpleITK knows, by its content.

    TIF is read with tifffile, as nnU-Net does; a grey BMP is grey, though ITK shows it as RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no image that can be read (see `readable_kind`), was cut off, is
            sheared, or is a picture that viewers turn (see `refuse_turned`).
    """
    path = Path(path)
    kind = readable_kind(path)
    refuse_unsafe_header(path, kind)
    if kind in PICTURES:
        refuse_turned(path, kind)
    if kind == TIF:
        return read_tiff(path)
    if kind == PNG:
        refuse_missing_rows(path)
        if has_significant_bits(path):
            return _read_unshifted(path)
    refuse_cut_off(path)
    refuse_damaged_volume(path, kind)
    try:
        with _WRITING if written_as_text(path, kind) else contextlib.nullcontext():
            image = _read_with_itk(path, kind)
    except RuntimeError as error:
        if kind in PICTURES and (image := read_with_pillow(path)) is not None:
            refuse_cut_off_picture(path)
            return image
        raise ValueError(_why_not_read(path, str(error))) from None
    refuse_skewed(path, kind, image)
    refuse_other_numbers(path, kind, sitk.GetArrayViewFromImage(image))
    if kind in (JPG, BMP):
        refuse_cut_off_picture(path)
    return grey_where_grey(path, image) if kind == BMP else image


def image_grid(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Size in voxels and spacing in mm (x, y, z) from an image's header.

    Raises:
        FileNotFoundError, ValueError: there is no image that can be read.
    """
    kind = readable_kind(path)
    refuse_unsafe_header(path, kind)
    if kind == TIF:  # in which ITK may read for ever
        image = read_image(path)
        return image.GetSize(), image.GetSpacing()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        reader = read_image(path)  # raises, or reads what SimpleITK does not
    return reader.GetSize(), reader.GetSpacing()


def _read_unshifted(path: Path) -> sitk.Image:
    """A PNG whose values ITK would shift to the bits that count: 1, 2, 3 of labels become 0, 1, 1.

    Raises:
        ValueError: Pillow does not read it either.
    """
    if (image := read_with_pillow(path)) is None:
        raise ValueError(
            f"{path} says how many bits of its values count (sBIT), which programs read in "
            "different ways: save it without (Pillow: Image.open(FILE).save(NEW_FILE))"
        )
    refuse_cut_off_picture(path)
    return image


def _read_with_itk(path: Path, kind: FileKind) -> sitk.Image:
    """What ITK reads, under a name with the ending that ITK knows such files by."""
    reader = READERS.get(kind, "")
    if not kind.endings or path.name.lower().endswith(kind.endings):
        return sitk.ReadImage(str(path), imageIO=reader)
    with tempfile.TemporaryDirectory() as folder:
        renamed = Path(folder, f"image{kind.endings[0]}")
        try:
            renamed.symlink_to(os.path.realpath(path))
        except OSError:  # Windows forbids links to most users
            shutil.copyfile(path, renamed)
        return sitk.ReadImage(str(renamed), imageIO=reader)


def _why_not_read(path: Path, error: str) -> str:
    reason = error.strip().splitlines()[-1]
    if "orthonormal" in reason and (header := read_header(path)) is not None:
        if not (angles := shear_in_words(header.sform)):
            reason = f"its sform has an axis of no length, or too far away. {GEOMETRY_OF_ANOTHER}"
            return f"{path} cannot be read as an image ({reason})"
        return sheared_in_words(path, "sform", angles)
    if "determine ImageIO" in reason:
        reason = "it is of no known image format"
    elif reason == "Reason: Success":  # of MetaImage in writing
        reason = "its numbers are too few, or words, or no line break follows the last one"
    elif "determinant is 0" in error:
        reason = "its axes span no volume: one has no length, or two are the same"
    elif match := re.search(r"Refusing to change spacing from \[.*\] to \[(.*)\]", reason):
        size = match[1].replace(", ", " x ")
        reason = f"its header says that voxels are {size} mm: write the true size there"
    return f"{path} cannot be read as an image ({reason})"


def with_digits(numbers: tuple[float, ...], others: tuple[float, ...]) -> tuple[str, str]:
    """Both rows of numbers, with as many digits as it takes to see where they differ."""
    a, b = np.array(numbers, float), np.array(others, float)
    differ = a != b
    digits = 4
    while digits < MOST_DIGITS and (np.round(a, digits) == np.round(b, digits))[differ].any():
        digits += 2 if digits > 4 else 1
    return tuple(str(np.round(row, digits).tolist()) for row in (a, b))


def geometry_difference(
    image: sitk.Image, other: sitk.Image, tolerance: float = TOLERANCE, size_only: bool = False
) -> str:
    """Say in words how the voxel grids of two images differ; empty when they agree.

    Args:
        image: named first, in these words and before them.
        tolerance: in mm for spacing and origin, absolute for the direction cosines. Of voxels so
            small that this says little, a hundredth of their size.
        size_only: compare nothing else, for formats that say nothing reliable about the rest.
    """
    if image.GetSize() != other.GetSize():
        return f"size {image.GetSize()} against {other.GetSize()}"
    if size_only:
        return ""
    differences = []
    smallest = min(*image.GetSpacing(), *other.GetSpacing())
    near = min(tolerance, OF_A_VOXEL * smallest)
    rounding = FLOAT32 if near < tolerance else 0  # of large origins in a header of float32
    for name, limit in (("Spacing", near), ("Origin", near), ("Direction", tolerance)):
        a, b = getattr(image, f"Get{name}")(), getattr(other, f"Get{name}")()
        if not np.allclose(a, b, rtol=rounding, atol=limit):
            differences.append("{} {} against {}".format(name.lower(), *with_digits(a, b)))
    return ", ".join(differences)


def save_image(image: sitk.Image, path: Path) -> None:
    """Write an image, compressed where the format allows it.

    Raises:
        ValueError: the format cannot hold the image.
        OSError: the disk is full, or what was written is read back as something else.
    """
    refuse_unsafe_name(Path(path))
    reason = None
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
    # of a full disk, most of ITK's writers say nothing
    if reason is None and (reason := _difference_on_disk(image, path)) is None:
        return
    refuse_full_disk(path, image.GetNumberOfPixels())
    raise ValueError(f"{path} cannot be written ({reason})")


def _difference_on_disk(image: sitk.Image, path: Path) -> str | None:
    """How a file differs from the image that was written to it; None where it does not."""
    try:
        written = read_image(path)
        if kind_of(path) == TIF and end_of_tiff(path) > path.stat().st_size:
            return "it is cut off"
    except (ValueError, OSError, RuntimeError, struct.error):
        return "what is on the disk cannot be read back: it is cut off"
    if written.GetSize() != image.GetSize():
        return f"it is read back with the size {written.GetSize()} instead of {image.GetSize()}"
    own, there = (sitk.GetArrayViewFromImage(i) for i in (image, written))
    if there.ndim > own.ndim and (there == there[..., :1]).all():
        there = there[..., 0]  # a grey BMP, which ITK shows as RGB
    if own.shape != there.shape or not np.array_equal(own, there, equal_nan=own.dtype.kind == "f"):
        return "it is read back with other values"
    return None


def refuse_other_bytes(path: Path, expected: Iterable[bytes], found: Iterable[bytes]) -> None:
    """Refuse a file that was written and is read back as something else.

    Args:
        expected, found: in pieces of any length.

    Raises:
        ValueError, OSError: see `save_image`.
    """
    wanted = _checksum(expected)
    try:
        if _checksum(found) == wanted:
            return
    except (OSError, EOFError, zlib.error):
        pass
    refuse_full_disk(path, wanted[0])
    raise ValueError(f"{path} cannot be written (it is read back with other bytes)")


def _checksum(chunks: Iterable[bytes]) -> tuple[int, int]:
    """Length and CRC of all pieces together."""
    length = crc = 0
    for chunk in chunks:
        length, crc = length + len(chunk), zlib.crc32(chunk, crc)
    return length, crc


def refuse_full_disk(path: Path, size: int) -> None:
    """Raise the system's error if no file of so many bytes fits where ``path`` is.

    Raises:
        OSError: such as that the disk or the quota is full.
    """
    with tempfile.TemporaryFile(dir=path.parent) as file:
        for _ in range(0, max(size, 1), 1 << 20):
            file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())


def label_types(path: Path) -> tuple[type[np.integer], ...]:
    """The integer types that the format of a file holds, the smallest first."""
    return LABEL_TYPES_OF.get(file_ending_of(path), LABEL_TYPES)


def largest_label(path: Path) -> int:
    """The highest label that the format of a file holds."""
    return max(int(np.iinfo(own).max) for own in label_types(path))


def write_labels(array: np.ndarray, like: sitk.Image, path: Path) -> None:
    """Write labels (*spatial) as the smallest integers that hold them, on the grid of ``like``.

    Raises:
        ValueError: see `save_image`; or the format holds no such labels.
    """
    low, high = int(array.min()), int(array.max())
    types = label_types(path)
    fitting = [t for t in types if np.iinfo(t).min <= low and high <= np.iinfo(t).max]
    if not fitting:
        lowest = min(int(np.iinfo(t).min) for t in types)
        raise ValueError(
            f"{path} cannot be written: {file_ending_of(path)} holds labels from {lowest} to "
            f"{largest_label(path)}, these go from {low} to {high}. NIfTI and NRRD hold them"
        )
    labels = sitk.GetImageFromArray(array.astype(fitting[0]))
    labels.CopyInformation(like)
    save_image(labels, path)
