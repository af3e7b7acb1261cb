"""`nnunetv2_pclmix train`: nnU-Net's training, here or as one of the processes of torchrun."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass

from nnunetv2_pclmix.training import train_arguments


@dataclass(frozen=True, kw_only=True)
class Options(train_arguments.TrainOptions):
    """What the command line says, see ``-h``."""

    num_gpus: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Train and validate one fold. On one machine this is nnUNetv2_train with our trainer for "
        "the default; on several, or where a lost worker is to be replaced, torchrun starts it."
    )
    parser.epilog = (
        "examples:\n  nnunetv2_pclmix train 130 2d 0\n"
        "  torchrun --nnodes 2 --nproc-per-node 4 --max-restarts 3 --rdzv-backend c10d \\\n"
        "    --rdzv-endpoint HOST:29500 -m nnunetv2_pclmix.train 130 3d_fullres 0"
    )
    train_arguments.add_arguments(parser)
    parser.add_argument("-num_gpus", type=int, default=1, help="of this machine (default: 1)")


def run(options: Options) -> int:
    """Train; return the exit status."""
    from nnunetv2_pclmix.training.requirements import CannotTrain

    if problem := train_arguments.contradiction(options) or _here_impossible(options):
        print(f"nnunetv2_pclmix train: error: {problem}", file=sys.stderr)
        return 2
    train_arguments.refuse_unreadable(options)
    try:
        _train(options)
    except CannotTrain as error:
        print(f"nnunetv2_pclmix train: error: {error}", file=sys.stderr)
        return 1
    return 0


def _here_impossible(options: Options) -> str:
    """What nnU-Net's own training refuses, torchrun's processes not; or nothing."""
    if train_arguments.is_torchruns():
        return ""
    problems = []
    if options.c and options.pretrained_weights:
        problems.append("--c and -pretrained_weights exclude each other")
    if options.num_gpus > 1 and options.device != "cuda":
        problems.append(f"-num_gpus {options.num_gpus} needs -device cuda, not {options.device}")
    return "; ".join(problems)


def _train(options: Options) -> None:
    """Here, or as one of the processes of torchrun."""
    import torch

    if train_arguments.is_torchruns():
        from nnunetv2_pclmix.train import train

        train(options)
        return
    from nnunetv2.run.run_training import run_training

    from nnunetv2_pclmix import discovery

    # as nnUNetv2_train has it: workers load the data, so that a GPU's process needs one thread
    torch.set_num_threads((os.cpu_count() or 1) if options.device == "cpu" else 1)
    discovery.register()  # needed where Python's start-up files are not in use
    run_training(
        options.dataset,
        options.configuration,
        options.fold,
        options.tr,
        options.p,
        pretrained_weights=options.pretrained_weights,
        num_gpus=options.num_gpus,
        export_validation_probabilities=options.npz,
        continue_training=options.c,
        only_run_validation=options.val,
        disable_checkpointing=options.disable_checkpointing,
        val_with_best=options.val_best,
        device=torch.device(options.device),
    )
