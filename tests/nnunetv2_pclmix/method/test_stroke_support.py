"""Foreground without a stroke, and the background that follows: closed cases, and a naive flood."""

import pytest
import torch
import torch.nn.functional as F

from nnunetv2_pclmix.method import stroke_support as module
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels, Regions
from nnunetv2_pclmix.method.stroke_support import (
    StrokeSupport,
    foreground_like_strokes,
    imply,
    stroke_support,
    surrounded,
)

K = IGNORE = 3
LABELS = ExclusiveLabels(IGNORE)
SHAPES = [(40, 48), (12, 20, 24)]


def empty(shape=(40, 48), batch=1):
    """Prediction of background, and a scribble without a stroke."""
    predicted = torch.zeros(batch, 1, *shape, dtype=torch.long)
    return predicted, torch.full_like(predicted, IGNORE, dtype=torch.int16)


def judged(labels, foreground, scribble):
    return StrokeSupport(*imply(labels, foreground, scribble), foreground, torch.ones(()))


def box(x, *bounds):
    return x[(..., *(slice(a, b) for a, b in bounds))]


def test_what_a_stroke_touches_stays_and_of_what_none_touches_nothing_is_said():
    predicted, scribble = empty()
    box(predicted, (5, 15), (5, 15))[:] = 1
    box(predicted, (5, 15), (30, 40))[:] = 2  # no stroke here
    box(scribble, (8, 9), (8, 12))[:] = 1
    support = judged(LABELS, predicted > 0, scribble)
    far = torch.ones_like(support.background)
    far[..., 4:16, 4:16] = False  # the organ and a cell around it
    far[..., 4:16, 29:41] = False
    assert torch.equal(support.background, far)
    assert torch.equal(support.unknown, predicted == 2)
    expected = predicted.masked_fill(predicted == 2, IGNORE)
    assert torch.equal(support.correct(LABELS, predicted), expected)


def test_what_is_alike_to_strokes_and_called_background_is_no_target():
    """A rare class is likely long before it is predicted; what is false of it is known."""
    predicted, scribble = empty()
    box(scribble, (8, 9), (8, 12))[:] = 1
    box(scribble, (30, 31), (30, 40))[:] = 0
    likely = torch.zeros_like(predicted, dtype=torch.bool)
    box(likely, (5, 15), (5, 15))[:] = True
    box(likely, (28, 34), (30, 40))[:] = True  # reached from the background's stroke alone
    support = judged(LABELS, likely, scribble)
    corrected = support.correct(LABELS, predicted)
    expected = predicted.clone()
    box(expected, (5, 15), (5, 15))[:] = IGNORE
    assert torch.equal(corrected, expected)
    box(predicted, (5, 10), (5, 15))[:] = 2  # what is predicted to be an organ stays
    box(expected, (5, 10), (5, 15))[:] = 2
    assert torch.equal(support.correct(LABELS, predicted), expected)


def test_a_stroke_counts_though_nothing_is_predicted_there():
    predicted, scribble = empty()
    box(scribble, (20, 21), (20, 30))[:] = 2
    support = judged(LABELS, predicted > 0, scribble)
    assert not box(support.background, (19, 22), (19, 31)).any()
    assert support.background.sum() == 40 * 48 - 3 * 12


def test_foreground_nearer_to_a_background_stroke_is_false():
    """A bar from a stroke at column 5 to a background stroke at column 41: 24 and 12 of 36."""
    predicted, scribble = empty()
    box(predicted, (18, 22), (5, 42))[:] = 1
    box(scribble, (18, 22), (5, 6))[:] = 2
    box(scribble, (18, 22), (41, 42))[:] = 0
    support = judged(LABELS, predicted > 0, scribble)
    kept = support.correct(LABELS, predicted)[0, 0, 20]
    assert kept.nonzero().flatten().tolist() == list(range(5, 30))


def test_what_a_background_stroke_alone_reaches_is_false():
    predicted, scribble = empty()
    box(predicted, (5, 15), (30, 40))[:] = 2
    box(scribble, (0, 40), (33, 34))[:] = 0
    support = judged(LABELS, predicted > 0, scribble)
    assert support.background.all()
    assert not support.unknown.any()
    assert not support.correct(LABELS, predicted).any()


@pytest.mark.parametrize("shape", [(96, 96), (40, 40, 40)])
@pytest.mark.parametrize(("column", "false"), [(25, False), (18, True), (14, True)])
def test_a_background_stroke_contradicts_what_lies_on_both_of_its_sides(shape, column, false):
    """An object without a stroke ends beside one, or was drawn into: its voxels are known first."""
    predicted, scribble = empty(shape)
    box(predicted, *[(5, 25)] * len(shape))[:] = 1
    stroke = [(5, 25)] * (len(shape) - 1) + [(column, column + 1)]
    if column == 18:
        box(predicted, *stroke)[:] = 0
    box(scribble, *stroke)[:] = 0
    for axis in range(len(shape)):  # far away, so that all slices are annotated
        edge = [-1] * len(shape)
        edge[axis] = slice(None)
        scribble[(..., *edge)] = 0
    foreground = predicted > 0
    support = judged(LABELS, foreground, scribble)
    assert bool((support.background & foreground).any()) == false
    assert bool((support.unknown & foreground).any()) == (not false)
    assert box(support.background, *[(30, 40)] * len(shape)).all()


