"""What speaks for a stroke at a voxel: one map per reason, from predictions and strokes.

All arrays are (slices, rows, columns): cut as they are looked at, 2D images have one slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

from scribble_tools.dataset.label_set import LabelSet

# how much each reason counts where it holds fully; measured by nobody, ordered by what a stroke
# there would settle: a contradiction is an error for certain, a long distance is only a risk
WEIGHTS = {
    "contradiction": 1.0,
    "unsupported": 0.8,
    "disagreement": 0.8,
    "uncertain": 0.6,
    "far": 0.4,
}
UNLIKE = "unlike"  # a reason of whole slices, see `novelty`
REACH = 4  # smallest voxel sides: what is nearer to a stroke is settled by it
SMOOTHING = 1.5  # smallest voxel sides: the thin uncertain line around everything counts little
FAR = 1.5  # class radii after which a stroke says two thirds less


@dataclass(frozen=True)
class Doubt:
    """What the folds, and mirrored images, say together of one case.

    Attributes:
        probabilities: their mean (classes, *spatial), background first; of regions (regions,
            *spatial).
        labels: (*spatial) that follow from it.
        uncertainty: (*spatial) entropy of the mean, 0 to 1.
        disagreement: (*spatial) the part of it that no single one of them has, 0 to 1.
        members: how many there are.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    uncertainty: np.ndarray
    disagreement: np.ndarray
    members: int


def entropy(probabilities: np.ndarray, regions: bool) -> np.ndarray:
    """Entropy (*spatial) of (classes, *spatial), 1 at most; of regions the mean of each one's."""
    p = np.clip(probabilities, 1e-7, 1)
    if not regions:
        return -(p * np.log(p)).sum(axis=0) / np.log(len(p))
    q = np.clip(1 - probabilities, 1e-7, 1)
    return -(p * np.log2(p) + q * np.log2(q)).mean(axis=0)


def combine(members: Iterable[np.ndarray], region_values: Sequence[int] | None = None) -> Doubt:
    """Gather the probabilities of several predictions of one case, one after the other.

    Args:
        members: (classes, *spatial) each.
        region_values: of models with regions: the label that each region writes, in order.
    """
    regions = region_values is not None
    total, entropies, number = None, None, 0
    for probabilities in members:
        own = entropy(probabilities, regions)
        total = probabilities.astype(np.float32) if total is None else total + probabilities
        entropies = own if entropies is None else entropies + own
        number += 1
    if total is None:
        raise ValueError("no prediction to combine")
    mean = total / number
    uncertainty = entropy(mean, regions)
    if regions:
        labels = np.zeros(mean.shape[1:], np.int32)
        for probability, value in zip(mean, region_values, strict=True):
            labels[probability > 0.5] = value
    else:
        labels = mean.argmax(axis=0)
    # the mutual information of voxel and member: nothing where each says the same, sure or not
    disagreement = np.clip(uncertainty - entropies / number, 0, 1)
    return Doubt(mean, labels, uncertainty, disagreement, number)


def _class_radius_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Radius of the disc that has the class's area in a typical slice."""
    areas = mask.sum(axis=(1, 2))
    pixels = float(np.median(areas[areas > 0])) if areas.any() else 0.0
    return max(np.sqrt(pixels * spacing_mm[1] * spacing_mm[2] / np.pi), 2 * min(spacing_mm[1:]))


def _distance_in_slices(strokes: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Distance in mm to the nearest stroke of the same slice, infinite where it has none."""
    distance = np.full(strokes.shape, np.inf, np.float32)
    for number in np.flatnonzero(strokes.any(axis=(1, 2))):
        distance[number] = distance_transform_edt(~strokes[number], sampling=spacing_mm[1:])
    return distance


def evidence_maps(
    doubt: Doubt, strokes: np.ndarray | None, labels: LabelSet, spacing_mm: Sequence[float]
) -> dict[str, np.ndarray]:
    """A map (slices, rows, columns) of 0 to 1 for every reason to draw, see `WEIGHTS`.

    - contradiction: a stroke of one class, predicted as another;
    - unsupported: a predicted piece of a class that no stroke of the class touches; in an image
      without strokes all but the largest;
    - disagreement: folds, or mirrored images, say different things;
    - uncertain: the entropy of their mean;
    - far: predicted as a class whose nearest stroke is far, in radii of the class.

    All but the first are damped next to a stroke of the same slice, which settles them.

    Args:
        strokes: labels as in dataset.json, ``labels.ignore`` where nothing is annotated; None of
            an image without annotation.
        spacing_mm: of slices, rows and columns.
    """
    drawn = np.zeros(doubt.labels.shape, bool)
    if strokes is not None and labels.ignore is not None:
        drawn = strokes != labels.ignore
    maps = {
        "uncertain": doubt.uncertainty.astype(np.float32),
        # mutual information is small in numbers: half of it is total confusion of two members
        "disagreement": np.sqrt(doubt.disagreement).astype(np.float32),
        "unsupported": np.zeros(drawn.shape, np.float32),
        "far": np.zeros(drawn.shape, np.float32),
        "contradiction": np.zeros(drawn.shape, np.float32),
    }
    for values in labels.classes.values():
        predicted = np.isin(doubt.labels, values)
        own = drawn & np.isin(strokes, values) if drawn.any() else drawn
        maps["contradiction"][own & ~predicted] = 1
        if not predicted.any():
            continue
        pieces, _ = label(predicted, np.ones((3, 3, 3)))
        # without a stroke in the image no piece has one: all but the largest may be false
        supported = (
            np.unique(pieces[own]) if drawn.any() else np.bincount(pieces[predicted]).argmax()
        )
        maps["unsupported"][predicted & ~np.isin(pieces, supported)] = 1
        far = 1.0
        if own.any():
            distance = distance_transform_edt(~own, sampling=spacing_mm)
            far = 1 - np.exp(-distance / (FAR * _class_radius_mm(predicted, spacing_mm)))
        maps["far"] = np.maximum(maps["far"], predicted * far)
    background = drawn & (strokes == 0) if drawn.any() else drawn
    maps["contradiction"][background & (doubt.labels != 0)] = 1
    if drawn.any():
        distance = _distance_in_slices(drawn, spacing_mm) / (REACH * min(spacing_mm[1:]))
        settled = np.exp(-(distance**2))
        for reason in maps.keys() - {"contradiction"}:
            maps[reason] = maps[reason] * (1 - settled)
    else:
        maps["far"] = maps["far"] / 2  # true of all that is predicted: says little
    return maps


def gain(maps: Mapping[str, np.ndarray], spacing_mm: Sequence[float]) -> np.ndarray:
    """How much a stroke would teach (slices, rows, columns), 0 to 1, smoothed within slices.

    A voxel is left alone if no reason speaks for it: the complement is a product.
    """
    rest = 1.0
    for reason, weight in WEIGHTS.items():
        rest = rest * (1 - weight * maps[reason])
    sigma = [0.0, *(SMOOTHING * min(spacing_mm[1:]) / side for side in spacing_mm[1:])]
    return gaussian_filter((1 - rest).astype(np.float32), sigma)
