"""Headers that ITK must not see: those it dies of, and those that name files elsewhere.

ITK believes what a header says. 99 dimensions write past the end of its memory, a million voxels a
side ask for all of the machine's, and a file name in an NRRD or MetaImage header is opened wherever
it leads, so that a label file of a stranger could bring any file of the user into a data set.
"""

from __future__ import annotations

import math
import os
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

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
    FileKind,
)
from scribble_tools.images.nifti import files_of, parse_header
from scribble_tools.images.unpacking import Content
from scribble_tools.trust.printable import printable

HEADER_BYTES = 1 << 20  # 3D Slicer writes a kB for every segment
LONGEST_LINE = 1 << 16
MOST_AXES = 5
LARGEST_SIDE = 1 << 20
MOST_PIXELS = 1 << 30  # of a picture
MOST_PARTS = 10_000  # files that hold a volume together, a slice each
GROWTH = 1032  # of what zlib unpacks, at most; bzip2 knows no such limit
NRRD_BYTES: Mapping[str, int] = {
    **dict.fromkeys("signed char,int8,int8_t,uchar,unsigned char,uint8,uint8_t".split(","), 1),
    **dict.fromkeys(
        "short,short int,signed short,signed short int,int16,int16_t,ushort,unsigned short,"
        "unsigned short int,uint16,uint16_t".split(","),
        2,
    ),
    **dict.fromkeys(
        "int,signed int,int32,int32_t,uint,unsigned int,uint32,uint32_t,float".split(","), 4
    ),
    **dict.fromkeys(
        "longlong,long long,long long int,signed long long,signed long long int,int64,int64_t,"
        "ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t,double".split(","),
        8,
    ),
}
META_BYTES: Mapping[str, int] = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG", "MET_ULONG", "MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}
# MetaImage's fields with as many numbers as there are axes, and those with their square
PER_AXIS = frozenset(
    "DimSize ElementSpacing ElementSize Offset Origin Position CenterOfRotation".split()
)
SQUARE = frozenset({"TransformMatrix", "Rotation", "Orientation"})
# NRRD's fields with a vector or a number for every axis; teem, ITK's reader, dies of some others
_NUMBER = r"[-+]?[\w.+-]{1,30}"  # also nan and inf
_VECTOR = rf"(none|\( ?{_NUMBER} ?(, ?{_NUMBER} ?){{0,{MOST_AXES}}}\))"
_VECTORS = re.compile(rf"{_VECTOR}([ \t]{{1,8}}{_VECTOR}){{0,{MOST_AXES}}}")
_NUMBERS = re.compile(rf"{_NUMBER}([ \t]{{1,8}}{_NUMBER}){{0,{MOST_AXES}}}")
NRRD_VALUES: Mapping[str, re.Pattern] = {
    **dict.fromkeys(("spacedirections", "spaceorigin", "measurementframe"), _VECTORS),
    **dict.fromkeys(("sizes", "spacings", "thicknesses", "axismins", "axismaxs"), _NUMBERS),
}
NRRD_NAME = re.compile(r"[A-Za-z][A-Za-z ]{0,40}")
NRRD_TEXT = re.compile(r"(?!.*\s{20})[^\0-\x08\x0a-\x1f]{0,1000}")  # of all others
META_LINE = re.compile(r"\s*([\w ]{1,100}?)\s*[=:]\s*(.*?)\s*")


def refuse_unsafe_header(path: Path, kind: FileKind) -> None:
    """Look at a file's header before ITK does.

    Raises:
        ValueError: its name, its numbers or the files that it names are not to be handed to ITK.
    """
    refuse_unsafe_name(path)
    try:
        if kind in (NRRD, DETACHED_NRRD):
            _look_at_nrrd(path)
        elif kind in (META, DETACHED_META):
            _look_at_meta(path)
        elif kind in NIFTI_KINDS:
            _look_at_nifti(path)
        elif kind == GIPL:
            _look_at_gipl(_head(path, 10))
        elif kind == PNG:
            _refuse_pixels(*struct.unpack(">2I", _head(path, 24)[16:24]))
        elif kind == JPG:
            _look_at_jpg(path)
        elif kind == BMP:
            _look_at_bmp(_head(path, 54), path.stat().st_size)
        elif kind.unknown:
            _look_at_others(path)
    except (struct.error, OverflowError):
        raise ValueError(f"{path} is cut off or damaged (its header)") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as an image ({error})") from None


