"""Mixed precision: finite in float16 over, and beyond, the range of logits that training reaches.

nnU-Net trains under float16 autocast on CUDA. Half precision ends at 65504, so sums, squares and
exponentials of logits belong in float32, and what has overflowed must not outlive its iteration.
"""

import numpy as np
import pytest
import torch

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.dual_consistency import heterogeneous_consistency
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels, Regions
from nnunetv2_pclmix.method.network import TrainingOutput
from nnunetv2_pclmix.method.objective import Objective
from nnunetv2_pclmix.method.pixel_contrastive_loss import pixel_contrastive_loss
from nnunetv2_pclmix.method.pixel_embedding import EmbeddingHead, PixelEmbedding
from nnunetv2_pclmix.method.pixel_memory import PixelMemory
from nnunetv2_pclmix.method.stroke_support import stroke_support
from nnunetv2_pclmix.method.term_weights import term_weights, weighted_sum
from tests.nnunetv2_pclmix.method.test_objective import dice
from tests.nnunetv2_pclmix.test_trainer import _targets, make_trainer

HALVES = [torch.float16, torch.bfloat16]
ENCODINGS = [ExclusiveLabels(3), Regions(3)]
SCALES = [60.0, 1000.0]


def scribbles(labels, size):
    target = torch.randint(0, 3, (2, 1, size, size))
    target = target.masked_fill(torch.rand(target.shape) > 0.3, 3)
    if isinstance(labels, Regions):  # nested: the region i is what is above i; and the ignore mask
        regions = [(target > i) & (target != 3) for i in range(3)]
        target = torch.cat([*regions, target == 3], 1)
    return target


