"""Trying on a few cases whether `convert folder` will take what `inspect` is about to propose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scribble_tools.convert.folder import first_channels
from scribble_tools.convert.masks import find_masks
from scribble_tools.convert.pairing import IMAGE, SCRIBBLE, CaseFiles, Place, pair_files
from scribble_tools.images.image_files import read_channels
from scribble_tools.images.label_files import GridRules, fit_to_grid
from scribble_tools.images.mismatches import GridMismatch
from scribble_tools.images.segmentation_files import NAN_LABEL, LabelReading, read_labels
from scribble_tools.images.slicer_segmentation import (
    is_segmentation,
    read_segmentation,
    read_segments_on_grid,
)
from scribble_tools.survey.pairs import Pairing

TRIED = 3  # cases
CHANNEL_NAMES = "--channel-names"


def _lay(path: Path, image_path: Path, reading: LabelReading) -> str:
    """The option that a label file needs to lie on its image; empty when it needs none.

    Raises:
        FileNotFoundError, ValueError: it cannot be laid there.
    """
    image = read_channels(image_path)[0][0]
    try:
        if is_segmentation(path):
            label_of = {s.name: k for k, s in enumerate(read_segmentation(path)[1], 1)}
            read_segments_on_grid(path, image, label_of, 0, "first", image_path)
        else:
            array, label = read_labels(path, reading)
            array = array.astype(np.int32)
            fit_to_grid(array, label, path, image, image_path, GridRules(), 0)
    except GridMismatch as error:
        if error.option:
            return error.option
        raise
    return ""


def _names_of_channels(cases: Mapping[str, CaseFiles]) -> str:
    """The option that names channels, to be filled in; empty where `convert` knows the names."""
    first = first_channels(cases.values())
    if first is None or first[2]:
        return ""
    return " ".join([CHANNEL_NAMES, *(f"NAME{k}" for k in range(1, first[1] + 1))])


def rehearse(
    pairing: Pairing, pictures: str = "grey", masks: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[str], list[str]]:
    """Pair the files, and lay a few labels on their images.

    Args:
        pictures: how pictures of labels are read, see `LabelReading`.
        masks: class to the patterns of its masks; none where the labels are label maps.

    Returns:
        options that the command needs besides, and what stands in its way all the same.
    """
    scribbles = Place(SCRIBBLE, pairing.labels, pairing.label_pattern)
    images = Place(IMAGE, pairing.images, pairing.image_pattern)
    try:
        found = find_masks(scribbles, masks, ()) if masks else None
        if found is not None:
            firsts, taken = found.first_of_cases(), found.all_files()
            scribbles = Place(SCRIBBLE, pairing.labels, found=firsts, taken=taken)
        cases = pair_files([images], scribbles, mixed=pairing.mixed)
    except (FileNotFoundError, ValueError) as error:
        return [], [str(error)]
    reading = LabelReading(NAN_LABEL, pictures)
    options: dict[str, None] = {}
    problems: list[str] = []
    labelled = [case for case, files in cases.items() if files.scribble]
    for case in labelled[:: max(1, len(labelled) // TRIED)][:TRIED]:
        files: Sequence[Path] = [cases[case].scribble]
        if found is not None:
            files = [path for own in found.files[case].values() for path in own]
        for path in files:
            try:
                if option := _lay(path, cases[case].images[0], reading):
                    options[option] = None
            except (FileNotFoundError, ValueError) as error:
                message = str(error)
                named = any(str(file) in message for file in (path, *cases[case].images))
                problems.append(message if named else f"{path} {message}")
    if named := _names_of_channels(cases):
        options[named] = None
    return [*options], problems
