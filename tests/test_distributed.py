"""Training in two processes (gloo, CPU) against training in one, on the same global batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing as mp

from nnunetv2_pclmix.dynamic_mix import Mix, box_mask
from nnunetv2_pclmix.global_mean import gather_batch, global_mean

ROOT = Path(__file__).resolve().parents[1]
DATASET = "Dataset901_Tiny"
STEPS = 3
# strokes are spread unevenly over the processes on purpose; anchors of all pixels, so that no
# random choice makes a difference
SETTINGS = {
    "anchors_total": 100_000,
    "anchors_per_class": 100_000,
    "contrast_start": 0.0,
    "memory_size": 50,
}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def make_trainer(root: str, settings: dict):
    from dataclasses import replace

    from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix

    folder = Path(root) / "nnUNet_preprocessed" / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    cls = type(
        "nnUNetTrainerPCLMix",
        (nnUNetTrainerPCLMix,),
        {"config": replace(nnUNetTrainerPCLMix.config, **settings)},
    )
    dataset_json = json.loads((folder / "dataset.json").read_text())
    torch.manual_seed(3)
    trainer = cls({**plans, "continue_training": False}, "2d", 0, dataset_json, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch = 1, STEPS
    trainer.initialize()
    return trainer


def make_batches(trainer, size: int) -> list[dict]:
    generator = torch.Generator().manual_seed(7)
    batches = []
    for _ in range(STEPS):
        data = torch.randn(size, 1, 32, 32, generator=generator)
        scribble = torch.full((size, 1, 32, 32), 3)
        for sample in range(size):
            for label in range(3):
                scribble[sample, 0, 3 + 7 * label, : 3 + 4 * sample] = label
        scales = trainer._get_deep_supervision_scales()
        targets = [
            torch.nn.functional.interpolate(
                scribble.float(), scale_factor=tuple(scale), mode="nearest"
            ).to(torch.int16)
            for scale in scales
        ]
        batches.append({"data": data, "target": targets})
    return batches


def swap_neighbours(batch_size, spatial, area, device="cpu", with_previous=False) -> Mix:
    """The same mix whether two samples or four are mixed at once: 0 with 1, 2 with 3."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        boxes = box_mask(2, spatial, area)
    first = torch.arange(batch_size)
    return Mix(first, first ^ 1, boxes.repeat(batch_size // 2, *[1] * (boxes.ndim - 1)))


def train(root: str, settings: dict, part: slice) -> dict:
    trainer = make_trainer(root, settings)
    trainer.network.train()
    with patch("nnunetv2_pclmix.trainer.draw_mix", swap_neighbours):
        for batch in make_batches(trainer, 4):
            targets = [t[part] for t in batch["target"]]
            trainer.train_step({"data": batch["data"][part], "target": targets})
    network = trainer._bare_network
    return {
        "parameters": {k: v.detach().clone() for k, v in network.named_parameters()},
        "memory": trainer.memory.state_dict() if trainer.memory is not None else {},
    }


def one_of_two(rank: int, port: int, root: str, settings: dict, out: str) -> None:
    torch.set_num_threads(1)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = f"{root}/{name}"
    store = f"tcp://localhost:{port}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    result = train(root, settings, slice(2 * rank, 2 * rank + 2))
    torch.save(result, f"{out}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        {**SETTINGS, "contrast": False, "partial_dice": 0.0},
        {**SETTINGS, "auxiliary_decoder": False, "contrast_start": 1.0},
        {**SETTINGS, "dynamic_mix": False},
    ],
    ids=["all", "no contrast, no Dice", "no auxiliary, contrast not begun", "no mix"],
)
def test_two_processes_train_as_one_does(nnunet, tmp_path, settings):
    alone = train(str(nnunet), settings, slice(0, 4))
    mp.spawn(one_of_two, (free_port(), str(nnunet), settings, str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f"rank{r}.pt", weights_only=False) for r in range(2)]
    for rank in ranks:
        for name, value in alone["parameters"].items():
            torch.testing.assert_close(rank["parameters"][name], value, rtol=1e-3, atol=2e-6)
        for name, value in alone["memory"].items():
            torch.testing.assert_close(rank["memory"][name], value, rtol=1e-3, atol=1e-5)
    moved = make_trainer(str(nnunet), settings)._bare_network.named_parameters()
    assert any(not torch.equal(alone["parameters"][name], value) for name, value in moved)


def test_alone_a_global_mean_is_a_mean():
    total = torch.tensor(6.0, requires_grad=True)
    assert global_mean(total, torch.tensor(4)) == 1.5
    assert global_mean(total * 0, torch.tensor(0)) == 0
    x = torch.arange(3)
    assert gather_batch(x, 5) is x


def gather(rank: int, port: int, out: str) -> None:
    store = f"tcp://localhost:{port}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    x = torch.full((2 - rank, 3), rank + 1.0)
    result = gather_batch(x, 2), gather_batch(x > 0, 2), global_mean(x.sum(), torch.tensor(4))
    torch.save(result, f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_batches_of_different_size_are_gathered_with_padding(tmp_path):
    mp.spawn(gather, (free_port(), str(tmp_path)), nprocs=2)
    for rank in range(2):
        values, flags, mean = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert values[:, 0].tolist() == [1, 1, 2, 0]
        assert flags[:, 0].tolist() == [True, True, True, False]
        assert mean == 2 * 6 / 8


def end_an_epoch(rank: int, port: int, root: str, out: str) -> None:
    """Rank 1 has seen losses that were not finite in the second of two epochs."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = f"{root}/{name}"
    store = f"tcp://localhost:{port}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    trainer = make_trainer(root, SETTINGS)
    terms = np.arange(len(trainer._term_names)) + float(rank)
    # 10 voxels in rank 0, 30 in rank 1: annotated, main, auxiliary; agreeing, certain, entries
    counts = [
        [10, 7, 1, 2, 10, 0, 0, 8, 2, 0, 8, 5, 15],
        [30, 30, 0, 0, 15, 15, 0, 30, 0, 0, 15, 25, 15],
    ]
    outputs = [{"loss": np.array(1.0), "terms": terms, "counts": np.array(counts[rank])}] * 3
    trainer.on_train_epoch_end(outputs)
    logged = {k: v[-1] for k, v in trainer.logger.get_checkpoint().items() if "pclmix" in k}
    for _ in range(5 * rank):
        trainer._finite.see(float("nan"), {"contrast": float("nan")}, "iteration 7")
    trainer.current_epoch += 1
    try:
        trainer.on_train_epoch_end(outputs)
        stopped = None
    except RuntimeError as error:
        stopped = str(error)
    torch.save((logged, stopped), f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_processes_log_the_same_and_stop_together(nnunet, tmp_path):
    mp.spawn(end_an_epoch, (free_port(), str(nnunet), str(tmp_path)), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2))
    assert one == two
    logged, stopped = one
    assert "not finite in 5 iterations in a row from iteration 7, in contrast" in stopped
    assert logged["pclmix_scribble_main"] == 0.5
    assert logged["pclmix_annotated_share"] == 1
    assert logged["pclmix_annotated"] == [1 / 40, 2 / 40]
    assert logged["pclmix_predicted_main"] == [15 / 40, 0]
    assert logged["pclmix_predicted_auxiliary"] == [2 / 40, 0]
    assert logged["pclmix_decoder_agreement"] == pytest.approx(23 / 40)
    assert logged["pclmix_certain_share"] == pytest.approx(30 / 40)
    assert logged["pclmix_queue_fill"] == pytest.approx(15 / 150)


def test_torchrun_trains_in_two_processes_and_restarts_from_the_checkpoint(nnunet, tmp_path):
    """A worker dies in the second epoch; torchrun starts both again and the training ends."""
    program = tmp_path / "dies_once.py"
    program.write_text(
        "import os, sys, torch\n"
        "torch.set_num_threads(1)\n"
        "from nnunetv2_pclmix import train, variants\n"
        "from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix as T\n"
        "T.epochs = 3\n"
        "initialize = T.initialize\n"
        "def short(self):\n"
        "    self.num_iterations_per_epoch = self.num_val_iterations_per_epoch = 2\n"
        "    self.save_every = 1\n"
        "    initialize(self)\n"
        "T.initialize = short\n"
        "step = T.train_step\n"
        "def train_step(self, batch):\n"
        "    first_life = os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'\n"
        "    if first_life and self.current_epoch == 2 and self.local_rank == 1:\n"
        "        os._exit(1)\n"
        "    return step(self, batch)\n"
        "T.train_step = train_step\n"
        "if __name__ == '__main__':\n"
        "    train.main(sys.argv[1:])\n"
    )
    torchrun = subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--max-restarts", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint"),
            *(f"localhost:{free_port()}", str(program), "901", "2d", "0", "-device", "cpu"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    try:
        printed, _ = torchrun.communicate(timeout=300)
    finally:
        torchrun.terminate()  # which ends its workers; killed, it would leave them behind
        torchrun.wait(60)
    assert torchrun.returncode == 0, printed
    (folder,) = (nnunet / "nnUNet_results" / DATASET).glob("nnUNetTrainerPCLMix__*/fold_0")
    assert (folder / "checkpoint_final.pth").exists()
    assert (folder / "validation" / "summary.json").exists()
    lives = [p.read_text() for p in sorted(folder.glob("training_log*"))]
    began = [[i for i in range(3) if f": Epoch {i} " in log] for log in lives]
    # the second life went on where the first had saved; the first may have begun the epoch, too
    assert len(lives) == 2
    assert began[0] in ([0, 1], [0, 1, 2])
    assert began[1] == [2]
