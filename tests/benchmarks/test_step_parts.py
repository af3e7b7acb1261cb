"""A step that is timed in parts is the trainer's own step."""

import argparse

import pytest
import torch

pytestmark = pytest.mark.slow

OURS = "nnUNetTrainerPCLMix"


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
