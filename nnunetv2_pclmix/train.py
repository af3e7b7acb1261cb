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
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import torch
from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import distributed as dist
from torch.distributed.constants import default_pg_timeout
from torch.distributed.rendezvous import rendezvous

from nnunetv2_pclmix import discovery
from nnunetv2_pclmix.training.checkpoint_files import set_aside
from nnunetv2_pclmix.training.distributed import bare
from nnunetv2_pclmix.training.requirements import CannotTrain
from nnunetv2_pclmix.training.session import FolderGuard, one_last_message
from nnunetv2_pclmix.training.train_arguments import (
    TrainOptions,
    add_arguments,
    contradiction,
    is_torchruns,
    refuse_unreadable,
)
from scribble_tools.arguments import options_of
from scribble_tools.trust.checkpoint import load_checkpoint


def build_parser() -> argparse.ArgumentParser:
    """The arguments, named as those of nnUNetv2_train."""
    parser = argparse.ArgumentParser(
        prog="torchrun ... -m nnunetv2_pclmix.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    return parser


def load_weights(trainer: nnUNetTrainer, filename: str) -> None:
    """Start from a checkpoint's weights; segmentation layers, whose classes may differ, stay.

    As nnU-Net's ``load_pretrained_weights``, which with several processes reads the file to the
    CUDA device of the process' global rank: there is none on a second machine, or on a CPU.

    Raises:
        RuntimeError: weights are missing from the file, or of another shape.
        OSError, ValueError: the file cannot be read, or holds more than plain data.
    """
    if not trainer.was_initialized:
        trainer.initialize()
    network = bare(trainer.network)
    content = load_checkpoint(Path(filename))
    given = content.get("network_weights") if isinstance(content, dict) else None
    if not isinstance(given, dict):
        raise ValueError(f"{filename} holds no weights of a network: is it a checkpoint?")
    state = network.state_dict()
    body = [name for name in state if ".seg_layers." not in name]
    wrong = [n for n in body if getattr(given.get(n), "shape", None) != state[n].shape]
    if wrong:
        raise RuntimeError(
            f"{filename} does not fit this network: {len(wrong)} of {len(body)} weights are "
            f"missing or of another shape: {', '.join(wrong)}. Train it with this data set's "
            "plans, see nnUNetv2_move_plans_between_datasets"
        )
    network.load_state_dict(state | {name: given[name] for name in body})


def count_lives(store: dist.Store, rank: int, processes: int) -> int:
    """How often these processes have been started, counted by rank 0 for all.

    On several machines TORCHELASTIC_RESTART_COUNT differs: a launcher counts failures of its own
    workers, and restarts them uncounted for those of others. The store also holds the words of
    workers that died. So every process asks under a name of its own, and rank 0 answers each rank
    until the one that lives has said that it knows.
    """
    if rank > 0:
        name = uuid4().hex
        store.set(f"pclmix_asks/{rank}", name)
        life = int(store.get(f"pclmix_life/{name}"))
        store.set(f"pclmix_knows/{life}/{rank}", "")
        return life
    life = store.add("pclmix_lives", 1)
    for other in range(1, processes):
        while not store.check([f"pclmix_knows/{life}/{other}"]):
            name = store.get(f"pclmix_asks/{other}").decode()
            store.set(f"pclmix_life/{name}", str(life))
            time.sleep(0.05)
    return life


def meet(device: torch.device) -> bool:
    """Make the group of all processes; returns whether they have been started before."""
    life, rank, processes = 1, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # outlives a restart, and with it the addresses of the workers that died
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(*address, is_master=False, timeout=default_pg_timeout)
        life = count_lives(store, rank, processes)
        store = dist.PrefixStore(f"pclmix_{life}", store)
    else:
        store, *_ = next(rendezvous("env://"))
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=processes)
    restarts = life - 1 + int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    restarts = torch.tensor(restarts, device=device)
    dist.all_reduce(restarts, dist.ReduceOp.MAX)
    return restarts.item() > 0


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and `train`."""
    parser = build_parser()
    options = options_of(TrainOptions, parser.parse_args(argv))
    if not is_torchruns():
        parser.error("start this with torchrun, see above, or use nnunetv2_pclmix train")
    if problem := contradiction(options):
        parser.error(problem)
    try:
        refuse_unreadable(options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    train(options)


def refuse_own_weights(weights: Path, folder: Path) -> None:
    """Refuse weights that lie where a new training moves everything aside.

    Raises:
        CannotTrain: they do.
    """
    if weights.resolve().parent == folder.resolve():
        raise CannotTrain(
            f"{weights} lies in this training's own folder, whose files are moved aside before a "
            "new training begins: copy it elsewhere, and name the copy"
        )


def train(options: TrainOptions) -> None:
    """Train and validate in one process of those that torchrun has started."""
    device = torch.device("cpu")
    if options.device == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
    restarted = meet(device)
    discovery.register()  # needed where Python's start-up files are not in use
    try:
        saved = restarted and not options.disable_checkpointing
        go_on = (options.c or saved) and not options.val
        trainer = get_trainer_from_args(
            options.dataset,
            options.configuration,
            options.fold,
            options.tr,
            options.p,
            go_on,
            device,
        )
        trainer.disable_checkpointing = options.disable_checkpointing
        new = not (go_on or options.val or options.disable_checkpointing)
        if new and options.pretrained_weights:
            refuse_own_weights(Path(options.pretrained_weights), Path(trainer.output_folder))
        if new and trainer.local_rank == 0:
            # not only in `on_train_start`: a worker that is lost until then makes all go on, which
            # would be with the training that was here before
            folder = Path(trainer.output_folder)
            with (
                one_last_message(trainer.print_to_log_file, str, lambda: None),
                FolderGuard(folder).held(),
            ):
                set_aside(folder, trainer.print_to_log_file, [Path(trainer.log_file)])
        maybe_load_checkpoint(trainer, go_on, options.val)
        if options.pretrained_weights and trainer.current_epoch == 0:  # there was no checkpoint
            load_weights(trainer, options.pretrained_weights)
        if not options.val:
            trainer.run_training()
        if options.val_best:
            dist.barrier()  # until it is written
            trainer.load_checkpoint(os.path.join(trainer.output_folder, "checkpoint_best.pth"))
        trainer.perform_actual_validation(options.npz)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
