"""A module whose weights are one parameter does what it did with many."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from nnunetv2_pclmix.method.auxiliary_decoder import AuxiliaryDecoder
from nnunetv2_pclmix.method.one_parameter import OneParameter

CHANNELS, STRIDES, PATCH = (8, 16, 32), ((1, 1), (2, 2), (2, 2)), (24, 16)


def features(seed=0):
    torch.manual_seed(seed)
    sizes = [(24, 16), (12, 8), (6, 4)]
    return [torch.randn(2, c, *size) for c, size in zip(CHANNELS, sizes, strict=True)]


def decoder():
    torch.manual_seed(1)
    return AuxiliaryDecoder(CHANNELS, STRIDES, PATCH, 3, 2)


def gradients(module):
    """Of the weights by name."""
    if not isinstance(module, OneParameter):
        return {name: weight.grad for name, weight in module.named_parameters()}
    sizes = [shape.numel() for shape in module.shapes]
    pieces = zip(module.names, module.weights.grad.split(sizes), module.shapes, strict=True)
    return {name: piece.view(shape) for name, piece, shape in pieces}


@pytest.mark.parametrize("half", [False, True])
def test_outputs_and_gradients_are_those_of_many_parameters(half):
    many, found = decoder(), []
    one = OneParameter(deepcopy(many))
    assert [len(list(module.parameters())) > 1 for module in (many, one)] == [True, False]
    for module in (many, one):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = module(features())
        output.float().square().sum().backward()
        found.append((output, gradients(module)))
    (mine, of_mine), (theirs, of_theirs) = found
    assert torch.equal(mine, theirs)
    assert of_mine.keys() == of_theirs.keys()
    for name, gradient in of_mine.items():
        torch.testing.assert_close(of_theirs[name], gradient, msg=name)


def test_states_have_the_modules_own_names_and_go_both_ways():
    many, one = decoder(), OneParameter(decoder())
    with torch.no_grad():
        one.weights.normal_()
    assert set(one.state_dict()) == set(many.state_dict())
    many.load_state_dict(one.state_dict())
    assert torch.equal(many(features()), one(features()))
    with torch.no_grad():
        many.norm.weight.fill_(3)
    one.load_state_dict(many.state_dict())
    assert torch.equal(many(features()), one(features()))
    inside = nn.Sequential(one)
    assert set(inside.state_dict()) == {f"0.{name}" for name in many.state_dict()}


def test_other_states_are_refused_by_name():
    one = OneParameter(decoder())
    state = one.state_dict()
    wrong = {**state, "norm.weight": torch.zeros(2), "more.weight": torch.zeros(1)}
    del wrong["norm.bias"]
    with pytest.raises(RuntimeError) as caught:
        one.load_state_dict(wrong)
    for part in ("Missing.*norm.bias", "Unexpected.*more.weight", r"norm.weight: \(2,\) instead"):
        assert caught.match(f"(?s).*{part}")


def test_it_can_be_printed_and_moved():
    assert "Linear" in str(OneParameter(decoder()))
    moved = OneParameter(decoder()).to("meta")
    assert moved([x.to("meta") for x in features()]).shape == (2, 3, *PATCH)


def test_copies_are_independent():
    one = OneParameter(decoder())
    two = deepcopy(one)
    with torch.no_grad():
        two.weights.zero_()
    assert one(features()).abs().sum() > 0
    assert two(features()).abs().sum() == 0
