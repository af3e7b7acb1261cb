"""The options of a training, named as those of nnUNetv2_train."""

from __future__ import annotations

import argparse
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_pclmix.discovery import TRAINER
from scribble_tools.dataset.preprocessed_plans import number_of, plans_in
from scribble_tools.dataset.raw import read_whole
from scribble_tools.dataset.shapes import PLANNED, PLANS, SPLITS
from scribble_tools.dataset.writing import find_dataset
from scribble_tools.json_files import Record, in_words, problems_of, read_json
from scribble_tools.predict.verify import refuse_foreign_code

# networks of others have other settings than nnU-Net's own
TRAINABLE = Record(
    required={key: PLANNED.required[key] for key in ("batch_size", "patch_size", "spacing")}
)
FOLDERS = ("nnUNet_preprocessed", "nnUNet_results")
EXCLUSIVE = (("c", "val"), ("val_best", "disable_checkpointing"))


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What the command line says, see ``-h``; named as nnU-Net names it."""

    dataset: str
    configuration: str
    fold: int | str
    tr: str
    p: str
    pretrained_weights: str | None
    c: bool
    val: bool
    npz: bool
    val_best: bool
    disable_checkpointing: bool
    device: str


def is_torchruns() -> bool:
    """Whether torchrun has started this process; one of these names alone may be a stranger's."""
    return all(name in os.environ for name in ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("dataset", help="id or full name")
    parser.add_argument("configuration", help="2d, 3d_fullres, ...")
    parser.add_argument("fold", type=lambda word: word if word == "all" else int(word))
    parser.add_argument("-tr", default=TRAINER, help="trainer (default: %(default)s)")
    parser.add_argument("-p", default="nnUNetPlans", help="plans (default: %(default)s)")
    parser.add_argument("-pretrained_weights", help="checkpoint to start from")
    parser.add_argument("--c", action="store_true", help="continue from the last checkpoint")
    parser.add_argument("--val", action="store_true", help="only run the validation")
    parser.add_argument("--npz", action="store_true", help="keep the validation's probabilities")
    parser.add_argument("--val_best", action="store_true", help="validate checkpoint_best")
    parser.add_argument("--disable_checkpointing", action="store_true", help="save no checkpoints")
    parser.add_argument("-device", choices=("cuda", "cpu", "mps"), default="cuda")


def contradiction(options: TrainOptions) -> str:
    """What cannot be asked for together, or nothing."""
    both = [pair for pair in EXCLUSIVE if all(getattr(options, name) for name in pair)]
    problems = [f"--{one} and --{other} exclude each other" for one, other in both]
    if options.device == "mps" and is_torchruns():
        problems.append("-device mps is for one process, without torchrun")
    return "; ".join(problems)


def refuse_unreadable(options: TrainOptions) -> None:
    """Look at the JSON files that nnU-Net is about to read, which itself would stop anywhere.

    Raises:
        OSError, ValueError: nnU-Net's folders are not set, the data set was not planned, one is no
            such file, there are no such plans, or the plans make nnU-Net call other code.
    """
    if unset := [name for name in FOLDERS if not os.environ.get(name)]:
        commands = " ".join(f"{name}=/your/folder" for name in unset)
        raise ValueError(f"{' and '.join(unset)} not set. Set first: export {commands}")
    root = os.environ["nnUNet_preprocessed"]
    plan = shlex.join(
        ("nnUNetv2_plan_and_preprocess", "-d", number_of(options.dataset))
        + ("-c", options.configuration)
    )
    try:
        folder = find_dataset(Path(root), options.dataset)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}. What is to be trained is planned first: {plan}"
        ) from None
    if not os.path.lexists(folder / f"{options.p}.json"):
        there = ", ".join(plans_in(folder)) or f"none. Run first: {plan}"
        raise FileNotFoundError(f"{folder} has no plans {options.p} (-p). There are: {there}")
    if os.path.lexists(folder / "dataset.json"):
        read_whole(folder / "dataset.json")
    shapes = {f"{options.p}.json": PLANS, "splits_final.json": SPLITS}
    for name, shape in shapes.items():
        if os.path.lexists(folder / name):
            content = read_json(folder / name, shape)
            if shape is PLANS:
                _refuse_unplanned(folder / name, content["configurations"], options.configuration)
                refuse_foreign_code(content)


def _refuse_unplanned(path: Path, configurations: dict, name: str) -> None:
    """Refuse a configuration that is not there, or of which something is missing."""
    if name not in configurations:
        there = ", ".join(sorted(configurations)) or "none"
        raise ValueError(f"{path} has no configuration {name}. There are: {there}")
    own = configurations[name]
    if "inherits_from" in own:
        return
    if problems := problems_of(own, TRAINABLE):
        raise ValueError(in_words(path, [f"configurations.{name}.{line}" for line in problems]))
