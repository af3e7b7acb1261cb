"""What a step measures beside its losses: the right shares, and nothing that waits."""

from dataclasses import replace

import pytest
import torch

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels, Regions
from nnunetv2_pclmix.method.network import TrainingOutput
from nnunetv2_pclmix.method.pixel_memory import PixelMemory
from nnunetv2_pclmix.method.stroke_support import StrokeSupport
from nnunetv2_pclmix.watching.step_diagnostics import (
    SAMPLE_STRIDE,
    StepDiagnostics,
    gradient_counts,
    series_names,
)

CONFIG = PCLMixConfig()
ALONE = PCLMixConfig(auxiliary_decoder=False, contrast=False, stroke_support=False)
K = 3


def coarse(x):
    """A map of which every fourth voxel is ``x``, and anything between."""
    fine = torch.randint(
        0, 2, [n if i < x.ndim - 2 else n * SAMPLE_STRIDE for i, n in enumerate(x.shape)]
    )
    fine = fine.to(x.dtype)
    fine[..., ::SAMPLE_STRIDE, ::SAMPLE_STRIDE] = x
    return fine


def logits_of(label, sure):
    """(B, K, *spatial) logits of exclusive labels, sure or not."""
    onehot = torch.nn.functional.one_hot(label, K).movedim(-1, 1).float()
    return onehot * torch.where(sure, 20.0, 0.1)[:, None]


