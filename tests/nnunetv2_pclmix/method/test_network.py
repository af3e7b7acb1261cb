"""Window attention, auxiliary decoder and the training network, on tiny inputs, 2D and 3D."""

from copy import deepcopy

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.auxiliary_decoder import AuxiliaryDecoder, PatchExpand
from nnunetv2_pclmix.method.network import PCLMixNetwork
from nnunetv2_pclmix.method.window_attention import PositionBias, WindowAttention, balanced_window
from tests import reference

K = 3
GEOMETRIES = [  # patch, strides per stage: isotropic, anisotropic, one-level, odd sizes, 3D
    ((32, 48), [(1, 1), (2, 2), (2, 2), (2, 2)]),
    ((40, 24), [(1, 1), (2, 1), (2, 2), (1, 2)]),
    ((16, 16), [(1, 1), (2, 2)]),
    ((56, 24), [(1, 1), (2, 2), (2, 2), (2, 2)]),
    ((6, 24, 16), [(1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 2, 2)]),
    ((16, 24, 16), [(1, 1, 1), (2, 2, 2), (2, 2, 2)]),
]


def stock_network(patch, strides, kind=PlainConvUNet, deep_supervision=True):
    two = len(patch) == 2
    stages = len(strides)
    return kind(
        1,
        stages,
        [8, 16, 32, 40][:stages],
        nn.Conv2d if two else nn.Conv3d,
        3,
        strides,
        1,
        K,
        1,
        norm_op=nn.InstanceNorm2d if two else nn.InstanceNorm3d,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
        deep_supervision=deep_supervision,
    )


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (3, 4, 5)])
def test_window_attention_agrees_with_the_loop(size, shifted):
    attention = WindowAttention(8, 2, size, 3, shifted).double()
    # another attention of other windows and heads comes first
    position = PositionBias([(2,) * len(size), attention.window], [1, 2]).double()
    nn.init.normal_(position.table)
    _, bias = position(torch.float64)
    table = position.table[3 ** len(size) :].view(2, -1)
    x = torch.randn(2, *size, 8, dtype=torch.float64)
    expected = reference.window_attention(attention, table, x)
    torch.testing.assert_close(attention(x, bias), expected)


def test_shifted_windows_let_tokens_see_across_the_first_grid():
    x = torch.randn(1, 8, 8, 8, requires_grad=True)
    reach = {}
    for shifted in (False, True):
        y = WindowAttention(8, 1, (8, 8), 4, shifted)(x, torch.zeros(1, 1, 16, 16))
        (grad,) = torch.autograd.grad(y[0, 3, 3].sum(), x)
        reach[shifted] = {tuple(i) for i in grad[0].abs().sum(-1).nonzero().tolist()}
    assert (4, 4) not in reach[False]
    assert (4, 4) in reach[True]


@pytest.mark.parametrize(("size", "window"), [(36, 6), (9, 5), (7, 7), (8, 4), (1, 1), (50, 7)])
def test_windows_are_balanced(size, window):
    assert balanced_window(size, 7) == window


def test_patch_expand_puts_each_block_where_its_token_was():
    expand = PatchExpand(4, 2, (2, 3))
    x = torch.zeros(1, 3, 3, 4)
    x[0, 1, 2] = torch.randn(4)
    y = expand(x) - expand.norm.bias
    hit = y.abs().sum(-1)[0].nonzero()
    assert hit.min(0).values.tolist() == [2, 6]
    assert hit.max(0).values.tolist() == [3, 8]


@pytest.mark.parametrize("kind", [PlainConvUNet, ResidualEncoderUNet])
@pytest.mark.parametrize(("patch", "strides"), GEOMETRIES)
def test_training_output_and_gradients(patch, strides, kind):
    stock = stock_network(patch, strides, kind)
    network = PCLMixNetwork(stock, patch, K, PCLMixConfig(embedding_dim=12))
    output = network(torch.randn(2, 1, *patch))
    assert output.embedding is None
    output = network.embedded(output)
    assert output.main[0].shape == output.auxiliary.shape == (2, K, *patch)
    assert len(output.main) == len(strides) - 1
    pixels = 2 * output.embedding.hidden.shape[2:].numel()
    embedding = output.embedding.at(torch.arange(pixels))
    assert embedding.shape == (pixels, 12)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(pixels))
    total = sum(z.square().mean() for z in (*output.main, output.auxiliary))
    (total + embedding[:, :6].sum()).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None]
    assert without == []


def test_embedding_has_the_configured_stride_or_the_deepest_there_is():
    patch, strides = GEOMETRIES[0]
    x = torch.randn(1, 1, *patch)
    for stride, size in ((8, (4, 6)), (4, (8, 12)), (64, (4, 6))):
        config = PCLMixConfig(embedding_stride=stride)
        network = PCLMixNetwork(stock_network(patch, strides), patch, K, config)
        assert network.embedded(network(x)).embedding.hidden.shape[2:] == size


