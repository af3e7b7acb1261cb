"""What a user says about label files, against what the files hold: a mapping, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.convert.label_survey import SEGMENT, LabelSurvey
from scribble_tools.convert.pairing import DENSE, SCRIBBLE
from scribble_tools.dataset.label_mapping import BACKGROUND, LabelMapping
from scribble_tools.images.file_kind import NATURAL, file_ending_of
from scribble_tools.images.label_files import GridMismatch, read_on_grid
from scribble_tools.images.slicer_segmentation import OVERLAPS, read_segments_on_grid

BACKGROUND_STROKES = (
    f"{BACKGROUND} means strokes on what is no organ, with a label of their own; voxels without a "
    'stroke are unlabelled, not background. See docs/tutorial.md, section 3, "Which strokes"'
)


@dataclass(frozen=True)
class LabelFiles:
    """The label files of one role, and what the user says about them.

    Attributes:
        role: `SCRIBBLE` or `DENSE`.
        survey: what they hold.
        words: ``NAME=VALUE[,VALUE]``, such as ``background=5`` or ``RV=Right ventricle``: values,
            names of ITK-SNAP's description or segments of 3D Slicer.
        unlabelled: values or names; what lies in no segment is unlabelled anyway.
        names: ITK-SNAP's label names and their values.
        resample: bring files on another grid to the image's.
        overlaps: see `read_segments_on_grid`.
    """

    role: str
    survey: LabelSurvey
    words: Sequence[str]
    unlabelled: Sequence[str] = ()
    names: Mapping[str, int] | None = None
    resample: bool = False
    overlaps: str = OVERLAPS[0]

    def refusal(self, problem: str) -> ValueError:
        """The error that shows what was seen, and in which form to say what it means."""
        names = self.names or {}
        form = "SEGMENT" if self.survey.kind == SEGMENT else "VALUE"
        option = "--labels" if self.role == SCRIBBLE else "--dense-labels"
        has_background = any(word.startswith(f"{BACKGROUND}=") for word in self.words)
        return ValueError(
            f"{self.role} files: {problem}\n"
            f"seen in {self.survey.num_files} files:\n"
            f"{self.survey.table({value: name for name, value in names.items()})}\n"
            f"say what each means, in the form\n  {option} {BACKGROUND}={form} "
            f"NAME={form}[,{form}] ..."
            + " --unlabelled VALUE [VALUE ...]"
            * (self.role == SCRIBBLE and self.survey.kind != SEGMENT)
            + f"\n{BACKGROUND_STROKES}" * (self.role == SCRIBBLE and not has_background)
        )


def _classes(files: LabelFiles, order: Sequence[str]) -> dict[str, list[str]]:
    """Class name to its values or names, background first, then as said or as in ``order``."""
    known = [str(what) for what in files.survey.voxels] + list(files.names or ())
    classes: dict[str, list[str]] = {}
    for word in files.words:
        name, _, text = word.partition("=")
        if not name or not text:
            raise ValueError(f"label {word!r}: write NAME=VALUE or NAME=VALUE,VALUE")
        if name in classes:
            raise ValueError(f"label {word!r}: {name} stands twice, write {name}=VALUE,VALUE")
        # names may hold commas
        classes[name] = [text] if text in known else text.split(",")
    if files.role == DENSE and files.survey.kind == SEGMENT:
        classes.setdefault(BACKGROUND, [])  # what lies in no segment
    order = order or (BACKGROUND, *(name for name in classes if name != BACKGROUND))
    if different := set(order) ^ set(classes):
        problem = f"{', '.join(sorted(different))} must be named for scribbles and dense labels"
        if BACKGROUND in different:
            problem = f"no {BACKGROUND}"
        raise ValueError(problem)
    return {name: classes[name] for name in order}


def _value_mapping(files: LabelFiles, order: Sequence[str]) -> LabelMapping:
    def value_of(word: str) -> int:
        if files.names and word in files.names:
            return files.names[word]
        try:
            return int(word)
        except ValueError:
            what = "a value or a name of the description"
            if files.names is None:
                what = "a value (names of ITK-SNAP need --label-description)"
            raise ValueError(f"{word!r} is not {what}") from None

    classes = {name: tuple(map(value_of, words)) for name, words in _classes(files, order).items()}
    mapping = LabelMapping(classes, tuple(map(value_of, files.unlabelled)))
    if files.role == SCRIBBLE and not mapping.unlabelled:
        raise ValueError("no value is said to mean unlabelled")
    mapped = {value for values in classes.values() for value in values} | {*mapping.unlabelled}
    if unknown := sorted(set(files.survey.voxels) - mapped):
        raise ValueError(
            f"the values {unknown} are not mapped ({mapping.describe()})"
            + files.survey.named_files(unknown)
        )
    return mapping


def _segment_labels(files: LabelFiles, order: Sequence[str]) -> tuple[LabelMapping, dict[str, int]]:
    """A mapping that keeps nnU-Net's labels, and the label of every segment name."""
    classes = _classes(files, order)
    unlabelled = (len(classes),) if files.role == SCRIBBLE else ()
    mapping = LabelMapping({name: (k,) for k, name in enumerate(classes)}, unlabelled)
    label_of: dict[str, int] = {}
    for label, names in enumerate([*classes.values(), *[list(files.unlabelled)] * len(unlabelled)]):
        for name in names:
            if name in label_of:
                raise ValueError(f"the segment {name!r} stands more than once")
            label_of[name] = label
    present = {name for name in files.survey.voxels if files.survey.voxels[name]}
    if unknown := sorted(present - set(label_of)):
        raise ValueError(
            f"the segments {', '.join(unknown)} are not mapped (said: {', '.join(label_of)})"
            + files.survey.named_files(unknown)
        )
    if files.role == SCRIBBLE:
        # in dense references a class, and the background anyway, may go without a segment
        for name, segments in classes.items():
            if not present & set(segments):
                raise ValueError(f"no file has a segment {' or '.join(segments)} for {name}")
    return mapping, label_of


