"""`torchrun ... -m nnunetv2_pclmix.train`: training on several machines, or with restarts.

nnU-Net's own ``-num_gpus`` starts its processes on one machine. Here torch's elastic launcher
starts them, on any number of machines that share nnU-Net's three folders:

    torchrun --nnodes 2 --nproc-per-node 4 --max-restarts 3 --rdzv-backend c10d \\
        --rdzv-endpoint HOST:29500 -m nnunetv2_pclmix.train DATASET 3d_fullres 0

When a worker is lost, torchrun starts all of them again and the training goes on from its last
checkpoint.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import torch
from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous

from nnunetv2_pclmix import discovery


def build_parser() -> argparse.ArgumentParser:
    """The arguments, named as those of nnUNetv2_train."""
    parser = argparse.ArgumentParser(
        prog="torchrun ... -m nnunetv2_pclmix.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", help="id or full name")
    parser.add_argument("configuration", help="2d, 3d_fullres, ...")
    parser.add_argument("fold", type=lambda word: word if word == "all" else int(word))
    parser.add_argument("-tr", default="nnUNetTrainerPCLMix", help="trainer (default: %(default)s)")
    parser.add_argument("-p", default="nnUNetPlans", help="plans (default: %(default)s)")
    parser.add_argument("-pretrained_weights", help="checkpoint to start from")
    parser.add_argument("--c", action="store_true", help="continue from the last checkpoint")
    parser.add_argument("--val", action="store_true", help="only run the validation")
    parser.add_argument("--npz", action="store_true", help="keep the validation's probabilities")
    parser.add_argument("-device", choices=("cuda", "cpu"), default="cuda")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Train and validate in one process of those that torchrun has started."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if "LOCAL_RANK" not in os.environ:
        parser.error("start this with torchrun, see above, or use nnUNetv2_train")
    if args.c and args.val:
        parser.error("--c and --val exclude each other")
    device = torch.device("cpu")
    if args.device == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    # torchrun's store outlives a restart, and with it the addresses of the workers that died
    store, rank, processes = next(rendezvous("env://"))
    dist.init_process_group(
        "nccl" if args.device == "cuda" else "gloo",
        store=dist.PrefixStore(f"pclmix_{restarts}", store),
        rank=rank,
        world_size=processes,
    )
    discovery.register()  # needed where Python's start-up files are not in use
    try:
        go_on = (args.c or restarts > 0) and not args.val
        trainer = get_trainer_from_args(
            args.dataset, args.configuration, args.fold, args.tr, args.p, go_on, device
        )
        weights = None if go_on else args.pretrained_weights
        maybe_load_checkpoint(trainer, go_on, args.val, weights)
        if not args.val:
            trainer.run_training()
        trainer.perform_actual_validation(args.npz)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
