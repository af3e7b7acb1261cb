"""The headers of NRRD and MetaImage files: text, which may name other files with the voxels.

Nothing is believed: what is no such header, or would harm ITK as a text, is an error. Whether the
numbers make sense, and which files may be read, is for others to say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scribble_tools.images.file_kind import DETACHED_META, DETACHED_NRRD, META, NRRD, FileKind
from scribble_tools.trust.printable import printable

HEADER_BYTES = 1 << 20  # 3D Slicer writes a kB for every segment
LONGEST_LINE = 1 << 16
MOST_AXES = 5
MOST_PARTS = 10_000  # files that hold a volume together, a slice each
_NRRD_TYPES = {
    1: "signed char,int8,int8_t,uchar,unsigned char,uint8,uint8_t",
    2: "short,short int,signed short,signed short int,int16,int16_t,ushort,unsigned short,"
    "unsigned short int,uint16,uint16_t",
    4: "int,signed int,int32,int32_t,uint,unsigned int,uint32,uint32_t,float",
    8: "longlong,long long,long long int,signed long long,signed long long int,int64,int64_t,"
    "ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t,double",
}
_META_TYPES = {
    1: "MET_CHAR,MET_UCHAR",
    2: "MET_SHORT,MET_USHORT",
    4: "MET_INT,MET_UINT,MET_LONG,MET_ULONG,MET_FLOAT",
    8: "MET_LONG_LONG,MET_ULONG_LONG,MET_DOUBLE",
}
# MetaImage's fields with as many numbers as there are axes, and those with their square
PER_AXIS = frozenset(
    "DimSize ElementSpacing ElementSize Offset Origin Position CenterOfRotation".split()
)
SQUARE = frozenset({"TransformMatrix", "Rotation", "Orientation"})
SYNONYMS = (("TransformMatrix", "Rotation", "Orientation"), ("Offset", "Origin", "Position"))
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
# MetaIO, ITK's reader, keeps values in buffers: a long Name overwrites others' memory, of its own
# other fields 499 bytes are read, and of what it carries along, such as DICOM's, 32767
LONGEST_OTHER = 32767
# what the numbers would have to be multiplied with, and added to them then
NOT_APPLIED = {"ElementToIntensityFunctionSlope": "1", "ElementToIntensityFunctionOffset": "0"}
LONGEST_META: Mapping[str, int] = {
    **dict.fromkeys((*PER_AXIS, *SQUARE), 499),
    **dict.fromkeys(
        "Comment ObjectType ObjectSubType NDims ID ParentID CompressedData CompressedDataSize "
        "CompressionLevel BinaryData ElementByteOrderMSB BinaryDataByteOrderMSB Color Modality "
        "AnatomicalOrientation DistanceUnits AcquisitionDate HeaderSize ImagePosition SequenceID "
        "ElementMin ElementMax ElementNumberOfChannels ElementNBits ElementType ElementDataFile "
        "ElementToIntensityFunctionSlope ElementToIntensityFunctionOffset".split(),
        499,
    ),
    "Name": 254,
}
NRRD_PACKINGS = {
    "raw": "",
    **dict.fromkeys(("gzip", "gz"), "zlib"),
    **dict.fromkeys(("bzip2", "bz2"), "bzip2"),
    **dict.fromkeys(("ascii", "text", "txt", "hex"), "text"),
}
# names are what ITK carries along from other files: "dim[0]" of NIfTI, "0008|0060" of DICOM
_META_NAME = r"[^=:\0-\x1f\x7f\udc80-\udcff]{1,100}?"
META_LINE = re.compile(rf"\s*({_META_NAME})\s*[=:]\s*(.*?)\s*")


def _bytes_of(types: Mapping[int, str]) -> dict[str, int]:
    return {name: size for size, names in types.items() for name in names.split(",")}


NRRD_BYTES, META_BYTES = _bytes_of(_NRRD_TYPES), _bytes_of(_META_TYPES)


@dataclass(frozen=True)
class TextHeader:
    """What a header says.

    Attributes:
        fields: text by name, of NRRD in lower case and without blanks.
        parts: names of the files with the voxels; None: they follow the header.
        end: where the header ends, in bytes.
        sizes: voxels along each axis.
        voxel_bytes: of one, with all channels.
        packing: of the voxels: "" for none, "zlib", "bzip2", or "text" for numbers in writing.
    """

    fields: Mapping[str, str]
    parts: Sequence[str] | None
    end: int
    sizes: tuple[int, ...]
    voxel_bytes: int
    packing: str


def text_header(path: Path, kind: FileKind) -> TextHeader | None:
    """The header of a file, if it is NRRD or MetaImage.

    Raises:
        ValueError: it is damaged, or not what ITK may be given; the message lacks the file's name.
    """
    if kind not in (NRRD, DETACHED_NRRD, META, DETACHED_META):
        return None
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    return _nrrd(head) if kind in (NRRD, DETACHED_NRRD) else _meta(head)


def whole_numbers(words: str) -> tuple[int, ...]:
    """The numbers in a text, of which there are to be few.

    Raises:
        ValueError: there are other words.
    """
    try:
        return tuple(int(word[:19]) for word in words.split()[: MOST_AXES + 1])
    except ValueError:
        raise ValueError(f"its header has {words[:40]!r} in place of whole numbers") from None


def _lines(header: bytes) -> Iterator[tuple[str, int]]:
    """The lines, and where the next one begins."""
    end = 0
    for line in header.split(b"\n"):
        if len(line) > LONGEST_LINE:
            raise ValueError("a line of its header has no end")
        end += len(line) + 1
        yield line.removesuffix(b"\r").decode("utf-8", "surrogateescape"), end


def _parts(words: Sequence[str], value: str, rest: Iterator[str]) -> list[str]:
    """The names that a header gives: one, a list of them below, or a pattern with numbers.

    Args:
        words: the pattern, and its numbers.
    """
    if value.startswith("LIST"):
        return [line.strip() for line in rest if line.strip()]
    return _numbered(words[0], " ".join(words[1:])) if "%" in value else [value]


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


def _nrrd(head: bytes) -> TextHeader:
    end = re.search(rb"\n\r?\n", head)
    header = head[: end.start()] if end else head.rstrip(b"\r\n")
    if end is None and len(head) == HEADER_BYTES:
        raise ValueError("its header has no end")
    lines = [line for line, _ in _lines(header)]
    fields: dict[str, str] = {}
    parts: list[str] | None = None
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
        if name in ("spacedirections", "spaceorigin"):
            words = re.findall(r"[^(),\s]+", value)
            _refuse_no_numbers(name, value, [word for word in words if word != "none"])
        if name in fields and name in ("dimension", "sizes", "type", "encoding", "datafile"):
            raise ValueError(f"its header says {name} twice")
        fields[name] = value
        if name == "datafile":
            parts = _parts(value.split(), value, iter(lines[number + 1 :]))
            if value.startswith("LIST"):
                break  # the rest are names
    sizes = whole_numbers(fields.get("sizes", ""))
    if str(len(sizes)) != fields.get("dimension") and len(sizes) <= MOST_AXES:
        dimension = fields.get("dimension", "")[:20]
        raise ValueError(f"its header has {len(sizes)} sizes and the dimension {dimension!r}")
    kind, packing = (fields.get(name, "").lower() for name in ("type", "encoding"))
    if kind not in NRRD_BYTES:
        raise ValueError(f"its voxels are of the type {kind[:40]!r}")
    if packing not in NRRD_PACKINGS:
        raise ValueError(f"its voxels are packed in the way {printable(packing)[:40]!r}")
    begin = end.end() if end else len(head)
    return TextHeader(fields, parts, begin, sizes, NRRD_BYTES[kind], NRRD_PACKINGS[packing])


def _meta(head: bytes) -> TextHeader:
    fields: dict[str, str] = {}
    parts: list[str] | None = None
    lines, end = _lines(head), 0
    for line, after in lines:
        if not line.strip():
            continue
        match = META_LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"its header has the line {printable(line)[:60]!r}")
        name, value = match.groups()
        _refuse_long_value(name, value)
        if name in fields:
            raise ValueError(f"its header says {name} twice")
        fields[name] = value
        if name == "ElementDataFile":
            if value.upper() != "LOCAL":
                parts = _parts(value.split(" ", 1), value, (line for line, _ in lines))
            end = after
            break
    if "ElementDataFile" not in fields:
        raise ValueError("its header does not say where its voxels are")
    axes = whole_numbers(fields.get("NDims", ""))
    if len(axes) != 1 or not 1 <= axes[0] <= MOST_AXES:
        raise ValueError(
            f"it has {fields.get('NDims', 'no number of')[:20]} dimensions, and images have 2 or 3"
        )
    for name, value in fields.items():
        expected = axes[0] if name in PER_AXIS else axes[0] ** 2 if name in SQUARE else None
        if expected is not None and len(value.split()) != expected:
            raise ValueError(f"{name} in its header has {len(value.split())} of {expected} numbers")
        if expected is not None:
            _refuse_no_numbers(name, value, value.split())
    for name, expected in NOT_APPLIED.items():
        if (value := fields.get(name, expected)).strip() and _not(value, expected):
            raise ValueError(
                f"its header says {name} = {printable(value)[:40]}, which ITK and nnU-Net pass "
                "over: save the numbers that are meant, without it"
            )
    for names in SYNONYMS:
        _refuse_contradiction({name: fields[name] for name in names if name in fields})
    channels = whole_numbers(fields.get("ElementNumberOfChannels", "1"))
    kind = fields.get("ElementType", "").removesuffix("_ARRAY")
    if kind not in META_BYTES or len(channels) != 1 or not 1 <= channels[0] <= 10_000:
        raise ValueError(f"its voxels are of the type {kind[:40]!r}")
    packing = ""
    if _is_true(fields.get("CompressedData", "False")):
        packing = "zlib"
    elif not _is_true(fields.get("BinaryData", "True")):
        packing = "text"
    sizes, voxel_bytes = whole_numbers(fields.get("DimSize", "")), META_BYTES[kind] * channels[0]
    return TextHeader(fields, parts, end, sizes, voxel_bytes, packing)


def _refuse_long_value(name: str, value: str) -> None:
    """Refuse what does not fit into ITK's buffers."""
    longest = LONGEST_META.get(name, LONGEST_OTHER)
    length = len(value.encode("utf-8", "surrogateescape"))
    if length > longest:
        raise ValueError(
            f"its header has a value of {length} bytes for {printable(name)}, and ITK reads at "
            f"most {longest}: save it without this field, or with a shorter one (SimpleITK: "
            f"IMAGE.EraseMetaData({name!r}))"
        )


def _refuse_contradiction(values: Mapping[str, str]) -> None:
    """Refuse several names of the same thing with different numbers, of which ITK takes one."""
    if len({tuple(map(float, value.split())) for value in values.values()}) > 1:
        words = " and ".join(f"{name} = {printable(v)[:60]}" for name, v in values.items())
        raise ValueError(f"its header says {words}, which mean the same: leave the right one")


def _refuse_no_numbers(name: str, value: str, words: Sequence[str]) -> None:
    """Refuse a field of a geometry with others than numbers: ITK takes 0, or a part of the word."""
    if not all(map(_is_number, words)):
        raise ValueError(
            f"its header says {name}: {printable(value)[:60]}; write finite numbers there, with a "
            "point for the decimals"
        )


def _not(value: str, expected: str) -> bool:
    return not _is_number(value) or float(value) != float(expected)


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _is_true(word: str) -> bool:
    return word[:1] in "tT1yY"
