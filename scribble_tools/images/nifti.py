"""What the header of a NIfTI-1 or Analyze file says, which ITK passes on in part only."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scribble_tools.images.file_kind import NIFTI_KINDS, kind_of
from scribble_tools.images.unpacking import Content

HEADER_BYTES = 348
FLOATS = {16: "f4", 64: "f8"}  # NIfTI's numbers of these types
COMPLEX = (32, 1792, 2048)
# of a voxel, by NIfTI's number of its type, as ITK counts: bitpix, which says it too, may be wrong
BYTES = {
    **dict.fromkeys((2, 256), 1),
    **dict.fromkeys((4, 512), 2),
    128: 3,
    **dict.fromkeys((8, 16, 768, 2304), 4),
    **dict.fromkeys((32, 64, 1024, 1280), 8),
    **dict.fromkeys((1536, 1792), 16),
    2048: 32,
}
CODES = ("not set", "scanner", "aligned", "Talairach", "MNI")


@dataclass(frozen=True)
class NiftiHeader:
    """The parts of a header that matter here.

    Attributes:
        order: ``<`` or ``>``.
        size: (x, y, z, ...) in voxels.
        pixdim: voxel size as it is stored, of x, y and z; of absent axes it is often 0.
        datatype: as NIfTI numbers it.
        offset: of the voxels in the file that holds them.
        slope, intercept: what voxels are multiplied with, and what is added then.
        qform_code, sform_code: whether and how each of the two geometries is meant; 0: not at all.
        qform, sform: (4, 4) from voxel to mm, to the patient's right, front and top.
    """

    order: str
    size: tuple[int, ...]
    pixdim: tuple[float, float, float]
    datatype: int
    voxel_bytes: int
    offset: int
    slope: float
    intercept: float
    qform_code: int
    sform_code: int
    qform: np.ndarray
    sform: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm, of x, y and z, as ITK takes it."""
        return tuple(abs(v) or 1.0 for v in self.pixdim)

    @property
    def end(self) -> int:
        """The number of bytes that the file with the voxels must have."""
        return self.offset + math.prod(max(1, n) for n in self.size) * self.voxel_bytes

    @property
    def scaled(self) -> bool:
        """Whether the voxels are multiplied or shifted when they are read."""
        return self.slope not in (0, 1) or self.intercept != 0


def parse_header(header: bytes) -> NiftiHeader | None:
    """The header in the first 348 bytes of a file; None when they are none, or nonsense."""
    try:
        order = next(o for o in "<>" if struct.unpack_from(f"{o}i", header) == (HEADER_BYTES,))
        dim = struct.unpack_from(f"{order}8h", header, 40)
        datatype, bits = struct.unpack_from(f"{order}2h", header, 70)
        pixdim = struct.unpack_from(f"{order}8f", header, 76)
        offset, slope, intercept = struct.unpack_from(f"{order}3f", header, 108)
        codes = struct.unpack_from(f"{order}2h", header, 252)
        quaternion = struct.unpack_from(f"{order}6f", header, 256)
        rows = struct.unpack_from(f"{order}12f", header, 280)
        if not 1 <= dim[0] <= 7:
            return None
        sform = np.eye(4)
        sform[:3] = np.reshape(rows, (3, 4))
        return NiftiHeader(
            order,
            dim[1 : dim[0] + 1],
            pixdim[1:4],
            datatype,
            BYTES.get(datatype, bits // 8),
            int(offset),
            slope if math.isfinite(slope) else 1.0,
            intercept if math.isfinite(intercept) else 0.0,
            *codes,
            _matrix_of_quaternion(pixdim, quaternion),
            sform,
        )
    except (StopIteration, struct.error, ValueError, OverflowError):  # cut off; offset nan or inf
        return None


def _matrix_of_quaternion(pixdim: tuple[float, ...], quaternion: tuple[float, ...]) -> np.ndarray:
    b, c, d, *origin = quaternion
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    scale = np.abs(pixdim[1:4])
    scale[2] *= -1 if pixdim[0] < 0 else 1
    matrix = np.eye(4)
    with np.errstate(invalid="ignore"):  # infinity times 0, which others refuse
        matrix[:3, :3], matrix[:3, 3] = rotation * scale, origin
    return matrix


def files_of(path: Path) -> tuple[Path, Path]:
    """The file with the header and the one with the voxels, which NIfTI and Analyze may part."""
    if path.suffix.lower() not in (".hdr", ".img"):
        return path, path
    header, data = (path.with_suffix(suffix) for suffix in (".hdr", ".img"))
    packed = data.with_name(f"{data.name}.gz")
    return header, packed if packed.exists() and not data.exists() else data


def read_header(path: Path) -> NiftiHeader | None:
    """The header of a NIfTI-1 or Analyze file, packed or not; None of any other file."""
    header_file, _ = files_of(path)
    try:
        if kind_of(header_file) not in NIFTI_KINDS:
            return None
        return parse_header(Content(header_file).read(0, HEADER_BYTES))
    except (OSError, ValueError, EOFError, zlib.error):
        return None


def stored_floats(path: Path, array: np.ndarray) -> np.ndarray:
    """The voxels as the file has them, for a file that was read as ``array``.

    ITK's NIfTI library puts 0 where a file holds NaN or infinity, so that such a file is looked
    into directly. Of all others, ``array`` itself. Scale factors are not applied.
    """
    if not np.issubdtype(array.dtype, np.floating) or (header := read_header(path)) is None:
        return array
    if (kind := FLOATS.get(header.datatype)) is None:
        return array  # integers with a scale, always finite
    voxels = Content(files_of(path)[1]).read(header.offset, header.end)
    stored = np.frombuffer(voxels, header.order + kind)
    return stored.reshape(array.shape) if stored.size == array.size else stored
