"""`scribble_tools suggest` with a tiny model of two folds."""

import csv
import json
import shutil

import matplotlib.image
import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.cli import main
from scribble_tools.images.slicer_segmentation import count_segment_voxels


def run(dataset, model, out, *words):
    return main(
        ["suggest", "--dataset", str(dataset), "--model", str(model), "--out", str(out)]
        + ["--device", "cpu", *words]
    )


@pytest.fixture(scope="module")
def suggested(trained, tmp_path_factory):
    model, dataset = trained
    out = tmp_path_factory.mktemp("suggest") / "next"
    assert run(dataset, model, out, "--places", "6", "--per-case", "2") == 0
    return out


def test_the_list_has_ranks_places_and_reasons(suggested):
    rows = list(csv.DictReader((suggested / "suggestions.csv").open()))
    content = json.loads((suggested / "suggestions.json").read_text())
    assert [row["rank"] for row in rows] == [str(k) for k in range(1, len(rows) + 1)]
    assert 0 < len(rows) <= 6 and len(content["places"]) == len(rows)
    assert content["folds"] == ["0", "1"] and content["predictions_per_case"] == 6
    assert content["mirroring"] is True and "images" not in content
    values = [float(row["value"]) for row in rows]
    assert values == sorted(values, reverse=True)
    cases = [row["case"] for row in rows]
    assert max(map(cases.count, cases)) <= 2
    for row in rows:
        assert row["reason"] and row["in_words"] and row["slice"] == row["z"]
        assert 0 <= int(row["x"]) < 48 and 0 <= int(row["y"]) < 48
        # ITK's left and back against 3D Slicer's right and front: the image's grid is at 0
        assert float(row["R"]) == -float(row["x"]) and float(row["S"]) == 5 * float(row["z"])


def test_label_files_hold_the_strokes_and_the_picture_is_one(suggested, trained):
    _, dataset = trained
    files = sorted((suggested / "labels").glob("*.nii.gz"))
    rows = list(csv.DictReader((suggested / "suggestions.csv").open()))
    assert {path.name.split(".")[0] for path in files} == {row["case"] for row in rows}
    for path in files:
        strokes = sitk.GetArrayFromImage(sitk.ReadImage(str(dataset / "labelsTr" / path.name)))
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        for label, value in ((0, 100), (1, 1), (2, 2)):  # 0 draws nothing
            np.testing.assert_array_equal(values == value, strokes == label)
    assert matplotlib.image.imread(suggested / "overview.png").shape[0] > 300


def test_a_folder_that_may_hold_strokes_is_never_replaced(suggested, trained, capsys):
    model, dataset = trained
    before = (suggested / "suggestions.csv").read_bytes()
    assert run(dataset, model, suggested) == 1
    assert "may hold strokes of yours" in capsys.readouterr().err
    assert (suggested / "suggestions.csv").read_bytes() == before


def test_a_killed_runs_work_does_not_count_as_strokes(trained, tmp_path, capsys):
    """An empty folder, and one in which only what a killed run left lies, are taken."""
    model, dataset = trained
    out = tmp_path / "next"
    (out / ".suggestions.0123456789abcdef" / "filling").mkdir(parents=True)
    note = {"work": ".suggestions.0123456789abcdef"}
    (out / ".suggestions.lock").write_text(json.dumps(note) + "\n")
    words = ("--fold", "0", "--no-mirroring", "--cases", "case0")
    assert run(dataset, model, out, *words) == 0
    assert "which a killed run left" in capsys.readouterr().err
    names = {path.name for path in out.iterdir()}
    assert names == {"labels", "overview.png", "suggestions.csv", "suggestions.json"}
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    assert run(dataset, model, link, *words) == 1
    assert "may hold strokes" in capsys.readouterr().err


def test_one_fold_not_mirrored_says_that_nothing_can_disagree(trained, tmp_path, capsys):
    model, dataset = trained
    words = ("--fold", "0", "--no-mirroring", "--cases", "case0", "--format", "slicer")
    assert run(dataset, model, tmp_path / "next", *words) == 0
    out = capsys.readouterr().out
    assert "nothing to disagree" in out and "strokes of your classes only. Then:" in out
    assert [p.name for p in (tmp_path / "next" / "labels").glob("case*")] == ["case0.seg.nrrd"]
    assert not list(tmp_path.glob(".next*")), "nothing temporary is left"


def test_where_nothing_speaks_for_a_stroke_it_says_what_to_do(
    trained, tmp_path, monkeypatch, capsys
):
    model, dataset = trained
    monkeypatch.setattr("scribble_tools.suggest.command.rank_cases", lambda *_: [])
    words = ["--cases", "case1", "--fold", "0", "--no-mirroring"]
    assert run(dataset, model, tmp_path / "next", *words) == 1
    assert (
        "nothing speaks for a stroke anywhere: all is predicted with certainty. Draw in some "
        "ordinary slices, or look at other images with --images FOLDER\n"
    ) in capsys.readouterr().err


