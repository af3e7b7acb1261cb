"""What label files hold besides strokes: predictions and marks that `suggest` put there."""

from __future__ import annotations

import json
from pathlib import Path

NOT_STROKES = "not_strokes.json"  # beside the label files
PREDICTION, LOOK = "prediction: ", "look "  # begin the names of what is no stroke


def read_not_strokes(folder: Path) -> tuple[list[int], tuple[str, ...]]:
    """Values and beginnings of segment names that are no strokes, of files in ``folder``.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / NOT_STROKES
    if not path.is_file():
        return [], (PREDICTION, LOOK)
    try:
        content = json.loads(path.read_text())
        return [int(v) for v in content["values"]], tuple(map(str, content["segments"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} does not say which labels are no strokes ({error}): take it away and name "
            "them with --unlabelled"
        ) from None
