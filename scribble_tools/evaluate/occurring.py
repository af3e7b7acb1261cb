"""Classes that no file holds, of data sets that name very many: they would fill tables and time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from scribble_tools.dataset.label_set import MOST_LABELS, LabelSet
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.parallel import parallel_map
from scribble_tools.problems import refuse
from scribble_tools.wording import counted

FEW_CLASSES = 150  # of these each has its row, in the files or not
MOST_CLASSES = 1000


def values_in(path: Path) -> set[int]:
    """The values of a label file; none of one that cannot be read, which its reader reports."""
    try:
        return set(np.unique(read_labels(path)[0]).tolist())
    except (OSError, ValueError):
        return set()


def refuse_unreadable(paths: Iterable[Path]) -> None:
    """Refuse label files that cannot be read, all at once.

    Raises:
        ValueError: there are some.
    """
    problems = []
    for path in paths:
        try:
            read_labels(path)
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if problems:
        raise ValueError(
            "\n".join((f"{counted(len(problems), 'problem')}, nothing scored:", *problems))
        )


def image_problem(path: Path, unknown: Collection[int]) -> list[str]:
    """A question where a prediction has more values that are no class than label files have."""
    if len(unknown) <= MOST_LABELS:
        return []
    return [f"{path} holds more than {MOST_LABELS} values that are no class: is it an image?"]


def refuse_images(paths: Iterable[Path], labels: LabelSet, num_processes: int = 1) -> None:
    """Refuse images in the place of predictions, all at once, before anything is drawn.

    Raises:
        ValueError: there are some.
    """
    files: Sequence[Path] = [*dict.fromkeys(paths)]
    found = parallel_map(values_in, files, num_processes, "labels")
    problems = [
        image_problem(path, own - labels.values) for path, own in zip(files, found, strict=True)
    ]
    refuse([text for own in problems for text in own], "drawn")


def occurring(
    labels: LabelSet, paths: Iterable[Path], num_processes: int = 1
) -> tuple[LabelSet, str]:
    """The classes, without those that are in none of the files where there are very many.

    Returns:
        The classes, and a sentence on what was left out; empty if nothing was.

    Raises:
        ValueError: more than `MOST_CLASSES` are left.
    """
    if len(labels.classes) <= FEW_CLASSES:
        return labels, ""
    files: Sequence[Path] = [*dict.fromkeys(paths)]
    found = set().union(*parallel_map(values_in, files, num_processes, "labels"))
    kept = {n: values for n, values in labels.classes.items() if not found.isdisjoint(values)}
    kept = kept or dict([*labels.classes.items()][:1])
    if len(kept) > MOST_CLASSES:
        most = max(files, key=lambda path: len(values_in(path)))
        raise ValueError(
            f"the files hold {len(kept)} classes, and {MOST_CLASSES} can be scored at once. Is "
            f"{most} an image? If not, name some classes with evaluate --labels"
        )
    left_out = len(labels.classes) - len(kept)
    words = f"{left_out} classes of dataset.json that none of these files holds were left out"
    return LabelSet(kept, labels.ignore), words if left_out else ""
