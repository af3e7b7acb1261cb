"""What an NRRD header says of the place of its voxels: all of it, or nothing is read.

teem, ITK's reader, makes up what a header leaves open, such as 1 mm and the axis of a slice that
has the direction ``none``, and says of the rest what only its authors understand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from scribble_tools.trust.printable import printable

DOMAIN = frozenset({"", "???", "none", "domain", "space", "time"})  # teem's kinds of axes of space
VECTORS = {
    "spacedirections": "space directions",
    "spaceorigin": "space origin",
    "measurementframe": "measurement frame",
}
MM = "such as (0,0,SIZE) with the voxel size in mm"


def refuse_open_geometry(fields: Mapping[str, str], axes: int) -> None:
    """Refuse a header that does not say how each axis of space lies, or says it twice.

    Args:
        fields: see `TextHeader`.

    Raises:
        ValueError: it is such a header; the message lacks the file's name.
    """
    kinds = fields.get("kinds", "").lower().split()
    kinds += [""] * (axes - len(kinds))
    domain = [k for k in range(axes) if kinds[k] in DOMAIN]
    if axes - len(domain) > 1:
        raise ValueError(
            f"its header says kinds: {_shown(fields['kinds'])}, so that {axes - len(domain)} axes "
            "count channels, and one can be read: make one of them, or a file of each"
        )
    space = _space_dimension(fields)
    _refuse_no_space(fields)
    directions = fields.get("spacedirections")
    if directions is not None:
        _look_at_directions(directions, fields, domain, space)
    elif space:
        also = f" and spacings: {_shown(fields['spacings'])}" if "spacings" in fields else ""
        raise ValueError(
            f"its header says {_said_space(fields)}{also}, but no space directions, so that nobody "
            "knows how its axes lie. Write them, such as space directions: (X,0,0) (0,Y,0) (0,0,Z) "
            "with the voxel size in mm; or, if the place does not matter, leave out space and "
            "space origin and write spacings: X Y Z"
        )
    else:
        _look_at_spacings(fields, domain)
    if space and len(domain) != space:
        raise ValueError(
            f"its header has {len(domain)} axes in a space of {space} dimensions "
            f"({_said_space(fields)}). Save a slice as a volume of one slice, or without a space; "
            "an axis that counts channels or frames is to have the kind list, such as kinds: list "
            "domain domain domain"
        )


def _refuse_no_space(fields: Mapping[str, str]) -> None:
    """Refuse vectors before which no line says in which space they are meant."""
    for name in fields:
        if name in ("space", "spacedimension"):
            return
        if name in VECTORS:
            raise ValueError(
                f"its header says {VECTORS[name]}: {_shown(fields[name])}, but no line before says "
                "in which space: write one, such as space: left-posterior-superior"
            )


def _look_at_directions(
    directions: str, fields: Mapping[str, str], domain: list[int], space: int | None
) -> None:
    vectors = re.findall(r"none|\([^)]*\)", directions)
    spacings = fields.get("spacings", "").split()
    without = [k for k in domain if k < len(vectors) and vectors[k] == "none"]
    if without:
        which = " and ".join(str(k + 1) for k in without)
        remedy = f"Write the direction of each axis of space there, {MM}"
        if len(domain) - len(without) == space:
            words = ["list" if k in without else "domain" for k in range(len(vectors))]
            remedy += f"; if that axis counts channels, say so: kinds: {' '.join(words)}"
        raise ValueError(
            f"its header says space directions: {_shown(directions)}, and so none for an axis "
            f"of space (axis {which}): nobody knows how it lies, and ITK makes it up. {remedy}"
        )
    for k in range(min(len(vectors), len(spacings))):
        if vectors[k] != "none" and spacings[k].lower() != "nan":
            raise ValueError(
                f"its header says space directions: {_shown(directions)} and spacings: "
                f"{_shown(fields['spacings'])}: remove the line with the spacings, which the "
                "directions contain"
            )


def _look_at_spacings(fields: Mapping[str, str], domain: list[int]) -> None:
    """Without a space: the origin is 0 and the axes are x, y and z."""
    if "spacings" not in fields:
        for name, words in (("axismins", "axis mins"), ("axismaxs", "axis maxs")):
            if name in fields:
                raise ValueError(
                    f"its header says {words}: {_shown(fields[name])} and no spacings, and ITK "
                    "takes 1 mm: write spacings: X Y Z with the voxel size in mm"
                )
        return
    words = fields["spacings"].split()
    if not all(_is_size(words[k]) for k in domain if k < len(words)):
        raise ValueError(
            f"its header says spacings: {_shown(fields['spacings'])}, and ITK takes 1 mm for what "
            "is no size: write the voxel size of each axis in mm there"
        )


def _is_size(word: str) -> bool:
    try:
        return math.isfinite(float(word)) and float(word) != 0
    except ValueError:
        return False


def _space_dimension(fields: Mapping[str, str]) -> int | None:
    """Of the space that the header names; None if it names none."""
    if name := fields.get("space", "").lower():
        return 4 if name.endswith("time") or re.fullmatch("[rl][ap]st", name) else 3
    number = fields.get("spacedimension", "")
    return int(number) if re.fullmatch(r"\d{1,2}", number) else None


def _said_space(fields: Mapping[str, str]) -> str:
    if "space" in fields:
        return f"space: {_shown(fields['space'])}"
    return f"space dimension: {_shown(fields['spacedimension'])}"


def _shown(value: str) -> str:
    return printable(value)[:80]
