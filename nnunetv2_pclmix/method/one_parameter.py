"""A module of many small weights, kept in one: for who handles each of them by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


@torch.compiler.assume_constant_result
def _has_autocast(device: str) -> bool:
    """Whether a kind of device has autocast; torch.compile of torch 2.11 cannot ask."""
    return torch.amp.is_autocast_available(device)


class OneParameter(nn.Module):
    """A module whose weights are views of a single parameter.

    The weights of small layers cost little arithmetic, but each is converted to half precision,
    its gradient converted back and added to that of the first pass, by a kernel of its own. Of one
    parameter all of this is done at once. The state dict has the module's own names.

    Args:
        module: its parameters move here; its buffers stay.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        parts = [
            (owner, f"{path}.{name}".lstrip("."), name)
            for path, owner in module.named_modules()
            for name in owner._parameters
            if owner._parameters[name] is not None
        ]
        # what autocast converts comes first, so that it is one piece; what may have an odd length
        # last, so that CUDA finds all else aligned
        kinds = (nn.Linear, nn.LayerNorm)
        parts.sort(key=lambda part: [not isinstance(part[0], kind) for kind in kinds])
        weights = [owner._parameters[name].detach() for owner, _, name in parts]
        for owner, _, name in parts:
            owner._parameters[name] = None
        self.names = [name for _, name, _ in parts]
        self.shapes = [weight.shape for weight in weights]
        self.sizes = [weight.numel() for weight in weights]
        self.linear_weights = sum(isinstance(owner, nn.Linear) for owner, _, _ in parts)
        self.module = module
        self.weights = nn.Parameter(torch.cat([weight.flatten() for weight in weights]))

    def forward(self, *args: Any) -> Any:
        """What the module returns."""
        return torch.func.functional_call(self.module, self._views(), args)

    def _views(self) -> dict[str, Tensor]:
        """The weights by name; those of linear layers as autocast wants them."""
        device = self.weights.device.type
        if not (_has_autocast(device) and torch.is_autocast_enabled(device)):
            return self._named(self.weights.split(self.sizes))
        ours, theirs = self.sizes[: self.linear_weights], self.sizes[self.linear_weights :]
        linear, *others = self.weights.split([sum(ours), *theirs])
        linear = linear.to(torch.get_autocast_dtype(device))
        return self._named([*linear.split(ours), *others])

    def _named(self, pieces: Sequence[Tensor]) -> dict[str, Tensor]:
        named = zip(self.names, pieces, self.shapes, strict=True)
        return {name: piece.view(shape) for name, piece, shape in named}

    def _kept(self) -> dict[str, Tensor]:
        """The weights by name, in the memory where they are kept."""
        return self._named(self.weights.detach().split(self.sizes))

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        destination.update({prefix + name: weight for name, weight in self._kept().items()})

    def _load_from_state_dict(
        self, state: dict, prefix: str, metadata: dict, strict: bool, *problems: list[str]
    ) -> None:
        missing, unexpected, errors = problems
        kept = {prefix + name: weight for name, weight in self._kept().items()}
        unexpected += [name for name in state if name.startswith(prefix) and name not in kept]
        for name, weight in kept.items():
            if name not in state:
                missing.append(name)
            elif state[name].shape != weight.shape:
                shapes = [tuple(x.shape) for x in (state[name], weight)]
                errors.append(f"size mismatch for {name}: {shapes[0]} instead of {shapes[1]}")
            else:
                weight.copy_(state[name])
