"""One iteration: a pass, with dynamic mix a second, each back-propagated on its own; one step.

Nothing here is nnU-Net's. In: a batch, the progress, an optimiser; out: terms and counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, autocast, nn
from torch.nn.parallel import DistributedDataParallel as DDP

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.dynamic_mix import Mix, PreviousBatch, draw_mix
from nnunetv2_pclmix.method.network import TrainingOutput
from nnunetv2_pclmix.method.objective import Objective
from nnunetv2_pclmix.method.pixel_memory import PixelMemory, gathered
from nnunetv2_pclmix.method.schedules import certainty_threshold
from nnunetv2_pclmix.method.stroke_growth import grow_strokes, ring_periods
from nnunetv2_pclmix.method.stroke_support import StrokeSupport, stroke_support
from nnunetv2_pclmix.method.term_weights import term_weights, weighted_sum
from nnunetv2_pclmix.training.distributed import bare
from nnunetv2_pclmix.watching.pictures import TrainingPictures
from nnunetv2_pclmix.watching.step_diagnostics import CLIPPED_NORM, StepDiagnostics, gradient_counts


@dataclass(frozen=True)
class StepResult:
    """What an iteration tells of itself, on the host.

    Attributes:
        loss: the weighted sum of the terms.
        terms: (terms,), in the order of `term_weights`; 0 where mixed images have faded.
        counts: (counts,), what `StepDiagnostics.summary` makes shares of.
    """

    loss: np.ndarray
    terms: np.ndarray
    counts: np.ndarray

    def by_name(self, names: Sequence[str]) -> dict[str, float]:
        """The terms with their names."""
        return dict(zip(names, self.terms, strict=True))


@dataclass(frozen=True)
class MixedBatch:
    """What the second pass is made on.

    Attributes:
        mix: how it was mixed.
        images: (B, channels, *patch).
        scribbles: (B, T, *patch).
        labels: the decoders' pseudo labels, (B, T, *patch).
        implied: masks (B, 1, *patch) of what is background by implication; None without.
        trust: how far labels and implied background are trusted.
    """

    mix: Mix
    images: Tensor
    scribbles: Tensor
    labels: Tensor
    implied: Tensor | None
    trust: Tensor | float


class Descent:
    """Back-propagation and the optimiser's step, as the stock trainer does them.

    Args:
        scaler: of nnU-Net's mixed precision; None without it.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        self.network, self.optimizer, self.scaler = network, optimizer, scaler

    def begin(self) -> None:
        """Forget the gradients of the iteration before."""
        self.optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """Add a loss' gradients."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def step(self) -> Tensor:
        """Clip the gradients and step; returns their norm before, which nobody waits for."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), CLIPPED_NORM)
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        return norm


