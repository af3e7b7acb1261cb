"""`scribble_tools install-splits`: make a splits file the splits of a data set."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scribble_tools.dataset.preprocessed_plans import cases_in, lacking_in_words
from scribble_tools.dataset.raw import read_record, read_whole
from scribble_tools.dataset.writing import RECORD, find_dataset, read_splits
from scribble_tools.images.image_files import files_in
from scribble_tools.storage.file_sets import write_json, written_atomically
from scribble_tools.storage.folders import made_folder


def _holds(target: Path, content: list) -> bool:
    """Whether nothing else is in the way; a broken file is something else."""
    try:
        return not target.exists() or read_splits(target) == content
    except ValueError:
        return False


def _patients(folder: Path) -> Mapping[str, str]:
    """The patient of each case of a data set, as far as its record tells."""
    try:
        return read_record(folder).get("patients", {})
    except FileNotFoundError:
        return {}


def install_splits(
    dataset: str, raw: Path, preprocessed: Path, splits: Path | None = None, overwrite: bool = False
) -> Path:
    """Make ``splits`` the data set's splits and return the path that nnU-Net's training reads.

    nnU-Net's planner copies the raw data set's ``splits_final.json`` to the preprocessed folder,
    and fails when another one lies there. So both get the same.

    Args:
        dataset: id or full name.
        raw, preprocessed: nnU-Net's folders.
        splits: default: the one in the raw data set.

    Raises:
        FileNotFoundError: the data set or the splits file is missing.
        FileExistsError: other splits are installed already and ``overwrite`` is false.
        ValueError: it is no splits file, or names cases that are not in the data set, or a case or
            a patient on both sides; or the data set's record is broken.
    """
    folder = find_dataset(raw, dataset)
    splits = splits or folder / "splits_final.json"
    content = read_splits(splits)
    ending = read_whole(folder / "dataset.json")["file_ending"]
    cases = {p.name.removesuffix(ending) for p in files_in(folder / "labelsTr", ending)}
    patients = _patients(folder)
    problems = []
    for number, fold in enumerate(content):
        train, val = set(fold["train"]), set(fold["val"])
        if unknown := sorted((train | val) - cases):
            problems.append(f"fold {number} names cases that have no label: {', '.join(unknown)}")
        for side in ("train", "val"):
            if not fold[side]:
                problems.append(f"fold {number} has no case under {side!r}")
        if both := sorted(train & val):
            problems.append(f"fold {number} trains and validates on {', '.join(both)}")
        sides = [{patients[c] for c in side if c in patients} for side in (train, val)]
        if leaked := sorted(sides[0] & sides[1] - {patients.get(case) for case in both}):
            problems.append(
                f"fold {number} trains and validates on images of the patients {', '.join(leaked)} "
                f"(as {RECORD} says), which are much alike"
            )
    if problems:
        raise ValueError(f"{splits}:\n" + "\n".join(problems))
    targets = [root / folder.name / "splits_final.json" for root in (raw, preprocessed)]
    other = [str(target) for target in targets if not _holds(target, content)]
    if other and not overwrite:
        raise FileExistsError(
            f"other splits are in {' and '.join(other)}. Say --overwrite to replace them; models "
            "that were trained on them can then no longer be compared by fold"
        )
    # both are written whole before the first takes its place
    with ExitStack() as stack:
        for target in targets[::-1]:
            stack.enter_context(made_folder(target.parent))
            write_json(content, stack.enter_context(written_atomically(target)))
    return targets[1]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    dataset: str
    splits: Path | None
    overwrite: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Make a splits file the splits of a data set: it is checked and copied to the raw data "
        "set and to where nnU-Net's training looks for it. Not needed for the splits that "
        "convert makes: nnU-Net's planner copies those."
    )
    parser.epilog = (
        "example:\n  scribble_tools install-splits 127 --splits my_splits.json\n\n"
        "Uses the environment variables nnUNet_raw and nnUNet_preprocessed."
    )
    parser.add_argument("dataset", help="id or full name, e.g. 127 or Dataset127_ACDCScribbles")
    parser.add_argument(
        "--splits", type=Path, help="nnU-Net's format (default: the raw data set's)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace other splits")


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    folders = {}
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        if not os.environ.get(name):
            raise ValueError(f"{name} is not set: export {name}=/your/folder")
        folders[name] = Path(os.environ[name])
    target = install_splits(options.dataset, *folders.values(), options.splits, options.overwrite)
    print(f"wrote {target}")
    named = {case for fold in read_splits(target) for side in fold.values() for case in side}
    for folder in sorted(path for path in target.parent.iterdir() if path.is_dir()):
        # one without any case is none of a configuration
        if cases_in(folder) and (lacking := lacking_in_words(folder, named)):
            print(f"note: {lacking}")
    return 0
