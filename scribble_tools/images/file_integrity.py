"""Damage in image files that ITK passes over without a word."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

HEADER_BYTES = 348  # of NIfTI-1; ITK reads no NIfTI-2
NIFTI = (".nii", ".nii.gz")
GIPL_BYTES = {7: 1, 8: 1, 15: 2, 16: 2, 31: 4, 32: 4, 64: 4, 65: 8}  # of a voxel, by its type


class _Layout(NamedTuple):
    """How the voxels lie in a file; ``datatype`` as NIfTI numbers it, ``order`` of numpy."""

    order: str
    datatype: int
    voxel_bytes: int
    voxels: int
    offset: int

    @property
    def end(self) -> int:
        return self.offset + self.voxels * self.voxel_bytes


def _nifti_layout(header: bytes) -> _Layout | None:
    """Of NIfTI-1, which includes Analyze; None of something else."""
    try:
        order = next(o for o in "<>" if struct.unpack_from(f"{o}i", header) == (HEADER_BYTES,))
        dim = struct.unpack_from(f"{order}8h", header, 40)
        datatype, bits = struct.unpack_from(f"{order}2h", header, 70)
        (offset,) = struct.unpack_from(f"{order}f", header, 108)
        voxels = math.prod(max(1, n) for n in dim[1 : dim[0] + 1])
        return _Layout(order, datatype, bits // 8, voxels, int(offset))
    except (StopIteration, struct.error, ValueError, OverflowError):  # cut off; offset nan or inf
        return None


def _gipl_layout(header: bytes) -> _Layout | None:
    try:
        *size, kind = struct.unpack_from(">5H", header)
    except struct.error:
        return None
    return _Layout(">", 0, GIPL_BYTES.get(kind, 0), math.prod(max(1, n) for n in size), 256)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _files_of(path: Path) -> tuple[Path, Path]:
    """The file with the header and the one with the voxels, which NIfTI and Analyze may part."""
    pair = {".hdr": (".hdr", ".img"), ".img": (".hdr", ".img")}.get(path.suffix.lower())
    if pair is None:
        return path, path
    header, data = (path.with_suffix(suffix) for suffix in pair)
    packed = data.with_name(f"{data.name}.gz")
    return header, packed if packed.exists() and not data.exists() else data


def refuse_cut_off(path: Path) -> None:
    """Refuse NIfTI, Analyze and GIPL files that lack voxels, and what is packed and damaged.

    ITK fills with zeros what they lack, which is background in half of a label map.

    Raises:
        ValueError: the file is cut off or damaged.
    """
    name = path.name.lower()
    if not name.endswith((*NIFTI, ".hdr", ".img", ".gipl", ".gz")):
        return
    header_file, data_file = _files_of(path)
    if not data_file.exists():
        return  # the header names another one
    try:
        with _open(header_file) as file:
            header = file.read(HEADER_BYTES)
        with _open(data_file) as file:
            length = sum(map(len, iter(lambda: file.read(1 << 20), b"")))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is cut off or damaged ({error})") from None
    layout = _gipl_layout(header) if ".gipl" in name else _nifti_layout(header)
    if layout is not None and length < layout.end:
        raise ValueError(
            f"{path} is cut off: it has {length} bytes of the {layout.end} that its header says"
        )


def count_not_finite(path: Path, array: np.ndarray) -> int:
    """Number of NaN and infinite voxels in a file that was read as ``array``.

    The NIfTI library puts 0 in their place, so its files are looked into directly.
    """
    if not np.issubdtype(array.dtype, np.floating):
        return 0
    if path.name.lower().endswith(NIFTI):
        with _open(path) as file:
            layout = _nifti_layout(file.read(HEADER_BYTES))
            kind = layout and {16: "f4", 64: "f8"}.get(layout.datatype)
            if kind:  # else integers with a scale, always finite
                file.seek(layout.offset)
                voxels = file.read(layout.end - layout.offset)
                array = np.frombuffer(voxels, layout.order + kind)
    return int(np.count_nonzero(~np.isfinite(array)))
