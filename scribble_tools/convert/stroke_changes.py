"""Strokes drawn again: reading them as the first ones, merging, and counting what changed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

import numpy as np
import SimpleITK as sitk

from scribble_tools.convert.folder_labels import name_colours
from scribble_tools.convert.label_words import values_of_classes
from scribble_tools.convert.pairing import ONE_FILE
from scribble_tools.convert.swapped import fills_as_unlabelled
from scribble_tools.dataset.drawn_labels import DrawnLabels
from scribble_tools.dataset.label_mapping import BACKGROUND, LabelMapping
from scribble_tools.dataset.not_strokes import PREDICTION, NotStrokes, read_not_strokes
from scribble_tools.images.file_kind import normal_form
from scribble_tools.images.label_files import GridRules, read_on_grid
from scribble_tools.images.picture_labels import parse_colour
from scribble_tools.images.segmentation_files import (
    AS_THEY_ARE,
    COLOUR,
    GREY,
    LabelReading,
    read_labels,
    show_values,
)
from scribble_tools.images.slicer_segmentation import (
    OVERLAPS,
    count_segment_voxels,
    is_segmentation,
    read_segments_on_grid,
    stem_of,
)
from scribble_tools.wording import counted


@dataclass(frozen=True)
class UpdateOptions:
    """How new strokes go into a data set.

    Attributes:
        labels: ``NAME=VALUE[,VALUE]`` of label maps, where the first files had names only.
        unlabelled: further values, or segment names, that are no strokes.
        erase: take away earlier strokes that the new files lack.
        exclude: shell patterns of files to pass over.
        overlaps: see `read_segments_on_grid`.
        rules: what to do with label files on another grid than the image's.
        reading: of label files: NaN, palettes.
        not_swapped: background and unlabelled are as said, though they look exchanged.
        not_mixed_up: files are of the cases that their names say, see `mixed_up`.
        num_threads: readers side by side.
    """

    unlabelled: Sequence[str] = ()
    labels: Sequence[str] = ()
    erase: bool = False
    exclude: Sequence[str] = ()
    overlaps: str = OVERLAPS[0]
    rules: GridRules = field(default_factory=GridRules)
    reading: LabelReading = AS_THEY_ARE
    not_swapped: bool = False
    not_mixed_up: bool = False
    num_threads: int = 2


@dataclass(frozen=True)
class ClassChange:
    """What became of the voxels of one class in one case.

    Attributes:
        added: that had no stroke before.
        recoloured: that were of another class.
        gone: that are of another class now, or of none.
    """

    case: str
    name: str
    before: int
    added: int
    recoloured: int
    gone: int
    after: int


def merge(
    earlier: np.ndarray, new: np.ndarray, ignore: int, erase: bool = False
) -> tuple[np.ndarray, int]:
    """Labels (*spatial) with new strokes over the earlier ones, and how many of these were kept.

    Args:
        ignore: value of voxels without stroke.
        erase: the new labels alone count.
    """
    missing = (new == ignore) & (earlier != ignore)
    if erase:
        return new, 0
    return np.where(missing, earlier, new), int(missing.sum())


def count_changes(
    case: str, before: np.ndarray, after: np.ndarray, names: Mapping[str, int], ignore: int
) -> list[ClassChange]:
    """What became of every class, of those that changed."""
    rows = []
    for name, value in names.items():
        old, now = before == value, after == value
        if value == ignore or (old == now).all():
            continue
        rows.append(
            ClassChange(
                case,
                name,
                int(old.sum()),
                int((now & (before == ignore)).sum()),
                int((now & (before != ignore) & ~old).sum()),
                int((old & ~now).sum()),
                int(now.sum()),
            )
        )
    return rows


class StrokeReader:
    """Reads label files that were drawn as the data set's first ones.

    Args:
        drawn: how those were drawn.
        folder: of the files, with what `suggest` says of them.

    Attributes:
        passed_over: by file, what was drawn with labels of `suggest`'s, which are no strokes.

    Raises:
        ValueError: see `read_not_strokes` and `_own_values`.
    """

    def __init__(self, drawn: DrawnLabels, folder: Path, options: UpdateOptions) -> None:
        beside = read_not_strokes(folder)
        # `suggest` wrote values of its own, which it lists
        unknown = drawn.by_name and not beside.aliases
        reading = options.reading
        if reading.pictures == GREY:
            colours = unknown and name_colours(options.labels, options.unlabelled)
            reading = replace(reading, pictures=COLOUR if colours else drawn.pictures)
        value_of = parse_colour if reading.pictures == COLOUR else _number
        said = {v for word in options.unlabelled if (v := value_of(word)) is not None}
        said |= {reading.nan} - {None}
        self._drawn, self._options, self._reading = drawn, options, reading
        self._unexplained = unknown and not options.labels
        # the background's value that is called unlabelled: 0 where 0 was background
        moved = {*drawn.mapping.classes[BACKGROUND]} & said
        self._moved = [] if beside.aliases else sorted(moved)
        own = _own_values(drawn, options, reading, unknown or bool(self._moved))
        self._in_files = _in_files(own, beside, said)
        self._unlabelled_names = {*map(normal_form, options.unlabelled)}
        # what the user calls unlabelled is passed over on purpose
        values = tuple(sorted({*beside.values} & {*self._in_files.unlabelled} - said))
        self._beside = replace(beside, values=values)
        self.passed_over: dict[Path, str] = {}
        self._looks: dict[Path, tuple[int, float] | None] = {}

    def read(self, path: Path, image: sitk.Image, image_path: Path | None = None) -> np.ndarray:
        """Labels of the data set (*spatial) on the grid of ``image``.

        Raises:
            FileNotFoundError, ValueError: no such file, or it holds what nobody explained.
        """
        rules = self._options.rules
        if is_segmentation(path):
            mapping = self._drawn.mapping
            label_of = dict(self._drawn.values_of_names) or {
                name: own[0] for name, own in mapping.classes.items()
            }
            found = read_segments_on_grid(
                path,
                image,
                label_of,
                mapping.unlabelled[0],
                self._options.overlaps,
                image_path,
                rules,
                tuple(self._beside.segments),
                self._unlabelled_names,
            )
            if self._is_recorded(path):
                self._note_drawn(path, count_segment_voxels(path)[0])
            return mapping.apply(found)
        if self._unexplained:
            raise ValueError(_what_values_mean(self._drawn))
        outside = self._in_files.unlabelled[0]
        found = read_on_grid(path, image, image_path, rules, outside, self._reading)
        self._refuse_half_exchanged(found)
        labels = self._in_files.apply(found, self._word)
        self._looks[path] = self._how_swapped(found, labels, image)
        if self._is_recorded(path):
            values = self._beside.values
            self._note_drawn(path, {v: int(np.count_nonzero(found == v)) for v in values})
        return labels

    def is_undrawn(self, path: Path) -> bool:
        """Whether `suggest` wrote this file, and nothing that counts was drawn into it since.

        What cannot be read is for `read` to refuse.
        """
        if stem_of(path) not in self._beside.voxels:
            return False
        try:
            if is_segmentation(path):
                counts = {name: n for name, n in count_segment_voxels(path)[0].items() if n}
                drawn = counts.keys() - self._beside.among(counts).keys() - self._unlabelled_names
            else:
                values, voxels = np.unique(read_labels(path, self._reading)[0], return_counts=True)
                counts = dict(zip(values.tolist(), voxels.tolist(), strict=True))
                drawn = counts.keys() - {*self._in_files.unlabelled}
        except (OSError, ValueError):
            return False
        if not drawn and self._is_recorded(path):
            self._note_drawn(path, counts)
        return not drawn

    def _is_recorded(self, path: Path) -> bool:
        """Whether it is known what `suggest` wrote; of another grid the voxels are others."""
        return stem_of(path) in self._beside.voxels and not self._options.rules.resample

    def _note_drawn(self, path: Path, counts: Mapping[int | str, int]) -> None:
        written = self._beside.voxels[stem_of(path)]
        notes = []
        for word, voxels in self._beside.among(counts).items():
            if (more := voxels - written.get(word, 0)) > 0:
                notes.append(
                    f"{counted(more, 'voxel was', 'voxels were')} drawn {self._with(word)}"
                )
        if notes:
            self.passed_over[path] = "; ".join(notes)

    def _with(self, word: str) -> str:
        """With which label of `suggest`'s, and with which it should be, of a prediction."""
        is_value = word.isdecimal() and int(word) in self._beside.values
        name = self._beside.names.get(int(word), "") if is_value else word
        shown = f"'{name}' ({self._word(int(word))})" if is_value else f"'{name}'"
        kind = name.removeprefix(PREDICTION)
        if is_value:
            own = self._in_files.classes.get(kind)
            instead = self._word(own[0]) if own else ""
        else:
            instead = f"'{self._drawn.segment_of.get(kind, kind)}'" * (kind != name)
        return f"with {shown}" + f": draw with {instead}" * bool(instead)

    def _how_swapped(
        self, found: np.ndarray, labels: np.ndarray, image: sitk.Image
    ) -> tuple[int, float] | None:
        """The background's value in a file that it fills as unlabelled does, and its share."""
        # of ``labels``: in ``found`` are predictions besides the strokes, which are not thin
        few = 2 * np.count_nonzero(labels == 0) <= labels.size
        if few or not (looks := fills_as_unlabelled(labels, image, (0,))):
            return None
        own = self._in_files.classes[BACKGROUND]
        return max(own, key=lambda value: np.count_nonzero(found == value)), looks[1]

    def _refuse_half_exchanged(self, found: np.ndarray) -> None:
        """Refuse values of which background became unlabelled, but unlabelled nothing else."""
        if not self._moved or self._options.labels or self._options.not_swapped:
            return
        if self._in_files.classes[BACKGROUND]:  # another value of it is left
            return
        fills = np.count_nonzero(found == self._moved[0])  # as unlabelled does
        was = [v for v in self._drawn.mapping.unlabelled if v not in self._moved]
        if there := [v for v in was if 0 < np.count_nonzero(found == v) < fills]:
            now, other = self._word(self._moved[0]), self._word(there[0])
            rest = [
                quote(f"{name}={','.join(map(self._word, values))}")
                for name, values in self._in_files.classes.items()
                if name != BACKGROUND and values
            ]
            raise ValueError(
                f"holds {other}, unlabelled in the first files, beside {now}, which is unlabelled "
                f"now. Is {other} background here? Then say --labels "
                f"{' '.join([quote(f'{BACKGROUND}={other}'), *rest])} --unlabelled {quote(now)}; "
                "if both are unlabelled, --not-swapped"
            )

    def problems(self) -> list[str]:
        """What most of the files that were read look like, if that cannot be right."""
        swapped = [(path, looks) for path, looks in self._looks.items() if looks]
        # where the new files' values are said to be others, each is to have these
        enough = 1 if self._moved else len(self._looks) // 2 + 1
        if self._options.not_swapped or len(swapped) < enough:
            return []
        path, (value, share) = min(swapped)
        word = self._word(value)
        return [
            f"{path}: are background and unlabelled swapped? {word}, which is background in this "
            f"data set, fills {share:.1%} of the file around thin strokes, as unlabelled does. If "
            f"it is unlabelled here, say --unlabelled {shlex.quote(word)}; if it is background, "
            "--not-swapped"
        ]

    def _word(self, value: int) -> str:
        return show_values([value], self._reading)[0]


