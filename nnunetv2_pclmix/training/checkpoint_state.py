"""What a checkpoint holds beside nnU-Net's own: plain data only, and enough to go on exactly."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor

from nnunetv2_pclmix import __version__
from nnunetv2_pclmix.config import DISPLAY_SETTINGS, PCLMixConfig
from nnunetv2_pclmix.training.distributed import bare
from nnunetv2_pclmix.training.step import TrainingStep
from nnunetv2_pclmix.watching.components import active_settings, components
from scribble_tools.dataset.provenance import package_versions

KEY = "pclmix"


def plain(value: Any) -> Any:
    """numpy scalars and arrays inside lists and dicts as Python's own numbers and lists."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(v) for v in value)
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of torch's generators: nnU-Net's augmentation workers have their own, unseeded."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Put the generators back into a state of `random_state`, as far as it knows this device."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def state_to_continue(
    checkpoint: Mapping[str, Any],
    filename: str,
    trainer_name: str,
    settings: Mapping[str, Any],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Our part of a checkpoint, if a training with these settings can go on from it.

    Raises:
        RuntimeError: the checkpoint is another trainer's, has other settings, or was begun before
            trainers were renamed.
    """
    state = checkpoint.get(KEY)
    if state is None:
        raise RuntimeError(
            f"{filename} was not written by {trainer_name}, so it cannot "
            "be continued with it. To start from its weights use -pretrained_weights"
        )
    ours = {name: value for name, value in settings.items() if name not in DISPLAY_SETTINGS}
    theirs = state["config"]
    if (name := renamed(state["trainer_name"], theirs)) is not None:
        raise RuntimeError(
            f"{filename} was begun by {state['trainer_name']} of an earlier version of this "
            f"package. What it trains is now called {name}: begin anew with -tr {name}, or "
            "continue with that version. Prediction with the model goes on as it is"
        )
    if added := sorted(ours.keys() - theirs.keys()):
        tell(f"settings that the checkpoint does not know: {added}")
    if changed := [k for k in ours if k in theirs and theirs[k] != ours[k]]:
        raise RuntimeError(
            f"{filename} was trained by {state['trainer_name']} with other "
            "settings than these: "
            + ", ".join(f"{k} = {theirs[k]}, now {ours[k]}" for k in changed)
            + ". Continue with the trainer and version that began it"
        )
    return state


def load_to_validate(
    trainer: nnUNetTrainer, checkpoint: Mapping[str, Any], refusal: RuntimeError
) -> None:
    """Load what a validation needs of a finished training that cannot go on, and say so.

    Raises:
        RuntimeError: ``refusal``, where the training is not finished, or not one of ours.
    """
    if KEY not in checkpoint:
        raise refusal
    epochs = max(checkpoint["current_epoch"], trainer.current_epoch)
    if epochs < trainer.num_epochs:
        raise refusal
    trainer.print_to_log_file(f"WARNING: only its validation can be run. {refusal}")
    if not trainer.was_initialized:
        trainer.initialize()
    bare(trainer.network).load_state_dict(checkpoint["network_weights"])
    trainer.logger.load_checkpoint(checkpoint["logging"])
    trainer.current_epoch = epochs
    trainer.inference_allowed_mirroring_axes = checkpoint["inference_allowed_mirroring_axes"]


def renamed(trainer_name: str, config: dict) -> str | None:
    """Today's name of the trainer that began a training before trainers were renamed, or None.

    Until then nnUNetTrainerPCLMix made one pass, and _whole was all of PCLMix.

    Args:
        trainer_name: as the checkpoint has it.
        config: its settings, which tell its age.
    """
    ours, length = "nnUNetTrainerPCLMix", trainer_name.removeprefix("nnUNetTrainerPCLMix")
    if not trainer_name.startswith(ours) or "auxiliary_levels" in config:
        return None
    if length == "_whole":
        return ours
    lengths = ("", "_5epochs", "_20epochs", "_100epochs", "_250epochs")
    return f"nnUNetTrainerStrokeSupport{length}" if length in lengths else trainer_name


def what_is_saved_by(save: Callable[[Any], None]) -> dict[str, Any]:
    """The checkpoint that nnU-Net's ``save_checkpoint`` writes, without a file.

    Args:
        save: takes the file to write to.
    """
    buffer = io.BytesIO()
    save(buffer)
    buffer.seek(0)
    return torch.load(buffer, map_location="cpu", weights_only=False)


def with_our_part(
    checkpoint: Mapping[str, Any],
    trainer_name: str,
    config: PCLMixConfig,
    defaults: PCLMixConfig,
    step: TrainingStep,
    progress: Mapping[str, int],
) -> dict[str, Any]:
    """nnU-Net's checkpoint as plain data that names the stock trainer, with what we need to go on.

    Args:
        checkpoint: whatever nnU-Net puts into one, now or later; it stays.
        defaults: settings of the trainer without a suffix, of which the report tells others.
        progress: ``iteration`` and ``num_epochs``.
    """
    memory = step.memory
    return {
        **checkpoint,
        "trainer_name": nnUNetTrainer.__name__,
        "logging": plain(checkpoint["logging"]),
        "_best_ema": plain(checkpoint["_best_ema"]),
        KEY: {
            "trainer_name": trainer_name,
            "version": __version__,
            "versions": package_versions(),
            "config": asdict(config),
            "components": dict(zip(("on", "off"), components(config), strict=True)),
            "active_settings": active_settings(config),
            "defaults": asdict(defaults),
            **progress,
            "torch_seed": torch.initial_seed(),
            "random_state": random_state(step.device),
            "network": bare(step.network).training_only_state(),
            "memory": None if memory is None else memory.state_dict(),
        },
    }


def restore(state: Mapping[str, Any], step: TrainingStep, first_process: bool) -> None:
    """Put a step's network, memory and random numbers back to where our part of a checkpoint was.

    Args:
        first_process: the random numbers are those of rank 0; others draw on from their own seeds.

    Raises:
        RuntimeError: the parts for training only are built otherwise than in the checkpoint.
    """
    try:
        bare(step.network).load_training_only_state(state["network"])
    except RuntimeError as error:
        raise RuntimeError(
            "the checkpoint's auxiliary decoder or embedding head is built otherwise than this "
            "version's. Continue with the version that began the training, or start anew from its "
            "weights with -pretrained_weights. Prediction with the model goes on as it is"
        ) from error
    if step.memory is not None:
        step.memory.load_state_dict(state["memory"])
    if "random_state" in state and first_process:
        restore_random_state(state["random_state"], step.device)
