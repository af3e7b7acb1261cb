"""2D pictures: PNG, JPG, BMP and TIF as nnU-Net reads them, and how they are turned."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.file_kind import BMP, JPG, PNG, TIF, FileKind

if TYPE_CHECKING:  # few need it, and it takes long to import
    import tifffile

ORIENTATION = 274  # tag of EXIF and TIFF
RESOLUTIONS, RESOLUTION_UNIT = (282, 283), 296  # of TIFF
PART_LENGTHS = (279, 325)  # of strips and tiles
TIFF_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # of a value, by its type
TURNED = {
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "mirrored top to bottom",
    5: "mirrored, and turned by 90 degrees to the left",
    6: "turned by 90 degrees to the right",
    7: "mirrored, and turned by 90 degrees to the right",
    8: "turned by 90 degrees to the left",
}
# TIF's codes of compression that change values, or may
LOSSY = {6: "JPEG", 7: "JPEG", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000"} | {
    34892: "JPEG",
    34933: "JPEG XR",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
LARGEST_GROWTH = 50_000  # of what is packed in any of TIF's ways
PICTURES = (PNG, JPG, BMP, TIF)


def orientation_of(path: Path, kind: FileKind) -> int:
    """How a viewer would turn the picture, as EXIF numbers it; 1 where it stays as it is stored.

    Raises:
        ValueError: see `read_tiff`.
    """
    if kind == TIF:
        with open_tiff(path) as file:
            try:
                found = file.pages[0].tags.valueof(ORIENTATION, 1)
            except Exception as error:  # what it raises depends on where the file is damaged
                raise ValueError(f"{path} cannot be read as an image ({error})") from None
    elif kind in (PNG, JPG):
        with path.open("rb") as file:
            blocks = _png_exif(file) if kind == PNG else _jpg_exif(file)
            found = next((o for block in blocks if (o := _exif_orientation(block))), 1)
    else:
        return 1
    return int(found) if found in TURNED else 1


def refuse_turned(path: Path, kind: FileKind) -> None:
    """Refuse a picture that viewers show otherwise than it is stored; labels may fit either.

    Raises:
        ValueError: it has an EXIF orientation other than 1.
    """
    if (orientation := orientation_of(path, kind)) != 1:
        raise ValueError(
            f"{path} has the EXIF orientation {orientation}: viewers show it "
            f"{TURNED[orientation]}, programs that read its pixels do not, so that labels "
            "and image may not lie on each other. Save it upright (ImageMagick: mogrify "
            "-auto-orient FILE, on a copy), and look at image and labels together"
        )


def _png_exif(file: IO[bytes]) -> Iterator[bytes]:
    """The EXIF blocks of a PNG, also as older ImageMagick wrote them, in a text."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in (b"eXIf", b"zTXt", b"tEXt") and length < 1 << 20:
            data = file.read(length)
            file.seek(4, 1)
            if name == b"eXIf":
                yield data
                continue
            key, _, text = data.partition(b"\0")
            if key not in (b"Raw profile type exif", b"Raw profile type APP1"):
                continue
            try:  # a name, the length, and then hexadecimal numbers
                text = (
                    zlib.decompressobj().decompress(text[1:], 1 << 20) if name == b"zTXt" else text
                )
                yield bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
            except (zlib.error, ValueError):
                continue
        elif name == b"IEND":
            return
        else:
            file.seek(length + 4, 1)


