"""A training goes on where the optimiser had the auxiliary decoder's weights one by one."""

from copy import deepcopy

import pytest
import torch

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method import network as network_module
from nnunetv2_pclmix.training.separate_weights import accept_separate_weights
from tests.nnunetv2_pclmix.method.test_network import GEOMETRIES, K, stock_network

PATCH, STRIDES = GEOMETRIES[0]


def begun(kind, **settings):
    torch.manual_seed(0)
    config = PCLMixConfig(**settings)
    network = network_module.PCLMixNetwork(stock_network(PATCH, STRIDES), PATCH, K, config)
    return network, kind(network.parameters(), 0.01)


def train(network, optimizer, steps):
    for step in range(*steps):
        torch.manual_seed(step)
        output = network.embedded(network(torch.randn(2, 1, *PATCH)))
        loss = output.auxiliary.square().mean() + output.main[0].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def sgd(parameters, rate):
    return torch.optim.SGD(parameters, rate, 0.9, nesterov=True, weight_decay=0.01)


@pytest.mark.parametrize("kind", [sgd, torch.optim.AdamW])
def test_momenta_are_joined(kind, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(network_module, "OneParameter", lambda module: module)
        one, of_one = begun(kind)
    train(one, of_one, (2,))
    saved, weights, state = of_one.state_dict(), one.state_dict(), one.training_only_state()
    two, of_two = begun(kind)
    assert len(saved["param_groups"][0]["params"]) > len(list(two.parameters()))
    two.load_state_dict(weights)
    two.load_training_only_state(state)
    accept_separate_weights(of_two, two, state)
    of_two.load_state_dict(deepcopy(saved))
    train(one, of_one, (2, 5))
    train(two, of_two, (2, 5))
    assert two.training_only_state().keys() == state.keys()
    for name, weight in two.training_only_state().items():
        torch.testing.assert_close(weight, one.training_only_state()[name])
    for name, weight in two.state_dict().items():
        torch.testing.assert_close(weight, one.state_dict()[name])


def test_states_of_today_are_loaded_as_they_are():
    one, of_one = begun(sgd)
    train(one, of_one, (1,))
    two, of_two = begun(sgd)
    accept_separate_weights(of_two, two, one.training_only_state())
    of_two.load_state_dict(of_one.state_dict())
    for mine, theirs in zip(two.parameters(), one.parameters(), strict=True):
        if theirs in of_one.state:
            assert torch.equal(
                *(o.state[p]["momentum_buffer"] for o, p in ((of_two, mine), (of_one, theirs)))
            )


def test_without_auxiliary_decoder_nothing_is_joined():
    network, optimizer = begun(sgd, auxiliary_decoder=False)
    accept_separate_weights(optimizer, network, {})
    optimizer.load_state_dict(optimizer.state_dict())
