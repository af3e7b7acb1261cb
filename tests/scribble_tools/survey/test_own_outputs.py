"""`inspect` on what `suggest` and `predict` wrote."""

import json
import shlex

import pytest

from scribble_tools import cli
from scribble_tools.dataset.not_strokes import NotStrokes
from scribble_tools.survey.command import inspect_path
from tests.scribble_tools.survey.test_command import dense, image, scribble, write, write_strokes


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """Dataset100_Hearts with the cases p1_a to p3_b, and nnUNet_raw."""
    for name in (f"p{k}_{frame}" for k in (1, 2, 3) for frame in "ab"):
        write(tmp_path / "hearts" / "images" / f"{name}.nrrd", image())
        write_strokes(tmp_path / "hearts" / "strokes" / f"{name}.seg.nrrd")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    monkeypatch.chdir(tmp_path)
    words = ["--patient-regex", r"(p\d+)", "--labels", "background=Background", "RV=RV"]
    words += ["--dataset-id", "100", "--name", "Hearts", "--out", "raw", "-np", "1"]
    folders = ["--images", "hearts/images", "--scribbles", "hearts/strokes"]
    assert cli.main(["convert", "folder", *folders, *words]) == 0
    return tmp_path / "raw" / "Dataset100_Hearts"


def suggested(folder, cases, name="Dataset100_Hearts"):
    """Files as `suggest` lays them."""
    for case in cases:
        write_strokes(folder / "labels" / f"{case}.seg.nrrd")
    NotStrokes().write(folder / "labels")
    (folder / "suggestions.json").write_text(json.dumps({"dataset": name, "places": []}))


@pytest.mark.parametrize("inside", ["", "labels"])
def test_the_line_for_files_of_suggest_updates_their_data_set(tmp_path, dataset, inside):
    suggested(tmp_path / "next", ["p1_a", "p3_b"])
    report = inspect_path(tmp_path / "next" / inside)
    assert report["layout"] == "label files that scribble_tools suggest wrote"
    words = shlex.split(report["command"])
    assert words[1:4] == ["convert", "folder", "--update"] and "--labels" not in words
    assert words[words.index("--dataset-id") + 1] == "100" and "--images" not in words
    assert cli.main(words[1:]) == 0


@pytest.mark.parametrize("table", [True, False])
def test_new_images_of_suggest_are_asked_for(tmp_path, dataset, table):
    suggested(tmp_path / "next", ["p9_a"])
    if table:
        (tmp_path / "next" / "patients.csv").write_text("case,patient\np9_a,nine\n")
    report = inspect_path(tmp_path / "next" / "labels")
    assert "--images IMAGES" in report["command"] and "IMAGES is the folder" in report["advice"]
    assert ("--patients" if table else "--patient-regex '(p\\d+)'") in report["command"]
    write(tmp_path / "new" / "p9_a.nrrd", image())
    assert cli.main(shlex.split(report["command"].replace("IMAGES", "new"))[1:]) == 0


@pytest.mark.parametrize(
    ("name", "number"), [("Dataset130_Hearts", "130"), ("Hearts", "ID")], ids=str
)
def test_the_data_set_of_suggest_may_lie_elsewhere(tmp_path, monkeypatch, name, number):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    suggested(tmp_path / "next", ["p1_a"], name)
    report = inspect_path(tmp_path / "next" / "labels")
    assert report["command"].endswith(f'--dataset-id {number} --out "$nnUNet_raw"')
    assert ("ID is that data set's number" in report["advice"]) == (number == "ID")


def predicted(folder, cases):
    """Files as `predict` lays them."""
    for case in cases:
        write(folder / f"{case}.nii.gz", dense())
        write(folder / "uncertainty" / f"{case}.nii.gz", image() / 900)
    model = "/results/Dataset100_Hearts/Trainer__nnUNetPlans__2d"
    (folder / "prediction.json").write_text(json.dumps({"model": model}))
    labels = {"background": 0, "RV": 1, "ignore": 2}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


@pytest.mark.parametrize("inside", ["", "uncertainty"])
def test_predictions_are_to_be_scored(tmp_path, inside):
    predicted(tmp_path / "pred", ["p7_a", "p8_a"])
    report = inspect_path(tmp_path / "pred" / inside)
    assert report["layout"] == "predictions that scribble_tools predict wrote"
    assert report["command"] == f"scribble_tools evaluate {tmp_path}/pred REF"
    assert "scribble_tools report" not in report["advice"]  # which shows a data set's own images


def test_predictions_of_cases_of_the_data_set_get_a_report(tmp_path, dataset):
    predicted(tmp_path / "pred", ["p1_a"])
    report = inspect_path(tmp_path / "pred")
    line = f"scribble_tools report --dataset 100 --pred {tmp_path}/pred --out report.html"
    assert f"\n  {line}" in report["advice"]
    write(dataset / "labelsTr_dense" / "p1_a.nrrd", dense())
    line = inspect_path(tmp_path / "pred")["command"]
    assert line == f"scribble_tools evaluate {tmp_path}/pred {dataset}/labelsTr_dense"


def test_predictions_beside_other_files_are_no_data_set(tmp_path):
    predicted(tmp_path / "pred", ["p7_a", "p8_a"])
    for k in (1, 2):
        write(tmp_path / "images" / f"c{k}.nrrd", image())
        write(tmp_path / "strokes" / f"c{k}.nrrd", scribble(0, 5))
    line = inspect_path(tmp_path)["command"]
    assert line.startswith("scribble_tools convert folder --images ")
