"""What a file is, by its content and never by its name, and what to do where it is not read.

ITK chooses a reader by the ending and then by what that reader makes of the file, with surprises:
a packed `.nii` is no image, a DICOM slice an image without its place in space. So every file is
looked at here before ITK sees it.
"""

from __future__ import annotations

import os
import re
import struct
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TIFF = frozenset({".tif", ".tiff"})
JPEG = frozenset({".jpg", ".jpeg"})
# 2D pictures, whose files say nothing reliable about geometry
NATURAL = TIFF | JPEG | {".png", ".bmp"}
# volumes that nnU-Net reads as they are
VOLUMES = frozenset({".nii.gz", ".nrrd", ".mha", ".gipl"})
READABLE = NATURAL | VOLUMES | {".nii", ".nhdr", ".mhd", ".hdr"}

LITTER = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"})
FIRST_BYTES = 4096
LONGEST_HEADER = 1 << 20  # of NRRD and MetaImage, which carry along what DICOM or 3D Slicer said
NRRD_END = re.compile(rb"\r?\n\r?\n")
META_DATA = re.compile(rb"(?m)^[ \t]*ElementDataFile[ \t]*[=:][ \t]*([^\s]*)")
NIFTI2_REMEDY = (
    "ITK and nnU-Net's default reader do not read it. Make NIfTI-1 of it, in Python with nibabel: "
    "nibabel.save(nibabel.Nifti1Image.from_image(nibabel.load(FILE)), NEW_FILE)"
)
DICOM_REMEDY = (
    "a slice alone does not say where it lies. Make one volume of each series: dcm2niix -z y -f "
    "CASE -o FOLDER DICOM_FOLDER, or load it in 3D Slicer and save it as NRRD or NIfTI"
)
APPLE_REMEDY = (
    "macOS puts such a file beside each of yours on foreign disks and in archives; it is no image: "
    "delete them (find FOLDER -name '._*' -delete)"
)


@dataclass(frozen=True)
class FileKind:
    """What a file is.

    Attributes:
        name: in words, such as ``NIfTI-1``.
        endings: the names of such files end so; the first is what a reader is told. Empty: such
            files are not read, or only ITK can say (``unknown``).
        packed: the whole file is packed with gzip.
        remedy: what to do with a file that is not read; empty for all others.
    """

    name: str
    endings: tuple[str, ...] = ()
    packed: bool = False
    remedy: str = ""

    @property
    def unknown(self) -> bool:
        """Whether only ITK can say whether this is an image."""
        return not self.endings and not self.remedy


UNKNOWN = FileKind("of no known image format")
NIFTI, NIFTI_PAIR, ANALYZE = (
    FileKind("NIfTI-1", (".nii",)),
    FileKind("the header of a NIfTI-1 pair", (".hdr",)),
    FileKind("an Analyze header", (".hdr",)),
)
PACKED_NIFTI = FileKind("packed NIfTI-1", (".nii.gz",), packed=True)
NIFTI_KINDS = (NIFTI, PACKED_NIFTI, NIFTI_PAIR, ANALYZE)
PNG, JPG = FileKind("a PNG picture", (".png",)), FileKind("a JPG picture", (".jpg", ".jpeg"))
BMP, TIF = FileKind("a BMP picture", (".bmp",)), FileKind("a TIF picture", (".tif", ".tiff"))
NRRD, DETACHED_NRRD = FileKind("NRRD", (".nrrd",)), FileKind("an NRRD header", (".nhdr", ".nrrd"))
META = FileKind("MetaImage", (".mha",))
DETACHED_META = FileKind("a MetaImage header", (".mhd", ".mha"))
GIPL = FileKind("GIPL", (".gipl",))
DICOM = FileKind("DICOM", remedy=DICOM_REMEDY)
NIFTI2 = FileKind("NIfTI-2", remedy=NIFTI2_REMEDY)
APPLE_DOUBLE = FileKind("a file of macOS's file attributes", remedy=APPLE_REMEDY)

