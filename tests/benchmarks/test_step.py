"""The benchmark of a training step runs, and its JSON file holds what is read from it."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.benchmarks.conftest import FOLDER

pytestmark = pytest.mark.slow

STOCK, OURS, ONE_PASS = "nnUNetTrainer", "nnUNetTrainerPCLMix", "nnUNetTrainerStrokeSupport"
TINY = ("--size", "tiny", "--plans", "acdc_2d", "--threads", "1", "--device", "cpu")
TINY = (*TINY, "--rounds", "1", "--starts", "1")


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
    step.main([*TINY, "--trainers", STOCK, OURS, narrow, "--out", str(out)])
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
    assert content["missing"] == {"acdc_2d": []} and content["failed"] == {}
    printed = capsys.readouterr()
    assert "parts of nnUNetTrainerPCLMix" in printed.out
    lines = [line.partition(" s: ")[2] for line in printed.err.splitlines()]
    wanted = [f"acdc_2d: {what}" for what in (f"{OURS} ends", "steps begins", "steps ends")]
    assert sorted(wanted, key=lines.index) == wanted


def test_the_file_is_awaited_and_what_was_measured_outlasts_a_kill(benchmarks, tmp_path):
    out, begin = tmp_path / "step.json", tmp_path / "begin"

    def content_where(true):
        while not (out.exists() and true(content := json.loads(out.read_text()))):
            assert process.poll() is None
            time.sleep(0.02)
        return content

    command = [sys.executable, "-W", "ignore", str(FOLDER / "step.py"), *TINY, "--out", str(out)]
    command += ["--trainers", STOCK, "--sections", "startup", "steps", "--begin-when", str(begin)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        content_where(lambda content: "ready" in content["results"]["acdc_2d"])
        time.sleep(0.5)
        waiting = json.loads(out.read_text())
        begin.touch()
        content = content_where(lambda content: "steps" in content["results"]["acdc_2d"])
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with the process that startup has begun
    assert waiting["missing"] == {"acdc_2d": ["steps", "startup"]}
    assert "waits for begin" in process.communicate()[1]
    assert content["missing"] == {"acdc_2d": ["startup"]}
    assert json.loads(out.read_text()) == content


def test_what_fails_is_named_and_the_rest_goes_on(benchmarks, tmp_path, monkeypatch, capsys):
    import step

    def fails(*_):
        raise IndexError("out of\nrange")

    monkeypatch.setattr(step.nnUNetTrainerPCLMix, "train_step", fails)
    monkeypatch.setitem(step.MEASURES, "waits", fails)
    out = tmp_path / "step.json"
    words = ["--trainers", STOCK, ONE_PASS, "--sections", "parts", "waits", "steps"]
    with pytest.raises(SystemExit, match=f"acdc_2d, {ONE_PASS}: IndexError: out of\n"):
        step.main([*TINY, *words, "--out", str(out)])
    content = json.loads(out.read_text())
    assert content["failed"] == {
        "acdc_2d": dict.fromkeys((ONE_PASS, "waits"), "IndexError: out of")
    }
    assert content["missing"] == {"acdc_2d": ["waits"]}
    assert list(content["results"]["acdc_2d"]["steps"]) == [STOCK]
    assert "line" in capsys.readouterr().err  # the traceback


def test_who_is_not_ready_in_time_is_left_out(benchmarks, tmp_path, monkeypatch):
    import step

    def warm_up(name, bench):
        if name == OURS:
            time.sleep(60)
        bench.trainers[name] = name

    monkeypatch.setattr(step, "warm_up", warm_up)
    monkeypatch.setattr(step, "MEASURES", {"steps": lambda bench: {"steps": [*bench.trainers]}})
    words = ["--trainers", STOCK, OURS, "--sections", "steps", "--ready-by", str(time.time() + 1)]
    record = step.Record(step.parse([*TINY, *words]))
    step.measure_plan("acdc_2d", record)
    assert record.content["results"]["acdc_2d"]["steps"] == [STOCK]
    assert record.content["results"]["acdc_2d"]["ratios_to"] == STOCK
    assert list(record.content["results"]["acdc_2d"]["ready"]) == [STOCK]
    assert "TooLate: not ready within" in record.content["failed"]["acdc_2d"][OURS]
    assert record.content["missing"] == {"acdc_2d": []}
