"""What a user says about label files, against what the files hold: a mapping, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

import numpy as np
import SimpleITK as sitk

from scribble_tools.convert.label_survey import MASK, SEGMENT, VALUE, LabelSurvey
from scribble_tools.convert.masks import MaskFiles, MaskReader
from scribble_tools.convert.pairing import DENSE, SCRIBBLE
from scribble_tools.dataset.label_mapping import BACKGROUND, MANY, LabelMapping
from scribble_tools.images.file_kind import normal_form
from scribble_tools.images.label_files import GridRules, read_on_grid
from scribble_tools.images.mismatches import GridMismatch
from scribble_tools.images.picture_labels import parse_colour
from scribble_tools.images.segmentation_files import COLOUR, LabelReading
from scribble_tools.images.slicer_segmentation import OVERLAPS, read_segments_on_grid
from scribble_tools.wording import counted, some_of

SHOWN = 10  # of many values
# (label file, image, the image's file) -> source values (*spatial) on the image's grid
LabelReader = Callable[[Path, sitk.Image, Path], np.ndarray]
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
            names of ITK-SNAP's description, colours, segments of 3D Slicer or patterns of masks.
        unlabelled: values or names; what lies in no segment or mask is unlabelled anyway.
        names: ITK-SNAP's label names and their values, or names of colours.
        rules: what to do with files on another grid than their image's.
        overlaps: see `read_segments_on_grid`.
        masks: the masks of each class, where ``words`` are patterns.
    """

    role: str
    survey: LabelSurvey
    words: Sequence[str]
    unlabelled: Sequence[str] = ()
    names: Mapping[str, int] | None = None
    rules: GridRules = field(default_factory=GridRules)
    overlaps: str = OVERLAPS[0]
    masks: MaskFiles | None = None

    def refusal(self, problem: str) -> ValueError:
        """The error that shows what was seen, and in which form to say what it means."""
        names = self.names or {}
        form = {SEGMENT: "SEGMENT", MASK: "PATTERN"}.get(self.survey.kind, "VALUE")
        if self.survey.reading.pictures == COLOUR:
            form = "'#COLOUR'"
        option = "--labels" if self.role == SCRIBBLE else "--dense-labels"
        if odd := self.survey.odd_files:
            number = counted(len(self.survey.voxels), "different value")
            return ValueError(
                f"{self.role} files: {problem}\n{counted(self.survey.num_files, 'file')} with "
                f"{number}; those with more than {MANY}: {some_of([*map(str, odd)])}. A "
                "soft brush, smoothing, resampling or JPEG makes values between those that were "
                "drawn: draw without, save as PNG. Or is it an image?"
            )
        if self.survey.many:
            return ValueError(
                f"{self.role} files: {problem}\n{counted(self.survey.num_files, 'file')} with "
                f"{len(self.survey.voxels)} different values. So many are no labels, as a rule: "
                "are these images? A soft brush, smoothing or JPEG makes as many, too: draw "
                "without, save as PNG. `scribble_tools inspect` shows what a folder holds"
            )
        has_background = any(word.startswith(f"{BACKGROUND}=") for word in self.words)
        return ValueError(
            f"{self.role} files: {problem}\n"
            f"seen in {counted(self.survey.num_files, 'file')}:\n"
            f"{self.survey.table({value: name for name, value in names.items()})}\n"
            f"say what each means, in the form\n  {option} {BACKGROUND}={form} "
            f"NAME={form}[,{form}] ..."
            + " --unlabelled VALUE [VALUE ...]"
            * (self.role == SCRIBBLE and self.survey.kind not in (SEGMENT, MASK))
            + f"\n{BACKGROUND_STROKES}" * (self.role == SCRIBBLE and not has_background)
        )


def _class_of(word: str) -> str:
    """The name in ``NAME=VALUE``."""
    return normal_form(word).partition("=")[0]


def _classes(files: LabelFiles, order: Sequence[str]) -> dict[str, list[str]]:
    """Class name to its values or names, background first, then as said or as in ``order``."""
    known = [str(what) for what in files.survey.voxels] + list(files.names or ())
    classes: dict[str, list[str]] = {}
    for word in map(normal_form, files.words):
        name, _, text = word.partition("=")
        if not name or not text:
            raise ValueError(f"label {word!r}: write NAME=VALUE or NAME=VALUE,VALUE")
        if name in classes:
            raise ValueError(f"label {word!r}: {name} stands twice, write {name}=VALUE,VALUE")
        # names may hold commas
        classes[name] = [text] if text in known else text.split(",")
    if files.role == DENSE and files.survey.kind in (SEGMENT, MASK):
        classes.setdefault(BACKGROUND, [])  # what lies in no segment
    order = order or (BACKGROUND, *(name for name in classes if name != BACKGROUND))
    if different := set(order) ^ set(classes):
        problem = f"{', '.join(sorted(different))} must be named for scribbles and dense labels"
        if files.role == SCRIBBLE:
            problem = f"the data set has the classes {', '.join(order)}: name these, and no others"
        if BACKGROUND in different:
            problem = f"no {BACKGROUND}"
        raise ValueError(problem)
    return {name: classes[name] for name in order}


