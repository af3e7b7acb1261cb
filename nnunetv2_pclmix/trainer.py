"""nnUNetTrainerPCLMix: nnU-Net's trainer with the PCLMix method for scribble annotations."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from nnunetv2.configuration import default_num_processes
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.collate_outputs import collate_outputs
from torch import Tensor, autocast, nn

from nnunetv2_pclmix import __version__
from nnunetv2_pclmix.config import COMPLETE
from nnunetv2_pclmix.method.dynamic_mix import PreviousBatch, draw_mix
from nnunetv2_pclmix.method.global_mean import world_size
from nnunetv2_pclmix.method.label_encoding import class_names, label_encoding
from nnunetv2_pclmix.method.network import PCLMixNetwork, TrainingOutput
from nnunetv2_pclmix.method.objective import Objective, term_weights, weighted_sum
from nnunetv2_pclmix.method.pixel_memory import PixelMemory, gathered
from nnunetv2_pclmix.method.schedules import certainty_threshold
from nnunetv2_pclmix.method.stroke_support import stroke_support
from nnunetv2_pclmix.training.check_annotations import check_annotations
from nnunetv2_pclmix.training.checkpoint_files import (
    SavedEpochs,
    read_plain,
    remove_half_written,
    remove_leftovers,
    save_whole,
    set_aside,
)
from nnunetv2_pclmix.training.checkpoint_state import (
    KEY,
    plain,
    random_state,
    restore_random_state,
    state_to_continue,
)
from nnunetv2_pclmix.training.dense_validation import DENSE_LABELS, score_validation
from nnunetv2_pclmix.training.distributed import (
    bare,
    first_process_first,
    mean_over_processes,
    own_device,
    wrap,
)
from nnunetv2_pclmix.training.finite_watch import REMEDY, FiniteWatch
from nnunetv2_pclmix.training.patch_sampling import ANNOTATED_OUTSIDE, PatchesAnywhere
from nnunetv2_pclmix.training.requirements import unsupported
from nnunetv2_pclmix.training.session import (
    VALIDATE_AGAIN,
    FolderGuard,
    finish_workers,
    one_last_message,
)
from nnunetv2_pclmix.training.worker_end import EndsWithParent
from nnunetv2_pclmix.watching.clock import TrainingClock
from nnunetv2_pclmix.watching.components import active_settings, components, describe
from nnunetv2_pclmix.watching.early_warnings import find_warnings
from nnunetv2_pclmix.watching.epoch_text import epoch_lines
from nnunetv2_pclmix.watching.memory_use import peak_gb
from nnunetv2_pclmix.watching.pictures import TrainingPictures
from nnunetv2_pclmix.watching.step_diagnostics import (
    CLIPPED_NORM,
    StepDiagnostics,
    gradient_counts,
    series_names,
)
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.parallel import children_without_ctrl_c


class nnUNetTrainerPCLMix(nnUNetTrainer):
    """Train on scribbles; predict with stock nnU-Net.

    Patch, batch, network depth, augmentation, optimiser and learning rate are nnU-Net's own. Each
    iteration makes two passes through the network (PCLMix, arXiv 2405.06288): on the batch, and on
    the batch mixed with itself. To the paper's terms we add Dice, and the background that strokes
    imply. Checkpoints hold the stock network under its stock names and name the stock trainer, so
    that nnU-Net predicts with them where this package is not installed; what training needs beyond
    that lies under the key ``pclmix``.

    Subclasses change ``config`` and ``epochs``; see `nnunetv2_pclmix.variants`.
    """

    config = COMPLETE
    epochs: int | None = None
    """Length of the training; None is nnU-Net's own."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's signature)
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.is_ddp:
            # nnU-Net's own choice is wrong on a second machine, and on a CPU
            self.device = own_device(device)
            self.grad_scaler = self.grad_scaler if device.type == "cuda" else None
        if self.epochs is not None:
            self.num_epochs = self.epochs
        self.folder_guard = FolderGuard(Path(self.output_folder))
        self.saved = SavedEpochs(self.save_every)
        self.iteration = 0
        self._previous_batch = PreviousBatch()
        self._finite = FiniteWatch()
        self._term_names = list(term_weights(self.config, 0.0))
        names = self._term_names + [f"weight_{name}" for name in self._term_names]
        self._series_names = [*names, *series_names(self.config)]
        self._announce_series()

    def _announce_series(self) -> None:
        """nnU-Net's logger wants every series announced, with one value per epoch.

        That is NaN for epochs that were trained by a version that did not log it.
        """
        for name in self._series_names:
            series = self.logger.local_logger.my_fantastic_logging
            series.setdefault(f"pclmix_{name}", [math.nan] * self.current_epoch)

    # ---------------------------------------------------------------- set-up

    def initialize(self) -> None:
        """Build network, optimiser, objective and memory.

        Raises:
            RuntimeError: the data set, configuration or number of processes is not supported, or
                there is no GPU where one was asked for.
            ValueError: the plans' architecture is not supported.
        """
        self._refuse_unsupported()
        # nnU-Net builds the network through this name: on the instance for training, on the class
        # for prediction. Only training gets the auxiliary parts. Between network and loss nnU-Net
        # wraps for DDP, which these two do instead, whatever a subclass overrides.
        self.build_network_architecture = self._build_training_network
        self._build_loss = self._wrap_and_build_loss
        super().initialize()
        # nnU-Net's own loss stays in use for validation, so that its numbers compare with the
        # stock trainer's; its deep supervision weights are used here as they are
        single = not self.enable_deep_supervision
        levels = [1.0] if single else self.loss.weight_factors
        if not np.isfinite(levels).all():
            raise RuntimeError(
                f"the plans have {len(levels) + 1} stages, of which nnU-Net's deep supervision "
                "makes no finite loss: use plans with at least 3"
            )
        dice = (self.loss if single else self.loss.loss).dc
        labels = label_encoding(self.label_manager)
        self.objective = Objective(self.config, labels, levels, dice)
        self.memory = None
        if self.config.contrast:
            size = self.config.memory_per_class(labels.num_classes)
            self.memory = PixelMemory(labels.num_classes, size, self.config.embedding_dim)
            self.memory.to(self.device)
        self.diagnostics = StepDiagnostics(self.config, labels)
        self._stroke_support, self._embedded = stroke_support, self._bare_network.embedded
        if self._do_i_compile():
            self.objective.compile()
            self._embedded = torch.compile(self._embedded, dynamic=False)
            if not self.is_ddp:  # several processes exchange sums in it, where a graph would break
                self._stroke_support = torch.compile(stroke_support, dynamic=False)
        self.class_names = class_names(self.label_manager)
        self.pictures = TrainingPictures(
            Path(self.output_folder),
            labels,
            self.class_names,
            self.configuration_manager.spacing,
            self.print_to_log_file,
        )

    def _refuse_unsupported(self) -> None:
        problems = unsupported(
            self.dataset_json["labels"],
            self.label_manager.has_ignore_label,
            self.device,
            self.configuration_manager.batch_size,
            self.configuration_manager.batch_dice,
        )
        if problems:
            raise RuntimeError(
                f"{type(self).__name__} cannot train {self.plans_manager.dataset_name}:\n- "
                + "\n- ".join(problems)
            )

    def _wrap_and_build_loss(self) -> nn.Module:
        """The class' own loss, after wrapping the network for DDP with the device that it is on."""
        self.is_ddp = self._distributed
        if self.is_ddp:
            self.network = wrap(self.network, self.device)
        return type(self)._build_loss(self)

    def _build_training_network(
        self,
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        self._distributed, self.is_ddp = self.is_ddp, False  # until `_wrap_and_build_loss`
        stock = type(self).build_network_architecture(
            plans_manager,
            configuration_manager,
            num_input_channels,
            num_output_channels,
            enable_deep_supervision,
        )
        return PCLMixNetwork(
            stock, configuration_manager.patch_size, num_output_channels, self.config
        )

    def on_train_start(self) -> None:
        """Check the annotations of the training cases before anything long begins.

        Raises:
            RuntimeError: a class, or the background, is annotated nowhere.
        """
        for line in describe(type(self).__name__, __version__, self.config):
            self.print_to_log_file(line)
        if not self.was_initialized:
            self.initialize()
        if self.local_rank == 0 and self.current_epoch == 0 and not self.disable_checkpointing:
            # before anything that takes long: --c after a kill would go on with the earlier one
            set_aside(Path(self.output_folder), self.print_to_log_file, [Path(self.log_file)])
        # one process writes the splits where there are none: another would read half a file
        with first_process_first(self.is_ddp, self.local_rank):
            train_cases, _ = self.do_split()
        labels = self.dataset_json["labels"]
        check_annotations(self.dataset_class, self.preprocessed_dataset_folder, train_cases, labels)
        super().on_train_start()
        if self.local_rank != 0:
            # other draws than the first process', whose random state is the one that is saved
            torch.manual_seed(torch.initial_seed() + self.local_rank + 1000 * self.current_epoch)
        self.print_to_log_file(
            f"random seed of torch: {torch.initial_seed()}. The pseudo Dice and validation Dice "
            "that nnU-Net prints are computed on annotated voxels only"
        )

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's, whose processes leave Ctrl-C to this one."""
        with children_without_ctrl_c():
            return super().get_dataloaders()

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """nnU-Net's data sets; some training patches lie anywhere, see `PatchesAnywhere`."""
        training, validation = map(EndsWithParent, super().get_tr_and_val_datasets())
        annotated = (-1, *self.label_manager.all_labels)  # the key of nnU-Net's data loader
        patch_size = self.configuration_manager.patch_size
        share = self.config.patches_anywhere
        return PatchesAnywhere(training, annotated, patch_size, share), validation

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> ComposeTransforms:
        """nnU-Net's augmentation, in which what it pads (-1) becomes ignored.

        nnU-Net makes it background: right for dense labels, but with scribbles it would be most of
        what is annotated in a batch, and would outweigh the strokes in the partial cross-entropy.
        """
        transforms = super().get_training_transforms(*args, **kwargs)
        steps = transforms.transforms
        at = next(i for i, step in enumerate(steps) if isinstance(step, RemoveLabelTansform))
        if self.config.ignore_padding:
            steps[at].set_to = self.label_manager.ignore_label
        steps.insert(at, RemoveLabelTansform(ANNOTATED_OUTSIDE, 0))
        return transforms

    # ---------------------------------------------------------------- training

    def run_training(self) -> None:
        """nnU-Net's, in a folder that no other training uses meanwhile.

        Raises:
            SystemExit: after a message, when it was stopped, the disk is full or the folder in use.
        """
        with self._one_at_a_time(self.saved.in_words):
            if self.local_rank == 0:
                remove_half_written(Path(self.output_folder))
            super().run_training()

    @contextlib.contextmanager
    def _one_at_a_time(self, what_was_saved: Callable[[], str]) -> Iterator[None]:
        first = self.local_rank == 0
        say = self.print_to_log_file if first else lambda message: None

        def clear_up() -> None:
            finish_workers(self.dataloader_train, self.dataloader_val)

        with one_last_message(say, what_was_saved, clear_up):
            with self.folder_guard.held() if first else contextlib.nullcontext():
                yield

    @property
    def _largest_share(self) -> int:
        """Samples that a process has of nnU-Net's batch; without batch Dice it can be one less."""
        return -(-self.configuration_manager.batch_size // world_size())

    @property
    def progress(self) -> float:
        """Fraction of the planned iterations that are done."""
        return self.iteration / max(1, self.num_epochs * self.num_iterations_per_epoch)

    @functools.cached_property
    def clock(self) -> TrainingClock:
        """Says how long it takes; made when the first epoch begins, with its final length."""
        lengths = (self.num_iterations_per_epoch, self.num_val_iterations_per_epoch)
        memory_gb = functools.partial(peak_gb, self.device)
        return TrainingClock(*lengths, self.num_epochs, self.print_to_log_file, memory_gb)

    @property
    def _is_drawn(self) -> bool:
        """Whether the samples of this iteration are drawn: the last one of some epochs."""
        epoch, every = self.current_epoch, self.config.snapshot_every
        if self.local_rank != 0 or every == 0:
            return False
        last = self.iteration + 1 == (epoch + 1) * self.num_iterations_per_epoch
        return last and (epoch % every == 0 or epoch == self.num_epochs - 1)

    def on_train_epoch_start(self) -> None:
        """Set the iteration, which the schedules follow, from nnU-Net's epoch counter."""
        super().on_train_epoch_start()
        self.iteration = self.current_epoch * self.num_iterations_per_epoch
        if self.local_rank == 0:
            self.clock.begin_epoch(self.current_epoch)

    def train_step(self, batch: dict) -> dict:
        """One iteration: a pass, with mix a second, each back-propagated on its own; one step."""
        data = batch["data"].to(self.device, non_blocking=True)
        targets = batch["target"]
        targets = targets if isinstance(targets, list) else [targets]
        targets = [t.to(self.device, non_blocking=True) for t in targets]
        progress = self.progress
        weights = term_weights(self.config, progress)
        mixing, drawn = self.config.dynamic_mix, self._is_drawn
        self.optimizer.zero_grad(set_to_none=True)

        # with DDP the gradients are exchanged once, in the last pass
        with self.network.no_sync() if self.is_ddp and mixing else contextlib.nullcontext():
            output = self._forward(data)
            encoding, support = self.objective.labels, None
            if self.config.stroke_support:
                support = self._stroke_support(encoding, output.main[0], targets[0])
            terms, queued = self.objective.first_pass(
                output, targets, self.memory, progress, support
            )
            self._backward(weighted_sum(terms, weights))
        threshold = certainty_threshold(progress, self.config.certainty_low)
        counts = self.diagnostics.measure(output, targets[0], threshold, self.memory, support)
        if drawn:
            certain = threshold if self.config.contrast else None
            self.pictures.take(data, targets[0], output, certain, batch.get("keys"), support)
        if queued is not None:
            # every process keeps the same memory, of the whole batch
            self.memory.enqueue(*gathered(queued, self._largest_share))
        if mixing:
            labels = self.objective.pseudo_labels(output, targets[0], support, progress)
            implied, trust = (None, 1.0) if support is None else (support.background, support.trust)
            del output, support  # the first pass' memory is free before the second pass begins
            mix, images, scribbles, labels, implied = self._mix(data, targets[0], labels, implied)
            mixed = self._forward(images, embed=False)
            mixed_terms = self.objective.second_pass(mixed, scribbles, labels, implied, trust)
            if drawn:
                used = labels if self.config.lambda_pseudo else None
                self.pictures.take_mixed(mix, images, scribbles, used)
            loss = weighted_sum(mixed_terms, weights)
            head = self._bare_network.embedding_head
            if self.is_ddp and head is not None:
                # the second pass has no use for it, but DDP waits for all gradients
                loss = loss + 0 * sum(parameter.sum() for parameter in head.parameters())
            self._backward(loss)
            terms |= mixed_terms

        counts = torch.cat((counts, gradient_counts(self._optimizer_step())))
        # one transfer, like the stock trainer's, however many values there are
        values = torch.stack([terms[name].detach() for name in self._term_names])
        values = torch.cat((values, counts)).cpu().numpy()
        values, counts = np.split(values, [len(self._term_names)])
        total = np.dot(values, [weights[name] for name in self._term_names])
        where = f"iteration {self.iteration} (epoch {self.current_epoch})"
        self._finite.see(total, dict(zip(self._term_names, values, strict=True)), where)
        if not self.is_ddp:  # several processes stop together, at the end of the epoch
            self._stop_for(self._finite.problem)
        self.iteration += 1
        if self.local_rank == 0:
            self.clock.iteration_done()
        return {"loss": np.asarray(total), "terms": values, "counts": counts}

    def _mix(
        self,
        data: Tensor,
        scribble: Tensor,
        labels: tuple[Tensor, Tensor],
        implied: Tensor | None,
    ) -> tuple:
        """Draw a mix, and mix images, scribbles, the decoders' labels and implied background.

        That is PCLMix, dynamic mix; what strokes imply of an image holds in each part of it.
        """
        sources, alone = [data, scribble, *labels], len(data) == 1
        sources += [] if implied is None else [implied]
        if alone:
            sources = self._previous_batch(sources)
        area = self.config.mix_area
        mix = draw_mix(len(data), data.shape[2:], area, self.device, with_previous=alone)
        images, scribbles, main, auxiliary, *rest = sources
        implied = mix(*rest) if rest else None
        return mix, mix(images), mix(scribbles), mix(main, auxiliary), implied

    def _forward(self, data: Tensor, embed: bool = True) -> TrainingOutput:
        # nnU-Net: autocast on CUDA only; everywhere else it is slow or missing
        on_cuda = self.device.type == "cuda"
        with autocast("cuda") if on_cuda else contextlib.nullcontext():
            output = self.network(data)
            return self._embedded(output) if embed else output

    def _backward(self, loss: Tensor) -> None:
        (loss if self.grad_scaler is None else self.grad_scaler.scale(loss)).backward()

    def _optimizer_step(self) -> Tensor:
        """Clip and step as the stock trainer does; return the norm before clipping."""
        if self.grad_scaler is not None:
            self.grad_scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIPPED_NORM)
        if self.grad_scaler is not None:
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
        else:
            self.optimizer.step()
        return norm

    def _stop_for(self, problem: str | None) -> None:
        if problem is not None:
            message = f"The training stops: {problem}. {REMEDY}"
            self.print_to_log_file(f"ERROR: {message}")
            raise RuntimeError(message)

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log the mean of every term, its weight and the shares, beside nnU-Net's own entries.

        Raises:
            RuntimeError: the loss, or the weights, are not finite any more.
        """
        super().on_train_epoch_end(train_outputs)
        outputs = collate_outputs(train_outputs)
        means, counts = (outputs[name].astype(float).mean(0) for name in ("terms", "counts"))
        network = self._bare_network
        tensors = [*network.state_dict().values(), *network.training_only_state().values()]
        problem = self._finite.problem_of_epoch(tensors)
        if self.is_ddp:
            (means, counts), problem = mean_over_processes((means, counts), problem)
        self._stop_for(problem)

        weights = term_weights(self.config, self.progress)
        shares = self.diagnostics.summary(counts, self.memory)
        terms = {name: float(value) for name, value in zip(self._term_names, means, strict=True)}
        values = terms | {f"weight_{name}": weights[name] for name in terms} | shares
        for name in self._series_names:
            self.logger.log(f"pclmix_{name}", values[name], self.current_epoch)
        for line in epoch_lines(terms, weights, shares):
            self.print_to_log_file(line)
        for warning in find_warnings(
            self.logger.get_checkpoint(),
            self.class_names,
            self.num_iterations_per_epoch,
            self.num_epochs,
        ):
            self.print_to_log_file(warning)

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """nnU-Net's own; the moving average goes on from the number that a checkpoint holds.

        numpy's float32 would round it otherwise than the Python number that is read back.
        """
        super().on_validation_epoch_end(val_outputs)
        average = self.logger.local_logger.my_fantastic_logging["ema_fg_dice"]
        average[-1] = float(average[-1])

    def on_epoch_end(self) -> None:
        """Draw, beside nnU-Net's own picture and after it has saved."""
        epoch = self.current_epoch
        super().on_epoch_end()
        if self.local_rank == 0:
            self.pictures.draw(epoch, self.logger.get_checkpoint())
            self.clock.end_epoch()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """nnU-Net's final validation, then dense scores where dense labels exist.

        Raises:
            SystemExit: see `run_training`.
        """
        with self._one_at_a_time(lambda: VALIDATE_AGAIN):
            super().perform_actual_validation(save_probabilities)
            self._score_densely()

    def _score_densely(self) -> None:
        if self.local_rank == 0:
            raw = os.environ.get("nnUNet_raw")
            dense = Path(raw, self.plans_manager.dataset_name, DENSE_LABELS) if raw else None
            text = score_validation(
                Path(self.output_folder, "validation"),
                Path(self.output_folder_base, "dataset.json"),
                dense,
                default_num_processes,
            )
            self.print_to_log_file(text, also_print_to_console=True)

    # ---------------------------------------------------------------- checkpoints

    @property
    def _bare_network(self) -> PCLMixNetwork:
        return bare(self.network)

    def save_checkpoint(self, filename: str) -> None:
        """Save as nnU-Net does, name the stock trainer, add what PCLMix needs to go on.

        The file is written beside its place and moved there: a kill leaves the old or the new one.
        It holds plain data only and loads with ``torch.load(weights_only=True)``.
        """
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        # whatever nnU-Net puts into a checkpoint, now or later, stays in it
        buffer = io.BytesIO()
        super().save_checkpoint(buffer)
        buffer.seek(0)
        checkpoint = torch.load(buffer, map_location="cpu", weights_only=False)
        checkpoint = {
            **checkpoint,
            "trainer_name": nnUNetTrainer.__name__,
            "logging": plain(checkpoint["logging"]),
            "_best_ema": plain(checkpoint["_best_ema"]),
            KEY: {
                "trainer_name": type(self).__name__,
                "version": __version__,
                "versions": package_versions(),
                "config": asdict(self.config),
                "components": dict(zip(("on", "off"), components(self.config), strict=True)),
                "active_settings": active_settings(self.config),
                "defaults": asdict(nnUNetTrainerPCLMix.config),
                "iteration": self.iteration,
                "num_epochs": self.num_epochs,
                "torch_seed": torch.initial_seed(),
                "random_state": random_state(self.device),
                "network": self._bare_network.training_only_state(),
                "memory": None if self.memory is None else self.memory.state_dict(),
            },
        }
        save_whole(checkpoint, filename)
        self.saved.note(filename, checkpoint["current_epoch"])

    def on_train_end(self) -> None:
        """Save the final checkpoint; the one before the latest is of no more use.

        Neither is what kills have left half written.
        """
        super().on_train_end()
        if self.local_rank == 0:
            remove_leftovers(Path(self.output_folder))

    def load_checkpoint(self, filename: str) -> None:
        """Continue a training of this trainer.

        Raises:
            RuntimeError: the checkpoint is another trainer's, was trained with other settings, or
                cannot be read as plain data.
        """
        # nnU-Net loads a file without restrictions. What passes here holds plain data only, so
        # that there is nothing to execute when nnU-Net reads it again below
        filename, checkpoint = read_plain(filename, self.print_to_log_file)
        state = state_to_continue(
            checkpoint, filename, type(self).__name__, asdict(self.config), self.print_to_log_file
        )
        super().load_checkpoint(filename)
        self.saved.note(filename, self.current_epoch)
        self._announce_series()
        self.iteration = state["iteration"]
        self._bare_network.load_training_only_state(state["network"])
        if self.memory is not None:
            self.memory.load_state_dict(state["memory"])
        # the state is rank 0's; the others draw on from their own seeds
        if "random_state" in state and self.local_rank == 0:
            restore_random_state(state["random_state"], self.device)
