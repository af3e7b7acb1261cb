"""The weighted sum: its terms, their weights, and that no step waits for the device."""

from dataclasses import replace

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.helpers import softmax_helper_dim1
from torch._subclasses.fake_tensor import FakeTensorMode

from nnunetv2_pclmix.config import PUBLISHED, PCLMixConfig
from nnunetv2_pclmix.method.dynamic_mix import draw_mix
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
from nnunetv2_pclmix.method.network import PCLMixNetwork, TrainingOutput
from nnunetv2_pclmix.method.objective import Objective, resize_nearest
from nnunetv2_pclmix.method.pixel_embedding import PixelEmbedding
from nnunetv2_pclmix.method.pixel_memory import PixelMemory
from nnunetv2_pclmix.method.schedules import certainty_threshold
from nnunetv2_pclmix.method.stroke_support import StrokeSupport, stroke_support
from nnunetv2_pclmix.method.term_weights import term_weights, weighted_sum
from tests import reference
from tests.nnunetv2_pclmix.method.test_network import stock_network

K = IGNORE = 3
CONFIG = replace(PUBLISHED, memory_size=6, anchors_total=64, embedding_dim=8, contrast_start=0.0)
SUPPORTED = replace(CONFIG, stroke_support=True)
LEVELS = [0.6, 0.4, 0.0]
BACKGROUND = {
    f"background_{decoder}{suffix}"
    for decoder in ("main", "auxiliary")
    for suffix in ("", "_mixed")
}


dice = MemoryEfficientSoftDiceLoss(softmax_helper_dim1, True, do_bg=False, smooth=1, ddp=False)


def objective(config=CONFIG, levels=LEVELS):
    return Objective(config, ExclusiveLabels(IGNORE), levels, dice)


