"""Scores of predicted label maps against dense references: overlap, distances, volume, islands.

Per case and class, with P and R the voxels of prediction and reference:

Dice
    2 |P & R| / (|P| + |R|).
HD95, ASSD, surface Dice
    95th percentile Hausdorff distance and average symmetric surface distance in mm (medpy's
    definitions), and the share of both surfaces' voxels that lie within a tolerance of the other
    surface; see `distances`.
volume error
    signed: 100 (|P| - |R|) / |R| in per cent, and (|P| - |R|) times the voxel's volume in mL (in
    2D, where voxels have no volume, of a slice 1 mm thick). Of pictures that state no resolution
    lengths are in pixels, and ``volume_error_ml`` is in square pixels.
islands
    connected components of P beyond the largest, 26-connected in 3D and 8-connected in 2D (voxels
    that touch at a corner belong together), and their share of |P| in per cent.

Voxels that carry the ignore label in the reference are left out of all but the islands, which are
counted in the whole prediction, because they need no reference.

Empty cases, named in the column ``outcome`` and counted in the printed table:

============  ==========  =========  ====  ==========  =======  ========  ========  =======  =======
outcome       prediction  reference  Dice  HD95, ASSD  surface  volume    volume    islands  islands
                                                       Dice     error %   error mL           %
============  ==========  =========  ====  ==========  =======  ========  ========  =======  =======
scored        present     present    0..1  mm          0..1     >= -100   signed    0, 1...  0..100
both_empty    empty       empty      NaN   NaN         NaN      NaN       NaN       0        NaN
missed        empty       present    0     inf         0        -100      -|R|      0        NaN
invented      present     empty      0     inf         0        NaN       |P|       0, 1...  0..100
============  ==========  =========  ====  ==========  =======  ========  ========  =======  =======

NaN and inf are left out of means; each mean's ``n`` counts the cases it rests on. ``both_empty`` is
NaN as in nnU-Net's own summary.json, so that the numbers are comparable, and because a class that
is absent and was not predicted is no evidence of a good segmentation: a 1 there would raise the
mean of the rarest classes. ``missing_hd95="exclude"`` takes the means of HD95 and ASSD over the
finite values and counts the rest; ``"diagonal"`` enters the image's diagonal in mm, which does not
reward leaving a class out. A class that is all below ignored voxels counts as empty, though its
islands are still counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.evaluate.distances import (
    assd_mm,
    bounding_box,
    hd95_mm,
    surface_dice,
    surface_distances_mm,
)
from scribble_tools.images.units import MILLIMETRES

OUTCOMES = ("scored", "both_empty", "missed", "invented")
# A surface within 2 mm counts as right by default: more than one pixel of most clinical images
# (0.5 to 1.6 mm in plane) and so above what drawing on a grid leaves open, but no more than two.
# It is in mm, for scores of different resolutions to mean the same. What two readers differ by is
# better, where it is known.
TOLERANCE_MM = 2.0


@dataclass(frozen=True)
class Metric:
    """One score: a field of `ClassScore`, and how to read it.

    ``better`` is "higher", "lower" or "nearer 0". ``summed``: over classes the sum is of interest
    and not the mean.
    """

    name: str
    title: str
    better: str
    decimals: int = 2
    summed: bool = False

    @property
    def signed(self) -> bool:
        """Whether the score can be negative, and its sign is to be shown."""
        return self.better == "nearer 0"


def in_unit(metric: Metric, unit: str) -> Metric:
    """The metric titled in a unit of `images.units`; of pixels, an area stands for the volume."""
    if unit == MILLIMETRES:
        return metric
    title = metric.title.replace(" mm", f" {unit}").replace(" mL", f" {unit}²")
    return replace(metric, title=title.replace("volume", "area"))


METRICS = (
    Metric("dice", "Dice", "higher", 3),
    Metric("hd95_mm", "HD95 mm", "lower"),
    Metric("assd_mm", "ASSD mm", "lower"),
    Metric("surface_dice", "surface Dice", "higher", 3),
    Metric("volume_error_percent", "volume error %", "nearer 0", 1),
    Metric("volume_error_ml", "volume error mL", "nearer 0"),
    Metric("islands", "islands", "lower", 1, summed=True),
    Metric("islands_percent", "islands %", "lower", 1),
)


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class in one case; the module's docstring defines every one of them."""

    case: str
    label: str
    dice: float
    hd95_mm: float
    islands: int
    prediction_voxels: int
    reference_voxels: int
    diagonal_mm: float
    assd_mm: float
    surface_dice: float
    volume_error_percent: float
    volume_error_ml: float
    islands_percent: float

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`."""
        if self.prediction_voxels and self.reference_voxels:
            return "scored"
        if self.reference_voxels:
            return "missed"
        return "invented" if self.prediction_voxels else "both_empty"

    def as_row(self) -> dict[str, str | int | float]:
        """One row of the CSV file."""
        return {
            "case": self.case,
            "label": self.label,
            "outcome": self.outcome,
            **{metric.name: getattr(self, metric.name) for metric in METRICS},
            "prediction_voxels": self.prediction_voxels,
            "reference_voxels": self.reference_voxels,
        }


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice of two boolean masks (*spatial); NaN if both are empty."""
    total = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return 2 * np.count_nonzero(prediction & reference) / total if total else math.nan


def connected_components(
    mask: np.ndarray,
) -> tuple[tuple[slice, ...], np.ndarray, np.ndarray]:
    """Box around a mask, its components in there numbered from 1, and their sizes in voxels."""
    box = bounding_box(mask)
    components, _ = ndimage.label(mask[box], structure=np.ones((3,) * mask.ndim))
    return box, components, np.bincount(components.ravel(), minlength=1)[1:]


def evaluate_case(
    case: str,
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing_mm: Sequence[float],
    labels: LabelSet,
    tolerance_mm: float = TOLERANCE_MM,
    keep_largest: bool = False,
) -> list[ClassScore]:
    """Score one case, one `ClassScore` per class.

    Args:
        prediction, reference: integer label maps (*spatial) of one shape.
        spacing_mm: voxel size per array axis.
        tolerance_mm: of the surface Dice.
        keep_largest: score each class with nothing but its largest component (the first of equally
            large ones), what nnU-Net's postprocessing would make of it.

    Example:
        A square of four pixels, of which the upper two are found, beside one false pixel:

        >>> import numpy as np
        >>> reference, prediction = np.zeros((2, 6, 6), np.uint8)
        >>> reference[1:3, 1:3] = prediction[1, 1:3] = prediction[5, 5] = 1
        >>> labels = LabelSet({"organ": (1,)})
        >>> (score,) = evaluate_case("anna", prediction, reference, (1, 1), labels)
        >>> round(float(score.dice), 3), score.islands, float(score.volume_error_percent)
        (0.571, 1, -25.0)
    """
    annotated = None if labels.ignore is None else reference != labels.ignore
    diagonal_mm = math.hypot(*(n * s for n, s in zip(reference.shape, spacing_mm, strict=True)))
    voxel_ml = math.prod(spacing_mm) / 1000
    scores = []
    for name, values in labels.classes.items():
        predicted, expected = np.isin(prediction, values), np.isin(reference, values)
        box, components, sizes = connected_components(predicted)
        if keep_largest and sizes.size:
            predicted[box] = components == 1 + sizes.argmax()
            sizes = sizes[[sizes.argmax()]]
        if annotated is not None:
            predicted, expected = predicted & annotated, expected & annotated
        distances = surface_distances_mm(predicted, expected, spacing_mm)
        volume_p, volume_r = np.count_nonzero(predicted), np.count_nonzero(expected)
        error = volume_p - volume_r
        scores.append(
            ClassScore(
                case=case,
                label=name,
                dice=dice(predicted, expected),
                hd95_mm=hd95_mm(distances),
                islands=max(len(sizes) - 1, 0),
                prediction_voxels=int(volume_p),
                reference_voxels=int(volume_r),
                diagonal_mm=diagonal_mm,
                assd_mm=assd_mm(distances),
                surface_dice=surface_dice(distances, tolerance_mm),
                volume_error_percent=100 * error / volume_r if volume_r else math.nan,
                volume_error_ml=error * voxel_ml if volume_p or volume_r else math.nan,
                islands_percent=(
                    float(100 * (1 - sizes.max() / sizes.sum())) if sizes.size else math.nan
                ),
            )
        )
    return scores
