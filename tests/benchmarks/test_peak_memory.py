"""What tensors hold at once, in closed form."""

import pytest
import torch


def test_peak_memory_is_what_tensors_hold_at_once(benchmarks):
    from peak_memory import peak_mib

    def run():
        a = torch.zeros(2**20)
        del a  # 4 MiB, gone when the next ones come
        return torch.zeros(2**20) + torch.zeros(2**20)

    assert peak_mib(run, torch.device("cpu")) == pytest.approx(12, abs=0.1)