def random_batch(batch=4, patch=(32, 48), share=0.2, device="cpu"):
    """Logits of both decoders, embedding and scribbles per level, as if from a network."""
    sizes = [[s // 2**i for s in patch] for i in range(len(LEVELS))]
    main = [torch.randn(batch, K, *s, device=device, requires_grad=True) for s in sizes]
    auxiliary = torch.randn(batch, K, *patch, device=device, requires_grad=True)
    embedding = torch.randn(batch, 8, *[s // 8 for s in patch], device=device, requires_grad=True)
    embedding = torch.nn.functional.normalize(embedding, dim=1)
    as_it_is = torch.eye(8, device=device), torch.zeros(8, device=device)
    embedding = PixelEmbedding(embedding, *as_it_is)
    scribble = torch.randint(0, K, (batch, 1, *patch), device=device, dtype=torch.int16)
    hidden = torch.rand(batch, 1, *patch, device=device) > share
    scribble = scribble.masked_fill(hidden, IGNORE)
    targets = [scribble] + [resize_nearest(scribble, s) for s in sizes[1:]]
    return TrainingOutput(main, auxiliary, embedding), targets


def support_of(output, targets):
    labels = ExclusiveLabels(IGNORE)
    return stroke_support(labels, output.main[0], targets[0])


def filled_memory(device="cpu"):
    memory = PixelMemory(K, 6, 8).to(device)
    vectors = torch.nn.functional.normalize(torch.randn(5, K, 8, device=device), dim=2)
    memory.enqueue(vectors, torch.ones(5, K, dtype=torch.bool, device=device))
    return memory


@pytest.mark.parametrize("patch", [(32, 48), (8, 16, 24)])
def test_terms_agree_with_the_formulas(patch):
    output, targets = random_batch(2, patch)
    terms, queued = objective().first_pass(output, targets[0], filled_memory(), 0.5)
    expected = sum(
        w * reference.partial_cross_entropy(z.detach(), t[:, 0], IGNORE)
        for w, z, t in zip(LEVELS, output.main, targets, strict=True)
        if w
    )
    torch.testing.assert_close(terms["scribble_main"], expected, check_dtype=False)
    expected = reference.partial_cross_entropy(output.auxiliary.detach(), targets[0][:, 0], IGNORE)
    torch.testing.assert_close(terms["scribble_auxiliary"], expected)
    expected = (output.main[0] - output.auxiliary).square().mean()
    torch.testing.assert_close(terms["heterogeneous"], expected)
    softly = objective(replace(CONFIG, heterogeneous_on="probabilities"))
    agreement = softly.first_pass(output, targets[0], filled_memory(), 0.5)[0]["heterogeneous"]
    p = output.main[0].softmax(1) - output.auxiliary.softmax(1)
    torch.testing.assert_close(agreement, p.square().sum(1).mean())
    assert terms["contrast"] > 0
    assert queued[0].shape == (2, K, 8)

    pseudo = torch.randint(0, K, targets[0].shape)
    terms = objective().second_pass(output, targets[0], pseudo)
    expected = sum(
        w * torch.nn.functional.cross_entropy(z, resize_nearest(pseudo, z.shape[2:])[:, 0])
        for w, z in zip(LEVELS, output.main, strict=True)
    )
    torch.testing.assert_close(terms["pseudo_main"], expected)
    expected = torch.nn.functional.cross_entropy(output.auxiliary, pseudo[:, 0])
    torch.testing.assert_close(terms["pseudo_auxiliary"], expected)


def test_the_mixed_image_has_all_that_the_image_has():
    """Strokes, implied background and Dice of its own, and what is predicted as far as trusted."""
    output, targets = random_batch(2, share=0.05)
    support, memory = support_of(output, targets), filled_memory()
    support = replace(support, trust=torch.tensor(0.3))
    config = replace(SUPPORTED, partial_dice=1.0, pseudo_dice=0.5)
    o = objective(config)
    first, _ = o.first_pass(output, targets[0], memory, 0.5, support)
    pseudo = torch.randint(0, K + 1, targets[0].shape)  # some of it ignored
    second = o.second_pass(output, targets[0], pseudo, support.background, support.trust)
    names = "scribble_main background_main dice_main scribble_auxiliary background_auxiliary"
    for name in [*names.split(), "heterogeneous"]:
        torch.testing.assert_close(second[f"{name}_mixed"], first[name])
    levels = [resize_nearest(pseudo, z.shape[2:]) for z in output.main]
    expected = sum(
        w * dice(z, t.masked_fill(t == IGNORE, 0), (t != IGNORE).float())
        for w, z, t in zip(LEVELS, output.main, levels, strict=True)
    )
    torch.testing.assert_close(second["pseudo_dice_main"], 0.3 * expected)
    plain = o.second_pass(output, targets[0], pseudo, support.background)
    torch.testing.assert_close(second["pseudo_main"], 0.3 * plain["pseudo_main"])
    torch.testing.assert_close(second["pseudo_auxiliary"], 0.3 * plain["pseudo_auxiliary"])
    without = objective(replace(config, mixed_dice=False))
    less = without.second_pass(output, targets[0], pseudo, support.background, support.trust)
    assert second.keys() - less.keys() == {"dice_main_mixed"}


@pytest.mark.parametrize("of", ["decoders", "mean"])
@pytest.mark.parametrize("certain", [False, True])
def test_pseudo_labels_are_what_is_predicted_corrected_by_the_strokes(of, certain):
    output, targets = random_batch(2)
    support, scribble = support_of(output, targets), targets[0]
    o = objective(replace(SUPPORTED, pseudo_from=of, pseudo_certain=certain))
    found = o.pseudo_labels(output, scribble, support, 0.5)
    ps = [z.softmax(1) for z in (output.main[0], output.auxiliary)]
    ps = [sum(ps) / 2] * 2 if of == "mean" else ps
    for label, p in zip(found, ps, strict=True):
        expected = p.argmax(1, keepdim=True)
        if certain:
            entropy = -(p * p.log()).sum(1, keepdim=True)
            expected = expected.masked_fill(entropy > certainty_threshold(0.5), IGNORE)
        expected = support.correct(o.labels, expected)
        expected = torch.where(scribble != IGNORE, scribble, expected)
        assert torch.equal(label, expected.to(label.dtype))
        assert (label == IGNORE).any() and label.dtype == scribble.dtype


def test_scribble_and_dice_terms_are_together_the_stock_trainers_loss():
    output, targets = random_batch(2)
    stock = DeepSupervisionWrapper(
        DC_and_CE_loss(
            {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False},
            {},
            ignore_label=IGNORE,
            dice_class=MemoryEfficientSoftDiceLoss,
        ),
        LEVELS,
    )
    config = replace(CONFIG, partial_dice=1.0)
    o = Objective(config, ExclusiveLabels(IGNORE), LEVELS, stock.loss.dc)
    terms, _ = o.first_pass(output, targets[0], filled_memory(), 0.5)
    expected = stock(output.main, [t.long() for t in targets])
    torch.testing.assert_close(terms["scribble_main"] + terms["dice_main"], expected)


def test_implied_background_is_a_target_beside_the_strokes():
    """Cross-entropy as a mean of its own, and in the Dice, as far as strokes are recognised."""
    output, targets = random_batch(2, share=0.05)
    implied = torch.zeros(2, 1, 32, 48, dtype=torch.bool)
    implied[0, :, 8:24] = True
    none = torch.zeros_like(implied)
    support = StrokeSupport(implied, none, none, torch.tensor(0.3))
    memory = filled_memory()
    o = objective(replace(SUPPORTED, partial_dice=1.0))
    terms, _ = o.first_pass(output, targets[0], memory, 0.5, support)
    plain, _ = objective().first_pass(output, targets[0], memory, 0.5)
    torch.testing.assert_close(terms["scribble_main"], plain["scribble_main"])
    torch.testing.assert_close(terms["scribble_auxiliary"], plain["scribble_auxiliary"])
    coarse = [resize_nearest(implied, z.shape[2:]) for z in output.main]
    expected = sum(
        w * -z.log_softmax(1)[:, 0][i[:, 0]].mean()
        for w, z, i in zip(LEVELS, output.main, coarse, strict=True)
    )
    torch.testing.assert_close(terms["background_main"], 0.3 * expected)
    number = o.first_pass(output, targets[0], memory, 0.5, StrokeSupport(implied, none, none, 0.3))[
        0
    ]
    torch.testing.assert_close(number["background_main"], 0.3 * expected)
    expected = -output.auxiliary.log_softmax(1)[:, 0][implied[:, 0]].mean()
    torch.testing.assert_close(terms["background_auxiliary"], 0.3 * expected)
    expected = sum(
        w * dice(z, t.masked_fill(t == IGNORE, 0), torch.where(t == IGNORE, 0.3 * i, 1.0))
        for w, z, t, i in zip(LEVELS, output.main, targets, coarse, strict=True)
    )
    torch.testing.assert_close(terms["dice_main"], expected)


@pytest.mark.parametrize("background", [True, False])
def test_contrast_uses_certain_cells(background):
    config = replace(CONFIG, contrast_background=background)
    output, targets = random_batch(2)
    sharp = output._replace(main=[20 * z for z in output.main], auxiliary=20 * output.main[0])
    _, (means, present) = objective(config).first_pass(sharp, targets[0], filled_memory(), 0.5)
    main, auxiliary, scribble = sharp.main[0].detach(), sharp.auxiliary.detach(), targets[0][:, 0]
    certain = reference.certainty_label(main, auxiliary, scribble, certainty_threshold(0.5), IGNORE)
    label = reference.label_of_cells(certain, scribble, (8, 8), IGNORE).flatten(1)
    if not background:
        label[label == 0] = IGNORE
    lists = [[] for _ in range(K)]
    reference.enqueue(lists, output.embedding.hidden.detach().flatten(2), label, 99)
    assert present.sum(0).tolist() == [len(queue) for queue in lists]
    for c in range(K):
        if lists[c]:
            torch.testing.assert_close(means[present[:, c], c], torch.stack(lists[c]))
    assert present[:, 0].any() == background


def test_weights_are_the_published_ones_at_the_end():
    weights = term_weights(PUBLISHED, 1.0)
    assert weights == {
        "scribble_main": 1.0,
        "scribble_auxiliary": 0.4,
        "heterogeneous": 1.0,
        "contrast": 0.1,
        "scribble_main_mixed": 1.0,
        "pseudo_main": 1.0,
        "scribble_auxiliary_mixed": 0.4,
        "pseudo_auxiliary": 0.4,
        "heterogeneous_mixed": 1.0,
    }
    early = term_weights(PUBLISHED, 0.01)
    assert early["contrast"] == 0
    assert early["heterogeneous"] < 0.01
    settings = {"lambda_mixed_scribble": 0.3, "pseudo_dice": 0.2, "mix_fade": 0.0}
    ours = term_weights(PCLMixConfig(**settings), 1.0)
    assert ours.pop("pseudo_dice_main") == pytest.approx(0.2 * PCLMixConfig().lambda_pseudo)
    for name in ("scribble_main", "background_main", "dice_main", "background_auxiliary"):
        assert ours[f"{name}_mixed"] == pytest.approx(0.3 * ours[name])
    assert ours["background_auxiliary"] == pytest.approx(0.4 * 0.5)
    ramped = term_weights(PCLMixConfig(lambda_pseudo=1.0, pseudo_ramp=0.5, mix_fade=0.0), 0.25)
    assert ramped["pseudo_main"] == pytest.approx(2.718281828 ** (-5 / 4))
    assert ramped["pseudo_auxiliary"] == pytest.approx(0.4 * ramped["pseudo_main"])


@pytest.mark.parametrize(("fade", "left"), [(0.0, 1.0), (1.0, 0.75), (0.5, 0.5), (0.25, 0.0)])
def test_all_that_is_asked_of_mixed_images_fades_and_nothing_else(fade, left):
    config = PCLMixConfig(mix_fade=fade, pseudo_dice=0.2)
    weights, lasting = (term_weights(c, 0.25) for c in (config, replace(config, mix_fade=0.0)))
    for name, weight in weights.items():
        mixed = name.endswith("_mixed") or name.startswith("pseudo_")
        assert weight == pytest.approx(lasting[name] * (left if mixed else 1.0)), name


def test_the_weighted_sum_is_that_of_products_and_0_where_nothing_weighs():
    terms = {"a": torch.tensor(3.0, requires_grad=True), "b": torch.tensor(5.0)}
    assert weighted_sum(terms, {"a": 0.3, "b": 0.7, "other": 9.0}).item() == pytest.approx(4.4)
    nothing = weighted_sum(terms, {"a": 0.0, "b": 0.0})
    nothing.backward()
    assert nothing.item() == 0 and terms["a"].grad == 0


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"dynamic_mix": False}, {"pseudo_main", "scribble_main_mixed", "heterogeneous_mixed"}),
        ({"contrast": False}, {"contrast"}),
        ({"auxiliary_decoder": False}, {"scribble_auxiliary", "heterogeneous", "pseudo_auxiliary"}),
        (
            {"lambda_pseudo": 0.0, "lambda_heterogeneous": 0.0},
            {"pseudo_main", "pseudo_auxiliary", "heterogeneous", "heterogeneous_mixed"},
        ),
        ({"partial_dice": 1.0}, set()),
        ({"partial_dice": 1.0, "mixed_dice": False}, set()),
        ({"lambda_background": 0.0}, BACKGROUND),
        ({"stroke_support": False}, BACKGROUND),
    ],
)
def test_switching_a_component_off_removes_its_terms_and_no_others(change, gone):
    config = replace(SUPPORTED, **change)
    output, targets = random_batch()
    support = support_of(output, targets) if config.stroke_support else None
    if not config.auxiliary_decoder:
        output = output._replace(auxiliary=None)
    if not config.contrast:
        output = output._replace(embedding=None)
    terms, queued = objective(config).first_pass(output, targets[0], filled_memory(), 0.5, support)
    if config.dynamic_mix:
        pseudo = torch.zeros_like(targets[0])
        implied = None if support is None else support.background
        terms |= objective(config).second_pass(output, targets[0], pseudo, implied)
    assert (queued is None) == (not config.contrast)
    assert terms.keys() == term_weights(config, 0.5).keys()
    assert not gone & terms.keys()
    assert len(gone) == len(gone & term_weights(SUPPORTED, 0.5).keys())
    assert ("dice_main" in terms) == bool(config.partial_dice)
    assert torch.isfinite(weighted_sum(terms, term_weights(config, 0.5)))


