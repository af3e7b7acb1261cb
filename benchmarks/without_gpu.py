"""What a training step asks of a GPU, told where there is none, at the sizes that nnU-Net plans.

PyTorch's fake tensors have a shape, a type and no values: a step of the real trainers runs on them
in seconds, whatever its size, and every operation of it can be counted:

    python benchmarks/without_gpu.py --out benchmarks/results/without_gpu.json

- ``peak_mib``: most memory that tensors hold at once, weights and optimiser included; in float32
  what `step.py --sections tensors` measures with real ones, but for a few MiB too many where the
  contrast is.
- ``flops``: of convolutions and matrix products, forward and backward.
- ``bytes``: read and written by all operations, each by itself. What does no arithmetic worth
  mentioning is held up by its bytes: where a trainer has the ``flops`` of another and more bytes,
  its step takes at most as much longer as it has more bytes, if all of them move equally fast.
- ``operations``: how many, views left out, the optimiser's for each weight; torch.compile fuses
  them, where nnU-Net uses it.
- ``launches``: the same, but the optimiser and the clipping of gradients handle many weights at
  once, as on CUDA. A GPU starts one kernel or more for each; it is the stricter figure.
- ``synchronisations``: how often the host asks for a value, or copies a number to the device, for
  which it waits too: ``x[3] = 0``, ``torch.tensor(0.5, device=...)``. Moving results to the host at
  the end is one; CUDA's loss scaling, the same in all trainers, adds nnU-Net's own.

"half" is float16 where nnU-Net's CUDA training has it: in the network, under autocast. The rules of
autocast are a CPU's, which leave instance normalisation and activations in float16 as CUDA's do.
The stock loss stays in float16, which CUDA's rules would make float32: its memory is, if anything,
told too low, and our ratios too high. Attention is the kernel that CUDA takes where the position
bias has a gradient, the memory-efficient one, and not a CPU's series of products; a softmax of half
precision in float32 is one kernel, too. Nothing is compiled: there stock nnU-Net loses the copies
that our network avoids without, see `no_view`. Nothing here is a time: those need a GPU, and
`step.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from machine import provenance
from step import TRAINERS, is_ours, modules_of, persistent_bytes, ratios, ready_trainer
from step_tables import WIDTH
from synthetic_task import PLANS, random_batch, write_task
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from nnunetv2_pclmix.method import certainty_label, stroke_growth
from scribble_tools.dataset.writing import write_json
from scribble_tools.text_tables import text_table

FIGURES = ("peak_mib", "flops", "bytes", "operations", "launches", "synchronisations")
PRECISIONS = ("float32", "half")

# What one kernel of CUDA takes of lists of tensors (ATen's MultiTensorApply.cuh): so many tensors
# of so many lists at once, and so many chunks of so many elements.
TENSORS_AT_ONCE = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}
CHUNKS_AT_ONCE, CHUNK = 320, 65536
# Strokes grow by one kernel per ring; all other operators start one kernel.
KERNELS = {torch.ops.nnunetv2_pclmix.grown_classes.default: stroke_growth.MOST_RINGS}


def is_work(func: Any) -> bool:
    """Whether an operation touches values: views do not, nor questions, nor new memory."""
    view = func.is_view or func is torch.ops.aten._unsafe_view.default
    return not (view or func.namespace in ("prim", "profiler") or "empty" in func.__name__)


def kernels_for(tensors: Sequence[Tensor], lists: int) -> int:
    """How many kernels CUDA starts, at least, for an operation on lists of such tensors."""
    chunks = sum(math.ceil(x.numel() / CHUNK) for x in tensors)
    return math.ceil(max(len(tensors) / TENSORS_AT_ONCE[lists], chunks / CHUNKS_AT_ONCE))


class Tally(TorchDispatchMode):
    """Counts operations and the bytes that they touch, and the memory that lives at once."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.launches = self.bytes = self.now = self.peak = self.copies = 0
        self._alive: dict[int, weakref.ref] = {}
        self._numbers: dict[int, Tensor] = {}  # tensors of numbers, not on the device yet

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        made = [x for x in tree_iter(output) if isinstance(x, Tensor)]
        self._see_numbers(func, (args, kwargs), made)
        if is_work(func):
            taken = [x for x in tree_iter((args, kwargs)) if isinstance(x, Tensor)]
            written, kernels = made, KERNELS.get(func, 1)
            if func.__name__.startswith("_foreach"):
                written = made or args[0]  # in place it returns nothing
                self.operations += len(args[0])
                self.launches += kernels_for(args[0], (len(taken) + len(made)) // len(args[0]))
            else:
                self.operations += kernels
                self.launches += kernels
            # what is expanded is read from the few values that there are
            self.bytes += kernels * sum(
                min(x.nbytes, x.untyped_storage().nbytes()) for x in (*taken, *written)
            )
        for tensor in made:
            self._see(tensor.untyped_storage())
        return output

    def _see_numbers(self, func: Any, taken: Any, made: list[Tensor]) -> None:
        """Count numbers that are copied to the device: tensors made on the host, once used."""
        if func is torch.ops.aten.lift_fresh.default:
            self._numbers |= {id(x): x for x in made}
        elif func.namespace != "prim":
            for x in tree_iter(taken):
                # to fill is an operation that takes the number along
                if self._numbers.pop(id(x), None) is not None and "fill_" not in func.__name__:
                    self.copies += 1

    def _see(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._alive:
            return

        def gone(_: weakref.ref) -> None:
            self.now -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def fake_in_place(module: nn.Module, mode: FakeTensorMode) -> None:
    """Put fake tensors into the place of a module's parameters and buffers; shared ones stay so."""
    fakes: dict[int, Tensor] = {}
    for part in module.modules():
        for table, wrap in ((part._parameters, nn.Parameter), (part._buffers, lambda x: x)):
            for name, x in table.items():
                if x is not None:
                    if id(x) not in fakes:
                        fakes[id(x)] = wrap(mode.from_tensor(x.detach()))
                    table[name] = fakes[id(x)]


@contextlib.contextmanager
def counted_synchronisations() -> Iterator[list[str]]:
    """Where a step asks for values it gets some: true, and zeros; noted in the list."""
    asked = []

    def truth(_: Tensor) -> bool:
        asked.append("bool")
        return True

    def zeros(x: Tensor, *_: Any, **__: Any) -> np.ndarray:
        asked.append("numpy")
        return np.zeros(x.shape, np.float32)

    with patch.object(Tensor, "__bool__", truth), patch.object(Tensor, "numpy", zeros):
        yield asked


def attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor) -> Tensor:
    """As CUDA computes it where the mask has a gradient: one kernel, and a mask of aligned rows."""
    keys = k.shape[-2]
    mask = F.pad(attn_mask, (0, -keys % 16))[..., :keys].expand(*q.shape[:-1], keys)
    kernel = torch.ops.aten._scaled_dot_product_efficient_attention
    return kernel(q, k, v, mask, True)[0]


def in_float32(function: Callable[..., Tensor], kernel: Any) -> Callable[..., Tensor]:
    """A softmax that on CUDA makes float32 of half precision by one kernel, not by two."""

    def call(x: Tensor, dim: int, *rest: Any, dtype: torch.dtype | None = None) -> Tensor:
        if x.dtype == torch.float16 and dtype == torch.float32:
            return kernel(x, dim, True)
        return function(x, dim, *rest, dtype=dtype)

    return call


@contextlib.contextmanager
def as_on_cuda(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Attention, softmax and lists of weights are as on CUDA, by kernels that a CPU lacks.

    What is measured for growing strokes pools as there, and cells are counted as there.
    """
    for group in optimizer.param_groups:
        group["foreach"] = True  # what CUDA takes where nothing is said
    clipping = "torch.nn.utils.clip_grad._has_foreach_support"
    softmax = in_float32(torch.softmax, torch.ops.aten._softmax)
    log_softmax = in_float32(torch.log_softmax, torch.ops.aten._log_softmax)
    with (
        patch.object(F, "scaled_dot_product_attention", attention),
        patch.object(torch, "softmax", softmax),
        patch.object(torch, "log_softmax", log_softmax),
        patch(clipping, lambda *_: True),
        patch.object(stroke_growth, "_fastest", lambda _: torch.float32),
        patch.object(certainty_label, "_additions_wait", lambda _: True),
    ):
        yield


def in_half(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The forward pass under autocast."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", torch.float16):
            return forward(*args, **kwargs)

    return call


def count(name: str, plan: str, precision: str, args: argparse.Namespace) -> dict[str, float]:
    """`FIGURES` of one step of one trainer."""
    trainer = ready_trainer(name, plan, args)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    for module in modules_of(trainer):
        fake_in_place(module, mode)
    trainer.optimizer, trainer.lr_scheduler = trainer.configure_optimizers()
    if precision == "half":
        trainer.network.forward = in_half(trainer.network.forward)
        if is_ours(trainer):
            trainer.step.embedded = in_half(trainer.step.embedded)
    with mode, as_on_cuda(trainer.optimizer), counted_synchronisations() as asked:
        batch = random_batch(trainer)
        trainer.train_step(batch)  # makes the optimiser's state
        trainer.optimizer.zero_grad(set_to_none=True)  # a step begins with it
        asked.clear()
        with Tally() as tally:
            trainer.train_step(batch)
        synchronisations = len(asked) + tally.copies
        with FlopCounterMode(display=False) as flops:
            trainer.train_step(batch)
        peak = tally.peak + persistent_bytes(trainer)
    values = (peak / 2**20, flops.get_total_flops(), tally.bytes)
    counts = (tally.operations, tally.launches, synchronisations)
    return dict(zip(FIGURES, (*values, *counts), strict=True))


def main(argv: Sequence[str] | None = None) -> None:
    """Count, print tables, write the JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--size", choices=PLANS, default="planned")
    parser.add_argument("--plans", nargs="+", metavar="PLAN", help="default: all of that size")
    parser.add_argument("--trainers", nargs="+", default=TRAINERS, metavar="TRAINER")
    args = parser.parse_args(argv)
    args.device = "cpu"
    begin, results = time.time(), {}
    plans = {name: PLANS[args.size][name] for name in args.plans or PLANS[args.size]}
    with tempfile.TemporaryDirectory() as folder:
        write_task(Path(folder), plans)
        for plan in plans:
            results[plan] = {}
            for precision in PRECISIONS:
                counts = {name: count(name, plan, precision, args) for name in args.trainers}
                figures = {f: ratios({n: c[f] for n, c in counts.items()}) for f in FIGURES}
                results[plan][precision] = figures
                rows = [
                    (f, *("{value:.5g} ({ratio:.3f})".format(**figures[f][n]) for n in counts))
                    for f in FIGURES
                ]
                head = (f"{plan}, {precision} (ratio)", *counts)
                print(text_table(head, rows, WIDTH), flush=True)
    content = {
        "plans": {name: vars(plan) for name, plan in plans.items()},
        "results": results,
        "seconds": round(time.time() - begin),
        **provenance(torch.device("cpu")),
    }
    if args.out:
        write_json(content, args.out)


if __name__ == "__main__":
    main()
