"""The plans that nnU-Net and `small-plans` keep beside preprocessed data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scribble_tools.dataset import shapes
from scribble_tools.json_files import read_json

PLANNERS = "nnUNetPlans"  # plans that the planner writes; `small-plans` adds others
AGAIN = "Run nnUNetv2_plan_and_preprocess again"


def plans_in(preprocessed: Path) -> dict[str, Mapping]:
    """Configurations of all plans in a folder, by the plans' name; the planner's first."""
    found = {}
    for file in sorted(preprocessed.glob("*.json"), key=lambda file: file.stem != PLANNERS):
        try:
            found[file.stem] = read_json(file, shapes.PLANS)["configurations"]
        except (OSError, ValueError):
            continue  # no plans
    return found


def preprocess_again(preprocessed: Path, identifier: str) -> str:
    """How what lies in a folder is preprocessed again; other plans than the planner's are named."""
    for plans, configurations in plans_in(preprocessed).items():
        for name, own in configurations.items():
            if own.get("data_identifier") == identifier:
                if plans == PLANNERS:
                    return AGAIN
                return f"Run nnUNetv2_preprocess -plans_name {plans} -c {name} again"
    return AGAIN


def is_older(preprocessed: Path, label: Path) -> bool:
    """Whether a case was preprocessed before its label file was written, as the clock says."""
    return preprocessed.stat().st_mtime < label.stat().st_mtime
