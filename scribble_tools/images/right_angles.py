"""Axes at right angles and of length 1, which is all that ITK and nnU-Net can say of a grid."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.file_kind import DETACHED_META, DETACHED_NRRD, META, NRRD, FileKind

MOST_SKEW = 1e-4  # cosine between two axes; ITK's own limit for NIfTI
MOST_STRETCH = 1e-3  # of a direction, which headers write with few digits
# what says in a header how the axes lie
FIELDS = {
    **dict.fromkeys((NRRD, DETACHED_NRRD), "space directions"),
    **dict.fromkeys((META, DETACHED_META), "TransformMatrix"),
}
_KEEP_NIFTI = "set qform and sform to right angles, in both files: "
_KEEP_NIFTI += "IMAGE.set_qform(IMAGE.affine, 1); IMAGE.set_sform(None, 0)"
_KEEP_OTHERS = (
    "set the directions to right angles, in both files, with SimpleITK and numpy (of N axes): "
    "U, _, V = numpy.linalg.svd(numpy.reshape(IMAGE.GetDirection(), (N, N))); "
    "IMAGE.SetDirection((U @ V).ravel())"
)
_RESAMPLE_NIFTI = " or nibabel.processing.resample_to_output(IMAGE, order=0 for labels)"


def skewed(matrix: np.ndarray) -> bool:
    """Whether two columns of a matrix (n, n) stand at another angle than a right one."""
    axes = matrix / np.maximum(np.linalg.norm(matrix, axis=0), 1e-12)
    between = axes.T @ axes
    return bool(abs(between - np.diag(np.diag(between))).max() > MOST_SKEW)


def shear_in_words(matrix: np.ndarray) -> str:
    """Which axes of a matrix (n, n) or larger stand at which angle, where it is not 90 degrees.

    Only the first three axes are looked at.
    """
    axes = np.asarray(matrix)[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    words = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        if b >= len(lengths):
            continue
        cosine = axes[:, a] @ axes[:, b] / max(lengths[a] * lengths[b], 1e-12)
        angle = math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
        if abs(angle - 90) > 1e-3:
            words.append(f"{'xyz'[a]} and {'xyz'[b]} at {angle:.6g} degrees")
    return ", ".join(words)


def sheared_in_words(path: Path, field: str, angles: str) -> str:
    """The sentence on a sheared file, whatever its format.

    Args:
        field: of its header.
        angles: see `shear_in_words`.
    """
    nifti = field == "sform"
    return (
        f"{path} is sheared: its {field} {'has' if field[-1] != 's' else 'have'} the axes {angles},"
        " but ITK and nnU-Net read right angles only. Bring the image to a grid of right angles "
        "and its labels along (nearest neighbour), such as with 3D Slicer's Resample Image"
        f"{_RESAMPLE_NIFTI if nifti else ''}; or, if the shear is none of the scan's, keep the "
        f"voxels and {_KEEP_NIFTI if nifti else _KEEP_OTHERS}"
    )


def refuse_skewed(path: Path, kind: FileKind, image: sitk.Image) -> None:
    """Refuse an NRRD or MetaImage file that is sheared, as ITK does NIfTI files only.

    ITK keeps such axes; whatever counts in mm along them is wrong, and NIfTI cannot hold them.

    Raises:
        ValueError: two axes stand at another angle than a right one, or have another length than 1.
    """
    if (field := FIELDS.get(kind)) is None:
        return
    n = image.GetDimension()
    matrix = np.reshape(image.GetDirection(), (n, n))
    if skewed(matrix):
        raise ValueError(sheared_in_words(path, field, shear_in_words(matrix)))
    lengths = np.linalg.norm(matrix, axis=0)
    if abs(lengths - 1).max() > MOST_STRETCH:
        raise ValueError(
            f"{path} cannot be read as an image (the axes of its {field} have the lengths "
            f"{', '.join(f'{v:.6g}' for v in lengths)}, and are to have 1: nnU-Net takes the voxel "
            "size from the spacing alone. Divide each axis by its length; multiply its spacing "
            "with it, if that is what is meant)"
        )
