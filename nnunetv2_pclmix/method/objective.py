"""The weighted sum L of PCLMix: every term by name, for each of the two passes of an iteration.

L = L_c + lambda_t L_t + lambda_het(t) L_het + lambda_ctr(t) L_ctr, where L_c and L_t are partial
cross-entropy on the image, partial cross-entropy on the mixed image, and cross-entropy of the mixed
image against the mixed pseudo label, for the main and the auxiliary decoder. The pseudo labels are
detached, so the two passes have gradients of their own and can be back-propagated one after the
other. For nnU-Net's regions every term has a sigmoid form, see
`nnunetv2_pclmix.method.label_encoding`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.certainty_label import certainty_label, mean_probabilities
from nnunetv2_pclmix.method.dual_consistency import heterogeneous_consistency
from nnunetv2_pclmix.method.global_mean import world_size
from nnunetv2_pclmix.method.label_encoding import LabelEncoding
from nnunetv2_pclmix.method.network import TrainingOutput
from nnunetv2_pclmix.method.pixel_contrastive_loss import pixel_contrastive_loss, sample_anchors
from nnunetv2_pclmix.method.pixel_memory import PixelMemory, region_means
from nnunetv2_pclmix.method.schedules import certainty_threshold, delayed_power, sigmoid_ramp
from nnunetv2_pclmix.method.stroke_support import StrokeSupport

Terms = dict[str, Tensor]


def term_weights(config: PCLMixConfig, progress: float) -> dict[str, float]:
    """Weight of every term that the settings switch on, in the order in which they are logged.

    Args:
        progress: fraction of the planned iterations that are done, in [0, 1].
    """
    auxiliary = config.lambda_auxiliary
    heterogeneous = config.lambda_heterogeneous * sigmoid_ramp(progress, config.heterogeneous_ramp)
    pseudo = config.lambda_pseudo * sigmoid_ramp(progress, config.pseudo_ramp)
    weights = {"scribble_main": 1.0}
    background = config.lambda_background * config.stroke_support
    if background:
        weights["background_main"] = background
    if config.partial_dice:
        weights["dice_main"] = config.partial_dice
    if config.auxiliary_decoder:
        weights["scribble_auxiliary"] = auxiliary
        if background:
            weights["background_auxiliary"] = auxiliary * background
        if config.lambda_heterogeneous:
            weights["heterogeneous"] = heterogeneous
    if config.contrast:
        weights["contrast"] = config.lambda_contrast * delayed_power(
            progress, config.contrast_start, config.contrast_power
        )
    if config.dynamic_mix:
        weights["scribble_main_mixed"] = config.lambda_mixed_scribble
        if config.lambda_pseudo:
            weights["pseudo_main"] = pseudo
        if config.auxiliary_decoder:
            weights["scribble_auxiliary_mixed"] = auxiliary * config.lambda_mixed_scribble
            if config.lambda_pseudo:
                weights["pseudo_auxiliary"] = auxiliary * pseudo
            if config.lambda_heterogeneous:
                weights["heterogeneous_mixed"] = heterogeneous
    return weights


def weighted_sum(terms: Terms, weights: dict[str, float]) -> Tensor:
    """Sum of weight times term over the terms of one pass."""
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()


def resize_nearest(x: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, *spatial) to (B, C, *size) by copying; exact for integer labels below 2 ** 24."""
    if x.shape[2:] == tuple(size):
        return x
    y = x if x.is_floating_point() else x.float()
    return F.interpolate(y, size=tuple(size), mode="nearest-exact").to(x.dtype)


