"""The benchmark of a training step runs, and its JSON file holds what is read from it."""

import argparse
import json
import time

import pytest

pytestmark = pytest.mark.slow

STOCK, OURS = "nnUNetTrainer", "nnUNetTrainerPCLMix"


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
