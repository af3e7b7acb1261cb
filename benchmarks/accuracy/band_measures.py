"""What `band.py` measures in one case: where, on which side and why an outline is off.

Symbols: a and b are parts (classes or the background, see `scribble_tools.evaluate.confusion`);
``expected`` and ``predicted`` are maps of part indices (*spatial), -1 where the reference says
nothing. Every measure is a pair (numerator, denominator), so that cases can be pooled: the value
over all cases is the sum of numerators through the sum of denominators.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.morphology import convex_hull_image

from scribble_tools.evaluate.distances import bounding_box

Ratio = tuple[float, float]
NOTHING: Ratio = (0.0, 0.0)
THIRDS = ("first", "middle", "last")
CLOSINGS = (3, 5)
AS_PREDICTED = "as predicted"


@dataclass(frozen=True)
class Border:
    """The faces between voxels of two parts: the voxels below and above each, and its area.

    Attributes:
        below, above: coordinates, (ndim, faces); they differ by one along one axis.
        area: of each face, (faces,); in 2D its length.
    """

    below: np.ndarray
    above: np.ndarray
    area: np.ndarray

    def values(self, field: np.ndarray) -> np.ndarray:
        """A field (*spatial) at the faces, (faces,): the mean of the two voxels beside each."""
        return (field[tuple(self.below)] + field[tuple(self.above)]) / 2


def border_between(expected: np.ndarray, a: int, b: int, spacing_mm: Sequence[float]) -> Border:
    """The faces at which a voxel of a lies beside one of b."""
    below, above, area = [], [], []
    for axis in range(expected.ndim):
        one, two = (np.delete(expected, place, axis) for place in (-1, 0))
        found = np.argwhere(((one == a) & (two == b)) | ((one == b) & (two == a))).T
        step = np.zeros((expected.ndim, 1), int)
        step[axis] = 1
        below.append(found)
        above.append(found + step)
        area.append(np.full(found.shape[1], math.prod(spacing_mm) / spacing_mm[axis]))
    return Border(*(np.concatenate(part, axis=-1) for part in (below, above, area)))


def signed_distance_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray | None:
    """Distance (*spatial) from each voxel's centre to the mask's outline, negative inside.

    The outline runs between voxels: half a voxel's edge from the centres beside it. None if the
    mask is empty or full, and has no outline.
    """
    if not mask.any() or mask.all():
        return None
    distance = np.zeros(mask.shape)
    grid = np.indices(mask.shape)
    edges = np.reshape(spacing_mm, (-1,) + (1,) * mask.ndim)
    for side, sign in ((mask, -1), (~mask, 1)):
        to_other, nearest = ndimage.distance_transform_edt(
            side, sampling=spacing_mm, return_indices=True
        )
        way = (nearest - grid) * edges
        with np.errstate(invalid="ignore"):
            half = 0.5 * np.sqrt(((way / to_other * edges) ** 2).sum(axis=0))
        distance[side] = sign * (to_other - half)[side]
    return distance


def _slices(dimension: int, axis: int | None, *arrays: np.ndarray | None) -> Iterator[tuple]:
    """The arrays slice by slice along ``axis`` for dimension 2, as they are for 3."""
    if axis is None or dimension == 3:
        yield arrays
        return
    for number in range(arrays[0].shape[axis]):
        yield tuple(None if a is None else np.take(a, number, axis) for a in arrays)


def _cropped(masks: Sequence[np.ndarray], *arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays in the box that holds all masks and a voxel more on every side."""
    box = bounding_box(np.logical_or.reduce(masks))
    box = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
    return [array[box] for array in arrays]


