"""Train one trainer of nnU-Net's for a stated number of iterations.

nnU-Net's own training loop, data loader and checkpoints; only the length and the random state are
set here, because nnU-Net's command line has no option for them. ``--trainer`` takes any trainer
that nnU-Net finds, ``--set`` changes settings of a PCLMix trainer. Continues when it was
interrupted; does nothing when the training is complete. The seed fixes the initial weights and the
draws of the training process, not the augmentation, whose workers nnU-Net seeds by itself.

    python benchmarks/accuracy/train.py DATASET 2d 0 --plans nnUNetPlans_small \
        --trainer nnUNetTrainerPCLMix --epochs 10 --iterations 200 --seed 0 --results DIR
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path


def main() -> None:
    """Train, and leave benchmark.json beside the checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("configuration")
    parser.add_argument("fold", type=int)
    parser.add_argument("--plans", default="nnUNetPlans")
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--iterations", type=int, required=True, help="per epoch")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--results", type=Path, required=True, help="takes nnUNet_results' place")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="of PCLMixConfig, e.g. mix_area=0.3",
    )
    args = parser.parse_args()

    os.environ["nnUNet_results"] = str(args.results)
    args.results.mkdir(parents=True, exist_ok=True)
    import numpy as np
    import torch
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    if args.device == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))

    cls = recursive_find_trainer_class_by_name(args.trainer)
    if args.set:
        settings = {k: ast.literal_eval(v) for k, v in (item.split("=") for item in args.set)}
        cls = type(cls.__name__, (cls,), {"config": replace(cls.config, **settings)})
    preprocessed = Path(os.environ["nnUNet_preprocessed"])
    preprocessed = preprocessed / maybe_convert_to_dataset_name(args.dataset)
    plans = json.loads((preprocessed / f"{args.plans}.json").read_text())
    trainer = cls(
        {**plans, "continue_training": False},
        args.configuration,
        args.fold,
        json.loads((preprocessed / "dataset.json").read_text()),
        torch.device(args.device),
    )
    trainer.num_epochs = args.epochs
    trainer.num_iterations_per_epoch = args.iterations
    trainer.num_val_iterations_per_epoch = 5
    trainer.save_every = 1
    folder = Path(trainer.output_folder)
    request = {
        "seed": args.seed,
        "epochs": args.epochs,
        "iterations_per_epoch": args.iterations,
        "batch_size": trainer.configuration_manager.batch_size,
        "settings": args.set,
        "commit": subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
        ).stdout.strip(),
    }
    if (folder / "benchmark.json").exists():
        begun = json.loads((folder / "benchmark.json").read_text())
        if other := [k for k, v in request.items() if k != "commit" and begun[k] != v]:
            sys.exit(f"{folder} holds a run with another {', '.join(other)}: another --results?")
        request = begun
    else:
        (folder / "benchmark.json").write_text(json.dumps(request, indent=2) + "\n")
    if (folder / "checkpoint_final.pth").exists():
        print(f"{folder} is complete")
        return
    if (folder / "checkpoint_latest.pth").exists():
        trainer.load_checkpoint(str(folder / "checkpoint_latest.pth"))
    start = time.time()
    trainer.run_training()
    request["seconds_of_the_last_run"] = round(time.time() - start)
    (folder / "benchmark.json").write_text(json.dumps(request, indent=2) + "\n")


if __name__ == "__main__":
    main()
