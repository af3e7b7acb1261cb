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
    optional={"aliases": Record(others=Whole(), words="values by number")},
)


@dataclass(frozen=True)
class NotStrokes:
    """How to read label files that `suggest` wrote.

    Attributes:
        values: of label maps, that are no strokes.
        segments: how the names of segments begin that are none.
        aliases: value in the label map to the user's own: no program can draw with 0, and the
            unlabelled voxels should be 0, or they hide the image.
    """

    values: tuple[int, ...] = ()
    segments: tuple[str, ...] = (PREDICTION, LOOK)
    aliases: Mapping[int, int] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it beside the label files."""
        content = {"values": [*self.values], "segments": [*self.segments]}
        if self.aliases:
            content["aliases"] = {str(value): own for value, own in self.aliases.items()}
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
    aliases = content.get("aliases", {})
    if wrong := [key for key in aliases if not key.isdecimal()]:
        raise ValueError(f"{path}: aliases has the key {wrong[0]!r}; expected a whole number")
    return NotStrokes(
        tuple(content["values"]),
        tuple(content["segments"]),
        {int(value): own for value, own in aliases.items()},
    )
