"""Bringing labels to another voxel grid, and counting the strokes that this loses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.grids import matrix_of

MOST_LOST = 0.1  # of a file's strokes, above which resampling stops
CHUNK = 1 << 20  # voxels
TIE = 0.01  # voxels


@dataclass(frozen=True)
class Kept:
    """What resampling left of the labels of a file.

    Attributes:
        voxels: label to its voxels before, and to those of them that lie under their own label
            afterwards.
    """

    path: Path
    voxels: Mapping[int, tuple[int, int]]

    @property
    def share(self) -> float:
        """Of all labelled voxels those that are kept; 1 where there were none."""
        before = sum(own for own, _ in self.voxels.values())
        return sum(kept for _, kept in self.voxels.values()) / before if before else 1.0

    @property
    def lost(self) -> list[int]:
        """The labels of which nothing is left."""
        return [label for label, (before, kept) in self.voxels.items() if before and not kept]


def resample_labels(label: sitk.Image, image: sitk.Image, outside: int = 0) -> sitk.Image:
    """Bring labels (of one or more channels) to the grid of ``image``, nearest neighbour."""
    return sitk.Resample(label, image, sitk.Transform(), sitk.sitkNearestNeighbor, outside)


def resample_array(
    array: np.ndarray, label: sitk.Image, image: sitk.Image, outside: int, path: Path
) -> tuple[np.ndarray, Kept]:
    """Labels (*spatial) on the grid of ``label``, brought to that of ``image``; and what is left.

    Args:
        outside: the label of what is not annotated, and of voxels that ``label`` does not reach.
    """
    integers = sitk.GetImageFromArray(array.astype(np.int32))  # which hold any value of outside
    integers.CopyInformation(label)
    result = sitk.GetArrayFromImage(resample_labels(integers, image, outside))
    between = np.linalg.solve(matrix_of(image), matrix_of(label))
    n, counts = array.ndim, {}
    places = np.flatnonzero(array != outside)
    for start in range(0, places.size, CHUNK):
        some = places[start : start + CHUNK]
        index = np.stack(np.unravel_index(some, array.shape)[::-1])  # x, y, z
        place = between[:n, :n] @ index + between[:n, n:]
        labels = array.ravel()[some]
        kept = np.zeros(some.size, bool)
        for side in (-TIE, TIE):  # between two voxels either may have the label
            target = np.rint(place + side).astype(int)[::-1]
            inside = ((target >= 0) & (target < np.reshape(result.shape, (n, 1)))).all(axis=0)
            kept[inside] |= result[tuple(target[:, inside])] == labels[inside]
        for value in np.unique(labels).tolist():
            before, after = counts.get(value, (0, 0))
            own = labels == value
            counts[value] = (before + int(own.sum()), after + int(kept[own].sum()))
    return result, Kept(path, dict(sorted(counts.items())))