def refuse_unsafe_name(path: Path) -> None:
    """Refuse names that are no UTF-8: ITK dies of them, and nnU-Net with it.

    Raises:
        ValueError: it is such a name.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(
            f"{printable(path)}: this name is not UTF-8, which neither ITK nor nnU-Net can read: "
            "rename it"
        ) from None


def _head(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        return file.read(length)


def _memory() -> int:
    """Bytes of this machine's memory; a lot where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 40


def _refuse_sizes(sizes: tuple[int, ...], voxel_bytes: int, available: int | None) -> None:
    """Refuse a volume that cannot be in the file, or cannot be in memory.

    Args:
        available: the most bytes that the file can unpack to; None: unknown.
    """
    if not 1 <= len(sizes) <= MOST_AXES:
        raise ValueError(f"it has {len(sizes)} dimensions, and images have 2 or 3")
    if not all(0 < size <= LARGEST_SIDE for size in sizes):
        raise ValueError(f"its size is {' x '.join(map(str, sizes))}")
    total = math.prod(sizes) * voxel_bytes
    words = f"its header says {' x '.join(map(str, sizes))} voxels of {voxel_bytes} bytes"
    if available is not None and total > available:
        raise ValueError(f"{words}, and the file cannot hold them: it is cut off or damaged")
    if total > _memory():
        raise ValueError(f"{words}: more than this machine's memory")


def _whole(words: str) -> tuple[int, ...]:
    try:
        return tuple(int(word[:19]) for word in words.split()[: MOST_AXES + 1])
    except ValueError:
        raise ValueError(f"its header has {words[:40]!r} in place of whole numbers") from None


def _refuse_strange_parts(path: Path, names: list[str]) -> int:
    """Refuse data files that lie elsewhere, or are no files; return their size together."""
    if not 1 <= len(names) <= MOST_PARTS:
        raise ValueError(f"its header names {len(names)} files with its voxels")
    total = 0
    for name in names:
        shown = printable(name)[:80]
        if not name or name != os.path.basename(name) or "\\" in name or name in (".", ".."):
            raise ValueError(
                f"its header says that its voxels lie in {shown!r}; only a file in the same folder "
                "is read. Put both into one folder and correct the header, or save the image as "
                "one file"
            )
        part = path.parent / name
        if part.is_symlink():
            raise ValueError(f"its voxels lie in {shown!r}, which is a link and not followed")
        if not part.is_file():
            raise ValueError(f"its voxels lie in {shown!r}, which is missing or no file")
        total += part.stat().st_size
    return total


def _numbered(pattern: str, numbers: str) -> list[str]:
    """The names that a printf pattern with first and last number and step stands for."""
    match = re.fullmatch(r"([^%]*)%(0?)(\d?)d([^%]*)", pattern)
    words = re.fullmatch(r"\s*(\d{1,6})\s+(\d{1,6})(?:\s+(\d{1,4}))?(?:\s+\d)?\s*", numbers)
    if not match or not words or int(words[3] or 1) == 0:
        raise ValueError(f"its header names its voxels' files by {printable(pattern)[:80]!r}")
    before, zero, width, after = match.groups()
    steps = range(int(words[1]), int(words[2]) + 1, int(words[3] or 1))
    fill = "0" if zero else " "
    numbers = (str(k).rjust(int(width or 0), fill) for k in steps[: MOST_PARTS + 1])
    return [f"{before}{number}{after}" for number in numbers]


def _lines(header: bytes) -> Iterator[str]:
    for line in header.split(b"\n"):
        if len(line) > LONGEST_LINE:
            raise ValueError("a line of its header has no end")
        yield line.removesuffix(b"\r").decode("utf-8", "surrogateescape")


