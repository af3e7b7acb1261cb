"""What the network's outputs mean: softmax over exclusive labels, or sigmoid over regions.

nnU-Net trains either on exclusive labels or, where a label of ``dataset.json`` is a list of values,
on regions that may overlap. All that PCLMix does differently for the two is here, so that the terms
of the objective are written once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnunetv2_pclmix.method.global_mean import Mean
from nnunetv2_pclmix.method.partial_cross_entropy import partial_binary_nll, partial_nll


class LabelEncoding(ABC):
    """Logits (B, C, *spatial), targets (B, T, *spatial) as nnU-Net's augmentation makes them.

    Attributes:
        num_classes: K, exclusive classes with the background; those of contrast and memory. The
            value K itself stands for "no class", that is, not annotated or not certain.
        target_channels: T.
        foreground_from: first of the C channels of logits that is foreground.
        not_grown: classes that stand for voxels of several combinations of regions, so that a
            stroke of theirs cannot grow.
    """

    num_classes: int
    target_channels: int
    foreground_from: int
    not_grown: tuple[int, ...] = ()

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, C, *spatial) logits to float32 probabilities of the same shape."""

    @abstractmethod
    def uncertainty(self, probabilities: Tensor) -> Tensor:
        """Entropy in nats, (B, *spatial), comparable with `certainty_threshold`."""

    @abstractmethod
    def cross_entropy(self, logits: Tensor, targets: Tensor) -> list[Mean]:
        """Partial cross-entropy in float32 against each of n targets (n, B, T, *spatial).

        0 if all is ignored.
        """

    def for_cross_entropy(self, targets: Tensor) -> Tensor:
        """Targets of any shape, of the type that `cross_entropy` would else make of each level."""
        return targets

    @abstractmethod
    def seen(self, target: Tensor) -> Tensor:
        """Mask (B, 1, *spatial) of annotated voxels."""

    @abstractmethod
    def belonging(self, target: Tensor, first: int) -> Tensor:
        """Of which channels of the logits a voxel is, from the first on: (B, C - first, *spatial).

        Bool. What is said of voxels that are not annotated means nothing.
        """

    @abstractmethod
    def predict(self, scores: Tensor, threshold: float = 0.0) -> Tensor:
        """The target (B, T, *spatial) that the scores speak for, with nothing ignored.

        Args:
            scores: (B, C, *spatial) logits, or probabilities.
            threshold: above it a region is there: 0 for logits, 0.5 for probabilities. Exclusive
                labels, of which the most probable counts, need none.
        """

    @abstractmethod
    def ignore(self, target: Tensor, where: Tensor) -> Tensor:
        """The target with what is true in (B, 1, *spatial) ignored."""

    @abstractmethod
    def with_scribble(self, target: Tensor, scribble: Tensor) -> Tensor:
        """The target (B, T, *spatial), but the scribble's where that is annotated."""

    def background(self, target: Tensor, where: Tensor) -> Tensor:
        """Target of the same shape that is background ``where`` (B, 1, *spatial), else ignored."""
        return self.ignore(torch.zeros_like(target), ~where)

    @abstractmethod
    def annotated(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Where foreground and where background is annotated, (B, 1, *spatial) bool each."""

    @abstractmethod
    def shows_background(self, target: Tensor) -> Tensor:
        """Where a target is background, (B, 1, *spatial) bool."""

    @abstractmethod
    def exclusive(self, target: Tensor) -> Tensor:
        """Class (B, *spatial) int64 of each voxel of a target, K where it is ignored."""

    @abstractmethod
    def of_classes(self, classes: Tensor) -> Tensor:
        """The target (B, T, *spatial) of (B, *spatial) classes, the reverse of `exclusive`."""


class ExclusiveLabels(LabelEncoding):
    """Softmax over labels 0..K-1; targets (B, 1, *spatial) hold labels, K where ignored."""

    target_channels = 1
    foreground_from = 1

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over the labels."""
        return torch.softmax(logits, 1, dtype=torch.float32)

    def uncertainty(self, probabilities: Tensor) -> Tensor:
        """Entropy over the labels."""
        return torch.special.entr(probabilities).sum(1)

    def for_cross_entropy(self, targets: Tensor) -> Tensor:
        """int64."""
        return targets.long()

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> list[Mean]:
        """`partial_nll` of the softmax, which is computed once for all targets."""
        log_p = torch.log_softmax(logits, 1, dtype=torch.float32)
        return partial_nll(log_p, targets[:, :, 0], self.num_classes)

    def seen(self, target: Tensor) -> Tensor:
        """All but label K."""
        return target != self.num_classes

    def belonging(self, target: Tensor, first: int) -> Tensor:
        """Each label's voxels; what is not annotated is background, which the mask leaves out."""
        if first == 0:
            target = target.masked_fill(target == self.num_classes, 0)
        number = torch.arange(first, self.num_classes, device=target.device)
        return target == number.view(-1, *[1] * (target.ndim - 2))

    def predict(self, scores: Tensor, threshold: float = 0.0) -> Tensor:
        """Argmax; by ``max``, which over few channels is several times faster on CPU."""
        return scores.max(1, keepdim=True).indices

    def with_scribble(self, target: Tensor, scribble: Tensor) -> Tensor:
        """Where the scribble is not K."""
        return torch.where(scribble != self.num_classes, scribble.to(target.dtype), target)

    def ignore(self, target: Tensor, where: Tensor) -> Tensor:
        """Label K."""
        return target.masked_fill(where, self.num_classes)

    def annotated(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Labels above 0, and 0."""
        background = self.shows_background(target)
        return self.seen(target) ^ background, background

    def shows_background(self, target: Tensor) -> Tensor:
        """Label 0."""
        return target == 0

    def exclusive(self, target: Tensor) -> Tensor:
        """The target itself."""
        return target[:, 0].long()

    def of_classes(self, classes: Tensor) -> Tensor:
        """The classes themselves."""
        return classes[:, None]


class Regions(LabelEncoding):
    """Sigmoid over R regions; targets (B, R + 1, *spatial) hold 0 or 1, the last where ignored.

    Everything but the contrast treats each region as a segmentation of its own in two classes. Its
    entropy is then at most ln 2, which is what the paper's threshold, a fraction of ln 2, is made
    for; a voxel is as uncertain as its least certain region, however many regions there are.

    The contrast is on exclusive classes. Regions are nested as a rule, so that a voxel of the
    tumour core, which belongs to the whole tumour too, would be a positive and a negative of both
    at once. The classes are found as nnU-Net finds its segmentation when it predicts: 0 is
    background, i + 1 what region i stands for (label ``regions_class_order[i]``), and later regions
    overwrite earlier ones.
    """

    foreground_from = 0

    def __init__(
        self,
        num_regions: int,
        members: Sequence[Sequence[bool]] | None = None,
        not_grown: Sequence[int] = (),
    ) -> None:
        """Args:
        num_regions: R.
        members: for each exclusive class but the background which of the regions it is part of.
            Without it class i + 1 is part of regions 0..i, as in regions nested from the outside.
        not_grown: see `LabelEncoding`.
        """
        self.not_grown = tuple(not_grown)
        self.num_classes = self.target_channels = num_regions + 1
        if members is None:
            members = np.tri(num_regions, dtype=bool).tolist()
        nothing = [False] * num_regions
        self.members = [[*row, False] for row in (nothing, *members)] + [[*nothing, True]]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Sigmoid of each region."""
        return torch.sigmoid(logits.float())

    def uncertainty(self, probabilities: Tensor) -> Tensor:
        """Largest entropy among the regions."""
        entropy = torch.special.entr(probabilities) + torch.special.entr(1 - probabilities)
        return entropy.amax(1)

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> list[Mean]:
        """`partial_binary_nll`."""
        logits = logits.float()
        return [partial_binary_nll(logits, target) for target in targets]

    def seen(self, target: Tensor) -> Tensor:
        """The opposite of the ignore channel."""
        return ~target[:, -1:].bool()

    def belonging(self, target: Tensor, first: int) -> Tensor:
        """The regions."""
        return target[:, first:-1].bool()

    def predict(self, scores: Tensor, threshold: float = 0.0) -> Tensor:
        """Regions above the threshold, and an empty ignore channel."""
        regions = scores > threshold
        return torch.cat((regions, torch.zeros_like(regions[:, :1])), 1)

    def with_scribble(self, target: Tensor, scribble: Tensor) -> Tensor:
        """Where the scribble's last channel is 0."""
        return torch.where(scribble[:, -1:].bool(), target, scribble.to(target.dtype))

    def ignore(self, target: Tensor, where: Tensor) -> Tensor:
        """1 in the last channel."""
        ignored = target[:, -1:].bool() | where
        return torch.cat((target[:, :-1], ignored.to(target.dtype)), 1)

    def annotated(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Any region, and none."""
        foreground = target[:, :-1].bool().any(1, keepdim=True)
        return foreground & self.seen(target), self.shows_background(target)

    def shows_background(self, target: Tensor) -> Tensor:
        """No region, and not ignored."""
        return ~target.bool().any(1, keepdim=True)

    def exclusive(self, target: Tensor) -> Tensor:
        """The last region that is there, as numbered above."""
        # the ignore channel comes last and overwrites all, as K = R + 1 should
        number = torch.arange(1, self.num_classes + 1, device=target.device)
        number = number.view(-1, *[1] * (target.ndim - 2))
        return torch.where(target.bool(), number, 0).amax(1)

    def of_classes(self, classes: Tensor) -> Tensor:
        """The regions that each class is part of."""
        channels = []
        for channel in zip(*self.members, strict=True):
            inside = torch.zeros_like(classes, dtype=torch.bool)
            for number, member in enumerate(channel):
                if member:
                    inside |= classes == number
            channels.append(inside)
        return torch.stack(channels, 1)


def label_encoding(label_manager: Any) -> LabelEncoding:
    """The encoding of a data set with an ignore label, from nnU-Net's ``LabelManager``."""
    if label_manager.has_regions:
        regions = [np.atleast_1d(region) for region in label_manager.foreground_regions]
        order = label_manager.regions_class_order

        def regions_of(label: int) -> list[bool]:
            return [bool(np.isin(label, region)) for region in regions]

        members = [regions_of(label) for label in order]
        last = {int(v): np.flatnonzero(regions_of(v))[-1] for v in np.concatenate(regions)}
        several = {int(i) + 1 for v, i in last.items() if regions_of(v) != members[i]}
        return Regions(len(regions), members, sorted(several))
    return ExclusiveLabels(label_manager.ignore_label)


def class_names(label_manager: Any) -> list[str]:
    """Names of the exclusive classes of `label_encoding`, the background first."""
    labels = {name: value for name, value in label_manager.label_dict.items() if name != "ignore"}
    if label_manager.has_regions:
        return ["background", *(name for name, value in labels.items() if np.any(value))]
    return sorted(labels, key=lambda name: int(np.ravel(labels[name])[0]))
