"""How a volume is cut and turned for looking at: which slices, which side is left, which is up.

Radiological orientation, after the direction cosines in the image's header:

======== ========================= ========
slices   left of the picture       up
======== ========================= ========
axial    the patient's right       anterior
coronal  the patient's right       superior
sagittal anterior                  superior
======== ========================= ========

Oblique slices are turned as the nearest of the three; nothing is resampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

# the patient's axes: 0 right to left, 1 anterior to posterior, 2 inferior to superior
AXIS_OF = {letter: axis for axis, pair in enumerate(("RL", "AP", "IS")) for letter in pair}
PLANES = ("sagittal", "coronal", "axial")  # across each of these axes
FORMATS_WITHOUT_ORIENTATION = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
# a direction is called oblique, and gets a second letter, when it is off by more than 15 degrees
OBLIQUE = np.sin(np.deg2rad(15))


@dataclass(frozen=True)
class DisplayPlane:
    """The cut of one image.

    Attributes:
        dimension: 2 or 3.
        axes: the array axes (of z, y, x) that become slices, rows and columns.
        flips: whether rows and columns are reversed.
        spacing_mm: of rows and of columns.
        edges: letters for left, right, top and bottom of the picture, such as ``("R", "L", "A",
            "P")``; None when the file does not say.
        description: a sentence for the reader of the picture.
    """

    dimension: int
    axes: tuple[int, int, int]
    flips: tuple[bool, bool]
    spacing_mm: tuple[float, float]
    edges: tuple[str, str, str, str] | None
    description: str

    def cut(self, array: np.ndarray) -> np.ndarray:
        """Turn an array (*spatial) or (*spatial, channels) into (slices, rows, columns, ...).

        A view: nothing is copied. Slices keep the numbers they have in the file.
        """
        if self.dimension == 2:
            array = array[None]
        array = np.transpose(array, (*self.axes, *range(3, array.ndim)))
        return array[(slice(None), *(slice(None, None, -1 if flip else 1) for flip in self.flips))]


def states_orientation(image: sitk.Image, file: Path) -> bool:
    """Whether the header of ``file`` says how the volume lies in the patient.

    NIfTI has codes for "unknown", NRRD may lack its ``space``, and PNG and TIF have no field for
    it. ITK hands out an identity matrix for all of them.
    """
    name = file.name.lower()
    if name.endswith(FORMATS_WITHOUT_ORIENTATION):
        return False
    if name.endswith(".nrrd"):
        return image.HasMetaDataKey("NRRD_space")
    codes = [f"{form}_code" for form in ("qform", "sform")]
    codes = [image.GetMetaData(code) for code in codes if image.HasMetaDataKey(code)]
    return not codes or any(code != "0" for code in codes)


def _letters(direction: np.ndarray) -> str:
    """Where a direction (x, y, z in ITK's LPS) points to, the largest part first."""
    order = [k for k in np.argsort(-np.abs(direction)) if abs(direction[k]) > OBLIQUE]
    return "".join(("LPS" if direction[k] > 0 else "RAI")[k] for k in order)


def display_plane(image: sitk.Image, file: Path) -> DisplayPlane:
    """Choose the cut of a 2D or 3D image.

    Slices are cut across the axis of the largest voxel size (the first array axis among equals),
    or across an axis of one voxel.

    Args:
        image: as read from ``file``, with its header.

    Raises:
        ValueError: the image has other than two or three dimensions.
    """
    dimension = image.GetDimension()
    size, spacing = image.GetSize()[::-1], image.GetSpacing()[::-1]
    if dimension == 2:
        note = "2D image, shown as stored; it states no orientation."
        return DisplayPlane(2, (0, 1, 2), (False, False), spacing, None, note)
    if dimension != 3:
        raise ValueError(f"{file} has {dimension} dimensions: give one 2D or 3D file per channel")
    # rounded, so that the seventh decimal of a header does not choose between equal axes
    across = size.index(1) if 1 in size else int(np.argmax(np.round(spacing, 3)))
    rows, columns = (axis for axis in range(3) if axis != across)
    if not states_orientation(image, file):
        note = "The file states no orientation: slices are shown as stored."
        spacing_mm = (spacing[rows], spacing[columns])
        return DisplayPlane(3, (across, rows, columns), (False, False), spacing_mm, None, note)

    cosines = image.GetDirection()
    # one letter per array axis: the patient's side that it grows towards
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(cosines)[::-1]
    if AXIS_OF[code[rows]] < AXIS_OF[code[columns]]:
        rows, columns = columns, rows
    flips = (code[rows] not in "LPI", code[columns] not in "LPI")
    directions = np.reshape(cosines, (3, 3)).T[::-1]  # of the array axes
    down, right = (
        -directions[axis] if flip else directions[axis]
        for axis, flip in zip((rows, columns), flips, strict=True)
    )
    edges = (_letters(-right), _letters(right), _letters(-down), _letters(down))
    oblique = max(map(len, edges)) > 1
    plane = PLANES[AXIS_OF[code[across]]]
    name = f"Oblique slices, nearest to {plane}," if oblique else f"{plane.capitalize()} slices"
    note = (
        f"{name} according to the file's header, in radiological orientation: left is {edges[0]}, "
        f"up is {edges[2]} (patient's R right, L left, A anterior, P posterior, S superior, "
        "I inferior)."
    )
    spacing_mm = (spacing[rows], spacing[columns])
    return DisplayPlane(3, (across, rows, columns), flips, spacing_mm, edges, note)
