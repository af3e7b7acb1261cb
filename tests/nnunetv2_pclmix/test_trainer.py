"""nnU-Net's own training loop with our trainer: train, log, save, resume, predict, refuse."""

import copy
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor, predict_entry_point
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.run.run_training import maybe_load_checkpoint, run_training_entry
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import (
    nnUNetTrainerDA5,
)
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import (
    nnUNetTrainerNoDA,
)

from nnunetv2_pclmix import __version__, discovery, variants
from nnunetv2_pclmix.config import COMPLETE, STROKE_SUPPORT
from nnunetv2_pclmix.method.dynamic_mix import draw_mix
from nnunetv2_pclmix.method.network import PCLMixNetwork
from nnunetv2_pclmix.method.stroke_support import stroke_support
from nnunetv2_pclmix.method.term_weights import term_weights
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from nnunetv2_pclmix.training.distributed import bare
from nnunetv2_pclmix.training.finite_watch import TOO_MANY
from nnunetv2_pclmix.training.step import Descent
from nnunetv2_pclmix.watching.components import describe
from nnunetv2_pclmix.watching.step_diagnostics import series_names
from tests.conftest import DATASET


def make_trainer(root, cls=nnUNetTrainerPCLMix, epochs=2, fold=0, **resume):
    folder = root / "nnUNet_preprocessed" / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    plans["continue_training"] = resume.get("continue_training", False)
    dataset = json.loads((folder / "dataset.json").read_text())
    trainer = cls(plans, "2d", fold, dataset, torch.device("cpu"))
    trainer.num_epochs = epochs
    trainer.num_iterations_per_epoch = 4
    trainer.num_val_iterations_per_epoch = 1
    trainer.save_every = 1
    return trainer


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def read_checkpoint(trainer, name="checkpoint_final.pth"):
    return torch.load(Path(trainer.output_folder) / name, weights_only=True)


@pytest.fixture(scope="module")
def finished(preprocessed, tmp_path_factory):
    """A training that is over; read only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed"):
            patch.setenv(name, str(preprocessed / name))
        patch.setenv("nnUNet_results", str(tmp_path_factory.mktemp("results")))
        patch.setenv("nnUNet_n_proc_DA", "0")
        torch.manual_seed(0)
        np.random.seed(0)
        trainer = make_trainer(preprocessed)
        trainer.run_training()
        return trainer


@pytest.fixture
def trained(finished, nnunet):
    """The finished training, in a folder of the test's own."""
    trainer = copy.copy(finished)
    trainer.network = copy.deepcopy(finished.network)
    folder = nnunet / "nnUNet_results" / DATASET / Path(finished.output_folder_base).name
    shutil.copytree(finished.output_folder_base, folder)
    trainer.output_folder_base, trainer.output_folder = str(folder), str(folder / "fold_0")
    return trainer


def test_training_logs_every_term_and_learns_something(nnunet):
    trainer = make_trainer(nnunet, epochs=3)
    trainer.num_iterations_per_epoch = 12
    trainer.run_training()
    log = Path(trainer.log_file).read_text()
    for name in term_weights(trainer.config, 0.0):
        values = trainer.logger.get_value(f"pclmix_{name}", None)
        assert len(values) == 3
        assert np.isfinite(values).all()
        assert log.count(f"{name} ") >= 3
    assert all(line in log for line in describe("nnUNetTrainerPCLMix", __version__, trainer.config))
    assert "Time left: about" in log
    scribble = trainer.logger.get_value("pclmix_scribble_main", None)
    assert scribble[-1] < 0.6 * scribble[0]
    assert trainer.logger.get_value("mean_fg_dice", -1) > 0.5
    assert trainer.iteration == 36
    assert trainer.progress == 1
    assert trainer.step.memory.filled.min() > 0


def test_checkpoint_is_an_ordinary_nnunet_model(trained):
    checkpoint = read_checkpoint(trained)
    stock = nnUNetTrainer.build_network_architecture(
        trained.plans_manager, trained.configuration_manager, 1, 3, enable_deep_supervision=False
    )
    assert list(checkpoint["network_weights"]) == list(stock.state_dict())
    assert checkpoint["trainer_name"] == "nnUNetTrainer"
    assert checkpoint["pclmix"]["trainer_name"] == "nnUNetTrainerPCLMix"
    assert checkpoint["pclmix"]["config"]["lambda_auxiliary"] == 0.4
    assert checkpoint["pclmix"]["iteration"] == 8
    assert not list(Path(trained.output_folder).glob("*.part"))