@pytest.mark.parametrize(
    "case", ["nothing annotated", "one class", "one sample", "empty memory", "all of these"]
)
def test_degenerate_batches_stay_finite(case):
    every = case == "all of these"
    output, targets = random_batch(batch=1 if every or case == "one sample" else 3)
    if every or case == "nothing annotated":
        targets = [torch.full_like(t, IGNORE) for t in targets]
    elif case == "one class":
        targets = [t.masked_fill(t != IGNORE, 1) for t in targets]
    memory = PixelMemory(K, 6, 8) if every or case == "empty memory" else filled_memory()
    mix = draw_mix(len(targets[0]), (32, 48), 0.2)
    support, o = support_of(output, targets), objective(SUPPORTED)
    terms, queued = o.first_pass(output, targets[0], memory, 0.5, support)
    memory.enqueue(*queued)
    labels = o.pseudo_labels(output, targets[0], support, 0.5)
    terms |= o.second_pass(output, mix(targets[0]), mix(*labels), mix(support.background))
    loss = weighted_sum(terms, term_weights(SUPPORTED, 0.5))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(z.grad).all() for z in (output.main[0], output.auxiliary))


def test_neither_pass_makes_the_host_wait_for_the_device(monkeypatch):
    """No value is read from a tensor, and none is copied from the host into a new one."""

    def waits(*args, **kwargs):
        raise AssertionError("the host would wait for the device")

    output, targets = random_batch()
    memory, o = filled_memory(), objective(SUPPORTED)
    with monkeypatch.context() as forbid:
        for name in ("item", "tolist", "nonzero", "cpu", "__bool__", "__int__", "__float__"):
            forbid.setattr(torch.Tensor, name, waits)
        for name in ("tensor", "as_tensor", "nonzero"):
            forbid.setattr(torch, name, waits)
        support = support_of(output, targets)
        terms, queued = o.first_pass(output, targets[0], memory, 0.5, support)
        memory.enqueue(*queued)
        mix = draw_mix(len(targets[0]), (32, 48), 0.2)
        labels = o.pseudo_labels(output, targets[0], support, 0.5)
        terms |= o.second_pass(output, mix(targets[0]), mix(*labels), mix(support.background))
        weighted_sum(terms, term_weights(SUPPORTED, 0.5)).backward()


