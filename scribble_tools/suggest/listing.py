"""The ranked list of places: in words, as CSV and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import SimpleITK as sitk

from scribble_tools.csv_files import write_csv
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.dataset.writing import write_json, written_atomically
from scribble_tools.draw.display_plane import DisplayPlane
from scribble_tools.suggest.evidence import UNLIKE, WEIGHTS
from scribble_tools.suggest.places import Place
from scribble_tools.suggest.search import voxel_of
from scribble_tools.text_tables import text_table


def in_words(place: Place) -> str:
    """Why a stroke there would teach, in a sentence without its full stop."""
    name = place.predicted
    if place.reason == "contradiction":
        return f"a stroke says otherwise than the prediction, {name}"
    if place.reason == "unsupported" and not math.isfinite(place.stroke_mm):
        return f"a piece of {name}, which has no stroke in this case"
    if place.reason == "unsupported":
        return f"a piece of {name} that no stroke of {name} touches"
    if place.reason == "far":
        if math.isfinite(place.stroke_mm):
            return f"{name}, {place.stroke_mm:.0f} {place.unit} from the nearest stroke of {name}"
        return f"{name}, which has no stroke in this case"
    if place.reason == "disagreement":
        return f"folds or mirrored images disagree: {name} or {place.alternative}"
    if place.reason == UNLIKE:
        return f"{'an image' if place.flat else 'a slice'} unlike all that are annotated"
    return (
        f"unsure: {name} {place.probability:.2f}, "
        f"{place.alternative} {place.alternative_probability:.2f}"
    )


def row_of(rank: int, place: Place, image: sitk.Image, plane: DisplayPlane) -> dict[str, object]:
    """One place for the list.

    ``x``, ``y`` and ``z`` are voxels of the file, from 0, as in 3D Slicer and napari; ITK-SNAP
    counts from 1. A 2D image has no ``slice`` and no ``z``. ``R``, ``A`` and ``S`` are mm as 3D
    Slicer shows them (empty for pictures). ``stroke_mm`` and ``area_mm2`` are in ``unit`` and its
    square. ``value`` orders the places and is no length: see `Place`.
    """
    index = voxel_of(plane, place.index)[::-1]
    names = ("x", "y", "z")
    row: dict[str, object] = {
        "rank": rank,
        "case": place.case,
        "slice": "" if place.flat else place.slice,
        "slice_axis": "zyx"[plane.axes[0]] if plane.dimension == 3 else "",
        **{name: index[k] if k < len(index) else "" for k, name in enumerate(names)},
        **dict.fromkeys(("R", "A", "S"), ""),
        "predicted": place.predicted,
        "probability": round(place.probability, 3),
        "alternative": place.alternative,
        "alternative_probability": round(place.alternative_probability, 3),
        "reason": place.reason,
        "in_words": in_words(place),
        "value": round(place.value, 2),
        "area_mm2": round(place.area_mm2, 1),
        "stroke_mm": round(place.stroke_mm, 1) if math.isfinite(place.stroke_mm) else "",
        "unit": place.unit,
        **{reason: round(place.evidence.get(reason, 0.0), 3) for reason in (*WEIGHTS, UNLIKE)},
    }
    if plane.dimension == 3:
        point = image.TransformIndexToPhysicalPoint([int(k) for k in index])
        signs = (-1, -1, 1)  # ITK's axes point to the left and to the back
        row |= {
            name: round(sign * value, 1)
            for name, sign, value in zip("RAS", signs, point, strict=True)
        }
    return row


def table_of(places: Sequence[Place]) -> str:
    """The places, best first, as text; without numbers of slices where there are none."""
    columns = {
        "case": [place.case for place in places],
        "rank": [*range(1, len(places) + 1)],
        "slice": ["" if place.flat else place.slice for place in places],
        "value": [f"{place.value:.1f}" for place in places],
        "why": [in_words(place) for place in places],
    }
    if all(place.flat for place in places):
        del columns["slice"]
    return text_table([*columns], zip(*columns.values(), strict=True), 118)


def write_list(rows: Sequence[Mapping], record: Mapping, out: Path) -> None:
    """Write ``suggestions.csv`` and ``suggestions.json`` into ``out``."""
    with written_atomically(out / "suggestions.csv") as temporary:
        write_csv(rows, temporary, list(rows[0]))
    places = [{key: None if value == "" else value for key, value in row.items()} for row in rows]
    content = {**record, "places": places, "versions": package_versions()}
    write_json(content, out / "suggestions.json")
