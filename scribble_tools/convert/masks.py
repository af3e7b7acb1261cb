"""Several masks of a case, a file or more for each class, joined into one label map.

Label Studio, Fiji and many scripts write one mask per class: zero, and one other value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.convert.pairing import PLACEHOLDER, Place, compile_pattern
from scribble_tools.images.exclusion import is_excluded
from scribble_tools.images.file_kind import (
    NATURAL,
    READABLE,
    ending_of_content,
    file_ending_of,
    normal_form,
)
from scribble_tools.images.image_files import files_below
from scribble_tools.images.label_files import GridRules, fit_to_grid
from scribble_tools.images.mismatches import GridMismatch
from scribble_tools.images.name_patterns import case_of
from scribble_tools.images.picture_labels import TRANSPARENT
from scribble_tools.images.segmentation_files import (
    COLOUR,
    LabelReading,
    read_labels,
    show_values,
)
from scribble_tools.images.slicer_segmentation import is_segmentation, lay_on_grid

SEPARATORS = "_-. "


def is_mask_pattern(text: str) -> bool:
    """Whether what stands for a class is a pattern of file names, such as ``{case}_cell.png``."""
    return PLACEHOLDER in text or any(text.lower().endswith(ending) for ending in READABLE)


@dataclass(frozen=True)
class MaskFiles:
    """The masks of one role.

    Attributes:
        files: case to class to its masks.
        unused: other images and labels in the folder.
    """

    files: Mapping[str, Mapping[str, Sequence[Path]]]
    unused: Sequence[Path] = ()

    def first_of_cases(self) -> dict[str, Path]:
        """Case to its first mask, which stands for all of them."""
        return {case: next(iter(own.values()))[0] for case, own in self.files.items()}

    def all_files(self) -> list[Path]:
        """Every mask."""
        return [path for own in self.files.values() for paths in own.values() for path in paths]


def _matches(pattern: str, below: str) -> str | None:
    """The case that a path below the folder belongs to, by a pattern with or without ``{case}``."""
    if PLACEHOLDER in pattern:
        match = compile_pattern(pattern).fullmatch(below)
        return case_of(match) if match else None
    # BG.png: of a folder that is called like the case, or behind the case's name
    for own in (f"{PLACEHOLDER}/{pattern}", *(f"{PLACEHOLDER}{s}{pattern}" for s in SEPARATORS)):
        if match := compile_pattern(own).fullmatch(below):
            return case_of(match)
    return None


def find_masks(
    place: Place, patterns: Mapping[str, Sequence[str]], exclude: Sequence[str]
) -> MaskFiles:
    """Find the masks of every case, by the patterns of the classes.

    Raises:
        FileNotFoundError: there is no such folder, or a class has no mask in it.
        ValueError: a file fits the patterns of two classes.
    """
    if not place.folder.is_dir():
        raise FileNotFoundError(f"{place.folder} is not a folder")
    found: dict[str, dict[str, list[Path]]] = {}
    unused, problems = [], []
    for path in files_below(place.folder):
        below = path.relative_to(place.folder)
        if file_ending_of(path) not in READABLE or is_excluded(below, exclude):
            continue
        text = normal_form(below.as_posix())
        fitting = {
            name: case
            for name, own in patterns.items()
            for pattern in own
            if (case := _matches(normal_form(pattern), text))
        }
        if len(fitting) > 1:
            problems.append(f"{path} fits the patterns of {' and '.join(fitting)}")
        elif fitting:
            ((name, case),) = fitting.items()
            found.setdefault(case, {}).setdefault(name, []).append(path)
        else:
            unused.append(path)
    if problems:
        raise ValueError("masks of several classes:\n  " + "\n  ".join(problems))
    for name, own in patterns.items():
        if not any(name in case for case in found.values()):
            raise FileNotFoundError(
                f"no file below {place.folder} fits {' or '.join(map(repr, own))}, the masks of "
                f"{name}"
            )
    # in the order of the classes, the same as in the user's words
    ordered = {
        case: {name: own[name] for name in patterns if name in own}
        for case, own in sorted(found.items())
    }
    return MaskFiles(ordered, unused)


def read_mask(path: Path, reading: LabelReading) -> tuple[np.ndarray, sitk.Image]:
    """A mask as bool (*spatial), with the image that has its geometry.

    Raises:
        FileNotFoundError, ValueError: see `read_labels`; it holds more than 0 and one other value.
    """
    try:
        array, image = read_labels(path, reading)
    except ValueError:
        # black and white in colours, or a colour on what is transparent
        reading = LabelReading(pictures=COLOUR)
        if ending_of_content(path) not in NATURAL:
            raise
        array, image = read_labels(path, reading)
        array = np.where(array == TRANSPARENT, 0, array)
    values = np.unique(array).tolist()
    others = [value for value in values if value != 0]
    if len(others) > 1:
        shown = ", ".join(show_values(others[:5], reading)) + " ..." * (len(others) > 5)
        raise ValueError(
            f"{path} is no mask of one class: besides 0 it holds {shown}. Smooth borders? Save it "
            "without anti-aliasing, as PNG"
        )
    return array != 0, image


@dataclass(frozen=True)
class MaskReader:
    """Reads the masks of a case as one label map.

    Attributes:
        masks: class to masks, by a case's first mask.
        label_of: class to label.
        elsewhere: label of what lies in no mask.
        overlaps: as in `read_segments_on_grid`.
    """

    masks: Mapping[Path, Mapping[str, Sequence[Path]]]
    label_of: Mapping[str, int]
    elsewhere: int
    overlaps: str
    rules: GridRules
    reading: LabelReading = field(default_factory=LabelReading)

    def __call__(self, path: Path, image: sitk.Image, image_path: Path | None) -> np.ndarray:
        """Labels (*spatial) on the grid of ``image``; ``path`` is the case's first mask.

        Raises:
            FileNotFoundError, ValueError, Mismatch: see `read_mask`, `fit_to_grid`; overlaps.
        """
        labels = np.full(image.GetSize()[::-1], self.elsewhere, np.int32)
        owner = np.zeros(labels.shape, np.int32)  # position of the class, counted from 1
        names = [*self.label_of]
        problems, twice = [], np.zeros(labels.shape, bool)
        for number, name in enumerate(names, 1):
            for file in self.masks[path].get(name, ()):
                mask, grid = read_mask(file, self.reading)
                # one of 3D Slicer covers a part of its image
                fit = lay_on_grid if is_segmentation(file) else fit_to_grid
                own = mask.astype(np.int32)
                try:
                    here = fit(own, grid, file, image, image_path, self.rules, 0) != 0
                except GridMismatch as error:
                    whose = "" if file == path else f"with its mask {file} "
                    raise GridMismatch(f"{whose}{error}", error.remedy, error.option) from None
                other = here & (owner > 0) & (owner != number)
                if other.any():
                    twice |= other
                    before = " and ".join(names[k - 1] for k in np.unique(owner[other]))
                    problems.append(f"{np.count_nonzero(other)} in {before} and {name}")
                free = here & (owner == 0)
                owner[free], labels[free] = number, self.label_of[name]
        if problems and self.overlaps == "refuse":
            raise ValueError(
                f"has voxels in masks of two classes: {', '.join(problems)}. Mend the masks, or "
                "say --overlaps ignore (leave them unlabelled; not in dense references) or first "
                "(the first in --labels wins)"
            )
        if self.overlaps == "ignore":
            labels[twice] = self.elsewhere
        return labels