def test_passes_can_be_back_propagated_one_after_the_other():
    patch, strides = (16, 24), [(1, 1), (2, 2), (2, 2)]
    network = PCLMixNetwork(stock_network(patch, strides), patch, K, CONFIG)
    images, scribble = torch.randn(3, 1, *patch), torch.randint(0, K + 1, (3, 1, *patch))
    targets = [scribble, resize_nearest(scribble, (8, 12))]
    mix, weights = draw_mix(3, patch, 0.2), term_weights(CONFIG, 0.7)
    o = objective(levels=[0.7, 0.3])

    def passes():
        output = network.embedded(network(images))
        torch.manual_seed(1)  # the choice of anchors
        yield weighted_sum(o.first_pass(output, targets[0], filled_memory(), 0.7)[0], weights)
        pseudo = mix(*o.pseudo_labels(output, scribble, None, 0.7))
        mixed = o.second_pass(network(mix(images)), mix(scribble), pseudo)
        yield weighted_sum(mixed, weights)

    def gradients():
        found = [p.grad.clone() for p in network.parameters()]
        network.zero_grad()
        return found

    sum(passes()).backward()
    together = gradients()
    for loss in passes():
        loss.backward()
    torch.testing.assert_close(gradients(), together, rtol=1e-4, atol=1e-6)