_SAVE_AS = "save the image as NIfTI, NRRD, PNG or TIF"
# first bytes -> kind
SIGNATURES: tuple[tuple[bytes, FileKind], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPG),
    (b"BM", BMP),
    (b"II*\0", TIF),
    (b"MM\0*", TIF),
    (b"II+\0", TIF),
    (b"MM\0+", TIF),
    (b"\0\5\x16\7", APPLE_DOUBLE),
    (b"\0\5\x16\0", APPLE_DOUBLE),
    (b"GIF8", FileKind("a GIF picture", remedy=_SAVE_AS)),
    (b"PK\3\4", FileKind("a ZIP archive", remedy="unpack it")),
    (b"7z\xbc\xaf", FileKind("a 7z archive", remedy="unpack it")),
    (b"BZh", FileKind("packed with bzip2", remedy="unpack it (bunzip2)")),
    (b"\xfd7zXZ", FileKind("packed with xz", remedy="unpack it (unxz)")),
    (b"%PDF", FileKind("a PDF", remedy=_SAVE_AS)),
    (b"\x93NUMPY", FileKind("a numpy array", remedy=f"it has no geometry: {_SAVE_AS}")),
    (b"MATLAB", FileKind("a MATLAB file", remedy=f"it has no geometry: {_SAVE_AS}")),
    (
        b"version https://git-lfs",
        FileKind("a pointer of Git LFS, not the file", remedy="fetch it: git lfs pull"),
    ),
    (
        b"/annex/objects/",
        FileKind("a pointer of git-annex, not the file", remedy="fetch it: git annex get"),
    ),
)
WEB_PAGE = FileKind("a web page", remedy="the download failed: fetch the file again")
GIPL_NUMBERS = (0xEFFFE9B0, 0x2AE389B8)
# DICOM's value representations that stand in its first elements
FIRST_VRS = frozenset(b"AE AS CS DA DT IS LO OB PN SH ST TM UI UL US UN".split())


def is_hidden(path: Path) -> bool:
    """Whether a path, relative to the folder that is read, is none of the user's files.

    Such are names with a dot in front (macOS's ``._NAME`` and ``.DS_Store`` among them), the
    ``__MACOSX`` of its archives, and ``Thumbs.db`` of Windows.
    """
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return hidden or path.name.lower() in LITTER


def normal_form(text: str) -> str:
    """A name in Unicode's form C: macOS takes letters and their accents apart, others do not."""
    return unicodedata.normalize("NFC", text)