@pytest.mark.parametrize("labels", ENCODINGS, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", HALVES)
def test_every_term_and_gradient_is_finite_for_half_precision_outputs(labels, scale, dtype):
    """Logits of +-scale, right and wrong alike, as when a training diverges for a moment."""

    def leaf(x):
        return x.to(dtype).requires_grad_()

    def logits(size):
        sign = torch.randint(0, 2, (2, 3, size, size)) * 2 - 1
        return leaf(sign * scale)

    def output():
        embedding = torch.nn.functional.normalize(torch.randn(2, 8, 4, 4), dim=1)
        embedding = PixelEmbedding(leaf(embedding), torch.eye(8), torch.zeros(8))
        return TrainingOutput([logits(16), logits(8)], logits(16), embedding)

    config = PCLMixConfig(
        embedding_dim=8, memory_size=5, anchor_min_pixels=1, heterogeneous_on="logits"
    )
    objective = Objective(config, labels, [2 / 3, 1 / 3], dice)
    memory = PixelMemory(labels.num_classes, 5, 8)
    vectors = torch.nn.functional.normalize(torch.randn(2, labels.num_classes, 8), dim=2)
    memory.enqueue(vectors, torch.ones(2, labels.num_classes, dtype=torch.bool))
    targets = [scribbles(labels, 16), scribbles(labels, 8)]
    first, second = output(), output()
    support = stroke_support(labels, first.main[0], targets[0])
    terms, queued = objective.first_pass(first, targets[0], memory, 0.9, support)
    pseudo, _ = objective.pseudo_labels(first, targets[0], support, 0.9)
    mixed = objective.second_pass(second, targets[0], pseudo, support.background, support.trust)
    assert (terms | mixed).keys() == term_weights(config, 0.9).keys()
    for name, value in (terms | mixed).items():
        assert value.dtype == torch.float32, name
        assert value.isfinite(), name
    assert terms["heterogeneous"] > scale**2 / 2  # beyond half precision for the larger scale
    weights = term_weights(config, 0.9)
    (weighted_sum(terms, weights) + weighted_sum(mixed, weights)).backward()
    leaves = [*first.main, first.auxiliary, first.embedding.hidden, *second.main, second.auxiliary]
    for tensor in leaves:
        assert tensor.grad.dtype == dtype
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0
    memory.enqueue(*queued)
    assert memory.stored()[0].isfinite().all()
    assert memory.entries.dtype == torch.float32


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_inputs_give_the_loss_of_their_values(dtype):
    """The result is that of the same numbers in float32: nothing is computed in half."""
    one, two = (30 * torch.randn(2, 2, 3, 9, 9)).to(dtype)
    assert heterogeneous_consistency(one, two) == heterogeneous_consistency(
        one.float(), two.float()
    )
    anchors = torch.nn.functional.normalize(torch.randn(6, 8), dim=1).to(dtype)
    entries = torch.nn.functional.normalize(torch.randn(3, 5, 8), dim=2).to(dtype)
    rest = (torch.randint(0, 3, (6,)), torch.ones(6, dtype=torch.bool))
    stored = torch.ones(3, 5, dtype=torch.bool)
    loss = pixel_contrastive_loss(anchors, *rest, entries, stored, 0.07)
    assert loss.dtype == torch.float32
    assert loss == pixel_contrastive_loss(anchors.float(), *rest, entries.float(), stored, 0.07)


def test_an_embedding_that_overflowed_leaves_the_memory_as_it_was():
    memory = PixelMemory(3, 4, 8)
    good = torch.nn.functional.normalize(torch.randn(1, 3, 8), dim=2)
    memory.enqueue(good, torch.ones(1, 3, dtype=torch.bool))
    embedding = torch.randn(2, 8, 9).half()
    embedding[1, 0, 4] = torch.inf  # of the second image, in class 1
    label = (torch.arange(9) // 3).expand(2, 9)
    embedding = PixelEmbedding(embedding, torch.eye(8), torch.zeros(8))
    vectors, present = embedding.region_means(label, 3)
    assert present.all()
    memory.enqueue(vectors, present)
    assert memory.stored()[0].isfinite().all()
    # 0 x inf is NaN in the sums over the pixels: the image is left out, with all its classes
    assert memory.filled.tolist() == memory.pointer.tolist() == [2, 2, 2]


def autocast_to(dtype):
    return torch.autocast("cpu", dtype=dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_embedding_is_float32_and_of_length_one_under_autocast(dtype):
    head = EmbeddingHead(16, 8)
    with autocast_to(dtype):
        embedding = head(1000 * torch.randn(2, 16, 4, 4))
    assert embedding.hidden.dtype == dtype
    embedding = embedding.at(torch.arange(32))
    assert embedding.dtype == torch.float32
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(32))


@pytest.fixture
def mixed_precision(nnunet, request, monkeypatch):
    """A trainer whose passes run under autocast on CPU, with a scaler, as they do on CUDA."""
    trainer = make_trainer(nnunet)
    trainer.initialize()
    trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    trainer.iteration = 6  # of 8: every schedule is on

    def forward(data, embed=True):
        with autocast_to(request.param):
            output = trainer.network(data)
            output = trainer.step.embedded(output) if embed else output
        assert output.main[0].dtype == output.auxiliary.dtype == request.param
        return output

    monkeypatch.setattr(trainer.step, "forward", forward)
    return trainer


def make_batch(trainer):
    return {"data": torch.randn(4, 1, 32, 32), "target": _targets(trainer)}


@pytest.mark.parametrize("mixed_precision", HALVES, indirect=True)
@pytest.mark.parametrize("scale", SCALES)
def test_a_step_under_autocast_is_finite_over_the_range_of_logits(
    mixed_precision, scale, monkeypatch
):
    trainer = mixed_precision
    batch = make_batch(trainer)
    with torch.no_grad():
        for layer in (trainer.network.decoder.seg_layers[-1],):
            largest = trainer.network(batch["data"]).main[0].abs().max()
            layer.weight *= scale / largest
            layer.bias *= scale / largest
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    norms = []
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(
        torch.nn.utils,
        "clip_grad_norm_",
        lambda *args, **kwargs: norms.append(clip(*args, **kwargs)) or norms[-1],
    )
    result = trainer.train_step(batch)
    assert np.isfinite(result["terms"]).all()
    assert np.isfinite(result["loss"])
    # a step is taken, or the scale was too large and is halved, as for every such training
    skipped = trainer.grad_scaler.get_scale() < 2.0**10
    assert bool(norms[0].isfinite()) != skipped
    for _ in range(10):
        if not skipped:
            break
        trainer.train_step(make_batch(trainer))
        skipped = not norms[-1].isfinite()
    assert not skipped
    after = trainer.network.state_dict()
    assert all(v.isfinite().all() for v in after.values())
    assert any(not torch.equal(before[k], v) for k, v in after.items())
    assert trainer.step.memory.stored()[0].isfinite().all()
    assert trainer.step.memory.filled.sum() > 0


@pytest.mark.parametrize("mixed_precision", [torch.float16], indirect=True)
def test_an_iteration_that_overflows_is_skipped_and_forgotten(mixed_precision):
    """Activations beyond 65504: nothing of them stays in weights, momentum or memory."""
    trainer = mixed_precision
    trainer.train_step(make_batch(trainer))
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    filled = trainer.step.memory.filled.clone()
    batch = make_batch(trainer)
    batch["data"][:] = torch.inf
    trainer.train_step(batch)
    assert trainer.grad_scaler.get_scale() < 2.0**10
    after = trainer.network.state_dict()
    assert all(torch.equal(before[k], v) for k, v in after.items())
    assert torch.equal(trainer.step.memory.filled, filled)
    assert trainer.step.memory.stored()[0].isfinite().all()
    for state in trainer.optimizer.state.values():
        assert state["momentum_buffer"].isfinite().all()
    result = trainer.train_step(make_batch(trainer))
    assert np.isfinite(result["terms"]).all()