def test_nothing_waits_for_the_device():
    """Fake tensors have no values, so every operation that asks the device for one raises."""
    with FakeTensorMode():
        device = torch.device("cpu")
        output, targets = random_batch(device=device)
        memory = filled_memory(device)
        support, o = support_of(output, targets), objective(SUPPORTED)
        terms, queued = o.first_pass(output, targets[0], memory, 0.5, support)
        memory.enqueue(*queued)
        mix = draw_mix(4, (32, 48), 0.2, device)
        labels = o.pseudo_labels(output, targets[0], support, 0.5)
        terms |= o.second_pass(output, mix(targets[0]), mix(*labels), mix(support.background))
        loss = weighted_sum(terms, term_weights(SUPPORTED, 0.5))
        loss.backward()
        with pytest.raises(RuntimeError):  # shows that the net would catch something
            loss.item()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((32, 48), (16, 12)), ((30, 45), (10, 9)), ((14, 14), (2, 7)), ((7, 9), (3, 4)),
     ((12, 8, 6), (4, 8, 3)), ((12, 9, 6), (5, 3, 3))],
)  # fmt: skip
def test_resize_nearest_is_torchs_nearest_exact(shape, size):
    labels = torch.randint(0, 99, (2, 3, *shape), dtype=torch.int16)
    expected = torch.nn.functional.interpolate(labels.float(), size=size, mode="nearest-exact")
    assert torch.equal(resize_nearest(labels, size), expected.to(labels.dtype))


def test_resize_nearest_keeps_labels_and_types():
    labels = torch.randint(0, 300, (2, 1, 12, 8), dtype=torch.int16)
    small = resize_nearest(labels, (6, 4))
    assert small.dtype == torch.int16
    assert set(small.flatten().tolist()) <= set(labels.flatten().tolist())
    assert resize_nearest(labels, (12, 8)) is labels
