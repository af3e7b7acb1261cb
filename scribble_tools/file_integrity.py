"""Damage in image files that ITK passes over without a word."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

NIFTI_HEADER_BYTES = 348


def count_not_finite(path: Path, array: np.ndarray) -> int:
    """Number of NaN and infinite voxels in a file that was read as ``array``.

    The NIfTI library puts 0 in their place, so its files are looked into directly.
    """
    if not np.issubdtype(array.dtype, np.floating):
        return 0
    if path.name.endswith((".nii", ".nii.gz")):
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            header = file.read(NIFTI_HEADER_BYTES)
            order = "<" if header[:4] == struct.pack("<i", NIFTI_HEADER_BYTES) else ">"
            (kind,) = struct.unpack_from(f"{order}h", header, 70)
            (offset,) = struct.unpack_from(f"{order}f", header, 108)
            if kind in (16, 64):  # float32, float64; else integers with a scale, always finite
                file.seek(int(offset))
                array = np.frombuffer(file.read(), order + ("f4" if kind == 16 else "f8"))
    return int(np.count_nonzero(~np.isfinite(array)))
