"""What keeps a training from beginning is said at once, with the remedy."""

import torch

from nnunetv2_pclmix.training import requirements
from nnunetv2_pclmix.training.requirements import unsupported

CPU = torch.device("cpu")


def test_nothing_is_wrong():
    assert unsupported({"ignore": 2}, True, CPU, 4, True) == []


def test_all_problems_at_once(monkeypatch):
    monkeypatch.setattr(requirements, "world_size", lambda: 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    no_ignore, no_gpu, shares = unsupported({"a": 1}, False, torch.device("cuda"), 4, True)
    assert "no 'ignore' label (labels: {'a': 1})" in no_ignore
    assert "-device cpu" in no_gpu and "small-plans" in no_gpu
    assert "batch of 4" in shares and "3 processes" in shares


def test_each_sample_with_a_dice_of_its_own_can_be_shared_by_any_number(monkeypatch):
    monkeypatch.setattr(requirements, "world_size", lambda: 3)
    assert unsupported({}, True, CPU, 4, False) == []
