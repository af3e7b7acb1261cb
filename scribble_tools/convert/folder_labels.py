"""The label files of one role, scribbles or dense references, from the user's words to a reader."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.convert.folder_options import FolderOptions
from scribble_tools.convert.label_survey import LabelSurvey, survey_labels, survey_masks
from scribble_tools.convert.label_words import (
    LabelFiles,
    LabelReader,
    grid_reader,
    interpret_labels,
)
from scribble_tools.convert.masks import MaskFiles, find_masks, is_mask_pattern
from scribble_tools.convert.pairing import LISTED, SCRIBBLE, CaseFiles, Place
from scribble_tools.convert.swapped import refuse_renamed_background, refuse_swapped
from scribble_tools.dataset.label_mapping import MANY, LabelMapping
from scribble_tools.images.colour_tables import read_colour_table
from scribble_tools.images.file_kind import normal_form
from scribble_tools.images.image_io import read_image
from scribble_tools.images.itksnap_labels import read_label_description
from scribble_tools.images.label_files import GridRules, grid_remarks
from scribble_tools.images.mismatches import Mismatch
from scribble_tools.images.picture_labels import parse_colour
from scribble_tools.images.resampling import MOST_LOST
from scribble_tools.images.segmentation_files import COLOUR, GREY, INDEX, NAN_LABEL, LabelReading
from scribble_tools.wording import counted


def _mask_patterns(words: Sequence[str]) -> dict[str, list[str]]:
    """Class to the patterns of its masks; empty where the words name values.

    Raises:
        ValueError: some words are patterns and others are not.
    """
    said = {word: word.partition("=")[2] for word in words}
    patterns = {word for word, text in said.items() if is_mask_pattern(text)}
    if patterns and (others := sorted(set(said) - patterns)):
        raise ValueError(
            f"{', '.join(sorted(patterns))}: masks of a class, but {', '.join(others)}: a value. "
            "Name files for all classes, or for none"
        )
    return {w.partition("=")[0]: said[w].split(",") for w in words if w in patterns}


def name_colours(words: Sequence[str], unlabelled: Sequence[str]) -> bool:
    """Whether ``NAME=VALUE[,VALUE]``, or what is unlabelled, say colours."""
    values = [value for word in words for value in word.partition("=")[2].split(",")]
    return any(parse_colour(value) is not None for value in (*values, *unlabelled))


def _reading(
    role: str, words: Sequence[str], options: FolderOptions, colours: bool
) -> LabelReading:
    unlabelled = options.unlabelled if role == SCRIBBLE else ()
    pictures = INDEX if options.palette else GREY
    if colours or name_colours(words, unlabelled):
        pictures = COLOUR
        if options.palette:
            raise ValueError("--palette index takes numbers, not colours: leave one of them out")
    return LabelReading(NAN_LABEL if options.nan and role == SCRIBBLE else None, pictures)


@dataclass
class LabelRole:
    """What is said of the label files of one role, and what was found.

    Attributes:
        name: `SCRIBBLE` or `DENSE`.
        survey: what the files hold, after `look`.
    """

    name: str
    place: Place
    words: Sequence[str]
    options: FolderOptions
    names: Mapping[str, int] | None
    reading: LabelReading
    rules: GridRules
    masks: MaskFiles | None = None
    survey: LabelSurvey | None = None

    @classmethod
    def of(cls, name: str, place: Place, options: FolderOptions) -> LabelRole:
        """Find masks, where the words name any.

        Raises:
            FileNotFoundError, ValueError: see `find_masks`; words that contradict each other.
        """
        scribbles = name == SCRIBBLE
        words = options.labels if scribbles else options.dense_labels or options.labels
        names, colours = None, False
        if options.label_description is not None:
            names = read_colour_table(options.label_description)
            colours = names is not None
            names = names if colours else read_label_description(options.label_description)
            names = {normal_form(word): value for word, value in names.items()}
        reading = _reading(name, words, options, colours)
        rules = GridRules(
            options.geometry,
            options.resample,
            options.lose_strokes,
            MOST_LOST if scribbles else 1.0,
        )
        role = cls(name, place, words, options, names, reading, rules)
        if patterns := _mask_patterns(words):
            if place.pattern:
                raise ValueError(f"--{name}-pattern and masks in --labels: leave the former out")
            role.masks = find_masks(place, patterns, options.exclude)
            role.place = replace(
                place, found=role.masks.first_of_cases(), taken=role.masks.all_files()
            )
        return role

    def unused_masks(self, used: Collection[Path]) -> list[str]:
        """A problem where files beside the masks are no masks of any class, nor anything else."""
        unused = [path for path in self.masks.unused if path not in used] if self.masks else []
        if not unused:
            return []
        shown = "\n  ".join(map(str, unused[:LISTED]))
        more = f"\n  and {len(unused) - LISTED} more" * (len(unused) > LISTED)
        return [
            f"{counted(len(unused), 'file')} beside the masks without a pattern in --labels:\n"
            f"  {shown}{more}\n "
            "Name the class that they belong to, or leave them out (--exclude)"
        ]

    def look(self, cases: Mapping[str, CaseFiles], num_threads: int) -> list[str]:
        """Read all files once, and return what is wrong with them."""
        if self.masks is not None:
            self.survey = survey_masks(self.masks, self.reading, num_threads)
        else:
            paths = [path for files in cases.values() if (path := getattr(files, self.name))]
            title = f"{self.name} files"
            self.survey = survey_labels(paths, num_threads, title, self.reading)
        return self.survey.problems

    def exchanged(self, cases: Mapping[str, CaseFiles]) -> list[str]:
        """A question, where these files look like images, and an image like labels."""
        pairs = [
            (files.images[0], path)
            for files in cases.values()
            if (path := getattr(files, self.name))
        ]
        all_wrong = self.survey.many or len(self.survey.problems) >= self.survey.num_files
        if not pairs or not all_wrong:  # masks are not in pairs
            return []
        image, own = pairs[0]
        try:
            there, here = (
                np.unique(sitk.GetArrayFromImage(read_image(path))) for path in (image, own)
            )
        except (FileNotFoundError, ValueError):
            return []
        if len(there) > MANY or len(here) <= MANY:
            return []
        return [
            f"the {self.name} files look like images, and {image} like labels, with "
            f"{counted(len(there), 'value')}: are --images and --{self.name}s exchanged?"
        ]

    def interpret(
        self, order: Sequence[str] = ()
    ) -> tuple[LabelMapping, LabelReader, dict[str, int]]:
        """See `interpret_labels`."""
        return interpret_labels(self._files(), order)

    def _files(self) -> LabelFiles:
        unlabelled = self.options.unlabelled if self.name == SCRIBBLE else ()
        return LabelFiles(
            self.name,
            self.survey,
            self.words,
            unlabelled,
            self.names,
            self.rules,
            self.options.overlaps,
            self.masks,
        )

    def grid_problems(self, files: CaseFiles, image: sitk.Image) -> list[str]:
        """Whether a case's file lies on another grid than its image, whatever its labels mean."""
        path, image_path = getattr(files, self.name), files.images[0]
        if path is None:
            return []
        try:
            grid_reader(self._files())(path, image, image_path)
        except Mismatch as error:
            return [f"{path} (image: {image_path}) {error}"]
        except (FileNotFoundError, ValueError):
            pass  # of the file itself, see `look`
        return []

    def refuse_swapped(self, mapping: LabelMapping, cases: Mapping[str, CaseFiles]) -> list[str]:
        """See `refuse_swapped`; what lies in no mask is unlabelled, whatever is said."""
        if self.masks is not None:
            return []
        refuse_renamed_background(self.words)
        paths = [path for files in cases.values() if (path := getattr(files, self.name))]
        return refuse_swapped(mapping, paths, self.reading)

    def masks_as_json(self) -> dict[str, dict[str, list[str]]]:
        """Case to class to masks, for the record."""
        files = self.masks.files if self.masks else {}
        return {
            case: {name: [str(path) for path in paths] for name, paths in own.items()}
            for case, own in files.items()
        }

    def more_files(self) -> list[Path]:
        """The files that a case's scribble or dense file stands for."""
        return self.masks.all_files() if self.masks else []

    def remarks(self) -> list[str]:
        """After the conversion: what became of files on another grid."""
        return grid_remarks(self.rules, self.name)
