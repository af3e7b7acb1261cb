"""What the report shows of one case: its contact sheet, and what needs no reference to be known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np

from scribble_tools.check.annotations import classes_of
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.draw.contact_sheet import choose_slices, organs_of, overlay
from scribble_tools.draw.greys import scaled
from scribble_tools.draw.shown_case import ShownCase, ShownFiles, read_case
from scribble_tools.evaluate.scores import connected_components
from scribble_tools.images.image_io import image_grid
from scribble_tools.images.units import MILLIMETRES, PIXELS, unit_of
from scribble_tools.report.pictures import blend, encode_figure

SLICES = 3  # rows of a contact sheet
DOTS_PER_INCH = 100  # of a sheet, whose smallest letters are 7 points: 10 pixels
SHEET_INCHES = 12.2  # as wide as the page
STRIP_INCHES = 9.0  # of one row on the first screen
THUMBNAIL_PIXELS = 64


@dataclass(frozen=True)
class Unscored:
    """What is known of one prediction without a reference, by class.

    Attributes:
        volume_ml: (in 2D of a slice 1 mm thick; of pictures without resolution in square pixels).
        islands: connected components beyond the largest, over all classes their sum.
        disagreement_percent: of the voxels scribbled with a class, those predicted as another; NaN
            without such voxels.
        overall: each of the three, by its name, of all classes together.
    """

    volume_ml: Mapping[str, float]
    islands: Mapping[str, int]
    disagreement_percent: Mapping[str, float]
    overall: Mapping[str, float]


@dataclass(frozen=True)
class CaseLook:
    """One case of the report.

    Attributes:
        sheet, thumbnail: WebP pictures.
        unscored: by the prediction's title.
        voxel_ml: volume of a voxel; 1 where ``unit`` is the pixel.
        unit: of lengths, see `images.units`.
    """

    case: str
    sheet: bytes
    thumbnail: bytes
    unscored: Mapping[str, Unscored]
    voxel_ml: float
    unit: str = MILLIMETRES


def without_reference(
    prediction: np.ndarray, scribble: np.ndarray | None, voxel_ml: float, labels: LabelSet
) -> Unscored:
    """Judge a prediction by itself and by the scribble of its case.

    Args:
        prediction: labels (*spatial).
        scribble: labels of the same shape, ``labels.ignore`` where nothing is annotated.
    """
    volume_ml, islands, disagreement, overall = {}, {}, {}, {}
    for name, values in labels.classes.items():
        mask = np.isin(prediction, values)
        _, _, sizes = connected_components(mask)
        volume_ml[name] = voxel_ml * int(sizes.sum())
        islands[name] = max(len(sizes) - 1, 0)
    if scribble is not None and labels.ignore is not None:
        predicted = prediction[scribble != labels.ignore]
        drawn = scribble[scribble != labels.ignore]
        for name, values in classes_of(labels).items():
            disagreement[name] = _percent(~np.isin(predicted[np.isin(drawn, values)], values))
        overall["disagreement_percent"] = _percent(predicted != drawn)
    # regions lie inside each other: their sum is no volume
    if all(len(values) == 1 for values in labels.classes.values()):
        overall["volume_ml"] = sum(volume_ml.values())
    overall["islands"] = sum(islands.values())
    return Unscored(volume_ml, islands, disagreement, overall)


def _percent(wrong: np.ndarray) -> float:
    return 100 * float(wrong.mean()) if wrong.size else math.nan


def _thumbnail(shown: ShownCase, title: str) -> bytes:
    """The prediction over the slice in which it is largest."""
    labels = next(panel.labels for panel in shown.panels if panel.title == title)
    number = int((labels != 0).sum(axis=(1, 2)).argmax())
    image = shown.image[number].astype(np.float32)
    grey = image.mean(axis=-1) if image.ndim == 3 else image
    spacing_mm = shown.plane.spacing_mm
    grey = scaled(grey[None], organs_of(shown.panels, [number]), spacing_mm)[0]
    picture = overlay(labels[number], 0, 0.5)
    return blend(grey, picture, spacing_mm, THUMBNAIL_PIXELS)


def look_at(
    dataset_json: Path, labels: LabelSet, max_bytes: int, files: ShownFiles
) -> CaseLook | str:
    """Draw and judge one case; what is wrong with its files is returned, to report all at once.

    Args:
        max_bytes: of the contact sheet.
    """
    try:
        shown = read_case(files, dataset_json)
        _, spacing_mm = image_grid(files.image)
    except (OSError, ValueError) as error:
        return f"{files.name}: {error}"
    unit = unit_of(files.image, spacing_mm)
    voxel_ml = 1.0 if unit == PIXELS else math.prod(spacing_mm) / 1000
    maps = {panel.title: panel.labels for panel in shown.panels}
    scribble = maps.get("scribble") if files.scribble else None
    unscored = {
        title: without_reference(maps[title], scribble, voxel_ml, labels)
        for title in files.predictions
    }
    slices = choose_slices(shown.panels[0], SLICES)
    # names of classes and cases are text, not formulas, whatever dollars are in them
    near = shown.cropped()
    with matplotlib.rc_context({"text.parse_math": False}):
        sheet = encode_figure(near.sheet(slices, "", SHEET_INCHES), DOTS_PER_INCH, max_bytes)
    thumbnail = _thumbnail(near, next(iter(files.predictions)))
    return CaseLook(files.name, sheet, thumbnail, unscored, voxel_ml, unit)


def draw_strip(dataset_json: Path, files: ShownFiles) -> bytes:
    """One slice of a case as WebP, for the first screen."""
    shown = read_case(files, dataset_json).cropped()
    shown = replace(shown, notes=[])
    with matplotlib.rc_context({"text.parse_math": False}):
        sheet = shown.sheet(choose_slices(shown.panels[0], 1), "", STRIP_INCHES)
        return encode_figure(sheet, DOTS_PER_INCH)
