"""What a label map looks like: scribbles or dense, and which value means what. Guesses, no facts.

Measured on hand-drawn and generated scribbles and on dense organs: the area of a stroke is more
than 50 times the square of its half width, that of a compact organ less than 10 times, of the
myocardium's ring up to 50 times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

SCRIBBLES, SLICES, DENSE, EMPTY = "scribbles", "some slices annotated", "dense labels", "one value"
IMAGE, SEGMENTS, OTHER = "image", "segments of 3D Slicer", "neither image nor labels"
NO_SEGMENT = "(no segment)"  # in the place of a name
THIN_HALF_WIDTH = 2.5  # pixels: a line three pixels wide has 2, or 2.24 where it runs aslant
SHORT_HALF_WIDTH, SHORT = 3.2, 10  # a line of five, of which more than two widths were drawn
ELONGATED = 50  # area over squared half width
SLICES_LOOKED_AT = 24  # per value: enough for a median, and quick on large volumes
ALMOST = 1.001e-3  # of an integer: what floats and scale factors leave of labels
FEW = 12  # values, which are rather labels than greys
SAMPLE = 1_000_000  # voxels that tell an image from a label map


@dataclass(frozen=True)
class Appearance:
    """What one label map looks like.

    Attributes:
        counts: value to number of voxels.
        looks_like: `SCRIBBLES`, `SLICES`, `DENSE` or `EMPTY`.
        unlabelled: the value that seems to mean "unlabelled", if any.
        background: the value that seems to be background (scribble), if any.
        reason: why, in words.
    """

    counts: Mapping[int, int]
    looks_like: str
    unlabelled: int | None
    background: int | None
    reason: str


def is_label_map(array: np.ndarray) -> bool:
    """Whether an array (*spatial) holds few, whole and locally constant values."""
    distinct = _whole_values(array)
    if distinct <= FEW:
        return True
    return distinct <= 256 and bool((array[..., 1:] == array[..., :-1]).mean() > 0.97)


def has_few_values(array: np.ndarray) -> bool:
    """Whether an array holds at most `FEW` values, all whole; pictures of dark rooms hold more."""
    return _whole_values(array) <= FEW


def _whole_values(array: np.ndarray) -> float:
    """How many different values a part of the voxels has; infinite if one is not whole."""
    sample = array.reshape(-1)[:: max(1, array.size // SAMPLE)]
    if not np.issubdtype(sample.dtype, np.integer):
        # NaN and infinity are no numbers that could be near an integer
        if not (abs(sample - np.round(np.nan_to_num(sample))) <= ALMOST).all():
            return math.inf
        sample = np.round(sample)
    return len(np.unique(sample))


def _stroke_measures(planes: np.ndarray, value: int) -> tuple[float, float, float]:
    """Medians over slices of half width, of area over its square, and of the extent's share."""
    holding = np.flatnonzero((planes == value).any(axis=(1, 2)))
    some = holding[:: -(-len(holding) // SLICES_LOOKED_AT)]
    rows = []
    for mask in planes[some] == value:
        box = find_objects(mask.astype(np.uint8))[0]
        inside = np.pad(mask[box], 1)
        half_width = distance_transform_edt(inside).max()
        rows.append((half_width, mask.sum() / half_width**2, inside.size / mask.size))
    return tuple(np.median(rows, axis=0).tolist())


def _is_line(half_width: float, long: float) -> bool:
    """Whether a value looks drawn by strokes, see `_stroke_measures`."""
    if half_width <= THIN_HALF_WIDTH or long > ELONGATED:
        return True
    return half_width <= SHORT_HALF_WIDTH and long > SHORT


def look_at_labels(array: np.ndarray, axis: int = 0) -> Appearance:
    """Guess what a label map is.

    Args:
        array: (*spatial) integers, 2D or 3D.
        axis: the one across which slices are cut, if 3D.
    """
    values, numbers = np.unique(array, return_counts=True)
    counts = dict(zip(values.tolist(), numbers.tolist(), strict=True))
    if len(counts) == 1:
        return Appearance(counts, EMPTY, None, None, "nothing but one value")
    planes = np.moveaxis(array, axis, 0) if array.ndim == 3 else array[None]
    in_plane = planes[0].size
    for value in counts if len(planes) > 1 else ():
        per_plane = (planes == value).sum(axis=(1, 2))
        whole = np.count_nonzero(per_plane == in_plane)
        if whole and set(per_plane.tolist()) == {0, in_plane}:
            reason = f"{len(planes) - whole} of {len(planes)} slices hold no {value}, the rest only"
            background = max((v for v in counts if v != value), key=counts.get)
            return Appearance(counts, SLICES, value, background, f"{reason} {value}")

    dominant = max(counts, key=counts.get)
    share = counts[dominant] / array.size
    measures = {v: _stroke_measures(planes, v) for v in counts if v != dominant}
    thin = [v for v, (width, long, _) in measures.items() if _is_line(width, long)]
    if share < 0.5 or 2 * len(thin) < len(measures):
        thick = [v for v in measures if v not in thin]
        background = 0 if 0 in counts else dominant
        reason = "no value fills half of it" if share < 0.5 else f"{_list(thick)} compact"
        return Appearance(counts, DENSE, None, background, reason)
    extents = {v: extent for v, (_, _, extent) in measures.items()}
    widest = max(extents, key=extents.get)
    others = [extent for v, extent in extents.items() if v != widest]
    reason = f"{dominant} fills most of it, {_list(thin)} thin or long strokes"
    if 0 in extents:
        return Appearance(counts, SCRIBBLES, dominant, 0, reason)
    if others and extents[widest] > 1.3 * max(others):
        reason += f", those of {widest} reach farthest"
        return Appearance(counts, SCRIBBLES, dominant, widest, reason)
    return Appearance(counts, SCRIBBLES, dominant, None, reason)


def _list(values: list[int]) -> str:
    """``1, 2 and 3 are``."""
    words = list(map(str, values))
    head = ", ".join(words[:-1])
    return f"{head} and {words[-1]} are" if head else f"{words[0]} is"
