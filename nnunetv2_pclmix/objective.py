"""The weighted sum L of PCLMix: every term by name, for each of the two passes of an iteration.

L = L_c + lambda_t L_t + lambda_het(t) L_het + lambda_ctr(t) L_ctr, where L_c and L_t are partial
cross-entropy on the image, partial cross-entropy on the mixed image, and cross-entropy of the mixed
image against the mixed pseudo label, for the main and the auxiliary decoder. The pseudo labels are
detached, so the two passes have gradients of their own and can be back-propagated one after the
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_pclmix.certainty_label import certainty_label, mean_probabilities
from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.dual_consistency import heterogeneous_consistency
from nnunetv2_pclmix.network import TrainingOutput
from nnunetv2_pclmix.partial_cross_entropy import partial_nll
from nnunetv2_pclmix.pixel_contrastive_loss import pixel_contrastive_loss, sample_anchors
from nnunetv2_pclmix.pixel_memory import PixelMemory, region_means
from nnunetv2_pclmix.schedules import certainty_threshold, delayed_power, sigmoid_ramp

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
    if config.partial_dice:
        weights["dice_main"] = config.partial_dice
    if config.auxiliary_decoder:
        weights["scribble_auxiliary"] = auxiliary
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
        ignore_label: value of unlabelled voxels; the classes are 0..ignore_label-1.
        level_weights: weight of each deep supervision level of the main decoder, finest first.
        partial_dice: nnU-Net's soft Dice, called as (logits, labels, loss_mask); for the option
            ``config.partial_dice``.
    """

    def __init__(
        self,
        config: PCLMixConfig,
        ignore_label: int,
        level_weights: Sequence[float],
        partial_dice: Callable[..., Tensor],
    ) -> None:
        self.config = config
        self.ignore_label = ignore_label
        self.level_weights = [float(w) for w in level_weights]
        self.partial_dice = partial_dice

    def first_pass(
        self,
        output: TrainingOutput,
        targets: Sequence[Tensor],
        memory: PixelMemory | None,
        progress: float,
    ) -> tuple[Terms, tuple[Tensor, Tensor] | None]:
        """Terms of the image itself.

        Args:
            output: of the network in training mode.
            targets: scribbles (B, 1, *spatial) per deep supervision level, finest first.
            memory: queue of the contrastive loss; read here, not written.
            progress: fraction of the planned iterations that are done.

        Returns:
            The terms, and what `PixelMemory.enqueue` takes once the terms are back-propagated
            (None without contrast).
        """
        scribble = targets[0][:, 0]
        terms = {"scribble_main": self._main(output.main, targets)[0]}
        if self.config.partial_dice:
            terms["dice_main"] = self._dice(output.main, targets)
        if output.auxiliary is not None:
            log_p = torch.log_softmax(output.auxiliary.float(), 1)
            terms["scribble_auxiliary"] = partial_nll(log_p, scribble, self.ignore_label)
            if self.config.lambda_heterogeneous:
                terms["heterogeneous"] = self._heterogeneous(output)
        if output.embedding is None:
            return terms, None
        terms["contrast"], queued = self._contrast(output, scribble, memory, progress)
        return terms, queued

    def second_pass(self, output: TrainingOutput, scribble: Tensor, pseudo_label: Tensor) -> Terms:
        """Terms of the mixed image.

        Args:
            output: of the network in training mode, on the mixed image.
            scribble: mixed scribble (B, 1, *spatial).
            pseudo_label: mixed pseudo label (B, 1, *spatial).
        """
        sizes = [logits.shape[2:] for logits in output.main]
        targets = [torch.cat((scribble, pseudo_label.to(scribble.dtype)), 1)]
        targets += [resize_nearest(targets[0], size) for size in sizes[1:]]
        scribble_main, pseudo_main = self._main(output.main, targets)
        terms = {"scribble_main_mixed": scribble_main}
        if self.config.lambda_pseudo:
            terms["pseudo_main"] = pseudo_main
        if output.auxiliary is not None:
            log_p = torch.log_softmax(output.auxiliary.float(), 1)
            terms["scribble_auxiliary_mixed"] = partial_nll(
                log_p, scribble[:, 0], self.ignore_label
            )
            if self.config.lambda_pseudo:
                terms["pseudo_auxiliary"] = partial_nll(
                    log_p, pseudo_label[:, 0], self.ignore_label
                )
            if self.config.lambda_heterogeneous:
                terms["heterogeneous_mixed"] = self._heterogeneous(output)
        return terms

    def _main(self, logits: Sequence[Tensor], targets: Sequence[Tensor]) -> list[Tensor]:
        """Partial cross-entropy over the deep supervision levels, per channel of the targets."""
        sums = [logits[0].new_zeros((), dtype=torch.float32) for _ in range(targets[0].shape[1])]
        for weight, z, target in zip(self.level_weights, logits, targets, strict=True):
            if weight:
                log_p = torch.log_softmax(z.float(), 1)
                for i in range(len(sums)):
                    sums[i] = sums[i] + weight * partial_nll(log_p, target[:, i], self.ignore_label)
        return sums

    def _dice(self, logits: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        total = logits[0].new_zeros((), dtype=torch.float32)
        for weight, z, target in zip(self.level_weights, logits, targets, strict=True):
            if weight:
                mask = target != self.ignore_label
                labels = torch.where(mask, target, 0)
                total = total + weight * self.partial_dice(z.float(), labels, loss_mask=mask)
        return total

    def _heterogeneous(self, output: TrainingOutput) -> Tensor:
        return heterogeneous_consistency(
            output.main[0], output.auxiliary, self.config.heterogeneous_on
        )

    def _contrast(
        self, output: TrainingOutput, scribble: Tensor, memory: PixelMemory, progress: float
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        config, ignore = self.config, self.ignore_label
        embedding = output.embedding.flatten(2)  # (B, D, P)
        with torch.no_grad():
            # taking nearest neighbours commutes with softmax, entropy and argmax, so all of that
            # is done on the few pixels of the embedding only
            size = output.embedding.shape[2:]
            main = resize_nearest(output.main[0], size)
            auxiliary = output.auxiliary
            if auxiliary is not None:
                auxiliary = resize_nearest(auxiliary, size)
            label = certainty_label(
                mean_probabilities(main, auxiliary),
                resize_nearest(scribble[:, None], size)[:, 0],
                certainty_threshold(progress, config.certainty_low),
                ignore,
            ).flatten(1)
            if not config.contrast_background:
                label = label.masked_fill(label == 0, ignore)
            queued = region_means(embedding, label, ignore)
            index, valid = sample_anchors(
                label,
                main.argmax(1).flatten(1),
                ignore,
                config.anchors_per_class,
                config.anchors_total,
                config.anchor_min_pixels,
            )
        anchors = embedding.movedim(1, 2).flatten(0, 1)[index]
        entries, stored = memory.stored()
        loss = pixel_contrastive_loss(
            anchors, label.flatten()[index], valid, entries, stored, config.temperature
        )
        return loss, queued
