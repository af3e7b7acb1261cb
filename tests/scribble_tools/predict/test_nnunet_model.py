"""A trained model through `scribble_tools.predict`: nnU-Net's own labels, and its members."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from scribble_tools.predict.nnunet_model import NNUNetModel, find_model


def stock(model, folds, mirroring):
    predictor = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(model), folds)
    return predictor


def test_labels_and_probabilities_are_nnunets_own(trained):
    model, dataset = trained
    file = dataset / "imagesTr" / "case0_0000.nii.gz"
    found = NNUNetModel(find_model(model), device="cpu").predict([file])
    image = sitk.ReadImage(str(file))
    array = sitk.GetArrayFromImage(image)[None]
    properties = {"spacing": image.GetSpacing()[::-1]}
    labels, probabilities = stock(model, (0, 1), True).predict_single_npy_array(
        array, properties, save_or_return_probabilities=True
    )
    assert found.labels.shape == image.GetSize()[::-1]
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-6)


def test_members_are_every_fold_as_it_is_and_mirrored(trained):
    model, dataset = trained
    file = dataset / "imagesTr" / "case0_0000.nii.gz"
    opened = NNUNetModel(find_model(model), device="cpu")
    members = list(opened.predict_members([file]))
    assert opened.mirror_axes == (0, 1) and len(members) == 2 * 3
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[None]
    for fold in (0, 1):
        plain = stock(model, (fold,), False)
        for place, axis in enumerate((None, 2, 3)):
            flipped = array if axis is None else np.flip(array, axis)
            _, expected = plain.predict_single_npy_array(
                np.ascontiguousarray(flipped), {"spacing": (5, 1, 1)}, None, None, True
            )
            expected = expected if axis is None else np.flip(expected, axis)
            np.testing.assert_allclose(members[3 * fold + place].probabilities, expected, atol=2e-3)
    assert not np.allclose(members[0].probabilities, members[3].probabilities, atol=1e-3)
    # and the model predicts afterwards as before
    labels = opened.predict([file]).labels
    np.testing.assert_array_equal(labels, NNUNetModel(find_model(model)).predict([file]).labels)


def test_without_mirroring_a_fold_is_one_member(trained):
    model, dataset = trained
    opened = NNUNetModel(find_model(model / "fold_1"), device="cpu", mirroring=False)
    assert opened.model.folds == ("1",)
    assert len(list(opened.predict_members([dataset / "imagesTr" / "case0_0000.nii.gz"]))) == 1


def test_a_folder_without_model_is_refused_by_all_that_it_lacks(trained, tmp_path):
    model, _ = trained
    with pytest.raises(FileNotFoundError, match=r"dataset.json, no .*plans.json, no .*fold_X"):
        find_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="fold_7/checkpoint_final.pth"):
        find_model(model, ["7"])
    with pytest.raises(FileNotFoundError, match="not a folder"):
        find_model(tmp_path / "missing")


def test_a_training_in_its_first_epoch_is_no_missing_model(trained, tmp_path):
    model = tmp_path / "results" / trained[0].parent.name / trained[0].name
    fold = model / "fold_0"
    fold.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="there is no .*dataset.json"):
        find_model(model)
    (fold / "training_log_2026_1_1_00_00_00.txt").touch()
    command = "nnUNetv2_train Dataset901_Tiny 2d 0 -tr nnUNetTrainerPCLMix -p nnUNetPlans"
    said = "training of fold 0 was begun or refused, and has saved no checkpoint: the end of "
    said += f"{fold}/training_log_2026_1_1_00_00_00.txt says which."
    (fold / "debug.json").write_text('{"device": "cpu"}')
    for folds, where, end in ((None, model, " -device cpu"), (["0"], model, ""), (None, fold, "")):
        with pytest.raises(FileNotFoundError, match=f"{said} .* {command}{end}$"):
            find_model(where, folds)
        (fold / "debug.json").write_text('{"device": "cuda:0"}')
    with pytest.raises(FileNotFoundError, match="fold_1/checkpoint_final.pth"):
        find_model(model, ["1"])
    shutil.copytree(trained[0], model, dirs_exist_ok=True)
    assert find_model(model).folds == ("0", "1")


def test_an_unknown_trainer_is_named(trained, monkeypatch):
    model, _ = trained
    monkeypatch.setattr(
        "nnunetv2.inference.predict_from_raw_data.recursive_find_trainer_class_by_name",
        lambda name: (_ for _ in ()).throw(RuntimeError(f"no trainer {name}")),
    )
    with pytest.raises(ValueError, match="no trainer nnUNetTrainer.*package installed here"):
        NNUNetModel(find_model(model), device="cpu")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda own: own.pop("transpose_forward"), "KeyError: 'transpose_forward'"),
        (lambda own: own.update(transpose_forward=None), "TypeError"),
        (lambda own: own["configurations"]["2d"].pop("architecture"), "KeyError"),
        (
            lambda own: own["configurations"]["2d"]["architecture"]["arch_kwargs"].update(
                strides=[[1, 1]]
            ),
            "cannot be opened by nnU-Net",
        ),
    ],
)
def test_plans_that_nnunet_stops_at_are_an_error_in_words(trained, tmp_path, change, word):
    model = shutil.copytree(trained[0], tmp_path / "model")
    content = json.loads((model / "plans.json").read_text())
    change(content)
    (model / "plans.json").write_text(json.dumps(content))
    image = trained[1] / "imagesTr" / "case0_0000.nii.gz"
    with pytest.raises(ValueError, match=word):
        NNUNetModel(find_model(model), device="cpu").predict([image])
