"""nnU-Net's own interfaces to trained models, with a PCLMix model beside a stock one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.ensembling import ensemble
from nnunetv2.evaluation import find_best_configuration
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.model_sharing import entry_points
from nnunetv2.postprocessing import remove_connected_components
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as stock_module
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_pclmix import cli
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from tests.conftest import DATASET
from tests.nnunetv2_pclmix.conftest import draw_all
from tests.nnunetv2_pclmix.test_trainer import ONLY_NNUNET, make_trainer

OURS, STOCK = (f"{name}__nnUNetPlans__2d" for name in ("nnUNetTrainerPCLMix", "nnUNetTrainer"))
FINAL = "checkpoint_final.pth"


@pytest.fixture(scope="module")
def models(preprocessed, tmp_path_factory):
    """Results: a stock model (fold 0) and ours (folds 0 and all), validated with --npz."""
    results = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed"):
            patch.setenv(name, str(preprocessed / name))
        patch.setenv("nnUNet_results", str(results))
        patch.setenv("nnUNet_n_proc_DA", "0")
        draw_all(patch)  # nnU-Net's zip asks for its picture
        patch.setattr(stock_module, "default_num_processes", 1)
        torch.manual_seed(0)
        np.random.seed(0)
        for cls, fold in (
            (nnUNetTrainer, 0),
            (nnUNetTrainerPCLMix, 0),
            (nnUNetTrainerPCLMix, "all"),
        ):
            trainer = make_trainer(preprocessed, cls, epochs=1, fold=fold)
            trainer.num_iterations_per_epoch = 2
            trainer.run_training()
            trainer.perform_actual_validation(save_probabilities=True)
        yield results / DATASET


def command(monkeypatch, entry_point, *arguments):
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    entry_point()


def predictor_of(folder: Path, folds=(0,)) -> nnUNetPredictor:
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), folds)
    return predictor


def data_for(predictor: nnUNetPredictor) -> torch.Tensor:
    return torch.randn(1, 2, 40, 36, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("fold", [0, "all"])
def test_the_predictor_has_the_stock_network_and_its_predictions_bit_for_bit(models, fold):
    predictor = predictor_of(models / OURS, (fold,))
    checkpoint = torch.load(models / OURS / f"fold_{fold}" / FINAL, weights_only=True)
    stock = nnUNetTrainer.build_network_architecture(
        predictor.plans_manager,
        predictor.configuration_manager,
        num_input_channels=1,
        num_output_channels=3,
        enable_deep_supervision=False,
    )
    stock.load_state_dict(checkpoint["network_weights"])
    assert type(predictor.network) is type(stock)
    assert [(n, p.shape) for n, p in predictor.network.named_parameters()] == [
        (n, p.shape) for n, p in stock.named_parameters()
    ]
    by_hand = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    by_hand.manual_initialization(
        stock,
        predictor.plans_manager,
        predictor.configuration_manager,
        [checkpoint["network_weights"]],
        predictor.dataset_json,
        "nnUNetTrainer",
        checkpoint["inference_allowed_mirroring_axes"],
    )
    data = data_for(predictor)
    ours = predictor.predict_logits_from_preprocessed_data(data)
    assert torch.equal(ours, by_hand.predict_logits_from_preprocessed_data(data))
    other = predictor_of(models / OURS, ("all" if fold == 0 else 0,))
    assert not torch.equal(ours, other.predict_logits_from_preprocessed_data(data))


def test_find_best_configuration_compares_and_ensembles_it_with_the_stock_model(
    models, monkeypatch, capsys
):
    monkeypatch.setattr(remove_connected_components, "default_num_processes", 1)
    command(
        monkeypatch,
        find_best_configuration.find_best_configuration_entry_point,
        *("901", "-c", "2d", "-tr", "nnUNetTrainer", "nnUNetTrainerPCLMix", "-f", 0, "-np", 1),
    )
    information = json.loads((models / "inference_information.json").read_text())
    both = {STOCK, OURS, f"ensemble___{STOCK}___{OURS}___0"}
    assert set(information["all_results"]) == both
    assert Path(information["best_model_or_ensemble"]["postprocessing_file"]).is_file()
    assert "nnUNetv2_predict -d Dataset901_Tiny" in capsys.readouterr().out
    summary = json.loads((models / OURS / "crossval_results_folds_0" / "summary.json").read_text())
    assert np.isfinite(summary["foreground_mean"]["Dice"])


def test_ensemble_averages_it_with_the_stock_model(models, preprocessed, monkeypatch, tmp_path):
    image = str(preprocessed / "nnUNet_raw" / DATASET / "imagesTr" / "case0_0000.nii.gz")
    for model in (OURS, STOCK):
        (tmp_path / model).mkdir()
        predictor_of(models / model).predict_from_files_sequential(
            [[image]], str(tmp_path / model), save_probabilities=True
        )
    command(
        monkeypatch,
        ensemble.entry_point_ensemble_folders,
        *("-i", tmp_path / OURS, tmp_path / STOCK, "-o", tmp_path / "mean", "-np", 1, "--save_npz"),
    )
    ours, stock, mean = (
        np.load(tmp_path / folder / "case0.npz")["probabilities"]
        for folder in (OURS, STOCK, "mean")
    )
    np.testing.assert_allclose(mean, (ours + stock) / 2, rtol=1e-6)
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "mean" / "case0.nii.gz")))
    np.testing.assert_array_equal(label, mean.argmax(0))


def test_nnunets_zip_can_be_exported_and_installed(models, monkeypatch, tmp_path):
    for folds, file in (((0,), "one.zip"), (("all",), "all.zip")):
        arguments = ("-d", 901, "-o", tmp_path / file, "-c", "2d", "-tr", "nnUNetTrainerPCLMix")
        export = entry_points.export_pretrained_model_entry
        command(monkeypatch, export, *arguments, "-f", *folds)
        monkeypatch.setenv("nnUNet_results", str(tmp_path / "elsewhere"))
        command(monkeypatch, entry_points.install_from_zip_entry_point, tmp_path / file)
        monkeypatch.setenv("nnUNet_results", str(models.parent))
        installed = predictor_of(tmp_path / "elsewhere" / DATASET / OURS, folds)
        trained = predictor_of(models / OURS, folds)
        data = data_for(trained)
        assert torch.equal(
            installed.predict_logits_from_preprocessed_data(data),
            trained.predict_logits_from_preprocessed_data(data),
        )


def test_our_export_predicts_by_nnunetv2_predict_without_this_package(
    models, preprocessed, tmp_path
):
    """Installed from the zip, found without -tr, the package hidden; labels as from training."""
    zipped = tmp_path / "model.zip"
    assert cli.main(["export", str(models / OURS), str(zipped), "--folds", "0"]) == 0
    script = tmp_path / "predict.py"
    install_and_predict = ONLY_NNUNET.replace(
        "    predict_entry_point()",
        "    from nnunetv2.model_sharing.model_import import install_model_from_zip_file\n"
        f"    install_model_from_zip_file({str(zipped)!r})\n"
        "    predict_entry_point()",
    )
    assert "install_model_from_zip_file(" in install_and_predict
    script.write_text(install_and_predict)
    (tmp_path / "images").mkdir()
    image = preprocessed / "nnUNet_raw" / DATASET / "imagesTr" / "case0_0000.nii.gz"
    (tmp_path / "images" / image.name).write_bytes(image.read_bytes())
    out = tmp_path / "out"
    options = ["-d", DATASET, "-c", "2d", "-f", "0", "-i", tmp_path / "images", "-o", out]
    options += ["-device", "cpu", "-npp", "0", "-nps", "0", "--save_probabilities"]
    result = subprocess.run(
        [sys.executable, *map(str, (script, *options))],
        capture_output=True,
        text=True,
        env={**os.environ, "nnUNet_results": str(tmp_path / "elsewhere")},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (tmp_path / "here").mkdir()
    predictor_of(models / OURS).predict_from_files_sequential(
        [[str(image)]], str(tmp_path / "here"), save_probabilities=True
    )
    one, two = (np.load(f / "case0.npz")["probabilities"] for f in (out, tmp_path / "here"))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("source", [STOCK, OURS])
@pytest.mark.parametrize("fold", [0, "all"])
def test_pretrained_weights_of_either_trainer_start_a_training(models, nnunet, source, fold):
    path = models / source / "fold_0" / FINAL
    weights = torch.load(path, weights_only=source == OURS)["network_weights"]
    trainer = make_trainer(nnunet, epochs=1, fold=fold)
    trainer.initialize()
    added = {k: v.clone() for k, v in trainer.network.training_only_state().items()}
    head = {k: v.clone() for k, v in trainer.network.state_dict().items() if ".seg_layers." in k}
    maybe_load_checkpoint(trainer, False, False, str(path))
    state = trainer.network.state_dict()
    assert state.keys() == weights.keys()
    for key, value in state.items():  # nnU-Net leaves the segmentation layers as they are
        assert torch.equal(value, head.get(key, weights[key])), key
    now = trainer.network.training_only_state()
    assert added
    assert all(torch.equal(now[key], value) for key, value in added.items())
    assert trainer.iteration == trainer.current_epoch == 0
    trainer.num_iterations_per_epoch = 1
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", -1))


def test_the_stock_trainer_starts_from_our_weights(models, nnunet):
    path = models / OURS / "fold_0" / FINAL
    trainer = make_trainer(nnunet, nnUNetTrainer)
    maybe_load_checkpoint(trainer, False, False, str(path))
    weights = torch.load(path, weights_only=True)["network_weights"]
    key = "decoder.stages.0.convs.0.conv.weight"
    assert torch.equal(trainer.network.state_dict()[key], weights[key])
