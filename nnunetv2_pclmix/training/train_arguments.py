"""The arguments of a training, named as those of nnUNetv2_train."""

from __future__ import annotations

import argparse
import os

from nnunetv2_pclmix.discovery import TRAINER

EXCLUSIVE = (("c", "val"), ("val_best", "disable_checkpointing"))


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


def contradiction(args: argparse.Namespace) -> str:
    """What cannot be asked for together, or nothing."""
    both = [pair for pair in EXCLUSIVE if all(getattr(args, name) for name in pair)]
    problems = [f"--{one} and --{other} exclude each other" for one, other in both]
    if args.device == "mps" and "LOCAL_RANK" in os.environ:
        problems.append("-device mps is for one process, without torchrun")
    return "; ".join(problems)
