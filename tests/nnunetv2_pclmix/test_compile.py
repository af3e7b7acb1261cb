"""torch.compile, nnU-Net's default on CUDA: the network is captured whole, and only once."""

from functools import partial
from unittest.mock import patch

import pytest
import torch
from torch._dynamo import OptimizedModule
from torch._dynamo.testing import CompileCounter

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.network import PCLMixNetwork
from tests.nnunetv2_pclmix.method.test_network import GEOMETRIES, K, stock_network
from tests.nnunetv2_pclmix.test_trainer import make_trainer


@pytest.mark.parametrize(("patch", "strides"), [GEOMETRIES[0], GEOMETRIES[4]])
def test_network_is_one_graph_and_is_not_compiled_again(patch, strides):
    torch._dynamo.reset()
    network = PCLMixNetwork(stock_network(patch, strides), patch, K, PCLMixConfig(embedding_dim=8))
    counter = CompileCounter()  # captures, needs no compiler
    compiled = torch.compile(network, backend=counter, fullgraph=True)
    x = torch.randn(2, 1, *patch)
    torch.testing.assert_close(compiled(x).auxiliary, network(x).auxiliary)
    for _ in range(3):
        compiled(torch.randn(2, 1, *patch))
    assert counter.frame_count == 1
    network.eval()
    torch.testing.assert_close(compiled(x)[0], network(x)[0])
    assert counter.frame_count == 2


def test_a_training_compiles_in_its_first_iterations_only(nnunet, monkeypatch):
    """By nnU-Net's own calls of torch.compile, for the network and the Dice of its loss."""
    torch._dynamo.reset()
    counter = CompileCounter()
    whole = partial(torch.compile, backend=counter, fullgraph=True)  # a graph break is an error
    monkeypatch.setattr(torch, "compile", whole)
    trainer = make_trainer(nnunet)
    trainer._do_i_compile = lambda: True
    trainer.initialize()
    assert isinstance(trainer.network, OptimizedModule)
    compiled = []

    def counted(step):
        def run(batch):
            result = step(batch)
            compiled.append(counter.frame_count)
            return result

        return run

    trainer.train_step = counted(trainer.train_step)
    trainer.validation_step = counted(trainer.validation_step)
    trainer.run_training()
    # of each epoch four iterations and a validation
    assert compiled[0] > 0
    assert compiled[:4] == [compiled[0]] * 4
    assert compiled[4:] == [compiled[4]] * 6
    trainer.perform_actual_validation()


def test_with_several_processes_what_exchanges_nothing_is_compiled(nnunet, alone, monkeypatch):
    torch._dynamo.reset()
    trainer = make_trainer(nnunet)
    trainer.initialize()
    assert trainer.is_ddp
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter, fullgraph=True))
    trainer.step.objective.compile()
    trainer.network.train()
    data = {"data": torch.randn(4, 1, 32, 32), "target": torch.randint(0, 4, (4, 1, 32, 32))}
    data["target"] = [data["target"], data["target"][..., ::2, ::2]]
    counts = []
    for _ in range(3):
        trainer.train_step(data)
        counts.append(counter.frame_count)
    # the means of each pass, the sums of the Dice, the contrast, the pseudo labels
    assert counts == [5, 5, 5]


def test_compiled_terms_are_the_terms(nnunet):
    """By the graphs that torch.compile makes of them forward and backward; no code is generated."""
    torch._dynamo.reset()
    plain, compiled = (make_trainer(nnunet) for _ in range(2))
    results = []
    for trainer in (plain, compiled):
        torch.manual_seed(0)
        trainer.initialize()
        if trainer is compiled:
            with patch.object(torch, "compile", partial(torch.compile, backend="aot_eager")):
                trainer.step.objective.compile()
        trainer.network.train()
        for step in range(2):
            torch.manual_seed(step)
            target = torch.randint(0, 4, (4, 1, 32, 32), dtype=torch.int16)
            batch = {"data": torch.randn(4, 1, 32, 32), "target": [target, target[..., ::2, ::2]]}
            results.append(trainer.train_step(batch)["terms"])
    for one, two in zip(results[:2], results[2:], strict=True):
        assert one.any()
        torch.testing.assert_close(torch.tensor(one), torch.tensor(two), rtol=1e-4, atol=1e-5)