@pytest.mark.parametrize("row", [0, 20])  # at the image's edge, and on the other side
def test_a_stroke_beside_an_object_annotates_its_image(row):
    """Of the object nothing is said, of what is far from it that it is background."""
    predicted, scribble = empty((96, 96))
    box(predicted, (1, 20), (20, 60))[:] = 1  # a cell is two voxels
    box(scribble, (row, row + 1), (20, 60))[:] = 0
    foreground = predicted > 0
    support = judged(LABELS, foreground, scribble)
    assert torch.equal(support.unknown, foreground)
    assert not (support.background & foreground).any()
    assert box(support.background, (50, 96), (0, 96)).all()


@pytest.mark.parametrize("cell", [(1, 4), (1, 2, 4)])
def test_gaps_close_up_to_two_cells_along_each_axis(cell):
    for axis, voxels in enumerate(cell):
        for gap, closes in ((2 * voxels, True), (2 * voxels + 1, False)):
            foreground = torch.zeros(1, 1, *[30] * len(cell), dtype=torch.bool)
            foreground.narrow(2 + axis, 5, 3)[:] = True
            foreground.narrow(2 + axis, 8 + gap, 3)[:] = True
            middle = [15] * len(cell)
            middle[axis] = 8
            assert surrounded(foreground, cell)[(0, 0, *middle)] == closes, (axis, gap)


def test_of_regions_background_strokes_count_as_drawn_too():
    labels = Regions(2)
    foreground = torch.zeros(1, 1, 96, 96, dtype=torch.bool)
    box(foreground, (10, 30), (10, 30))[:] = True
    drawn = torch.zeros(1, 3, 96, 96)
    drawn[:, -1] = 1
    box(drawn, (10, 30), (34, 35))[:] = 0
    grown = drawn.clone()
    box(grown, (10, 30), (28, 38))[:] = 0
    assert (imply(labels, foreground, grown)[0] & foreground).any()
    assert torch.equal(imply(labels, foreground, grown, drawn)[1], foreground)


def test_background_that_has_grown_up_to_an_object_does_not_contradict_it():
    predicted, drawn = empty((96, 96))
    box(predicted, (10, 30), (10, 30))[:] = 1
    box(drawn, (10, 30), (34, 35))[:] = 0
    assert not box(imply(LABELS, predicted > 0, drawn)[0], (10, 30), (10, 30)).any()
    grown = drawn.clone()
    box(grown, (10, 30), (29, 38))[:] = 0
    foreground = predicted > 0
    background, unknown = imply(LABELS, foreground, grown, drawn)
    assert torch.equal(unknown, foreground)
    assert not (background & foreground).any()


def test_without_any_annotation_nothing_is_implied():
    predicted, scribble = empty(batch=2)
    box(predicted, (5, 15), (5, 15))[:] = 1
    scribble[1, 0, 30, 3:9] = 1  # the second sample is annotated
    support = judged(LABELS, predicted > 0, scribble)
    assert not support.background[0].any()
    assert (support.correct(LABELS, predicted)[0] == predicted[0]).all()
    assert not support.unknown[0].any()
    assert torch.equal(support.unknown[1], predicted[1] > 0)
    assert support.background[1].any()


def test_in_3d_slices_without_annotation_are_not_judged():
    predicted, scribble = empty((12, 20, 24))
    for z in (4, 8):
        box(scribble, (z, z + 1), (2, 18), (2, 3))[:] = 0
        box(scribble, (z, z + 1), (2, 3), (2, 22))[:] = 0
        box(scribble, (z, z + 1), (9, 11), (9, 11))[:] = 1
    box(predicted, (3, 10), (8, 12), (8, 12))[:] = 1  # through both, supported
    box(predicted, (4, 9), (15, 17), (18, 20))[:] = 2  # through both, with background strokes
    box(scribble, (4, 5), (15, 16), (18, 19))[:] = 0
    box(scribble, (8, 9), (15, 16), (18, 19))[:] = 0
    support = judged(LABELS, predicted > 0, scribble)
    slices = support.background.flatten(3).any(3)[0, 0].nonzero().flatten().tolist()
    assert slices == [4, 8]
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
        support = judged(LABELS, predicted > 0, scribble)
        ours, theirs = naive(predicted, scribble)
        corrected = support.correct(LABELS, predicted)[0, 0]
        kept = (predicted[0, 0] > 0) & (corrected > 0) & (corrected != IGNORE)
        if len(shape) == 2:  # in 3D some slices may have no stroke
            assert torch.equal(kept, ours & (predicted[0, 0] > 0))
        assert (kept | ~(ours & (predicted[0, 0] > 0))).all()
        if len(shape) == 2:
            lone = (predicted[0, 0] > 0) & ~ours & ~theirs
            assert torch.equal(support.unknown[0, 0], lone)
        assert theirs.any()