def _fills_most(survey: LabelSurvey) -> str:
    """Which value unlabelled may be, as a question."""
    ((value, voxels),) = survey.voxels.most_common(1) or [("", 0)]
    if 2 * voxels <= survey.total:
        return ""
    shown = survey.shown(value)
    share = f"{voxels / survey.total:.1%}"
    return (
        f". Is {shown} what nobody drew? It fills {share} of the files: --unlabelled {quote(shown)}"
    )


def _value_mapping(files: LabelFiles, order: Sequence[str]) -> LabelMapping:
    in_colours = files.survey.reading.pictures == COLOUR

    def value_of(word: str) -> int:
        word = normal_form(word)
        if files.names and word in files.names:
            return files.names[word]
        if in_colours and (code := parse_colour(word)) is not None:
            return code
        try:
            if in_colours:
                raise ValueError
            return int(word)
        except ValueError:
            what = "a value" + " or a name of the description" * bool(files.names)
            if in_colours:
                what = "a colour such as '#ff8000' or transparent"
            elif files.names is None:
                what = "a value (names of ITK-SNAP need --label-description)"
            raise ValueError(f"{word!r} is not {what}") from None

    classes = {name: tuple(map(value_of, words)) for name, words in _classes(files, order).items()}
    nan = [files.survey.reading.nan] * (files.survey.reading.nan is not None)
    unlabelled = (*map(value_of, files.unlabelled), *nan) if files.role == SCRIBBLE else ()
    mapping = LabelMapping(classes, unlabelled)
    if files.role == SCRIBBLE and not mapping.unlabelled:
        remedy = _fills_most(files.survey) or ": say --unlabelled VALUE"
        raise ValueError(f"no value is said to mean unlabelled{remedy}")
    mapped = {value for values in classes.values() for value in values} | {*mapping.unlabelled}
    if unknown := sorted(set(files.survey.voxels) - mapped):
        many = files.survey.many
        shown = [files.survey.shown(value) for value in unknown]
        if many and len(shown) > SHOWN:
            shown[SHOWN:] = [f"and {len(shown) - SHOWN} more"]
        raise ValueError(
            f"the {'colours' if in_colours else 'values'} [{', '.join(shown)}] are not mapped "
            f"({' '.join(files.words)}{' unlabelled=' * bool(files.unlabelled)}"
            f"{','.join(files.unlabelled)})"
            + _read_otherwise(files, classes)
            + _greys_in_words(files, unknown) * in_colours
            + ("" if many else files.survey.named_files(unknown))
        )
    return mapping


def values_of_classes(
    names: Sequence[str], words: Sequence[str], unlabelled: Sequence[str], reading: LabelReading
) -> LabelMapping:
    """What ``words`` say of the values of scribbles, for classes that are there already.

    Args:
        names: of these classes.

    Raises:
        ValueError: the words are no values, or not of all these classes.
    """
    survey = LabelSurvey(VALUE, 0, reading=reading)
    # names of a description are for a first conversion
    return _value_mapping(LabelFiles(SCRIBBLE, survey, words, unlabelled, names={}), names)


def _read_otherwise(files: LabelFiles, classes: Mapping[str, Sequence[int]]) -> str:
    """What the scribbles' numbers make of other values of dense files, which may mean others."""
    read = [
        f"{files.survey.shown(value)} is read as {name}"
        for name, values in classes.items()
        for value in values
        if value in files.survey.voxels
    ]
    return f", and {', '.join(read)}" if read and files.role == DENSE else ""


def _greys_in_words(files: LabelFiles, codes: Sequence[int]) -> str:
    """That colours of dense files are greys, which are said as numbers; nothing of others."""
    greys = [code & 255 for code in codes]
    if files.role != DENSE or [grey * 0x010101 for grey in greys] != [*codes]:
        return ""
    words = [f"{'NAME' if grey else BACKGROUND}={grey}" for grey in greys]
    return f". These are greys: say them as numbers, --dense-labels {' '.join(words)}"


