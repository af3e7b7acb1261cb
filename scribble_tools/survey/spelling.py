"""Names of segments that may be one class: a few files have it mistyped."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from difflib import get_close_matches

from scribble_tools.images.label_appearance import NO_SEGMENT, SEGMENTS
from scribble_tools.wording import counted

SPELT_ALIKE = 0.8  # as `difflib` counts


def spelt_alike(group: Mapping) -> list[str]:
    """Questions about such names; nothing is joined unasked: left and right are alike, too.

    Args:
        group: of label files, see `advice`.

    >>> rows = [{"value": "liver", "files": 7}, {"value": "Livr", "files": 1}]
    >>> spelt_alike({"kind": SEGMENTS, "read": 8, "values": rows})
    ["'Livr', in 1 file, is nearly 'liver': if it is that class, say liver=liver,Livr"]
    """
    if group["kind"] != SEGMENTS:
        return []
    files = {row["value"]: row["files"] for row in group["values"] if row["value"] != NO_SEGMENT}
    found = []
    for rare, number in files.items():
        # not those of a file that tells both apart
        usual = {
            name.casefold(): name
            for name, own in files.items()
            if own > number and own + number <= group["read"]
        }
        for letters in get_close_matches(rare.casefold(), usual, 1, SPELT_ALIKE):
            name = usual[letters]
            both = shlex.quote(f"{name.replace(' ', '_')}={name},{rare}")
            found.append(
                f"{rare!r}, in {counted(number, 'file')}, is nearly {name!r}: if it is that class, "
                f"say {both}"
            )
    return found
