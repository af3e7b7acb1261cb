"""What one file holds, as facts that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import SimpleITK as sitk

from scribble_tools.images.file_kind import (
    JPG,
    NATURAL,
    ending_of_content,
    file_ending_of,
    kind_of,
)
from scribble_tools.images.h5_files import dataset_names, opened_h5, read_dataset
from scribble_tools.images.image_io import read_image
from scribble_tools.images.label_appearance import (
    IMAGE,
    NO_SEGMENT,
    OTHER,
    SEGMENTS,
    is_label_map,
    look_at_labels,
)
from scribble_tools.images.nifti import stored_floats
from scribble_tools.images.picture_labels import (
    FEW_COLOURS,
    codes_of_labels,
    colour_codes,
    palette_indices,
)
from scribble_tools.images.segmentation_files import (
    COLOUR,
    NAN_LABEL,
    LabelReading,
    labels_of,
    show_values,
)
from scribble_tools.images.slicer_segmentation import (
    count_segment_voxels,
    is_segmentation,
    read_segmentation,
)
from scribble_tools.trust.printable import printable
from scribble_tools.wording import counted

H5 = frozenset({".h5", ".hdf5"})
IN_COLOURS = LabelReading(pictures=COLOUR)


def _labels_facts(array: np.ndarray, axis: int) -> dict:
    seen = look_at_labels(array, axis)
    return {
        "kind": seen.looks_like,
        "values": seen.counts,
        "unlabelled": seen.unlabelled,
        "background": seen.background,
        "reason": seen.reason,
    }


def _array_facts(array: np.ndarray) -> dict:
    """Facts of an array without geometry, out of an h5."""
    facts = {"dtype": str(array.dtype), "shape": list(array.shape)}
    if not np.issubdtype(array.dtype, np.number) or array.ndim not in (2, 3) or not array.size:
        return {**facts, "kind": OTHER}
    if is_label_map(array):
        return {**facts, **_labels_facts(array.astype(np.int64), 0)}
    finite = array[np.isfinite(array)]
    facts |= {"kind": IMAGE}
    if finite.size:
        facts["range"] = [float(finite.min()), float(finite.max())]
    if lost := array.size - finite.size:
        facts["remark"] = f"{counted(lost, 'voxel is', 'voxels are')} NaN or infinite"
    return facts


def _h5_facts(file: h5py.File, name: str) -> dict:
    try:
        return _array_facts(read_dataset(file, name))
    except ValueError as error:
        return {"kind": OTHER, "problem": f"{file.filename}: {error}"}


def _segmentation_facts(path: Path) -> dict:
    image, segments = read_segmentation(path)
    counts, voxels = count_segment_voxels(path)
    return {
        "dtype": image.GetPixelIDTypeAsString(),
        "shape": list(image.GetSize()),
        "spacing_mm": list(image.GetSpacing()),
        "channels": image.GetNumberOfComponentsPerPixel(),
        "kind": SEGMENTS,
        "values": {**counts, NO_SEGMENT: _in_no_segment(image) if voxels else 0},
        "segments": [{"name": s.name, "value": s.value, "layer": s.layer} for s in segments],
    }


def _in_no_segment(image: sitk.Image) -> int:
    """Voxels that are 0 in every layer, of which segments may share some."""
    array = sitk.GetArrayViewFromImage(image)
    several = image.GetNumberOfComponentsPerPixel() > 1
    return int(np.count_nonzero((array == 0).all(-1) if several else array == 0))


def _label_facts_of(image: sitk.Image, array: np.ndarray) -> dict:
    spacing = image.GetSpacing()[::-1]
    return _labels_facts(array, int(np.argmax(np.round(spacing, 3))) if len(spacing) == 3 else 0)


def _in_colours(facts: Mapping, image: sitk.Image, path: Path) -> dict | None:
    """Facts of a picture of few colours, as if they were labels; None of another picture."""
    codes = codes_of_labels(image, path)
    if codes is None:
        return None
    seen = _label_facts_of(image, codes)
    names = dict(zip(seen["values"], show_values([*seen["values"]], IN_COLOURS), strict=True))
    remark = "in colours: a class may be named by its colour, or save the labels as grey values"
    if (found := palette_indices(path, kind_of(path))) is not None:
        indices = ", ".join(map(str, np.unique(found[0]).tolist()[:FEW_COLOURS]))
        remark += f"; --palette index takes the indices in its palette: {indices}"
    return {
        **facts,
        **seen,
        "values": {names[value]: count for value, count in seen["values"].items()},
        "unlabelled": names.get(seen["unlabelled"]),
        "background": names.get(seen["background"]),
        "reason": "",
        "remark": remark,
    }


def _image_facts(path: Path) -> dict:
    """Facts of a file that SimpleITK reads."""
    image = read_image(path)
    channels = image.GetNumberOfComponentsPerPixel()
    facts = {
        "dtype": image.GetPixelIDTypeAsString().removeprefix("vector of "),
        "shape": list(image.GetSize()),
        "channels": channels,
    }
    natural = ending_of_content(path) in NATURAL
    if not natural:
        facts["spacing_mm"] = list(image.GetSpacing())
    array = sitk.GetArrayFromImage(image)
    lossy = kind_of(path) == JPG
    if natural and channels > 1 and not lossy and (seen := _in_colours(facts, image, path)):
        return seen
    if array.dtype.kind == "f":
        array = stored_floats(path, array)
        finite = np.isfinite(array)
        number = int(np.count_nonzero(~finite))
        # NaN is often what is not labelled
        candidate = np.where(finite, array, NAN_LABEL) if number else array
    else:
        number, candidate = 0, array
    # a picture's channels may be all alike: grey, stored as RGB
    several = natural and channels > 1
    planes = np.moveaxis(candidate, -1, 0) if several else [candidate]
    if not lossy and image.GetDimension() in (2, 3, 4) and all(map(is_label_map, planes)):
        if natural and channels > 1:
            colour_codes(image, path)  # says what is wrong with a layer of few colours
        labels = labels_of(image, path, NAN_LABEL)  # refuses several channels
        seen = _label_facts_of(image, labels)
        if NAN_LABEL in seen["values"]:
            for role in ("unlabelled", "background"):
                seen[role] = "NaN" if seen[role] == NAN_LABEL else seen[role]
            seen["values"] = {
                "NaN" if v == NAN_LABEL else v: count for v, count in seen["values"].items()
            }
        return {**facts, **seen}
    facts |= {"kind": IMAGE}
    numbers = array[finite] if number else array
    if numbers.size:
        facts["range"] = [float(numbers.min()), float(numbers.max())]
    if number:
        facts["remark"] = (
            f"{counted(number, f'voxel of {path} is NaN', f'voxels of {path} are NaN')}"
            " or infinite: convert refuses them"
        )
    return facts


def examine(path: Path) -> dict[str, dict]:
    """What a file holds: "" or, in an h5, each key, to facts that JSON can hold.

    Always ``kind``; mostly ``dtype`` and ``shape`` (x, y, z; of h5 as stored); ``spacing_mm`` where
    the format has it; of labels ``values`` (to voxels), ``unlabelled``, ``background``, ``reason``;
    of images ``range``. ``problem`` when the file cannot be read.
    """
    try:
        if file_ending_of(path) in H5:
            with opened_h5(path) as file:
                return {name: _h5_facts(file, name) for name in dataset_names(file)}
        return {"": _segmentation_facts(path) if is_segmentation(path) else _image_facts(path)}
    except (OSError, ValueError) as error:
        problem = str(error)
        problem = problem if printable(path) in problem else f"{path}: {problem}"
        return {"": {"kind": OTHER, "problem": problem}}
