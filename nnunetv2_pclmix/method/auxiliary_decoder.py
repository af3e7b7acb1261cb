"""The heterogeneous auxiliary decoder D_t: window attention where the main decoder convolves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnunetv2_pclmix.method.window_attention import PositionBias, WindowBlock

HEAD_DIM = 32
# The authors' D_t attends from stride 4 on. A shallow network's finer levels only merge their skip:
# attention there read and wrote more than the whole network does, benchmarks/without_gpu.py.
FINEST_ATTENTION = 4


class PatchExpand(nn.Module):
    """Patch expanding: each token becomes a block of ``stride`` tokens of width ``out_dim``."""

    def __init__(self, in_dim: int, out_dim: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.stride = tuple(stride)
        self.expand = nn.Linear(in_dim, out_dim * math.prod(stride), bias=False)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *size, C_in) to (B, *(size * stride), C_out)."""
        batch, *size, _ = x.shape
        axes = len(size)
        y = self.expand(x).view(batch, *size, *self.stride, -1)
        order = [i for a in range(axes) for i in (1 + a, 1 + axes + a)]
        y = y.permute(0, *order, 1 + 2 * axes)
        return self.norm(
            y.reshape(batch, *[s * f for s, f in zip(size, self.stride, strict=True)], -1)
        )


class AuxiliaryDecoder(nn.Module):
    """Window-attention decoder over the encoder's features (PCLMix, section on the dual decoder).

    From the deepest feature up to the finest one of stride ``finest_stride`` or more, or further
    where those are fewer than ``least_levels``: linear embedding, a pair of window attention blocks
    (plain, shifted; above the deepest feature none finer than stride `FINEST_ATTENTION`), patch
    expanding to the next level, concatenation with its embedded skip feature. A norm, and a last
    patch expansion that makes the logits at full resolution out of each token at once: with nothing
    in between, expanding and classifying are one linear map, and no features of full resolution are
    needed. Works for any patch size, depth and strides that nnU-Net plans, 2D and 3D. Used in
    training only.

    Args:
        channels: of each encoder stage, finest first.
        strides: of each encoder stage, per axis, relative to the stage before.
        patch_size: of the network's input in voxels, divisible by the product of the strides.
        num_classes: K.
        finest_stride: encoder stages of a smaller largest stride are not looked at.
        least_levels: of the decoder, as far as the encoder has stages; goes before
            ``finest_stride``. With one there is no skip feature to merge.
        max_width: tokens have the encoder's channels, rounded down to whole heads, at most this;
            where there is no attention, one head.
        largest_window: in tokens per axis.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        patch_size: Sequence[int],
        num_classes: int,
        finest_stride: int = 4,
        least_levels: int = 1,
        max_width: int = 64,
        largest_window: int = 7,
    ) -> None:
        super().__init__()
        total = [
            [math.prod(s[a] for s in strides[: i + 1]) for a in range(len(patch_size))]
            for i in range(len(strides))
        ]
        fine_enough = [i for i, stride in enumerate(total) if max(stride) >= finest_stride]
        self.finest = fine_enough[0] if fine_enough else len(total) - 1
        self.finest = max(0, min(self.finest, len(total) - least_levels))
        attends = [max(stride) >= FINEST_ATTENTION for stride in total[self.finest :]]
        attends[-1] = True
        widths = [
            max(HEAD_DIM, min(c, max_width) // HEAD_DIM * HEAD_DIM) if attention else HEAD_DIM
            for c, attention in zip(channels[self.finest :], attends, strict=True)
        ]
        sizes = [
            [p // f for p, f in zip(patch_size, stride, strict=True)]
            for stride in total[self.finest :]
        ]
        between = strides[self.finest + 1 :]

        pairs = [(False, True) if attention else () for attention in attends]
        self.embed = nn.ModuleList(
            nn.Sequential(nn.Linear(c, w), nn.LayerNorm(w))
            for c, w in zip(channels[self.finest :], widths, strict=True)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(WindowBlock(w, w // HEAD_DIM, size, largest_window, s) for s in shifts)
            for w, size, shifts in zip(widths, sizes, pairs, strict=True)
        )
        attentions = [block.attention for level in reversed(self.blocks) for block in level]
        self.position_bias = PositionBias(
            [attention.window for attention in attentions],
            [attention.heads for attention in attentions],
        )
        self.expand = nn.ModuleList(
            PatchExpand(widths[i + 1], widths[i], stride) for i, stride in enumerate(between)
        )
        self.merge = nn.ModuleList(nn.Linear(2 * w, w) for w in widths[:-1])
        self.full_stride = total[self.finest]
        self.norm = nn.LayerNorm(widths[0])
        self.to_logits = nn.Linear(widths[0], num_classes * math.prod(self.full_stride))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, skips: Sequence[Tensor]) -> Tensor:
        """Logits (B, K, *patch_size) from the encoder's features (B, C, *size), finest first."""
        tokens = [
            # without the copy, which is made in any case, the linear map's bias is added by itself
            embed(skip.movedim(1, -1).contiguous())
            for embed, skip in zip(self.embed, skips[self.finest :], strict=True)
        ]
        # mostly the type that autocast computes in; of another it would make a copy
        biases = iter(self.position_bias(skips[-1].dtype))
        x = tokens[-1]
        for level in reversed(range(len(tokens))):
            if level < len(tokens) - 1:
                x = self.merge[level](torch.cat((self.expand[level](x), tokens[level]), -1))
            for block in self.blocks[level]:
                x = block(x, next(biases))
        batch, *size, _ = x.shape
        axes = len(size)
        logits = self.to_logits(self.norm(x)).view(batch, *size, -1, *self.full_stride)
        order = [i for a in range(axes) for i in (1 + a, 2 + axes + a)]
        logits = logits.permute(0, 1 + axes, *order)
        return logits.reshape(
            batch, -1, *[s * f for s, f in zip(size, self.full_stride, strict=True)]
        )
