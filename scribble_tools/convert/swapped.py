"""Background and unlabelled, exchanged by a slip: said before a data set is written.

Both are "nothing in particular" to whoever draws, and the two conventions of public sets use the
same values for them. A network trained on it learns that organs are background.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.dataset.label_mapping import BACKGROUND, LabelMapping
from scribble_tools.images.label_appearance import SCRIBBLES, look_at_labels
from scribble_tools.images.segmentation_files import (
    AS_THEY_ARE,
    LabelReading,
    read_labels,
    show_values,
)
from scribble_tools.images.slicer_segmentation import is_segmentation

LOOKED_AT = 5  # files, evenly spaced


def fills_as_unlabelled(
    array: np.ndarray, image: sitk.Image, said: Sequence[int]
) -> tuple[int, float] | None:
    """The value of those ``said`` to be background that looks unlabelled, and its share.

    Args:
        array: a label map (*spatial).
        image: has its geometry.
    """
    axis = int(np.argmax(image.GetSpacing()[::-1])) if array.ndim == 3 else 0
    seen = look_at_labels(array, axis)
    if seen.looks_like != SCRIBBLES or seen.unlabelled not in said:
        return None
    return seen.unlabelled, seen.counts[seen.unlabelled] / array.size


def refuse_swapped(
    mapping: LabelMapping, paths: Sequence[Path], reading: LabelReading = AS_THEY_ARE
) -> None:
    """Refuse a mapping that looks as if background and unlabelled were exchanged.

    That is: in most of the files looked at, the value of the background fills nearly everything
    around thin strokes, as only unlabelled voxels do.

    Args:
        mapping: what was said of label values (not of segments, which lie in nothing).
        paths: the scribble files. Segmentations of 3D Slicer are passed over: what lies in no
            segment is unlabelled there, whatever is said.
        reading: how they are read.

    Raises:
        ValueError: it looks so; the message asks, and says the line that exchanges them.
    """
    said = mapping.classes[BACKGROUND]
    paths = [path for path in paths if not is_segmentation(path)]
    if not paths:
        return
    some = np.unique(np.linspace(0, len(paths) - 1, min(LOOKED_AT, len(paths))).astype(int))
    found: list[tuple[Path, int, float]] = []
    for path in (paths[k] for k in some):
        array, image = read_labels(path, reading)
        if looks := fills_as_unlabelled(array, image, said):
            found.append((path, *looks))
    if 2 * len(found) <= len(some):
        return
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