def _look_at_nrrd(path: Path) -> None:
    head = _head(path, HEADER_BYTES)
    end = re.search(rb"\n\r?\n", head)
    header = head[: end.start()] if end else head.rstrip(b"\r\n")
    if end is None and len(head) == HEADER_BYTES:
        raise ValueError("its header has no end")
    lines = [*_lines(header)]
    fields: dict[str, str] = {}
    names: list[str] | None = None
    for number, line in enumerate(lines):
        if line.startswith("#") or ":=" in line.split(": ")[0]:
            continue
        name, _, value = line.partition(":")
        if number and not (NRRD_NAME.fullmatch(name) and NRRD_TEXT.fullmatch(line)):
            raise ValueError(f"its header has the line {printable(line)[:60]!r}")
        name, value = name.lower().replace(" ", ""), value.strip(" ")
        pattern = NRRD_VALUES.get(name, NRRD_TEXT)
        if name != "datafile" and not pattern.fullmatch(value):
            raise ValueError(f"its header says {printable(name)[:40]}: {printable(value)[:60]}")
        if name in fields and name in ("dimension", "sizes", "type", "encoding", "datafile"):
            raise ValueError(f"its header says {name} twice")
        fields[name] = value
        if name == "datafile":
            names = _nrrd_parts(value, lines[number + 1 :])
            if value.split()[:1] == ["LIST"]:
                break  # the rest are names
    sizes = _whole(fields.get("sizes", ""))
    if str(len(sizes)) != fields.get("dimension") and len(sizes) <= MOST_AXES:
        dimension = fields.get("dimension", "")[:20]
        raise ValueError(f"its header has {len(sizes)} sizes and the dimension {dimension!r}")
    kind = fields.get("type", "").lower()
    if kind not in NRRD_BYTES:
        raise ValueError(f"its voxels are of the type {kind[:40]!r}")
    packed = fields.get("encoding", "").lower()
    stored = path.stat().st_size - len(header) if names is None else None
    if names is not None:
        stored = _refuse_strange_parts(path, names)
    growth = {"raw": 1, "gzip": GROWTH, "gz": GROWTH}.get(packed)
    if packed not in ("raw", "gzip", "gz", "bzip2", "bz2", "ascii", "text", "txt", "hex"):
        raise ValueError(f"its voxels are packed in the way {printable(packed)[:40]!r}")
    if packed in ("ascii", "text", "txt", "hex"):
        growth = 8  # a digit and a space for each voxel, of up to 8 bytes
    _refuse_sizes(sizes, NRRD_BYTES[kind], None if growth is None else stored * growth)


def _nrrd_parts(value: str, rest: list[str]) -> list[str]:
    words = value.split()
    if words[:1] == ["LIST"]:
        return [line.strip() for line in rest if line.strip()]
    if "%" in value:
        pattern, *numbers = words
        return _numbered(pattern, " ".join(numbers))
    return [value]


def _look_at_meta(path: Path) -> None:
    fields: dict[str, str] = {}
    names: list[str] | None = None
    lines = _lines(_head(path, HEADER_BYTES))
    length = 0
    for line in lines:
        length += len(line.encode("utf-8", "surrogateescape")) + 1
        if not line.strip():
            continue
        match = META_LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"its header has the line {printable(line)[:60]!r}")
        name, value = match.groups()
        if len(value) > 500 and name != "Comment":
            raise ValueError(f"its header has a value of {len(value)} characters for {name}")
        if name in fields:
            raise ValueError(f"its header says {name} twice")
        fields[name] = value
        if name == "ElementDataFile":
            names = _meta_parts(value, lines)
            break
    if "ElementDataFile" not in fields:
        raise ValueError("its header does not say where its voxels are")
    axes = _whole(fields.get("NDims", ""))
    if len(axes) != 1 or not 1 <= axes[0] <= MOST_AXES:
        raise ValueError(
            f"it has {fields.get('NDims', 'no number of')[:20]} dimensions, and images have 2 or 3"
        )
    for name, value in fields.items():
        expected = axes[0] if name in PER_AXIS else axes[0] ** 2 if name in SQUARE else None
        if expected is not None and len(value.split()) != expected:
            raise ValueError(f"{name} in its header has {len(value.split())} of {expected} numbers")
    channels = _whole(fields.get("ElementNumberOfChannels", "1"))
    kind = fields.get("ElementType", "").removesuffix("_ARRAY")
    if kind not in META_BYTES or len(channels) != 1 or not 1 <= channels[0] <= 10_000:
        raise ValueError(f"its voxels are of the type {kind[:40]!r}")
    stored = path.stat().st_size - length if names is None else _refuse_strange_parts(path, names)
    packed_bytes = fields.get("CompressedDataSize", "0").strip()
    if not packed_bytes.isdigit() or int(packed_bytes[:19]) > stored:
        raise ValueError(f"its header says that its voxels are {packed_bytes[:20]} bytes, packed")
    growth = 1
    if _is_true(fields.get("CompressedData")):
        growth = GROWTH
    elif not _is_true(fields.get("BinaryData", "True")):
        growth = 8  # a digit and a space for each voxel, of up to 8 bytes
    voxel_bytes = META_BYTES[kind] * channels[0]
    _refuse_sizes(_whole(fields.get("DimSize", "")), voxel_bytes, stored * growth)


