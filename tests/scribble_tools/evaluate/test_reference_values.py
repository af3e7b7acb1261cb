"""References that have other values than the predictions."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.cli import main
from scribble_tools.dataset.label_set import parse_label_set
from scribble_tools.evaluate.folders import evaluate_folders
from scribble_tools.evaluate.reference_values import as_predicted, parse_reference_values
from scribble_tools.images.slicer_writer import NewSegment, write_segmentation

LABELS = parse_label_set(["RV=1", "LV=3"])


def write(path, array):
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.asarray(array)), str(path))


@pytest.fixture
def folders(tmp_path):
    """Predictions 0, 1, 3 and the same with 0, 600, 500; one of them with a voxel of 7."""
    rng = np.random.default_rng(0)
    for case in ("c0", "c1"):
        array = rng.choice([0, 1, 3], (4, 9, 9)).astype(np.int16)
        write(tmp_path / "pred" / f"{case}.nii.gz", array)
        reference = np.select([array == 1, array == 3], [600, 500], 0).astype(np.int16)
        if case == "c1":
            reference[0, 0, 0] = 7
        write(tmp_path / "ref" / f"{case}.nii.gz", reference)
    return tmp_path


def run(folders, *words):
    arguments = ["evaluate", str(folders / "pred"), str(folders / "ref"), "-np", "1"]
    return main([*arguments, "--labels", "RV=1", "LV=3", *words])


def test_references_of_other_values_are_scored_by_name(folders, capsys):
    words = ["--ref-labels", "RV=600", "LV=500", "background=7", "--out", str(folders / "out")]
    assert run(folders, *words) == 0
    content = json.loads((folders / "out" / "evaluation.json").read_text())
    # but for the voxel that is background in one of them
    assert content["summary"]["overall"]["dice"] == pytest.approx(1, abs=0.01)
    assert content["settings"]["reference_labels"] == ["RV=600", "LV=500", "background=7"]
    assert "without a name" not in capsys.readouterr().out


def test_what_has_no_name_is_noted(folders, capsys):
    assert run(folders, "--ref-labels", "RV=600", "LV=500") == 0
    note = "1 value of the references without a name in --ref-labels counted as background: 7: c1"
    assert note in capsys.readouterr().out


def test_without_the_option_its_name_is_said(folders, capsys):
    assert run(folders) == 0
    printed = capsys.readouterr().out
    assert "count as background" in printed
    assert "no value of the references is a class of the predictions" in printed


def test_the_ignore_label_of_the_references_stays():
    reference = np.array([0, 600, 9, 500, 5])
    values = parse_reference_values(["RV=600", "LV=500"], LABELS)
    mapped, remarks = as_predicted(reference, values, ignore=9)
    assert mapped.tolist() == [0, 1, 9, 3, 0]
    assert len(remarks) == 1
    named, _ = as_predicted(reference, {9: 1}, ignore=9)
    assert named.tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    "words, message",
    [
        (["RV=600"], "LV has no value there"),
        (["RV=600", "LV=500", "wall=3"], "with the names background, RV, LV"),
        (["RV=600", "LV=x"], "write RV=600 or"),
        (["RV=600", "LV"], "write NAME=VALUE"),
        (["RV=600", "LV=600"], "600 stands twice"),
        (["RV=600,600", "LV=500"], "600 stands twice"),
    ],
)
def test_words_that_say_nothing_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        parse_reference_values(words, LABELS)


def test_regions_have_no_single_value(folders, capsys):
    with pytest.raises(ValueError, match="of several are heart"):
        parse_reference_values(["heart=1"], parse_label_set(["heart=1,2"]))
    arguments = ["evaluate", str(folders / "pred"), str(folders / "ref"), "--ref-labels", "RV=600"]
    assert main(arguments) == 1
    assert "name the classes with --labels" in capsys.readouterr().err


def test_a_wrong_patient_regex_is_told_before_anything_is_scored(folders, capsys, monkeypatch):
    def scored(*_):
        raise AssertionError("scored before")

    monkeypatch.setattr("scribble_tools.evaluate.command.evaluate_folders", scored)
    assert run(folders, "--patient-regex", "patient") == 1
    assert "does not match c0, c1" in capsys.readouterr().err


def write_segments(path, labels, names):
    """Segments of these names with the values 1, 2, ..., of (z, y, x) labels that are these."""
    path.parent.mkdir(exist_ok=True)
    segments = [NewSegment(name, (1, 0, 0), labels == k) for k, name in enumerate(names, 1)]
    write_segmentation(segments, sitk.GetImageFromArray(labels), path)


def test_segments_that_bear_another_class_name_are_refused(tmp_path, capsys):
    rng = np.random.default_rng(0)
    labels = parse_label_set(["A=1", "B=2", "left C=3"])
    for case in ("c0", "c1"):
        array = rng.integers(0, 4, (3, 8, 8)).astype(np.uint8)
        write(tmp_path / "pred" / f"{case}.nii.gz", array)
        exchanged = np.array([0, 2, 1, 3], np.uint8)[array]
        names = ["B", "A", "left C"]
        write_segments(tmp_path / "ref" / f"{case}.seg.nrrd", exchanged, names)
    folders = tmp_path / "pred", tmp_path / "ref"
    with pytest.raises(ValueError) as caught:
        evaluate_folders(*folders, labels, num_processes=1)
    text = str(caught.value)
    assert text.startswith("2 problems")
    assert "segment 'B' has the value 1, but the class of that name has 2 (so in 2 files)" in text
    assert "say --ref-labels A=2 B=1 'left C=3'" in text
    values = parse_reference_values(["A=2", "B=1", "left C=3"], labels)
    found = evaluate_folders(*folders, labels, num_processes=1, ref_values=values)
    assert {score.dice for score in found.scores} == {1.0}
    with pytest.raises(ValueError, match="bring them to label values by their names"):
        evaluate_folders(*folders[::-1], labels, num_processes=1)


def test_slicers_box_around_its_segments_is_put_in_place(tmp_path):
    labels = np.zeros((4, 20, 20), np.uint8)
    labels[1:3, 5:9, 6:14], labels[2, 10:13, 8:10] = 1, 2
    write(tmp_path / "pred" / "c0.nii.gz", labels)
    write_segments(tmp_path / "ref" / "c0.seg.nrrd", labels, ["A", "B"])
    path = tmp_path / "ref" / "c0.seg.nrrd"
    whole = sitk.ReadImage(str(path))
    sitk.WriteImage(whole[5:15, 4:14, 1:3], str(path))
    folders = tmp_path / "pred", tmp_path / "ref"
    found = evaluate_folders(*folders, parse_label_set(["A=1", "B=2"]), num_processes=1)
    assert {score.dice for score in found.scores} == {1.0}
    sitk.WriteImage(whole[5:15, 4:14, 1:3], str(tmp_path / "ref" / "c0.nii.gz"))
    path.unlink()
    with pytest.raises(ValueError, match=r"size \(20, 20, 4\) against .* Are they of one case\?"):
        evaluate_folders(*folders, num_processes=1)


def test_segments_numbered_as_the_classes_are_scored(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (3, 8, 8)).astype(np.uint8)
    write(tmp_path / "pred" / "c0.nii.gz", labels)
    write_segments(tmp_path / "ref" / "c0.seg.nrrd", labels, ["a", "cyst"])
    found = evaluate_folders(
        tmp_path / "pred", tmp_path / "ref", parse_label_set(["A=1", "B=2"]), num_processes=1
    )
    assert {score.dice for score in found.scores} == {1.0}


def test_the_ignore_label_of_the_predictions_is_a_value_like_others_in_references(folders, capsys):
    for case in ("c0", "c1"):
        path = folders / "ref" / f"{case}.nii.gz"
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        array[:2][array[:2] == 0] = 4
        write(path, array)
    content = {"labels": {"background": 0, "RV": 1, "MYO": 2, "LV": 3, "ignore": 4}}
    content |= {"channel_names": {"0": "MRI"}, "numTraining": 1, "file_ending": ".nii.gz"}
    (folders / "dataset.json").write_text(json.dumps(content))
    words = ["--ref-labels", "RV=600", "LV=500", "background=7"]
    assert run(folders, *words) == 0
    assert "without a name in --ref-labels counted as background: 4" in capsys.readouterr().out
    assert run(folders, *words, "--ignore-label", "4") == 0
    assert "without a name" not in capsys.readouterr().out


def test_a_fold_without_validation_cases_is_refused(folders, capsys):
    (folders / "splits.json").write_text(json.dumps([{"train": ["c0", "c1"], "val": []}]))
    assert run(folders, "--splits", str(folders / "splits.json")) == 1
    assert "fold 0 validates on no case" in capsys.readouterr().err
