"""Reading label maps as integers: nothing that is no label number becomes one unasked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.file_kind import JPG, TIF, kind_of
from scribble_tools.images.image_io import read_image
from scribble_tools.images.nifti import read_header, stored_floats
from scribble_tools.images.picture_labels import (
    TRANSPARENT,
    colour_codes,
    colours_in_words,
    lossy_compression,
    palette_indices,
)
from scribble_tools.wording import counted

# How far from an integer a label may lie: float32 and the scale factors of NIfTI leave less
ALMOST = 1.001e-3
GREY, INDEX, COLOUR = "grey", "index", "colour"
EXAMPLES = 3
NAN_LABEL = -2_000_000_000  # no label of anybody's


@dataclass(frozen=True)
class LabelReading:
    """What a user says about how label files are to be read.

    Attributes:
        nan: the label of voxels that hold NaN; None: a file with NaN is refused.
        pictures: of pictures, take the ``grey`` values, the ``index`` of each pixel's colour in the
            palette, or the ``colour`` itself as a number (see `colour_codes`).
    """

    nan: int | None = None
    pictures: str = GREY


AS_THEY_ARE = LabelReading()


def _in_words(values: np.ndarray) -> str:
    """The first different values, with all the digits that tell them from integers."""
    found = np.unique(values.ravel()[:10_000])[:EXAMPLES]
    if found.dtype.kind != "f":
        return ", ".join(map(str, found.tolist()))
    return ", ".join(np.format_float_positional(value, trim="-") for value in found)


def _why_no_integers(path: Path) -> str:
    header = read_header(path)
    if header is not None and header.scaled:
        shift = f" and adds {header.intercept:.9g}" if header.intercept else ""
        return (
            f"its header multiplies what is stored by {header.slope:.9g}{shift} (scl_slope): "
            "save the labels as integers without a scale"
        )
    return (
        "is it an image or a probability map, or was it resampled other than by nearest "
        "neighbour? (Labels are integers below 2^31)"
    )


def labels_of(image: sitk.Image, path: Path, nan: int | None = None) -> np.ndarray:
    """The voxels (*spatial) of a label image as integers that int32 holds.

    Values within `ALMOST` of an integer, as floats and scale factors leave them, are rounded.

    Args:
        path: the file that ``image`` was read from; NaN is looked for in there.
        nan: the label of voxels that hold NaN.

    Raises:
        ValueError: the image has several channels or more than three axes, or holds NaN,
            infinity or other fractions.
    """
    if (channels := image.GetNumberOfComponentsPerPixel()) > 1 or image.GetDimension() > 3:
        what = f"{channels} layers or channels" if channels > 1 else f"{image.GetDimension()} axes"
        remedy = (
            "Its segments may overlap: in 3D Slicer, export them as one label map"
            if path.name.lower().endswith(".seg.nrrd")
            else "If these are layers of segments that may overlap, load the file in 3D Slicer as "
            "a segmentation and save it as .seg.nrrd, or put all labels into one layer (MITK, "
            "ITK-SNAP: export one label map)"
        )
        raise ValueError(f"{path} holds {what}, not one label per voxel. {remedy}")
    array = sitk.GetArrayFromImage(image)
    if np.can_cast(array.dtype, np.int32):
        return array
    if array.dtype.kind == "f":
        stored = stored_floats(path, array)
        is_nan = np.isnan(stored)
        if number := np.count_nonzero(is_nan):
            if nan is None or is_nan.shape != array.shape:
                raise ValueError(
                    f"{path} holds {number} NaN voxels of {is_nan.size}, which are no label (many "
                    "programs read them as 0). Save a label number in their place. Of strokes they "
                    "may be what is not labelled: then say convert folder --nan unlabelled"
                )
            array = np.where(is_nan, array.dtype.type(nan), array)
        if number := np.count_nonzero(np.isinf(stored)):
            raise ValueError(
                f"{path} holds {counted(number, 'infinite voxel')}: infinity is no label"
            )
    rounded = np.round(array)
    broken = array[~((abs(array) < 2**31) & (abs(array - rounded) <= ALMOST))]
    if broken.size:
        if (abs(broken) >= 2**31).all():
            raise ValueError(
                f"{path} holds "
                f"{counted(broken.size, 'number that is too large', 'numbers that are too large')}"
                " for labels, such as "
                f"{_in_words(broken)}: labels are integers below 2^31. Is it an image?"
            )
        raise ValueError(
            f"{path} holds "
            f"{counted(broken.size, 'value that is no integer', 'values that are no integers')}"
            ", such as "
            f"{_in_words(broken)}: {_why_no_integers(path)}"
        )
    return rounded.astype(np.int32)


def read_labels(path: Path, reading: LabelReading = AS_THEY_ARE) -> tuple[np.ndarray, sitk.Image]:
    """Read a label map as integers (*spatial), with the image that has its geometry.

    Raises:
        FileNotFoundError, ValueError: there is no such label map, or it holds other than integers,
            is a JPG, or a picture in colours that nobody has explained.
    """
    path = Path(path)
    kind = kind_of(path)
    compression = "JPG" if kind == JPG else lossy_compression(path) if kind == TIF else ""
    if compression:
        raise ValueError(
            f"{path}: {compression} changes label numbers when it saves them. Use PNG, from the "
            "program that the labels were drawn in"
        )
    if reading.pictures == INDEX and (found := palette_indices(path, kind)) is not None:
        return found
    image = read_image(path)
    if reading.pictures == COLOUR:
        return colour_codes(image, path), image
    if words := colours_in_words(image, path, kind):
        raise ValueError(f"{path} is {words}")
    return labels_of(image, path, reading.nan), image


def show_values(values: Sequence[int], reading: LabelReading) -> list[str]:
    """Values as a user writes them: colours as ``#ff0000``."""
    if reading.pictures != COLOUR:
        return ["NaN" if value == NAN_LABEL else str(value) for value in values]
    return ["transparent" if value == TRANSPARENT else f"#{value:06x}" for value in values]
