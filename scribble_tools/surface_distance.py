"""95th percentile Hausdorff distance (HD95) in millimetres, in medpy's definition.

Symbols: P and R are the surface voxels of prediction and reference, d(a, B) is the distance in mm
from voxel a to the nearest voxel of B. Then

    HD95 = 95th percentile of { d(p, R) : p in P } joined with { d(r, P) : r in R }.

Both directions' distances enter one percentile; this is not the larger of two percentiles. A
surface voxel is one that a face-connected erosion (6 neighbours in 3D, 4 in 2D) removes, so object
voxels on the image border are surface voxels.
"""

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


def hd95_mm(prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """HD95 in mm between two boolean masks of one shape (*spatial).

    Returns NaN if both masks are empty (no surface, nothing to measure) and infinity if exactly
    one is (its surface is nowhere). Raises ``ValueError`` if the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction {prediction.shape} and reference {reference.shape} differ")
    predicted_any, reference_any = bool(prediction.any()), bool(reference.any())
    if not (predicted_any and reference_any):
        return float("inf") if predicted_any or reference_any else float("nan")
    points_p = surface_points_mm(prediction, spacing_mm)
    points_r = surface_points_mm(reference, spacing_mm)
    # Trees over surface points: the cost follows the surface, not the box spanned by far islands.
    from_p, _ = KDTree(points_r).query(points_p)
    from_r, _ = KDTree(points_p).query(points_r)
    return float(np.percentile(np.concatenate((from_p, from_r)), 95))
