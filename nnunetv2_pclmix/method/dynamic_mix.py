"""Dynamic mix augmentation: images, scribbles and predictions of a batch mixed by random boxes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """What is mixed with what; drawn by `draw_mix`.

    Attributes:
        second: (B,) index of each mixed sample's second source among those to mix. The first
            source is the sample of the mixed one's own number.
        from_first: (B, 1, *spatial) true where the mixed sample shows its first source.
    """

    second: Tensor
    from_first: Tensor

    def __call__(self, one: Tensor, two: Tensor | None = None) -> Tensor:
        """Mix (N, C, *spatial) tensors: ``one`` of the first source, ``two`` of the second.

        Without ``two`` both sources are read from ``one``. Nothing is interpolated, so labels stay
        labels, and the argmax of a mixed soft prediction is the mixed argmax.
        """
        two = one if two is None else two
        return torch.where(self.from_first, one[: len(self.second)], two[self.second])


def box_mask(
    batch_size: int, spatial: Sequence[int], area: float, device: torch.device | str = "cpu"
) -> Tensor:
    """Random boxes, one per sample: (B, 1, *spatial) bool, true inside.

    Each box lies inside the image and covers the share ``area`` of it up to rounding to voxels. Its
    aspect is random: the extents, as fractions of the image's, are ``area ** w`` with w uniform on
    the simplex (in 2D: w and 1 - w), so that their product is ``area`` for any number of axes.

    Example:
        A box that covers a quarter of an image of 8 x 8, up to rounding:

        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> mask = box_mask(1, (8, 8), area=0.25)
        >>> mask.shape, bool(8 <= mask.sum() <= 24)
        (torch.Size([1, 1, 8, 8]), True)
    """
    axes = len(spatial)
    # exponential variates, normalised, are uniform on the simplex
    w = torch.empty(batch_size, axes, device=device).exponential_()
    fraction = area ** (w / w.sum(1, keepdim=True))
    place = torch.rand(batch_size, axes, device=device)
    # filled on the device, which copying numbers there would wait for
    length = torch.cat([w.new_full((1,), n) for n in spatial])
    extent = (fraction * length).round().clamp(min=1)
    start = (place * (length - extent + 1)).floor()
    end = start + extent
    position = torch.arange(max(spatial), device=device)
    within = (position >= start[..., None]) & (position < end[..., None])  # (B, axes, longest)
    hits = [
        within[:, axis, :n].view(batch_size, 1, *[n if a == axis else 1 for a in range(axes)])
        for axis, n in enumerate(spatial)
    ]
    return functools.reduce(torch.logical_and, hits)


def draw_mix(
    batch_size: int,
    spatial: Sequence[int],
    area: float,
    device: torch.device | str = "cpu",
    with_previous: bool = False,
) -> Mix:
    """Draw a second source and a box for every sample (PCLMix, dynamic mix).

    With probability 1/2 the box shows the first source, the sample itself, otherwise the second.
    That is the sample a random number of places further on, the same number for the whole batch:
    each sample is a second source once, of any other with the same probability, and never its own.
    The paper's two independent permutations leave a sample alone with probability 1/B, which is
    half of a batch of two, nnU-Net's usual one in 3D.

    Args:
        with_previous: what is mixed holds 2 B samples, of which the second half is the previous
            iteration's batch; every sample is mixed with one of those. For batches of one.

    Example:
        What is drawn mixes images and labels alike:

        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> images = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, 8, 8)
        >>> mix = draw_mix(2, (8, 8), area=0.2)
        >>> mixed = mix(images)
        >>> mixed.shape, mixed[0].unique().tolist()
        (torch.Size([2, 1, 8, 8]), [0.0, 1.0])
        >>> bool(torch.equal(mix(10 * images), 10 * mixed))
        True
    """
    box = box_mask(batch_size, spatial, area, device)
    swap = torch.rand(batch_size, *[1] * (len(spatial) + 1), device=device) < 0.5
    order = torch.arange(batch_size, device=device)
    if with_previous:
        return Mix(batch_size + order, box ^ swap)
    shift = torch.randint(1, max(batch_size, 2), (1,), device=device)
    return Mix((order + shift) % batch_size, box ^ swap)


class PreviousBatch:
    """Keeps the latest batch's tensors as partners for a batch of one.

    Called with an iteration's tensors, each (B, ...), it returns them with those of the previous
    call appended, (2 B, ...). The first call appends the tensors themselves, so that shapes never
    change.
    """

    def __init__(self) -> None:
        self.tensors: list[Tensor] | None = None

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Append the previous call's tensors and remember these."""
        current = [tensor.detach() for tensor in tensors]
        previous = current if self.tensors is None else self.tensors
        self.tensors = current
        return [torch.cat(pair) for pair in zip(current, previous, strict=True)]
