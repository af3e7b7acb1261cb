"""Optimiser states of earlier versions, which had the auxiliary decoder's weights one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_pclmix.training.distributed import bare

DECODER = "auxiliary_decoder"


def accept_separate_weights(
    optimizer: torch.optim.Optimizer, network: nn.Module, saved: Mapping[str, Tensor]
) -> None:
    """Let the optimiser load a state of before `OneParameter`, too.

    Args:
        network: whose parameters the optimiser has, in their order.
        saved: `PCLMixNetwork.training_only_state` of the checkpoint; its names are in the order in
            which the optimiser had the weights.
    """
    decoder = bare(network).auxiliary_decoder
    if decoder is None:
        return
    prefix = f"{DECODER}."
    before = [name.removeprefix(prefix) for name in saved if name.startswith(prefix)]
    ours = list(network.parameters())
    first = next(i for i, parameter in enumerate(ours) if parameter is decoder.weights)

    def join(_: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any] | None:
        groups = state["param_groups"]
        if len(groups) != 1 or len(groups[0]["params"]) != len(ours) - 1 + len(before):
            return None
        of = state["state"]
        parts = [of.get(first + before.index(name)) for name in decoder.names]
        joined = {i: value for i, value in of.items() if i < first}
        if all(parts):
            joined[first] = {key: _joined([part[key] for part in parts]) for key in parts[0]}
        after = {i - len(before) + 1: v for i, v in of.items() if i >= first + len(before)}
        group = {**groups[0], "params": list(range(len(ours)))}
        return {**state, "state": joined | after, "param_groups": [group]}

    optimizer.register_load_state_dict_pre_hook(join)


def _joined(values: list[Any]) -> Any:
    """One value for all weights: of tensors of their shapes one behind the other, else the same."""
    if isinstance(values[0], Tensor) and values[0].ndim:
        return torch.cat([value.flatten() for value in values])
    return values[0]