def _is_true(word: str | None) -> bool:
    return word is not None and word[:1] in "tT1yY"


def _meta_parts(value: str, rest: Iterator[str]) -> list[str] | None:
    """Names of the files with the voxels; None where they follow the header."""
    if value.upper() == "LOCAL":
        return None
    if value.startswith("LIST"):
        return [line.strip() for line in rest if line.strip()]
    if "%" in value:
        pattern, _, numbers = value.partition(" ")
        return _numbered(pattern, numbers)
    return [value]


def _look_at_nifti(path: Path) -> None:
    header_file, data_file = files_of(path)
    if not header_file.is_file():
        raise ValueError(f"{header_file.name} is missing or no file")
    header = parse_header(_unpacked(header_file, 348))
    if header is None:
        raise ValueError("its header is damaged")
    if data_file != header_file and data_file.exists() and not data_file.is_file():
        raise ValueError(f"{data_file.name} is no file")
    sizes = tuple(max(1, size) for size in header.size)
    while len(sizes) > MOST_AXES and sizes[-1] == 1:
        sizes = sizes[:-1]
    if header.voxel_bytes not in (1, 2, 3, 4, 8, 16, 32) or header.offset < 0:
        raise ValueError("its header is damaged")
    _refuse_sizes(sizes, header.voxel_bytes, None)  # whether they are there is looked at elsewhere


def _look_at_bmp(head: bytes, length: int) -> None:
    start, own, width, height, planes, bits, packing = struct.unpack_from("<2I2i2HI", head, 10)
    (colours,) = struct.unpack_from("<I", head, 46)
    if own < 40 or planes != 1 or bits not in (1, 4, 8, 16, 24, 32) or packing > 3:
        raise ValueError("it is a BMP of a rare kind: save the picture as PNG")
    if colours > 256 or start > length:
        raise ValueError("its header is damaged")
    if packing in (1, 2):
        raise ValueError("it is a packed BMP: save the picture as PNG")
    row = (width * bits + 31) // 32 * 4
    if width > 0 and row * abs(height) > length:
        raise ValueError("it is cut off")
    _refuse_pixels(width, abs(height))


def _look_at_gipl(head: bytes) -> None:
    *sizes, _ = struct.unpack(">5H", head)
    while len(sizes) > 3 and sizes[-1] <= 1:
        sizes.pop()
    _refuse_sizes(tuple(max(1, size) for size in sizes), 8, None)


def _look_at_jpg(path: Path) -> None:
    """Find the frame's header, which has the size."""
    with path.open("rb") as file:
        file.seek(2)
        while len(head := file.read(4)) == 4 and head[0] == 0xFF:
            marker, length = head[1], int.from_bytes(head[2:], "big")
            if marker == 0xFF:  # filling
                file.seek(-3, 1)
            elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                _, height, width = struct.unpack(">B2H", file.read(5))
                return _refuse_pixels(width, height)
            else:
                file.seek(length - 2, 1)
    raise ValueError("it is cut off or damaged")


def _refuse_pixels(width: int, height: int) -> None:
    if not 0 < width * height <= MOST_PIXELS or min(width, height) < 1:
        raise ValueError(f"it has {width} x {height} pixels")


def _look_at_others(path: Path) -> None:
    """What ITK knows by its name only: packed GIPL and Analyze, and an Analyze file's voxels."""
    name = path.name.lower()
    if name.endswith(".gipl.gz"):
        _look_at_gipl(_unpacked(path, 10))
    elif name.endswith((".hdr", ".hdr.gz", ".img", ".img.gz")):
        _look_at_nifti(path)
    else:
        raise ValueError("it is of no known image format")


def _unpacked(path: Path, length: int) -> bytes:
    try:
        return Content(path).read(0, length)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"it is cut off or damaged ({error})") from None