def jpg_segments(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Marker and size in bytes of each segment of a JPEG; its content is what is read next."""
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        marker, length = head[1], int.from_bytes(head[2:], "big") - 2
        if marker == 0xFF:  # filling
            file.seek(-3, 1)
            continue
        if length < 0:
            return  # damaged
        end = file.tell() + length
        yield marker, length
        file.seek(end)


def _jpg_exif(file: IO[bytes]) -> Iterator[bytes]:
    for marker, length in jpg_segments(file):
        if marker == 0xDA:  # here the picture begins
            return
        if marker == 0xE1 and (data := file.read(length)).startswith(b"Exif\0\0"):
            yield data


def _exif_orientation(block: bytes) -> int:
    """The orientation in an EXIF block, which is a small TIFF; 0 when there is none in it."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for k in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, start + 2 + 12 * k)
            if tag == ORIENTATION and kind == 3:
                return value
    except struct.error:
        pass
    return 0


def open_tiff(path: Path) -> tifffile.TiffFile:
    """A TIF, opened with tifffile.

    Raises:
        ValueError: it is damaged.
    """
    import tifffile

    try:
        return tifffile.TiffFile(path)
    except Exception as error:  # what it raises depends on where the file is damaged
        raise ValueError(f"{path} cannot be read as an image ({error})") from None


def read_tiff(path: Path) -> sitk.Image:
    """Read a TIF with tifffile, as nnU-Net does: ITK takes tiles for colours and drops channels.

    Tiles, strips and planes, any compression that tifffile unpacks; smaller copies of the picture
    that the file also holds are passed over. A palette becomes colours. Pages become a third axis.

    Raises:
        ValueError: the file is damaged, or holds other than real numbers.
    """
    with open_tiff(path) as file:
        try:
            series = file.series[0]
            refuse_unwritten(series.nbytes, path.stat().st_size)
            shapes = [other.shape for other in file.series]
            _refuse_unknown_lengths(series.keyframe)
            array, axes = series.asarray(), series.axes
            is_palette = series.keyframe.photometric.name == "PALETTE"
            palette = series.keyframe.colormap if is_palette else None
            spacing = _pixel_size(series.keyframe)
        except Exception as error:  # what it raises depends on where the file is damaged
            raise ValueError(f"{path} cannot be read as an image ({error})") from None
    if len(shapes) > 1:
        raise ValueError(
            f"{path} holds {len(shapes)} pictures of different sizes ({shapes[0]}, {shapes[1]}), "
            "of which nnU-Net reads the first: save the one that is meant as a file of its own"
        )
    if array.dtype.kind not in "iufb" or array.ndim < 2:
        raise ValueError(f"{path} holds {array.dtype} values in {array.ndim} axes: no picture")
    samples = 1
    if "S" in axes:  # such as red, green and blue
        array = np.moveaxis(array, axes.index("S"), -1)
        samples = array.shape[-1]
        array = array[..., 0] if samples == 1 else array
    if palette is not None and array.dtype.kind == "u" and int(array.max()) < palette.shape[1]:
        array, samples = np.moveaxis(palette[:, array], 0, -1), len(palette)
    picture = array.shape[array.ndim - 2 - (samples > 1) :]
    array = array.reshape(-1, *picture)
    array = array[0] if len(array) == 1 else array
    return _as_image(array, samples > 1, spacing)


def _refuse_unknown_lengths(page: tifffile.TiffPage) -> None:
    """Refuse a TIF that does not say how long its parts are: tifffile makes it up."""
    if len(page.dataoffsets) > 1 and not any(tag in page.tags for tag in PART_LENGTHS):
        raise ValueError("it does not say how long its strips or tiles are")


def refuse_unwritten(size: int, stored: int) -> None:
    """Refuse a TIF that says more of itself than so many stored bytes can hold."""
    if size > stored * LARGEST_GROWTH + (1 << 20):
        raise ValueError(f"its header says {size} bytes, which {stored} cannot hold")


def read_with_pillow(path: Path) -> sitk.Image | None:
    """A picture that ITK does not read: grey with transparency, BMP of few bits; None of others."""
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")
            if picture.mode == "1":
                picture = picture.convert("L")
            if picture.mode not in ("L", "LA", "RGB", "RGBA", "I;16"):
                return None
            array = np.asarray(picture)
    except Exception:  # whatever is wrong with the file, SimpleITK's error will be raised
        return None
    return _as_image(array, array.ndim == 3, (1.0, 1.0))


def refuse_cut_off_picture(path: Path) -> None:
    """Refuse a picture that lacks pixels or its end, which ITK fills up without a word.

    Raises:
        ValueError: the file is cut off or damaged.
    """
    from PIL import Image

    try:
        with path.open("rb") as file:
            _refuse_cut_off_end(file, path.stat().st_size)
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")
            picture.load()
    except Image.DecompressionBombError:
        pass  # larger than Pillow dares to read
    except Exception as error:  # what it raises depends on where the file is damaged
        raise ValueError(f"{path} is cut off or damaged ({error})") from None


def _refuse_cut_off_end(file: IO[bytes], length: int) -> None:
    """Refuse a PNG without its last chunk, or a BMP whose last row is not whole.

    Of the former Pillow says nothing, of the latter ITK makes zeros.
    """
    head = file.read(34)
    if head.startswith(b"\x89PNG"):
        end, name = 8, b""
        while name != b"IEND":
            file.seek(end)
            size, name = struct.unpack(">I4s", file.read(8))
            end += size + 12
    elif head.startswith(b"BM"):
        start, own, width, rows = struct.unpack_from("<IIii", head, 10)
        bits, packing = struct.unpack_from("<HI", head, 28)
        plain = own >= 40 and packing in (0, 3)  # neither OS/2's short header nor packed
        end = start + ((width * bits + 31) // 32 * 4 * abs(rows) if plain else 0)
    else:
        return
    if end > length:
        raise ValueError(f"it has {length} bytes of {end}")


def end_of_tiff(path: Path) -> int:
    """Where the values of a TIF's first page end that lie apart, as ITK's writer puts them.

    tifffile leaves out entries that are cut off.
    """
    with path.open("rb") as file:
        magic, start = struct.unpack("<4sI", file.read(8))
        if magic != b"II*\0":
            return 0  # not as ITK writes it
        file.seek(start)
        (count,) = struct.unpack("<H", file.read(2))
        entries = struct.iter_unpack("<HHII", file.read(12 * count))
    values = ((place, TIFF_BYTES.get(kind, 1) * number) for _, kind, number, place in entries)
    # what has four bytes or less lies in the entry itself
    return max((place + size for place, size in values if size > 4), default=0)


def grey_where_grey(path: Path, image: sitk.Image) -> sitk.Image:
    """A grey BMP as one channel, which ITK reads as three."""
    if image.GetNumberOfComponentsPerPixel() != 3:
        return image
    with path.open("rb") as file:
        bits_per_pixel = int.from_bytes(file.read(30)[28:], "little")
    rgb = sitk.GetArrayViewFromImage(image)
    if bits_per_pixel <= 8 and (rgb == rgb[..., :1]).all():
        return sitk.VectorIndexSelectionCast(image, 0)
    return image


def _as_image(array: np.ndarray, is_vector: bool, spacing: tuple[float, ...]) -> sitk.Image:
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    image = sitk.GetImageFromArray(array, isVector=is_vector)
    image.SetSpacing((*spacing, 1.0)[: image.GetDimension()])
    return image


def _pixel_size(page: tifffile.TiffPage) -> tuple[float, float]:
    """The size of a pixel (x, y) in mm as ITK takes it; 1 where the file does not say."""
    unit = {2: 25.4, 3: 10.0}.get(int(page.tags.valueof(RESOLUTION_UNIT, 2)))
    sizes = []
    for tag in RESOLUTIONS:
        number, parts = page.tags.valueof(tag, (0, 1))
        sizes.append(unit * parts / number if unit and number and parts else 1.0)
    return sizes[0], sizes[1]