# an installation that has only nnU-Net: the package cannot be imported, and nothing names it
ONLY_NNUNET = """
import os, sys
os.environ.pop("nnUNet_extTrainer", None)
class Hide:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "nnunetv2_pclmix":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide)
for name in [n for n in sys.modules if n.split(".")[0] == "nnunetv2_pclmix"]:
    del sys.modules[name]
try:
    import nnunetv2_pclmix
    sys.exit("the package is not hidden")
except ModuleNotFoundError:
    pass
if __name__ == "__main__":
    import torch
    from nnunetv2.inference.predict_from_raw_data import predict_entry_point
    torch.set_num_threads(1)
    predict_entry_point()
"""


def test_stock_nnunet_predicts_bit_for_bit_the_same_without_this_package(
    trained, nnunet, nnunet_command, tmp_path
):
    script = tmp_path / "predict.py"
    script.write_text(ONLY_NNUNET)
    model = str(Path(trained.output_folder).parent)
    words = ["-d", "901", "-c", "2d", "-tr", "nnUNetTrainerPCLMix", "-f", "0", "-device", "cpu"]
    words += ["-i", str(nnunet / "nnUNet_raw" / DATASET / "imagesTr"), "--save_probabilities"]
    words += ["-npp", "0", "-nps", "0"]  # no processes beside this one
    nnunet_command(predict_entry_point, *words, "-o", tmp_path / "no")
    result = subprocess.run(
        [sys.executable, str(script), *words, "-o", str(tmp_path / "yes")],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for case in ("case0", "case4"):
        one, two = (np.load(tmp_path / h / f"{case}.npz") for h in ("no", "yes"))
        assert np.array_equal(one["probabilities"], two["probabilities"])
        one, two = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / h / f"{case}.nii.gz")))
            for h in ("no", "yes")
        )
        assert np.array_equal(one, two)

    # and the same as the network that was trained gives in memory
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(model, (0,))
    x = torch.randn(1, 1, 32, 32)
    trained.set_deep_supervision_enabled(False)
    assert torch.equal(predictor.network.eval()(x), trained.network.eval()(x))


def state_of(trainer):
    state = {
        **trainer.network.state_dict(),
        **trainer.network.training_only_state(),
        **{f"memory.{k}": v for k, v in trainer.step.memory.state_dict().items()},
    }
    for i, entry in trainer.optimizer.state_dict()["state"].items():
        state[f"momentum.{i}"] = entry["momentum_buffer"]
    return state


def test_resume_restores_everything_and_goes_on(nnunet):
    class Killed(Exception):
        pass

    class DiesInTheThirdEpoch(nnUNetTrainerPCLMix):
        def on_epoch_start(self):
            if self.current_epoch == 2:
                raise Killed
            super().on_epoch_start()

    DiesInTheThirdEpoch.__name__ = "nnUNetTrainerPCLMix"  # names the folder
    first = make_trainer(nnunet, DiesInTheThirdEpoch, epochs=3)
    with pytest.raises(Killed):
        first.run_training()

    second = make_trainer(nnunet, epochs=3, continue_training=True)
    maybe_load_checkpoint(second, continue_training=True, validation_only=False)
    assert second.current_epoch == 2
    assert second.iteration == first.iteration == 8
    one, two = state_of(first), state_of(second)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)
    second.run_training()
    assert len(second.logger.get_value("pclmix_pseudo_main", None)) == 3
    assert read_checkpoint(second)["current_epoch"] == 3


def test_the_same_seed_gives_the_same_training(nnunet):
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        np.random.seed(3)
        trainer = make_trainer(nnunet, epochs=1)
        trainer.initialize()
        batches = [
            {"data": torch.randn(4, 1, 32, 32), "target": _targets(trainer)} for _ in range(3)
        ]
        results.append([trainer.train_step(b)["terms"] for b in batches])
    np.testing.assert_array_equal(*results)


def _targets(trainer, annotated=0.1):
    label = torch.randint(0, 3, (4, 1, 32, 32))
    label = label.masked_fill(torch.rand(label.shape) > annotated, 3)
    return [label, label[..., ::2, ::2]]


def test_batches_without_annotation_train_on(nnunet):
    trainer = make_trainer(nnunet)
    trainer.initialize()
    for annotated in (0.0, 0.1, 0.0):
        batch = {"data": torch.randn(4, 1, 32, 32), "target": _targets(trainer, annotated)}
        assert np.isfinite(trainer.train_step(batch)["loss"])
    assert all(torch.isfinite(p).all() for p in trainer.network.parameters())


def test_final_validation_runs_with_stock_tools(trained):
    trained.perform_actual_validation()
    summary = json.loads((Path(trained.output_folder) / "validation/summary.json").read_text())
    assert "1" in summary["mean"]


