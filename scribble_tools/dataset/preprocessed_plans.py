"""The plans that nnU-Net and `small-plans` keep beside preprocessed data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scribble_tools.dataset import shapes
from scribble_tools.json_files import read_json

PLANNERS = "nnUNetPlans"  # plans that the planner writes; `small-plans` adds others


def plans_in(preprocessed: Path) -> dict[str, Mapping]:
    """Configurations of all plans in a folder, by the plans' name; the planner's first."""
    found = {}
    for file in sorted(preprocessed.glob("*.json"), key=lambda file: file.stem != PLANNERS):
        try:
            found[file.stem] = read_json(file, shapes.PLANS)["configurations"]
        except (OSError, ValueError):
            continue  # no plans
    return found
