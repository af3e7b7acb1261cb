"""The greys of a picture: spread over what is labelled and what lies around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import label, maximum_filter

NEAR = 0.1  # of the picture's longer side: organ and neighbours, and little air or bone
LEAST_PIXELS = 3
PERCENTILES = (1, 99)  # outliers do not darken the rest
MOST = (10, 90)


def scaled(
    image: np.ndarray, organs: np.ndarray | None = None, spacing_mm: Sequence[float] = (1, 1)
) -> np.ndarray:
    """Slices scaled to 0..1; 8-bit colours as they are.

    The greys of a CT go from air to bone, and liver and spleen are nearly one of them. So they are
    those of the organs and their surroundings, and what is darker or brighter is black or white.

    Args:
        image: (slices, rows, columns), or (slices, rows, columns, 3) for colours.
        organs: mask (slices, rows, columns); without any the whole image counts.
        spacing_mm: of rows and of columns.
    """
    if image.ndim == 4 and image.dtype == np.uint8:
        return image / np.float32(255)
    image = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)
    low = high = 0.0
    if organs is not None and organs.any():
        low, high = _window(image, organs, spacing_mm)
    if low == high:  # no organ, or all around it is one grey
        low, high = np.percentile(image, PERCENTILES)
    return np.clip((image - low) / max(high - low, 1e-6), 0, 1)


def largest_pieces(labels: np.ndarray) -> np.ndarray:
    """The largest connected piece of each class, as one mask: further ones are often false.

    Greys that follow false pieces, such as those in bright fat, leave the organs dark.

    Args:
        labels: (slices, rows, columns), 0 for background.
    """
    kept = np.zeros(labels.shape, bool)
    for value in set(np.unique(labels).tolist()) - {0}:
        pieces, number = label(labels == value)
        if number:
            kept |= pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    return kept


def _window(
    image: np.ndarray, organs: np.ndarray, spacing_mm: Sequence[float]
) -> tuple[float, float]:
    """All greys of organs, and most of what lies near: close to an outlined liver is air, too."""
    near = np.percentile(image[_near(organs, spacing_mm)], MOST)
    own = np.percentile(image[organs], PERCENTILES)
    return min(near[0], own[0]), max(near[1], own[1])


def _near(organs: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """The organs and what lies next to them in their slice."""
    sizes = organs.shape[1:]
    reach_mm = NEAR * max(size * mm for size, mm in zip(sizes, spacing_mm, strict=True))
    reach = [max(LEAST_PIXELS, round(reach_mm / mm)) for mm in spacing_mm]
    return maximum_filter(organs, (1, *(2 * pixels + 1 for pixels in reach)))