def test_pretrained_weights_of_the_stock_trainer_can_be_loaded(trained, nnunet):
    trainer = make_trainer(nnunet)
    trainer.initialize()
    assert isinstance(trainer.network, PCLMixNetwork)
    load_pretrained_weights(
        trainer.network, str(Path(trained.output_folder) / "checkpoint_final.pth")
    )
    key = "encoder.stages.0.0.convs.0.conv.weight"
    assert torch.equal(trainer.network.state_dict()[key], trained.network.state_dict()[key])


@pytest.mark.parametrize("name", [n for n in variants.__all__ if not n.endswith("epochs")])
def test_every_ablation_trains(name, nnunet):
    cls = getattr(variants, name)
    assert cls.config != COMPLETE
    trainer = make_trainer(nnunet, cls, epochs=1)
    trainer.run_training()
    assert read_checkpoint(trainer)["pclmix"]["trainer_name"] == name


def test_the_trainer_of_the_methods_name_trains_every_component_of_it():
    assert nnUNetTrainerPCLMix.config == COMPLETE
    weights = term_weights(COMPLETE, 0.99)  # what is asked of mixed images has faded at the end
    assert all(weight > 0 for weight in weights.values())
    for name in ("auxiliary_decoder", "dynamic_mix", "contrast", "stroke_support"):
        assert getattr(COMPLETE, name) is True
    for name in ("heterogeneous", "pseudo_main", "pseudo_auxiliary", "contrast"):
        assert name in weights


def test_every_ablation_is_the_complete_method_less_one_thing():
    for name in ("Mix", "Contrast", "Consistency", "Auxiliary", "Support", "Dice"):
        cls = getattr(variants, f"nnUNetTrainerPCLMix_no{name}")
        less, whole = term_weights(cls.config, 1.0), term_weights(COMPLETE, 1.0)
        assert less.keys() < whole.keys() or name == "Support" and less.keys() <= whole.keys()
        assert all(less[term] == whole[term] for term in less)


def test_stroke_support_makes_one_pass_with_the_stock_network_and_learns(nnunet):
    trainer = make_trainer(nnunet, variants.nnUNetTrainerStrokeSupport, epochs=3)
    assert trainer.config == STROKE_SUPPORT
    trainer.initialize()
    training = {name for name, _ in trainer.network.named_parameters()}
    stock = nnUNetTrainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, 1, 3
    )
    assert training == {name for name, _ in stock.named_parameters()}
    trainer.run_training()
    terms = ["scribble_main", "background_main", "dice_main"]
    assert list(term_weights(trainer.config, 1.0)) == terms
    norm = trainer.logger.get_value("pclmix_gradient_norm", -1)
    assert 0 < norm < 100 and trainer.logger.get_value("pclmix_clipped_share", -1) <= 1
    losses = trainer.logger.get_checkpoint()["train_losses"]
    assert losses[-1] < losses[0]
    assert trainer.logger.get_value("pclmix_background_main", -1) > 0


def copy_of_gradients(trainer):
    # the coarsest deep supervision level has weight 0, so its layer has no gradient
    named = trainer.network.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def test_one_step_has_the_gradient_of_both_passes(nnunet, monkeypatch):
    trainer = make_trainer(nnunet)
    trainer.initialize()
    trainer.iteration = 6  # of 8: every schedule is on
    gradients = []

    def keep(descent):
        gradients.append(copy_of_gradients(trainer))
        return torch.tensor(1.0)

    monkeypatch.setattr(Descent, "step", keep)
    mix = draw_mix(4, (32, 32), 0.2)
    monkeypatch.setattr("nnunetv2_pclmix.training.step.draw_mix", lambda *_, **__: mix)
    vectors = torch.nn.functional.normalize(torch.randn(3, 3, 256), dim=2)
    trainer.step.memory.enqueue(vectors, torch.ones(3, 3, dtype=torch.bool))
    memory = copy.deepcopy(trainer.step.memory)
    data, targets = torch.randn(4, 1, 32, 32), _targets(trainer)
    torch.manual_seed(5)  # the choice of anchors
    result = trainer.train_step({"data": data, "target": targets})

    torch.manual_seed(5)
    weights = term_weights(trainer.config, 6 / 8)
    first = trainer.network.embedded(trainer.network(data))
    support = stroke_support(trainer.step.objective.labels, first.main[0], targets[0])
    # there is something to correct
    assert (first.main[0].argmax(1, keepdim=True)[support.background] > 0).any()
    terms, _ = trainer.step.objective.first_pass(first, targets[0], memory, 6 / 8, support)
    main, auxiliary = trainer.step.objective.pseudo_labels(first, targets[0], support, 6 / 8)
    pseudo = torch.where(mix.from_first, main, auxiliary[mix.second])
    second = trainer.network(mix(data))
    terms |= trainer.step.objective.second_pass(
        second, mix(targets[0]), pseudo, mix(support.background), support.trust
    )
    trainer.network.zero_grad()
    loss = sum(weights[name] * value for name, value in terms.items())
    loss.backward()
    assert result["loss"] == pytest.approx(loss.item(), rel=1e-5)
    expected = copy_of_gradients(trainer)
    assert len(expected) == len(list(trainer.network.parameters())) - 2  # its weight and bias
    torch.testing.assert_close(gradients[0], expected, rtol=1e-4, atol=1e-5)
    assert trainer.iteration == 7


