"""Damage in image files that ITK passes over without a word."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from scribble_tools.images.file_kind import GIPL, NIFTI_KINDS, readable_kind
from scribble_tools.images.nifti import HEADER_BYTES, files_of, parse_header, stored_floats
from scribble_tools.images.unpacking import Content

GIPL_BYTES = {1: 1, 7: 1, 8: 1, 15: 2, 16: 2, 31: 4, 32: 4, 64: 4, 65: 8}  # of a voxel, by its type
GIPL_HEADER = 256
MOST_TRAILING = 256 << 20  # bytes behind the voxels


def _gipl_end(header: bytes) -> int | None:
    """How many bytes a GIPL file must have."""
    try:
        *size, kind = struct.unpack_from(">5H", header)
    except struct.error:
        return None
    return GIPL_HEADER + math.prod(max(1, n) for n in size) * GIPL_BYTES.get(kind, 0)


def refuse_cut_off(path: Path) -> None:
    """Refuse NIfTI, Analyze and GIPL files that lack voxels, and what is packed and damaged.

    ITK fills with zeros what they lack, which is background in half of a label map.

    Raises:
        FileNotFoundError, ValueError: see `readable_kind`; the file is cut off or damaged.
    """
    kind, name = readable_kind(path), path.name.lower()
    if kind not in (*NIFTI_KINDS, GIPL) and not name.endswith((".img", ".gipl", ".gz")):
        return
    header_file, data_file = files_of(path)
    if not data_file.exists():
        return  # the header names another one
    try:
        header = Content(header_file).read(0, HEADER_BYTES)
        if kind == GIPL or ".gipl" in name:
            end = _gipl_end(header)
        else:
            parsed = parse_header(header)
            end = parsed and parsed.end
        length = 0
        for chunk in Content(data_file):
            length += len(chunk)
            if end is not None and length > end + MOST_TRAILING:  # it may never end
                raise ValueError(f"{path} holds far more than the {end} bytes of its header")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is cut off or damaged ({error})") from None
    if end is not None and length < end:
        raise ValueError(
            f"{path} is cut off: it has {length} bytes of the {end} that its header says"
        )


def has_trailing_bytes(path: Path) -> bool:
    """Whether bytes follow the content of a packed file, at which some readers stop.

    Raises:
        ValueError: the file is cut off or damaged.
    """
    content = Content(path)
    try:
        for _ in content:
            pass
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is cut off or damaged ({error})") from None
    return content.trailing


def count_not_finite(path: Path, array: np.ndarray) -> int:
    """Number of NaN and infinite voxels in a file that was read as ``array``.

    The NIfTI library puts 0 in their place, so its files are looked into directly.
    """
    if not np.issubdtype(array.dtype, np.floating):
        return 0
    return int(np.count_nonzero(~np.isfinite(stored_floats(path, array))))
