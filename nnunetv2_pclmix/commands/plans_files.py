"""What plans have to hold, which name they may have, and which file they may replace."""

from __future__ import annotations

import os
import re
from pathlib import Path

from scribble_tools.dataset.shapes import PLANNED, PLANS
from scribble_tools.json_files import in_words, problems_of, read_json

# files of nnU-Net's in the folder of the plans
NNUNETS = {"dataset", "dataset_fingerprint", "dataset_fingerprint_stock", "splits_final"}


def refuse_name(name: str) -> None:
    """Refuse what cannot be the name of plans, which is a file's and part of a folder's.

    Raises:
        ValueError: it is none; the message says what to take.
    """
    if name in NNUNETS or not re.fullmatch(r"(?!.*__)[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(
            f"--name {name!r} cannot name plans: take letters, digits, _ - and . (no __), such as "
            f"nnUNetPlans_small, and none of nnU-Net's own {', '.join(sorted(NNUNETS))}"
        )


def refuse_other_file(target: Path, source: Path, plans: dict, overwrite: bool) -> None:
    """Refuse to replace other plans unasked, and what is no plans at all.

    Args:
        target: file to write.
        source: file of the plans that the new ones, ``plans``, are made from.

    Raises:
        ValueError: ``target`` is such a file.
    """
    if os.path.realpath(target) == os.path.realpath(source):
        raise ValueError(f"{target} is what the plans are made from: take another --name")
    if not os.path.lexists(target):
        return
    try:
        old = read_json(target)
        is_plans = isinstance(old, dict) and old.get("plans_name") == target.stem
    except (OSError, ValueError):
        old, is_plans = None, False
    if not is_plans:
        raise ValueError(f"{target} holds no plans of that name: take another --name")
    if old != plans and not overwrite:
        raise ValueError(f"{target} holds other plans: take another --name or say --overwrite")


def read_plans(path: Path, configuration: str) -> dict:
    """Plans whose ``configuration``, if they have it, says all that is needed here.

    Raises:
        ValueError: they are no plans, or inherit from others.
    """
    plans = read_json(path, PLANS)
    own = plans["configurations"].get(configuration)
    if own is not None and "architecture" in own and (problems := problems_of(own, PLANNED)):
        raise ValueError(in_words(path, [f"configurations.{configuration}.{p}" for p in problems]))
    return plans