def file_ending_of(path: Path) -> str:
    """The ending as nnU-Net counts it: ``.nii.gz`` is one ending."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def writable_name(path: Path) -> str:
    """The file's name with its ending in small letters: ITK writes no other.

    >>> writable_name(Path("Anna.NII.GZ"))
    'Anna.nii.gz'
    """
    ending = file_ending_of(path)
    return path.name[: len(path.name) - len(ending)] + ending


def ending_of_content(path: Path) -> str:
    """The ending that fits what the file is, which its name may not; its own where nobody knows."""
    try:
        kind = kind_of(path)
    except (FileNotFoundError, ValueError):
        return file_ending_of(path)
    own = file_ending_of(path)
    return own if own in kind.endings or not kind.endings else kind.endings[0]


def kind_of(path: Path) -> FileKind:
    """What the file is.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file (a folder, a pipe, a device), or cannot be opened.
    """
    if not path.is_file():
        if path.exists():
            raise ValueError(
                f"{path} is no regular file (a folder, a pipe or a device): put the file there"
            )
        why = f"a link to {os.readlink(path)}, where no file is" if path.is_symlink() else ""
        raise FileNotFoundError(f"{path}: {why or 'no such file'}")
    try:
        with path.open("rb") as file:
            head = file.read(FIRST_BYTES)
            kind = _kind_of_bytes(head)
            if kind in (NRRD, META):
                kind = _attached_or_not(kind, head, file)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    return kind


def readable_kind(path: Path) -> FileKind:
    """What the file is, if it can be read as an image or if only ITK can say.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of a kind that is not read; the message says which and what to do.
    """
    kind = kind_of(path)
    if kind.remedy:
        raise ValueError(f"{path} is {kind.name}: {kind.remedy}")
    return kind


def _kind_of_bytes(head: bytes) -> FileKind:
    if not head:
        return FileKind("empty", remedy="copy or export the file again")
    if head.startswith(b"\x1f\x8b"):
        return _packed_kind(head)
    for signature, kind in SIGNATURES:
        if head.startswith(signature):
            return kind
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return WEB_PAGE
    return next((kind for test in _TESTS if (kind := test(head))), UNKNOWN)


def _packed_kind(head: bytes) -> FileKind:
    try:
        inside = zlib.decompressobj(31).decompress(head, FIRST_BYTES)
    except zlib.error:
        return FileKind("damaged: it begins as if packed with gzip", remedy="copy the file again")
    kind = _kind_of_bytes(inside) if inside else UNKNOWN
    if kind == NIFTI:
        return PACKED_NIFTI
    if inside.startswith(b"\x1f\x8b"):
        return FileKind("packed twice with gzip", remedy="unpack it once (gunzip)")
    if kind in (NIFTI_PAIR, ANALYZE, GIPL) or kind.unknown:
        return UNKNOWN  # such as .hdr.gz and .gipl.gz, which ITK knows by their names
    if kind.remedy:
        return kind
    return FileKind(f"{kind.name} packed with gzip", remedy="unpack it (gunzip)")


def _nifti(head: bytes) -> FileKind | None:
    size = {struct.unpack_from(f"{order}i", head)[0] for order in "<>"} if len(head) >= 348 else ()
    if 348 in size:
        return {b"n+1": NIFTI, b"ni1": NIFTI_PAIR}.get(head[344:347], ANALYZE)
    return NIFTI2 if 540 in size and head[4:7] in (b"n+2", b"ni2") else None


def _nrrd(head: bytes) -> FileKind | None:
    if not head.startswith(b"NRRD"):
        return None
    header = NRRD_END.split(head, maxsplit=1)[0]
    return DETACHED_NRRD if re.search(rb"(?im)^data ?file:(?!=)", header) else NRRD


def _meta(head: bytes) -> FileKind | None:
    return META if re.match(rb"(?m)(^\s*\w+\s*=[^\0\n]*\n)*\s*NDims\s*=", head) else None


def _attached_or_not(kind: FileKind, head: bytes, file: IO[bytes]) -> FileKind:
    """NRRD or MetaImage, or a header alone: which of them the end of the header says.

    Args:
        head: what was read of ``file``.
    """
    end = NRRD_END if kind == NRRD else META_DATA
    if not end.search(head):
        head += file.read(LONGEST_HEADER)
    if kind == NRRD:
        return _nrrd(head)
    data = META_DATA.search(head)
    return DETACHED_META if data and data[1].upper() != b"LOCAL" else META


def _gipl(head: bytes) -> FileKind | None:
    if len(head) < 256:
        return None
    return GIPL if struct.unpack_from(">I", head, 252)[0] in GIPL_NUMBERS else None


def _dicom(head: bytes) -> FileKind | None:
    if head[128:132] == b"DICM":
        return DICOM
    # without preamble: the first element is one of the groups 2 and 8
    if len(head) < 16:
        return None
    for order in "<>":
        group, element = struct.unpack_from(f"{order}2H", head)
        if group not in (2, 8) or element > 0x100:
            continue
        if head[4:6] in FIRST_VRS:
            return DICOM
        (length,) = struct.unpack_from(f"{order}I", head, 4)
        if length <= 64 and len(head) >= 12 + length:
            group_2, element_2 = struct.unpack_from(f"{order}2H", head, 8 + length)
            if group_2 == group and element < element_2:
                return DICOM
    return None


def _web_picture(head: bytes) -> FileKind | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return FileKind("a WebP picture", remedy=_SAVE_AS)
    phones = head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"avif")
    return FileKind("a HEIC or AVIF picture", remedy=_SAVE_AS) if phones else None


def _mgh(head: bytes) -> FileKind | None:
    """FreeSurfer's: version 1, four sizes, and a type of voxels."""
    if len(head) < 284:
        return None
    version, *sizes, kind = struct.unpack_from(">6i", head)
    if version != 1 or kind not in (0, 1, 3, 4, 10) or not all(0 < n < 1 << 16 for n in sizes):
        return None
    remedy = "make NIfTI of it: mri_convert FILE.mgz FILE.nii.gz"
    return FileKind("FreeSurfer's MGH", remedy=remedy)


_TESTS = (_nifti, _nrrd, _meta, _gipl, _dicom, _web_picture, _mgh)
