"""Damage in MetaImage and NRRD files, whose checksums ITK does not compare, and what they lack."""

from __future__ import annotations

import bz2
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from scribble_tools.images.file_kind import FileKind
from scribble_tools.images.text_headers import TextHeader, text_header

CHUNK = 1 << 20


class _Volume(NamedTuple):
    """Where a header says that the voxels are; ``packing`` as in `TextHeader`.

    ``length`` is in bytes as they are stored: of what follows, ITK reads nothing.
    """

    data: Path
    start: int
    packing: str
    expected: int  # bytes
    length: int | None


def refuse_damaged_volume(path: Path, kind: FileKind) -> None:
    """Refuse a MetaImage or NRRD file that is damaged or cut off; pass over other files.

    ITK fills with zeros what is missing, and takes what it could unpack of damaged data.

    Raises:
        ValueError: it is one of the two; or see `text_header`.
    """
    header = text_header(path, kind)
    volume = None if header is None else _volume_of(path, header)
    if volume is None or not volume.data.is_file():
        return
    found = 0
    try:
        with volume.data.open("rb") as file:
            file.seek(volume.start)
            for piece in _unpacked(_pieces(file, volume.length), volume.packing):
                found += len(piece)
                if found > volume.expected and volume.packing:
                    break  # no more is read, however much it would become
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: its voxels cannot be unpacked ({error})") from None
    if found < volume.expected or (volume.packing and found > volume.expected):
        raise ValueError(
            f"{path} is cut off or damaged: it has {'more than ' * (found > volume.expected)}"
            f"{min(found, volume.expected)} bytes of voxels, its header says {volume.expected}"
        )


def written_as_text(path: Path, kind: FileKind) -> bool:
    """Whether the voxels of an NRRD or MetaImage file are numbers in writing.

    Raises:
        ValueError: see `text_header`.
    """
    header = text_header(path, kind)
    return header is not None and header.packing == "text"


def refuse_other_numbers(path: Path, kind: FileKind, array: np.ndarray) -> None:
    """Refuse a file of numbers in writing that its type cannot hold: ITK cuts them to size.

    Args:
        array: what was read of it, in any order.

    Raises:
        ValueError: there are other numbers in it, or fewer, or words.
    """
    header = text_header(path, kind)
    if header is None or header.packing != "text" or header.fields.get("encoding") == "hex":
        return
    if header.parts is not None and len(header.parts) != 1:
        return
    start = header.end if header.parts is None else 0
    data = path if header.parts is None else path.with_name(header.parts[0])
    with data.open("rb") as file:
        file.seek(start)
        words = file.read().replace(b",", b" ").split()[: array.size]
    try:
        written = np.sort(np.array(words, float))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: its voxels are no numbers ({error})") from None
    read = np.sort(array, axis=None).astype(float)
    if written.size < read.size:
        raise ValueError(
            f"{path} is cut off or damaged: it has {written.size} numbers of {read.size}"
        )
    if not np.allclose(written, read, rtol=1e-6, atol=0, equal_nan=True):
        raise ValueError(
            f"{path} holds numbers that its type does not ({array.dtype}), from {written[0]:.9g} "
            f"to {written[-1]:.9g}: save it with a larger type"
        )


def _pieces(file: IO[bytes], length: int | None) -> Iterator[bytes]:
    """The rest of a file, or as many bytes of it."""
    left = math.inf if length is None else length
    while piece := file.read(min(CHUNK, left)):
        left -= len(piece)
        yield piece


def _unpacked(pieces: Iterator[bytes], packing: str) -> Iterator[bytes]:
    """Pieces of a file, unpacked; checksums are compared.

    Raises:
        EOFError, OSError, ValueError, zlib.error: it is cut off or damaged.
    """
    if not packing:
        yield from pieces
        return
    # zlib's or gzip's header, as MetaImage and NRRD differ
    unpacker = bz2.BZ2Decompressor() if packing == "bzip2" else zlib.decompressobj(47)
    data = next(pieces, b"")
    while not unpacker.eof:
        if not data and getattr(unpacker, "needs_input", True):
            raise EOFError("the packed data end too early")
        yield unpacker.decompress(data, CHUNK)
        if packing == "bzip2":
            data = next(pieces, b"") if unpacker.needs_input else b""
        else:
            data = unpacker.unconsumed_tail or (b"" if unpacker.eof else next(pieces, b""))


def _volume_of(path: Path, header: TextHeader) -> _Volume | None:
    """Where the voxels are; None where they lie in several files, or are not plain bytes."""
    expected = math.prod(header.sizes) * header.voxel_bytes
    if header.packing == "text" or (header.parts is not None and len(header.parts) != 1):
        return None
    data, start = path, header.end
    if header.parts is not None:
        data, start = path.with_name(header.parts[0]), 0
    try:
        # NRRD's lines and bytes to pass over, and MetaImage's bytes
        lines, skip = (int(header.fields.get(name, "0")) for name in ("lineskip", "byteskip"))
        if header.parts is not None:
            start = int(header.fields.get("HeaderSize", "0"))
    except ValueError:
        return None  # ITK says what is wrong
    if lines or skip < -1 or (header.packing and skip):
        return None  # bytes to pass over after unpacking
    if skip == -1 or start < 0:  # the voxels are what the file ends with
        start, skip = max(start, 0, data.stat().st_size - expected), 0
    length = header.fields.get("CompressedDataSize") if header.packing else None
    return _Volume(data, start + skip, header.packing, expected, length and int(length))