def _number(word: str) -> int | None:
    return int(word) if re.fullmatch(r"\d+", word) else None


def _own_values(
    drawn: DrawnLabels, options: UpdateOptions, reading: LabelReading, unknown: bool
) -> LabelMapping:
    """The user's own values of label maps.

    Args:
        unknown: nobody has said any, or others are said to be unlabelled, so that ``options`` may.

    Raises:
        ValueError: these say what is known, or what cannot be.
    """
    if not options.labels:
        return drawn.mapping
    if not unknown:
        raise ValueError("--update keeps what the data set says: leave out --labels")
    try:
        return values_of_classes(drawn.mapping.names, options.labels, options.unlabelled, reading)
    except ValueError as error:
        raise ValueError(
            f"--labels: {error}. Files .seg.nrrd of 3D Slicer need none here"
        ) from None


def _what_values_mean(drawn: DrawnLabels) -> str:
    """A question: the values of dataset.json, or of a `.seg.nrrd`, would exchange the classes."""
    words = " ".join(quote(f"{name}=VALUE") for name in drawn.mapping.names)
    segments = ", ".join(drawn.segment_of.values())
    return (
        "is a label map, but the data set was drawn by names, so that it keeps these and no "
        f"values. Say what the values mean: --labels {words} --unlabelled VALUE. Or save the file "
        f"as a segmentation of 3D Slicer (.seg.nrrd) with the segments {segments}. Is it a mask? "
        f"{ONE_FILE}"
    )


def _in_files(mapping: LabelMapping, beside: NotStrokes, said: Collection[int]) -> LabelMapping:
    """The mapping of the values that the files hold, so that messages show these.

    Args:
        mapping: of the user's own values, for which `suggest` may have put others.
        said: values that the user calls unlabelled now, whatever they are in ``mapping``.
    """

    def there(own: Sequence[int]) -> list[int]:
        found = [value for value, meant in beside.aliases.items() if meant in own]
        return [v for v in (*found, *(v for v in own if v not in beside.aliases)) if v not in said]

    classes = {name: tuple(there(own)) for name, own in mapping.classes.items()}
    # where the strokes' own values are in the list, it belongs to other files
    taken = {*beside.aliases, *(v for own in classes.values() for v in own)}
    others = sorted({*said} | {*beside.values} - taken)
    return LabelMapping(classes, tuple(dict.fromkeys([*there(mapping.unlabelled), *others])))
