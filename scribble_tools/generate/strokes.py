"""Drawing strokes into dense labels: where a hand would go, as shortest paths through a class.

A stroke is a chain of shortest paths between random waypoints of a component. What a voxel costs
makes the style: interior strokes are cheap deep inside, border strokes are confined to a shell
below the surface, and background strokes go round the objects at a distance. Smooth noise on the
costs bends the paths, a Gaussian along the path rounds their corners. This holds for discs,
crescents and rings, in 2D and 3D; what leaves the class is cut off. `stroke_paths` finds the paths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects, label

from scribble_tools.generate.stroke_paths import Region, smooth_noise

STYLES = ("interior", "border")
BACKGROUND = 0
ERODED_SHARE = 0.2  # interior strokes keep off this share of a component's greatest depth
BORDER_SHARE = (0.1, 0.35)  # depth of border strokes in the greatest depth
THIN = 0.12  # thin components (rings, vessels): greatest depth over extent below this
ROUND_BAND = (0.25, 2.6)  # where background strokes go, in the distance to aim at
FULLEST = 0.25  # of a component, covered by its strokes of one style
LEG_SHARE = 0.4  # distance between waypoints, as a share of the extent


@dataclass(frozen=True)
class StrokeSettings:
    """How one class is scribbled. Lengths are relative, so that they suit organs of any size.

    Attributes:
        styles: strokes of which style each component gets, out of `STYLES`.
        length: (least, most) length of a component's strokes of one style together, as a share of
            its extent (the diagonal of its bounding box in mm). The extent of the background is
            that of all objects, widened by the distance at which the stroke goes round them.
        strokes: most strokes into which the length is split in a thin component (a ring, a
            vessel), where a hand lifts the pen; any other component gets one per style.
        thickness: width in voxels of the finest axis.
        every_component: scribble every component of the class, or one of them, drawn with
            probability proportional to its number of voxels.
        distance: background only: (least, most) distance from the objects, as a share of their
            extent in the whole case.
    """

    styles: tuple[str, ...] = ("interior",)
    length: tuple[float, float] = (0.5, 3.0)
    strokes: int = 1
    thickness: int = 1
    every_component: bool = True
    distance: tuple[float, float] = (0.05, 0.14)

    def __post_init__(self) -> None:
        problems = []
        if not self.styles or not set(self.styles) <= set(STYLES):
            problems.append(f"style {' '.join(self.styles)!r}: take interior, border or both")
        for name in ("length", "distance"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                problems.append(f"{name} {low:g}-{high:g}: positive, and the smaller value first")
        for name in ("strokes", "thickness"):
            if getattr(self, name) < 1:
                problems.append(f"{name} {getattr(self, name)}: must be at least 1")
        if problems:
            raise ValueError("; ".join(problems))


def extent_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Diagonal of the bounding box of a mask in mm; 0 when it is empty."""
    box = find_objects(mask.astype(np.uint8), max_label=1)[0]
    if box is None:
        return 0.0
    return math.hypot(*((s.stop - s.start) * mm for s, mm in zip(box, spacing_mm, strict=True)))


