"""Headers that ITK must not see: those it dies of, and those that name files elsewhere.

ITK believes what a header says. 99 dimensions write past the end of its memory, a million voxels a
side ask for all of the machine's, and a file name in an NRRD or MetaImage header is opened wherever
it leads, so that a label file of a stranger could bring any file of the user into a data set.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scribble_tools.images.file_integrity import GIPL_BYTES, GIPL_HEADER
from scribble_tools.images.file_kind import (
    BMP,
    DETACHED_NRRD,
    GIPL,
    JPG,
    NIFTI,
    NIFTI_KINDS,
    NRRD,
    PACKED_NIFTI,
    PNG,
    FileKind,
)
from scribble_tools.images.nifti import COMPLEX, NiftiHeader, files_of, parse_header
from scribble_tools.images.nrrd_geometry import refuse_open_geometry
from scribble_tools.images.pictures import jpg_segments
from scribble_tools.images.text_headers import MOST_AXES, MOST_PARTS, TextHeader, text_header
from scribble_tools.images.unpacking import Content
from scribble_tools.trust.printable import printable
from scribble_tools.wording import counted

GEOMETRY_OF_ANOTHER = (
    "Take the geometry of the file that it was made from, with nibabel: "
    "IMAGE.set_qform(OTHER.affine, 1); IMAGE.set_sform(OTHER.affine, 1)"
)
LARGEST_SIDE = 1 << 20
FIRST_VOXEL = 352  # of NIfTI in one file, the first byte that can be one
SPACING_DIFFERENCE = 0.01  # relative; float32 and rounded headers leave less
MOST_PIXELS = 1 << 30  # of a picture
# how many times as large as in the file voxels can be, at most; bzip2 knows no such limit. Of
# numbers in writing, each has a digit and a space for up to 8 bytes
GROWTH = {"": 1, "zlib": 1032, "text": 8, "bzip2": None}


def refuse_unsafe_header(path: Path, kind: FileKind) -> None:
    """Look at a file's header before ITK does.

    Raises:
        ValueError: its name, its numbers or the files that it names are not to be handed to ITK.
    """
    refuse_unsafe_name(path)
    try:
        if (header := text_header(path, kind)) is not None:
            _look_at_text(path, header)
            if kind in (NRRD, DETACHED_NRRD):
                refuse_open_geometry(header.fields, len(header.sizes))
        elif kind in NIFTI_KINDS:
            _look_at_nifti(path, kind)
        elif kind == GIPL:
            _look_at_gipl(_head(path, GIPL_HEADER))
        elif kind == PNG:
            _refuse_pixels(*struct.unpack(">2I", _head(path, 24)[16:24]))
        elif kind == JPG:
            _look_at_jpg(path)
        elif kind == BMP:
            _look_at_bmp(_head(path, 54), path.stat().st_size)
        elif kind.unknown:
            _look_at_others(path, kind)
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


def _refuse_strange_parts(path: Path, names: Sequence[str]) -> int:
    """Refuse data files that lie elsewhere, or are no files; return their size together."""
    if not 1 <= len(names) <= MOST_PARTS:
        raise ValueError(f"its header names {counted(len(names), 'file')} with its voxels")
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


def _look_at_text(path: Path, header: TextHeader) -> None:
    """NRRD and MetaImage."""
    if header.parts is None:
        stored = path.stat().st_size - header.end
    else:
        stored = _refuse_strange_parts(path, header.parts)
    packed_bytes = header.fields.get("CompressedDataSize", "0").strip()
    if "CompressedData" in header.fields and header.packing == "zlib" and header.parts is None:
        if packed_bytes == "0":
            raise ValueError(
                "its header lacks CompressedDataSize, without which ITK makes up the voxels: save "
                "it again, or unpacked"
            )
    if not packed_bytes.isdigit() or int(packed_bytes[:19]) > stored:
        raise ValueError(f"its header says that its voxels are {packed_bytes[:20]} bytes, packed")
    growth = GROWTH[header.packing]
    _refuse_sizes(header.sizes, header.voxel_bytes, None if growth is None else stored * growth)


def _look_at_nifti(path: Path, kind: FileKind) -> None:
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
    if min(header.size) < 0:
        raise ValueError(f"its header says that its size is {' x '.join(map(str, header.size))}")
    if kind in (NIFTI, PACKED_NIFTI) and header.offset < FIRST_VOXEL:
        raise ValueError(
            f"its header says that the voxels begin at byte {header.offset} (vox_offset), in the "
            f"header itself, and ITK reads them shifted. Save it again where it comes from; or, if "
            f"they begin at {FIRST_VOXEL}, as they mostly do, write that to byte 108 of the "
            f"unpacked file, in Python: struct.pack('{header.order}f', {FIRST_VOXEL})"
        )
    _refuse_numbers_made_up(header)
    _refuse_other_spacing(header)


def _refuse_numbers_made_up(header: NiftiHeader) -> None:
    """Refuse numbers in whose place ITK, without a word, takes others."""
    if header.datatype in COMPLEX:
        raise ValueError(
            "its voxels are complex numbers, of which nnU-Net keeps the real part only: save what "
            "is to be seen, often the magnitude (numpy.abs)"
        )
    sizes = [v for v, n in zip(header.pixdim, header.size, strict=False) if n > 1]
    if not all(math.isfinite(v) and v for v in sizes):
        raise ValueError(
            f"its header says that voxels are {' x '.join(f'{v:.6g}' for v in sizes)} mm (pixdim), "
            "and ITK and nnU-Net take 1 mm for what is no size. Write the true size there, such as "
            "with nibabel: IMAGE.header.set_zooms((X, Y, Z)); nibabel.save(IMAGE, NEW_FILE)"
        )
    for name in ("qform", "sform"):
        if getattr(header, f"{name}_code") > 0 and not np.isfinite(getattr(header, name)).all():
            raise ValueError(
                f"its {name} holds NaN or infinity, so that nobody knows where it lies. "
                f"{GEOMETRY_OF_ANOTHER}"
            )


def _refuse_other_spacing(header: NiftiHeader) -> None:
    """Refuse an sform that has another voxel size than pixdim, where no qform decides.

    Many programs take the sform's, ITK pixdim's. An sform of 1 mm on all axes, as ACDC has, gives
    directions only.
    """
    if header.sform_code <= 0 or header.qform_code > 0:
        return
    used = [k for k, n in enumerate(header.size[:3]) if n > 1]
    own = np.linalg.norm(header.sform[:3, :3], axis=0)[used]
    said = np.abs(header.pixdim)[used]
    if not own.all() or np.allclose(own, 1, rtol=0, atol=SPACING_DIFFERENCE):
        return  # what is no axis is ITK's to refuse
    if not np.allclose(own, said, rtol=SPACING_DIFFERENCE, atol=0):
        words = [" x ".join(f"{v:.6g}" for v in row) for row in (own, said)]
        raise ValueError(
            f"its sform says that voxels are {words[0]} mm, its pixdim {words[1]} mm, and programs "
            "differ in what they take. Write the true size to both, with nibabel: "
            "IMAGE.header.set_zooms((X, Y, Z)), or IMAGE.set_sform(AFFINE, 1)"
        )


def _look_at_bmp(head: bytes, length: int) -> None:
    start, own, width, height, planes, bits, packing = struct.unpack_from("<2I2i2HI", head, 10)
    (colours,) = struct.unpack_from("<I", head, 46)
    if own < 40 or planes != 1 or bits not in (1, 4, 8, 16, 24, 32) or packing > 3:
        raise ValueError("it is a BMP of a rare kind: save the picture as PNG")
    palette = 4 * (colours or 1 << bits) if bits <= 8 else 0
    if colours > 256 or not 14 + own + palette <= start <= length:
        raise ValueError("its header is damaged")
    if packing in (1, 2):
        raise ValueError("it is a packed BMP: save the picture as PNG")
    row = (width * bits + 31) // 32 * 4
    if width > 0 and row * abs(height) > length:
        raise ValueError("it is cut off")
    _refuse_pixels(width, abs(height))


def _look_at_gipl(head: bytes) -> None:
    *sizes, kind = struct.unpack_from(">5H", head)
    while len(sizes) > 3 and sizes[-1] <= 1:
        sizes.pop()
    _refuse_sizes(tuple(max(1, size) for size in sizes), 8, None)
    if kind not in GIPL_BYTES:
        raise ValueError(f"its voxels are of the type {kind}, which is none of GIPL's")
    spacing = struct.unpack_from(f">{len(sizes)}f", head, 10)
    origin = struct.unpack_from(f">{len(sizes)}d", head, 204)
    for name, own in (("voxel size", spacing), ("origin", origin)):
        if not all(map(math.isfinite, own)):
            words = " x ".join(f"{v:.6g}" for v in own)
            raise ValueError(f"its header says that its {name} is {words}: write finite numbers")


def _look_at_jpg(path: Path) -> None:
    """Find the frame's header, which has the size."""
    with path.open("rb") as file:
        for marker, _ in jpg_segments(file):
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                _, height, width = struct.unpack(">B2H", file.read(5))
                return _refuse_pixels(width, height)
    raise ValueError("it is cut off or damaged")


def _refuse_pixels(width: int, height: int) -> None:
    if not 0 < width * height <= MOST_PIXELS or min(width, height) < 1:
        raise ValueError(f"it has {width} x {height} pixels")


def _look_at_others(path: Path, kind: FileKind) -> None:
    """What ITK knows by its name only: packed GIPL and Analyze, and an Analyze file's voxels."""
    name = path.name.lower()
    if name.endswith(".gipl.gz"):
        _look_at_gipl(_unpacked(path, GIPL_HEADER))
    elif name.endswith((".hdr", ".hdr.gz", ".img", ".img.gz")):
        _look_at_nifti(path, kind)
    else:
        raise ValueError("it is of no known image format")


def _unpacked(path: Path, length: int) -> bytes:
    try:
        return Content(path).read(0, length)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"it is cut off or damaged ({error})") from None