def outline_offset(
    predicted: np.ndarray,
    expected: np.ndarray,
    a: int,
    b: int,
    spacing_mm: Sequence[float],
    axis: int | None,
    dimension: int,
) -> dict[str, Ratio]:
    """How far the predicted outline of a lies from the true one, where a borders on b.

    Args:
        spacing_mm: per axis of the arrays.
        axis: of the slices; None for a 2D image.
        dimension: 2: in each slice by itself; 3: in the volume.

    Returns:
        ``offset`` in mm, negative where the prediction of a ends inside of the true outline;
        ``absolute``, the mean of its absolute value; ``measured``, the share of the border (of its
        length or area) in whose slice or volume a is predicted at all, and which the two rest on.
    """
    flat = spacing_of(spacing_mm, axis, dimension)
    sums = np.zeros(4)  # offset, its absolute value, measured, all
    for one, two in _slices(dimension, axis, predicted, expected):
        border = border_between(two, a, b, flat)
        if not border.area.size:
            continue
        sums[3] += border.area.sum()
        # an outline exists wherever both a and others are predicted; far ones do not matter
        one, two = _cropped([one == a, (two == a) | (two == b)], one, two)
        field = signed_distance_mm(one == a, flat)
        if field is None:
            continue
        border = border_between(two, a, b, flat)
        offset = -border.values(field)
        sums[:3] += [border.area @ offset, border.area @ np.abs(offset), border.area.sum()]
    return {
        "offset": (sums[0], sums[2]),
        "absolute": (sums[1], sums[2]),
        "measured": (100 * sums[2], sums[3]),
    }


def stroke_distance(
    strokes: np.ndarray,
    expected: np.ndarray,
    a: int,
    b: int,
    spacing_mm: Sequence[float],
    axis: int | None,
    dimension: int,
) -> dict[str, Ratio]:
    """How far the strokes of a and b are from the true outline between the two, in mm.

    Args:
        strokes: part indices (*spatial), -1 where nothing is annotated.

    Returns:
        ``own`` and ``other``: distance of the outline to the nearest stroke of a, and of b;
        ``halfway``: where an outline half way between the two would lie, negative inside of the
        true one. All over the border in those slices that have strokes of both, ``measured`` %.
    """
    flat = spacing_of(spacing_mm, axis, dimension)
    sums = np.zeros(4)  # own, other, measured, all
    for drawn, truth in _slices(dimension, axis, strokes, expected):
        border = border_between(truth, a, b, flat)
        if not border.area.size:
            continue
        sums[3] += border.area.sum()
        if not (drawn == a).any() or not (drawn == b).any():
            continue
        for place, part in enumerate((a, b)):
            field = ndimage.distance_transform_edt(drawn != part, sampling=flat)
            sums[place] += border.area @ border.values(field)
        sums[2] += border.area.sum()
    return {
        "own": (sums[0], sums[2]),
        "other": (sums[1], sums[2]),
        "halfway": ((sums[1] - sums[0]) / 2, sums[2]),
        "measured": (100 * sums[2], sums[3]),
    }


def spacing_of(spacing_mm: Sequence[float], axis: int | None, dimension: int) -> tuple[float, ...]:
    """The spacing of a slice across ``axis`` for dimension 2, of all axes for 3."""
    if axis is None or dimension == 3:
        return tuple(spacing_mm)
    return tuple(s for k, s in enumerate(spacing_mm) if k != axis)


def alike_to_other(
    image: np.ndarray,
    expected: np.ndarray,
    a: int,
    b: int,
    spacing_mm: Sequence[float],
    ring_mm: float,
) -> np.ndarray | None:
    """Which voxels (*spatial) are nearer in intensity to part b than to part a.

    The two intensities are the means over the case's true voxels of a and of b; of the background
    only those within ``ring_mm`` of the other part count, because the rest of an image says nothing
    about an organ's surroundings. None if there is no voxel of a or of b.
    """
    means = []
    for part, other in ((a, b), (b, a)):
        mask = expected == part
        if part == 0 and (expected == other).any():
            near = ndimage.distance_transform_edt(expected != other, sampling=spacing_mm)
            mask &= near <= ring_mm
        if not mask.any():
            return None
        means.append(image[mask].mean(dtype=np.float64))
    return np.abs(image - means[1]) < np.abs(image - means[0])