def _names_of_values(files: LabelFiles, words: Sequence[str]) -> list[str]:
    """Segment names for words that may be values, where all files give a value the same name.

    Raises:
        ValueError: files give a value different names.
    """
    names = []
    for word in map(normal_form, words):
        own = files.survey.names_of_value.get(int(word), {}) if word.isdecimal() else {}
        if word in files.survey.voxels or not own:
            names.append(word)
            continue
        if len(own) > 1:
            seen = " and ".join(f"{name} in {path}" for name, path in own.items())
            raise ValueError(
                f"the value {word} is {seen}: these are segmentations of 3D Slicer, whose values "
                "may change from file to file. Name the segments, not their values"
            )
        names += own
    return names


def _segment_labels(files: LabelFiles, order: Sequence[str]) -> tuple[LabelMapping, dict[str, int]]:
    """A mapping that keeps nnU-Net's labels, and segment or mask names to labels, as said."""
    classes = _classes(files, order)
    if files.survey.kind == MASK:
        classes = {name: [name] if patterns else [] for name, patterns in classes.items()}
    else:
        classes = {name: _names_of_values(files, words) for name, words in classes.items()}
    unlabelled = (len(classes),) if files.role == SCRIBBLE else ()
    mapping = LabelMapping({name: (k,) for k, name in enumerate(classes)}, unlabelled)
    label_of: dict[str, int] = {}
    others = _names_of_values(files, files.unlabelled)
    if files.survey.kind == SEGMENT:
        # a value of no segment is what lies in none, as --unlabelled 0 says of label maps
        others = [name for name in others if not name.isdecimal() or name in files.survey.voxels]
    elif others:
        raise ValueError("what lies in no mask is unlabelled: leave out --unlabelled")
    labels = {name: label for label, name in enumerate(classes)}
    # --overlaps first goes by the words, wherever the background stands among them
    in_order = [(labels[name], classes[name]) for name in map(_class_of, files.words)]
    for label, names in [*in_order, *((len(classes), others) for _ in unlabelled)]:
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
                raise ValueError(
                    f"no file has a {files.survey.kind} {' or '.join(segments)} for {name}"
                )
    return mapping, label_of


def interpret_labels(
    files: LabelFiles, order: Sequence[str] = ()
) -> tuple[LabelMapping, LabelReader, dict[str, int]]:
    """Turn a user's words into a mapping and a reader of these files.

    Args:
        order: class names in the order of the labels, which dense labels take from the scribbles.

    Returns:
        The mapping, the reader, and the values of source names.

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
    by_name = files.survey.kind in (SEGMENT, MASK)
    try:
        if by_name:
            mapping, value_of = _segment_labels(files, order)
        else:
            mapping, value_of = _value_mapping(files, order), dict(files.names or {})
    except ValueError as error:
        raise files.refusal(str(error)) from None
    outside = (mapping.unlabelled or mapping.classes[BACKGROUND])[0]
    return mapping, _reader(files, value_of, outside), value_of


def grid_reader(files: LabelFiles) -> LabelReader:
    """A reader for whoever asks only whether files lie on their images' grids."""
    # what is lost by resampling, and where segments overlap, depends on what the labels mean
    rules = replace(files.rules, lose_strokes=True, kept=[], laid=[])
    files = replace(files, rules=rules, overlaps="first")
    return _reader(files, dict.fromkeys(files.survey.voxels, 1), 0)


def _reader(files: LabelFiles, value_of: Mapping[str, int], outside: int) -> LabelReader:
    overlaps, rules, reading = files.overlaps, files.rules, files.survey.reading
    if files.role == DENSE and overlaps == "ignore":
        overlaps = "refuse"  # a dense reference has no unlabelled voxels
    masks = None
    if files.masks is not None:
        firsts = files.masks.first_of_cases()
        of_first = {path: files.masks.files[case] for case, path in firsts.items()}
        masks = MaskReader(of_first, value_of, outside, overlaps, rules, reading)

    def read(path: Path, image: sitk.Image, image_path: Path) -> np.ndarray:
        try:
            if masks is not None:
                return masks(path, image, image_path)
            if files.survey.kind == SEGMENT:
                return read_segments_on_grid(
                    path, image, value_of, outside, overlaps, image_path, rules
                )
            return read_on_grid(path, image, image_path, rules, outside, reading)
        except GridMismatch as error:
            raise GridMismatch(f"{error}. {error.remedy}".rstrip(". ")) from None

    return read
