"""`nnunetv2_pclmix small-plans`: plans that a machine without a GPU can train."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_pclmix.commands.plan_sizes import (
    Choice,
    Sizes,
    choose_sizes,
    coverage_warning,
    describe,
    needed_gb,
    training_seconds,
    unit_of_plans,
)
from nnunetv2_pclmix.commands.plans_files import read_plans, refuse_name, refuse_other_file
from nnunetv2_pclmix.commands.trainers import (
    FASTEST,
    lengths_of_method,
    trainer_class,
    trainers_by_length,
)
from nnunetv2_pclmix.discovery import TRAINER
from nnunetv2_pclmix.watching.durations import in_words
from scribble_tools.arguments import positive_float
from scribble_tools.dataset.raw import read_whole
from scribble_tools.storage.file_sets import write_json
from scribble_tools.storage.interruptions import error_in_words

ABOUT = 1.05  # what is measured varies by more than a training may take beyond its time
SMALLEST_BATCH = 2  # nnU-Net's own


def refuse_sizes(plans: dict, configuration: str, given: Mapping[str, Any]) -> None:
    """Refuse sizes that no plans can have, whatever the others are.

    Args:
        given: some of ``patch``, ``batch``, ``features``, ``spacing``.

    Raises:
        ValueError: there is no such configuration, or a size is wrong.
    """
    if configuration not in plans["configurations"]:
        raise ValueError(
            f"the plans have no configuration {configuration}, only "
            f"{', '.join(plans['configurations'])}"
        )
    reduced = plans["configurations"][configuration]
    if "architecture" not in reduced:
        raise ValueError(f"{configuration} inherits from another configuration: name that one")
    sizes = [own for own in given.values() if own is not None]
    if any(n <= 0 for own in sizes for n in ([own] if isinstance(own, int) else own)):
        raise ValueError("patch, batch, features and spacing must be above 0")
    axes = len(reduced["patch_size"])
    for name in ("patch", "spacing"):
        if given.get(name) is not None and len(given[name]) != axes:
            raise ValueError(f"{configuration} has {axes} axes: give {axes} numbers as {name}")


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
    given = {"patch": patch, "batch": batch, "features": features, "spacing": spacing}
    refuse_sizes(plans, configuration, given)
    plans = deepcopy(plans)
    reduced = plans["configurations"][configuration]
    network = reduced["architecture"]["arch_kwargs"]
    stages = len(features)
    # of the deep supervision levels, one fewer than stages, nnU-Net gives the coarsest no weight
    if not 3 <= stages <= network["n_stages"]:
        raise ValueError(f"{stages} features given, the plans allow 3 to {network['n_stages']}")
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


def choose(
    plans: dict,
    configuration: str,
    dataset_json: dict,
    given: dict,
    minutes: float,
    memory_gb: float,
    device: str,
    trainer: str,
) -> Choice:
    """Choose the sizes that are not ``given`` for this machine, on which iterations are measured.

    Args:
        plans: nnU-Net's, of the data set that ``dataset_json`` describes.
        given: see `choose_sizes`.
        trainer: whose iterations are measured.

    Raises:
        ValueError: there is no such trainer, given sizes do not fit the plans, or nothing fits the
            memory.
    """
    refuse_sizes(plans, configuration, given)
    import torch

    from nnunetv2_pclmix.commands.machine import build_network, seconds_per_iteration

    lengths = trainers_by_length(trainer)
    config = trainer_class(trainer).config
    channels = len(dataset_json["channel_names"])
    classes = len([name for name in dataset_json["labels"] if name != "ignore"])
    if device == "cpu":
        torch.set_num_threads(os.cpu_count() or 1)  # as nnU-Net does

    def with_sizes(sizes: Sizes) -> dict:
        return small_plans(
            plans, "", configuration, sizes.patch, sizes.batch, sizes.features, sizes.spacing
        )

    def seconds_of(sizes: Sizes) -> float:
        where = torch.device(device)
        return seconds_per_iteration(
            with_sizes(sizes), configuration, channels, classes, config, where
        )

    def gb_of(sizes: Sizes) -> float:
        network = build_network(with_sizes(sizes), configuration, channels, classes)
        voxels = network.compute_conv_feature_map_size(sizes.patch)
        return needed_gb(voxels, sizes.batch)

    reduced = plans["configurations"][configuration]
    return choose_sizes(reduced, given, minutes, memory_gb, list(lengths), seconds_of, gb_of)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    dataset: str
    minutes: float
    memory: float | None
    device: str | None
    trainer: str
    spacing: Sequence[float] | None
    patch: Sequence[int] | None
    batch: int | None
    features: Sequence[int] | None
    configuration: str
    plans: str
    name: str
    overwrite: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Write plans with larger voxels and a smaller batch and network beside "
        "nnU-Net's own, for machines without a GPU and for trying things out. Train with them by "
        "-p NAME. Sizes that are not given are chosen: a patch shows the whole image, and a "
        "training fits the time. For this some iterations are measured here (a minute or less)."
    )
    parser.epilog = (
        "examples:\n  nnunetv2_pclmix small-plans 127 --minutes 30\n"
        "  nnunetv2_pclmix small-plans 127 --spacing 3 3 --patch 128 112 --batch 8 "
        "--features 16 32 64 128"
    )
    parser.add_argument("dataset", help="id or full name")
    parser.add_argument(
        "--minutes", type=positive_float, default=30, help="for a training (default: 30)"
    )
    parser.add_argument(
        "--memory",
        type=positive_float,
        metavar="GB",
        help="for a training (default: what is free now)",
    )
    parser.add_argument("--device", choices=("cpu", "cuda", "mps"), help="default: the fastest")
    parser.add_argument("--trainer", default=TRAINER, help="to measure (default: %(default)s)")
    parser.add_argument(
        "--spacing", type=float, nargs="+", help="mm per axis (of pictures: pixels)"
    )
    parser.add_argument("--patch", type=int, nargs="+", help="voxels per axis")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--features", type=int, nargs="+", help="per stage")
    parser.add_argument("--configuration", default="2d", help="default: 2d")
    parser.add_argument("--plans", default="nnUNetPlans", help="to start from")
    parser.add_argument("--name", default="nnUNetPlans_small", help="default: nnUNetPlans_small")
    parser.add_argument("--overwrite", action="store_true", help="replace other plans of that name")


def _given(options: Options) -> dict:
    """Sizes that the user named."""
    given = {name: getattr(options, name) for name in ("spacing", "patch", "batch", "features")}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }


def run(options: Options) -> int:
    """Write the plans; return the exit status."""
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

    given = _given(options)
    configuration, name = options.configuration, options.name
    try:
        refuse_name(name)
        trainer_class(options.trainer)
        folder = Path(nnUNet_preprocessed.require())
        folder = folder / maybe_convert_to_dataset_name(options.dataset)
        source, target = folder / f"{options.plans}.json", folder / f"{name}.json"
        if not source.is_file():
            raise ValueError(f"{source} does not exist: run nnUNetv2_plan_and_preprocess first")
        plans = read_plans(source, configuration)
        chosen = None
        if not {"patch", "batch", "features"} <= set(given):
            chosen = _choose(plans, folder, options, given)
            given |= {key: getattr(chosen.sizes, key) for key in Sizes.__annotations__}
        spacing = given.get("spacing")
        if spacing == tuple(plans["configurations"].get(configuration, {}).get("spacing", ())):
            spacing = None  # the planner's preprocessed data will do
        sizes = (given["patch"], given["batch"], given["features"], spacing)
        small = small_plans(plans, name, configuration, *sizes)
        refuse_other_file(target, source, small, options.overwrite)
        write_json(small, target)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"nnunetv2_pclmix small-plans: error: {error_in_words(error)}", file=sys.stderr)
        return 1
    reduced, unit = plans["configurations"][configuration], unit_of_plans(plans)
    if warning := coverage_warning(reduced, given["patch"], spacing or reduced["spacing"], unit):
        print(f"WARNING: {warning}", file=sys.stderr)
    print(f"wrote {target}")
    device, trainer = options.device or _best_device(), options.trainer
    if chosen is not None:
        trainer = trainers_by_length(trainer)[chosen.epochs]
        print(_estimate(chosen, options.minutes, trainer, _given(options)))
    else:
        lengths = trainers_by_length(trainer)
        shorter = ", ".join(lengths[n] for n in sorted(lengths)[:-1])
        print(
            "all sizes are given, so that nothing was measured, and --minutes has no part. "
            f"{trainer} trains {max(lengths)} epochs" + f"; shorter: {shorter}" * bool(shorter)
        )
        if device == "cpu":  # on which the longest takes days
            trainer = lengths[min(lengths)]
    print("next:")
    number, name, configuration = map(shlex.quote, (options.dataset, name, configuration))
    if spacing:
        said = "  # what a coarser spacing leaves of the strokes"
        print(f"  scribble_tools check {number} --plans {name}{said}")
        # as many as the user lets nnU-Net have, or as there are cores
        own = os.environ.get("nnUNet_def_n_proc")
        processes = own or max(1, min(8, os.cpu_count() or 1))
        plans_and_more = f"-plans_name {name} -c {configuration} -np {processes}"
        print(f"  nnUNetv2_preprocess -d {number} {plans_and_more}")
    on = "" if device == "cuda" else f" -device {device}"
    print(f"  nnUNetv2_train {number} {configuration} 0 -p {name} -tr {trainer}{on}")
    return 0


def _best_device() -> str:
    from nnunetv2_pclmix.commands.doctor import best_device

    return best_device()


def _choose(plans: dict, folder: Path, options: Options, given: dict) -> Choice:
    """Choose what is not given, and say from what."""
    import torch

    from nnunetv2_pclmix.commands.machine import busy_warning, free_memory_gb

    if options.configuration not in plans["configurations"]:
        raise ValueError(
            f"the plans have no configuration {options.configuration}, only "
            f"{', '.join(plans['configurations'])}"
        )
    device = options.device or _best_device()
    memory = options.memory or free_memory_gb(torch.device(device))
    cores = f", {os.cpu_count()} cores" * (device == "cpu")
    print(f"for {_minutes(options.minutes)} on {device}{cores}, {memory:.1f} GB of memory:")
    if device == "cpu" and (busy := busy_warning()):  # before this command computes itself
        print(f"WARNING: {busy}", file=sys.stderr)
    dataset_json = read_whole(folder / "dataset.json")
    chosen = choose(
        plans,
        options.configuration,
        dataset_json,
        given,
        options.minutes,
        memory,
        device,
        options.trainer,
    )
    configuration = plans["configurations"][options.configuration]
    print(describe(configuration, chosen.sizes, unit_of_plans(plans)))
    return chosen


def _estimate(chosen: Choice, minutes: float, trainer: str, given: dict) -> str:
    whole = training_seconds(chosen.seconds, chosen.epochs)
    epoch = training_seconds(chosen.seconds, 1)
    text = (
        f"measured here: {chosen.seconds:.2g} s per iteration, {in_words(epoch)} per epoch, about "
        f"{in_words(whole)} and {chosen.memory_gb:.0f} GB for {trainer}"
    )
    if not chosen.fits and whole > ABOUT * 60 * minutes:
        ways = "; ".join(_ways_out(chosen, minutes, trainer, given))
        text += (
            f"\nWARNING: that is more than {_minutes(minutes)}, and the least that is possible "
            f"here with these arguments. Ways out: {ways}"
        )
    return text


def _ways_out(chosen: Choice, minutes: float, trainer: str, given: dict) -> Iterator[str]:
    """What helps where a training takes longer than it may; the first does without fail."""
    yield f"--minutes {math.ceil(ABOUT * training_seconds(chosen.seconds, chosen.epochs) / 60)}"
    lengths = lengths_of_method(trainer)
    times = {n: training_seconds(chosen.seconds, n) for n in lengths if n < chosen.epochs}
    if times:
        best = max((n for n in times if times[n] <= 60 * minutes), default=min(times))
        yield f"a shorter training (--trainer {lengths[best]}), about {in_words(times[best])}"
    if trainer_class(trainer).config != trainer_class(FASTEST).config:
        yield f"a faster method (--trainer {FASTEST})"
    # voxels alone shorten nothing where the patch is given
    patch = "--patch" if "spacing" in given else "--spacing with --patch"
    free, sizes = [patch] * ("patch" not in given), chosen.sizes
    if "batch" not in given and sizes.batch > SMALLEST_BATCH:
        free.append(f"--batch {max(SMALLEST_BATCH, sizes.batch // 2)}")
    if "features" not in given:
        free.append(f"--features {' '.join(str(max(4, n // 2)) for n in sizes.features)}")
    if free:
        yield f"smaller sizes of your own ({', '.join(free)})"
    yield "a GPU"


def _minutes(minutes: float) -> str:
    return f"{minutes:g} minute" + "s" * (minutes != 1)