def batch():
    """10 voxels that are looked at: labels of both decoders, the scribble, and who is sure."""
    main = torch.tensor([[[0, 0, 0, 0, 0], [1, 1, 2, 0, 0]]])
    auxiliary = torch.tensor([[[0, 0, 0, 0, 0], [1, 1, 0, 0, 0]]])
    scribble = torch.tensor([[[3, 3, 3, 3, 0], [3, 1, 3, 2, 2]]])
    sure = torch.tensor([[[1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]]).bool()
    output = TrainingOutput(
        [coarse(logits_of(main, sure))], coarse(logits_of(auxiliary, sure)), torch.zeros(())
    )
    return output, coarse(scribble[:, None])


def support_of(scribble, trust):
    """Implied are two of the 10 voxels that are looked at, unknown is one."""
    implied = torch.tensor([[[[1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]]]).bool()
    unknown = torch.tensor([[[[0, 0, 0, 0, 0], [0, 0, 1, 0, 0]]]]).bool()
    assert scribble.shape == coarse(implied).shape
    none = torch.zeros_like(coarse(implied))
    return StrokeSupport(coarse(implied), coarse(unknown), none, torch.tensor(trust))


def with_gradient(counts, norm=3.0):
    """As the trainer completes them, once the step is taken."""
    return torch.cat((counts, gradient_counts(torch.tensor(norm))))


def memory_with(entries):
    memory = PixelMemory(K, 4, 8)
    memory.filled.copy_(torch.tensor(entries))
    return memory


def test_shares_of_a_batch():
    output, scribble = batch()
    diagnostics, memory = StepDiagnostics(CONFIG, ExclusiveLabels(K)), memory_with([4, 1, 1])
    counts = diagnostics.measure(output, scribble, 0.5, memory, support_of(scribble, 0.25))
    assert counts.dtype == torch.float32
    expected = {
        "annotated_share": 0.4,
        "annotated": [0.1, 0.2],
        "predicted_main": [0.2, 0.1],
        "predicted_auxiliary": [0.2, 0.0],
        "decoder_agreement": 0.9,
        "certain_share": 0.6,
        "queue_fill": 0.5,
        "stroke_trust": 0.25,
        "implied_share": 0.2,
        "unknown_share": 0.1,
        "gradient_norm": 3.0,
        "clipped_share": 0.0,
    }
    summary = diagnostics.summary(with_gradient(counts), memory)
    assert summary.keys() == expected.keys() == set(series_names(CONFIG))
    assert {k: pytest.approx(v) for k, v in expected.items()} == summary


def test_means_over_steps_are_shares_of_all_voxels():
    output, scribble = batch()
    diagnostics, memory = StepDiagnostics(CONFIG, ExclusiveLabels(K)), memory_with([2, 2, 2])
    # another step with three times the voxels, none of which is annotated
    other = TrainingOutput(
        [output.main[0].repeat(3, 1, 1, 1)], output.auxiliary.repeat(3, 1, 1, 1), 0
    )
    nothing = torch.zeros(3, 1, 8, 20).bool()
    unsupported = StrokeSupport(nothing, nothing, nothing, torch.tensor(1.0))
    steps = [
        diagnostics.measure(output, scribble, 0.5, memory, support_of(scribble, 0.0)),
        diagnostics.measure(other, torch.full((3, 1, 8, 20), K), 0.5, memory, unsupported),
    ]
    summary = diagnostics.summary(with_gradient(torch.stack(steps).mean(0)), memory)
    assert summary["annotated_share"] == pytest.approx(0.1)
    assert summary["predicted_main"] == pytest.approx([0.2, 0.1])
    assert summary["queue_fill"] == pytest.approx(0.5)
    assert summary["implied_share"] == pytest.approx(0.05)
    assert summary["stroke_trust"] == pytest.approx(0.75)  # by voxels, like every share


@pytest.mark.parametrize("auxiliary", [True, False])
@pytest.mark.parametrize("contrast", [True, False])
@pytest.mark.parametrize("stroke_support", [True, False])
def test_parts_that_are_switched_off_are_left_out(auxiliary, contrast, stroke_support):
    config = replace(
        CONFIG, auxiliary_decoder=auxiliary, contrast=contrast, stroke_support=stroke_support
    )
    output, scribble = batch()
    output = output._replace(auxiliary=output.auxiliary if auxiliary else None)
    memory = memory_with([4, 4, 4]) if contrast else None
    diagnostics = StepDiagnostics(config, ExclusiveLabels(K))
    support = support_of(scribble, 1.0) if stroke_support else None
    counts = diagnostics.measure(output, scribble, 0.5, memory, support)
    summary = diagnostics.summary(with_gradient(counts), memory)
    assert list(summary) == series_names(config) == diagnostics.names
    assert ("decoder_agreement" in summary) == auxiliary
    assert ("certain_share" in summary) == contrast
    assert ("stroke_trust" in summary) == stroke_support
    assert summary["predicted_main"] == pytest.approx([0.2, 0.1])


def test_regions_are_counted_as_the_classes_that_they_make():
    # of four voxels: nothing, region 1, both, both
    regions = torch.tensor([[[[-9.0, 9, 9, 9]], [[-9, -9, 9, 9]]]])
    scribble = torch.tensor([[[[0, 1, 1, 0]], [[0, 0, 1, 0]], [[0, 0, 0, 1]]]])  # last: ignored
    diagnostics = StepDiagnostics(ALONE, Regions(2))
    counts = diagnostics.measure(
        TrainingOutput([coarse(regions)], None, None), coarse(scribble), 0, None, None
    )
    assert diagnostics.summary(with_gradient(counts), None) == {
        "annotated_share": 0.75,
        "annotated": [0.25, 0.25],
        "predicted_main": [0.25, 0.5],
        "gradient_norm": 3.0,
        "clipped_share": 0.0,
    }


def test_norms_that_are_not_finite_do_not_count():
    """Mixed precision skips such a step."""
    output, scribble = batch()
    output = output._replace(auxiliary=None)
    diagnostics = StepDiagnostics(ALONE, ExclusiveLabels(K))
    counts = diagnostics.measure(output, scribble, 0.5, None, None)
    norms = (2.0, 22.0, float("inf"), float("nan"))
    steps = torch.stack([with_gradient(counts, norm) for norm in norms])
    summary = diagnostics.summary(steps.mean(0), None)
    assert summary["gradient_norm"] == pytest.approx(12)
    assert summary["clipped_share"] == pytest.approx(0.5)
    assert diagnostics.summary(steps[2:].mean(0), None)["gradient_norm"] == 0


def test_nan_is_not_certain():
    output, scribble = batch()
    output = output._replace(main=[torch.full_like(output.main[0], torch.nan)])
    diagnostics, memory = StepDiagnostics(CONFIG, ExclusiveLabels(K)), memory_with([0, 0, 0])
    counts = diagnostics.measure(output, scribble, 0.5, memory, support_of(scribble, 0.0))
    assert diagnostics.summary(with_gradient(counts), memory)["certain_share"] == 0


def test_measuring_does_not_make_the_host_wait_for_the_device(monkeypatch):
    def waits(*args, **kwargs):
        raise AssertionError("the host would wait for the device")

    output, scribble = batch()
    diagnostics, memory = StepDiagnostics(CONFIG, ExclusiveLabels(K)), memory_with([4, 4, 4])
    support = support_of(scribble, 1.0)
    with monkeypatch.context() as forbid:
        for name in ("item", "tolist", "nonzero", "cpu", "__bool__", "__int__", "__float__"):
            forbid.setattr(torch.Tensor, name, waits)
        for name in ("tensor", "as_tensor", "nonzero", "bincount", "unique"):
            forbid.setattr(torch, name, waits)
        diagnostics.measure(output, scribble, 0.5, memory, support)
