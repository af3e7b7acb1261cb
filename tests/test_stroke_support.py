"""Foreground without a stroke, and the background that follows: closed cases, and a naive flood."""

import pytest
import torch
import torch.nn.functional as F

from nnunetv2_pclmix import stroke_support as module
from nnunetv2_pclmix.label_encoding import ExclusiveLabels, Regions
from nnunetv2_pclmix.stroke_support import dilate, on_border, stroke_support

K = IGNORE = 3
LABELS = ExclusiveLabels(IGNORE)
SHAPES = [(40, 48), (12, 20, 24)]


def empty(shape=(40, 48), batch=1):
    """Prediction of background, and a scribble without a stroke."""
    predicted = torch.zeros(batch, 1, *shape, dtype=torch.long)
    return predicted, torch.full_like(predicted, IGNORE, dtype=torch.int16)


def box(x, *bounds):
    return x[(..., *(slice(a, b) for a, b in bounds))]


def test_what_a_stroke_touches_stays_and_the_rest_is_background():
    predicted, scribble = empty()
    box(predicted, (5, 15), (5, 15))[:] = 1
    box(predicted, (5, 15), (30, 40))[:] = 2  # no stroke here
    box(scribble, (8, 9), (8, 12))[:] = 1
    support = stroke_support(LABELS, predicted, scribble)
    organ = box(torch.ones_like(support.background), (0, 40), (0, 48)).clone()
    organ[..., 4:16, 4:16] = False  # the organ and a cell around it
    assert torch.equal(support.background, organ)
    assert not support.unknown.any()
    corrected = support.correct(LABELS, predicted)
    assert (corrected == 1).sum() == 100
    assert (corrected == 2).sum() == 0


def test_a_stroke_counts_though_nothing_is_predicted_there():
    predicted, scribble = empty()
    box(scribble, (20, 21), (20, 30))[:] = 2
    support = stroke_support(LABELS, predicted, scribble)
    assert not box(support.background, (19, 22), (19, 31)).any()
    assert support.background.sum() == 40 * 48 - 3 * 12


def test_foreground_nearer_to_a_background_stroke_is_false():
    """A bar from a stroke at column 5 to a background stroke at column 41: 24 and 12 of 36."""
    predicted, scribble = empty()
    box(predicted, (18, 22), (5, 42))[:] = 1
    box(scribble, (18, 22), (5, 6))[:] = 2
    box(scribble, (18, 22), (41, 42))[:] = 0
    support = stroke_support(LABELS, predicted, scribble)
    kept = support.correct(LABELS, predicted)[0, 0, 20]
    assert kept.nonzero().flatten().tolist() == list(range(5, 30))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_leaves_the_patch_is_unknown(shape):
    predicted, scribble = empty(shape)
    inside = [slice(4, 7)] * len(shape)
    predicted[(..., *inside[:-1], slice(0, 6))] = 1  # out at the left
    scribble[(..., *[slice(2, 9)] * (len(shape) - 1), slice(18, 19))] = 0
    scribble[(..., *[slice(2, 9)] * (len(shape) - 1), slice(0, 1))] = IGNORE
    scribble[..., 1] = IGNORE
    # annotated in every slice, far from the piece
    for axis in range(len(shape)):
        diagonal = [slice(-1, None)] * len(shape)
        diagonal[axis] = slice(None)
        scribble[(..., *diagonal)] = 0
    support = stroke_support(LABELS, predicted, scribble)
    assert torch.equal(support.unknown, predicted > 0)
    corrected = support.correct(LABELS, predicted)
    assert torch.equal(corrected == IGNORE, predicted > 0)
    assert not (support.background & support.unknown).any()


def test_without_any_annotation_nothing_is_implied():
    predicted, scribble = empty(batch=2)
    box(predicted, (5, 15), (5, 15))[:] = 1
    scribble[1, 0, 30, 3:9] = 1  # the second sample is annotated
    support = stroke_support(LABELS, predicted, scribble)
    assert not support.background[0].any()
    assert (support.correct(LABELS, predicted)[0] == predicted[0]).all()
    assert support.background[1, 0, 5:15, 5:15].all()


def test_in_3d_slices_without_annotation_are_not_judged():
    predicted, scribble = empty((12, 20, 24))
    for z in (4, 8):
        box(scribble, (z, z + 1), (2, 18), (2, 3))[:] = 0
        box(scribble, (z, z + 1), (2, 3), (2, 22))[:] = 0
        box(scribble, (z, z + 1), (9, 11), (9, 11))[:] = 1
    box(predicted, (3, 10), (8, 12), (8, 12))[:] = 1  # through both, supported
    box(predicted, (4, 9), (15, 17), (18, 20))[:] = 2  # through both, without a stroke
    support = stroke_support(LABELS, predicted, scribble)
    judged = support.background.flatten(3).any(3)[0, 0].nonzero().flatten().tolist()
    assert judged == [4, 8]
    corrected = support.correct(LABELS, predicted)
    assert torch.equal(corrected == 1, predicted == 1)
    two = (corrected == 2).flatten(2).sum()
    assert two == 3 * 4  # of five slices, the three in between remain


