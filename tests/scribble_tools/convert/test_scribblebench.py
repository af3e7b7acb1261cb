"""A dense nnU-Net data set and scribbles in both of ScribbleBench's conventions."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli
from scribble_tools.convert.conversion import write_scribble_dataset
from scribble_tools.convert.restore_labels import read_mapping, restore_labels
from scribble_tools.convert.scribblebench import scribblebench_source
from scribble_tools.convert.target import Target

SHAPE = (4, 9, 8)  # z, y, x
LABELS = {"background": 0, "liver": 1, "spleen": 2}
CASES = [f"p{k}_{phase}" for k in (1, 2, 3) for phase in "ab"]


def write(path, array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 3.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def write_dataset_json(root, **changes):
    content = {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": len(CASES),
        "file_ending": ".nrrd",
        **changes,
    }
    (root / "dense" / "dataset.json").write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path):
    for k, case in enumerate([*CASES, "test1"]):
        generator = np.random.default_rng(k)
        part = "Ts" if case == "test1" else "Tr"
        image = generator.integers(0, 900, SHAPE).astype(np.int16)
        write(tmp_path / "dense" / f"images{part}" / f"{case}_0000.nrrd", image)
        dense = generator.integers(0, 3, SHAPE).astype(np.uint8)
        write(tmp_path / "dense" / f"labels{part}" / f"{case}.nrrd", dense)
        if part == "Tr":
            highest = np.where(generator.random(SHAPE) < 0.3, dense, 3).astype(np.uint8)
            write(tmp_path / "highest" / f"{case}.nrrd", highest)
            zero = np.array([3, 1, 2, 0], np.uint8)[highest]
            write(tmp_path / "zero" / f"{case}.nrrd", zero)
    write_dataset_json(tmp_path)
    return tmp_path


def source(root, scribbles, *arguments, **options):
    return scribblebench_source(root / "dense", root / scribbles, *arguments, **options)


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("convention", ["highest", "zero"])
def test_both_conventions_give_the_same_data_set(root, convention, stated):
    found = source(root, convention, convention if stated else None)
    folder = write_scribble_dataset(found, Target(root / "raw", 30, "Organs"))
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == {**LABELS, "ignore": 3}
    assert content["channel_names"] == {"0": "CT"}
    assert content["file_ending"] == ".nrrd"
    for case in CASES:
        name = f"{case}.nrrd"
        assert np.array_equal(read(folder / "labelsTr" / name), read(root / "highest" / name))
        dense = read(root / "dense" / "labelsTr" / name)
        assert np.array_equal(read(folder / "labelsTr_dense" / name), dense)
    assert [p.name for p in (folder / "imagesTs").iterdir()] == ["test1_0000.nrrd"]
    assert [p.name for p in (folder / "labelsTs_dense").iterdir()] == ["test1.nrrd"]
    restored = restore_labels(folder / "labelsTr", read_mapping(folder), root / "restored")
    assert len(restored) == len(CASES)
    for path in restored:
        assert np.array_equal(read(path), read(root / convention / path.name))
    record = json.loads((folder / "conversion.json").read_text())
    assert (record["convention"], record["convention_stated"]) == (convention, stated)


@pytest.mark.parametrize(("convention", "wrong"), [("highest", "zero"), ("zero", "highest")])
def test_the_wrong_convention_is_refused_with_what_was_seen(root, convention, wrong):
    with pytest.raises(ValueError) as error:
        source(root, convention, wrong)
    message = str(error.value)
    assert f"--unlabelled {wrong} contradicts the dense labels: values seen" in message
    assert f"'{convention}' would call 0.00% of the organs' voxels background" in message


def test_without_dense_labels_the_convention_must_be_said(root):
    for path in (root / "dense" / "labelsTr").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="say --unlabelled highest .* values seen .*0: .*3: "):
        source(root, "zero")
    assert source(root, "zero", "zero").scribble_labels.unlabelled == (0,)
    assert source(root, "zero", "highest").scribble_labels.unlabelled == (3,)


def test_cases_of_a_patient_share_a_side(root):
    patients = {c.name: c.patient for c in source(root, "highest", patient_regex=r"p\d|test").cases}
    assert patients["p1_a"] == patients["p1_b"] == "p1"
    assert {c.patient for c in source(root, "highest").cases} == {*CASES, "test1"}
    with pytest.raises(ValueError, match=r"test1: --patient-regex 'p\\d' does not occur in it"):
        source(root, "highest", patient_regex=r"p\d")
    with pytest.raises(ValueError, match=r"test1: --patient-regex .* does not occur in it"):
        source(root, "highest", patient_regex=r"(p\d)|test")  # a match without the group
    with pytest.raises(ValueError, match=r"--patient-regex '\(': "):
        source(root, "highest", patient_regex="(")


def test_all_missing_files_are_named_at_once(root):
    (root / "highest" / "p1_a.nrrd").unlink()
    write(root / "highest" / "other.nrrd", np.zeros(SHAPE, np.uint8))
    with pytest.raises(ValueError) as error:
        source(root, "highest")
    message = str(error.value)
    assert message.startswith("2 problems, nothing written:")
    assert "p1_a_0000.nrrd has no scribble" in message
    assert "other.nrrd has no image in" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {**LABELS, "ignore": 3}},
        {"labels": {"background": 0, "liver": 2}},
        {"labels": {"background": 0, "whole": [1, 2]}},
        {"labels": {"0": "background", "1": "liver"}},
        {"file_ending": None, "labels": None},
    ],
)
def test_a_dataset_json_that_does_not_fit_is_refused(root, changes):
    write_dataset_json(root, **changes)
    with pytest.raises(ValueError, match="dataset.json"):
        source(root, "highest")


def test_missing_folders_and_files_are_named(root):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        source(root, "nowhere")
    (root / "dense" / "dataset.json").unlink()
    with pytest.raises(FileNotFoundError, match="is it a raw data set"):
        source(root, "highest")


def test_an_unreadable_scribble_is_reported(root):
    (root / "highest" / "p1_a.nrrd").write_bytes(b"no image")
    with pytest.raises(ValueError, match="p1_a.nrrd cannot be read as an image"):
        write_scribble_dataset(source(root, "highest"), Target(root / "raw", 30, "Organs"))


def test_a_case_without_strokes_only_when_said(root):
    write(root / "highest" / "p1_a.nrrd", np.full(SHAPE, 3, np.uint8))
    target = Target(root / "raw", 30, "Organs")
    with pytest.raises(
        ValueError, match="p1_a.nrrd: nothing is annotated; leave it out, or say --mixed"
    ):
        write_scribble_dataset(source(root, "highest"), target)
    folder = write_scribble_dataset(source(root, "highest", mixed=True), target)
    assert (read(folder / "labelsTr" / "p1_a.nrrd") == 3).all()


def test_command_line_says_the_convention(root, capsys):
    arguments = ["convert", "scribblebench", root / "dense", "--scribbles", root / "zero"]
    arguments += ["--dataset-id", 30, "--out", root / "raw"]
    assert cli.main(list(map(str, arguments))) == 0
    out = capsys.readouterr().out
    assert "convention: zero. values seen in the scribbles: 0: " in out
    assert "wrote 6 training cases of 6 patients and 1 case to predict" in out
