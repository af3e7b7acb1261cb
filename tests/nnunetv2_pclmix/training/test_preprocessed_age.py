"""A training that reads older data than there are says so, and begins all the same."""

import json
import os
import shutil
from pathlib import Path

import pytest

from nnunetv2_pclmix.training.preprocessed_age import age_warnings
from tests.nnunetv2_pclmix.training.test_resume import new_trainer

CASES = ["a", "b", "c", "d", "e"]
CONTENT = {"file_ending": ".nii.gz"}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Five cases, preprocessed a minute after they were drawn; returns raw and preprocessed."""
    raw = tmp_path / "raw" / "Dataset130_Hearts"
    done = tmp_path / "preprocessed" / raw.name / "nnUNetPlans_2d"
    monkeypatch.setenv("nnUNet_raw", str(raw.parent))
    for case in CASES:
        write(raw / "imagesTr" / f"{case}_0000.nii.gz", 1000)
        write(raw / "labelsTr" / f"{case}.nii.gz", 1000)
        write(done / f"{case}.pkl", 1060)
    return raw, done


def write(path, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (seconds, seconds))


def test_data_that_were_preprocessed_last_are_said_nothing_of(data):
    assert age_warnings(data[1], CONTENT, CASES) == []


def test_strokes_drawn_since_are_named(data):
    raw, done = data
    write(raw / "labelsTr" / "b.nii.gz", 2000)
    (line,) = age_warnings(done, CONTENT, CASES)
    assert "of 1 case are newer" in line and ": b. This training uses the old ones" in line
    assert line.endswith("only copied, run: nnUNetv2_plan_and_preprocess -d 130")
    assert age_warnings(done, CONTENT, ["a", "c"]) == []  # of another fold
    for case in CASES:
        write(raw / "labelsTr" / f"{case}.nii.gz", 2000)
    (line,) = age_warnings(done, CONTENT, CASES)
    assert "of 5 cases are newer" in line and ": a, b, c and 2 more." in line


def test_other_plans_are_preprocessed_by_their_own_command(data):
    raw, done = data
    write(raw / "labelsTr" / "b.nii.gz", 2000)
    small = done.rename(done.parent / "small_2d")
    configuration = {"data_identifier": "small_2d", "spacing": [1, 1], "architecture": {}}
    plans = {"plans_name": "small", "configurations": {"2d": configuration}}
    (small.parent / "small.json").write_text(json.dumps(plans))
    (line,) = age_warnings(small, CONTENT, CASES)
    assert line.endswith("run: nnUNetv2_preprocess -d 130 -plans_name small -c 2d")


def test_cases_in_no_fold_are_named(data):
    raw, done = data
    folds = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a", "d"]}]
    (done.parent / "splits_final.json").write_text(json.dumps(folds))
    (line,) = age_warnings(done, CONTENT, ["a", "b", "c"])
    assert "1 case of the raw data set is in no fold of splits_final.json: e." in line
    assert line.endswith("run: scribble_tools install-splits 130 --overwrite")
    folds[0]["val"].append("e")
    (done.parent / "splits_final.json").write_text(json.dumps(folds))
    assert age_warnings(done, CONTENT, ["a", "c", "d"]) == []
    (done.parent / "splits_final.json").write_text("no JSON")
    assert age_warnings(done, CONTENT, CASES) == []


def test_cases_that_were_never_preprocessed_are_named(data):
    raw, done = data
    write(raw / "labelsTr" / "new.nii.gz", 2000)  # without an image nnU-Net does not see it
    assert age_warnings(done, CONTENT, CASES) == []
    write(raw / "imagesTr" / "new_0000.nii.gz", 2000)
    (line,) = age_warnings(done, CONTENT, CASES)
    assert "1 case of the raw data set is not preprocessed: new. " in line
    assert "scribble_tools check 130" in line
    assert line.endswith("run: nnUNetv2_plan_and_preprocess -d 130")


@pytest.mark.parametrize("content", [CONTENT | {"dataset": {}}, {"file_ending": ".mha"}])
def test_files_that_lie_elsewhere_are_not_compared(data, content):
    raw, done = data
    write(raw / "labelsTr" / "b.nii.gz", 2000)
    assert age_warnings(done, content, CASES) == []


def test_a_training_needs_no_raw_data(data, monkeypatch):
    raw, done = data
    write(raw / "labelsTr" / "b.nii.gz", 2000)
    (raw / "labelsTr" / "b.nii.gz").rename(raw / "labelsTr" / "b\n.nii.gz")
    assert age_warnings(done, CONTENT, CASES) == []
    shutil.rmtree(raw)
    assert age_warnings(done, CONTENT, CASES) == []
    monkeypatch.delenv("nnUNet_raw")
    assert age_warnings(done, CONTENT, CASES) == []


def test_the_log_of_a_training_begins_with_it(nnunet):
    (label,) = (nnunet / "nnUNet_raw").glob("*/labelsTr/case1.nii.gz")
    trainer = new_trainer(nnunet)
    trainer.on_train_start()
    assert "newer than" not in Path(trainer.log_file).read_text()
    os.utime(label, (4e9, 4e9))
    trainer.on_train_start()
    assert "WARNING: labels or images of 1 case are newer" in Path(trainer.log_file).read_text()
