"""Dense scores of the final validation: written where they can be, never in a training's way."""

import json
import os
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_pclmix.training.dense_validation import MEANING, score_validation
from tests.conftest import LABELS, write_raw_dataset


@pytest.fixture
def folders(tmp_path):
    """Raw data set, and a validation folder that predicts the dense labels of case0 and case1."""
    raw, validation = tmp_path / "raw", tmp_path / "fold_0" / "validation"
    write_raw_dataset(raw)
    validation.mkdir(parents=True)
    for case in (0, 1):
        shutil.copy(raw / "labelsTr_dense" / f"case{case}.nii.gz", validation)
    (validation / "summary.json").write_text("{}")
    return raw, validation


def score(folders, dense="labelsTr_dense"):
    raw, validation = folders
    return score_validation(validation, raw / "dataset.json", raw / dense)


def summary_of(folders):
    return json.loads((folders[1] / "summary_dense.json").read_text())


def edit(path, change):
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    changed = sitk.GetImageFromArray(change(array))
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(path))


def test_pictures_are_measured_in_pixels(tmp_path):
    labels = np.zeros((12, 12), np.uint8)
    labels[2:6, 2:6], labels[8:10, 8:10] = 1, 2
    for folder in ("dense", "validation"):
        (tmp_path / folder).mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / folder / "a.png"))
    content = {"channel_names": {"0": "grey"}, "labels": LABELS, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps({**content, "numTraining": 1}))
    text = score_validation(tmp_path / "validation", tmp_path / "dataset.json", tmp_path / "dense")
    assert "left Dice 1.0000, HD95 0.00 px" in text and " mm" not in text


def test_perfect_predictions(folders):
    text = score(folders)
    assert "2 of 2 cases" in text
    assert "left Dice 1.0000, HD95 0.00 mm" in text
    assert "mean over classes Dice 1.0000, HD95 0.00 mm" in text
    assert MEANING in text
    summary = summary_of(folders)
    assert summary["scored_cases"] == ["case0", "case1"]
    assert summary["overall"]["dice"] == 1
    assert set(summary["per_class"]) == {"left", "right"}
    assert [row["case"] for row in summary["cases"]] == ["case0"] * 2 + ["case1"] * 2


def test_an_island_is_seen_that_nnunets_validation_cannot_see(folders):
    """A false island between the strokes: 8 mm above, x 2 mm of voxels, Dice by hand."""
    path = folders[1] / "case0.nii.gz"
    sizes = []

    def island(array):
        sizes.append((array == 1).sum())
        array[0, 44, 2:6] = 1
        return array

    edit(path, island)
    scribble = sitk.GetArrayFromImage(sitk.ReadImage(str(folders[0] / "labelsTr/case0.nii.gz")))
    assert (scribble[0, 44, 2:6] == LABELS["ignore"]).all()
    score(folders)
    row = summary_of(folders)["cases"][0]
    assert row["label"] == "left"
    assert row["dice"] == pytest.approx(2 * sizes[0] / (2 * sizes[0] + 4))
    assert row["islands"] == 1


def test_only_some_cases_have_dense_labels(folders):
    (folders[0] / "labelsTr_dense" / "case1.nii.gz").unlink()
    assert "1 of 2 cases" in score(folders)
    summary = summary_of(folders)
    assert (summary["scored_cases"], summary["validation_cases"]) == (["case0"], 2)


def test_regions_are_scored_as_regions(folders):
    path = folders[0] / "dataset.json"
    content = json.loads(path.read_text())
    content["labels"] = {"background": 0, "both": [1, 2], "right": 2, "ignore": 3}
    path.write_text(json.dumps(content))
    edit(folders[1] / "case0.nii.gz", lambda a: np.where(a == 1, 2, a).astype(np.uint8))
    score(folders)
    rows = {row["label"]: row["dice"] for row in summary_of(folders)["cases"][:2]}
    assert rows["both"] == 1
    assert 0 < rows["right"] < 1


def test_a_class_that_is_nowhere_is_no_number_but_valid_json(folders):
    for case in (0, 1):
        for folder in (folders[0] / "labelsTr_dense", folders[1]):
            edit(folder / f"case{case}.nii.gz", lambda a: np.where(a == 2, 0, a).astype(np.uint8))
    assert "right Dice undefined, HD95 undefined mm" in score(folders)
    assert summary_of(folders)["per_class"]["right"]["dice"] is None


def test_without_dense_labels_the_text_says_what_the_printed_dice_means(folders):
    (folders[1] / "summary_dense.json").write_text("of older predictions")
    raw, validation = folders
    for dense in (None, raw / "nowhere", raw / "imagesTr"):
        text = score_validation(validation, raw / "dataset.json", dense)
        assert text.startswith(MEANING)
        assert "labelsTr_dense" in text or str(dense) in text
    assert sorted(os.listdir(validation)) == ["case0.nii.gz", "case1.nii.gz", "summary.json"]


def test_broken_files_become_a_sentence(folders):
    raw, validation = folders
    dense = raw / "labelsTr_dense"
    whole = (dense / "case0.nii.gz").read_bytes()
    (dense / "case0.nii.gz").write_bytes(whole[:100])
    text = score(folders)
    assert text.startswith(MEANING)
    assert "could not be used" in text
    assert str(dense / "case0.nii.gz") in text
    (dense / "case0.nii.gz").write_bytes(whole)
    edit(validation / "case1.nii.gz", lambda a: a)
    image = sitk.GetImageFromArray(np.zeros((2, 2, 2), np.uint8))
    sitk.WriteImage(image, str(dense / "case1.nii.gz"))
    assert "does not lie on its reference's voxel grid" in score(folders)
    (raw / "dataset.json").write_text('{"labels": 3}')
    assert "dataset.json: labels is 3; expected names with values" in score(folders)
    (raw / "dataset.json").unlink()
    assert "could not be used" in score(folders)
    assert not (validation / "summary_dense.json").exists()
