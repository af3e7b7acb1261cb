"""Training in two processes (gloo, CPU) against training in one, on the same global batch.

And what else several processes must do: exchange gradients once per iteration, mix although each
has one sample, log the same, stop together, begin again when one is lost.
"""

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.variants.loss.nnUNetTrainerDiceLoss import (
    nnUNetTrainerDiceCELoss_noSmooth,
)
from nnunetv2.training.nnUNetTrainer.variants.optimizer.nnUNetTrainerAdam import nnUNetTrainerAdam
from torch import distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel as DDP

from nnunetv2_pclmix.method.dynamic_mix import Mix, box_mask, draw_mix
from nnunetv2_pclmix.method.global_mean import gather_batch, global_mean
from nnunetv2_pclmix.train import count_lives, main
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from nnunetv2_pclmix.training.distributed import bare
from tests.conftest import DATASET, in_processes
from tests.nnunetv2_pclmix.commands.test_train import as_under_torchrun

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


def make_trainer(root: str, settings: dict, *variants: type, device: str = "cpu"):
    from nnunetv2_pclmix.config import PCLMixConfig

    folder = Path(root) / "nnUNet_preprocessed" / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    cls = type(
        "nnUNetTrainerPCLMix",
        (*variants, nnUNetTrainerPCLMix),
        {"config": PCLMixConfig(**settings)},
    )
    dataset_json = json.loads((folder / "dataset.json").read_text())
    torch.manual_seed(3)
    plans["continue_training"] = False
    trainer = cls(plans, "2d", 0, dataset_json, torch.device(device))
    trainer.num_epochs, trainer.num_iterations_per_epoch = 1, STEPS
    if device == "cpu":  # others are not here
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
    return Mix(first ^ 1, boxes.repeat(batch_size // 2, *[1] * (boxes.ndim - 1)))


def exchange(exchanged: list[int], bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """What DDP does by itself with a bucket of gradients, noted."""
    exchanged.append(bucket.index())
    return allreduce_hook(None, bucket)


class Noted:
    """torch.distributed; notes which functions are asked for."""

    def __init__(self) -> None:
        self.names = []

    def __getattr__(self, name: str):
        self.names.append(name)
        return getattr(dist, name)


def steps_of(settings: dict) -> int:
    """Without support pseudo labels count from the first step on, and rounding turns some over."""
    return STEPS if settings.get("stroke_support", True) else 1


def train(root: str, settings: dict, part: slice) -> dict:
    trainer = make_trainer(root, settings)
    trainer.network.train()
    exchanged, inputs, steps, counts = [], [], [], []
    if trainer.is_ddp:
        trainer.network.register_comm_hook(exchanged, exchange)
    trainer.network.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    for batch in make_batches(trainer, 4)[: steps_of(settings)]:
        targets = [t[part] for t in batch["target"]]
        with patch("nnunetv2_pclmix.method.global_mean.dist", Noted()) as noted:
            trainer.train_step({"data": batch["data"][part], "target": targets})
        counts.append([name for name in noted.names if name.startswith("all_")])
        steps.append(exchanged.copy())
        exchanged.clear()
    network = bare(trainer.network)
    return {
        "parameters": {k: v.detach().clone() for k, v in network.named_parameters()},
        "memory": trainer.step.memory.state_dict() if trainer.step.memory is not None else {},
        "exchanged": steps,
        "counts": counts,
        "inputs": inputs,
    }


def join(rank: int, port: int, root: str) -> None:
    """Make this one of two processes, with nnU-Net's folders below ``root``."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = f"{root}/{name}"
    store = f"tcp://localhost:{port}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)


def train_one_of_two(
    rank: int, port: int, root: str, settings: dict, samples: int, out: str
) -> None:
    """With as many samples per process; with two, the mix is that of one process."""
    torch.set_num_threads(1)
    join(rank, port, root)
    mix = swap_neighbours if samples == 2 else draw_mix
    with patch("nnunetv2_pclmix.training.step.draw_mix", mix):
        result = train(root, settings, slice(samples * rank, samples * (rank + 1)))
    torch.save(result, f"{out}/rank{rank}.pt")
    dist.destroy_process_group()


def in_two_processes(root: Path, settings: dict, samples: int, out: Path) -> list[dict]:
    in_processes(train_one_of_two, free_port(), str(root), settings, samples, str(out))
    return [torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        {**SETTINGS, "partial_dice": 0.0},
        {**SETTINGS, "stroke_support": False, "stroke_growth": 0.0},
        {**SETTINGS, "contrast": False, "partial_dice": 0.0},
        {**SETTINGS, "auxiliary_decoder": False, "contrast_start": 1.0},
        {**SETTINGS, "dynamic_mix": False, "contrast_start": 0.5},
    ],
    ids=[
        "all",
        "no Dice",
        "no support",
        "no contrast, no Dice",
        "no auxiliary, contrast not begun",
        "no mix",
    ],
)
def test_two_processes_train_as_one_does(nnunet, tmp_path, settings):
    with patch("nnunetv2_pclmix.training.step.draw_mix", swap_neighbours):
        alone = train(str(nnunet), settings, slice(0, 4))
    ranks = in_two_processes(nnunet, settings, 2, tmp_path)
    # with everything on, rounding turns a pseudo label over, which is no rounding any more
    close = {"rtol": 1e-3, "atol": 1e-4 if settings == SETTINGS else 5e-6}
    for rank in ranks:
        # two passes or one, each gradient crosses once in an iteration
        for exchanged in rank["exchanged"]:
            assert exchanged
            assert sorted(exchanged) == list(range(len(exchanged)))
        for name, value in alone["parameters"].items():
            torch.testing.assert_close(rank["parameters"][name], value, **close)
        for name, value in alone["memory"].items():
            torch.testing.assert_close(rank["memory"][name], value, rtol=1e-3, atol=1e-4)
    passes = 2 if settings.get("dynamic_mix", True) else 1
    assert len(alone["inputs"]) == len(ranks[0]["inputs"]) == steps_of(settings) * passes
    # the classes' thickness, the strokes' probability, counts and Dice of each pass, what is queued
    from_strokes = settings.get("stroke_support", True) + (settings.get("stroke_growth", 0.5) > 0)
    of_passes = passes * (1 + (settings.get("partial_dice", 1.0) > 0))
    counts = ["all_reduce"] * (of_passes + from_strokes)
    counts += ["all_gather"] * settings.get("contrast", True)
    assert [sorted(names) for names in ranks[0]["counts"]] == [sorted(counts)] * steps_of(settings)
    assert alone["counts"] == [[]] * steps_of(settings)
    moved = bare(make_trainer(str(nnunet), settings).network).named_parameters()
    assert any(not torch.equal(alone["parameters"][name], value) for name, value in moved)


def test_with_one_sample_per_process_the_previous_one_is_mixed_in(nnunet, tmp_path):
    ranks = in_two_processes(nnunet, SETTINGS, 1, tmp_path)
    for rank in ranks:
        images, mixed = rank["inputs"][0::2], rank["inputs"][1::2]
        assert len(images) == len(mixed) == STEPS
        assert torch.equal(mixed[0], images[0])  # nothing came before the first
        for now, before, x in zip(images[1:], images, mixed[1:], strict=False):
            own, other = x == now, x == before
            assert (own ^ other).all()
            assert own.any()
            assert other.any()
    one, two = ranks
    for part in ("parameters", "memory"):
        assert all(torch.equal(one[part][name], two[part][name]) for name in one[part])
    # regions of both processes: each has one sample per step
    assert one["memory"]["filled"].max() > STEPS


@pytest.mark.parametrize("variant", [nnUNetTrainerAdam, nnUNetTrainerDiceCELoss_noSmooth])
def test_variants_of_nnunets_are_wrapped_although_they_do_not_ask_ours(nnunet, alone, variant):
    trainer = make_trainer(str(nnunet), SETTINGS, variant)
    assert trainer.is_ddp
    assert isinstance(trainer.network, DDP)
    assert trainer.loss.loss.dc.ddp
    assert isinstance(trainer.optimizer, torch.optim.AdamW) == (variant is nnUNetTrainerAdam)
    assert trainer.loss.loss.dc.smooth == (1e-5 if variant is nnUNetTrainerAdam else 0)
    result = trainer.train_step(make_batches(trainer, 2)[0])
    assert np.isfinite(result["loss"])


def test_a_strangers_local_rank_does_not_choose_the_device(nnunet, alone, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)  # as nnU-Net has set it
    assert make_trainer(str(nnunet), SETTINGS, device="cuda").device == torch.device("cuda", 3)


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
    in_processes(gather, free_port(), str(tmp_path))
    for rank in range(2):
        values, flags, mean = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert values[:, 0].tolist() == [1, 1, 2, 0]
        assert flags[:, 0].tolist() == [True, True, True, False]
        assert mean == 2 * 6 / 8


def end_an_epoch(rank: int, port: int, root: str, out: str) -> None:
    """Rank 1 has seen losses that were not finite in the second of two epochs."""
    join(rank, port, root)
    trainer = make_trainer(root, SETTINGS)
    terms = np.arange(len(trainer.epoch_log.term_names)) + float(rank)
    # 10 voxels in rank 0, 30 in rank 1: annotated, main, auxiliary; agreeing, certain, entries;
    # trust times voxels, implied, unknown; norm of the gradient, finite, clipped
    counts = [
        [10, 7, 1, 2, 10, 0, 0, 8, 2, 0, 8, 5, 15, 5, 4, 1, 2, 1, 0],
        [30, 30, 0, 0, 15, 15, 0, 30, 0, 0, 15, 25, 15, 15, 20, 3, 2, 1, 0],
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
    in_processes(end_an_epoch, free_port(), str(nnunet), str(tmp_path))
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
    assert logged["pclmix_stroke_trust"] == pytest.approx(20 / 40)
    assert logged["pclmix_implied_share"] == pytest.approx(24 / 40)
    assert logged["pclmix_unknown_share"] == pytest.approx(4 / 40)


def write_slowly(content: list, file: str) -> None:
    """As nnU-Net's save_json, on a busy disk."""
    with Path(file).open("w") as f:
        time.sleep(0.5)
        json.dump(content, f)


def start_without_splits(rank: int, port: int, root: str) -> None:
    join(rank, port, root)
    trainer = make_trainer(root, SETTINGS)
    dist.barrier()
    splits = Path(root, "nnUNet_preprocessed", DATASET, "splits_final.json")
    while rank == 1 and not splits.exists():  # the second finds the file that the first has begun
        time.sleep(0.01)
    module = "nnunetv2.training.nnUNetTrainer.nnUNetTrainer"
    with (
        patch(f"{module}.save_json", write_slowly),
        patch(f"{module}.nnUNetTrainer.on_train_start"),  # of nnU-Net's; ours comes before
    ):
        trainer.on_train_start()
    dist.destroy_process_group()


def test_processes_that_start_without_splits_do_not_read_half_a_file(nnunet):
    splits = nnunet / "nnUNet_preprocessed" / DATASET / "splits_final.json"
    splits.unlink(missing_ok=True)
    in_processes(start_without_splits, free_port(), str(nnunet))
    assert len(json.loads(splits.read_text())) == 5


def test_a_machine_that_loses_its_worker_restarts_all_from_the_checkpoint(
    nnunet, tmp_path, commands_without_processes
):
    """Two launchers, as on two machines, of one process each; one is lost in the third epoch.

    The other waits for it, as it would with NCCL, so that its launcher restarts it without having
    seen any failure.
    """
    program = tmp_path / "dies_once.py"
    program.write_text(
        "import os, pathlib, sys, time, torch\n"
        "torch.set_num_threads(1)\n"
        "from unittest.mock import Mock\n"
        "from nnunetv2_pclmix import train\n"
        "from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix as T\n"
        "from tests.nnunetv2_pclmix.conftest import draw_none\n"
        "draw_none(Mock(setattr=setattr))\n"
        "T.epochs = 3\n"
        "initialize = T.initialize\n"
        "def short(self):\n"
        "    self.num_iterations_per_epoch = self.num_val_iterations_per_epoch = 2\n"
        "    self.save_every = 1\n"
        "    initialize(self)\n"
        "T.initialize = short\n"
        "step = T.train_step\n"
        "waits, died = (pathlib.Path(__file__).with_name(n) for n in ('waits', 'died'))\n"
        "def train_step(self, batch):\n"
        "    if self.current_epoch == 2 and not died.exists():\n"
        "        if os.environ['RANK'] == '0':\n"
        "            waits.touch()\n"
        "            time.sleep(1000)\n"
        "        while not waits.exists():\n"
        "            time.sleep(0.05)\n"
        "        died.touch()\n"
        "        os._exit(1)\n"
        "    return step(self, batch)\n"
        "T.train_step = train_step\n"
        "if __name__ == '__main__':\n"
        "    with died.with_name('starts').open('a') as starts:\n"
        "        print(os.environ['RANK'], file=starts)\n"
        "    train.main(sys.argv[1:])\n"
    )
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
        *("--max-restarts", "1", "--rdzv-backend", "c10d", "--local-addr", "localhost"),
        *("--rdzv-endpoint", f"localhost:{free_port()}", str(program)),
        *("901", "2d", "0", "-device", "cpu", "--val_best"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launchers = []
    try:
        for i in range(2):
            with (tmp_path / f"{i}.log").open("w") as log:
                launchers.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
        for launcher in launchers:
            launcher.wait(600)
    finally:
        for launcher in launchers:
            launcher.terminate()  # which ends its worker; killed, it would leave it behind
            launcher.wait(60)
    printed = [(tmp_path / f"{i}.log").read_text() for i in range(2)]
    assert [launcher.returncode for launcher in launchers] == [0, 0], "\n".join(printed)
    (folder,) = (nnunet / "nnUNet_results" / DATASET).glob("nnUNetTrainerPCLMix__*/fold_0")
    assert (folder / "checkpoint_final.pth").exists()
    assert (folder / "validation" / "summary.json").exists()
    lives = [p.read_text() for p in sorted(folder.glob("training_log*"))]
    began = [[i for i in range(3) if f": Epoch {i} " in log] for log in lives]
    assert began == [[0, 1, 2], [2]], "\n".join(printed)
    # all met at once
    assert sorted((tmp_path / "starts").read_text().split()) == ["0", "0", "1", "1"]


def test_the_living_agree_on_their_life_whatever_the_dead_have_left():
    """Three processes; of two lives before, one died before all had met, one after."""
    store = dist.HashStore()
    store.add("pclmix_lives", 2)
    store.set("pclmix_asks/1", "dead")
    store.set("pclmix_asks/2", "dead")
    store.set("pclmix_knows/2/1", "")
    with ThreadPoolExecutor(3) as processes:
        counted = processes.map(lambda rank: count_lives(store, rank, 3), range(3), timeout=60)
        assert list(counted) == [3, 3, 3]


def test_torchrun_options_that_exclude_each_other_are_refused(monkeypatch, capsys):
    as_under_torchrun(monkeypatch)
    for pair in (["--c", "--val"], ["--val_best", "--disable_checkpointing"]):
        with pytest.raises(SystemExit):
            main(["901", "2d", "0", *pair])
        assert f"{pair[0]} and {pair[1]} exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--disable_checkpointing"]])
def test_a_restart_before_the_training_began_takes_up_no_earlier_one(nnunet, monkeypatch, options):
    name = "nnUNetTrainerPCLMix__nnUNetPlans__2d"
    folder = nnunet / "nnUNet_results" / DATASET / name / "fold_0"
    folder.mkdir(parents=True)
    final = folder / "checkpoint_final.pth"
    final.write_text("of the earlier training")
    epochs, validated = [], []

    def run_training(self):
        epochs.append(self.current_epoch)
        if len(epochs) == 1:
            raise ConnectionError("a worker is lost")

    monkeypatch.setattr(nnUNetTrainerPCLMix, "run_training", run_training)
    monkeypatch.setattr(
        nnUNetTrainerPCLMix, "perform_actual_validation", lambda *_: validated.append(True)
    )
    monkeypatch.setenv("nnUNet_extTrainer", "")
    address = {"MASTER_ADDR": "localhost", "MASTER_PORT": free_port()}
    for variable, value in ({"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1} | address).items():
        monkeypatch.setenv(variable, str(value))
    command = ["901", "2d", "0", "-device", "cpu", *options]
    with pytest.raises(ConnectionError):
        main(command)
    kept = final if options else folder / "earlier_training_1" / final.name
    assert kept.read_text() == "of the earlier training"
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    main(command)
    assert epochs == [0, 0]
    assert validated
