"""The part of a slice that is worth looking at: around what is labelled, not the whole body."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scribble_tools.draw.contact_sheet import Panel

MARGIN = 0.5  # on each side, of the labelled region's longer side
LEAST_MM_SHARE = 0.15  # of the image's longer side: a dot alone shows no anatomy
WHOLE = 0.8  # of the picture: a crop that keeps more is not worth it


def surroundings(
    panels: Sequence[Panel], spacing_mm: Sequence[float], reference: str = "reference"
) -> tuple[slice, slice] | None:
    """Rows and columns around strokes and reference of all slices; None where all is worth it.

    Organs count, and strokes in the background only where there is no organ: those may lie
    anywhere. Predictions count where there is neither, so that their islands move nothing.

    Args:
        panels: label maps (slices, rows, columns).
        spacing_mm: of rows and of columns.
        reference: title of the panel with the reference.
    """
    drawn = [panel for panel in panels if panel.strokes]
    known = [panel for panel in panels if panel.strokes or panel.title == reference]
    for masks in (
        [panel.organs for panel in known],
        [panel.labels != panel.hidden for panel in drawn],
        [panel.labels != panel.hidden for panel in panels],
    ):
        flat = [mask.any(axis=0) for mask in masks]
        if any(mask.any() for mask in flat):
            return _around(np.logical_or.reduce(flat), spacing_mm)
    return None


def _around(mask: np.ndarray, spacing_mm: Sequence[float]) -> tuple[slice, slice] | None:
    """The box of a mask (rows, columns) with its margin."""
    ends = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    sides_mm = [(b - a + 1) * mm for (a, b), mm in zip(ends, spacing_mm, strict=True)]
    whole_mm = max(size * mm for size, mm in zip(mask.shape, spacing_mm, strict=True))
    half_mm = max(max(sides_mm) * (0.5 + MARGIN), LEAST_MM_SHARE * whole_mm)
    box = []
    for (a, b), size, mm in zip(ends, mask.shape, spacing_mm, strict=True):
        wanted = min(size, int(np.ceil(2 * half_mm / mm)))
        low = int(np.clip(round((a + b + 1 - wanted) / 2), 0, size - wanted))
        box.append(slice(low, low + wanted))
    kept = np.prod([(part.stop - part.start) for part in box]) / mask.size
    return None if kept > WHOLE else (box[0], box[1])


def outside_in_words(panels: Sequence[Panel], window: tuple[slice, slice]) -> str:
    """That a picture is cropped, and how much of which label map that hides."""
    hidden = []
    for panel in panels:
        labelled = panel.organs
        total, inside = labelled.sum(), labelled[:, window[0], window[1]].sum()
        if inside < total:
            percent = 100 * (total - inside) / total
            hidden.append(f"{max(percent, 0.1):.1f} % of {panel.title}")
    text = "Cropped to the surroundings of what is labelled"
    return text + (f"; {', '.join(hidden)} lies outside." if hidden else ".")
