"""Which slices are unlike all annotated ones, by a coarse picture and the predicted areas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

CELLS = 12  # the coarse picture of a slice has so many rows and columns
COMPONENTS = 16  # of the descriptions, that are compared
AREA_WEIGHT = 3.0  # the areas of all classes count as much as so many cells each


def describe_slices(
    image: np.ndarray, labels: np.ndarray, values: Sequence[Sequence[int]]
) -> np.ndarray:
    """Descriptions (slices, features) of an image and what is predicted in it.

    Args:
        image: (slices, rows, columns).
        labels: of the same shape.
        values: label values of every class.
    """
    image = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)
    low, high = np.percentile(image, (1, 99))
    image = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
    rows = []
    for picture, own in zip(image, labels, strict=True):
        coarse = Image.fromarray(picture).resize((CELLS, CELLS), Image.Resampling.BOX)
        areas = [np.sqrt(np.isin(own, v).mean()) for v in values]
        rows.append([*np.asarray(coarse).ravel(), *(AREA_WEIGHT * area for area in areas)])
    return np.array(rows, np.float32)


def novelty_of_slices(
    descriptions: Mapping[str, np.ndarray], annotated: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """How unlike all annotated slices every slice is, 0 to 1; annotated slices are 0.

    0 up to the distance at which annotated slices have their nearest one in another case, 1 from
    three times that distance on.

    Args:
        descriptions: case to (slices, features).
        annotated: case to bool (slices,).
    """
    everything = np.concatenate(list(descriptions.values()))
    centred = everything - everything.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:COMPONENTS].T
    points = {case: own @ axes for case, own in descriptions.items()}
    reference = [points[case][annotated[case]] for case in points]
    if sum(map(len, reference)) == 0:
        return {case: np.zeros(len(own)) for case, own in points.items()}
    all_annotated = np.concatenate(reference)
    owner = np.repeat(np.arange(len(points)), [len(own) for own in reference])
    nearest = [
        _distances(own, all_annotated[owner != k]).min(axis=1)
        for k, own in enumerate(reference)
        if len(own) and (owner != k).any()
    ]
    if not nearest:
        return {case: np.zeros(len(own)) for case, own in points.items()}
    typical = max(float(np.median(np.concatenate(nearest))), 1e-6)
    found = {}
    for case, own in points.items():
        away = _distances(own, all_annotated).min(axis=1)
        found[case] = np.where(annotated[case], 0, np.clip((away / typical - 1) / 2, 0, 1))
    return found


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances (rows of a, rows of b)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))