def test_the_optimiser_step_clips_like_the_stock_trainer(nnunet):
    trainer = make_trainer(nnunet)
    trainer.initialize()
    for p in trainer.network.parameters():
        p.grad = torch.full_like(p, 100.0)
    Descent(trainer.network, trainer.optimizer, trainer.grad_scaler).step()
    norm = torch.stack([p.grad.norm() for p in trainer.network.parameters()]).norm()
    assert norm.item() == pytest.approx(12, rel=1e-3)


def test_without_deep_supervision_and_with_all_cases(nnunet):
    trainer = make_trainer(nnunet, epochs=1, fold="all")
    trainer.enable_deep_supervision = False
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", -1))


def test_disabled_checkpointing_writes_none(nnunet):
    trainer = make_trainer(nnunet, epochs=1)
    trainer.disable_checkpointing = True
    trainer.run_training()
    assert not list(Path(trainer.output_folder).glob("*.pth*"))


def test_disabled_checkpointing_leaves_those_of_an_earlier_training(nnunet):
    trainer = make_trainer(nnunet, epochs=1)
    trainer.disable_checkpointing = True
    names = ("checkpoint_latest.pth", "checkpoint_previous.pth", "checkpoint_best.pth")
    for name in names:
        Path(trainer.output_folder, name).write_text(name)
    trainer.run_training()
    kept = {path.name: path.read_text() for path in Path(trainer.output_folder).glob("*.pth*")}
    assert kept == dict(zip(names, names, strict=True))


