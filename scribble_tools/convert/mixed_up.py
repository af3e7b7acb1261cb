"""Strokes of one case under the name of another, or of other values: asked before they are written.

Both cases lie on grids of one size then, so that no header tells. What tells is that the file has
the strokes which the data set has of another case, and not those of its own. Of other values are
files that have another class at most of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scribble_tools.images.image_io import image_grid
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.parallel import threaded_map

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


def unlike_its_case(
    case: str, path: Path, before: np.ndarray, new: np.ndarray, ignore: int
) -> Strokes | None:
    """The new strokes, where they might be another case's.

    Args:
        before, new: labels of the data set (*spatial).
    """
    earlier = before != ignore
    again = np.count_nonzero(earlier & (before == new))
    where = np.flatnonzero(new != ignore)
    if again > OWN * np.count_nonzero(earlier) or len(where) < FEWEST:
        return None
    return Strokes(case, path, new.shape, where, new.reshape(-1)[where])


def contradiction(before: np.ndarray, new: np.ndarray, ignore: int) -> str:
    """A question, where a file has other classes at most of its case's earlier strokes.

    Args:
        before, new: labels of the data set (*spatial).
    """
    earlier = before != ignore
    number = np.count_nonzero(earlier)
    other = np.count_nonzero(earlier & (new != ignore) & (new != before))
    if other < max(FEWEST, MOST * number):
        return ""
    return (
        f"of {number} voxels that had a stroke, {other} would be of another class. Is the file of "
        "this case, and are its values those of the data set's first files? If it is right as it "
        "is, say --not-mixed-up"
    )


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
        flat, number = stored.reshape(-1), np.count_nonzero(stored != ignore)
        found = []
        for own in unlike:
            if own.case == other or own.shape != stored.shape or number < FEWEST:
                continue
            shared = np.count_nonzero(flat[own.where] == own.labels)
            if shared >= max(OTHERS * number, LEAST * len(own.where)):
                found.append((own, other))
        return found

    first: dict[str, tuple[Strokes, str]] = {}
    for pairs in threaded_map(look, [*labels.items()], num_threads, "comparing"):
        for own, other in pairs:
            first.setdefault(own.case, (own, other))
    return [
        f"{own.path} has the strokes of {other}, not those of {own.case}, whose name it bears. "
        f"Give it the right name, or leave it out: --exclude {own.path.name}. If it is right as it "
        "is, say --not-mixed-up"
        for own, other in first.values()
    ]
