"""CASE01 and case01 are one file on macOS and Windows: no command puts both into a data set."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli
from scribble_tools.check.command import check_dataset
from scribble_tools.dataset.case_names import alike, alike_problems

SHAPE = (3, 20, 24)
SENTENCE = "names of cases differ in upper and lower case only: CASE01 and case01, X and x. On mac"


@pytest.fixture(autouse=True)
def cases_differ(tmp_path):
    (tmp_path / "A").touch()
    if (tmp_path / "a").exists():
        pytest.skip("this disk takes A and a for one file")
    (tmp_path / "A").unlink()


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def dense():
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 5:12, 6:15] = 1
    return labels


def strokes(background=0, organ=1, unlabelled=2):
    labels = np.full(SHAPE, unlabelled, np.uint8)
    labels[:, 2, 2:20], labels[:, 8, 8:13] = background, organ
    return labels


def write_folder(root, names):
    for k, name in enumerate(names):
        image = np.random.default_rng(k).integers(0, 99, SHAPE).astype(np.int16)
        write(root / "images" / f"{name}.nii.gz", image)
        write(root / "scribbles" / f"{name}.nii.gz", strokes(2, 1, 0))


def convert(root, *more):
    line = ["convert", "folder", "--images", root / "images", "--scribbles", root / "scribbles"]
    line += ["--dataset-id", "1", "--out", root / "raw", *more]
    return cli.main([str(word) for word in line])


def first_time(root, *more):
    line = ["--labels", "background=2", "A=1", "--unlabelled", "0", "--name", "N"]
    return convert(root, *line, *more)


def test_convert_refuses_all_pairs_in_one_sentence(tmp_path, capsys):
    write_folder(tmp_path, ["CASE01", "case01", "x", "X", "other"])
    assert first_time(tmp_path) == 1
    assert capsys.readouterr().err.count(SENTENCE) == 1
    assert not list((tmp_path / "raw").glob("*"))


def test_update_refuses_a_new_case_that_is_like_an_old_one(tmp_path, capsys):
    write_folder(tmp_path, ["CASE01", "other"])
    assert first_time(tmp_path) == 0
    for folder in ("images", "scribbles"):
        file = tmp_path / folder / "CASE01.nii.gz"
        file.rename(file.with_name("case01.nii.gz"))
    before = {path: path.read_bytes() for path in (tmp_path / "raw").rglob("*") if path.is_file()}
    assert convert(tmp_path, "--update") == 1
    assert "upper and lower case only: CASE01 and case01. On macOS" in capsys.readouterr().err
    after = {path: path.read_bytes() for path in (tmp_path / "raw").rglob("*") if path.is_file()}
    assert after == before


BY_NAME = ("--patient-regex", "(.+)_")


def test_patients_are_not_told_apart_by_upper_and_lower_case(tmp_path, capsys):
    write_folder(tmp_path, ["ann_1", "Ann_2", "bea_1", "other_1"])
    assert first_time(tmp_path, *BY_NAME) == 1
    said = "patients differ in upper and lower case only: Ann and ann. If they are one, folds"
    assert said in capsys.readouterr().err
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\nann_1,a\nAnn_2,a\nbea_1,bea\nother_1,other\n")
    assert first_time(tmp_path, "--patients", table) == 0


def test_update_refuses_a_known_patient_in_other_letters(tmp_path, capsys):
    write_folder(tmp_path, ["ann_1", "bea_1"])
    assert first_time(tmp_path, *BY_NAME) == 0
    write_folder(tmp_path, ["Ann_2", "cat_1"])
    assert convert(tmp_path, "--update") == 1
    assert "upper and lower case only: Ann and ann. If" in capsys.readouterr().err


def test_check_asks_for_patients_in_other_letters(tmp_path):
    folder = raw_dataset(tmp_path, ["ann_1", "Ann_2", "bea_1"])
    found = check_dataset(folder, patient_regex=BY_NAME[1], num_processes=1).findings
    (finding,) = [f for f in found if f.code == "patients-in-other-letters"]
    assert finding.severity == "warning" and "patients Ann and ann differ" in finding.message


def raw_dataset(root, names):
    folder = root / "raw" / "Dataset150_X"
    for k, name in enumerate(names):
        image = np.random.default_rng(k).integers(0, 99, SHAPE).astype(np.int16)
        write(folder / "imagesTr" / f"{name}_0000.nii.gz", image)
        write(folder / "labelsTr" / f"{name}.nii.gz", strokes())
        write(folder / "labelsTr_dense" / f"{name}.nii.gz", dense())
    content = {"labels": {"background": 0, "A": 1, "ignore": 2}, "channel_names": {"0": "MRI"}}
    content |= {"numTraining": len(names), "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_check_has_an_error_for_each_pair(tmp_path, capsys):
    folder = raw_dataset(tmp_path, ["CASE01", "case01", "x", "X"])
    found = tmp_path / "found.json"
    assert cli.main(["check", str(folder), "--json", str(found), "-np", "1"]) == 1
    errors = [f for f in json.loads(found.read_text())["findings"] if f["severity"] == "error"]
    assert [(f["code"], f["where"]) for f in errors] == [
        ("names-alike", "CASE01 and case01"),
        ("names-alike", "X and x"),
    ]
    assert "in imagesTr, labelsTr differ in upper and lower case" in errors[0]["message"]


@pytest.mark.parametrize("what", ["data set", "folder"])
def test_generate_refuses_them(tmp_path, capsys, what):
    folder = raw_dataset(tmp_path, ["CASE01", "case01", "x", "X"])
    if what == "folder":
        folder = folder / "labelsTr_dense"
        words = ["--out", tmp_path / "out"]
    else:
        words = ["--dataset-id", "7", "--out", tmp_path / "out"]
    assert cli.main([str(word) for word in ["generate", folder, *words, "-np", 1]]) == 1
    said = capsys.readouterr().err
    assert "CASE01" in said and "differ in upper and lower case only" in said
    assert not list(tmp_path.glob("out/*"))


def test_which_names_are_alike():
    assert alike(["b", "a", "B", "a"]) == [("B", "b")]
    assert alike(["É", "é"]) == [("É", "é")]
    assert alike(["strasse", "straße"]) == []
    assert alike_problems(["a", "A", "b"], new=["b"]) == [] == alike_problems(["a", "b"])
