"""torch.compile, nnU-Net's default on CUDA: the network is captured whole, and only once."""

import pytest
import torch
from test_network import GEOMETRIES, K, stock_network
from torch._dynamo.testing import CompileCounter

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.network import PCLMixNetwork


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
