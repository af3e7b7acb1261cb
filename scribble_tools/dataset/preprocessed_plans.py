"""The plans that nnU-Net and `small-plans` keep beside preprocessed data."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

from scribble_tools.dataset import shapes
from scribble_tools.json_files import read_json
from scribble_tools.wording import counted, some_of

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


def preprocess_command(preprocessed: Path, identifier: str) -> str:
    """The command that preprocesses again what lies in a folder, by the same plans; to be pasted.

    Args:
        preprocessed: the data set's folder in nnUNet_preprocessed.
        identifier: name of the folder in it.
    """
    for plans, configurations in plans_in(preprocessed).items():
        for name, own in configurations.items():
            if own.get("data_identifier") == identifier:
                words = ("-d", number_of(preprocessed.name), "-plans_name", plans, "-c", name)
                return shlex.join(("nnUNetv2_preprocess", *words))
    return plan_command(preprocessed)


def plan_command(preprocessed: Path) -> str:
    """The command that plans anew and preprocesses what was preprocessed before; to be pasted."""
    return shlex.join(("nnUNetv2_plan_and_preprocess", *_what_is_done(preprocessed)))


def separate_plan_commands(preprocessed: Path) -> tuple[str, str]:
    """The same in two commands, which keep the fingerprint as it is."""
    planning = ("nnUNetv2_plan_experiment", "-d", number_of(preprocessed.name))
    preprocessing = ("nnUNetv2_preprocess", *_what_is_done(preprocessed))
    return shlex.join(planning), shlex.join(preprocessing)


def _what_is_done(preprocessed: Path) -> tuple[str, ...]:
    """The data set, and the configurations of the planner's that are preprocessed, if any is."""
    folders = [path.name for path in preprocessed.glob("*") if path.is_dir()]
    planned = plans_in(preprocessed).get(PLANNERS, {})
    done = [name for name, own in planned.items() if own.get("data_identifier") in folders]
    return "-d", number_of(preprocessed.name), *(("-c", *done) if done else ())


def number_of(dataset: str) -> str:
    """The id of a data set, given by id or name, as nnU-Net's -d takes no name."""
    found = re.fullmatch(r"(?:Dataset)?0*(\d+)(?:_.*)?", dataset)
    return found[1] if found else "ID"


def cases_in(folder: Path) -> dict[str, Path]:
    """One file of each case that is preprocessed in a folder."""
    return {path.stem: path for path in folder.glob("*.pkl")}  # common to all formats


def lacking_in_words(folder: Path, cases: Collection[str]) -> str:
    """Which cases of the splits are not preprocessed in a folder, and what to run; or nothing.

    Args:
        folder: of one configuration, in the data set's folder in nnUNet_preprocessed.
    """
    lacking = sorted({*cases} - cases_in(folder).keys())
    if not lacking:
        return ""
    number = counted(len(lacking), "case of the splits is", "cases of the splits are")
    command = preprocess_command(folder.parent, folder.name)
    return f"{number} not preprocessed in {folder}: {some_of(lacking)}. Run: {command}"


def is_older(preprocessed: Path, label: Path) -> bool:
    """Whether a case was preprocessed before its label file was written, as the clock says."""
    return preprocessed.stat().st_mtime < label.stat().st_mtime
