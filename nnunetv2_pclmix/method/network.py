"""nnU-Net's network with the parts that PCLMix adds for training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.auxiliary_decoder import AuxiliaryDecoder
from nnunetv2_pclmix.method.one_parameter import OneParameter
from nnunetv2_pclmix.method.pixel_embedding import EmbeddingHead, PixelEmbedding

SUPPORTED_ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet")


class TrainingOutput(NamedTuple):
    """What the network returns in training mode.

    Attributes:
        main: logits of D_c, full resolution first, one (B, K, *spatial) per deep supervision level.
        auxiliary: logits of D_t, (B, K, *spatial), or None without auxiliary decoder.
        embedding: of pixels, or None without contrast, and until `PCLMixNetwork.embedded`.
        feature: of the encoder (B, C, *coarse), which is embedded; None where nothing is.
    """

    main: list[Tensor]
    auxiliary: Tensor | None
    embedding: PixelEmbedding | None = None
    feature: Tensor | None = None


def no_view(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The output of an instance norm as a tensor of its own; a forward hook.

    Torch returns a view of what it has computed. An activation in place on a view makes autograd
    copy the gradient twice on its way back, a quarter of all bytes that a step without
    torch.compile moves. The result is the same bit for bit, and nothing else holds the memory.
    """
    return torch.ops.aten._unsafe_view(output, output.shape)


class PCLMixNetwork(nn.Module):
    """A stock U-Net (encoder E, main decoder D_c) plus auxiliary decoder D_t and embedding head.

    In training mode it returns a `TrainingOutput`, in evaluation mode just what the stock network
    returns. ``state_dict`` holds the stock network alone, under the stock names, and
    ``load_state_dict`` expects no more: to nnU-Net (checkpoints, pretrained weights, prediction)
    this is an ordinary network. `training_only_state` has the rest.

    Args:
        stock: network built by nnU-Net.
        patch_size: of the training patches, in voxels.
        num_classes: K.
        config: sizes of the added parts, and whether they exist.

    Raises:
        ValueError: the architecture is not one whose encoder features can be used.
    """

    TRAINING_ONLY = ("auxiliary_decoder", "embedding_head")

    def __init__(
        self,
        stock: nn.Module,
        patch_size: Sequence[int],
        num_classes: int,
        config: PCLMixConfig,
    ) -> None:
        super().__init__()
        name = type(stock).__name__
        if name not in SUPPORTED_ARCHITECTURES:
            raise ValueError(
                f"the plans build a {name}; PCLMix needs the stages of an encoder and supports "
                f"{' and '.join(SUPPORTED_ARCHITECTURES)}. Use other plans (-p)"
            )
        self.encoder, self.decoder = stock.encoder, stock.decoder
        for module in stock.modules():
            if isinstance(module, (nn.InstanceNorm2d, nn.InstanceNorm3d)):
                module.register_forward_hook(no_view)
        channels = list(stock.encoder.output_channels)
        strides = [
            [s] * len(patch_size) if isinstance(s, int) else list(s) for s in stock.encoder.strides
        ]
        self.auxiliary_decoder = self.embedding_head = None
        if config.auxiliary_decoder:
            decoder = AuxiliaryDecoder(
                channels,
                strides,
                patch_size,
                num_classes,
                config.auxiliary_stride,
                config.auxiliary_levels,
                config.auxiliary_max_width,
                config.auxiliary_window,
            )
            self.auxiliary_decoder = OneParameter(decoder)
        if config.contrast:
            largest = [math.prod(max(s) for s in strides[: i + 1]) for i in range(len(strides))]
            coarse = [i for i, s in enumerate(largest) if s >= config.embedding_stride]
            self.embedding_stage = coarse[0] if coarse else len(strides) - 1
            head = EmbeddingHead(channels[self.embedding_stage], config.embedding_dim)
            self.embedding_head = OneParameter(head)

    def forward(self, x: Tensor) -> TrainingOutput | list[Tensor] | Tensor:
        """(B, C, *patch_size) to a `TrainingOutput`, or in evaluation to the main logits."""
        skips = self.encoder(x)
        main = self.decoder(skips)
        if not self.training:
            return main
        return TrainingOutput(
            main if isinstance(main, (list, tuple)) else [main],
            self.auxiliary_decoder(skips) if self.auxiliary_decoder is not None else None,
            feature=skips[self.embedding_stage] if self.embedding_head is not None else None,
        )

    def embedded(self, output: TrainingOutput) -> TrainingOutput:
        """The output with its embedding, which only the first of two passes has a use for."""
        if self.embedding_head is None:
            return output
        # no `_replace`: compiled by torch 2.11 it returns an empty tuple, without a word
        return TrainingOutput(output.main, output.auxiliary, self.embedding_head(output.feature))

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The stock network's state, without the parts that exist for training only."""
        state = super().state_dict(*args, **kwargs)
        added = tuple(f"{kwargs.get('prefix', '')}{name}." for name in self.TRAINING_ONLY)
        for key in [key for key in state if key.startswith(added)]:
            del state[key]
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load the stock network's state; the parts for training only keep theirs."""
        return super().load_state_dict(
            {**self.training_only_state(), **state_dict}, strict=strict, assign=assign
        )

    def training_only_state(self) -> dict[str, Tensor]:
        """State of auxiliary decoder and embedding head, under their names here."""
        return {
            f"{name}.{key}": value
            for name in self.TRAINING_ONLY
            if (module := getattr(self, name)) is not None
            for key, value in module.state_dict().items()
        }

    def load_training_only_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `training_only_state` gave.

        Raises:
            RuntimeError: the state belongs to other settings (torch names the keys).
        """
        for name in self.TRAINING_ONLY:
            if (module := getattr(self, name)) is not None:
                prefix = f"{name}."
                module.load_state_dict(
                    {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
                )