def test_images_with_nan_are_named_before_anything_is_predicted(trained, tmp_path, capsys):
    model, dataset = trained
    raw = shutil.copytree(dataset, tmp_path / "raw" / dataset.name)
    for case in ("case0", "case1"):
        path = raw / "imagesTr" / f"{case}_0000.nii.gz"
        image = sitk.ReadImage(str(path))
        values = sitk.GetArrayFromImage(image)
        values[0, 0, 0] = np.nan
        sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    assert run(raw, model, tmp_path / "next") == 1
    error = capsys.readouterr().err
    assert "2 problems, nothing written" in error
    assert "case0_0000.nii.gz holds 1 voxel that is NaN" in error and "case1_0000" in error
    assert not (tmp_path / "next").exists()


def test_missing_cases_are_named_and_nothing_is_written(trained, tmp_path, capsys):
    model, dataset = trained
    assert run(dataset, model, tmp_path / "next", "--cases", "case0", "case77", "case78") == 1
    error = capsys.readouterr().err
    assert "case77" in error and "case78" in error and "case0_" not in error
    assert not list(tmp_path.iterdir())


def test_a_model_of_other_classes_is_refused(trained, tmp_path, capsys):
    model, dataset = trained
    other = tmp_path / "Dataset902_Other" / model.name
    shutil.copytree(model, other)
    content = json.loads((other / "dataset.json").read_text())
    content["labels"] = {"background": 0, "liver": 1, "ignore": 2}
    (other / "dataset.json").write_text(json.dumps(content))
    assert run(dataset, other, tmp_path / "next") == 1
    error = capsys.readouterr().err
    assert "dataset.json has other classes (liver=1) than" in error
    assert f"the model {other} is of Dataset902_Other, but --dataset is Dataset901_Tiny" in error
    assert not (tmp_path / "next").exists()


def test_images_without_annotation_are_looked_at_as_they_are(trained, tmp_path, capsys):
    model, dataset = trained
    for name in ("new_1", "new_2"):
        image = sitk.ReadImage(str(dataset / "imagesTr" / "case1_0000.nii.gz"))
        image = sitk.Cast(image * 2 if name == "new_2" else image, sitk.sitkFloat32)
        (tmp_path / "images").mkdir(exist_ok=True)
        sitk.WriteImage(image, str(tmp_path / "images" / f"{name}.nrrd"))
    out = tmp_path / "next"
    words = ["--images", str(tmp_path / "images"), "--no-mirroring", "--format", "slicer"]
    labels = sitk.Cast(image > 0, sitk.sitkUInt8)
    sitk.WriteImage(labels, str(tmp_path / "images" / "new_1_label.nrrd"))
    assert run(dataset, model, out, *words) == 1
    assert "looks like labels of an image beside it" in capsys.readouterr().err
    words += ["--exclude", "*_label.*"]
    assert run(dataset, model, out, *words) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == (
        f"  scribble_tools convert folder --update --scribbles {out / 'labels'} --images "
        f"{tmp_path / 'images'} --exclude '*_label.*' --dataset-id 901 --out {dataset.parent}"
    )
    content = json.loads((out / "suggestions.json").read_text())
    assert content["images"] == str(tmp_path / "images") and content["exclude"] == ["*_label.*"]
    assert content["mirroring"] is False
    rows = list(csv.DictReader((out / "suggestions.csv").open()))
    assert {row["case"] for row in rows} == {"new_1", "new_2"}
    counts, _ = count_segment_voxels(out / "labels" / "new_1.seg.nrrd")
    assert counts["left"] == 0 and any(name.startswith("look ") for name in counts)
    sitk.WriteImage(image, str(tmp_path / "images" / "case1.nrrd"))
    assert run(dataset, model, tmp_path / "again", *words) == 1
    assert "case1.nrrd: Dataset901_Tiny has a case of this name" in capsys.readouterr().err


def test_what_is_drawn_into_the_files_goes_into_the_data_set(suggested, trained, tmp_path):
    _, dataset = trained
    raw = tmp_path / "raw" / dataset.name
    shutil.copytree(dataset, raw)
    drawn = tmp_path / "drawn"
    shutil.copytree(suggested / "labels", drawn)
    file = sorted(drawn.glob("*.nii.gz"))[0]
    image = sitk.ReadImage(str(file))
    values = sitk.GetArrayFromImage(image)
    values[0, 45, 5:12], values[0, 40, 5:8] = 100, 2
    changed = sitk.GetImageFromArray(values)
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(file))
    before = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / "labelsTr" / file.name)))
    words = ["--dataset-id", "901", "--scribbles", str(drawn), "--out", str(raw.parent)]
    assert main(["convert", "folder", "--update", *words]) == 0
    after = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / "labelsTr" / file.name)))
    assert (after[0, 45, 5:12] == 0).all() and (after[0, 40, 5:8] == 2).all()
    assert (after != before).sum() == 10, "no prediction and no mark became a stroke"
    for path in sorted(drawn.glob("*.nii.gz"))[1:]:
        same = [(d / "labelsTr" / path.name).read_bytes() for d in (raw, dataset)]
        assert same[0] == same[1]


def test_files_to_pass_over_are_those_of_new_images_only(tmp_path, capsys):
    words = ["--dataset", "130", "--out", str(tmp_path / "next"), "--exclude", "*_old*"]
    assert main(["suggest", *words]) == 1
    assert "--exclude passes over files of --images" in capsys.readouterr().err
