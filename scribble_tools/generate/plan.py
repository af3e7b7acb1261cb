"""What to draw into a case: presets, choice of slices, seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scribble_tools.generate.strokes import (
    BACKGROUND,
    STYLES,
    StrokeSettings,
    draw_scribbles,
    extent_mm,
)

MODES = ("2d", "3d")

# name -> (foreground classes, background). `acdc` is measured on the hand-drawn scribbles of
# Valvano et al. over ACDC; `scribblebench` follows the annotation protocol of ScribbleBench
# (arXiv 2403.12834): an interior and a border stroke, 3 voxels wide, in one component per slice.
PRESETS = {
    "acdc": (
        StrokeSettings(length=(0.5, 2.9), strokes=3),
        StrokeSettings(length=(2.2, 5.2)),
    ),
    "scribblebench": (
        StrokeSettings(STYLES, length=(0.4, 1.0), thickness=3, every_component=False),
        StrokeSettings(STYLES, length=(0.4, 1.0), thickness=3, every_component=False),
    ),
}
DEFAULT_PRESET = "acdc"


@dataclass(frozen=True)
class ScribblePlan:
    """What to draw into every case.

    Attributes:
        foreground: how classes are scribbled that ``by_class`` does not name.
        background: the same for label 0.
        by_class: label value to its own settings.
        mode: ``2d``: slice by slice, across the axis of the largest spacing; ``3d``: strokes run
            through the volume.
        slices: share of the slices that are scribbled, counted apart for slices with and without
            objects; at least one of those that a case has. For mode ``2d``.
        every_nth: instead of strokes, dense labels in every Nth slice, the middle one among them.
        seed: the strokes follow from it and from the case's name alone.
    """

    foreground: StrokeSettings = PRESETS[DEFAULT_PRESET][0]
    background: StrokeSettings = PRESETS[DEFAULT_PRESET][1]
    by_class: Mapping[int, StrokeSettings] = field(default_factory=dict)
    mode: str = "2d"
    slices: float = 1.0
    every_nth: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.mode not in MODES:
            problems.append(f"mode {self.mode!r}: take one of {', '.join(MODES)}")
        if not 0 < self.slices <= 1:
            problems.append(f"slices {self.slices:g}: a share above 0 and up to 1")
        if self.mode == "3d" and self.slices < 1:
            problems.append("a share of slices makes sense in mode 2d only")
        if self.every_nth is not None and self.every_nth < 1:
            problems.append(f"every {self.every_nth}th slice: must be at least 1")
        if self.seed < 0:
            problems.append(f"seed {self.seed}: must not be negative")
        if problems:
            raise ValueError("; ".join(problems))

    def settings_of(self, value: int) -> StrokeSettings:
        """How the class with this label value is scribbled."""
        default = self.background if value == BACKGROUND else self.foreground
        return self.by_class.get(value, default)


def slice_axis(shape: Sequence[int], spacing_mm: Sequence[float]) -> int:
    """The axis across which slices are cut: the one of size 1, else that of largest spacing."""
    if 1 in shape:
        return list(shape).index(1)
    return int(np.argmax(np.round(spacing_mm, 3)))  # float32 headers are not exact


def seed_words(seed: int, name: str) -> list[int]:
    """Seed of a random generator that depends on ``seed`` and ``name`` alone, on any machine."""
    digest = hashlib.sha256(name.encode()).digest()
    return [seed, *np.frombuffer(digest[:16], "<u4").tolist()]


def _choose(slices: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    if not len(slices):
        return slices
    count = max(1, round(share * len(slices)))
    return np.sort(rng.permutation(slices)[:count])


def generate_scribbles(
    dense: np.ndarray,
    spacing_mm: Sequence[float],
    classes: Iterable[int],
    unlabelled: int,
    plan: ScribblePlan,
    case: str,
) -> np.ndarray:
    """Scribbles (*spatial) for the dense labels of one case; every one has its dense label.

    Args:
        dense: labels (*spatial), 2D or 3D, 0 being the background.
        spacing_mm: of each axis of ``dense``.
        classes: label values to scribble, such as 0, 1 and 2.
        unlabelled: value of all other voxels, none of ``classes``.
        case: its name; with the plan's seed, it decides about the strokes.

    Example:
        Strokes into a square and around it; 2 stands for "not labelled":

        >>> import numpy as np
        >>> dense = np.zeros((64, 64), np.uint8)
        >>> dense[20:44, 20:44] = 1
        >>> strokes = generate_scribbles(dense, (1.0, 1.0), (0, 1), 2, ScribblePlan(seed=1), "anna")
        >>> bool((strokes == 1).any() and (strokes == 0).any() and (strokes == 2).mean() > 0.8)
        True
        >>> bool((dense[strokes < 2] == strokes[strokes < 2]).all())
        True
    """
    classes = sorted(classes)
    seed = seed_words(plan.seed, case)
    settings = {value: plan.settings_of(value) for value in classes}
    volume = dense[None] if dense.ndim == 2 else dense
    spacing = [1.0, *spacing_mm] if dense.ndim == 2 else list(spacing_mm)
    axis = slice_axis(volume.shape, spacing)
    planes = np.moveaxis(volume, axis, 0)
    if plan.every_nth is not None:
        scribble = np.full(planes.shape, unlabelled, np.promote_types(dense.dtype, np.uint16))
        chosen = slice(len(planes) // 2 % plan.every_nth, None, plan.every_nth)
        scribble[chosen] = np.where(np.isin(planes[chosen], classes), planes[chosen], unlabelled)
    elif plan.mode == "3d" and dense.ndim == 3:
        return draw_scribbles(dense, spacing_mm, settings, unlabelled, seed)
    else:
        in_plane = [mm for k, mm in enumerate(spacing) if k != axis]
        scribble = _scribble_slices(planes, in_plane, settings, unlabelled, plan.slices, seed)
    return np.moveaxis(scribble, 0, axis).reshape(dense.shape)


def _scribble_slices(
    planes: np.ndarray,
    spacing_mm: Sequence[float],
    settings: Mapping[int, StrokeSettings],
    unlabelled: int,
    share: float,
    seed: Sequence[int],
) -> np.ndarray:
    objects = planes != BACKGROUND
    case_extent_mm = extent_mm(objects.any(axis=0), spacing_mm)
    filled = objects.any(axis=(1, 2))
    with_objects, without = np.flatnonzero(filled), np.flatnonzero(~filled)
    rng = np.random.default_rng(seed)
    scribble = np.full(planes.shape, unlabelled, np.promote_types(planes.dtype, np.uint16))
    for k in (*_choose(with_objects, share, rng), *_choose(without, share, rng)):
        around = k
        if len(with_objects):  # where there is nothing, draw as in the nearest slice with objects
            around = with_objects[np.argmin(np.abs(with_objects - k))]
        scribble[k] = draw_scribbles(
            planes[k],
            spacing_mm,
            settings,
            unlabelled,
            [*seed, int(k)],
            objects[around],
            case_extent_mm,
        )
    return scribble