def test_evaluation_is_the_stock_network_bit_for_bit():
    patch, strides = GEOMETRIES[0]
    stock = stock_network(patch, strides)
    network = PCLMixNetwork(stock, patch, K, PCLMixConfig()).eval()
    other = stock_network(patch, strides, deep_supervision=False).eval()
    other.load_state_dict(network.state_dict())  # strict: stock names and no others
    x = torch.randn(1, 1, *patch)
    network.decoder.deep_supervision = False
    assert torch.equal(network(x), other(x))


def test_state_dict_is_the_stock_networks_also_inside_another_module():
    patch, strides = GEOMETRIES[0]
    stock = stock_network(patch, strides)
    network = PCLMixNetwork(stock, patch, K, PCLMixConfig())
    assert set(network.state_dict()) == set(stock.state_dict())
    wrapped = nn.Sequential(network).state_dict()
    assert set(wrapped) == {f"0.{k}" for k in stock.state_dict()}
    before = {k: v.clone() for k, v in network.training_only_state().items()}
    network.load_state_dict(stock_network(patch, strides).state_dict())
    after = network.training_only_state()
    assert before.keys() == after.keys()
    assert before
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_training_only_state_goes_there_and_back():
    patch, strides = GEOMETRIES[0]
    one, two = (
        PCLMixNetwork(stock_network(patch, strides), patch, K, PCLMixConfig()) for _ in range(2)
    )
    two.load_state_dict(one.state_dict())
    two.load_training_only_state(one.training_only_state())
    x = torch.randn(1, 1, *patch)
    assert torch.equal(one(x).auxiliary, two(x).auxiliary)
    for mine, theirs in zip(*(net.embedded(net(x)).embedding for net in (one, two)), strict=True):
        assert torch.equal(mine, theirs)


def test_components_can_be_left_out():
    patch, strides = GEOMETRIES[0]
    config = PCLMixConfig(auxiliary_decoder=False, contrast=False)
    network = PCLMixNetwork(stock_network(patch, strides), patch, K, config)
    output = network(torch.randn(1, 1, *patch))
    assert output.auxiliary is None
    assert output.embedding is None
    assert network.training_only_state() == {}


def test_other_architectures_are_refused_by_name():
    with pytest.raises(ValueError, match="Sequential.*PlainConvUNet and ResidualEncoderUNet"):
        PCLMixNetwork(nn.Sequential(), (8, 8), K, PCLMixConfig())


def test_auxiliary_decoder_stays_small_beside_wide_encoders():
    decoder = AuxiliaryDecoder([32, 64, 512, 512], [(1, 1)] + [(2, 2)] * 3, (64, 64), K)
    assert [b[0].attention.qkv.in_features for b in decoder.blocks] == [64, 64]


@pytest.mark.parametrize(
    ("stages", "widths", "attention"),
    [(5, [64, 64, 64], [2, 2, 2]), (4, [32, 64, 64], [0, 2, 2]), (2, [32, 64], [0, 2])],
)
def test_below_stride_four_the_auxiliary_decoder_merges_without_attention(
    stages, widths, attention
):
    channels, strides = [64, 128, 256, 320, 320][:stages], [(1, 1)] + [(2, 2)] * (stages - 1)
    decoder = AuxiliaryDecoder(channels, strides, (64, 64), K, 8, 3)
    assert [embed[0].out_features for embed in decoder.embed] == widths
    assert [len(blocks) for blocks in decoder.blocks] == attention
    skips = [torch.randn(1, c, 64 >> i, 64 >> i) for i, c in enumerate(channels)]
    for skip in skips:
        skip.requires_grad_()
    decoder(skips).sum().backward()
    merged = [skip.grad is not None for skip in skips]
    assert merged == [False] * (stages - len(widths)) + [True] * len(widths)


@pytest.mark.parametrize("kind", [PlainConvUNet, ResidualEncoderUNet])
@pytest.mark.parametrize("geometry", [GEOMETRIES[0], GEOMETRIES[-1]])
def test_gradients_are_the_stock_networks_without_its_copies(geometry, kind):
    def copies(node, seen):
        if node is None or node in seen:
            return 0
        seen.add(node)
        below = sum(copies(following, seen) for following, _ in node.next_functions)
        return below + ("CopySlices" in node.name())

    stock = stock_network(*geometry, kind)
    for module in stock.modules():
        if isinstance(module, nn.LeakyReLU):
            module.inplace = True  # as nnU-Net plans it
    config = PCLMixConfig(auxiliary_decoder=False, contrast=False)
    ours = PCLMixNetwork(deepcopy(stock), geometry[0], K, config)
    x, found = torch.randn(2, 1, *geometry[0]), []
    for network in (stock, ours):
        output = network(x)
        output = output if network is stock else output.main
        loss = sum(level.square().sum() for level in output)
        found.append(copies(loss.grad_fn, set()))
        loss.backward()
    assert found[0] > found[1] == 0
    for (name, one), (_, two) in zip(
        stock.named_parameters(), ours.named_parameters(), strict=True
    ):
        assert one.grad is None or torch.equal(one.grad, two.grad), name