def interpret_labels(
    files: LabelFiles, order: Sequence[str] = ()
) -> tuple[LabelMapping, Callable[[Path, sitk.Image], np.ndarray], dict[str, int]]:
    """Turn a user's words into a mapping and a reader of these files.

    Args:
        order: class names in the order of the labels, which dense labels take from the scribbles.

    Returns:
        The mapping, ``(path, image) -> source values (*spatial)``, and the values of source names.

    Raises:
        ValueError: files cannot be read, or the words do not cover what the files hold; the
            message shows that.
    """
    if files.survey.problems:
        raise ValueError(
            f"{len(files.survey.problems)} {files.role} files cannot be used:\n"
            + "\n".join(files.survey.problems)
        )
    if not files.words:
        raise files.refusal("nothing says what their labels mean")
    by_segment = files.survey.kind == SEGMENT
    try:
        if by_segment:
            mapping, value_of = _segment_labels(files, order)
        else:
            mapping, value_of = _value_mapping(files, order), dict(files.names or {})
    except ValueError as error:
        raise files.refusal(str(error)) from None
    outside = (mapping.unlabelled or mapping.classes[BACKGROUND])[0]
    overlaps = files.overlaps
    if files.role == DENSE and overlaps == "ignore":
        overlaps = "refuse"  # a dense reference has no unlabelled voxels

    def read(path: Path, image: sitk.Image) -> np.ndarray:
        try:
            if by_segment:
                return read_segments_on_grid(
                    path, image, value_of, outside, overlaps, files.resample
                )
            return read_on_grid(path, image, files.resample, outside)
        except GridMismatch as error:
            if files.resample or file_ending_of(path) in NATURAL:
                raise
            raise GridMismatch(
                f"{error}. Are they a pair? Only if the strokes were drawn on another grid of the "
                "same scan, say --resample to bring them to the image's"
            ) from None

    return mapping, read, value_of
