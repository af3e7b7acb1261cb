"""Labels that pictures hold as colours, or as indices of a palette."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.file_kind import BMP, PNG, TIF, FileKind
from scribble_tools.images.header_limits import refuse_unsafe_header
from scribble_tools.images.label_appearance import is_label_map
from scribble_tools.images.pictures import (
    LOSSY,
    PICTURES,
    open_tiff,
    refuse_turned,
    refuse_unwritten,
)
from scribble_tools.wording import counted

TRANSPARENT = -1
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
FEW_COLOURS = 20


def parse_colour(word: str) -> int | None:
    """The number of a colour such as ``#ff8000``, or of ``transparent``; None of another word."""
    if word.lower() == "transparent":
        return TRANSPARENT
    return int(word[1:], 16) if COLOUR.fullmatch(word) else None


def lossy_compression(path: Path) -> str:
    """The name of the compression of a TIF that changes values; empty when none does."""
    with open_tiff(path) as file:
        try:
            return LOSSY.get(int(file.pages[0].compression), "")
        except Exception as error:  # what it raises depends on where the file is damaged
            raise ValueError(f"{path} cannot be read as an image ({error})") from None


def palette_indices(path: Path, kind: FileKind) -> tuple[np.ndarray, sitk.Image] | None:
    """The index (rows, columns) of each pixel's colour, of a picture that has a palette; else None.

    Raises:
        ValueError: the picture is damaged or turned.
    """
    if kind not in (PNG, BMP, TIF):
        return None
    refuse_unsafe_header(path, kind)
    refuse_turned(path, kind)
    if kind == TIF:
        with open_tiff(path) as file:
            try:
                if file.pages[0].photometric.name != "PALETTE":
                    return None
                refuse_unwritten(file.series[0].nbytes, path.stat().st_size)
                indices = file.asarray()
            except Exception as error:  # what it raises depends on where the file is damaged
                raise ValueError(f"{path} cannot be read as an image ({error})") from None
    else:
        from PIL import Image

        try:
            with warnings.catch_warnings(), Image.open(path) as picture:
                warnings.simplefilter("ignore")
                if picture.mode != "P":
                    return None
                indices = np.asarray(picture)
        except Exception as error:
            raise ValueError(f"{path} cannot be read as an image ({error})") from None
    return indices, sitk.GetImageFromArray(indices)


def colour_codes(image: sitk.Image, path: Path) -> np.ndarray:
    """The colours (rows, columns) of a picture as numbers, red * 65536 + green * 256 + blue.

    Grey pixels count as colours of three equal parts, transparent ones are `TRANSPARENT`.

    Raises:
        ValueError: it is no picture of 8 bits, or some of its pixels are half transparent.
    """
    array = sitk.GetArrayFromImage(image)
    channels = image.GetNumberOfComponentsPerPixel()
    if image.GetDimension() != 2 or channels > 4 or array.dtype.kind != "u":
        raise ValueError(f"{path} is no picture in colours")
    array = array.reshape(*array.shape[:2], channels).astype(np.int64)
    if image.GetPixelID() in (sitk.sitkUInt16, sitk.sitkVectorUInt16):
        # 16 bits that were made of 8 have the same number twice, or zeros below
        low, high = array % 256, array // 256
        if not ((low == high) | (low == 0)).all():
            raise ValueError(f"{path} has colours of 16 bits: save it with 8")
        array = high
    solid = np.ones(array.shape[:2], bool)
    if channels in (2, 4):
        alpha = array[..., -1]
        if half := np.count_nonzero((alpha > 0) & (alpha < 255)):
            raise ValueError(
                f"{path} has {counted(half, 'half transparent pixel')}: which label is theirs? "
                "Draw with a pencil or hard brush, without smoothing (antialiasing), or make every "
                "pixel opaque or transparent (GIMP: Layer, Transparency, Threshold Alpha)"
            )
        solid, array = alpha > 0, array[..., :-1]
    red, green, blue = np.moveaxis(np.broadcast_to(array, (*array.shape[:2], 3)), -1, 0)
    return np.where(solid, red << 16 | green << 8 | blue, TRANSPARENT).astype(np.int32)


def codes_of_labels(image: sitk.Image, path: Path) -> np.ndarray | None:
    """What `colour_codes` makes of a picture of few colours, as if they were labels; else None."""
    try:
        codes = colour_codes(image, path)
    except ValueError:
        return None
    few = len(np.unique(codes)) <= FEW_COLOURS
    return codes if few and is_label_map(codes) else None


def parts_of(code: int) -> tuple[float, float, float]:
    """Red, green and blue of a colour's number, from 0 to 1."""
    return tuple((code >> shift & 255) / 255 for shift in (16, 8, 0))


def code_of(parts: Sequence[float]) -> int:
    """The number of a colour of which red, green and blue are given, from 0 to 1."""
    red, green, blue = (round(255 * part) for part in parts)
    return red << 16 | green << 8 | blue


def word_of(code: int) -> str:
    """What `parse_colour` makes the number of."""
    return "transparent" if code == TRANSPARENT else f"#{code:06x}"


def picture_of(codes: np.ndarray) -> sitk.Image:
    """The picture of which `colour_codes` gives ``codes`` (rows, columns)."""
    channels = [codes >> 16 & 255, codes >> 8 & 255, codes & 255]
    clear = codes == TRANSPARENT
    if clear.any():
        channels = [np.where(clear, 0, own) for own in channels] + [np.where(clear, 0, 255)]
    return sitk.GetImageFromArray(np.stack(channels, -1).astype(np.uint8), isVector=True)


def colours_in_words(image: sitk.Image, path: Path, kind: FileKind) -> str:
    """What a picture of several channels is, and how its labels can be read; empty of others."""
    if kind not in PICTURES or image.GetNumberOfComponentsPerPixel() == 1:
        return ""
    if image.GetDimension() != 2:
        return "a stack of pictures in colours; labels must be one grey channel of 8 or 16 bit"
    words, remedies = "a picture in colours", []
    try:
        codes = np.unique(colour_codes(image, path)).tolist()
    except ValueError:
        codes = []
    if 0 < len(codes) <= FEW_COLOURS:
        names = [*map(word_of, codes)]
        words += f" ({', '.join(names)})"
        remedies.append(f"name them in convert folder: --labels NAME='{names[-1]}' ...")
    elif codes:
        words += f" ({len(codes)} of them: smooth borders between labels?)"
    if (found := palette_indices(path, kind)) is not None:
        indices = np.unique(found[0]).tolist()
        seen = ", ".join(map(str, indices[:FEW_COLOURS])) + " ..." * (len(indices) > FEW_COLOURS)
        words = words.replace("in colours", "with a palette")
        remedies.append(f"or take the indices in the palette ({seen}): --palette index")
    remedies.append("or save the label numbers as one grey channel of 8 or 16 bit")
    return f"{words}; {'; '.join(remedies)}"
