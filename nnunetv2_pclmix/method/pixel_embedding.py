"""The pixel embedding of the contrast, made where it is asked for."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PixelEmbedding(NamedTuple):
    """L2-normalised embedding of each pixel of a feature map, in float32.

    It is several times as long as the feature, and has a gradient at the anchors alone. So what it
    is made of is kept: it is the normalised ``weight @ hidden + bias`` of a pixel.

    Attributes:
        hidden: (B, C, *coarse).
        weight: (D, C).
        bias: (D,).

    Example:
        Two pixels of class 0, one of class 1, none of class 2. Each embedding has length 1:

        >>> import torch
        >>> hidden = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 5.0]]])
        >>> embedding = PixelEmbedding(hidden, torch.eye(2), torch.zeros(2))
        >>> embedding.at(torch.tensor([2])).tolist()
        [[0.0, 1.0]]
        >>> means, present = embedding.region_means(torch.tensor([[0, 0, 1]]), num_classes=3)
        >>> means[0].tolist(), present[0].tolist()
        ([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [True, True, False])
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor

    def at(self, index: Tensor) -> Tensor:
        """(A, D) of the pixels (A,) among the flattened B * P."""
        hidden = self.hidden.flatten(2)
        image = torch.div(index, hidden.shape[2], rounding_mode="floor")
        picked = hidden[image, :, index % hidden.shape[2]].to(self.weight.dtype)
        return F.normalize(F.linear(picked, self.weight, self.bias), dim=1)

    def region_means(self, label: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        """Mean embedding of each class in each image; without gradient.

        Args:
            label: (B, P) class of each pixel; values outside 0..num_classes-1 belong to no class.

        Returns:
            (B, K, D) L2-normalised means, zero where the class is absent, and (B, K) bool presence.
        """
        with torch.no_grad():
            hidden, weight = self.hidden.flatten(2), self.weight.detach()
            member = label[:, None] == torch.arange(num_classes, device=label.device)[:, None]
            share = member / self._length()[:, None].clamp(min=1e-12)
            # the sum of what is projected is projected; the mean would point the same way
            total = F.linear(share @ hidden.to(share.dtype).mT, weight)
            total = total + share.sum(2, keepdim=True) * self.bias.detach()
            return F.normalize(total, dim=2), member.any(2)

    def _length(self) -> Tensor:
        """(B, P) of the embedding before it is normalised."""
        hidden = self.hidden.flatten(2)
        weight, bias = self.weight[..., None].to(hidden.dtype), self.bias.to(hidden.dtype)
        projected = F.conv1d(hidden, weight, bias)
        return torch.linalg.vector_norm(projected, dim=1, dtype=self.weight.dtype)


class EmbeddingHead(nn.Module):
    """1x1 conv, norm, ReLU, 1x1 conv, L2 normalisation (PCLMix, embedding head).

    The norm is GroupNorm with one group: unlike batch or instance norm it works for one sample and
    for a feature map of one voxel. The convolutions are over the flattened voxels, which serves 2D
    and 3D. The second is no `nn.Linear`: those `OneParameter` converts to half precision, but the
    contrast is computed in float32.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, channels)
        self.norm = nn.GroupNorm(1, channels)
        self.project = nn.Conv1d(channels, dim, 1)

    def forward(self, feature: Tensor) -> PixelEmbedding:
        """Of a feature (B, C, *coarse)."""
        x = F.conv1d(feature.flatten(2), self.reduce.weight[..., None], self.reduce.bias)
        # under autocast the norm may be computed in float32
        hidden = F.relu(self.norm(x), inplace=True).to(x.dtype).view_as(feature)
        return PixelEmbedding(hidden, self.project.weight[..., 0], self.project.bias)
