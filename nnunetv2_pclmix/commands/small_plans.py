"""`nnunetv2_pclmix small-plans`: plans that a machine without a GPU can train."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

from scribble_tools.dataset.writing import write_json


def small_plans(
    plans: dict,
    name: str,
    configuration: str,
    patch: Sequence[int],
    batch: int,
    features: Sequence[int],
    spacing: Sequence[float] | None = None,
) -> dict:
    """Return a copy of nnU-Net's ``plans`` called ``name`` with one, reduced, configuration.

    Args:
        patch: size in voxels; divisible by the product of the kept stages' strides.
        features: channels per stage; as many stages as numbers, at most what the plans have.
        spacing: mm per voxel axis, to train at another resolution; the data then have to be
            preprocessed again. Without it the planner's preprocessed data are used.

    Raises:
        ValueError: the sizes do not fit the plans; the message says which and how.
    """
    plans = deepcopy(plans)
    if configuration not in plans["configurations"]:
        raise ValueError(
            f"the plans have no configuration {configuration}, only "
            f"{', '.join(plans['configurations'])}"
        )
    reduced = plans["configurations"][configuration]
    if "architecture" not in reduced:
        raise ValueError(f"{configuration} inherits from another configuration: name that one")
    if min(*patch, *features, batch, *(spacing or ())) <= 0:
        raise ValueError("patch, batch, features and spacing must be above 0")
    network = reduced["architecture"]["arch_kwargs"]
    stages = len(features)
    # of the deep supervision levels, one fewer than stages, nnU-Net gives the coarsest no weight
    if not 3 <= stages <= network["n_stages"]:
        raise ValueError(f"{stages} features given, the plans allow 3 to {network['n_stages']}")
    axes = len(reduced["patch_size"])
    if len(patch) != axes or len(spacing or patch) != axes:
        raise ValueError(f"{configuration} has {axes} axes: give {axes} numbers")
    for axis, size in enumerate(patch):
        step = 1
        for stride in network["strides"][:stages]:
            step *= stride[axis]
        if size % step:
            raise ValueError(f"patch {list(patch)}: axis {axis} must be a multiple of {step}")
    reduced.update(patch_size=list(patch), batch_size=batch)
    for stage in ("previous_stage", "next_stage"):  # of a cascade, which these plans do not have
        reduced.pop(stage, None)
    if spacing:
        reduced.update(spacing=list(spacing), data_identifier=f"{name}_{configuration}")
    network.update(n_stages=stages, features_per_stage=list(features))
    decoder = [k for k in network if k.endswith("_decoder")]
    for key in [k for k in network if k.endswith("_per_stage") or k in ("kernel_sizes", "strides")]:
        network[key] = network[key][:stages]
    for key in decoder:
        network[key] = network[key][: stages - 1]
    plans["configurations"] = {configuration: reduced}
    plans["plans_name"] = name
    return plans


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``small-plans`` to the sub-commands of the command line."""
    parser = commands.add_parser(
        "small-plans",
        help="derive plans that a CPU can train: smaller patch, batch and network",
        description="Write plans with a smaller patch, batch and network beside nnU-Net's own, "
        "for machines without a GPU and for trying things out. Train with them by -p NAME.",
        epilog="example: nnunetv2_pclmix small-plans 127 --patch 144 144 --batch 12 "
        "--features 16 32 64 128 128",
    )
    parser.add_argument("dataset", help="id or full name")
    parser.add_argument("--patch", type=int, nargs="+", required=True, help="voxels per axis")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--features", type=int, nargs="+", required=True, help="per stage")
    parser.add_argument("--spacing", type=float, nargs="+", help="mm; preprocess again afterwards")
    parser.add_argument("--configuration", default="2d", help="default: 2d")
    parser.add_argument("--plans", default="nnUNetPlans", help="to start from")
    parser.add_argument("--name", default="nnUNetPlans_small", help="default: nnUNetPlans_small")
    parser.add_argument("--overwrite", action="store_true", help="replace other plans of that name")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the plans; return the exit status."""
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

    try:
        folder = Path(nnUNet_preprocessed.require())
        folder = folder / maybe_convert_to_dataset_name(arguments.dataset)
        source = folder / f"{arguments.plans}.json"
        if not source.is_file():
            raise ValueError(f"{source} does not exist: run nnUNetv2_plan_and_preprocess first")
        plans = small_plans(
            json.loads(source.read_text()),
            arguments.name,
            arguments.configuration,
            arguments.patch,
            arguments.batch,
            arguments.features,
            arguments.spacing,
        )
        target = folder / f"{arguments.name}.json"
        if target.exists() and json.loads(target.read_text()) != plans and not arguments.overwrite:
            raise ValueError(f"{target} holds other plans: take another --name or say --overwrite")
    except (RuntimeError, ValueError) as error:
        print(f"nnunetv2_pclmix small-plans: error: {error}", file=sys.stderr)
        return 1
    write_json(plans, target)
    print(f"wrote {target}")
    of = f"-p {arguments.name} -tr nnUNetTrainerPCLMix; without a GPU add -device cpu"
    following = f"nnUNetv2_train {arguments.dataset} {arguments.configuration} 0 {of}"
    if arguments.spacing:
        following = (
            f"nnUNetv2_preprocess -d {arguments.dataset} -plans_name {arguments.name} "
            f"-c {arguments.configuration}"
        )
    print(f"next: {following}")
    return 0
