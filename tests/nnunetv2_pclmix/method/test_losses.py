"""Partial cross-entropy, certainty label, consistency and schedules against naive loops."""

import math

import pytest
import torch

from nnunetv2_pclmix.method.certainty_label import (
    certainty_label,
    classes_in_cells,
    counts_by_comparison,
    label_of_cells,
    mean_probabilities,
)
from nnunetv2_pclmix.method.dual_consistency import heterogeneous_consistency
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
from nnunetv2_pclmix.method.partial_cross_entropy import partial_cross_entropy, partial_nll
from nnunetv2_pclmix.method.schedules import certainty_threshold, delayed_power, sigmoid_ramp
from tests import reference

SHAPES = [(5, 7), (3, 4, 5)]
IGNORE = 3
LABELS = ExclusiveLabels(IGNORE)


def scribbles(batch, shape, share=0.3):
    label = torch.randint(0, IGNORE, (batch, *shape))
    return label.masked_fill(torch.rand(batch, *shape) > share, IGNORE)


@pytest.mark.parametrize("shape", SHAPES)
def test_partial_cross_entropy_is_the_mean_over_annotated_voxels(shape):
    logits, target = 3 * torch.randn(2, IGNORE, *shape), scribbles(2, shape)
    expected = reference.partial_cross_entropy(logits, target, IGNORE)
    torch.testing.assert_close(partial_cross_entropy(logits, target, IGNORE), expected)


def test_partial_cross_entropy_of_equal_logits_is_log_k():
    target = scribbles(2, (6, 6))
    loss = partial_cross_entropy(torch.zeros(2, IGNORE, 6, 6), target, IGNORE)
    assert loss.item() == pytest.approx(math.log(IGNORE), rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_ignored_gives_zero_and_zero_gradients(shape):
    logits = torch.randn(2, IGNORE, *shape, requires_grad=True)
    loss = partial_cross_entropy(logits, torch.full((2, *shape), IGNORE), IGNORE)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_gradient_is_right_and_exactly_zero_at_ignored_voxels():
    logits = torch.randn(2, IGNORE, 3, 4, dtype=torch.float64, requires_grad=True)
    target = scribbles(2, (3, 4), 0.5)
    target[0, 0, :2] = torch.tensor([0, IGNORE])  # at least one of each

    def loss(z):
        (mean,) = partial_nll(torch.log_softmax(z, 1), target[None], IGNORE)
        return mean.value()

    assert torch.autograd.gradcheck(loss, (logits,))
    loss(logits).backward()
    ignored = (target == IGNORE)[:, None].expand_as(logits)
    assert (logits.grad[ignored] == 0).all()
    assert (logits.grad[~ignored] != 0).all()


def test_loss_is_float32_and_finite_for_half_precision_logits():
    logits = torch.full((1, 2, 2, 2), -60000.0, dtype=torch.float16)
    logits[:, 1] = 60000.0
    loss = partial_cross_entropy(logits, torch.zeros(1, 2, 2, dtype=torch.int16), 2)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(120000, rel=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_certainty_label_agrees_with_the_loop(shape):
    main, auxiliary = 4 * torch.randn(2, 2, IGNORE, *shape)
    scribble = scribbles(2, shape)
    for threshold in (0.0, 0.4, certainty_threshold(0.5), 2.0):
        p = mean_probabilities(LABELS, main, auxiliary)
        label = certainty_label(LABELS, p, scribble[:, None], threshold)
        expected = reference.certainty_label(main, auxiliary, scribble, threshold, IGNORE)
        assert torch.equal(label, expected)


def test_certainty_label_extremes():
    p = torch.tensor([[[1.0, 0.5, 0.5]], [[0.0, 0.5, 0.5]]])[None]  # (1, 2, 1, 3)
    scribble, two = torch.tensor([[[[2, 2, 1]]]]), ExclusiveLabels(2)
    # exactly certain, maximally uncertain, maximally uncertain but scribbled
    assert certainty_label(two, p, scribble, 0.0).tolist() == [[[0, 2, 1]]]
    assert certainty_label(two, p, scribble, math.log(2) + 1e-6).tolist() == [[[0, 0, 1]]]


def test_what_is_not_finite_is_not_certain():
    p = torch.full((1, 2, 1, 2), float("nan"))
    scribble = torch.tensor([[[[2, 1]]]])
    assert certainty_label(ExclusiveLabels(2), p, scribble, 9.0).tolist() == [[[2, 1]]]


@pytest.mark.parametrize("cell", [(2, 3), (1, 1), (3, 2, 4)], ids=str)
def test_a_gpu_counts_the_classes_in_cells_otherwise_but_the_same(cell):
    size = (4, 5, 3)[: len(cell)]
    classes = torch.randint(0, IGNORE + 1, (2, *(n * c for n, c in zip(size, cell, strict=True))))
    parts = classes.view(2, *(n for pair in zip(size, cell, strict=True) for n in pair))
    assert torch.equal(counts_by_comparison(parts, IGNORE), classes_in_cells(classes, size, IGNORE))


@pytest.mark.parametrize("cell", [(2, 3), (4, 4), (1, 2, 2)])
def test_cells_have_their_strokes_class_or_that_of_most_of_them(cell):
    size = (3, 4, 2)[: len(cell)]
    shape = [n * c for n, c in zip(size, cell, strict=True)]
    certain, scribble, predicted = torch.randint(0, IGNORE + 1, (3, 3, *shape))
    scribble[torch.rand(3, *shape) < 0.8] = IGNORE
    predicted = predicted.clamp(max=IGNORE - 1)
    label, prediction = label_of_cells(certain, scribble, predicted, size, IGNORE)
    assert torch.equal(prediction, classes_in_cells(predicted, size, IGNORE).argmax(2))
    expected = reference.label_of_cells(certain, scribble, cell, IGNORE).flatten(1)
    assert torch.equal(label, expected)
    assert (label == IGNORE).any() and (label < IGNORE).any()


def test_mean_probabilities_without_auxiliary_is_the_softmax():
    z = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(mean_probabilities(LABELS, z, None), z.softmax(1))
    torch.testing.assert_close(mean_probabilities(LABELS, z, z), z.softmax(1))


def test_heterogeneous_consistency():
    one, two = torch.randn(2, 2, 3, 4, 4)
    assert heterogeneous_consistency(one, one).item() == 0
    expected = ((one - two) ** 2).mean()
    torch.testing.assert_close(heterogeneous_consistency(one, two), expected)
    expected = ((one.softmax(1) - two.softmax(1)) ** 2).sum(1).mean()
    torch.testing.assert_close(heterogeneous_consistency(one, two, LABELS.probabilities), expected)
    half = torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)  # 600 squared overflows float16
    assert heterogeneous_consistency(half, -half).item() == 360000


def test_schedules():
    assert sigmoid_ramp(0.0) == pytest.approx(math.exp(-5))
    assert sigmoid_ramp(0.25, 0.5) == pytest.approx(math.exp(-1.25))
    assert sigmoid_ramp(0.5, 0.5) == sigmoid_ramp(1.0) == sigmoid_ramp(0.0, 0.0) == 1
    assert certainty_threshold(1.0) == pytest.approx(math.log(2))
    expected = (0.75 + 0.25 * math.exp(-5 * 0.49)) * math.log(2)
    assert certainty_threshold(0.3) == pytest.approx(expected)
    assert delayed_power(0.01, 1 / 60, 0.9) == 0
    assert delayed_power(0.5, 1 / 60, 0.9) == pytest.approx(0.5**0.9)
