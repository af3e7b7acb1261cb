"""Between strokes: nearness and prediction together, in 2D, 3D and regions."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_bf

from nnunetv2_pclmix.method import between_strokes as module
from nnunetv2_pclmix.method.between_strokes import FARTHEST, NEARNESS, between_strokes
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels, Regions

K = 3


def strokes_on(shape, *lines):
    """(1, 1, *shape) of label K with lines ``(label, *index)``."""
    target = torch.full((1, 1, *shape), K, dtype=torch.int16)
    for label, *index in lines:
        target[(0, 0, *index)] = label
    return target


def nothing(target):
    return torch.zeros_like(target[:, :1]).bool()


def organ():
    """Background around, a stroke of 1 at the left and of 2 at the right."""
    return strokes_on(
        (24, 32), (0, slice(1, 3)), (0, slice(21, 23)), (1, 12, slice(4, 8)), (2, 12, slice(20, 28))
    )


def test_by_the_definition_voxel_by_voxel():
    """Distances of scipy, of which chessboard and taxicab rings take turns, are rings'."""
    torch.manual_seed(0)
    target = organ()
    logits = 2 * torch.randn(1, K, 24, 32)
    found = between_strokes(ExclusiveLabels(K), logits, target, nothing(target), [1, 1])[0, 0]
    drawn = target[0, 0].numpy()
    distances = []
    for label in range(K):
        reached, rings = drawn == label, np.zeros(drawn.shape)
        for ring in range(1, FARTHEST + 1):
            rings += ~reached
            metric = "taxicab" if ring % 2 else "chessboard"
            reached = distance_transform_bf(~reached, metric) <= 1
        distances.append(rings)
    distances = np.stack(distances)
    near = distances.min(0)
    with np.errstate(invalid="ignore"):
        scores = logits[0].numpy() - NEARNESS * (distances - near) / (distances + near)
    predicted = logits[0].argmax(0).numpy()
    said = 0
    for index in np.ndindex(drawn.shape):
        free = drawn[index] == K and distances[(predicted[index], *index)] < FARTHEST
        expected = scores[(slice(None), *index)].argmax() if free else K
        assert found[index] == expected, index
        said += free
    assert 100 < said < drawn.size


def test_a_network_that_knows_nothing_parts_the_image_half_way():
    target, logits = organ(), torch.zeros(1, K, 24, 32)
    found = between_strokes(ExclusiveLabels(K), logits, target, nothing(target), [1, 1])[0, 0]
    assert (found[3:6, 20:28] == 0).all() and (found[9:12, 20:28] == 2).all()
    assert (found[12, 8:13] == 1).all() and (found[12, 15:20] == 2).all()
    assert (found[target[0, 0] != K] == K).all(), "strokes speak for themselves"


def test_a_network_that_is_sure_is_believed():
    target, logits = organ(), torch.zeros(1, K, 24, 32)
    logits[:, 1] = 2 * NEARNESS
    found = between_strokes(ExclusiveLabels(K), logits, target, nothing(target), [1, 1])[0, 0]
    assert set(found.unique().tolist()) == {1, K}
    assert (found[4:20, 28:] == K).all(), "no stroke of 1 is near: perhaps another object"


def test_implied_background_is_as_good_as_a_stroke():
    target, logits = organ(), torch.zeros(1, K, 24, 32)
    implied = nothing(target)
    implied[..., 16:] = True
    found = between_strokes(ExclusiveLabels(K), logits, target, implied, [1, 1])[0, 0]
    assert (found[:, 16:] == K).all()
    assert found[12, 14] == 0, "nearer to it than to the stroke of 1"


@pytest.mark.parametrize("labels", [(), (0,), (1,), (1, 2)])
def test_nothing_is_said_without_strokes_of_both_kinds(labels):
    lines = [(label, 3 + 4 * label, slice(2, 9)) for label in labels]
    target = strokes_on((16, 16), *lines)
    found = between_strokes(
        ExclusiveLabels(K), torch.randn(1, K, 16, 16), target, nothing(target), [1, 1]
    )
    assert (found == K).all()


def test_each_image_of_a_batch_is_for_itself():
    torch.manual_seed(1)
    one, other = organ(), strokes_on((24, 32), (0, 1), (1, 20, slice(3, 9)))
    logits = torch.randn(2, K, 24, 32)
    both = torch.cat((one, other))
    together = between_strokes(ExclusiveLabels(K), logits, both, nothing(both), [1, 1])
    for k, target in enumerate((one, other)):
        own = logits[k : k + 1]
        alone = between_strokes(ExclusiveLabels(K), own, target, nothing(target), [1, 1])
        assert torch.equal(together[k : k + 1], alone)


def test_thick_slices_are_further_apart():
    target = strokes_on((5, 9, 9), (0, slice(None), 0), (1, 2, 6, 6))
    logits = torch.zeros(1, K, 5, 9, 9)
    thick = between_strokes(ExclusiveLabels(K), logits, target, nothing(target), [4, 1, 1])[0, 0]
    thin = between_strokes(ExclusiveLabels(K), logits, target, nothing(target), [1, 1, 1])[0, 0]
    assert thick[2, 6, 5] == thin[2, 6, 5] == 1
    assert thin[1, 6, 6] == thin[0, 6, 6] == 1
    assert thick[0, 5, 5] == 0, "two slices of four rings each: the background is nearer"


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_both_ways_of_counting_rings_agree(monkeypatch, dtype):
    torch.manual_seed(2)
    target, logits = organ(), torch.randn(1, K, 24, 32)
    expected = between_strokes(ExclusiveLabels(K), logits, target, nothing(target), [1, 1])
    monkeypatch.setattr(module, "fastest_dtype", lambda device: dtype)
    found = between_strokes(ExclusiveLabels(K), logits, target, nothing(target), [1, 1])
    assert torch.equal(found, expected)


def test_one_region_is_the_same_as_two_exclusive_labels():
    torch.manual_seed(3)
    exclusive = torch.full((1, 1, 20, 20), 2)
    exclusive[..., 1, :], exclusive[..., 12, 5:15] = 0, 1
    regions = torch.cat((exclusive == 1, exclusive == 2), 1).to(torch.int16)
    z = 2 * torch.randn(1, 1, 20, 20)
    logits = torch.cat((torch.zeros_like(z), z), 1)
    none = torch.zeros(1, 1, 20, 20).bool()
    one = between_strokes(Regions(1), z, regions, none, [1, 1])
    two = between_strokes(ExclusiveLabels(2), logits, exclusive, none, [1, 1])
    assert torch.equal(one[:, :1] == 1, two == 1) and torch.equal(one[:, 1:] == 1, two == 2)
    assert one.dtype == regions.dtype


def test_nested_regions_are_told_by_all_that_a_class_is_part_of():
    labels = Regions(2)
    logits = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1)
    assert labels.class_scores(logits).flatten().tolist() == [0.0, 1.0, -1.0]
