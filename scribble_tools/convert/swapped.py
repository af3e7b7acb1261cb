"""Background, exchanged by a slip with unlabelled or a class: said before a data set is written.

Background and unlabelled are "nothing in particular" to whoever draws, and the two conventions of
public sets use the same values for them. A network trained on it learns that organs are background.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.dataset.label_mapping import BACKGROUND, LabelMapping
from scribble_tools.images.label_appearance import SCRIBBLES, Appearance, look_at_labels
from scribble_tools.images.segmentation_files import (
    AS_THEY_ARE,
    LabelReading,
    read_labels,
    show_values,
)
from scribble_tools.images.slicer_segmentation import is_segmentation

LOOKED_AT = 5  # files, evenly spaced


def _look(array: np.ndarray, image: sitk.Image) -> Appearance:
    axis = int(np.argmax(image.GetSpacing()[::-1])) if array.ndim == 3 else 0
    return look_at_labels(array, axis)


def _some(paths: Sequence[Path]) -> list[Path]:
    """`LOOKED_AT` label maps, evenly spaced; no segmentations of 3D Slicer."""
    paths = [path for path in paths if not is_segmentation(path)]
    if not paths:
        return []
    some = np.unique(np.linspace(0, len(paths) - 1, min(LOOKED_AT, len(paths))).astype(int))
    return [paths[k] for k in some]


def fills_as_unlabelled(
    array: np.ndarray, image: sitk.Image, said: Sequence[int]
) -> tuple[int, float] | None:
    """The value of those ``said`` to be background that looks unlabelled, and its share.

    Args:
        array: a label map (*spatial).
        image: has its geometry.
    """
    return _filling(_look(array, image), array.size, said)


def _filling(seen: Appearance, size: int, said: Sequence[int]) -> tuple[int, float] | None:
    """See `fills_as_unlabelled`; ``size``: in voxels."""
    if seen.looks_like != SCRIBBLES or seen.unlabelled not in said:
        return None
    return seen.unlabelled, seen.counts[seen.unlabelled] / size


def refuse_renamed_background(words: Sequence[str]) -> None:
    """Refuse a class of another name that is said to be what is called background.

    Args:
        words: ``NAME=VALUE[,VALUE]``, of segments or of ITK-SNAP's labels.

    Raises:
        ValueError: the message asks.
    """
    said = {name: values for name, _, values in (word.partition("=") for word in words)}
    for name, values in said.items():
        called = [value for value in values.split(",") if value.strip().lower() == BACKGROUND]
        if called and name != BACKGROUND:
            raise ValueError(
                f"are {name} and {BACKGROUND} swapped? {called[0]!r} is said to be {name}, and "
                f"{said.get(BACKGROUND)!r} to be {BACKGROUND}. Exchange them in --labels. If it is "
                "as said, say --not-swapped"
            )


def _perhaps_with_a_class(
    mapping: LabelMapping, seen: Sequence[Appearance], reading: LabelReading
) -> list[str]:
    """A question where a class' strokes lie around all others, as those of the background do.

    Only a question: some organs do lie around the background's strokes.
    """
    of_value = {v: name for name, own in mapping.classes.items() for v in own}
    # 0 is taken for the background wherever it lies
    around = [own.background or None if own.looks_like == SCRIBBLES else None for own in seen]
    (value, number), *_ = Counter(around).most_common(1) or [(None, 0)]
    name = of_value.get(value, BACKGROUND)
    if value is None or name == BACKGROUND or 2 * number <= len(around):
        return []
    (shown,) = show_values([value], reading)
    return [
        f"are {name} and {BACKGROUND} swapped? The strokes of {shown}, said to be {name}, reach "
        f"farthest in {number} of {len(around)} files looked at, as those of the {BACKGROUND} "
        "usually do. If so, convert again to another --dataset-id"
    ]


def refuse_swapped(
    mapping: LabelMapping, paths: Sequence[Path], reading: LabelReading = AS_THEY_ARE
) -> list[str]:
    """Refuse a mapping that looks as if background and unlabelled were exchanged.

    That is: in most of the files looked at, the value of the background fills nearly everything
    around thin strokes, as only unlabelled voxels do.

    Args:
        mapping: what was said of label values (not of segments, which lie in nothing).
        paths: the scribble files. Segmentations of 3D Slicer are passed over: what lies in no
            segment is unlabelled there, whatever is said.
        reading: how they are read.

    Returns:
        What is only to be asked: whether the background is exchanged with a class.

    Raises:
        ValueError: it looks so; the message asks, and says the line that exchanges them.
    """
    said = mapping.classes[BACKGROUND]
    seen: list[Appearance] = []
    found: list[tuple[Path, int, float]] = []
    for path in _some(paths):
        array, image = read_labels(path, reading)
        seen.append(_look(array, image))
        if looks := _filling(seen[-1], array.size, said):
            found.append((path, *looks))
    if 2 * len(found) <= len(seen):
        return _perhaps_with_a_class(mapping, seen, reading)
    path, value, share = found[0]
    rest = [
        shlex.quote(f"{name}={','.join(show_values(values, reading))}")
        for name, values in mapping.classes.items()
        if name != BACKGROUND
    ]
    (value,) = show_values([value], reading)
    others = shlex.quote(",".join(show_values(mapping.unlabelled, reading)) or "VALUE")
    raise ValueError(
        f"are background and unlabelled swapped? {value}, said to be background, fills "
        f"{share:.1%} of {path} around thin strokes, as unlabelled does. Then say\n"
        f"  --labels {BACKGROUND}={others} {' '.join(rest)} --unlabelled {shlex.quote(value)}\n"
        "If it is as said, say --not-swapped"
    )
