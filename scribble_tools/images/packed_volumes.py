"""Damage in MetaImage and NRRD files, whose checksums ITK does not compare, and what they lack."""

from __future__ import annotations

import bz2
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

MOST_HEADER_BYTES = 1 << 20
CHUNK = 1 << 20
META_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
NRRD_BYTES = {
    1: "char,signed char,int8,int8_t,uchar,unsigned char,uint8,uint8_t",
    2: "short,short int,signed short,signed short int,int16,int16_t,"
    "ushort,unsigned short,unsigned short int,uint16,uint16_t",
    4: "int,signed int,int32,int32_t,uint,unsigned int,uint32,uint32_t,float",
    8: "longlong,long long,long long int,signed long long,signed long long int,int64,int64_t,"
    "ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t,double",
}
NRRD_BYTES_OF = {name: size for size, names in NRRD_BYTES.items() for name in names.split(",")}


class _Volume(NamedTuple):
    """Where a header says that the voxels are: ``packing`` is "", "zlib" or "bzip2"."""

    data: Path
    start: int
    packing: str
    expected: int  # bytes


def refuse_damaged_volume(path: Path) -> None:
    """Refuse a MetaImage or NRRD file that is damaged or cut off; pass over other files.

    ITK fills with zeros what is missing, and takes what it could unpack of damaged data.

    Raises:
        ValueError: it is one of the two.
    """
    volume = _volume_of(path)
    if volume is None or not volume.data.is_file():
        return
    found = 0
    try:
        with volume.data.open("rb") as file:
            file.seek(volume.start)
            for piece in _unpacked(file, volume.packing):
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


def _unpacked(file: IO[bytes], packing: str) -> Iterator[bytes]:
    """The rest of a file in pieces, unpacked; checksums are compared.

    Raises:
        EOFError, OSError, ValueError, zlib.error: it is cut off or damaged.
    """
    if not packing:
        while piece := file.read(CHUNK):
            yield piece
        return
    # zlib's or gzip's header, as MetaImage and NRRD differ
    unpacker = bz2.BZ2Decompressor() if packing == "bzip2" else zlib.decompressobj(47)
    data = file.read(CHUNK)
    while not unpacker.eof:
        if not data and getattr(unpacker, "needs_input", True):
            raise EOFError("the packed data end too early")
        yield unpacker.decompress(data, CHUNK)
        if packing == "bzip2":
            data = file.read(CHUNK) if unpacker.needs_input else b""
        else:
            data = unpacker.unconsumed_tail or (b"" if unpacker.eof else file.read(CHUNK))


def _volume_of(path: Path) -> _Volume | None:
    with path.open("rb") as file:
        header = file.read(MOST_HEADER_BYTES)
    try:
        if header.startswith(b"NRRD"):
            return _nrrd(path, header)
        if re.search(rb"(?im)^\s*NDims\s*=", header[:4096]):
            return _metaimage(path, header)
    except (KeyError, ValueError, OverflowError):
        return None  # not a header that ITK reads; it says what is wrong
    return None


def _beside(path: Path, name: str) -> Path:
    """The file of the voxels, which lies in the header's folder.

    Raises:
        ValueError: it is a list of files, or in another folder.
    """
    if not name or name != Path(name).name or "%" in name or name.upper().startswith("LIST"):
        raise ValueError(name)
    return path.with_name(name)


def _metaimage(path: Path, header: bytes) -> _Volume | None:
    last = re.search(rb"(?im)^\s*ElementDataFile\s*=[ \t]*([^\r\n]*)\r?\n?", header)
    if last is None:
        return None
    pairs = (line.partition("=") for line in header[: last.start()].decode("latin-1").split("\n"))
    fields = {key.strip().lower(): value.strip() for key, _, value in pairs}
    kind = fields["elementtype"].upper().removeprefix("MET_").removesuffix("_ARRAY")
    size = META_BYTES[kind.removeprefix("U")]
    voxels = math.prod(int(n) for n in fields["dimsize"].split())
    if fields.get("binarydata", "true").lower()[:1] not in "t1y":
        return None  # numbers as text
    name = last[1].decode("latin-1").strip()
    local = name.upper() == "LOCAL"
    start = last.end() if local else int(fields.get("headersize", "0"))
    packing = "zlib" if fields.get("compresseddata", "false").lower()[:1] in "t1y" else ""
    expected = voxels * size * int(fields.get("elementnumberofchannels", "1"))
    data = path if local else _beside(path, name)
    if start < 0:  # the voxels are what the file ends with
        start = max(0, data.stat().st_size - expected)
    return _Volume(data, start, packing, expected)


def _nrrd(path: Path, header: bytes) -> _Volume | None:
    end = re.search(rb"\r?\n\r?\n", header)
    lines = header[: end.start() if end else len(header)].decode("latin-1").splitlines()[1:]
    pairs = (line.partition(":") for line in lines if not line.startswith("#") and ":=" not in line)
    fields = {key.strip().lower().replace(" ", ""): value.strip() for key, _, value in pairs}
    if int(fields.get("lineskip", "0")) or (skip := int(fields.get("byteskip", "0"))) < -1:
        return None
    packings = {"raw": "", "gzip": "zlib", "gz": "zlib", "bzip2": "bzip2", "bz2": "bzip2"}
    if (packing := packings.get(fields["encoding"].lower())) is None:
        return None  # numbers as text
    expected = math.prod(int(n) for n in fields["sizes"].split())
    expected *= NRRD_BYTES_OF[fields["type"].lower()]
    if "datafile" in fields:
        data, start = _beside(path, fields["datafile"]), 0
    elif end is not None:
        data, start = path, end.end()
    else:
        return None
    if packing and skip:
        return None  # bytes to pass over after unpacking
    if skip == -1:
        start, skip = max(start, data.stat().st_size - expected), 0
    return _Volume(data, start + skip, packing, expected)