class TrainingStep:
    """Trains a network by one iteration after the other; plain torch, without nnU-Net.

    Args:
        config: which parts take part, and how.
        network: a `PCLMixNetwork`, perhaps compiled, perhaps wrapped for DDP.
        objective: the terms; it knows what labels mean.
        memory: of the contrast; None without it.
        diagnostics: what is measured beside the terms.
        device: of the network.
        largest_share: samples that one of several processes has of the batch at most.
        periods: see `ring_periods`.
        support: `stroke_support`, or a compiled one.
        grow: `grow_strokes`, or a compiled one.
        embedded: adds the embedding to an output; the network's own, or a compiled one.
    """

    def __init__(
        self,
        config: PCLMixConfig,
        network: nn.Module,
        objective: Objective,
        memory: PixelMemory | None,
        diagnostics: StepDiagnostics,
        device: torch.device,
        largest_share: int,
        periods: Sequence[int],
        support: Callable[..., StrokeSupport],
        grow: Callable[..., Tensor],
        embedded: Callable[[TrainingOutput], TrainingOutput],
    ) -> None:
        self.config, self.network, self.device = config, network, device
        self.objective, self.memory, self.diagnostics = objective, memory, diagnostics
        self.largest_share, self.periods = largest_share, list(periods)
        self.support, self.grow, self.embedded = support, grow, embedded
        self.term_names = list(term_weights(config, 0.0))
        unmixed = term_weights(replace(config, dynamic_mix=False), 0.0)
        self._of_mixed = [name for name in self.term_names if name not in unmixed]
        self._previous_batch = PreviousBatch()

    def __call__(
        self,
        batch: Mapping,
        progress: float,
        descent: Descent,
        pictures: TrainingPictures | None = None,
    ) -> StepResult:
        """Train on a batch of nnU-Net's data loader.

        Args:
            batch: ``data`` (B, channels, *patch); ``target`` (B, 1, *patch), or a list of such, one
                per level of deep supervision; ``keys``, the names of the cases.
            progress: fraction of the training that is done.
            descent: back-propagation and optimiser.
            pictures: take this iteration's samples, if they are to be drawn.
        """
        # all but the network is in float32. Within one context autocast converts the weights of
        # encoder and decoder but once: uncompiled, the second pass finds what the first has made
        with autocast(self.device.type, enabled=False):
            return self._iteration(batch, progress, descent, pictures)

    def _iteration(
        self,
        batch: Mapping,
        progress: float,
        descent: Descent,
        pictures: TrainingPictures | None,
    ) -> StepResult:
        data = batch["data"].to(self.device, non_blocking=True)
        target = batch["target"]
        # the coarser levels of deep supervision are made of the first on the device
        target = target[0] if isinstance(target, list) else target
        drawn = target.to(self.device, non_blocking=True)
        weights = term_weights(self.config, progress)
        descent.begin()
        # once mixed images have faded there is nothing to learn from them
        mixing = any(weights[name] for name in self._of_mixed)
        # with DDP the gradients are exchanged once, in the last pass
        distributed = isinstance(self.network, DDP)
        with self.network.no_sync() if distributed and mixing else contextlib.nullcontext():
            output = self.forward(data)
            scribble = self._grown(output, drawn)
            support = self._strokes_say(output, scribble, drawn)
            terms, queued = self.objective.first_pass(
                output, scribble, self.memory, progress, support
            )
            descent.backward(weighted_sum(terms, weights))
        threshold = certainty_threshold(progress, self.config.certainty_low)
        counts = self.diagnostics.measure(output, drawn, threshold, self.memory, support)
        if pictures is not None:
            certain = threshold if self.config.contrast else None
            pictures.take(data, drawn, output, certain, batch.get("keys"), support)
        if queued is not None:
            # every process keeps the same memory, of the whole batch
            self.memory.enqueue(*gathered(queued, self.largest_share))
        if mixing:
            labels = self.objective.pseudo_labels(output, scribble, support, progress)
            said = () if support is None else (support.background, support.trust.view(1))
            del output, support  # the first pass' memory is free before the second pass begins
            mixed = self._mix(data, scribble, labels, *said)
            del labels, said
            mixed_terms = self._second_pass(mixed, pictures)
            loss = weighted_sum(mixed_terms, weights)
            head = bare(self.network).embedding_head
            if distributed and head is not None:
                # the second pass has no use for it, but DDP waits for all gradients
                loss = loss + 0 * head.weights.sum()
            descent.backward(loss)
            terms |= mixed_terms
        counts = torch.cat((counts, gradient_counts(descent.step())))
        return self._on_host(terms, counts, weights)

    def forward(self, data: Tensor, embed: bool = True) -> TrainingOutput:
        """One pass; as in nnU-Net, in half precision on CUDA only: elsewhere slow or missing."""
        with autocast("cuda") if self.device.type == "cuda" else contextlib.nullcontext():
            output = self.network(data)
            return self.embedded(output) if embed else output

    def _grown(self, output: TrainingOutput, scribble: Tensor) -> Tensor:
        """The scribble with strokes that have grown."""
        share = self.config.stroke_growth
        if not share:
            return scribble
        return self.grow(self.objective.labels, output.main[0], scribble, share, self.periods)

    def _strokes_say(
        self, output: TrainingOutput, scribble: Tensor, drawn: Tensor
    ) -> StrokeSupport | None:
        if not self.config.stroke_support:
            return None
        return self.support(self.objective.labels, output.main[0], scribble, drawn)

    def _mix(
        self,
        data: Tensor,
        scribble: Tensor,
        labels: tuple[Tensor, Tensor],
        *said: Tensor,
    ) -> MixedBatch:
        """Draw a mix, and mix images, scribbles, the decoders' labels and implied background.

        What strokes imply of an image holds in each part of it, so it is mixed like all else.

        Args:
            said: implied background and trust, (1,); nothing without stroke support.
        """
        sources, alone = [data, scribble, *labels, *said], len(data) == 1
        if alone:
            sources = self._previous_batch(sources)
        area = self.config.mix_area
        mix = draw_mix(len(data), data.shape[2:], area, self.device, with_previous=alone)
        images, scribbles, main, auxiliary, *said = sources
        # a batch of one is mixed with the one before, which may be trusted less
        implied, trust = (mix(said[0]), said[1].amin()) if said else (None, 1.0)
        return MixedBatch(mix, mix(images), mix(scribbles), mix(main, auxiliary), implied, trust)

    def _second_pass(
        self, mixed: MixedBatch, pictures: TrainingPictures | None
    ) -> dict[str, Tensor]:
        """The terms of a mixed batch."""
        output = self.forward(mixed.images, embed=False)
        terms = self.objective.second_pass(
            output, mixed.scribbles, mixed.labels, mixed.implied, mixed.trust
        )
        if pictures is not None:
            used = mixed.labels if self.config.lambda_pseudo else None
            pictures.take_mixed(mixed.mix, mixed.images, mixed.scribbles, used)
        return terms

    def _on_host(
        self, terms: Mapping[str, Tensor], counts: Tensor, weights: Mapping[str, float]
    ) -> StepResult:
        # one transfer, like the stock trainer's, however many values there are
        absent = counts.new_zeros(())
        values = torch.stack([terms.get(name, absent).detach() for name in self.term_names])
        values, counts = np.split(torch.cat((values, counts)).cpu().numpy(), [len(self.term_names)])
        loss = np.dot(values, [weights[name] for name in self.term_names])
        return StepResult(np.asarray(loss), values, counts)


def make_step(
    config: PCLMixConfig,
    network: nn.Module,
    objective: Objective,
    device: torch.device,
    largest_share: int,
    spacing: Sequence[float],
    compiled: bool = False,
) -> TrainingStep:
    """A `TrainingStep` with the memory that its settings ask for.

    Args:
        spacing: of the axes, in mm.
        compiled: whether torch compiles the terms, and what the strokes say.
    """
    labels, memory, support, grow = objective.labels, None, stroke_support, grow_strokes
    if config.contrast:
        size = config.memory_per_class(labels.num_classes)
        memory = PixelMemory(labels.num_classes, size, config.embedding_dim).to(device)
    embedded, several = bare(network).embedded, isinstance(network, DDP)
    if compiled:
        objective.compile()
        embedded = torch.compile(embedded, dynamic=False)
        if not several:  # several processes exchange sums in it, where a graph would break
            support = torch.compile(stroke_support, dynamic=False)
            grow = torch.compile(grow_strokes, dynamic=False)
    diagnostics = StepDiagnostics(config, labels)
    return TrainingStep(
        config,
        network,
        objective,
        memory,
        diagnostics,
        device,
        largest_share,
        ring_periods(spacing),
        support,
        grow,
        embedded,
    )
