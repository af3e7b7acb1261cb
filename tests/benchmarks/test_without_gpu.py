"""What a step costs is counted without a GPU, as it is where it really runs."""

import argparse
import contextlib
import json

import pytest
import torch

pytestmark = pytest.mark.slow

STOCK, ONE_PASS = "nnUNetTrainer", "nnUNetTrainerStrokeSupport"
OURS = "nnUNetTrainerPCLMix"


def test_a_step_without_a_gpu(benchmarks, tmp_path, capsys):
    import step
    import without_gpu
    from peak_memory import peak_mib
    from synthetic_task import PLANS, random_batch, write_task

    out, plan = tmp_path / "without_gpu.json", "acdc_2d"
    words = ["--size", "tiny", "--plans", plan, "--trainers", STOCK, ONE_PASS, OURS]
    without_gpu.main([*words, "--out", str(out)])
    counted = json.loads(out.read_text())["results"][plan]
    full, half = counted["float32"], counted["half"]
    assert [full["flops"][name]["ratio"] == 1 for name in (STOCK, ONE_PASS, OURS)] == [1, 1, 0]
    # stock asks on every level whether something is annotated; each moves its loss to the host
    levels = len(PLANS["tiny"][plan].features) - 1
    asked = [full["synchronisations"][name]["value"] for name in (STOCK, ONE_PASS, OURS)]
    assert asked == [levels, 1, 1]
    for name in (STOCK, ONE_PASS):
        assert half["peak_mib"][name]["value"] < 0.8 * full["peak_mib"][name]["value"]
    assert "synchronisations" in capsys.readouterr().out

    # in float32 the peak is that of a real step
    write_task(tmp_path / "real", {plan: PLANS["tiny"][plan]}, patients=2)
    for name in (STOCK, ONE_PASS):
        trainer = step.ready_trainer(name, plan, argparse.Namespace(device="cpu"))
        batch = random_batch(trainer)
        trainer.train_step(batch)
        trainer.optimizer.zero_grad(set_to_none=True)
        real = peak_mib(lambda t=trainer, b=batch: t.train_step(b), torch.device("cpu"))
        real += step.persistent_bytes(trainer) / 2**20
        assert full["peak_mib"][name]["value"] == pytest.approx(real, rel=0.05)


def test_numbers_that_are_copied_to_the_device_are_seen(benchmarks):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from without_gpu import Tally

    def copies(change):
        with FakeTensorMode(), Tally() as tally:
            change(torch.zeros(5), torch.zeros(5) > 1)
        return tally.copies

    def indexed(x, _):
        x[3] = 0.0

    def filled(x, where):
        x.masked_fill_(where, 2.0)
        x[1:3] = 2.0
        x.new_full((), 3.0).add_(x.clamp(min=1).sum()).mul_(2)

    assert copies(indexed) == 1
    assert copies(lambda x, _: x * torch.tensor(0.5)) == 1
    assert copies(lambda x, _: x[[0, 2]]) == 1
    assert copies(filled) == 0


def test_lists_of_weights_are_counted_one_by_one_and_by_kernel(benchmarks):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from without_gpu import Tally, as_on_cuda

    def counted(foreach):
        with FakeTensorMode():
            weights = [torch.nn.Parameter(torch.zeros(2, 3)) for _ in range(111)]
            for weight in weights:
                weight.grad = torch.zeros(2, 3)
            optimizer = torch.optim.SGD(weights, 0.1, 0.9)
            cuda = as_on_cuda(optimizer) if foreach else contextlib.nullcontext()
            with cuda, Tally() as tally:
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
        return tally

    single, lists = counted(False), counted(True)
    assert lists.operations == single.operations == single.launches
    assert lists.bytes == single.bytes - 4 * 110  # by how much to clip is read once
    # norms, clipping and step: 111 tensors in two kernels each. The first step clones each gradient
    assert lists.launches == lists.operations - 3 * 111 + 3 * 2


def test_attention_is_the_kernel_of_cuda(benchmarks):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from without_gpu import Tally, as_on_cuda

    with FakeTensorMode(), as_on_cuda(torch.optim.SGD([torch.zeros(1)], 0.1)):
        q, k, v = (torch.zeros(6, 2, 9, 32, requires_grad=True) for _ in range(3))
        mask = torch.zeros(1, 2, 9, 9, requires_grad=True)
        with Tally() as tally:
            y = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y.sum().backward()
    assert y.shape == q.shape and mask.grad.shape == mask.shape
    assert tally.operations == 2  # and the mask is padded


def test_what_is_expanded_is_read_from_the_values_that_there_are(benchmarks):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from without_gpu import Tally

    with FakeTensorMode(), Tally() as tally:
        few, many = torch.zeros(10), torch.zeros(100, 10)
        before = tally.bytes
        many.add_(few.expand(100, 10))
    assert tally.bytes - before == 4 * (2 * 1000 + 10)


def test_strokes_grow_by_a_kernel_per_ring(benchmarks):
    from torch._subclasses.fake_tensor import FakeTensorMode
    from without_gpu import Tally

    from nnunetv2_pclmix.method.stroke_growth import MOST_RINGS, grown_classes

    with FakeTensorMode():
        drawn, reach = torch.zeros(2, 8, 8, dtype=torch.long), torch.zeros(2, 3)
        with Tally() as tally:
            grown_classes(drawn, reach, [1, 1])
    assert tally.operations == tally.launches == MOST_RINGS
    assert tally.bytes == MOST_RINGS * (2 * drawn.nbytes + reach.nbytes)
