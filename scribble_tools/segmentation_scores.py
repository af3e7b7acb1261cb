"""Scores of predicted label maps against dense references: Dice, HD95 in mm, islands.

Per case and class, with P and R the voxels of prediction and reference:

Dice
    2 |P & R| / (|P| + |R|).
HD95
    95th percentile Hausdorff distance in mm, medpy's definition; see `surface_distance`.
islands
    connected components of P beyond the largest, 26-connected in 3D and 8-connected in 2D (voxels
    that touch at a corner belong together).

Voxels that carry the ignore label in the reference are left out of Dice and HD95; islands are
counted in the whole prediction, because they need no reference.

Empty cases, named in the column ``outcome`` and counted in the printed table:

============  ==========  =========  ====  =====  ==================================
outcome       prediction  reference  Dice  HD95   in the means
============  ==========  =========  ====  =====  ==================================
scored        present     present    0..1  mm     both
both_empty    empty       empty      NaN   NaN    neither
missed        empty       present    0     inf    Dice; HD95 as ``missing_hd95`` says
invented      present     empty      0     inf    Dice; HD95 as ``missing_hd95`` says
============  ==========  =========  ====  =====  ==================================

``both_empty`` is NaN as in nnU-Net's own summary.json, so that the numbers are comparable, and
because a class that is absent and was not predicted is no evidence of a good segmentation: a 1
there would raise the mean of the rarest classes. ``missing_hd95="exclude"`` takes the mean of HD95
over the finite values and counts the rest; ``"diagonal"`` enters the image's diagonal in mm, which
does not reward leaving a class out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scribble_tools.label_set import LabelSet
from scribble_tools.surface_distance import bounding_box, hd95_mm

OUTCOMES = ("scored", "both_empty", "missed", "invented")


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class in one case; `scribble_tools.evaluate` defines every one of them."""

    case: str
    label: str
    dice: float
    hd95_mm: float
    islands: int
    prediction_voxels: int
    reference_voxels: int
    diagonal_mm: float

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
            "dice": self.dice,
            "hd95_mm": self.hd95_mm,
            "islands": self.islands,
            "prediction_voxels": self.prediction_voxels,
            "reference_voxels": self.reference_voxels,
        }


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice of two boolean masks (*spatial); NaN if both are empty."""
    total = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return 2 * np.count_nonzero(prediction & reference) / total if total else math.nan


def count_islands(mask: np.ndarray) -> int:
    """Connected components of a boolean mask (*spatial) beyond the largest; 0 for an empty mask.

    Voxels sharing a corner are connected: 26 neighbours in 3D, 8 in 2D.
    """
    _, components = ndimage.label(mask[bounding_box(mask)], structure=np.ones((3,) * mask.ndim))
    return max(components - 1, 0)


def evaluate_case(
    case: str,
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing_mm: Sequence[float],
    labels: LabelSet,
) -> list[ClassScore]:
    """Score one case, one `ClassScore` per class.

    Args:
        prediction, reference: integer label maps (*spatial) of one shape.
        spacing_mm: voxel size per array axis.
    """
    annotated = None if labels.ignore is None else reference != labels.ignore
    diagonal_mm = math.hypot(*(n * s for n, s in zip(reference.shape, spacing_mm, strict=True)))
    scores = []
    for name, values in labels.classes.items():
        predicted, expected = np.isin(prediction, values), np.isin(reference, values)
        islands = count_islands(predicted)
        if annotated is not None:
            predicted, expected = predicted & annotated, expected & annotated
        scores.append(
            ClassScore(
                case=case,
                label=name,
                dice=dice(predicted, expected),
                hd95_mm=hd95_mm(predicted, expected, spacing_mm),
                islands=islands,
                prediction_voxels=int(np.count_nonzero(predicted)),
                reference_voxels=int(np.count_nonzero(expected)),
                diagonal_mm=diagonal_mm,
            )
        )
    return scores
