"""Label files to go on drawing in: strokes so far, the prediction, and marks where to look.

In the user's own format and with the user's own values or segment names, so that `convert` takes
the file as it took the first one. What is no stroke has values, or segment names, of its own;
`NOT_STROKES`, beside the files, tells `convert --update` which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.convert.label_survey import count_voxels
from scribble_tools.csv_files import write_csv
from scribble_tools.dataset.drawn_labels import read_drawn_labels
from scribble_tools.dataset.label_mapping import BACKGROUND, LabelMapping
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.dataset.not_strokes import LOOK, PREDICTION, NotStrokes
from scribble_tools.draw.contact_sheet import colour_of
from scribble_tools.draw.display_plane import DisplayPlane
from scribble_tools.images.file_kind import NATURAL, VOLUMES, file_ending_of
from scribble_tools.images.image_io import save_image, write_labels
from scribble_tools.images.itksnap_labels import write_label_description
from scribble_tools.images.picture_labels import code_of, parts_of, picture_of, word_of
from scribble_tools.images.segmentation_files import COLOUR, GREY, LabelReading
from scribble_tools.images.slicer_segmentation import ENDING, is_segmentation, stem_of
from scribble_tools.images.slicer_writer import NewSegment, write_segmentation
from scribble_tools.suggest.places import Place

DESCRIPTION = "labels.txt"  # of ITK-SNAP
COLOURS = "colours.csv"  # which colour is what, where strokes were drawn in colours
MARK = (1.0, 0.0, 1.0)
SMALLEST_RING, LARGEST_RING = 5, 15  # radius in smallest voxel sides


@dataclass(frozen=True)
class LabelStyle:
    """What a user's label files look like.

    Attributes:
        ending: ``.seg.nrrd`` of 3D Slicer, or that of a label map.
        mapping: values of a label map.
        segments: class name to the name of its segment in 3D Slicer.
        colours: pictures hold colours, and the mapping's values are their numbers.
    """

    ending: str
    mapping: LabelMapping
    segments: Mapping[str, str]
    colours: bool = False

    @property
    def base(self) -> int:
        """Values above it are no strokes, but predictions; 100 where that leaves room."""
        own = [v for values in self.mapping.classes.values() for v in values]
        return 100 * (max([*own, *self.mapping.unlabelled]) // 100 + 1)

    @property
    def aliases(self) -> dict[int, int]:
        """Value in the label files to the user's own, see `NotStrokes`."""
        unlabelled = self.unlabelled
        return {} if unlabelled == 0 or self.colours else {0: unlabelled, self.base: 0}

    @property
    def unlabelled(self) -> int:
        """The user's value of what is not annotated."""
        return self.mapping.unlabelled[0] if self.mapping.unlabelled else 0

    @property
    def to_draw(self) -> dict[str, str]:
        """Class name to the value, or colour, that its strokes have in the label files.

        Of 3D Slicer's files the segments, where these are called otherwise than their classes.
        """
        if self.ending == ENDING:
            return {name: repr(own) for name, own in self.segments.items() if own != name}
        there = {own: value for value, own in self.aliases.items()}
        values = {name: there.get(v[0], v[0]) for name, v in self.mapping.classes.items() if v}
        return {name: word_of(v) if self.colours else str(v) for name, v in values.items()}

    def other_values(self, classes: Sequence[str], marks: int) -> tuple[list[int], list[int]]:
        """Values that are no strokes: of the predictions of classes, and of marks."""
        if not self.colours:
            first = self.base + 100 * (len(classes) // 100 + 1)
            return (
                [self.base + k for k in range(1, len(classes) + 1)],
                [first + k for k in range(1, marks + 1)],
            )
        own = self.mapping.classes
        taken = {*self.mapping.unlabelled, *(v for values in own.values() for v in values)}

        def free(colour: Sequence[float]) -> int:
            code = code_of(colour)
            while code in taken:  # the nearest that is not, by a shade of blue
                code = (code - 1) % 0x1000000
            taken.add(code)
            return code

        predicted = [free(_lighter(parts_of(own[name][0]))) for name in classes]
        return predicted, [free(MARK) for _ in range(marks)]


def style_of(dataset: Path, ending: str | None = None) -> LabelStyle:
    """The style in which the strokes of a data set were drawn, as its conversion recorded it.

    Without a record, NIfTI or PNG with the values of dataset.json.

    Args:
        ending: another one than the user's, such as ``.seg.nrrd``.
    """
    drawn = read_drawn_labels(dataset)
    segments = {name: name for name in drawn.mapping.names}
    if drawn.files and is_segmentation(drawn.files[0]):
        segments, own = drawn.segment_of, ENDING
    else:
        own = file_ending_of(drawn.files[0]) if drawn.files else ""
        own = own if own in VOLUMES | {".nii", ".png", ".tif", ".tiff"} else ""
    return LabelStyle(ending or own, drawn.mapping, segments, drawn.pictures == COLOUR)


def ring_mm(place: Place, spacing_mm: Sequence[float]) -> float:
    """Radius of the circle to mark a place with."""
    side = min(spacing_mm)
    return float(np.clip(place.radius_mm + 2 * side, SMALLEST_RING * side, LARGEST_RING * side))


def _ring(place: Place, shape: Sequence[int], spacing_mm: Sequence[float]) -> np.ndarray:
    """A circle around a place, bool (rows, columns), about one voxel wide."""
    radius = ring_mm(place, spacing_mm)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    away = np.hypot(
        (rows - place.index[1]) * spacing_mm[0], (columns - place.index[2]) * spacing_mm[1]
    )
    return np.abs(away - radius) <= 0.6 * max(spacing_mm)


def name_of(number: int, place: Place) -> str:
    """``look 3: RV or background?``, for lists of segments and labels."""
    question = f"{place.predicted} or {place.alternative}?" if place.predicted else "new kind"
    return f"{LOOK}{number}: {question}"


def write_starting_layer(
    style: LabelStyle,
    labels: LabelSet,
    image: sitk.Image,
    plane: DisplayPlane,
    strokes: np.ndarray | None,
    predicted: np.ndarray,
    places: Sequence[tuple[int, Place]],
    target: Path,
) -> tuple[Path, dict[int, tuple[str, tuple[float, float, float]]]]:
    """Write the label file of one case.

    Args:
        strokes, predicted: labels of dataset.json (*spatial); no strokes: None.
        places: with their ranks.
        target: without ending.

    Returns:
        The file, and value to name and colour of what it may hold; nothing for 3D Slicer.
    """
    marks = []
    for _, place in places:
        mark = np.zeros(predicted.shape, bool)
        cut = mark[None] if plane.dimension == 2 else np.transpose(mark, plane.axes)
        cut[place.slice] = _ring(place, cut.shape[1:], plane.spacing_mm)  # a view of ``mark``
        marks.append(mark)
    names = [name_of(rank, place) for rank, place in places]
    ending = style.ending
    if plane.dimension == 2 and (ending not in NATURAL or style.colours):
        ending = ".png"
    if plane.dimension == 3 and (ending in NATURAL or not ending):
        ending = ".nii.gz"
    path = target.with_name(target.name + ending)
    drawn = np.zeros(predicted.shape, bool) if strokes is None else strokes != labels.ignore
    if ending == ENDING:
        _write_segments(style, labels, image, strokes, drawn, predicted, names, marks, path)
        return path, {}
    legend: dict[int, tuple[str, tuple[float, float, float]]] = {}
    mapping = style.mapping
    as_drawn = {own: value for value, own in style.aliases.items()}
    of_classes, of_marks = style.other_values([*labels.classes], len(marks))
    values = np.full(predicted.shape, style.unlabelled if style.colours else 0, np.int32)
    for value, (name, own) in zip(of_classes, labels.classes.items(), strict=True):
        values[np.isin(predicted, own)] = value
        legend[value] = f"{PREDICTION}{name}", _lighter(colour_of(own[0]))
    for value, name, mark in zip(of_marks, names, marks, strict=True):
        values[mark] = value
        legend[value] = name, MARK
    if drawn.any():
        own = mapping.restore(strokes[drawn])
        values[drawn] = np.where(own == 0, as_drawn.get(0, 0), own)
    for name, label in mapping.labels.items():
        if name in mapping.classes:
            own = mapping.classes[name][0]
            legend[as_drawn.get(own, own)] = name, colour_of(label)
    if style.colours:
        save_image(picture_of(values), path)
    else:
        write_labels(values, image, path)
    return path, legend


def _lighter(colour: Sequence[float]) -> tuple[float, float, float]:
    return tuple(0.5 + 0.5 * part for part in colour)


def _write_segments(
    style: LabelStyle,
    labels: LabelSet,
    image: sitk.Image,
    strokes: np.ndarray | None,
    drawn: np.ndarray,
    predicted: np.ndarray,
    names: Sequence[str],
    marks: Sequence[np.ndarray],
    path: Path,
) -> None:
    """Strokes, predictions and marks in a layer each, so that a stroke hides nothing."""
    segments = []
    for name, own in {BACKGROUND: (0,), **labels.classes}.items():
        mask = drawn & np.isin(strokes, own) if drawn.any() else drawn
        segments.append(NewSegment(style.segments.get(name, name), colour_of(own[0]), mask))
    for name, own in labels.classes.items():
        mask = np.isin(predicted, own)
        segments.append(NewSegment(f"{PREDICTION}{name}", _lighter(colour_of(own[0])), mask, 1))
    for name, mark in zip(names, marks, strict=True):
        segments.append(NewSegment(name, MARK, mark, 2))
    write_segmentation(segments, image, path)


def write_legends(
    legend: Mapping[int, tuple[str, tuple[float, float, float]]],
    style: LabelStyle,
    files: Sequence[Path],
    folder: Path,
) -> None:
    """Write what the values mean: for ITK-SNAP, or as a table of colours; and for `--update`.

    Args:
        files: that `write_starting_layer` wrote.
    """
    other = sorted(v for v, (name, _) in legend.items() if name.startswith((PREDICTION, LOOK)))
    # ranks differ from case to case, and the file is for all of them
    looks = [value for value in other if legend[value][0].startswith(LOOK)]
    shared = {**legend, **{v: (f"{LOOK}here {k}", MARK) for k, v in enumerate(looks, 1)}}
    beside = NotStrokes(
        tuple(other),
        aliases=style.aliases if legend else {},
        names={value: shared[value][0] for value in other},
    )
    reading = LabelReading(pictures=COLOUR if style.colours else GREY)
    # read back, as strokes and marks hide parts of a prediction in label maps
    voxels = {stem_of(path): beside.among(count_voxels(path, reading)[0]) for path in files}
    replace(beside, voxels=voxels).write(folder)
    if legend:
        if style.colours:
            rows = [
                {"colour": word_of(value), "name": name}
                for value, (name, _) in sorted(shared.items())
            ]
            write_csv(rows, folder / COLOURS, ("colour", "name"))
        else:
            write_label_description(shared, folder / DESCRIPTION)
