"""An iteration of training without nnU-Net: a small network, strokes, and torch's own optimiser."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nnunetv2_pclmix.config import COMPLETE
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
from nnunetv2_pclmix.method.network import PCLMixNetwork
from nnunetv2_pclmix.method.objective import Objective, resize_nearest
from nnunetv2_pclmix.method.term_weights import term_weights
from nnunetv2_pclmix.training.step import Descent, make_step
from tests.nnunetv2_pclmix.method.test_network import stock_network
from tests.nnunetv2_pclmix.method.test_objective import IGNORE, K, dice

PATCH, STRIDES = (32, 48), [(1, 1), (2, 2), (2, 2), (2, 2)]
SIZES = [PATCH, (16, 24), (8, 12)]
CONFIG = replace(COMPLETE, embedding_dim=8, memory_size=20, anchors_total=64, contrast_start=0.0)
ONE_PASS = replace(CONFIG, dynamic_mix=False, contrast=False, auxiliary_decoder=False)


def make(config=CONFIG, deep_supervision=True):
    torch.manual_seed(3)
    stock = stock_network(PATCH, STRIDES, deep_supervision=deep_supervision)
    network = PCLMixNetwork(stock, PATCH, K, config).train()
    levels = [0.6, 0.3, 0.1] if deep_supervision else [1.0]
    objective = Objective(config, ExclusiveLabels(IGNORE), levels, dice)
    step = make_step(config, network, objective, torch.device("cpu"), 4, (1.0, 1.0))
    return step, Descent(network, torch.optim.SGD(network.parameters(), 0.05), None)


def batch_of(size=4):
    """Two bright halves with a stroke each, and one between them."""
    data = torch.randn(size, 1, *PATCH) * 0.1
    data[..., :20] += 2
    data[..., 28:] -= 2
    scribble = torch.full((size, 1, *PATCH), IGNORE, dtype=torch.int16)
    scribble[..., 4:28, 8:11], scribble[..., 4:28, 36:39] = 1, 2
    scribble[..., 4:28, 23:25] = 0
    return {"data": data, "target": [resize_nearest(scribble, s) for s in SIZES]}


class Seen:
    """In the place of the pictures: what they would take."""

    def __init__(self):
        self.taken, self.mixed = [], []

    def take(self, *args):
        self.taken.append(args)

    def take_mixed(self, *args):
        self.mixed.append(args)


def test_training_lowers_the_strokes_loss_and_fills_the_memory():
    step, descent = make()
    results = [step(batch_of(), 0.5, descent) for _ in range(12)]
    strokes = [result.by_name(step.term_names)["scribble_main"] for result in results]
    assert strokes[-1] < 0.5 * strokes[0]
    assert step.memory.filled.min() > 0


def test_a_result_holds_the_terms_and_their_weighted_sum_on_the_host():
    step, descent = make()
    result = step(batch_of(), 0.5, descent)
    weights = term_weights(CONFIG, 0.5)
    terms = result.by_name(step.term_names)
    assert terms.keys() == weights.keys()
    assert result.loss == pytest.approx(sum(w * terms[n] for n, w in weights.items()), rel=1e-5)
    assert isinstance(result.terms, np.ndarray) and np.isfinite(result.counts).all()


@pytest.mark.parametrize("config, passes", [(CONFIG, 2), (ONE_PASS, 1)])
def test_a_second_pass_is_made_for_dynamic_mix_only(config, passes):
    step, descent = make(config)
    seen, shapes = Seen(), []
    step.network.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape))
    step(batch_of(), 0.5, descent, seen)
    assert shapes == [(4, 1, *PATCH)] * passes
    assert (len(seen.taken), len(seen.mixed)) == (1, passes - 1)
    assert (step.memory is None) == (passes == 1)


@pytest.mark.parametrize("progress, passes", [(0.4, 2), (0.5, 1), (0.9, 1)])
def test_there_is_no_second_pass_once_mixed_images_have_faded(progress, passes):
    step, descent = make(replace(CONFIG, mix_fade=0.5))
    shapes = []
    step.network.register_forward_pre_hook(lambda _, args: shapes.append(args[0].shape))
    result = step(batch_of(), progress, descent)
    assert len(shapes) == passes
    terms, weights = result.by_name(step.term_names), term_weights(step.config, progress)
    assert result.loss == pytest.approx(sum(w * terms[n] for n, w in weights.items()), rel=1e-5)
    assert (terms["scribble_main_mixed"] == 0) == (passes == 1)


def test_a_batch_of_one_is_mixed_with_the_one_before():
    step, descent = make()
    seen = Seen()
    for _ in range(3):
        assert np.isfinite(step(batch_of(1), 0.5, descent, seen).terms).all()
    mix, images, *_ = seen.mixed[-1]
    assert images.shape == (1, 1, *PATCH) and len(mix.second) == 1


@pytest.mark.parametrize("size, trusted", [(1, [0.2, 0.2, 0.3]), (4, [0.2, 0.7, 0.3])])
def test_a_batch_of_one_is_trusted_as_far_as_the_one_before(size, trusted, monkeypatch):
    step, descent = make()
    told, taken, own = iter([0.2, 0.7, 0.3]), [], step.support
    second_pass = step.objective.second_pass

    def support(*args):
        return replace(own(*args), trust=torch.tensor(next(told)))

    def second(*args):
        taken.append(args[-1].item())
        return second_pass(*args)

    monkeypatch.setattr(step, "support", support)
    monkeypatch.setattr(step.objective, "second_pass", second)
    for _ in range(3):
        step(batch_of(size), 0.5, descent)
    assert taken == pytest.approx(trusted)


def test_each_pass_is_back_propagated_once_and_then_one_step_is_made(monkeypatch):
    calls = []
    for name in ("begin", "backward", "step"):
        original = getattr(Descent, name)

        def noted(self, *args, name=name, original=original):
            calls.append(name)
            return original(self, *args)

        monkeypatch.setattr(Descent, name, noted)
    step, descent = make()
    step(batch_of(), 0.5, descent)
    assert calls == ["begin", "backward", "backward", "step"]


def test_gradients_are_clipped_and_their_norm_is_told():
    step, descent = make()
    for p in descent.network.parameters():
        p.grad = torch.full_like(p, 100.0)
    assert descent.step() > 1000
    norm = torch.stack([p.grad.norm() for p in descent.network.parameters()]).norm()
    assert norm.item() == pytest.approx(12, rel=1e-3)


def test_a_single_target_without_deep_supervision():
    step, descent = make(deep_supervision=False)
    batch = batch_of()
    result = step({**batch, "target": batch["target"][0]}, 0.5, descent)
    assert np.isfinite(result.terms).all()


def test_grown_strokes_are_what_both_passes_learn_from():
    step, descent = make()
    grown, seen = [], []

    def grow(labels, logits, scribble, share, periods):
        assert share == CONFIG.stroke_growth and periods == [1, 1]
        grown.append(torch.where(scribble == IGNORE, 1, scribble))
        return grown[-1]

    first_pass, second_pass = step.objective.first_pass, step.objective.second_pass
    support, asked = step.support, []
    step.grow = grow
    step.support = lambda *arguments: asked.append(arguments) or support(*arguments)
    step.objective.first_pass = lambda output, scribble, *rest: (
        seen.append(scribble) or first_pass(output, scribble, *rest)
    )
    step.objective.second_pass = lambda output, scribble, *rest: (
        seen.append(scribble) or second_pass(output, scribble, *rest)
    )
    batch, pictures = batch_of(), Seen()
    step(batch, 0.5, descent, pictures)
    first, mixed = seen
    assert torch.equal(first, grown[0]) and (mixed != IGNORE).all()
    # background strokes contradict as they were drawn
    ((_, _, scribble, drawn),) = asked
    assert scribble is grown[0] and torch.equal(drawn, batch["target"][0])
    # what is drawn, and counted as annotated, is what the user drew
    assert torch.equal(pictures.taken[0][1], batch["target"][0])


def test_without_growth_the_strokes_are_as_drawn():
    step, descent = make(replace(CONFIG, stroke_growth=0.0))
    step.grow = None
    step(batch_of(), 0.5, descent)


def test_weights_are_converted_to_half_precision_but_once(monkeypatch):
    """Autocast keeps what it converts for the second pass; the gradients are the same without."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Conversions(TorchDispatchMode):
        of_kernels = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten._to_copy.default and args[0].ndim == 4:
                to, rows = (kwargs or {}).get("dtype"), args[0].shape[2:]
                self.of_kernels += to == torch.bfloat16 and rows in ((3, 3), (2, 2))
            return func(*args, **(kwargs or {}))

    def trained(cached):
        step, descent = make()
        whole = step.forward

        def in_half(*args, **kwargs):
            with torch.autocast("cpu", torch.bfloat16, cache_enabled=cached):
                return whole(*args, **kwargs)

        monkeypatch.setattr(step, "forward", in_half)
        with Conversions() as conversions:
            step(batch_of(), 0.5, descent)
        gradients = [own.grad.clone() for own in step.network.parameters() if own.grad is not None]
        return conversions.of_kernels, gradients, step.network

    once, gradients, network = trained(True)
    each_time, expected, _ = trained(False)
    kernels = sum(own.ndim == 4 and own.shape[-1] > 1 for own in network.parameters())
    assert (once, each_time) == (kernels, 2 * kernels)
    assert len(gradients) == len(expected)
    for own, other in zip(gradients, expected, strict=True):
        assert torch.equal(own, other)
