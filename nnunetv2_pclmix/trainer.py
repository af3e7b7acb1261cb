"""nnUNetTrainerPCLMix: nnU-Net's trainer with the PCLMix method for scribble annotations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from nnunetv2.configuration import default_num_processes
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.collate_outputs import collate_outputs
from torch import nn

from nnunetv2_pclmix import __version__
from nnunetv2_pclmix.config import COMPLETE
from nnunetv2_pclmix.method.global_mean import world_size
from nnunetv2_pclmix.method.label_encoding import class_names, label_encoding
from nnunetv2_pclmix.method.network import PCLMixNetwork
from nnunetv2_pclmix.method.objective import Objective
from nnunetv2_pclmix.training import checkpoint_files, checkpoint_state, distributed, requirements
from nnunetv2_pclmix.training.check_annotations import check_annotations
from nnunetv2_pclmix.training.dense_validation import dense_labels_of, score_validation
from nnunetv2_pclmix.training.finite_watch import FiniteWatch, stop_for
from nnunetv2_pclmix.training.patch_sampling import PatchesAnywhere, telling_padding
from nnunetv2_pclmix.training.preprocessed_age import age_warnings
from nnunetv2_pclmix.training.session import FolderGuard, alone, finish_workers, validation_in_words
from nnunetv2_pclmix.training.step import Descent, make_step
from nnunetv2_pclmix.training.worker_end import EndsWithParent
from nnunetv2_pclmix.watching.clock import TrainingClock
from nnunetv2_pclmix.watching.components import describe
from nnunetv2_pclmix.watching.epoch_log import EpochLog
from nnunetv2_pclmix.watching.memory_use import peak_gb
from nnunetv2_pclmix.watching.pictures import TrainingPictures
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
            self.device = distributed.own_device(device)
            self.grad_scaler = self.grad_scaler if device.type == "cuda" else None
        if self.epochs is not None:
            self.num_epochs = self.epochs
        padded_as = self.label_manager.ignore_label if self.config.ignore_padding else None
        self.get_training_transforms = telling_padding(self.get_training_transforms, padded_as)
        self.folder_guard = FolderGuard(Path(self.output_folder))
        self.saved = checkpoint_files.SavedEpochs()
        self.iteration, self._refusal = 0, None
        self._finite = FiniteWatch()
        self.epoch_log = EpochLog(self.config, self.logger, self.print_to_log_file)
        self.epoch_log.announce(self.current_epoch)

    # ---------------------------------------------------------------- set-up

    def initialize(self) -> None:
        """Build network, optimiser and `TrainingStep`.

        Raises:
            RuntimeError: data set, configuration, device or number of processes is not supported.
            ValueError: the plans' architecture is not supported.
        """
        requirements.refuse_unsupported(
            f"{type(self).__name__} cannot train {self.plans_manager.dataset_name}",
            requirements.unsupported(
                self.dataset_json["labels"],
                self.label_manager.has_ignore_label,
                self.device,
                self.configuration_manager.batch_size,
                self.configuration_manager.batch_dice,
                self.preprocessed_dataset_folder,
            )
            + requirements.replaced_hooks(type(self), nnUNetTrainerPCLMix),
        )
        # nnU-Net builds the network through this name: on the instance for training, on the class
        # for prediction. Only training gets the auxiliary parts. Between network and loss nnU-Net
        # wraps for DDP, which these two do instead, whatever a subclass overrides.
        self.build_network_architecture = self._build_training_network
        self._build_loss = self._wrap_and_build_loss
        super().initialize()
        levels, dice = requirements.levels_and_dice(self.loss, self.enable_deep_supervision)
        labels = label_encoding(self.label_manager)
        self.step = make_step(
            self.config,
            self.network,
            Objective(self.config, labels, levels, dice, self.device),
            self.device,
            -(-self.configuration_manager.batch_size // world_size()),
            self.configuration_manager.spacing,
            compiled=self._do_i_compile(),
        )
        self.class_names = names = class_names(self.label_manager)
        folder, spacing = Path(self.output_folder), self.configuration_manager.spacing
        self.pictures = TrainingPictures(folder, labels, names, spacing, self.print_to_log_file)

    def _wrap_and_build_loss(self) -> nn.Module:
        """The class' own loss, after wrapping the network for DDP with the device that it is on."""
        self.is_ddp = self._distributed
        if self.is_ddp:
            self.network = distributed.wrap(self.network, self.device)
        return type(self)._build_loss(self)

    def _build_training_network(
        self,
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:  # nnU-Net looks at this signature
        self._distributed, self.is_ddp = self.is_ddp, False  # until `_wrap_and_build_loss`
        managers, channels = (plans_manager, configuration_manager), num_input_channels
        stock = type(self).build_network_architecture(
            *managers, channels, num_output_channels, enable_deep_supervision
        )
        patch_size = configuration_manager.patch_size
        return PCLMixNetwork(stock, patch_size, num_output_channels, self.config)

    def on_train_start(self) -> None:
        """Check the annotations of the training cases before anything long begins.

        Raises:
            RuntimeError: a class, or the background, is annotated nowhere, or a case is missing.
        """
        for line in describe(type(self).__name__, __version__, self.config):
            self.print_to_log_file(line)
        if not self.was_initialized:
            self.initialize()
        # one process writes the splits where there are none: another would read half a file
        with distributed.first_process_first(self.is_ddp, self.local_rank):
            cases, others = self.do_split()
        folder, content = self.preprocessed_dataset_folder, self.dataset_json
        check_annotations(self.dataset_class, folder, cases, content["labels"], others)
        if self.local_rank == 0 and self.current_epoch == 0 and not self.disable_checkpointing:
            # nothing refuses the training now; --c after a kill would go on with the earlier one
            output, log = Path(self.output_folder), Path(self.log_file)
            checkpoint_files.set_aside(output, self.print_to_log_file, [log])
        super().on_train_start()
        distributed.draw_otherwise(self.local_rank, self.current_epoch)
        self.print_to_log_file(
            f"random seed of torch: {torch.initial_seed()}. The pseudo Dice and validation Dice "
            "that nnU-Net prints are computed on annotated voxels only"
        )
        if self.local_rank == 0:
            for line in age_warnings(Path(folder), content, {*cases, *others}):
                self.print_to_log_file(line)

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's, whose processes leave Ctrl-C to this one."""
        with children_without_ctrl_c():
            return super().get_dataloaders()

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """nnU-Net's data sets; some training patches lie anywhere, see `PatchesAnywhere`."""
        training, validation = map(EndsWithParent, super().get_tr_and_val_datasets())
        annotated = (-1, *self.label_manager.all_labels)  # the key of nnU-Net's data loader
        patch_size, share = self.configuration_manager.patch_size, self.config.patches_anywhere
        return PatchesAnywhere(training, annotated, patch_size, share), validation

    # ---------------------------------------------------------------- training

    def run_training(self) -> None:
        """nnU-Net's, in a folder that no other training uses meanwhile.

        Raises:
            SystemExit: after a message, when it was stopped, the disk is full or the folder in use.
        """
        if self._refusal is not None:
            raise self._refusal
        with self._alone(self.saved.in_words):
            if self.local_rank == 0:
                checkpoint_files.remove_half_written(Path(self.output_folder))
            super().run_training()

    def _alone(self, what_was_saved: Callable[[], str]) -> AbstractContextManager:
        guard = self.folder_guard if self.local_rank == 0 else None

        def end() -> None:  # they begin later
            finish_workers(self.dataloader_train, self.dataloader_val)

        return alone(guard, self.print_to_log_file, what_was_saved, end)

    @property
    def progress(self) -> float:
        """Fraction of the planned iterations that are done."""
        return self.iteration / max(1, self.num_epochs * self.num_iterations_per_epoch)

    @functools.cached_property
    def clock(self) -> TrainingClock:
        """Says how long it takes; made when the first epoch begins, with its final length."""
        lengths = (self.num_iterations_per_epoch, self.num_val_iterations_per_epoch)
        use = functools.partial(peak_gb, self.device)
        return TrainingClock(*lengths, self.num_epochs, self.print_to_log_file, use)

    @property
    def _is_drawn(self) -> bool:
        """Whether the samples of this iteration are drawn: the last one of some epochs."""
        epoch, every = self.current_epoch, self.config.snapshot_every
        last = self.iteration + 1 == (epoch + 1) * self.num_iterations_per_epoch
        due = self.pictures.are_due(epoch, self.num_epochs - 1, every)
        return last and due and self.local_rank == 0

    def on_train_epoch_start(self) -> None:
        """Set the iteration, which the schedules follow, from nnU-Net's epoch counter."""
        super().on_train_epoch_start()
        self.iteration = self.current_epoch * self.num_iterations_per_epoch
        if self.local_rank == 0:
            self.clock.begin_epoch(self.current_epoch)

    def train_step(self, batch: dict) -> dict:
        """One iteration, see `TrainingStep`; the training stops where its loss is not finite."""
        result = self.step(
            batch,
            self.progress,
            Descent(self.network, self.optimizer, self.grad_scaler),
            self.pictures if self._is_drawn else None,
        )
        where = f"iteration {self.iteration} (epoch {self.current_epoch})"
        self._finite.see(result.loss, result.by_name(self.step.term_names), where)
        if not self.is_ddp:  # several processes stop together, at the end of the epoch
            stop_for(self._finite.problem, self.print_to_log_file)
        self.iteration += 1
        if self.local_rank == 0:
            self.clock.iteration_done()
        return {"loss": result.loss, "terms": result.terms, "counts": result.counts}

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log the mean of every term, its weight and the shares, beside nnU-Net's own entries.

        Raises:
            RuntimeError: the loss, or the weights, are not finite any more.
        """
        super().on_train_epoch_end(train_outputs)
        outputs = collate_outputs(train_outputs)
        means, counts = (outputs[name].astype(float).mean(0) for name in ("terms", "counts"))
        network = distributed.bare(self.network)
        tensors = [*network.state_dict().values(), *network.training_only_state().values()]
        problem = self._finite.problem_of_epoch(tensors)
        if self.is_ddp:
            (means, counts), problem = distributed.mean_over_processes((means, counts), problem)
        stop_for(problem, self.print_to_log_file)
        shares = self.step.diagnostics.summary(counts, self.step.memory)
        self.epoch_log.log(self.current_epoch, self.progress, means, shares)
        self.epoch_log.warn(self.class_names, self.num_iterations_per_epoch, self.num_epochs)

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """nnU-Net's own; the moving average goes on from the number that a checkpoint holds."""
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
        """nnU-Net's final validation, then dense scores where dense labels exist."""
        with self._alone(lambda: validation_in_words(self.disable_checkpointing)):
            super().perform_actual_validation(save_probabilities)
            if self.local_rank == 0:
                text = score_validation(
                    Path(self.output_folder, "validation"),
                    Path(self.output_folder_base, "dataset.json"),
                    dense_labels_of(self.plans_manager.dataset_name),
                    default_num_processes,
                )
                self.print_to_log_file(text)

    # ---------------------------------------------------------------- checkpoints

    def save_checkpoint(self, filename: str) -> None:
        """Save as nnU-Net does, name the stock trainer, add what PCLMix needs to go on.

        The file is written beside its place and moved there: a kill leaves the old or the new one.
        It holds plain data only and loads with ``torch.load(weights_only=True)``.
        """
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        checkpoint = checkpoint_state.with_our_part(
            checkpoint_state.what_is_saved_by(super().save_checkpoint),
            type(self).__name__,
            self.config,
            nnUNetTrainerPCLMix.config,
            self.step,
            {"iteration": self.iteration, "num_epochs": self.num_epochs},
        )
        checkpoint_files.save_whole(checkpoint, filename)
        self.saved.note(filename, checkpoint["current_epoch"])

    def on_train_end(self) -> None:
        """Save the final checkpoint; earlier and half written ones are of no more use."""
        folder = Path(self.output_folder) if self.local_rank == 0 else None
        with checkpoint_files.tidied(folder, not self.disable_checkpointing):
            super().on_train_end()

    def load_checkpoint(self, filename: str) -> None:
        """Continue a training of this trainer, or validate a finished one.

        Raises:
            RuntimeError: the checkpoint is another trainer's, or cannot be read as plain data.
        """
        # nnU-Net loads files without restrictions; what passes here holds nothing to execute
        filename, checkpoint = checkpoint_files.read_plain(filename, self.print_to_log_file)
        name, settings, tell = type(self).__name__, asdict(self.config), self.print_to_log_file
        try:
            state = checkpoint_state.state_to_continue(checkpoint, filename, name, settings, tell)
            if not self.was_initialized:
                self.initialize()
            # first: it says what it cannot load in words, of which the optimiser has none
            checkpoint_state.restore(state, self.step, self.local_rank == 0)
        except RuntimeError as refusal:
            self._refusal = refusal  # of a training that would go on
            return checkpoint_state.load_to_validate(self, checkpoint, refusal)
        super().load_checkpoint(filename)
        self.saved.note(filename, self.current_epoch)
        self.epoch_log.announce(self.current_epoch)
        self.iteration = state["iteration"]
