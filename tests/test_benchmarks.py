"""The benchmarks of speed and memory run, and their JSON files hold what is read from them."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
STOCK, ONE_PASS = "nnUNetTrainer", "nnUNetTrainerStrokeSupport"
OURS = "nnUNetTrainerPCLMix"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, "")  # set by the benchmark, and as before afterwards
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))  # where the package is not installed


def test_step(benchmarks, tmp_path, monkeypatch, capsys):
    import step

    start = step.in_process

    def in_process(what, plan, name, args):
        if what == "startup" and name == STOCK:  # one real process will do
            return start(what, plan, name, args)
        changes = {"child": [what, plan, name], "started": time.time()}
        return step.child(argparse.Namespace(**{**vars(args), **changes}))

    monkeypatch.setattr(step, "in_process", in_process)
    out = tmp_path / "step.json"
    narrow = f"{OURS}:auxiliary_max_width=32"
    words = ["--size", "tiny", "--plans", "acdc_2d", "--threads", "1", "--device", "cpu"]
    words += ["--rounds", "1", "--starts", "1", "--trainers", STOCK, OURS, narrow]
    step.main([*words, "--out", str(out)])
    content = json.loads(out.read_text())
    result = content["results"]["acdc_2d"]
    assert list(result["steps"]) == list(result["memory_mib"]) == [STOCK, OURS, narrow]
    assert result["steps"][STOCK]["ratio_quartiles"] == [1, 1, 1]
    stock, *others = (result["tensor_mib"][name]["value"] for name in (STOCK, OURS, narrow))
    assert 0 < stock < min(others)  # the whole method's, in the tests
    assert list(result["loader"]) == list(content["startup"]["startup"]) == [STOCK, OURS]
    assert result["inference"]["same_network"]
    assert result["inference"]["weight_bytes"][OURS]["ratio"] == 1
    parts = result["parts"][OURS]
    for number in (1, 2):
        assert {f"forward {number}", f"backward {number}", f"losses {number}"} <= parts.keys()
    assert 0 < parts["not network"] < parts["step"]
    assert content["machine"]["device"] == "cpu" and content["versions"]["torch"]
    assert "parts of nnUNetTrainerPCLMix" in capsys.readouterr().out


def test_peak_memory_is_what_tensors_hold_at_once(benchmarks):
    from peak_memory import peak_mib

    def run():
        a = torch.zeros(2**20)
        del a  # 4 MiB, gone when the next ones come
        return torch.zeros(2**20) + torch.zeros(2**20)

    assert peak_mib(run, torch.device("cpu")) == pytest.approx(12, abs=0.1)


def test_a_step_in_parts_makes_the_same_weights(benchmarks, tmp_path):
    import step
    from step_parts import Clock, split_step
    from synthetic_task import PLANS, random_batch, write_task

    write_task(tmp_path, {"acdc_2d": PLANS["tiny"]["acdc_2d"]}, patients=2)
    args = argparse.Namespace(device="cpu")
    whole, split = (step.ready_trainer(OURS, "acdc_2d", args) for _ in range(2))
    batch = random_batch(whole)
    torch.manual_seed(1)
    whole.train_step(batch)
    torch.manual_seed(1)
    split_step(split, batch, Clock(torch.device("cpu")))
    state = whole.network.state_dict()
    for name, value in split.network.state_dict().items():
        torch.testing.assert_close(value, state[name])


def test_a_step_without_a_gpu(benchmarks, tmp_path, capsys):
    import step
    import without_gpu
    from peak_memory import peak_mib
    from synthetic_task import PLANS, random_batch, write_task

    out, plan = tmp_path / "without_gpu.json", "acdc_2d"
    words = ["--size", "tiny", "--plans", plan, "--trainers", STOCK, ONE_PASS, OURS]
    without_gpu.main([*words, "--out", str(out)])
    counted = json.loads(out.read_text())["results"][plan]
    full, half = counted["float32"], counted["half"]
    assert [full["flops"][name]["ratio"] == 1 for name in (STOCK, ONE_PASS, OURS)] == [1, 1, 0]
    # stock asks on every level whether something is annotated; each moves its loss to the host
    levels = len(PLANS["tiny"][plan].features) - 1
    asked = [full["synchronisations"][name]["value"] for name in (STOCK, ONE_PASS, OURS)]
    assert asked == [levels, 1, 1]
    for name in (STOCK, ONE_PASS):
        assert half["peak_mib"][name]["value"] < 0.8 * full["peak_mib"][name]["value"]
    assert "synchronisations" in capsys.readouterr().out

    # in float32 the peak is that of a real step
    write_task(tmp_path / "real", {plan: PLANS["tiny"][plan]}, patients=2)
    for name in (STOCK, ONE_PASS):
        trainer = step.ready_trainer(name, plan, argparse.Namespace(device="cpu"))
        batch = random_batch(trainer)
        trainer.train_step(batch)
        trainer.optimizer.zero_grad(set_to_none=True)
        real = peak_mib(lambda t=trainer, b=batch: t.train_step(b), torch.device("cpu"))
        real += step.persistent_bytes(trainer) / 2**20
        assert full["peak_mib"][name]["value"] == pytest.approx(real, rel=0.05)


def test_numbers_that_are_copied_to_the_device_are_seen(benchmarks):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from without_gpu import Tally

    def copies(change):
        with FakeTensorMode(), Tally() as tally:
            change(torch.zeros(5), torch.zeros(5) > 1)
        return tally.copies

    def indexed(x, _):
        x[3] = 0.0

    def filled(x, where):
        x.masked_fill_(where, 2.0)
        x[1:3] = 2.0
        x.new_full((), 3.0).add_(x.clamp(min=1).sum()).mul_(2)

    assert copies(indexed) == 1
    assert copies(lambda x, _: x * torch.tensor(0.5)) == 1
    assert copies(lambda x, _: x[[0, 2]]) == 1
    assert copies(filled) == 0


def run_gpu_sh(out, **settings):
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **settings}
    environment.pop("nnUNet_n_proc_DA", None)
    command = ["bash", str(FOLDER / "gpu.sh"), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done, json.loads((out / "gpu.json").read_text()), (out / "table.txt").read_text()


def test_what_a_gpu_has_to_show_runs_without_one(benchmarks, tmp_path):
    trainers = f"{STOCK} {OURS}"
    done, figures, table = run_gpu_sh(tmp_path, GPU_SECONDS="900", GPU_TRAINERS=trainers)
    parts = {part["part"]: part["status"] for part in figures["parts"]}
    assert set(parts.values()) == {"ok"}, (tmp_path / "log.txt").read_text()[-5000:]
    assert done.returncode == 0
    assert {"doctor", "main_job", "continued", "prediction", "steps_2d", "steps_3d"} < parts.keys()
    assert figures["continued"]["epochs_in_the_end"] == 5
    assert figures["prediction"]["different_voxels"] == 0  # both on the CPU
    assert list(figures["steps_2d"]["results"]["acdc_2d"]["steps"]) == [STOCK, OURS]
    assert "figures that are missing: none" in table


def test_what_there_is_no_time_for_is_named(benchmarks, tmp_path):
    done, figures, table = run_gpu_sh(tmp_path, GPU_SECONDS="5")
    assert done.returncode == 1
    assert all("no time left" in part["status"] for part in figures["parts"])
    assert "missing: steps_2d, steps_3d, continued, prediction" in table


def test_growth(benchmarks, tmp_path):
    import growth

    out = tmp_path / "growth.json"
    growth.main(
        ["--sizes-2d", "32", "64", "--sizes-3d", "16", "--classes", "2", "3", "--repeats", "1"]
        + ["--threads", "1", "--device", "cpu", "--out", str(out)]
    )
    content = json.loads(out.read_text())
    two, three, classes = content["series"].values()
    assert [row["voxels"] for row in two["rows"]] == [2 * 32**2, 2 * 64**2]
    assert [row["voxels"] for row in three["rows"]] == [2 * 16**3]
    assert [row["classes"] for row in classes["rows"]] == [2, 3]
    assert two["rows"][1]["mib"] > two["rows"][0]["mib"] > 0
    assert three["exponents"] == {"seconds": None, "mib": None}
    assert out.with_suffix(".png").stat().st_size > 1000


def test_exponent_of_the_larger_half(benchmarks):
    import growth

    assert growth.exponent([1, 2, 4, 8], [9, 9, 32, 128]) == 2
    assert growth.exponent([1, 2], [3, 6]) == 1
    assert growth.exponent([1], [3]) is None