def _draw_component(
    mask: np.ndarray,
    depth_mm: np.ndarray,
    scale_mm: float,
    size_mm: float,
    style: str,
    round_objects: bool,
    spacing_mm: np.ndarray,
    settings: StrokeSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Strokes of one style (bool, *spatial) in a component.

    Args:
        mask: the component (*spatial), not empty.
        depth_mm: distance to what is outside.
        scale_mm: greatest depth; for the background, the distance from the objects to aim at.
        size_mm: the component's extent.
        round_objects: the component is the background around objects.
    """
    # a small component is not to be filled
    longest = FULLEST * np.count_nonzero(mask) / settings.thickness ** (mask.ndim - 1)
    length_mm = min(size_mm * rng.uniform(*settings.length), longest * spacing_mm.min())
    relative = depth_mm / scale_mm
    if style == "border":
        level = scale_mm * rng.uniform(*BORDER_SHARE)
        # 1.5 voxels: the least thickness at which a shell around a curved surface is connected
        where = mask & (depth_mm > level) & (depth_mm <= level + 1.5 * spacing_mm.min())
    elif round_objects:
        where = mask & (relative > ROUND_BAND[0]) & (relative < ROUND_BAND[1])
    else:
        where = mask & (relative > ERODED_SHARE)
    voxels = np.argwhere(where if where.any() else mask)
    if style == "border":
        cost = np.ones(len(voxels))
    elif round_objects:
        aim = 0.5 + 1.2 * smooth_noise(voxels * spacing_mm, size_mm / 3, rng)
        cost = 1 + 6 * (relative[tuple(voxels.T)] - aim) ** 2
    else:
        cost = 1 + 1.5 * (1 - relative[tuple(voxels.T)]) ** 2
    region = Region(voxels, cost, mask, spacing_mm, size_mm / 6, rng)
    thin = scale_mm < THIN * size_mm and not round_objects
    count = int(rng.integers(1, settings.strokes + 1)) if thin else 1
    drawn = np.zeros(mask.shape, bool)
    for _ in range(count):
        stroke = region.draw(length_mm / count, LEG_SHARE * size_mm, rng)
        drawn[tuple(stroke.T)] = True
    return _thicken(drawn, settings.thickness, spacing_mm) & mask


def _thicken(drawn: np.ndarray, thickness: int, spacing_mm: np.ndarray) -> np.ndarray:
    """Widen one-voxel lines to ``thickness`` voxels of the finest axis."""
    if thickness == 1:
        return drawn
    finest = spacing_mm.min()
    sizes = [1 + 2 * int(thickness * finest / mm / 2) for mm in spacing_mm]
    if thickness % 2 == 0:  # a brush of even width has no middle voxel
        sizes = [size - 1 if size > 1 else 1 for size in sizes]
    grid = np.indices(sizes).reshape(len(sizes), -1).T - (np.array(sizes) - 1) / 2
    brush = ((grid * spacing_mm) ** 2).sum(axis=1) <= (thickness * finest / 2) ** 2 + 1e-6 * finest
    return binary_dilation(drawn, brush.reshape(sizes))


def _draw_inside(
    mask: np.ndarray, spacing_mm: np.ndarray, settings: StrokeSettings, rng: np.random.Generator
) -> np.ndarray:
    """Strokes in the components of a class (bool, *spatial)."""
    components, count = label(mask, np.ones((3,) * mask.ndim))
    drawn = np.zeros(mask.shape, bool)
    chosen = range(1, count + 1)
    if not settings.every_component and count > 1:
        sizes = np.cumsum(np.bincount(components.ravel())[1:])
        chosen = [1 + int(np.searchsorted(sizes, rng.integers(sizes[-1]), side="right"))]
    boxes = find_objects(components)
    for number in chosen:
        box = boxes[number - 1]
        component = components[box] == number
        # beyond the image counts as outside
        depth = distance_transform_edt(np.pad(component, 1), spacing_mm)
        depth = depth[(slice(1, -1),) * mask.ndim]
        size_mm = math.hypot(*(n * mm for n, mm in zip(component.shape, spacing_mm, strict=True)))
        for style in settings.styles:
            drawn[box] |= _draw_component(
                component, depth, depth.max(), size_mm, style, False, spacing_mm, settings, rng
            )
    return drawn


def _draw_around(
    mask: np.ndarray,
    objects: np.ndarray,
    case_extent_mm: float,
    spacing_mm: np.ndarray,
    settings: StrokeSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Background strokes (bool, *spatial) around ``objects``, and in holes that they enclose."""
    if not (mask & ~objects).any():
        return _draw_inside(mask, spacing_mm, settings, rng)
    distance_mm = case_extent_mm * rng.uniform(*settings.distance)
    drawn = np.zeros(mask.shape, bool)
    window = tuple(
        slice(max(0, box.start - margin), box.stop + margin)
        for box, margin in zip(
            find_objects(objects.astype(np.uint8))[0],
            np.ceil(ROUND_BAND[1] * distance_mm / spacing_mm).astype(int) + 2,
            strict=True,
        )
    )
    inside = mask[window]
    components, _ = label(inside, np.ones((3,) * mask.ndim))
    outer = np.zeros(components.max() + 1, bool)
    for axis in range(mask.ndim):
        for side in (0, -1):
            outer[components.take(side, axis)] = True
    outer[0] = False
    around = outer[components]
    if around.any():
        depth = distance_transform_edt(~objects[window], spacing_mm)
        # where there is little room, half of it
        distance_mm = min(distance_mm, 0.5 * depth[around].max())
        size_mm = extent_mm(objects, spacing_mm) + 2 * distance_mm
        for style in settings.styles:
            drawn[window] |= _draw_component(
                around, depth, distance_mm, size_mm, style, True, spacing_mm, settings, rng
            )
    holes = inside & ~around
    if holes.any():
        drawn[window] |= _draw_inside(holes, spacing_mm, settings, rng)
    return drawn


def draw_scribbles(
    dense: np.ndarray,
    spacing_mm: Sequence[float],
    settings: Mapping[int, StrokeSettings],
    unlabelled: int,
    seed: Sequence[int],
    objects: np.ndarray | None = None,
    case_extent_mm: float | None = None,
) -> np.ndarray:
    """Draw scribbles into dense labels of a slice or of a volume.

    Every class of ``settings`` that is present gets at least one voxel, and every scribbled voxel
    has its dense label.

    Args:
        dense: labels (*spatial), 2D or 3D, 0 being the background.
        spacing_mm: of each axis of ``dense``.
        settings: label value to how it is scribbled; other values stay unlabelled.
        unlabelled: value of all other voxels of the result.
        seed: non-negative integers; each class draws from a generator of its own, so that the
            settings of one do not change the strokes of another.
        objects: what background strokes go round; default: every voxel that is not background.
            For a slice without objects, those of a slice near by; without any, the middle half.
        case_extent_mm: extent of the objects in the whole case; default: in ``dense``.

    Returns:
        labels (*spatial), of the type of ``dense`` or a wider one that holds ``unlabelled``.
    """
    spacing = np.asarray(spacing_mm, float)
    scribble = np.full(dense.shape, unlabelled, np.promote_types(dense.dtype, np.uint16))
    for value, own in settings.items():
        mask = dense == value
        if not mask.any():
            continue
        rng = np.random.default_rng([*seed, value])
        if value == BACKGROUND:
            around = dense != BACKGROUND if objects is None else objects
            if not around.any():
                around = np.zeros(dense.shape, bool)
                around[tuple(slice(n // 4, n - n // 4) for n in dense.shape)] = True
            size_mm = case_extent_mm or extent_mm(around, spacing)
            drawn = _draw_around(mask, around, size_mm, spacing, own, rng)
        else:
            drawn = _draw_inside(mask, spacing, own, rng)
        scribble[drawn] = value
    return scribble
