"""The layout of CycleMix's MSCMR data in miniature."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli
from scribble_tools.convert.conversion import write_scribble_dataset
from scribble_tools.convert.mscmr import mscmr_source
from scribble_tools.convert.restore_labels import read_mapping, restore_labels
from scribble_tools.convert.target import Target

SHAPE = (2, 8, 7)  # z, y, x


def write(path, array, origin=(1.0, 2.0, 3.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.75, 0.75, 5.0))
    image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return array


def write_subject(root, part, number, dense_values=(0, 1, 2, 3), **dense_geometry):
    generator = np.random.default_rng(number)
    images, labels = root / part / "images", root / part / "labels"
    write(images / f"subject{number}_DE.nii.gz", generator.integers(0, 900, SHAPE).astype(np.int16))
    classes = generator.integers(0, 4, SHAPE)
    if part == "train":
        strokes = np.where(generator.random(SHAPE) < 0.4, classes, 4).astype(np.uint16)
        strokes.flat[:2] = (0, 4)
        return write(labels / f"subject{number}_DE_scribble.nii.gz", strokes)
    dense = np.array(dense_values, np.int16)[classes]
    write(labels / f"subject{number}_DE_manual.nii.gz", dense, **dense_geometry)
    return classes


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "MSCMR_dataset"
    for number in (2, 4, 13):
        write_subject(root, "train", number)
    write_subject(root, "val", 1)
    write_subject(root, "TestSet", 3)
    return root


def convert(source, root):
    return write_scribble_dataset(source, Target(root.parent / "raw", 28, "MSCMR"))


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_labels_go_there_and_back(root):
    write_subject(root, "val", 1, (0, 600, 200, 500))
    write_subject(root, "TestSet", 3, (0, 600, 200, 500))
    folder = convert(mscmr_source(root, dense_values="challenge"), root)
    for values, sub, role, number in (
        ("scribble", "labelsTr", "_scribble", 3),
        ("dense", "labelsVal_dense", "_manual", 1),
        ("dense", "labelsTs_dense", "_manual", 1),
    ):
        restored = restore_labels(folder / sub, read_mapping(folder, values), root.parent / sub)
        assert len(restored) == number
        for path in restored:
            (original,) = root.rglob(path.name.replace(".nii.gz", f"{role}.nii.gz"))
            assert np.array_equal(read(path), read(original))


def test_scribbles_train_and_dense_cases_stay_apart(root):
    folder = convert(mscmr_source(root), root)
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*.nii.gz")}
    training = [f"subject{k}_DE" for k in (13, 2, 4)]
    assert names == {
        *(f"imagesTr/{case}_0000.nii.gz" for case in training),
        *(f"labelsTr/{case}.nii.gz" for case in training),
        "imagesVal/subject1_DE_0000.nii.gz",
        "labelsVal_dense/subject1_DE.nii.gz",
        "imagesTs/subject3_DE_0000.nii.gz",
        "labelsTs_dense/subject3_DE.nii.gz",
    }
    scribble = read(root / "train" / "labels" / "subject2_DE_scribble.nii.gz")
    assert np.array_equal(read(folder / "labelsTr" / "subject2_DE.nii.gz"), scribble)
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "RV": 1, "MYO": 2, "LV": 3, "ignore": 4}
    assert content["numTraining"] == 3
    record = json.loads((folder / "conversion.json").read_text())
    everyone = [*training, *record["cases"]]
    assert record["patients"] == {case: case.removesuffix("_DE") for case in everyone}
    splits = json.loads((folder / "splits_final.json").read_text())
    assert {c for fold in splits for c in fold["train"] + fold["val"]} == set(training)


def test_scribbles_from_several_folders(root):
    elsewhere = root.parent / "MSCMR_scribbles"
    elsewhere.mkdir()
    name = "subject2_DE_scribble.nii.gz"
    (root / "train" / "labels" / name).rename(elsewhere / name)
    source = mscmr_source(root, [root / "train" / "labels", elsewhere])
    scribbles = {case.name: case.scribble for case in source.cases}
    assert scribbles["subject2_DE"] == elsewhere / name
    assert scribbles["subject4_DE"].parent == root / "train" / "labels"


def test_the_challenges_own_values_when_said(root):
    classes = write_subject(root, "test", 40, dense_values=(0, 600, 200, 500))
    with pytest.raises(ValueError, match=r"subject40_DE_manual.nii.gz holds the values \[200, 500"):
        convert(mscmr_source(root), root)
    only = ["subject1_DE", "subject3_DE"]
    source = mscmr_source(root, dense_values="challenge", leave_out=only)
    folder = convert(source, root)
    assert np.array_equal(read(folder / "labelsTs_dense" / "subject40_DE.nii.gz"), classes)


def test_a_dense_label_on_another_grid_is_refused_with_a_way_out(root):
    write_subject(root, "TestSet", 5, origin=(9, 9, 9))
    with pytest.raises(ValueError) as error:
        convert(mscmr_source(root), root)
    message = str(error.value)
    assert message.startswith("1 problem, nothing written")
    assert "subject5_DE.nii.gz) does not lie on its image's voxel grid: size and" in message
    assert "--leave-out subject5_DE" in message
    folder = convert(mscmr_source(root, leave_out=["subject5_DE"]), root)
    assert [p.name for p in (folder / "imagesTs").iterdir()] == ["subject3_DE_0000.nii.gz"]


def test_all_missing_and_double_files_are_named_at_once(root):
    (root / "train" / "labels" / "subject2_DE_scribble.nii.gz").unlink()
    (root / "train" / "images" / "subject4_DE.nii.gz").unlink()
    write_subject(root, "val", 13)
    other = root / "train" / "images" / "copy" / "subject13_DE.nii.gz"
    write(other, np.zeros(SHAPE, np.int16))
    with pytest.raises(ValueError) as error:
        mscmr_source(root, leave_out=["subject99_DE"])
    lines = str(error.value).splitlines()
    assert lines[0] == "5 problems, nothing written:"
    for words in (
        "subject2_DE.nii.gz has no scribble: --scribbles FOLDER or --leave-out subject2_DE",
        "subject4_DE_scribble.nii.gz has no image in",
        "are of one subject: keep one",
        "are of one case: keep one",
        "--leave-out subject99_DE: there is no such case",
    ):
        assert sum(words in line for line in lines) == 1, words


def test_images_in_the_place_of_scribbles_are_asked_about(root):
    images = root / "train" / "images"
    with pytest.raises(ValueError) as error:
        mscmr_source(root, [images])
    text = "holds no *_DE_scribble.nii.gz, but files such as subject13_DE.nii.gz: are these images?"
    assert str(error.value).splitlines() == [
        "1 problem, nothing written:",
        f"{images} {text} Say --scribbles FOLDER",
    ]
    with pytest.raises(ValueError, match="such as subject1_DE_manual.nii.gz. Say --scribbles"):
        mscmr_source(root, [root / "train" / "labels", root / "val" / "labels"])


def test_missing_folders_are_named(root):
    with pytest.raises(FileNotFoundError, match="val.train.images is not a folder"):
        mscmr_source(root / "val")
    (root / "train" / "labels").rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match="labels is not a folder: give .* with --scribbles"):
        mscmr_source(root)


def test_command_line(root, capsys):
    arguments = ["convert", "mscmr", root, "--dataset-id", 28, "--out", root.parent / "raw"]
    assert cli.main([*map(str, arguments), "--leave-out", "subject2_DE"]) == 0
    assert "wrote 2 training cases of 2 patients and 2 cases to predict" in capsys.readouterr().out
    assert cli.main([*map(str, arguments), "--leave-out", "subject7_DE"]) == 1
    assert "no such case" in capsys.readouterr().err