@pytest.mark.parametrize("variant", [nnUNetTrainerNoDA, nnUNetTrainerDA5])
def test_variants_that_augment_otherwise_know_padding_from_annotation(nnunet, variant):
    trainer = make_trainer(nnunet, type("Mixed", (variant, nnUNetTrainerPCLMix), {}))
    transforms = trainer.get_training_transforms(
        trainer.configuration_manager.patch_size,
        (0.0, 0.0),
        None,
        None,
        False,
        foreground_labels=trainer.label_manager.foreground_labels,
        ignore_label=trainer.label_manager.ignore_label,
    )
    size = trainer.configuration_manager.patch_size
    labels = torch.full((1, *size), -1).short()
    labels[:, : size[0] // 2] = -2
    out = transforms(image=torch.randn(1, *size), segmentation=labels)["segmentation"]
    assert set(out.unique().tolist()) == {0, trainer.label_manager.ignore_label}


SHORT = """
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix

class nnUNetTrainerPCLMixShort(nnUNetTrainerPCLMix):
    epochs = 2

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 3, 1
        self.save_every = 1
"""


def test_nnunets_own_commands_train_continue_validate_and_predict(
    nnunet, nnunet_command, tmp_path, monkeypatch, capsys
):
    """As typed by a user, with a variant of the user's own beside our folder.

    The first in a process of its own, which imports for seconds; the others in this one.
    """
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "nnUNetTrainerPCLMixShort.py").write_text(SHORT)
    monkeypatch.setenv("nnUNet_extTrainer", f"{tmp_path / 'mine'}{os.pathsep}{discovery.FOLDER}")
    monkeypatch.setenv("PYTHONPATH", str(Path(discovery.FOLDER).parents[1]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    model = nnunet / "nnUNet_results" / DATASET / "nnUNetTrainerPCLMixShort__nnUNetPlans__2d"
    device = ["-device", "cpu"]
    trainer = ["-tr", "nnUNetTrainerPCLMixShort"]
    words = ["901", "2d", "0", *trainer, *device]
    code = "from nnunetv2.run.run_training import run_training_entry as run; run()"
    command = [sys.executable, "-c", code, *words, "--npz"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (model / "fold_0" / "validation" / "summary.json").exists()
    assert list((model / "fold_0" / "validation").glob("*.npz"))
    # as if killed in the second epoch: the latest checkpoint is there, the final one is not
    fold = model / "fold_0"
    checkpoint = torch.load(fold / "checkpoint_final.pth", weights_only=True)
    checkpoint["current_epoch"] = 1
    for values in checkpoint["logging"].values():
        del values[1:]
    torch.save(checkpoint, fold / "checkpoint_latest.pth")
    (fold / "checkpoint_final.pth").unlink()
    nnunet_command(run_training_entry, *words, "--c")
    printed = capsys.readouterr().out
    assert "Epoch 1" in printed
    assert "Epoch 0" not in printed
    # so short a training may well predict nothing: what each checkpoint predicts is set by hand
    for name, predicted in (("checkpoint_best.pth", 0), ("checkpoint_final.pth", 1)):
        checkpoint = torch.load(fold / name, weights_only=True)
        for key, weight in checkpoint["network_weights"].items():
            weight.zero_()
            if "seg_layers" in key and key.endswith("bias"):
                weight[predicted] = 1
        torch.save(checkpoint, fold / name)
    nnunet_command(run_training_entry, *words, "--val", "--val_best")
    summary = json.loads((fold / "validation" / "summary.json").read_text())
    assert summary["foreground_mean"]["n_pred"] == 0
    nnunet_command(run_training_entry, *words, "--val")
    summary = json.loads((fold / "validation" / "summary.json").read_text())
    assert summary["foreground_mean"]["n_pred"] > 0
    images = nnunet / "nnUNet_raw" / DATASET / "imagesTr"
    out = tmp_path / "predicted"
    words = ["-d", 901, "-c", "2d", "-f", 0, *trainer, *device, "-i", images, "-o", out]
    nnunet_command(predict_entry_point, *words, "-npp", 0, "-nps", 0)
    assert len(list(out.glob("*.nii.gz"))) == 5


def test_lengths_are_what_the_names_say(nnunet):
    folder = nnunet / "nnUNet_preprocessed" / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    dataset = json.loads((folder / "dataset.json").read_text())
    for epochs in (5, 20, 100, 250):
        cls = getattr(variants, f"nnUNetTrainerPCLMix_{epochs}epochs")
        trainer = cls({**plans, "continue_training": False}, "2d", 0, dataset, torch.device("cpu"))
        assert trainer.num_epochs == epochs


# ---------------------------------------------------------------- seeing what a training does


def with_settings(**settings):
    """The trainer with other settings, under its own name."""
    config = replace(nnUNetTrainerPCLMix.config, **settings)
    return type("nnUNetTrainerPCLMix", (nnUNetTrainerPCLMix,), {"config": config})


def pictures_of(trainer):
    return sorted(path.name for path in Path(trainer.output_folder).glob("pclmix_snapshots/*"))


class OtherLogger:
    """In the place of nnU-Net's for wandb."""

    def __init__(self):
        self.steps = {}

    def log(self, key, value, step):
        assert isinstance(value, float) or "pclmix" not in key
        self.steps.setdefault(key, []).append(step)

    def update_config(self, config):
        pass


def test_shares_and_weights_are_logged_and_drawn(nnunet, pictures):
    trainer = make_trainer(nnunet)
    other = OtherLogger()
    trainer.logger.loggers.append(other)
    trainer.run_training()
    per_class = {"annotated", "predicted_main", "predicted_auxiliary"}
    names = {f"weight_{name}" for name in term_weights(trainer.config, 0.0)}
    names |= set(series_names(trainer.config)) - per_class
    names |= {f"{name}/class_{k}" for name in per_class for k in (1, 2)}
    for name in names:
        assert other.steps[f"pclmix_{name}"] == [0, 1]
    values = {n: trainer.logger.get_value(f"pclmix_{n}", -1) for n in series_names(trainer.config)}
    for name in ("annotated", "predicted_main", "predicted_auxiliary"):
        assert len(values[name]) == 2
        assert 0 <= sum(values[name]) <= 1
    assert 0 < values["annotated_share"] < 0.5
    assert 0 < values["decoder_agreement"] <= 1
    assert 0 < values["queue_fill"] < 1
    expected = term_weights(trainer.config, 1.0)["contrast"]
    assert trainer.logger.get_value("pclmix_weight_contrast", -1) == pytest.approx(expected)
    log = Path(trainer.log_file).read_text()
    assert f"decoder_agreement {values['decoder_agreement']:.4f}" in log
    assert "WARNING" not in log
    assert (Path(trainer.output_folder) / "pclmix_losses.png").stat().st_size > 50_000
    assert pictures_of(trainer) == ["epoch_0000.png", "epoch_0001.png"]


@pytest.mark.parametrize(("every", "epochs"), [(2, [0, 2, 3]), (50, [0, 3]), (0, [])])
def test_snapshots_of_some_epochs_the_first_and_the_last(
    nnunet, our_pictures, every, epochs, monkeypatch
):
    curves = "nnunetv2_pclmix.watching.pictures.draw_training_curves"
    monkeypatch.setattr(curves, lambda *_: None)
    trainer = make_trainer(nnunet, with_settings(snapshot_every=every), epochs=4)
    trainer.num_iterations_per_epoch = 1
    trainer.run_training()
    assert pictures_of(trainer) == [f"epoch_{epoch:04d}.png" for epoch in epochs]


def test_a_picture_that_cannot_be_drawn_does_not_stop_the_training(
    nnunet, monkeypatch, our_pictures
):
    def full(*args, **kwargs):
        raise OSError("no space left on device")

    for module in ("curves", "snapshot_picture"):
        monkeypatch.setattr(f"nnunetv2_pclmix.watching.{module}.save_png", full)
    trainer = make_trainer(nnunet)
    trainer.run_training()
    assert read_checkpoint(trainer)["current_epoch"] == 2
    assert (
        Path(trainer.log_file).read_text().count("a picture cannot be drawn (OSError: no sp") == 1
    )


def test_other_snapshots_are_no_reason_not_to_continue(trained, nnunet):
    path = str(Path(trained.output_folder) / "checkpoint_final.pth")
    make_trainer(nnunet, with_settings(snapshot_every=7)).load_checkpoint(path)


def test_an_auxiliary_decoder_of_another_version_is_refused_in_words(trained, nnunet, tmp_path):
    checkpoint = read_checkpoint(trained)
    network = checkpoint["pclmix"]["network"]
    name = next(name for name in network if name.startswith("auxiliary_decoder."))
    network[name] = network[name][:-1]
    checkpoint["optimizer_state"]["param_groups"][0]["params"].append(999)
    checkpoint["current_epoch"] -= 1
    path = tmp_path / "checkpoint_latest.pth"
    torch.save(checkpoint, path)
    with pytest.raises(RuntimeError, match="built otherwise than this version's. Continue with"):
        make_trainer(nnunet).load_checkpoint(str(path))


def test_a_checkpoint_of_a_version_that_logged_less_goes_on(trained, nnunet, our_pictures):
    checkpoint = read_checkpoint(trained)
    checkpoint["current_epoch"] = 1
    del checkpoint["pclmix"]["config"]["snapshot_every"]
    terms = [f"pclmix_{name}" for name in term_weights(trained.config, 0.0)]
    old = {k: v[:1] for k, v in checkpoint["logging"].items() if "pclmix" not in k or k in terms}
    assert len(old) < len(checkpoint["logging"])
    checkpoint["logging"] = old
    path = Path(trained.output_folder) / "checkpoint_latest.pth"
    torch.save(checkpoint, path)
    trainer = make_trainer(nnunet, continue_training=True)
    trainer.load_checkpoint(str(path))
    trainer.run_training()
    series = trainer.logger.get_checkpoint()
    assert {len(values) for values in series.values()} == {2}
    for name in series.keys() - old.keys():
        assert math.isnan(series[name][0])
        assert name in read_checkpoint(trainer)["logging"]
    assert "cannot be drawn" not in Path(trainer.log_file).read_text()


def test_a_step_reads_from_the_device_once(nnunet, monkeypatch):
    trainer = make_trainer(nnunet)
    trainer.initialize()
    batch = {"data": torch.randn(4, 1, 32, 32), "target": _targets(trainer)}
    read = []
    cpu = torch.Tensor.cpu
    with monkeypatch.context() as watched:
        watched.setattr(torch.Tensor, "cpu", lambda x: read.append(x.shape) or cpu(x))
        for name in ("item", "tolist", "nonzero", "__bool__", "__int__", "__float__"):
            watched.setattr(torch.Tensor, name, lambda *_, n=name: pytest.fail(f"{n} waits"))
        result = trainer.train_step(batch)
    assert read == [(len(result["terms"]) + len(result["counts"]),)]


class Broken:
    """The objective of a trainer, with a term that is not finite in some iterations."""

    def __init__(self, trainer, iterations, value=math.nan):
        self.trainer, self.iterations, self.value = trainer, iterations, value
        self.objective, trainer.step.objective = trainer.step.objective, self
        self.labels = self.objective.labels

    def __getattr__(self, name):
        return getattr(self.objective, name)

    def second_pass(self, *args):
        terms = self.objective.second_pass(*args)
        if self.trainer.iteration in self.iterations:
            terms["pseudo_main"] = terms["pseudo_main"] * self.value
        return terms


def run_broken(nnunet, iterations, epochs=3):
    trainer = make_trainer(nnunet, epochs=epochs)
    trainer.num_iterations_per_epoch = 8
    trainer.initialize()
    Broken(trainer, iterations)
    with pytest.raises(RuntimeError) as stopped:
        trainer.run_training()
    assert f"ERROR: {stopped.value}" in Path(trainer.log_file).read_text()
    # what was good is still there, and nothing else was written
    for name in ("latest", "best"):
        checkpoint = read_checkpoint(trainer, f"checkpoint_{name}.pth")
        assert checkpoint["current_epoch"] == 1
        assert all(value.isfinite().all() for value in checkpoint["network_weights"].values())
    assert not (Path(trainer.output_folder) / "checkpoint_final.pth").exists()
    return trainer, str(stopped.value)


def test_losses_that_are_not_finite_stop_the_training_and_spoil_no_checkpoint(nnunet):
    trainer, message = run_broken(nnunet, range(9, 24))
    assert trainer.iteration == 9 + TOO_MANY - 1
    assert "from iteration 9 (epoch 1), in pseudo_main on" in message
    assert "--c" in message


def test_in_the_first_epoch_there_is_nothing_to_go_on_from(nnunet):
    trainer = make_trainer(nnunet)
    trainer.num_iterations_per_epoch = TOO_MANY
    trainer.initialize()
    Broken(trainer, range(TOO_MANY))
    with pytest.raises(RuntimeError, match="starts anew in the first epoch"):
        trainer.run_training()
    assert not list(Path(trainer.output_folder).glob("checkpoint_*"))


def test_weights_that_are_not_finite_are_not_saved(nnunet):
    trainer, message = run_broken(nnunet, [15])  # the last iteration of the second epoch
    assert "weights are not finite any more since iteration 15 (epoch 1), in pseudo_main" in message


def test_mixed_precision_skips_a_step_and_the_training_goes_on(nnunet):
    trainer = make_trainer(nnunet)
    trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    trainer.num_iterations_per_epoch = 8
    trainer.initialize()
    Broken(trainer, [9, 11, 12])
    trainer.run_training()
    weights = read_checkpoint(trainer)["network_weights"].values()
    assert all(value.isfinite().all() for value in weights)
    log = Path(trainer.log_file).read_text()
    assert log.count("WARNING: the loss was not finite") == 1
    assert "(pclmix_pseudo_main)" in log


def test_warnings_are_logged(nnunet, monkeypatch):
    seen = []

    def find(series, classes, iterations, epochs):
        seen.append((len(series["pclmix_predicted_main"]), classes, iterations, epochs))
        return ["WARNING: something"] * (len(seen) == 2)

    monkeypatch.setattr("nnunetv2_pclmix.watching.epoch_log.find_warnings", find)
    trainer = make_trainer(nnunet)
    trainer.run_training()
    classes = ["background", "left", "right"]
    assert seen == [(1, classes, 4, 2), (2, classes, 4, 2)]
    assert Path(trainer.log_file).read_text().count("WARNING: something") == 1


# ---------------------------------------------------------------- clear errors before training


def test_without_ignore_label_it_refuses(nnunet):
    path = nnunet / "nnUNet_preprocessed" / DATASET / "dataset.json"
    edit_json(path, lambda d: d["labels"].pop("ignore"))
    with pytest.raises(RuntimeError, match="no 'ignore' label .*plan_and_preprocess"):
        make_trainer(nnunet).run_training()


def test_without_gpu_the_remedy_is_named(nnunet, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    trainer = make_trainer(nnunet)
    trainer.device = torch.device("cuda")
    with pytest.raises(RuntimeError, match="sees no GPU.*small-plans.*-device cpu"):
        trainer.run_training()


def test_a_batch_that_processes_cannot_share_equally_is_refused(nnunet, monkeypatch):
    monkeypatch.setattr("nnunetv2_pclmix.training.requirements.world_size", lambda: 3)
    trainer = make_trainer(nnunet)
    with pytest.raises(RuntimeError, match="batch of 4 .* 3 processes.*GPUs.*small-plans"):
        trainer.initialize()
    # each sample has a Dice of its own: nothing is gathered
    trainer.configuration_manager.configuration["batch_dice"] = False
    trainer.initialize()
    monkeypatch.setattr("nnunetv2_pclmix.training.requirements.world_size", lambda: 2)
    make_trainer(nnunet).initialize()


def test_plans_of_two_stages_are_refused(nnunet):
    def two(plans):
        network = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
        network.update(n_stages=2, features_per_stage=[8, 16], n_conv_per_stage_decoder=[1])
        for key in ("kernel_sizes", "strides", "n_conv_per_stage"):
            network[key] = network[key][:2]

    edit_json(nnunet / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json", two)
    with pytest.raises(RuntimeError, match="2 stages.*at least 3"):
        make_trainer(nnunet).initialize()


def test_plans_of_other_architectures_are_refused_by_name(nnunet):
    def residual_decoder(plans):
        architecture = plans["configurations"]["2d"]["architecture"]
        architecture["network_class_name"] = (
            "dynamic_network_architectures.architectures.unet.ResidualUNet"
        )
        network = architecture["arch_kwargs"]
        network["n_blocks_per_stage"] = network.pop("n_conv_per_stage")

    edit_json(nnunet / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json", residual_decoder)
    with pytest.raises(ValueError, match="build a ResidualUNet.*PlainConvUNet and Residual"):
        make_trainer(nnunet).initialize()


def test_a_class_that_is_never_annotated_is_named(nnunet):
    path = nnunet / "nnUNet_preprocessed" / DATASET / "dataset.json"
    labels = {"background": 0, "left": 1, "right": 2, "spleen": 3, "ignore": 4}
    edit_json(path, lambda d: d.update(labels=labels))
    with pytest.raises(RuntimeError, match=r"no voxel of spleen \(label 3\).*4 training cases"):
        make_trainer(nnunet).run_training()


def test_cases_of_the_splits_that_are_not_preprocessed_are_named(nnunet):
    path = nnunet / "nnUNet_preprocessed" / DATASET / "splits_final.json"
    path.write_text('[{"train": ["case0", "case1"], "val": ["case2", "new1"]}]')
    with pytest.raises(
        RuntimeError,
        match="^1 case of the splits is not preprocessed in .*/nnUNetPlans_2d: new1. "
        "Run: nnUNetv2_preprocess -d 901 -plans_name nnUNetPlans -c 2d$",
    ):
        trainer = make_trainer(nnunet)
        earlier = Path(trainer.output_folder) / "checkpoint_final.pth"
        earlier.parent.mkdir(parents=True, exist_ok=True)
        earlier.write_text("of a finished training")
        trainer.run_training()
    assert earlier.exists(), "a training that is refused leaves what is there"


def test_missing_background_scribbles_are_named(nnunet):
    import blosc2

    for path in (nnunet / "nnUNet_preprocessed" / DATASET / "nnUNetPlans_2d").glob("*_seg.b2nd"):
        array = blosc2.open(str(path), mode="r")[:]
        array[array <= 0] = 3
        path.unlink()
        blosc2.asarray(np.ascontiguousarray(array), urlpath=str(path))
    with pytest.raises(RuntimeError, match=r"background \(label 0\).*Draw background scribbles"):
        make_trainer(nnunet).run_training()


def test_cases_that_were_preprocessed_before_there_was_an_ignore_label_are_refused(nnunet):
    class Before(nnUNetDatasetBlosc2):
        def load_case(self, identifier):
            data, labels, previous, properties = super().load_case(identifier)
            places = properties["class_locations"]
            places = {k: v for k, v in places.items() if not isinstance(k, tuple)}
            return data, labels, previous, {**properties, "class_locations": places}

    trainer = make_trainer(nnunet)
    trainer.initialize()
    trainer.dataset_class = Before
    with pytest.raises(RuntimeError, match="preprocessed without an 'ignore' label, dataset.json"):
        trainer.on_train_start()


def test_checkpoints_of_others_are_refused_with_the_remedy(trained, nnunet):
    path = str(Path(trained.output_folder) / "checkpoint_final.pth")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["current_epoch"] -= 1
    torch.save(checkpoint, path)
    with pytest.raises(RuntimeError, match="other settings.*contrast = True, now False"):
        make_trainer(nnunet, variants.nnUNetTrainerPCLMix_noContrast).load_checkpoint(path)
    del checkpoint["pclmix"]
    torch.save(checkpoint, path)
    with pytest.raises(RuntimeError, match="-pretrained_weights"):
        make_trainer(nnunet).load_checkpoint(path)


def test_a_finished_training_of_other_settings_is_validated_but_not_continued(trained, nnunet):
    path = str(Path(trained.output_folder) / "checkpoint_final.pth")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["optimizer_state"] = {}  # of other parts than those of today
    torch.save(checkpoint, path)
    trainer = make_trainer(nnunet, variants.nnUNetTrainerPCLMix_noContrast)
    trainer.num_epochs = checkpoint["current_epoch"]
    trainer.load_checkpoint(path)
    weights = bare(trainer.network).state_dict()
    for name, value in checkpoint["network_weights"].items():
        assert torch.equal(weights[name], value)
    trainer.perform_actual_validation()
    assert (Path(trainer.output_folder) / "validation" / "summary.json").is_file()
    log = Path(trainer.log_file).read_text()
    assert "WARNING: only its validation can be run." in log and "contrast = True, now False" in log
    with pytest.raises(RuntimeError, match="other settings"):
        trainer.run_training()


def test_a_checkpoint_that_carries_code_is_not_executed(trained, nnunet, tmp_path):
    path = Path(trained.output_folder) / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=True)

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    checkpoint["init_args"]["extra"] = Evil()
    torch.save(checkpoint, path)
    with pytest.raises(Exception, match="more than plain data"):
        make_trainer(nnunet).load_checkpoint(str(path))
    assert not (tmp_path / "executed").exists()
