"""Splits one training step of a PCLMix trainer into its parts, by wrapping what the step calls.

The gradient is stopped between losses and network and handed on by hand, so that the losses' own
back-propagation is timed apart from the network's. The sum of the gradients is the same.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from nnunetv2_pclmix.training import step as step_module
from nnunetv2_pclmix.training.step import Descent

NETWORK = ("forward 1", "backward 1", "forward 2", "backward 2")


class Clock:
    """Seconds between two moments: of the device on CUDA, of the process or the wall on a CPU."""

    def __init__(self, device: torch.device, cpu_time: bool = False) -> None:
        self.cuda = device.type == "cuda"
        self.read = time.process_time if cpu_time else time.perf_counter

    def mark(self) -> Any:
        """A moment; on CUDA it is noted in the stream, and nothing waits for it."""
        if not self.cuda:
            return self.read()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:
        """Between two moments; on CUDA this waits for the second."""
        if not self.cuda:
            return end - start
        end.synchronize()
        return start.elapsed_time(end) / 1000


def _detached(output: Any, pairs: list[tuple[Tensor, Tensor]]) -> Any:
    """The output with leaves in the place of its tensors; notes which leaf stands for which."""
    if isinstance(output, Tensor):
        leaf = output.detach().requires_grad_()
        pairs.append((output, leaf))
        return leaf
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(_detached(item, pairs) for item in output))
    if isinstance(output, (list, tuple)):
        return type(output)(_detached(item, pairs) for item in output)
    return output


class _Parts:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.spans: list[tuple[str, Any, Any]] = []
        self.passes = 0
        self.pairs: list[tuple[Tensor, Tensor]] = []

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        start = self.clock.mark()
        yield
        self.spans.append((name, start, self.clock.mark()))

    def timed(self, name: str, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.span(name):
                return function(*args, **kwargs)

        return call

    def forward(self, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.passes += 1
            with self.span(f"forward {self.passes}"):
                output = function(*args, **kwargs)
            self.pairs = []
            return _detached(output, self.pairs)

        return call

    def backward(self, function: Callable) -> Callable:
        def call(descent: Descent, loss: Tensor) -> None:
            with self.span(f"losses {self.passes}, backward"):
                function(descent, loss)
            pairs = [(output, leaf.grad) for output, leaf in self.pairs if leaf.grad is not None]
            self.pairs = []
            with self.span(f"backward {self.passes}"):
                torch.autograd.backward(*map(list, zip(*pairs, strict=True)))

        return call

    def mixing(self, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Callable:
            with self.span("mix"):
                mix = function(*args, **kwargs)
            return self.timed("mix", mix)

        return call


def split_step(trainer: Any, batch: dict, clock: Clock) -> dict[str, float]:
    """Seconds of each part of one step, ``step`` of the whole and ``not network`` of it.

    ``not network`` is the step without forward and backward passes and the optimiser.
    """
    parts, step = _Parts(clock), trainer.step
    with contextlib.ExitStack() as stack:
        for owner, name, wrap in (
            (step, "forward", parts.forward),
            (Descent, "backward", parts.backward),
            (Descent, "step", lambda f: parts.timed("optimiser", f)),
            (step.objective, "first_pass", lambda f: parts.timed("losses 1", f)),
            (step.objective, "second_pass", lambda f: parts.timed("losses 2", f)),
            (step.objective, "pseudo_labels", lambda f: parts.timed("pseudo label", f)),
            (step.diagnostics, "measure", lambda f: parts.timed("diagnostics", f)),
            (step.memory, "enqueue", lambda f: parts.timed("queue", f)),
            (step, "grow", lambda f: parts.timed("growing strokes", f)),
            (step, "support", lambda f: parts.timed("stroke support", f)),
            (step_module, "draw_mix", parts.mixing),
        ):
            if owner is not None:  # no memory without contrast
                stack.enter_context(patch.object(owner, name, wrap(getattr(owner, name))))
        with parts.span("step"):
            trainer.train_step(batch)
    seconds: dict[str, float] = defaultdict(float)
    for name, start, end in parts.spans:
        seconds[name] += clock.seconds(start, end)
    whole = seconds.pop("step")
    other = whole - sum(seconds.values())
    network = sum(seconds[name] for name in NETWORK if name in seconds) + seconds["optimiser"]
    return {**seconds, "other": other, "step": whole, "not network": whole - network}
