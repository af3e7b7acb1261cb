"""Class-wise memory queue of pixel embeddings for the contrastive loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunetv2_pclmix.method.global_mean import gather_batch, world_size


def gathered(regions: tuple[Tensor, Tensor], largest: int) -> tuple[Tensor, Tensor]:
    """`PixelEmbedding.region_means` of all processes, by one exchange.

    Args:
        regions: of this process' images.
        largest: number of images that a process has, at most.
    """
    if world_size() == 1:
        return regions
    means, present = regions
    both = gather_batch(torch.cat((means, present[..., None]), 2), largest)
    return both[..., :-1], both[..., -1] > 0


class PixelMemory(nn.Module):
    """A ring of the latest ``size`` embeddings per class; starts empty.

    Attributes (buffers, so that they are saved, restored and moved with the module):
        entries: (K, size + 1, D); the last slot takes writes that have to go nowhere, which keeps
            shapes fixed and the device from being waited for.
        filled: (K,) number of valid entries, the first ``filled[k]`` ones.
        pointer: (K,) slot that is written next.

    Example:
        A ring of two entries forgets the first of three:

        >>> import torch
        >>> memory = PixelMemory(num_classes=1, size=2, dim=1)
        >>> for number in (1.0, 2.0, 3.0):
        ...     memory.enqueue(torch.tensor([[[number]]]), torch.tensor([[True]]))
        >>> entries, stored = memory.stored()
        >>> sorted(entries.flatten().tolist()), stored.tolist()
        ([2.0, 3.0], [[True, True]])
    """

    entries: Tensor
    filled: Tensor
    pointer: Tensor

    def __init__(self, num_classes: int, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("entries", torch.zeros(num_classes, size + 1, dim))
        self.register_buffer("filled", torch.zeros(num_classes, dtype=torch.long))
        self.register_buffer("pointer", torch.zeros(num_classes, dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, vectors: Tensor, present: Tensor) -> None:
        """Append (B, K, D) ``vectors`` to their classes' rings where (B, K) ``present`` is true.

        Samples enter in order; the oldest entries are replaced. When one call brings more than
        ``size`` vectors of a class, the last ``size`` of them stay. A vector that is not finite is
        left out: mixed precision skips the step that made it, but it would stay here for long.
        """
        present = present & (vectors.abs().amax(2) < torch.inf)  # NaN is not, either
        order = present.cumsum(0) - 1
        count = present.sum(0)
        kept = present & (order >= count - self.size)
        slot = torch.where(kept, (self.pointer + order) % self.size, self.size)
        row = torch.arange(len(count), device=slot.device) * (self.size + 1) + slot
        self.entries.flatten(0, 1).index_copy_(
            0, row.flatten(), vectors.flatten(0, 1).to(self.entries.dtype)
        )
        self.pointer.add_(count).remainder_(self.size)
        self.filled.add_(count).clamp_(max=self.size)

    def stored(self) -> tuple[Tensor, Tensor]:
        """Entries (K, size, D) and their validity (K, size)."""
        slots = torch.arange(self.size, device=self.filled.device)
        return self.entries[:, : self.size], slots < self.filled[:, None]
