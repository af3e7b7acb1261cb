"""Which files `inspect` shows together, and the line where cases bear names of people."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli
from scribble_tools.survey.command import inspect_path
from scribble_tools.survey.name_groups import group_by_pattern
from tests.scribble_tools.survey.test_command import dense, image, paste, scribble, write

PEOPLE = "anna bert carl dora emil fritz gustav".split()


def cases_of(report, tmp_path):
    """How many cases the printed line converts."""
    assert paste(report, tmp_path) == 0
    return len([*(tmp_path / "raw/Dataset100_Own" / "imagesTr").iterdir()])


@pytest.mark.parametrize("people", [PEOPLE, PEOPLE[:3]], ids=len)
@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("scans/{}/scan", "strokes/{}/scan"),
        ("{}/img/scan", "{}/seg/scan"),
        ("{}/image", "{}/label"),
        ("{}/{}", "{}/{}_drawn"),
        ("img_{}", "lab_{}"),
        ("images/img_{}", "labels/lab_{}"),
        ("site{site}/img/{}", "site{site}/lab/{}"),
    ],
)
def test_the_line_takes_all_cases_called_by_names_of_people(tmp_path, people, images, labels):
    for k, person in enumerate(people):
        for form, array in ((images, image(k)), (labels, scribble(0, 5))):
            write(tmp_path / "data" / f"{form.format(person, person, site=k % 2)}.nii.gz", array)
    report = inspect_path(tmp_path / "data")
    assert len(report["groups"]) == 2
    assert "other scribbles" not in report["advice"]
    assert paste(report, tmp_path) == 0
    folder = tmp_path / "raw/Dataset100_Own"
    assert len([*(folder / "labelsTr").iterdir()]) == len(people)
    patients = json.loads((folder / "conversion.json").read_text())["cases"]
    assert sorted(patients) == people


def test_no_line_takes_one_case_for_all(tmp_path):
    for k, person in enumerate(PEOPLE):
        write(tmp_path / "own" / person / "img" / f"{chr(97 + k) * 2}.nii.gz", image(k))
        write(tmp_path / "own" / person / "seg" / f"{chr(97 + k) * 2}.nii.gz", scribble(0, 5))
    assert cases_of(inspect_path(tmp_path / "own"), tmp_path) == len(PEOPLE)


@pytest.mark.parametrize("site", ["Site A/", "Site B/"])
def test_the_line_takes_all_sites_though_one_image_has_no_strokes(tmp_path, site):
    for k in range(6):
        name = f"Site {'AB'[k % 2]}/{{}}/case{k}.nii.gz"
        write(tmp_path / "own" / name.format("img"), image(k))
        if k > 1 or not name.startswith(site):
            write(tmp_path / "own" / name.format("seg"), scribble(0, 5))
    report = inspect_path(tmp_path / "own")
    assert "1 image has no strokes (case" in report["advice"]
    assert cases_of(report, tmp_path) == 6


def layout(root, *names, sites=("Aachen", "Bonn")):
    """Files of two sites, six cases together: names of images, strokes, dense labels, others."""
    for k in range(6):
        for name, array in zip(names, (image(k), scribble(0, 5), dense(), image(k)), strict=False):
            write(root / sites[k >= 3] / f"{name.format(k)}.nii.gz", array)


@pytest.mark.parametrize(
    "names",
    [
        ("img/p{}_f1", "strokes/s{}_f1"),
        ("case{}", "case{}_seg"),
        ("img/case{}", "strokes/case{}_s", "dense/case{}_gt"),
        ("img/case{}", "strokes/case{}", "dense/case{}"),
        ("case{}", "strokes/case{}_s", "dense/gt_case{}"),
    ],
)
def test_label_files_of_sites_are_never_taken_for_images(tmp_path, names):
    layout(tmp_path / "own", *names)
    report = inspect_path(tmp_path / "own")
    unclear = names in (
        ("img/p{}_f1", "strokes/s{}_f1"),
        ("case{}", "strokes/case{}_s", "dense/gt_case{}"),
    )
    assert ("PATTERN" in report["command"]) == unclear
    if unclear:
        return  # the user is to fill in patterns
    assert paste(report, tmp_path) == 0
    record = json.loads((tmp_path / "raw/Dataset100_Own/conversion.json").read_text())
    kinds = [Path(name).name.format("#") for name in names]
    for case in record["cases"].values():
        for kind, path in zip(kinds, (*case["images"], case["scribble"]), strict=False):
            assert re.sub(r"\d+", "#", Path(path).name, count=1) == f"{kind}.nii.gz"
    if len(names) == 3 and names[0] == names[2].replace("dense", "img"):
        assert all(case["dense"] for case in record["cases"].values())


def test_images_for_testing_are_not_drawn_into_the_training(tmp_path):
    for k in range(9):
        folder = "imagesTr" if k < 6 else "imagesTs"
        write(tmp_path / "own" / folder / f"case{k}.nii.gz", image(k))
        if k < 5:
            write(tmp_path / "own" / "labelsTr" / f"case{k}_seg.nii.gz", scribble(0, 5))
    report = inspect_path(tmp_path / "own")
    assert "1 image has no strokes (case5)" in report["advice"]
    assert cases_of(report, tmp_path) == 6


def test_images_beside_those_of_all_sites_are_named(tmp_path):
    layout(tmp_path / "own", "img/case{}", "seg/case{}")
    write(tmp_path / "own" / "Aachen" / "extra" / "scan1.nii.gz", image())
    assert "takes no image of" in inspect_path(tmp_path / "own")["advice"]


def test_images_that_the_line_does_not_take_are_named(tmp_path):
    for k in range(4):
        write(tmp_path / "own" / "img" / f"case{k}.nii.gz", image(k))
        write(tmp_path / "own" / "seg" / f"case{k}.nii.gz", scribble(0, 5))
    for k in range(3):
        write(tmp_path / "own" / "more" / "other" / f"scan{k}.nii.gz", image(k))
    report = inspect_path(tmp_path / "own")
    assert f"the line takes no image of {tmp_path / 'own/more/other'} (3 files)" in report["advice"]
    assert cases_of(report, tmp_path) == 4


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        # kinds of files, not cases
        (["{}/a.nrrd", "{}/b.nrrd"], ["images/*", "labels/*", "full/*"]),
        # classes: files are called as the images
        (["labels/{}/p1.nrrd", "images/p1_0000.nrrd"], ["labels/bg/*", "labels/rv/*"]),
    ],
)
def test_folders_of_images_labels_and_classes_are_no_cases(tmp_path, names, patterns):
    folders = [pattern.split("/")[-2] for pattern in patterns]
    folders += ["lv"] * (len(folders) < 3)
    for folder in folders:
        for name in names:
            path = tmp_path / name.format(folder)
            few = folder != "images" and path.parent.name != "images"
            write(path, scribble() if few else image())
    files = sorted(tmp_path.rglob("*.nrrd"))
    assert not any("#/" in pattern for pattern in group_by_pattern(files, tmp_path))


def test_the_first_word_of_all_files_says_nothing(tmp_path):
    files = [tmp_path / f"vol_{name}_{kind}.nrrd" for name in PEOPLE for kind in ("ct", "label")]
    assert [*group_by_pattern(files, tmp_path)] == ["*_ct.nrrd", "*_label.nrrd"]


@pytest.mark.parametrize("form", ["files", "4D", "vector"])
def test_names_of_several_channels_are_asked_for_in_the_line(tmp_path, capsys, form):
    for k in range(2):
        images = [image(k), image(k + 2)]
        if form == "files":
            for channel, array in enumerate(images):
                write(tmp_path / f"data/images/p{k}_{channel:04d}.nii.gz", array)
        elif form == "vector":
            write(tmp_path / f"data/images/p{k}.nii.gz", np.stack(images, -1))
        else:
            write(tmp_path / "one.nii.gz", images[0])
            one = sitk.ReadImage(str(tmp_path / "one.nii.gz"))
            (tmp_path / "data/images").mkdir(parents=True, exist_ok=True)
            both = sitk.JoinSeries([one, one + 1])
            sitk.WriteImage(both, str(tmp_path / f"data/images/p{k}.nii.gz"))
        write(tmp_path / f"data/labels/p{k}.nii.gz", scribble(0, 5))
    report = inspect_path(tmp_path / "data")
    assert "--channel-names NAME1 NAME2 --name Data" in report["command"]
    assert "each case has 2 channels: put their names after --channel-names" in report["advice"]
    own = report["command"].replace("--channel-names NAME1 NAME2", "--channel-names T1 T2")
    unnamed = re.sub(r"NAME(?=\d?=)", "Own", report["command"])
    assert cli.main(shlex.split(unnamed)[1:]) == 1
    assert "fill in: --channel-names NAME1 NAME2. Put" in capsys.readouterr().err
    assert paste({**report, "command": own}, tmp_path) == 0
    content = json.loads((tmp_path / "raw/Dataset100_Own/dataset.json").read_text())
    assert content["channel_names"] == {"0": "T1", "1": "T2"}


def test_a_picture_in_colour_needs_no_names_of_channels(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    for k in range(2):
        write(tmp_path / "photos" / f"a{k}.png", colours)
        write(tmp_path / "masks" / f"a{k}.png", scribble(0, 3)[0])
    assert "--channel-names" not in inspect_path(tmp_path)["command"]