def test_a_coarse_grid_keeps_what_is_apart_by_more_than_two_cells():
    predicted, scribble = empty((256, 300))  # cells of 4 and 5 voxels
    box(predicted, (40, 90), (40, 90))[:] = 1
    box(predicted, (40, 90), (102, 150))[:] = 1
    box(scribble, (60, 61), (50, 80))[:] = 1
    support = judged(LABELS, predicted > 0, scribble)
    assert not support.background[0, 0, 40:90, 40:150].any()
    assert support.unknown[0, 0, 40:90, 102:150].all()
    assert not support.unknown[0, 0, :, :100].any()
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
    expected = judged(LABELS, predicted > 0, scribble)
    support = judged(labels, predicted > 0, as_regions(scribble))
    assert torch.equal(support.background, expected.background)
    assert torch.equal(support.unknown, expected.unknown)
    expected = as_regions(expected.correct(LABELS, predicted))
    corrected = support.correct(labels, as_regions(predicted))
    assert corrected.dtype == torch.bool
    assert torch.equal(corrected[:, -1], expected[:, -1])
    seen = ~expected[:, -1:]
    assert torch.equal(corrected & seen, expected & seen)


def test_an_organ_is_told_from_the_rest_before_it_is_predicted():
    """All is predicted to be background; the organ of class 2 only less so, class 1 more so."""
    p = torch.full((2, K, 20, 20), 0.01)
    p[:, 2, 4:12, 5:15], p[:, 1, 14:18, 2:5] = 0.1, 0.9
    p[1, 2, 6, 6] = 0.14
    p[:, 0] = 1 - p[:, 1:].sum(1)
    scribble = torch.full((2, 1, 20, 20), IGNORE)
    scribble[1, 0, 6, 6:9] = 2
    level = (0.14 + 2 * 0.1) / 3
    for share, expected in ((0.51, True), (0.49, False)):
        p[0, 2, 5, 5] = share * level
        p[0, 0, 5, 5] = 0.99 - share * level
        found, _ = foreground_like_strokes(LABELS, p.log(), scribble)
        want = torch.zeros(2, 1, 20, 20, dtype=torch.bool)
        want[:, 0, 4:12, 5:15] = want[:, 0, 14:18, 2:5] = True
        want[0, 0, 5, 5] = expected
        assert torch.equal(found, want)


def test_without_strokes_what_is_probable_is_foreground():
    logits = 3 * torch.randn(2, K, 16, 16)
    scribble = torch.full((2, 1, 16, 16), IGNORE)
    expected = logits.softmax(1)[:, 1:].amax(1, keepdim=True) >= 0.5
    found, recognised = foreground_like_strokes(LABELS, logits, scribble)
    assert torch.equal(found, expected)
    assert recognised == 0


def test_regions_have_levels_of_their_own():
    logits = torch.full((1, 2, 8, 8), -6.0)
    logits[0, 0, :4], logits[0, 1, :, :2] = 4.0, -2.0
    target = torch.zeros(1, 3, 8, 8, dtype=torch.int16)
    target[:, 2] = 1
    target[0, :, 1, 0] = torch.tensor([1, 1, 0])
    found, _ = foreground_like_strokes(Regions(2), logits, target)
    expected = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    expected[..., :4, :] = expected[..., :2] = True
    assert torch.equal(found, expected)


@pytest.mark.parametrize("labels", [LABELS, Regions(2)], ids=["labels", "regions"])
@pytest.mark.parametrize("scale", [1.0, 9.0])
def test_trust_is_how_far_classes_are_more_probable_than_not_at_their_strokes(labels, scale):
    logits = scale * torch.randn(2, 3 if labels is LABELS else 2, 16, 16)
    scribble = torch.full((2, 1, 16, 16), IGNORE)
    scribble[0, 0, 3, 2:12], scribble[1, 0, 9, 3:5], scribble[1, 0, 0] = 1, 2, 0
    logits[0, -2, 3, 2:12] += scale
    logits[1, -1, 9, 3:5] += scale
    p = labels.probabilities(logits)[:, -2:]
    if labels is not LABELS:
        scribble = torch.cat([scribble == 1, scribble == 2, scribble == IGNORE], 1)
    support = stroke_support(labels, logits, scribble)
    expected = (p[0, 0, 3, 2:12].mean() + p[1, 1, 9, 3:5].mean()) / 2
    foreground, recognised = foreground_like_strokes(labels, logits, scribble)
    torch.testing.assert_close(recognised, expected)
    torch.testing.assert_close(support.trust, (4 * expected - 2).clamp(0, 1))
    background, unknown = imply(labels, foreground, scribble)
    assert torch.equal(support.background, background)
    assert torch.equal(support.unknown, unknown)
