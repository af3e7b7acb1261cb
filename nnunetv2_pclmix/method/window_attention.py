"""Windowed self-attention blocks (Swin Transformer, Liu et al., ICCV 2021) in 2D and 3D.

Own code rather than MONAI's Swin blocks: those took 1.1 to 1.4 times as long side by side on a CPU
(benchmarks/window_attention.py), and MONAI would be a large dependency for one block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ALIGNED = 16


def balanced_window(size: int, largest: int) -> int:
    """Window length of at most ``largest`` that tiles ``size`` with the least padding."""
    return math.ceil(size / math.ceil(size / largest))


class PositionBias(nn.Module):
    """Relative position biases of several attentions, looked up together: one after the other they
    were a tenth of the operations of a small network's step.

    Args:
        windows: of each attention, in tokens per axis.
        heads: of each attention.
    """

    index: Tensor

    def __init__(self, windows: Sequence[Sequence[int]], heads: Sequence[int]) -> None:
        super().__init__()
        self.shapes, indices, begin = [], [], 0
        for window, number in zip(windows, heads, strict=True):
            span = [2 * w - 1 for w in window]
            position = torch.tensor(list(product(*map(range, window))))  # (N, axes)
            offset = position[:, None] - position[None] + torch.tensor(window) - 1
            stride = torch.tensor([math.prod(span[i + 1 :]) for i in range(len(span))])
            tokens = len(position)
            # a GPU's attention wants rows that begin at multiples of so many, or copies them
            index = F.pad((offset * stride).sum(-1), [0, -tokens % ALIGNED])
            table = begin + torch.arange(number)[:, None, None] * math.prod(span)
            indices.append((table + index).flatten())
            self.shapes.append((number, *index.shape))
            begin += number * math.prod(span)
        self.table = nn.Parameter(torch.zeros(begin))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.register_buffer("index", torch.cat(indices), persistent=False)

    def forward(self, dtype: torch.dtype) -> list[Tensor]:
        """(1, heads, N, N) of each attention, for queries of this type."""
        looked_up = self.table[self.index].to(dtype).split([math.prod(s) for s in self.shapes])
        return [
            bias.view(1, *shape)[..., : shape[1]]
            for bias, shape in zip(looked_up, self.shapes, strict=True)
        ]


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows; the position bias comes from outside.

    A shifted block moves the grid of windows by half a window. Where windows stick out of the
    feature map, keys and values are zero: a query that looks there gets nothing back. Swin rolls
    the map instead and masks what does not belong together; here no mask is needed.

    Args:
        dim: channels.
        heads: attention heads; must divide ``dim``.
        size: spatial size of the feature map.
        largest_window: per axis.
        shifted: whether the grid of windows is shifted.
    """

    def __init__(
        self, dim: int, heads: int, size: Sequence[int], largest_window: int, shifted: bool
    ) -> None:
        super().__init__()
        self.heads = heads
        self.window = tuple(balanced_window(s, largest_window) for s in size)
        # one window over the whole axis has nothing to shift to
        shift = [w // 2 if shifted and w < s else 0 for w, s in zip(self.window, size, strict=True)]
        padding = [(-(s + f)) % w for s, f, w in zip(size, shift, self.window, strict=True)]
        self.before = tuple(shift)
        self.padded = tuple(s + f + p for s, f, p in zip(size, shift, padding, strict=True))
        # F.pad counts from the last axis, which holds the channels
        self.padding = [0, 0]
        for f, p in zip(reversed(shift), reversed(padding), strict=True):
            self.padding += [f, p]
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, *size, C) to the same shape; the bias is (1, heads, N, N) of `PositionBias`."""
        axes, channels = x.ndim - 2, x.shape[-1]
        qkv = self.qkv(x)
        if any(self.padding):
            qkv = F.pad(qkv, self.padding)
        grid = [n for p, w in zip(self.padded, self.window, strict=True) for n in (p // w, w)]
        counts, inner = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
        # (B, n1, w1, n2, w2, ..., 3, heads, d) to (3, B * windows, heads, N, d)
        qkv = qkv.view(x.shape[0], *grid, 3, self.heads, channels // self.heads)
        qkv = qkv.permute(2 * axes + 1, 0, *counts, 2 * axes + 2, *inner, 2 * axes + 3)
        tokens = math.prod(self.window)
        q, k, v = qkv.reshape(3, -1, self.heads, tokens, channels // self.heads)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        y = y.reshape(x.shape[0], *grid[::2], self.heads, *self.window, -1)
        # back to (B, n1, w1, n2, w2, ..., heads, d)
        order = [i for a in range(axes) for i in (1 + a, 2 + axes + a)]
        y = y.permute(0, *order, 1 + axes, 2 + 2 * axes)
        y = y.reshape(x.shape[0], *self.padded, channels)
        if any(self.padding):
            y = F.pad(y, [-n for n in self.padding])
        return self.out(y)


class WindowBlock(nn.Module):
    """Pre-norm transformer block: window attention, then an MLP, both residual.

    The MLP is twice as wide as the tokens, not four times as in Swin: it is what costs most here.
    """

    def __init__(
        self, dim: int, heads: int, size: Sequence[int], largest_window: int, shifted: bool
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads, size, largest_window, shifted)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, *size, C) to the same shape; the bias is (1, heads, N, N) of `PositionBias`."""
        x = x + self.attention(self.norm_attention(x), bias)
        return x + self.mlp(self.norm_mlp(x))
