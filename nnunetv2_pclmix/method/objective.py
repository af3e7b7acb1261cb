"""The weighted sum L of PCLMix: every term by name, for each of the two passes of an iteration.

L = L_c + lambda_t L_t + lambda_het(t) L_het + lambda_ctr(t) L_ctr, where L_c and L_t are partial
cross-entropy on the image, partial cross-entropy on the mixed image, and cross-entropy of the mixed
image against the mixed pseudo label, for the main and the auxiliary decoder. To the strokes of both
images we add Dice, and the background that they imply. The pseudo labels are detached, so the two
passes have gradients of their own and can be back-propagated one after the other. For nnU-Net's
regions every term has a sigmoid form, see `nnunetv2_pclmix.method.label_encoding`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.certainty_label import (
    certainty_label,
    label_of_cells,
    mean_probabilities,
)
from nnunetv2_pclmix.method.dual_consistency import pseudo_labels, squared_difference
from nnunetv2_pclmix.method.global_mean import Mean, exchanging, values_of, world_size
from nnunetv2_pclmix.method.label_encoding import LabelEncoding
from nnunetv2_pclmix.method.network import TrainingOutput
from nnunetv2_pclmix.method.partial_dice import PartialDice
from nnunetv2_pclmix.method.pixel_contrastive_loss import info_nce, sample_anchors
from nnunetv2_pclmix.method.pixel_memory import PixelMemory
from nnunetv2_pclmix.method.schedules import certainty_threshold
from nnunetv2_pclmix.method.stroke_support import StrokeSupport

Terms = dict[str, Tensor]


def resize_nearest(x: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, *spatial) to (B, C, *size) by copying; exact for integer labels below 2 ** 24.

    Where ``spatial`` is a multiple of the size it is a view: the voxel after each block's centre.
    """
    if x.shape[2:] == tuple(size):
        return x
    factors = [n // m for n, m in zip(x.shape[2:], size, strict=True)]
    if list(x.shape[2:]) == [m * factor for m, factor in zip(size, factors, strict=True)]:
        return x[(..., *(slice(factor // 2, None, factor) for factor in factors))]
    y = x if x.is_floating_point() else x.float()
    return F.interpolate(y, size=tuple(size), mode="nearest-exact").to(x.dtype)


class Objective:
    """Computes the terms of both passes.

    Args:
        config: weights and schedules.
        labels: exclusive labels or regions.
        level_weights: weight of each deep supervision level of the main decoder, finest first.
        stock_dice: nnU-Net's soft Dice, whose settings `PartialDice` takes over.
        device: of the network's output.
    """

    def __init__(
        self,
        config: PCLMixConfig,
        labels: LabelEncoding,
        level_weights: Sequence[float],
        stock_dice: Any,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.labels = labels
        self.level_weights = [float(w) for w in level_weights]
        # made here: a number that is copied to the device in a step would be waited for
        self._of_levels = torch.tensor([w for w in self.level_weights if w], device=device)
        self.dice = PartialDice(labels, self._of_levels, stock_dice)
        self._pseudo_labels = pseudo_labels

    def compile(self) -> None:
        """Let torch.compile fuse what makes the terms, as nnU-Net does with network and Dice."""

        def compiled(function: Callable) -> Callable:
            return torch.compile(function, dynamic=False)

        self._pseudo_labels = compiled(self._pseudo_labels)
        if exchanging():  # what exchanges something stays outside
            self._means, self._contrast = compiled(self._means), compiled(self._contrast)
            self.dice.sums = compiled(self.dice.sums)
            return
        self._first_terms = compiled(self._first_terms)
        self.second_pass = compiled(self.second_pass)

    def first_pass(
        self,
        output: TrainingOutput,
        scribble: Tensor,
        memory: PixelMemory | None,
        progress: float,
        support: StrokeSupport | None = None,
    ) -> tuple[Terms, tuple[Tensor, Tensor] | None]:
        """Terms of the image itself.

        Args:
            output: of the network in training mode.
            scribble: (B, T, *spatial); for deep supervision it is resized as nnU-Net does.
            memory: queue of the contrastive loss; read here, not written.
            progress: fraction of the planned iterations that are done.
            support: what the strokes say of the main decoder's prediction; None with
                ``config.stroke_support`` off.

        Returns:
            The terms, and what `PixelMemory.enqueue` takes once the terms are back-propagated
            (None without contrast).
        """
        threshold = self._threshold(output, progress)
        return self._first_terms(output, scribble, memory, threshold, support)

    def _threshold(self, output: TrainingOutput, progress: float) -> Tensor:
        """Of certainty, as a tensor: torch.compile would compile for each number anew."""
        threshold = certainty_threshold(progress, self.config.certainty_low)
        # filled on the device, which copying a number there would wait for
        return output.main[0].new_full((), threshold, dtype=torch.float32)

    def _first_terms(
        self,
        output: TrainingOutput,
        scribble: Tensor,
        memory: PixelMemory | None,
        threshold: Tensor,
        support: StrokeSupport | None,
    ) -> tuple[Terms, tuple[Tensor, Tensor] | None]:
        background = None
        if support is not None and self.config.lambda_background:
            background = support.background
        trust = 1.0 if support is None else support.trust
        contrast, queued = None, None
        if output.embedding is not None:
            contrast, queued = self._contrast(output, scribble, memory, threshold, support)
        return self._terms("", output, scribble, background, trust, contrast=contrast), queued

    def second_pass(
        self,
        output: TrainingOutput,
        scribble: Tensor,
        pseudo_label: Tensor,
        background: Tensor | None = None,
        trust: Tensor | float = 1.0,
    ) -> Terms:
        """Terms of the mixed image.

        Args:
            output: of the network in training mode, on the mixed image.
            scribble: mixed scribble (B, T, *spatial).
            pseudo_label: mixed pseudo label (B, T, *spatial).
            background: mixed masks (B, 1, *spatial) bool of what is background by implication.
            trust: how far pseudo label and implied background are trusted.
        """
        if not self.config.lambda_background:
            background = None
        return self._terms("_mixed", output, scribble, background, trust, pseudo_label)

    def pseudo_labels(
        self,
        output: TrainingOutput,
        scribble: Tensor,
        support: StrokeSupport | None,
        progress: float,
    ) -> tuple[Tensor, Tensor]:
        """Labels (B, T, *spatial) of the first pass' prediction, to be mixed; see `pseudo_labels`.

        Args:
            output: of the first pass.
            scribble: (B, T, *spatial).
            support: what the strokes say of the prediction, None without stroke support.
            progress: fraction of the planned iterations that are done.
        """
        config = self.config
        return self._pseudo_labels(
            self.labels,
            output.main[0],
            output.auxiliary,
            scribble,
            support,
            config.pseudo_from == "mean",
            self._threshold(output, progress) if config.pseudo_certain else None,
        )

    def _terms(
        self,
        suffix: str,
        output: TrainingOutput,
        scribble: Tensor,
        background: Tensor | None,
        trust: Tensor | float,
        pseudo_label: Tensor | None = None,
        contrast: Mean | None = None,
    ) -> Terms:
        """What both passes have: strokes and what they imply, for both decoders; agreement.

        With the pseudo label of a mixed image, its terms too: one softmax serves all targets. All
        means are taken together: by one exchange between processes, and few operations.

        Args:
            contrast: its mean, which is taken with the others.
        """
        config = self.config
        targets, names = [scribble], [f"scribble_{{}}{suffix}"]
        if background is not None:
            targets.append(self.labels.background(scribble, background))
            names.append(f"background_{{}}{suffix}")
        if pseudo_label is not None and config.lambda_pseudo:
            targets.append(pseudo_label.to(scribble.dtype))
            names.append("pseudo_{}")
        stacked = self.labels.for_cross_entropy(torch.stack(targets))
        main, auxiliary, agreement = self._means(output, stacked)
        single = agreement + ([] if contrast is None else [contrast])
        values = values_of([*chain.from_iterable(main), *auxiliary, *single])
        number = len(names)
        sizes = [len(main) * number, len(auxiliary), len(single)]
        of_main, of_auxiliary, of_single = values.split(sizes)
        strokes = (of_main.view(-1, number).mT @ self._of_levels)[None]
        if auxiliary:
            strokes = torch.cat((strokes, of_auxiliary[None]))
        if number > 1 and not (isinstance(trust, float) and trust == 1):
            # what strokes imply, and what is predicted, counts as far as it is trusted
            trusted = trust if isinstance(trust, Tensor) else strokes.new_full((), trust)
            strokes = strokes * F.pad(trusted.expand(number - 1), (1, 0), value=1.0)
        decoders = ("main", "auxiliary")[: len(strokes)]
        found = [name.format(decoder) for decoder in decoders for name in names]
        terms = dict(zip(found, strokes.flatten().unbind(), strict=True))
        found = [f"heterogeneous{suffix}"] * len(agreement) + ["contrast"] * (contrast is not None)
        # torch.compile of torch 2.6 cannot update a dict from a zip
        terms = {**terms, **dict(zip(found, of_single.unbind(), strict=True))}
        if config.partial_dice and (config.mixed_dice or not suffix):
            terms[f"dice_main{suffix}"] = self._dice(output.main, scribble, background, trust)
        if config.pseudo_dice and "pseudo_{}" in names:
            terms["pseudo_dice_main"] = trust * self._dice(output.main, targets[-1], None, 1.0)
        return terms

    def _means(
        self, output: TrainingOutput, targets: Tensor
    ) -> tuple[list[list[Mean]], list[Mean], list[Mean]]:
        """Partial cross-entropy of both decoders, and their agreement; exchanges nothing.

        Args:
            targets: (n, B, T, *spatial).

        Returns:
            Of each level of the main decoder n means, of the auxiliary decoder n, and one of their
            agreement; of what there is none, none.
        """
        main, auxiliary, agreement = [], [], []
        for z in self._levels(output.main):
            level = resize_nearest(targets.flatten(0, 1), z.shape[2:])
            main.append(self.labels.cross_entropy(z, level.unflatten(0, targets.shape[:2])))
        if output.auxiliary is not None:
            auxiliary = self.labels.cross_entropy(output.auxiliary, targets)
            if self.config.lambda_heterogeneous:
                agreement = [self._heterogeneous(output)]
        return main, auxiliary, agreement

    def _levels(self, logits: Sequence[Tensor]) -> list[Tensor]:
        """Those that have a weight."""
        return [z for weight, z in zip(self.level_weights, logits, strict=True) if weight]

    def _dice(
        self,
        logits: Sequence[Tensor],
        target: Tensor,
        implied: Tensor | None,
        trust: Tensor | float,
    ) -> Tensor:
        """Soft Dice over annotated voxels, and over implied background as far as it is trusted."""
        mask = self.labels.seen(target)
        if implied is not None:
            mask = (implied * trust).masked_fill(mask, 1.0)
        levels = self._levels(logits)
        targets, masks = ([resize_nearest(x, z.shape[2:]) for z in levels] for x in (target, mask))
        return self.dice(levels, targets, masks)

    def _heterogeneous(self, output: TrainingOutput) -> Mean:
        on_probabilities = self.config.heterogeneous_on == "probabilities"
        return squared_difference(
            output.main[0],
            output.auxiliary,
            self.labels.probabilities if on_probabilities else None,
        )

    def _contrast(
        self,
        output: TrainingOutput,
        scribble: Tensor,
        memory: PixelMemory,
        threshold: Tensor,
        support: StrokeSupport | None,
    ) -> tuple[Mean, tuple[Tensor, Tensor]]:
        config, labels = self.config, self.labels
        nothing = labels.num_classes
        embedding = output.embedding
        with torch.no_grad():
            size, main = embedding.hidden.shape[2:], output.main[0]
            certain = certainty_label(
                labels,
                mean_probabilities(labels, main, output.auxiliary),
                scribble,
                threshold,
                support,
            )
            drawn, predicted = (labels.exclusive(x) for x in (scribble, labels.predict(main)))
            label, prediction = label_of_cells(certain, drawn, predicted, size, nothing)
            if not config.contrast_background:
                label = label.masked_fill(label == 0, nothing)
            queued = embedding.region_means(label, nothing)
            index, valid = sample_anchors(
                label,
                prediction,
                nothing,
                config.anchors_per_class,
                config.anchors_total // world_size(),
                config.anchor_min_pixels,
            )
        entries, stored = memory.stored()
        loss = info_nce(
            embedding.at(index), label.flatten()[index], valid, entries, stored, config.temperature
        )
        return loss, queued