def share(part: np.ndarray, whole: np.ndarray) -> Ratio:
    """Per cent of the voxels of one mask that are in another."""
    return 100.0 * np.count_nonzero(part & whole), float(np.count_nonzero(whole))


def rates_along(
    predicted: np.ndarray, expected: np.ndarray, a: int, b: int, axis: int
) -> dict[str, Ratio]:
    """Per cent of a predicted as b in the first, middle and last third of the slices that have a.

    Thirds as `numpy.array_split` makes them: with fewer than three slices the last are empty.
    """
    slices = np.flatnonzero(
        (expected == a).any(axis=tuple(k for k in range(expected.ndim) if k != axis))
    )
    rates = {}
    for name, numbers in zip(THIRDS, np.array_split(slices, 3), strict=True):
        truth, guess = (np.take(array, numbers, axis) for array in (expected, predicted))
        rates[name] = share(guess == b, truth == a)
    return rates


def _hull(mask: np.ndarray) -> np.ndarray:
    """A mask and the convex hull of its largest component (of voxels' centres)."""
    components, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    if not count:
        return mask
    largest = components == 1 + np.bincount(components.ravel())[1:].argmax()
    (inside,) = _cropped([largest], largest)
    # a hull needs more than a line in 2D, more than a plane in 3D, which may lie aslant
    places = np.argwhere(inside)
    if np.linalg.matrix_rank(places - places[0]) < mask.ndim:
        return mask
    hull = mask.copy()
    box = bounding_box(largest)
    hull[box] |= convex_hull_image(largest[box], offset_coordinates=False)
    return hull


def _larger(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_dilation(mask)  # by faces


def _closing(mask: np.ndarray, size: int) -> np.ndarray:
    margin = size // 2
    padded = np.pad(mask, margin)  # the image's border closes nothing
    closed = ndimage.binary_closing(padded, np.ones((size,) * mask.ndim))
    return closed[tuple(slice(margin, -margin) for _ in range(mask.ndim))]


CORRECTIONS = {
    AS_PREDICTED: lambda mask: mask,
    "convex hull": _hull,
    "one voxel larger": _larger,
    "hull, one voxel larger": lambda mask: _larger(_hull(mask)),
    **{f"closed by {size}": lambda mask, size=size: _closing(mask, size) for size in CLOSINGS},
}


def dice_of_parts(predicted: np.ndarray, expected: np.ndarray, num_parts: int) -> list[Ratio]:
    """Dice of each part but the background as (Dice, 1), or (0, 0) where it is absent on both."""
    known = expected != -1
    p, e = (np.bincount(array[known], minlength=num_parts)[1:] for array in (predicted, expected))
    both = np.bincount(expected[known & (predicted == expected)], minlength=num_parts)[1:]
    return [
        (2 * overlap / total, 1.0) if total else NOTHING
        for overlap, total in zip(both.tolist(), (p + e).tolist(), strict=True)
    ]


def oracle(
    predicted: np.ndarray,
    expected: np.ndarray,
    part: int,
    axis: int | None,
    dimension: int,
    num_parts: int,
) -> dict[str, list[Ratio]]:
    """Dice of every part after each correction of one, which takes from all others what it needs.

    An oracle of where the error lies and no remedy: that a class is convex is known of an organ,
    not of the method.
    """
    dice = {}
    for name, correct in CORRECTIONS.items():
        corrected = predicted.copy()
        whole = [()] if axis is None or dimension == 3 else range(predicted.shape[axis])
        for number in whole:
            place = number if number == () else (slice(None),) * axis + (number,)
            piece = corrected[place]
            if (piece == part).any():
                piece[correct(piece == part)] = part
        dice[name] = dice_of_parts(corrected, expected, num_parts)
    return dice
