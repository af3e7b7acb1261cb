"""What label files hold besides strokes: predictions and marks that `suggest` put there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scribble_tools.dataset.writing import write_json
from scribble_tools.json_files import ListOf, Record, Text, Whole, read_json

NOT_STROKES = "not_strokes.json"  # beside the label files
PREDICTION, LOOK = "prediction: ", "look "  # begin the names of what is no stroke
SHAPE = Record(
    required={"values": ListOf(Whole()), "segments": ListOf(Text())},
    optional={
        "aliases": Record(others=Whole(), words="values by number"),
        "names": Record(others=Text(), words="names by number"),
        "voxels": Record(others=Record(others=Whole()), words="voxels by file and label"),
    },
)


@dataclass(frozen=True)
class NotStrokes:
    """How to read label files that `suggest` wrote.

    Attributes:
        values: of label maps, that are no strokes.
        segments: how the names of segments begin that are none.
        aliases: value in the label map to the user's own: no program can draw with 0, and the
            unlabelled voxels should be 0, or they hide the image.
        names: of ``values``, as a drawing program shows them.
        voxels: file without ending to value, or segment name, to the voxels that were written:
            what is more was drawn by somebody who takes the label for their own.
    """

    values: tuple[int, ...] = ()
    segments: tuple[str, ...] = (PREDICTION, LOOK)
    aliases: Mapping[int, int] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    voxels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def among(self, counts: Mapping[int | str, int]) -> dict[str, int]:
        """Voxels of what is no stroke among those of all values or segments of a file."""
        return {
            str(what): voxels
            for what, voxels in counts.items()
            if what in self.values or (isinstance(what, str) and what.startswith(self.segments))
        }

    def write(self, folder: Path) -> None:
        """Write it beside the label files."""
        content = {"values": [*self.values], "segments": [*self.segments]}
        if self.aliases:
            content["aliases"] = {str(value): own for value, own in self.aliases.items()}
        content["names"] = {str(value): name for value, name in self.names.items()}
        content["voxels"] = {file: dict(voxels) for file, voxels in self.voxels.items()}
        write_json(content, folder / NOT_STROKES)


def read_not_strokes(folder: Path) -> NotStrokes:
    """Read what lies beside label files; without it, all values are strokes.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / NOT_STROKES
    if not path.is_file():
        return NotStrokes()
    content = read_json(path, SHAPE)
    by_value = {key: content.get(key, {}) for key in ("aliases", "names")}
    for name, own in by_value.items():
        if wrong := [key for key in own if not key.isdecimal()]:
            raise ValueError(f"{path}: {name} has the key {wrong[0]!r}; expected a whole number")
    aliases, names = ({int(k): v for k, v in own.items()} for own in by_value.values())
    return NotStrokes(
        tuple(content["values"]),
        tuple(content["segments"]),
        aliases,
        names,
        content.get("voxels", {}),
    )
