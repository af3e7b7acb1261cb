"""Dynamic mix augmentation: images, scribbles and predictions of a batch mixed by random boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """What is mixed with what; drawn by `draw_mix`.

    Attributes:
        first, second: (B,) index of each mixed sample's two sources in the batch.
        from_first: (B, 1, *spatial) true where the mixed sample shows its first source.
    """

    first: Tensor
    second: Tensor
    from_first: Tensor

    def __call__(self, one: Tensor, two: Tensor | None = None) -> Tensor:
        """Mix (B, C, *spatial) tensors: ``one`` of the first source, ``two`` of the second.

        Without ``two`` both sources are read from ``one``. Nothing is interpolated, so labels stay
        labels, and the argmax of a mixed soft prediction is the mixed argmax.
        """
        two = one if two is None else two
        return torch.where(self.from_first, one[self.first], two[self.second])


def box_mask(
    batch_size: int, spatial: Sequence[int], area: float, device: torch.device | str = "cpu"
) -> Tensor:
    """Random boxes, one per sample: (B, 1, *spatial) bool, true inside.

    Each box lies inside the image and covers the share ``area`` of it up to rounding to voxels. Its
    aspect is random: the extents, as fractions of the image's, are ``area ** w`` with w uniform on
    the simplex (in 2D: w and 1 - w), so that their product is ``area`` for any number of axes.
    """
    axes = len(spatial)
    # exponential variates, normalised, are uniform on the simplex
    w = torch.empty(batch_size, axes, device=device).exponential_()
    fraction = area ** (w / w.sum(1, keepdim=True))
    place = torch.rand(batch_size, axes, device=device)
    inside = torch.ones(batch_size, *[1] * (axes + 1), dtype=torch.bool, device=device)
    for axis, length in enumerate(spatial):
        extent = (fraction[:, axis, None] * length).round().clamp(min=1)
        start = (place[:, axis, None] * (length - extent + 1)).floor()
        position = torch.arange(length, device=device)
        hit = (position >= start) & (position < start + extent)
        shape = [batch_size, 1] + [1] * axes
        shape[2 + axis] = length
        inside = inside & hit.view(shape)
    return inside


def draw_mix(
    batch_size: int, spatial: Sequence[int], area: float, device: torch.device | str = "cpu"
) -> Mix:
    """Draw two independent permutations of the batch and a box per sample (PCLMix, dynamic mix).

    With probability 1/2 the box shows the first source, otherwise the second. A batch of one is
    mixed with itself, which changes nothing; in a batch of two the permutations agree, and change
    nothing, half of the time.
    """
    box = box_mask(batch_size, spatial, area, device)
    swap = torch.rand(batch_size, *[1] * (len(spatial) + 1), device=device) < 0.5
    # sorting random keys permutes on the device itself
    first, second = torch.rand(2, batch_size, device=device).argsort(1)
    return Mix(first, second, box ^ swap)
