"""Whether label files are masks, several for each case, and how `convert folder` is told so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from scribble_tools.convert.pairing import PLACEHOLDER
from scribble_tools.images.label_appearance import (
    DENSE,
    EMPTY,
    NO_SEGMENT,
    SCRIBBLES,
    SEGMENTS,
    SLICES,
)
from scribble_tools.images.slicer_segmentation import stem_of

BACKGROUND_WORDS = ("background", "backgr", "bg", "outside")


def is_labels(group: Mapping) -> bool:
    """Whether a group holds label maps or masks, and none of an h5."""
    kinds = (SCRIBBLES, SLICES, DENSE, EMPTY)
    return (group["kind"] in kinds or _of_one_segment(group)) and not group["key"]


def _of_one_segment(group: Mapping) -> bool:
    """Whether files of 3D Slicer hold the same segment each, as one for each class do."""
    names = {row["value"] for row in group.get("values", ())} - {NO_SEGMENT}
    return group["kind"] == SEGMENTS and len(names) == 1


def _is_mask(group: Mapping) -> bool:
    if _of_one_segment(group):
        return True
    values = [row["value"] for row in group.get("values", ())]
    return is_labels(group) and 0 in values and len(values) <= 2


def mask_pattern(image: Mapping, group: Mapping) -> str | None:
    """The pattern of a group's masks, when their names are a case's with something added."""
    own, its = Path(group["pattern"]), Path(image["pattern"])
    case = re.sub(r"_#$", "", stem_of(its)) if stem_of(its).count("#") > 1 else stem_of(its)
    case = its.parent.name if "#" in its.parent.name and "#" not in stem_of(its) else case
    if own.parent.name == case and "#" in case:
        return f"{PLACEHOLDER}/{own.name.replace('#', '*')}"
    if stem_of(own) == case and own.parent != its.parent and "#" not in own.parent.name:
        return f"{own.parent.name}/{PLACEHOLDER}{own.name[len(case) :]}"  # a folder for each class
    head, found, tail = own.name.partition(case)
    if not found or tail == own.name[len(stem_of(own)) :] or not case:
        return None
    return head.replace("#", "*") + PLACEHOLDER + tail.replace("#", "*")


def _class_of(pattern: str) -> str:
    """A name for the class whose masks fit a pattern: the words that are no number."""
    folder, _, name = pattern.rpartition("/")
    text = name.replace(PLACEHOLDER, "").split(".")[0] or folder.replace(PLACEHOLDER, "")
    words = re.findall(r"[^\W\d_]+", text)
    words = [word for word in words if word.lower() not in ("mask", "label", "seg")]
    name = "_".join(words) or "NAME"
    return "background" if name.lower().startswith(BACKGROUND_WORDS) else name


def mask_words(image: Mapping, groups: Sequence[Mapping]) -> list[str]:
    """The words of ``--labels`` for groups of masks; none where the groups are something else."""
    masks = [group for group in groups if _is_mask(group)]
    patterns = [mask_pattern(image, group) for group in masks]
    if len(masks) < 2 or len(masks) < len(groups) or not all(patterns):
        return []
    by_folder = any(pattern.split("/")[-1].startswith(f"{PLACEHOLDER}.") for pattern in patterns)
    if by_folder and len({group["kind"] == DENSE for group in masks}) > 1:
        return []  # rather strokes in one folder and dense references in the other
    classes: dict[str, list[str]] = {}
    for pattern in sorted(set(patterns)):
        classes.setdefault(_class_of(pattern), []).append(pattern)
    if len(classes) < 2:
        return []
    names = sorted(classes, key=lambda name: (name != "background", name))
    words = [] if "background" in classes else ["background=PATTERN"]
    return words + [shlex.quote(f"{name}={','.join(classes[name])}") for name in names]
