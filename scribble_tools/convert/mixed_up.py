"""Strokes of one case under the name of another, or of other values: asked before they are written.

Both cases lie on grids of one size then, so that no header tells. What tells is that the file has
the strokes which the data set has of another case, and not those of its own. Of other values are
files that have another class at most of these, or at most of those of a class.
"""

from __future__ import annotations

import glob
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scribble_tools.images.image_io import image_grid
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.parallel import threaded_map
from scribble_tools.problems import once_per_kind

FEWEST = 20  # voxels, that say something
OWN = 0.5  # of a case's earlier strokes: a file with more of them is this case's
OTHERS = 0.9  # of another case's strokes: a file with less of them is not taken for its
MOST = 0.5  # of earlier strokes: corrections are of less, as a rule
LEAST = 0.1  # of a file's strokes: a dense label holds strokes of many cases by chance


@dataclass(frozen=True)
class Strokes:
    """What a file holds that has few of its case's earlier strokes.

    Attributes:
        shape: of the label map.
        where: its labelled voxels, as indices into the flat array.
        labels: at these.
    """

    case: str
    path: Path
    shape: tuple[int, ...]
    where: np.ndarray
    labels: np.ndarray


def telling(labels: np.ndarray, ignore: int) -> np.ndarray:
    """Strokes that tell cases apart: of classes if there are any, else of the background.

    The background is often drawn alike in every image, as a frame.
    """
    of_classes = (labels != ignore) & (labels != 0)
    return of_classes if np.count_nonzero(of_classes) >= FEWEST else labels != ignore


def unlike_its_case(
    case: str, path: Path, before: np.ndarray, new: np.ndarray, ignore: int
) -> Strokes | None:
    """The new strokes, where they might be another case's.

    Args:
        before, new: labels of the data set (*spatial).
    """
    earlier = telling(before, ignore)
    again = np.count_nonzero(earlier & (before == new))
    where = np.flatnonzero(new != ignore)
    if again > OWN * np.count_nonzero(earlier) or len(where) < FEWEST:
        return None
    return Strokes(case, path, new.shape, where, new.reshape(-1)[where])


def count_pairs(before: np.ndarray, new: np.ndarray, ignore: int) -> np.ndarray:
    """Voxels that had a stroke, by class before (rows) and in the file (the last: no stroke).

    Args:
        before, new: labels of the data set (*spatial).
    """
    earlier = before < ignore
    pairs = before[earlier].astype(np.int64) * (ignore + 1) + new[earlier]
    return np.bincount(pairs, minlength=ignore * (ignore + 1)).reshape(ignore, ignore + 1)


def _exchanged(pairs: np.ndarray, names: Sequence[str]) -> str:
    """Which classes' strokes are mostly of another one now, in words; else nothing.

    A class may be corrected to one that stays: with other values, that would be gone, too.
    """
    found = []
    number, met = pairs.sum(axis=1), pairs[:, :-1]
    for own, row in enumerate(met):
        other = int(row.argmax())
        stays = met[other, other] > MOST * met[other].sum()
        if other == own or stays or row[other] < MOST * number[own] or number[own] < FEWEST:
            continue
        found.append(
            f"{row[other]} of {number[own]} voxels of {names[own]} would be {names[other]}"
        )
    return ", ".join(found)


def _contradiction(pairs: np.ndarray, names: Sequence[str]) -> str:
    number, met = pairs.sum(), pairs[:, :-1]
    other = met.sum() - met.trace()
    if what := _exchanged(pairs, names):
        what = f"{what}: are values or names exchanged?"
    elif other >= max(FEWEST, MOST * number):
        what = f"of {number} voxels that had a stroke, {other} would be of another class."
    else:
        return ""
    return (
        f"{what} Is the file of this case, and are its values those of the data set's first files? "
        "If it is right as it is, say --not-mixed-up"
    )


def contradictions(pairs: Mapping[Path, np.ndarray], names: Sequence[str]) -> list[str]:
    """Questions, where files have other classes at most of the earlier strokes, or of a class'.

    Args:
        pairs: of every file, see `count_pairs`.
        names: of the classes, in the order of their labels.
    """
    asked = [(path, text) for path, own in pairs.items() if (text := _contradiction(own, names))]
    if asked or not pairs:
        return once_per_kind(asked)
    # many files with few strokes each
    what = _exchanged(sum(pairs.values()), names)
    if not what:
        return []
    return [
        f"in all files together, {what}: are values or names exchanged? Are they those of the data "
        "set's first files? If the files are right as they are, say --not-mixed-up"
    ]


def mixed_up(
    unlike: Sequence[Strokes], labels: Mapping[str, Path], ignore: int, num_threads: int
) -> list[str]:
    """A problem for every file that has the strokes of another case.

    Args:
        unlike: see `unlike_its_case`. With none, nothing is read.
        labels: the label file of every case of the data set.

    Raises:
        FileNotFoundError, ValueError: a label file cannot be read.
    """
    if not unlike:
        return []
    shapes = {own.shape for own in unlike}

    def look(item: tuple[str, Path]) -> list[tuple[Strokes, str]]:
        other, path = item
        if image_grid(path)[0][::-1] not in shapes:
            return []
        stored = read_labels(path)[0]
        tells = telling(stored, ignore)
        flat = np.where(tells, stored, ignore).reshape(-1)
        number, of_classes = np.count_nonzero(tells), bool((flat[tells.reshape(-1)] != 0).any())
        found = []
        for own in unlike:
            if own.case == other or own.shape != stored.shape or number < FEWEST:
                continue
            if not of_classes and np.count_nonzero(own.labels) >= FEWEST:
                continue  # both have one frame, perhaps
            shared = np.count_nonzero(flat[own.where] == own.labels)
            its = np.count_nonzero(own.labels) if of_classes else len(own.where)
            if shared >= max(OTHERS * number, LEAST * its):
                found.append((own, other))
        return found

    first: dict[str, tuple[Strokes, str]] = {}
    for pairs in threaded_map(look, [*labels.items()], num_threads, "comparing"):
        for own, other in pairs:
            first.setdefault(own.case, (own, other))
    return [
        f"{own.path} has the strokes of {other}, not those of {own.case}, whose name it bears. "
        "Give it the right name, or leave it out: --exclude "
        f"{shlex.quote(glob.escape(own.path.name))}. If it is right as it is, say --not-mixed-up"
        for own, other in first.values()
    ]
