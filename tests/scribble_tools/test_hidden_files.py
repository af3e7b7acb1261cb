"""What macOS and Windows leave beside files is no case; names are the same in any Unicode form."""

import json
import unicodedata

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli

APPLE = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(90)
SHAPE = (3, 20, 24)
LABELS = {"background": 0, "A": 1, "ignore": 2}


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 4.0))
    sitk.WriteImage(image, str(path))


def strew(folder):
    """What other systems leave behind in every folder."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(APPLE)
    for sub in [path for path in folder.rglob("*") if path.is_dir()]:
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (sub / name).write_bytes(b"\1")


def dense_labels():
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 5:12, 6:15] = 1
    return labels


def scribbles():
    labels = np.full(SHAPE, 2, np.uint8)
    labels[:, 2, 2:20], labels[:, 8, 8:13] = 0, 1
    return labels


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "raw" / "Dataset150_X"
    for k in range(3):
        image = np.random.default_rng(k).integers(0, 99, SHAPE).astype(np.int16)
        write(folder / "imagesTr" / f"c{k}_0000.nii.gz", image)
        write(folder / "labelsTr" / f"c{k}.nii.gz", scribbles())
        write(folder / "labelsTr_dense" / f"c{k}.nii.gz", dense_labels())
        write(tmp_path / "pred" / f"c{k}.nii.gz", dense_labels())
    content = {"labels": LABELS, "channel_names": {"0": "MRI"}, "numTraining": 3}
    content["file_ending"] = ".nii.gz"
    (folder / "dataset.json").write_text(json.dumps(content))
    strew(tmp_path)
    return folder


def run(*words):
    return cli.main([str(word) for word in words])


def test_check_has_one_finding_and_the_line_that_mends_it(dataset, capsys):
    assert run("check", dataset, "--json", dataset.parent / "found.json", "-np", 1) == 1
    out = capsys.readouterr().out
    found = json.loads((dataset.parent / "found.json").read_text())["findings"]
    errors = [f for f in found if f["severity"] == "error"]
    assert [f["code"] for f in errors] == ["hidden-files"]
    assert "6 hidden files, such as imagesTr/._c0_0000.nii.gz" in errors[0]["message"]
    assert not [f for f in found if f["severity"] == "warning"]
    line = f"  find {dataset} -name '._*' -delete"
    assert line in out.splitlines()
    for path in dataset.rglob("._*"):  # what the line does
        path.unlink()
    assert run("check", dataset, "-np", 1) == 0


def test_other_commands_pass_them_over(dataset, tmp_path, capsys):
    pred, dense = tmp_path / "pred", dataset / "labelsTr_dense"
    assert run("evaluate", pred, dense, "-np", 1) == 0
    assert "1.000 ± 0.000" in capsys.readouterr().out
    out = tmp_path / "out"
    assert run("generate", dataset, "--dataset-id", 151, "--out", out, "-np", 1) == 0
    assert len([*(out / "Dataset151_XScribbles" / "labelsTr").iterdir()]) == 3
    assert run("generate", dense, "--out", out / "drawn", "-np", 1) == 0
    assert len([*(out / "drawn").iterdir()]) == 4  # and generated.json
    assert run("preview", dataset, "--out", out / "pictures", "--pred", pred, "-np", 1) == 0
    assert len([*(out / "pictures").glob("*.png")]) == 3
    assert run("inspect", tmp_path, "-np", 1) == 0
    assert "._" not in capsys.readouterr().out


def test_restoring_and_converting_pass_them_over(dataset, tmp_path):
    record = {"classes": {"background": [0], "A": [300]}, "unlabelled": [7]}
    path = tmp_path / "conversion.json"
    path.write_text(json.dumps({"scribble_labels": record}))
    out = tmp_path / "out"
    assert run("restore-labels", tmp_path / "pred", "--dataset", path, "--out", out) == 0
    restored = sorted(p.name for p in out.iterdir() if not p.name.startswith("restored."))
    assert restored == [f"c{k}.nii.gz" for k in range(3)]
    words = ["--labels", "background=0", "A=1", "--unlabelled", 2, "--name", "Y", "--out", out]
    folders = ["--images", dataset / "imagesTr", "--scribbles", dataset / "labelsTr"]
    assert run("convert", "folder", *folders, *words, "--dataset-id", 152, "-np", 1) == 0
    scribbles_folder = ("--scribbles", dataset / "labelsTr")
    plain = tmp_path / "plain" / "Dataset153_Z"
    content = json.loads((dataset / "dataset.json").read_text())
    content["labels"] = {"background": 0, "A": 1}
    for sub, name in (("imagesTr", "imagesTr"), ("labelsTr_dense", "labelsTr")):
        (plain / name).mkdir(parents=True)
        for file in (dataset / sub).iterdir():
            (plain / name / file.name).write_bytes(file.read_bytes())
    (plain / "dataset.json").write_text(json.dumps(content))
    words = [plain, *scribbles_folder, "--dataset-id", 154, "--out", out, "-np", 1]
    assert run("convert", "scribblebench", *words) == 0


def decomposed(path):
    path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))


def test_names_of_other_forms_belong_together(dataset, tmp_path, capsys):
    for path in [*tmp_path.rglob("._*"), *tmp_path.rglob("Thumbs.db")]:
        path.unlink()
    for path in tmp_path.rglob("c0*.nii.gz"):
        path.rename(path.with_name(path.name.replace("c0", "é0")))
    for folder in (dataset / "labelsTr", tmp_path / "pred"):
        decomposed(folder / "é0.nii.gz")
    assert run("evaluate", tmp_path / "pred", dataset / "labelsTr_dense", "-np", 1) == 0
    words = ["preview", dataset, "--out", tmp_path / "pictures", "--cases", "é0", "-np", 1]
    assert run(*words, "--pred", tmp_path / "pred") == 0
    capsys.readouterr()
    assert run("check", dataset, "-np", 1) == 1  # nnU-Net compares bytes
    out = capsys.readouterr().out
    assert f"convmv -r -f utf8 -t utf8 --nfc --notest {dataset}" in out
    assert out.count("error ") == 1 and "has an image but no label" not in out
    out = tmp_path / "out"
    assert run("generate", dataset, "--dataset-id", 155, "--out", out, "-np", 1) == 0
    names = {p.name for p in (out / "Dataset155_XScribbles").rglob("*0*.nii.gz")}
    assert names >= {"é0_0000.nii.gz", "é0.nii.gz"}
    assert all(name == unicodedata.normalize("NFC", name) for name in names)