def naive(predicted, scribble):
    """Breadth first from the strokes, voxel by voxel, the foreground's two steps at a time."""
    predicted, scribble = predicted[0, 0], scribble[0, 0]
    ours = ((scribble > 0) & (scribble < IGNORE)).float()
    inside = ((predicted > 0) | (ours > 0)).float()
    theirs = (scribble == 0).float() * inside * (1 - ours)
    pool = F.max_pool2d if predicted.ndim == 2 else F.max_pool3d

    def grow(own, other):
        return pool(own[None, None], 3, 1, 1)[0, 0] * inside * (1 - other)

    while True:
        before = ours.sum() + theirs.sum()
        for _ in range(2):
            ours = torch.maximum(ours, grow(ours, theirs))
        theirs = torch.maximum(theirs, grow(theirs, ours))
        if ours.sum() + theirs.sum() == before:
            return ours.bool(), theirs.bool()


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_a_naive_flood_on_random_shapes(shape):
    """Blobs of smoothed noise on a grid of a voxel per cell, so that nothing is approximate."""
    for _ in range(10):
        noise = torch.randn(1, 1, *shape)
        pool = F.avg_pool2d if len(shape) == 2 else F.avg_pool3d
        predicted = (pool(noise, 5, 1, 2) > 0.05).long()
        strokes = torch.randint(0, 2, predicted.shape, dtype=torch.int16)
        scribble = torch.where(torch.rand(predicted.shape) < 0.02, strokes, IGNORE)
        support = stroke_support(LABELS, predicted, scribble)
        ours, theirs = naive(predicted, scribble)
        corrected = support.correct(LABELS, predicted)[0, 0]
        kept = (predicted[0, 0] > 0) & (corrected > 0) & (corrected != IGNORE)
        if len(shape) == 2:  # in 3D some slices may have no stroke
            assert torch.equal(kept, ours & (predicted[0, 0] > 0))
        assert (kept | ~(ours & (predicted[0, 0] > 0))).all()
        assert theirs.any()


def test_a_coarse_grid_keeps_what_is_apart_by_more_than_two_cells():
    predicted, scribble = empty((256, 300))  # cells of 4 and 5 voxels
    box(predicted, (40, 90), (40, 90))[:] = 1
    box(predicted, (40, 90), (102, 150))[:] = 1
    box(scribble, (60, 61), (50, 80))[:] = 1
    support = stroke_support(LABELS, predicted, scribble)
    assert not support.background[0, 0, 40:90, 40:90].any()
    assert support.background[0, 0, 40:90, 102:150].all()
    assert support.background.shape == predicted.shape
    assert max(module.CELLS.values()) == 64


@pytest.mark.parametrize("shape", SHAPES)
def test_regions_are_judged_like_the_classes_that_they_amount_to(shape):
    predicted = torch.randint(0, K, (2, 1, *shape))
    scribble = torch.where(torch.rand(predicted.shape) < 0.05, predicted, IGNORE)

    def as_regions(target):  # nested: all foreground, and class 2
        inside = [(target == 1) | (target == 2), target == 2, target == IGNORE]
        return torch.cat(inside, 1)

    labels = Regions(2)
    expected = stroke_support(LABELS, predicted, scribble)
    support = stroke_support(labels, as_regions(predicted), as_regions(scribble))
    assert torch.equal(support.background, expected.background)
    assert torch.equal(support.unknown, expected.unknown)
    expected = as_regions(expected.correct(LABELS, predicted))
    corrected = support.correct(labels, as_regions(predicted))
    assert torch.equal(corrected[:, -1], expected[:, -1])
    seen = ~expected[:, -1:]
    assert torch.equal(corrected & seen, expected & seen)


@pytest.mark.parametrize("shape", [(2, 1, 9, 13), (1, 2, 5, 8, 3), (1, 1, 1, 7, 7)])
def test_dilation_on_the_cpu_is_pooling_elsewhere(shape):
    x = torch.rand(shape)
    pool = F.max_pool2d if x.ndim == 4 else F.max_pool3d
    assert torch.equal(dilate(x), pool(x, 3, 1, 1))


def test_border_of_thin_grids_is_all_of_them():
    assert on_border(torch.ones(1, 1, 2, 5, 6)).all()
    assert on_border(torch.ones(1, 1, 5, 6)).sum() == 30 - 12
