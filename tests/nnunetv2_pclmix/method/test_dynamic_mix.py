"""Box masks, mixing and mixed pseudo labels."""

import pytest
import torch

from nnunetv2_pclmix.method.dual_consistency import pseudo_labels
from nnunetv2_pclmix.method.dynamic_mix import Mix, PreviousBatch, box_mask, draw_mix
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
from tests import reference

SHAPES = [(12, 20), (6, 10, 8)]


@pytest.mark.parametrize("shape", SHAPES)
def test_mixing_agrees_with_the_loop(shape):
    mix = draw_mix(4, shape, 0.2)
    one, two = torch.randn(2, 4, 3, *shape)
    expected = reference.mixed(one, two, mix.second, mix.from_first)
    assert torch.equal(mix(one, two), expected)
    assert torch.equal(mix(one), reference.mixed(one, one, mix.second, mix.from_first))


@pytest.mark.parametrize("shape", SHAPES)
def test_argmax_of_the_mixed_prediction_is_the_mixed_pseudo_label(shape):
    mix = draw_mix(3, shape, 0.2)
    main, auxiliary = torch.randn(2, 3, 4, *shape)
    soft = reference.mixed(main.softmax(1), auxiliary.softmax(1), mix.second, mix.from_first)
    labels, none = ExclusiveLabels(4), torch.full((3, 1, *shape), 4)
    assert torch.equal(mix(*pseudo_labels(labels, main, auxiliary, none))[:, 0], soft.argmax(1))
    soft = reference.mixed(main.softmax(1), main.softmax(1), mix.second, mix.from_first)
    assert torch.equal(mix(*pseudo_labels(labels, main, None, none))[:, 0], soft.argmax(1))


@pytest.mark.parametrize("shape", [(50, 80), (30, 40, 20)])
def test_boxes_are_solid_inside_and_cover_the_area(shape):
    masks = box_mask(200, shape, 0.2)
    assert masks.shape == (200, 1, *shape)
    for mask in masks[:, 0]:
        corners = mask.nonzero()
        low, high = corners.min(0).values, corners.max(0).values + 1
        assert mask.sum() == (high - low).prod()  # a box, without holes
    assert masks.float().mean().item() == pytest.approx(0.2, abs=0.02)
    share = masks.flatten(1).float().mean(1)
    assert (share - 0.2).abs().max() < 0.08  # rounding to voxels only


def test_boxes_vary_in_aspect_and_reach_every_place():
    masks = box_mask(2000, (20, 20), 0.2)[:, 0]
    heights = masks.any(2).sum(1)
    # with fractions 0.2 ** w, w uniform, heights lie between 4 and 20
    assert heights.min() == 4
    assert heights.max() == 20
    assert masks.any(0).all()
    assert (~masks).any(0).all()


def test_the_box_shows_either_source_half_of_the_time():
    mix = draw_mix(2000, (10, 10), 0.2)
    share = mix.from_first.flatten(1).float().mean(1)
    assert 0.45 < (share < 0.5).float().mean() < 0.55
    assert sorted(mix.second.tolist()) == list(range(2000))


@pytest.mark.parametrize("batch_size", [2, 3, 12])
def test_no_sample_is_its_own_partner_and_all_pairs_occur(batch_size):
    pairs = set()
    for _ in range(2000):
        mix = draw_mix(batch_size, (4, 4), 0.2)
        assert sorted(mix.second.tolist()) == list(range(batch_size))
        pairs |= set(enumerate(mix.second.tolist()))
    assert len(pairs) == batch_size * (batch_size - 1)
    assert all(first != second for first, second in pairs)


def test_a_batch_of_one_is_mixed_with_the_previous_one():
    previous = PreviousBatch()
    batches = torch.randn(4, 1, 2, 8, 8)
    for i, x in enumerate(batches):
        (pool,) = previous([x])
        mix = draw_mix(1, (8, 8), 0.2, with_previous=True)
        expected = torch.where(mix.from_first, x, batches[max(0, i - 1)])
        assert torch.equal(mix(pool), expected)
        assert i == 0 or not torch.equal(mix(pool), x)


def test_previous_batch_keeps_no_graph():
    x = torch.randn(1, 2, 4, requires_grad=True)
    previous = PreviousBatch()
    assert not previous([x * 2])[0].requires_grad
    assert previous([x])[0].shape == (2, 2, 4)


def test_a_batch_of_one_alone_is_mixed_with_itself():
    x = torch.randn(1, 2, 8, 8)
    assert torch.equal(draw_mix(1, (8, 8), 0.2)(x), x)


def test_thin_axes_keep_a_box():
    assert box_mask(50, (1, 2, 64), 0.2).flatten(1).any(1).all()


def test_labels_keep_their_type():
    mix = Mix(torch.tensor([0, 1]), torch.zeros(2, 1, 2, 2, dtype=torch.bool))
    labels = torch.randint(0, 5, (2, 1, 2, 2), dtype=torch.int16)
    assert torch.equal(mix(labels), labels)
    assert mix(labels).dtype == torch.int16
