"""Strokes that people drew, one by one: taken away, and given back in an order."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, label

from scribble_tools.suggest.places import Place

GAP = 6  # voxels


@dataclass(frozen=True)
class Stroke:
    """One stroke of one class in one slice; a line with gaps of `GAP` voxels is one.

    Attributes:
        voxels: (n, 2) rows and columns.
    """

    case: str
    slice: int
    value: int
    voxels: np.ndarray

    @property
    def key(self) -> tuple[str, int, int, int, int]:
        """What tells it from all others."""
        return self.case, self.slice, self.value, *map(int, self.voxels[0])


def strokes_of(case: str, labels: np.ndarray, ignore: int, least: int = 3) -> list[Stroke]:
    """The strokes of one case.

    Args:
        labels: (slices, rows, columns).
        least: voxels; what is smaller is a slip of the brush, and is left out.
    """
    found = []
    for number, plane in enumerate(labels):
        for value in sorted(set(np.unique(plane).tolist()) - {ignore}):
            mask = plane == value
            near, count = label(binary_dilation(mask, np.ones((3, 3)), GAP // 2), np.ones((3, 3)))
            for k in range(1, count + 1):
                voxels = np.argwhere(mask & (near == k))
                if len(voxels) >= least:
                    found.append(Stroke(case, number, int(value), voxels))
    return found


def draw(
    strokes: Sequence[Stroke], shapes: Mapping[str, Sequence[int]], ignore: int
) -> dict[str, np.ndarray]:
    """Label maps (slices, rows, columns) of all cases in ``shapes``, with these strokes only."""
    maps = {case: np.full(shape, ignore, np.uint8) for case, shape in shapes.items()}
    for stroke in strokes:
        rows, columns = stroke.voxels.T
        maps[stroke.case][stroke.slice, rows, columns] = stroke.value
    return maps


def begin(strokes: Sequence[Stroke], number: int, seed: int) -> list[Stroke]:
    """``number`` strokes at random, of every class one at least."""
    order = list(strokes)
    random.Random(seed).shuffle(order)
    first = {stroke.value: stroke for stroke in reversed(order)}
    chosen = list(first.values())
    rest = [stroke for stroke in order if all(stroke is not own for own in chosen)]
    return [*chosen, *rest[: max(0, number - len(chosen))]]


def add_at_random(
    strokes: Sequence[Stroke], having: Sequence[Stroke], number: int, seed: int
) -> list[Stroke]:
    """``number`` of the strokes that are not there yet, at random."""
    there = {stroke.key for stroke in having}
    left = [stroke for stroke in strokes if stroke.key not in there]
    random.Random(seed).shuffle(left)
    return left[:number]


def add_as_suggested(
    strokes: Sequence[Stroke],
    having: Sequence[Stroke],
    places: Sequence[Place],
    spacing_mm: Mapping[str, Sequence[float]],
    number: int,
    seed: int,
) -> tuple[list[Stroke], int]:
    """``number`` strokes, for each place the one that a person drew next to it in that slice.

    Places are taken in their order, and again from the first on while strokes are left in their
    slices. What is then missing is filled at random.

    Returns:
        The strokes, and how many of them are fillers.
    """
    there = {stroke.key for stroke in having}
    free: dict[tuple[str, int], list[Stroke]] = {}
    for stroke in strokes:
        if stroke.key not in there:
            free.setdefault((stroke.case, stroke.slice), []).append(stroke)
    chosen: list[Stroke] = []
    before = -1
    while len(chosen) < number and len(chosen) != before:
        before = len(chosen)
        for place in places:
            own = free.get((place.case, place.slice))
            if own and len(chosen) < number:
                sides = spacing_mm[place.case][1:]
                away = [
                    np.hypot(*((stroke.voxels - place.index[1:]) * sides).T).min() for stroke in own
                ]
                chosen.append(own.pop(int(np.argmin(away))))
    fillers = add_at_random(strokes, [*having, *chosen], number - len(chosen), seed)
    return [*chosen, *fillers], len(fillers)
