"""`scribble_tools install-splits`: bring a data set's splits to where nnU-Net looks for them."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from scribble_tools.nnunet_dataset import write_json


def find_dataset(root: Path, dataset: str) -> Path:
    """Return the folder of a data set, given by id or by full name, below ``root``.

    Raises:
        FileNotFoundError: there is none, or several have that id.
    """
    prefix = f"Dataset{int(dataset):03d}_" if dataset.isdigit() else dataset
    found = sorted(p for p in root.glob(f"{prefix}*") if dataset.isdigit() or p.name == dataset)
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise FileNotFoundError(f"data set {dataset} in {root}: found {names}")
    return found[0]


def install_splits(
    dataset: str, raw: Path, preprocessed: Path, splits: Path | None = None, overwrite: bool = False
) -> Path:
    """Copy ``splits_final.json`` into the preprocessed folder and return its new path.

    Args:
        dataset: id or full name.
        raw, preprocessed: nnU-Net's folders.
        splits: another splits file than the one in the raw data set.

    Raises:
        FileNotFoundError: the data set, its preprocessed folder or the splits file is missing.
        FileExistsError: other splits are installed already and ``overwrite`` is false.
        ValueError: the splits name cases that are not in the data set, or a case on both sides.
    """
    folder = find_dataset(raw, dataset)
    splits = splits or folder / "splits_final.json"
    if not splits.is_file():
        raise FileNotFoundError(f"{splits}: no such splits file, give one with --splits")
    if not (preprocessed / folder.name).is_dir():
        raise FileNotFoundError(
            f"{preprocessed / folder.name} does not exist: run nnUNetv2_plan_and_preprocess first"
        )
    content = json.loads(splits.read_text())
    ending = json.loads((folder / "dataset.json").read_text())["file_ending"]
    cases = {p.name.removesuffix(ending) for p in (folder / "labelsTr").glob(f"*{ending}")}
    problems = []
    for number, fold in enumerate(content):
        train, val = set(fold["train"]), set(fold["val"])
        if unknown := sorted((train | val) - cases):
            problems.append(f"fold {number} names cases that have no label: {', '.join(unknown)}")
        if both := sorted(train & val):
            problems.append(f"fold {number} trains and validates on {', '.join(both)}")
    if problems:
        raise ValueError(f"{splits}:\n" + "\n".join(problems))
    target = preprocessed / folder.name / "splits_final.json"
    if target.exists() and json.loads(target.read_text()) != content and not overwrite:
        raise FileExistsError(
            f"{target} holds other splits (nnU-Net makes its own at the first training). "
            "Say --overwrite to replace them"
        )
    write_json(content, target)
    return target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Copy splits_final.json of a raw data set, in which all volumes of a patient are on one "
        "side, into the preprocessed folder. Run it after nnUNetv2_plan_and_preprocess and before "
        "the first training, which otherwise makes splits of its own, by volume."
    )
    parser.epilog = (
        "example:\n  scribble_tools install-splits 27\n\n"
        "Uses the environment variables nnUNet_raw and nnUNet_preprocessed."
    )
    parser.add_argument("dataset", help="id or full name, e.g. 27 or Dataset027_ACDC")
    parser.add_argument("--splits", type=Path, help="another splits file (nnU-Net's format)")
    parser.add_argument("--overwrite", action="store_true", help="replace other splits")


def run(args: argparse.Namespace) -> int:
    """Run the sub-command and return its exit code."""
    folders = {}
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        if not os.environ.get(name):
            raise ValueError(f"{name} is not set: export {name}=/your/folder")
        folders[name] = Path(os.environ[name])
    target = install_splits(args.dataset, *folders.values(), args.splits, args.overwrite)
    print(f"wrote {target}")
    return 0
