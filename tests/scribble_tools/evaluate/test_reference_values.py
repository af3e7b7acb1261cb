"""References that have other values than the predictions."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.cli import main
from scribble_tools.dataset.label_set import parse_label_set
from scribble_tools.evaluate.reference_values import as_predicted, parse_reference_values

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
    assert "count as background" in capsys.readouterr().out


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