class Objective:
    """Computes the terms of both passes.

    Args:
        config: weights and schedules.
        labels: exclusive labels or regions.
        level_weights: weight of each deep supervision level of the main decoder, finest first.
        partial_dice: nnU-Net's soft Dice, called as (logits, target, loss_mask); for the option
            ``config.partial_dice``.
    """

    def __init__(
        self,
        config: PCLMixConfig,
        labels: LabelEncoding,
        level_weights: Sequence[float],
        partial_dice: Callable[..., Tensor],
    ) -> None:
        self.config = config
        self.labels = labels
        self.level_weights = [float(w) for w in level_weights]
        self.partial_dice = partial_dice

    def compile(self) -> None:
        """Let torch.compile fuse what makes the terms, as nnU-Net does with network and Dice."""
        self.partial_dice = getattr(self.partial_dice, "_orig_mod", self.partial_dice)
        self._first_terms = torch.compile(self._first_terms, dynamic=False)
        self.second_pass = torch.compile(self.second_pass, dynamic=False)

    def first_pass(
        self,
        output: TrainingOutput,
        targets: Sequence[Tensor],
        memory: PixelMemory | None,
        progress: float,
        support: StrokeSupport | None = None,
    ) -> tuple[Terms, tuple[Tensor, Tensor] | None]:
        """Terms of the image itself.

        Args:
            output: of the network in training mode.
            targets: scribbles (B, T, *spatial) per deep supervision level, finest first.
            memory: queue of the contrastive loss; read here, not written.
            progress: fraction of the planned iterations that are done.
            support: what the strokes say of the main decoder's prediction; None with
                ``config.stroke_support`` off.

        Returns:
            The terms, and what `PixelMemory.enqueue` takes once the terms are back-propagated
            (None without contrast).
        """
        threshold = certainty_threshold(progress, self.config.certainty_low)
        # a tensor, because torch.compile compiles for each number anew; filled on the device
        threshold = output.main[0].new_full((), threshold, dtype=torch.float32)
        return self._first_terms(output, targets, memory, threshold, support)

    def _first_terms(
        self,
        output: TrainingOutput,
        targets: Sequence[Tensor],
        memory: PixelMemory | None,
        threshold: Tensor,
        support: StrokeSupport | None,
    ) -> tuple[Terms, tuple[Tensor, Tensor] | None]:
        scribble, names = targets[0], ["scribble_{}"]
        supervision, implied, trust = targets, None, 1.0
        if support is not None and self.config.lambda_background:
            names.append("background_{}")
            trust = support.trust
            implied = [resize_nearest(support.background, z.shape[2:]) for z in output.main]
            supervision = [
                torch.cat((target, self.labels.background(target, where)), 1)
                for target, where in zip(targets, implied, strict=True)
            ]
        scribbles, *background = self._main(output.main, supervision)
        values = scribbles, *(trust * value for value in background)
        terms = {name.format("main"): v for name, v in zip(names, values, strict=True)}
        if self.config.partial_dice:
            terms["dice_main"] = self._dice(output.main, targets, implied, trust)
        if output.auxiliary is not None:
            both = supervision[0].split(self.labels.target_channels, 1)
            scribbles, *background = self.labels.cross_entropy(output.auxiliary, both)
            values = scribbles, *(trust * value for value in background)
            terms |= {name.format("auxiliary"): v for name, v in zip(names, values, strict=True)}
            if self.config.lambda_heterogeneous:
                terms["heterogeneous"] = self._heterogeneous(output)
        if output.embedding is None:
            return terms, None
        terms["contrast"], queued = self._contrast(output, scribble, memory, threshold)
        return terms, queued

    def second_pass(self, output: TrainingOutput, scribble: Tensor, pseudo_label: Tensor) -> Terms:
        """Terms of the mixed image.

        Args:
            output: of the network in training mode, on the mixed image.
            scribble: mixed scribble (B, T, *spatial).
            pseudo_label: mixed pseudo label (B, T, *spatial).
        """
        both = [scribble]
        if self.config.lambda_pseudo:
            both.append(pseudo_label.to(scribble.dtype))
        # as channels of one tensor, so that each level is resized once
        targets = [torch.cat(both, 1)]
        targets += [resize_nearest(targets[0], z.shape[2:]) for z in output.main[1:]]
        names = ["scribble_{}_mixed", "pseudo_{}"]
        values = self._main(output.main, targets)
        terms = {name.format("main"): v for name, v in zip(names, values, strict=False)}
        if output.auxiliary is not None:
            values = self.labels.cross_entropy(output.auxiliary, both)
            terms |= {name.format("auxiliary"): v for name, v in zip(names, values, strict=False)}
            if self.config.lambda_heterogeneous:
                terms["heterogeneous_mixed"] = self._heterogeneous(output)
        return terms

    def _main(self, logits: Sequence[Tensor], targets: Sequence[Tensor]) -> list[Tensor]:
        """Partial cross-entropy over the deep supervision levels.

        Args:
            targets: per level, one or more targets (B, T, *spatial) one after the other as
                channels; a term for each is returned.
        """
        size = self.labels.target_channels
        sums = [logits[0].new_zeros((), dtype=torch.float32)] * (targets[0].shape[1] // size)
        for weight, z, target in zip(self.level_weights, logits, targets, strict=True):
            if weight:
                values = self.labels.cross_entropy(z, target.split(size, 1))
                sums = [total + weight * v for total, v in zip(sums, values, strict=True)]
        return sums

    def _dice(
        self,
        logits: Sequence[Tensor],
        targets: Sequence[Tensor],
        implied: Sequence[Tensor] | None,
        trust: Tensor | float,
    ) -> Tensor:
        """Soft Dice over annotated voxels, and over implied background as far as it is trusted."""
        total = logits[0].new_zeros((), dtype=torch.float32)
        for level, (weight, z, target) in enumerate(
            zip(self.level_weights, logits, targets, strict=True)
        ):
            if weight:
                target, mask = self.labels.dice_target(target)
                if implied is not None:
                    mask = torch.where(mask, 1.0, implied[level] * trust)
                total = total + weight * self.partial_dice(z.float(), target, loss_mask=mask)
        return total

    def _heterogeneous(self, output: TrainingOutput) -> Tensor:
        on_probabilities = self.config.heterogeneous_on == "probabilities"
        return heterogeneous_consistency(
            output.main[0],
            output.auxiliary,
            self.labels.probabilities if on_probabilities else None,
        )

    def _contrast(
        self, output: TrainingOutput, scribble: Tensor, memory: PixelMemory, threshold: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        config, labels = self.config, self.labels
        nothing = labels.num_classes
        embedding = output.embedding.flatten(2)  # (B, D, P)
        with torch.no_grad():
            # taking nearest neighbours commutes with all that makes the certainty label, so that
            # is done on the few pixels of the embedding only
            size = output.embedding.shape[2:]
            main = resize_nearest(output.main[0], size)
            auxiliary = output.auxiliary
            if auxiliary is not None:
                auxiliary = resize_nearest(auxiliary, size)
            label = certainty_label(
                labels,
                mean_probabilities(labels, main, auxiliary),
                resize_nearest(scribble, size),
                threshold,
            ).flatten(1)
            if not config.contrast_background:
                label = label.masked_fill(label == 0, nothing)
            queued = region_means(embedding, label, nothing)
            index, valid = sample_anchors(
                label,
                labels.exclusive(labels.predict(main)).flatten(1),
                nothing,
                config.anchors_per_class,
                config.anchors_total // world_size(),
                config.anchor_min_pixels,
            )
        anchors = embedding.movedim(1, 2).flatten(0, 1)[index]
        entries, stored = memory.stored()
        loss = pixel_contrastive_loss(
            anchors, label.flatten()[index], valid, entries, stored, config.temperature
        )
        return loss, queued
