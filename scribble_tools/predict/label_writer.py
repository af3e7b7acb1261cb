"""Labels that a model predicts, written as files of the format that people work in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.dataset.label_mapping import LabelMapping
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.dataset.raw import read_record
from scribble_tools.draw.contact_sheet import colour_of
from scribble_tools.evaluate.confusion import parts_of
from scribble_tools.images.image_files import NATURAL, TIFF, VOLUMES, file_ending_of
from scribble_tools.images.image_io import save_image, write_labels
from scribble_tools.images.slicer_segmentation import ENDING
from scribble_tools.images.slicer_writer import NewSegment, write_segmentation

# of files with a header apart, and of those that no reader of labels takes back
INSTEAD = {".nhdr": ".nrrd", ".mhd": ".mha", ".hdr": ".nii.gz", ".jpg": ".png", ".jpeg": ".png"}
LABEL_FORMATS = ("image", ".nii.gz", ".nrrd", ".mha", ENDING)


def label_ending(image: Path, wanted: str = "image") -> str:
    """The ending of the labels of an image: its own, or ``wanted`` (one of `LABEL_FORMATS`).

    Raises:
        ValueError: a picture cannot have labels of that format.
    """
    own = file_ending_of(image)
    if wanted == "image":
        if own in NATURAL:
            return own if own in TIFF else ".png"
        return own if own in VOLUMES | {".nii"} else INSTEAD.get(own, ".nii.gz")
    if own in NATURAL:
        raise ValueError(f"{image} is a picture: its labels cannot be {wanted}")
    return wanted


def names_as_drawn(dataset: Path | None, names: Mapping[int, str]) -> dict[int, str]:
    """Label values to the names that segments had when they were drawn, or else the classes'.

    Args:
        dataset: folder of the raw data set, whose record of the conversion knows.
        names: value to name of the class, in dataset.json.
    """
    of_label: dict[int, str] = {}
    try:
        record = read_record(dataset) if dataset else {}
        mapping = LabelMapping.from_json(record["scribble_labels"])
        # of several names of a class the first that was given
        drawn = {value: name for name, value in reversed(record["values_of_names"].items())}
        for label, name in enumerate(mapping.names):
            if (value := mapping.classes[name][0]) in drawn:
                of_label[label] = drawn[value]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # no conversion that kept names
    return {value: of_label.get(value, name) for value, name in names.items()}


def names_of_regions(labels: LabelSet) -> dict[int, str]:
    """Label values to the regions that they lie in, such as ``whole + core``.

    >>> names_of_regions(LabelSet({"whole": (1, 2), "core": (2,)}))
    {0: 'background', 1: 'whole', 2: 'whole + core'}
    """
    parts = parts_of(labels)
    return {
        value: name if len(values) == 1 else f"{name} ({value})"
        for name, values in parts.items()
        for value in values
    }


def write_prediction(
    labels: np.ndarray, image: sitk.Image, path: Path, names: Mapping[int, str]
) -> None:
    """Write labels in the geometry of their image, in the format that the ending of ``path`` says.

    Args:
        labels: (z, y, x), also of a picture, with z = 1.
        names: of the label values, for the segments of a ``.seg.nrrd``; 0 gets no segment, and
            each other value has one of its own.

    Raises:
        ValueError: the format cannot hold the labels.
    """
    if path.name.lower().endswith(ENDING):
        unnamed = {value: f"label {value}" for value in np.unique(labels).tolist()}
        segments = [
            NewSegment(name, colour_of(value), labels == value, value=value)
            for value, name in sorted({**unnamed, **names}.items())
            if value != 0
        ]
        write_segmentation(segments, image, path)
    else:
        write_labels(labels.reshape(image.GetSize()[::-1]), image, path)


def uncertainty_of(probabilities: np.ndarray, regions: bool) -> np.ndarray:
    """Entropy (z, y, x) of the prediction, float32 from 0 (certain) to 1 (nothing is known).

    Args:
        probabilities: (classes, z, y, x), or of regions (regions, z, y, x), each for itself; of
            these the most uncertain counts.
    """
    p = np.clip(probabilities, 1e-7, 1)
    if regions:
        q = np.clip(1 - probabilities, 1e-7, 1)
        return (-(p * np.log(p) + q * np.log(q)) / np.log(2)).max(0).astype(np.float32)
    return (-(p * np.log(p)).sum(0) / np.log(len(p))).clip(0, 1).astype(np.float32)


def write_uncertainty(uncertainty: np.ndarray, image: sitk.Image, path: Path) -> None:
    """Write a map of `uncertainty_of`: as it is, or of a picture in grey, 255 for 1.

    Raises:
        ValueError: the file cannot be written.
    """
    values = uncertainty.reshape(image.GetSize()[::-1])
    if file_ending_of(path) in NATURAL:
        values = np.round(255 * values).astype(np.uint8)
    written = sitk.GetImageFromArray(values)
    written.CopyInformation(image)
    save_image(written, path)
