"""nnU-Net's soft Dice over annotated voxels, of all deep supervision levels together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nnunetv2_pclmix.method.global_mean import global_total
from nnunetv2_pclmix.method.label_encoding import LabelEncoding


class PartialDice:
    """The negative Dice that nnU-Net's loss has, with the settings of a given one.

    nnU-Net's own takes each level by itself, and with several processes makes three exchanges for
    each. This one makes one exchange for all levels, and the last steps of the formula but once.

    Args:
        labels: what logits mean.
        level_weights: (levels,) of those that count, finest first, on the device of the logits.
        stock: nnU-Net's ``MemoryEfficientSoftDiceLoss``.

    Example:
        A prediction that is right where something is annotated; 2 stands for "not annotated":

        >>> import torch
        >>> from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
        >>> from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
        >>> stock = MemoryEfficientSoftDiceLoss(batch_dice=True, do_bg=False, smooth=0, ddp=False)
        >>> dice = PartialDice(ExclusiveLabels(2), torch.ones(1), stock)
        >>> logits = torch.tensor([[[99.0, 0.0, 0.0], [0.0, 99.0, 99.0]]])
        >>> target, mask = torch.tensor([[[0, 1, 2]]]), torch.tensor([[[True, True, False]]])
        >>> dice([logits], [target], [mask]).item()
        -1.0
    """

    def __init__(
        self,
        labels: LabelEncoding,
        level_weights: Tensor,
        stock: Any,
    ) -> None:
        # the Dice is twice the quotient below, and the loss its negative
        self.labels, self.weights = labels, -2 * level_weights
        self.first = 0 if stock.do_bg else 1
        self.batch_dice, self.smooth, self.ddp = stock.batch_dice, float(stock.smooth), stock.ddp

    def __call__(
        self, logits: Sequence[Tensor], targets: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> Tensor:
        """The weighted sum over the levels, a scalar.

        Args:
            logits: (B, C, *spatial) of each level.
            targets: (B, T, *spatial) of each.
            masks: (B, 1, *spatial), bool or from 0 to 1: how far a voxel counts.
        """
        sums = self.sums(logits, targets, masks)
        if self.batch_dice:
            sums = sums.sum(2, keepdim=True)
            sums = global_total(sums) if self.ddp else sums
        both, predicted, true = sums.unbind(1)
        # nnU-Net clamps the sum with the prediction, which is not below 0 and has a gradient. With
        # its smooth of 1e-5 neither is ever clamped
        least = (true.detach() + self.smooth).clamp(min=1e-8)
        half = (both + self.smooth / 2) / (predicted + least)
        return self.weights @ half.flatten(1).mean(1)

    def sums(
        self, logits: Sequence[Tensor], targets: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> Tensor:
        """(levels, 3, B, C) of each class: of the product of prediction and target, and of both."""
        parts = []
        for z, target, mask in zip(logits, targets, masks, strict=True):
            member = self.labels.belonging(target, self.first)
            seen = self.labels.probabilities(z)[:, self.first :] * mask
            parts += [(seen * member).flatten(2).sum(2), seen.flatten(2).sum(2)]
            parts.append((member * mask).flatten(2).sum(2).to(seen.dtype))
        return torch.stack(parts).unflatten(0, (-1, 3))
