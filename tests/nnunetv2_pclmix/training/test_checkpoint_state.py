"""What a checkpoint holds beside nnU-Net's own, and with which settings a training goes on."""

import numpy as np
import pytest
import torch

from nnunetv2_pclmix.training.checkpoint_state import (
    plain,
    random_state,
    restore_random_state,
    state_to_continue,
)

SETTINGS = {"temperature": 0.07, "snapshot_every": 50}


def continued(config, tell=lambda text: None, settings=SETTINGS):
    checkpoint = {"pclmix": {"config": config, "trainer_name": "Other", "iteration": 3}}
    return state_to_continue(checkpoint, "a.pth", "Ours", settings, tell)


def test_numbers_of_numpy_become_pythons_own():
    content = {"a": [np.float32(0.5), (np.int64(2), "x")], "b": np.arange(3)}
    assert plain(content) == {"a": [0.5, (2, "x")], "b": [0, 1, 2]}
    assert type(plain(content)["a"][0]) is float


def test_the_same_numbers_are_drawn_after_a_state_is_restored():
    state = random_state(torch.device("cpu"))
    drawn = torch.rand(3)
    restore_random_state(state, torch.device("cpu"))
    assert torch.equal(torch.rand(3), drawn)


def test_the_same_settings_go_on():
    assert continued(dict(SETTINGS))["iteration"] == 3


def test_what_is_only_drawn_may_differ():
    assert continued({**SETTINGS, "snapshot_every": 0})


def test_other_settings_are_refused_by_name():
    with pytest.raises(RuntimeError, match="trained by Other.*temperature = 7.0, now 0.07"):
        continued({**SETTINGS, "temperature": 7.0})


def test_a_setting_that_the_checkpoint_does_not_know_is_told():
    told = []
    continued({"snapshot_every": 50}, told.append)
    assert told == ["settings that the checkpoint does not know: ['temperature']"]


def test_another_trainers_checkpoint_is_refused():
    with pytest.raises(RuntimeError, match="a.pth was not written by Ours.*-pretrained_weights"):
        state_to_continue({}, "a.pth", "Ours", SETTINGS, print)


@pytest.mark.parametrize(
    ("begun", "today"),
    [
        ("nnUNetTrainerPCLMix", "nnUNetTrainerStrokeSupport"),
        ("nnUNetTrainerPCLMix_20epochs", "nnUNetTrainerStrokeSupport_20epochs"),
        ("nnUNetTrainerPCLMix_whole", "nnUNetTrainerPCLMix"),
        ("nnUNetTrainerPCLMix_noMix", "nnUNetTrainerPCLMix_noMix"),
    ],
)
def test_a_training_begun_under_an_old_name_is_refused_with_todays(begun, today):
    checkpoint = {"pclmix": {"config": dict(SETTINGS), "trainer_name": begun, "iteration": 3}}
    with pytest.raises(RuntimeError, match=f"begun by {begun} .*begin anew with -tr {today},"):
        state_to_continue(checkpoint, "a.pth", "Ours", SETTINGS, print)
    checkpoint["pclmix"]["config"]["auxiliary_levels"] = 3  # of today
    assert state_to_continue(checkpoint, "a.pth", "Ours", SETTINGS, print)
