"""Distances between the surfaces of two masks in mm, and the three scores that rest on them.

Symbols: P and R are the surface voxels of prediction and reference, d(a, B) is the distance in mm
from voxel a to the nearest voxel of B, and D joins { d(p, R) : p in P } and { d(r, P) : r in R }
in one list. Then

    HD95            = 95th percentile of D           (medpy's ``hd95``)
    ASSD            = mean of D                      (medpy's ``assd``)
    surface Dice(t) = share of D that is at most t.

Both directions' distances enter one list; HD95 is not the larger of two percentiles, ASSD not the
mean of two means. A surface voxel is one that a face-connected erosion (6 neighbours in 3D, 4 in
2D) removes, so object voxels on the image border are surface voxels. Surface Dice counts surface
voxels; the definition by surfel areas (Nikolov et al. 2018) weighs each by the area of surface in
it, and differs most where voxels are far from cubes.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Smallest box holding every True voxel of ``mask`` (*spatial); empty slices if there is none.

    Axis by axis, each on what the former axes left over: much faster than ``np.nonzero``.
    """
    box: list[slice] = []
    for axis in range(mask.ndim):
        inside = mask[tuple(box)]
        hits = np.flatnonzero(inside.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(hits[0]), int(hits[-1]) + 1) if hits.size else slice(0, 0))
    return tuple(box)


def surface_points_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Positions in mm, (N, ndim), of the surface voxels of a boolean ``mask`` (*spatial).

    ``spacing_mm`` has one entry per array axis, in the array's axis order.
    """
    if len(spacing_mm) != mask.ndim:
        raise ValueError(
            f"spacing {tuple(spacing_mm)} has {len(spacing_mm)} entries, the mask of shape "
            f"{mask.shape} has {mask.ndim} axes; give one spacing per axis"
        )
    box = bounding_box(mask)
    inside = mask[box]
    # Outside the box all is background and binary_erosion takes the outside as background, so
    # the crop changes nothing.
    surface = inside & ~binary_erosion(inside)
    corner = np.array([s.start for s in box])
    return (np.argwhere(surface) + corner) * np.asarray(spacing_mm, dtype=np.float64)


def surface_distances_mm(
    prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]
) -> np.ndarray:
    """All surface distances D in mm, (number of surface voxels of both,), of two boolean masks.

    Empty if both masks are (no surface, nothing to measure), all infinite if exactly one is (its
    surface is nowhere). Raises ``ValueError`` if the shapes (*spatial) differ.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction {prediction.shape} and reference {reference.shape} differ")
    points_p = surface_points_mm(prediction, spacing_mm)
    points_r = surface_points_mm(reference, spacing_mm)
    if not (len(points_p) and len(points_r)):
        return np.full(len(points_p) + len(points_r), math.inf)
    # Trees over surface points: the cost follows the surface, not the box spanned by far islands.
    # Points on a grid are evenly spread, so trees built by halving boxes are as good as balanced
    # ones and built faster.
    from_p, from_r = (
        KDTree(others, compact_nodes=False, balanced_tree=False).query(points)[0]
        for points, others in ((points_p, points_r), (points_r, points_p))
    )
    return np.concatenate((from_p, from_r))


def hd95_mm(distances_mm: np.ndarray) -> float:
    """HD95 in mm of `surface_distances_mm`: NaN if there are none, inf if one mask is empty."""
    if not distances_mm.size:
        return math.nan
    # interpolating between infinities would give NaN
    return float(np.percentile(distances_mm, 95)) if np.isfinite(distances_mm[0]) else math.inf


def assd_mm(distances_mm: np.ndarray) -> float:
    """ASSD in mm of `surface_distances_mm`: NaN if there are none, inf if one mask is empty."""
    return float(distances_mm.mean()) if distances_mm.size else math.nan


def surface_dice(distances_mm: np.ndarray, tolerance_mm: float) -> float:
    """Share of `surface_distances_mm` within the tolerance: NaN if there are none.

    0 if one mask is empty. A nanometre is granted, because distances such as three times 0.7 mm
    are not exact in floating point.
    """
    return float((distances_mm <= tolerance_mm + 1e-6).mean()) if distances_mm.size else math.nan
