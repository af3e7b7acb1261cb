"""`inspect` on small files of every format, written by real libraries."""

import json
import re
import shlex
from pathlib import Path

import h5py
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli
from scribble_tools.survey.command import examine, inspect_path
from scribble_tools.survey.text import TO_EDIT, format_report
from tests.scribble_tools.images.test_slicer_segmentation import write_seg

SHAPE = (3, 64, 64)  # z, y, x


def image(seed=0):
    return np.random.default_rng(seed).integers(0, 900, SHAPE).astype(np.int16)


def scribble(unlabelled=4, background=0):
    array = np.full(SHAPE, unlabelled, np.uint8)
    array[:, 20:40, 14] = 1
    array[:, 20:40, 40] = 2
    array[:, 5, 5:60] = background
    array[:, 5:60, 5] = background
    return array


def dense():
    array = np.zeros(SHAPE, np.uint8)
    array[:, 15:45, 10:25] = 1
    array[:, 15:45, 32:50] = 2
    return array


def write(path, array, spacing=(1.5, 1.5, 8.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = sitk.GetImageFromArray(array, isVector=array.ndim == 4 or array.shape[-1] == 3)
    if volume.GetDimension() == 3:
        volume.SetSpacing(spacing)
    sitk.WriteImage(volume, str(path))


def group(report, pattern, key=""):
    (found,) = [g for g in report["groups"] if (g["pattern"], g["key"]) == (pattern, key)]
    return found


def test_a_volume(tmp_path):
    write(tmp_path / "a12.nii.gz", image())
    report = inspect_path(tmp_path / "a12.nii.gz")
    found = group(report, "a#.nii.gz")
    assert (found["kind"], found["files"], found["dtypes"]) == (
        "image",
        1,
        ["16-bit signed integer"],
    )
    assert found["shape"]["lowest"] == [64, 64, 3]
    assert found["spacing_mm"]["highest"] == pytest.approx([1.5, 1.5, 8.0])
    assert found["range"] == [image().min(), image().max()]
    assert report["command"] == ""


def test_labels_over_all_files_and_the_odd_one_out(tmp_path):
    for k in range(3):
        write(tmp_path / f"case{k}.nii.gz", scribble())
    write(tmp_path / "case3.nii.gz", dense())
    found = group(inspect_path(tmp_path), "case#.nii.gz")
    assert (found["kind"], found["unlabelled"], found["background"]) == ("scribbles", 4, 0)
    assert found["others"] == {str(tmp_path / "case3.nii.gz"): "dense labels"}
    rows = {row["value"]: row for row in found["values"]}
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
    assert rows[4]["files"] == 3
    assert rows[4]["lowest"] == 0
    assert rows[4]["highest"] == pytest.approx((scribble() == 4).mean())
    text = format_report(inspect_path(tmp_path))
    assert "case3.nii.gz looks like: dense labels" in text
    assert "unlabelled?" in text


def test_values_in_few_of_many_files_are_traced_to_them(tmp_path):
    for k in range(4):
        array = scribble()
        array[0, 0, 0] = 6 if k == 2 else 4
        write(tmp_path / f"case{k}.nii.gz", array)
    text = format_report(inspect_path(tmp_path))
    assert f"\n    6 only in {tmp_path / 'case2.nii.gz'}\n" in text
    assert text.count("only in") == 1


@pytest.mark.parametrize(
    ("names", "regex"),
    [
        (("patient{}_a", "patient{}_b"), r"--patient-regex '(patient\d+)'"),
        (("heart {}_a", "heart {}_b"), r"--patient-regex '(heart\ \d+)'"),
        (("patient{}",), None),
        (("a{}", "b{}"), None),
        (("dish{}_1", "dish{}_2"), r"--patient-regex '(dish\d+)'"),
        (("sub-0{}_ses-1", "sub-0{}_ses-2"), r"--patient-regex '(sub\-\d+)'"),
        (("site1_p{}_1", "site2_p{}_1", "site2_p{}_2"), r"--patient-regex '(site\d+_p\d+)'"),
        (("photo_{}",), None),
        (("site{}_001", "site{}_002"), None),
    ],
)
def test_frames_of_one_patient_are_suggested_as_such(tmp_path, names, regex):
    for name in (name.format(k) for name in names for k in range(2)):
        write(tmp_path / "images" / f"{name}.nii.gz", image())
        write(tmp_path / "scribbles" / f"{name}.nii.gz", scribble())
    command = inspect_path(tmp_path)["command"]
    assert regex in command if regex else "--patient-regex" not in command


def test_images_numbered_within_a_dish_are_one_patient_of_the_converted_set(tmp_path):
    for name in (f"dish{dish}_{k}" for dish in range(1, 4) for k in range(1, 3)):
        write(tmp_path / "data" / f"{name}_img.nii.gz", image())
        write(tmp_path / "data" / f"{name}_lab.nii.gz", scribble(0, 5))
    assert paste(inspect_path(tmp_path / "data"), tmp_path) == 0
    record = json.loads((tmp_path / "raw/Dataset100_Own/conversion.json").read_text())
    patients = record["patients"]
    assert len(patients) == 6 and set(patients.values()) == {"dish1", "dish2", "dish3"}


@pytest.mark.parametrize(
    ("folder", "name"),
    [("hearts", "Hearts"), ("my hearts-2", "MyHearts2"), ("Müller", "NAME"), ("__", "NAME")],
)
def test_the_data_set_is_called_as_the_folder(tmp_path, folder, name):
    for k in (1, 2):
        write(tmp_path / folder / "images" / f"p{k}.nrrd", image())
        write_strokes(tmp_path / folder / "strokes" / f"p{k}.seg.nrrd")
    assert f" --name {name} " in inspect_path(tmp_path / folder)["command"]


def test_the_line_for_files_of_slicer_is_taken_as_it_stands(tmp_path, monkeypatch):
    for k in (1, 2):
        write(tmp_path / "hearts" / "images" / f"p{k}.nrrd", image())
        write_strokes(tmp_path / "hearts" / "strokes" / f"p{k}.seg.nrrd")
    monkeypatch.chdir(tmp_path / "hearts")
    line = inspect_path(Path("."))["command"].replace("$nnUNet_raw", str(tmp_path / "raw"))
    assert cli.main(shlex.split(line)[1:]) == 0
    assert (tmp_path / "raw" / "Dataset100_Hearts").is_dir()


def test_no_background_scribble_is_said(tmp_path):
    array = np.zeros(SHAPE, np.uint8)
    array[:, 20:40, 14] = 1
    write(tmp_path / "a.nrrd", array)
    text = format_report(inspect_path(tmp_path))
    assert "no value looks like a background scribble" in text
    assert "--labels background=VALUE NAME1=1 --unlabelled 0" in text


def test_the_number_of_files_read_is_capped(tmp_path):
    for k in range(5):
        write(tmp_path / f"case{k}.mha", scribble())
    found = group(inspect_path(tmp_path, max_files=2), "case#.mha")
    assert (found["files"], found["read"]) == (5, 2)
    with pytest.raises(ValueError, match="at least 1 file"):
        inspect_path(tmp_path, max_files=0)


def test_slicer_segments_by_name(tmp_path):
    array = np.zeros(SHAPE[::-1], np.uint8)
    array[5:10, 5:10, 0] = 3
    array[20:30, 5:10, 0] = 1
    header = {
        "space": "left-posterior-superior",
        "space directions": np.diag([1.5, 1.5, 8.0]),
        "Segment0_Name": "Background",
        "Segment0_LabelValue": "3",
        "Segment0_Layer": "0",
        "Segment1_Name": "Right ventricle",
        "Segment1_LabelValue": "1",
        "Segment1_Layer": "0",
    }
    nrrd.write(str(tmp_path / "anna.seg.nrrd"), array, header)
    write(tmp_path / "anna.nrrd", image())
    report = inspect_path(tmp_path)
    found = group(report, "anna.seg.nrrd")
    assert found["kind"] == "segments of 3D Slicer"
    values = {row["value"]: row["share"] * array.size for row in found["values"]}
    assert values["Background"] == pytest.approx(25)
    assert values["Right ventricle"] == pytest.approx(50)
    assert "convert folder" in report["command"]
    assert "background=Background 'Right_ventricle=Right ventricle'" in report["command"]
    assert "Right ventricle" in format_report(report)


def test_segments_that_overlap_count_once_in_what_is_in_none(tmp_path):
    volume = sitk.GetImageFromArray(image())
    layers = np.zeros((2, *SHAPE), np.uint8)
    layers[:, :, 5:60, 5:60] = 1
    path = tmp_path / "a.seg.nrrd"
    write_seg(path, volume, layers, [("A", 1, 0), ("B", 1, 1)])
    values = examine(path)[""]["values"]
    assert values == {"A": 3 * 55**2, "B": 3 * 55**2, "(no segment)": 3 * (64**2 - 55**2)}


def test_an_h5_with_nan_has_a_range_all_the_same(tmp_path):
    array = np.random.default_rng(0).normal(0, 1, SHAPE)
    array[0, 0, 0] = np.nan
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = array
    report = json.loads(json.dumps(inspect_path(tmp_path), allow_nan=False))
    found = group(report, "a.h5", "image")
    assert found["range"] == pytest.approx([np.nanmin(array), np.nanmax(array)])
    assert found["remarks"] == ["1 voxel is NaN or infinite"]


def test_h5_keys(tmp_path):
    with h5py.File(tmp_path / "patient021_frame01_slice_4.h5", "w") as file:
        file["image"] = image()[0] / 900
        file["scribble"] = scribble(255)[0]
        file["name"] = "text"
    report = inspect_path(tmp_path)
    pattern = "patient#_frame#_slice_#.h5"
    assert group(report, pattern, "image")["kind"] == "image"
    assert group(report, pattern, "scribble")["unlabelled"] == 255
    assert group(report, pattern, "name")["kind"] == "neither image nor labels"
    assert report["command"].startswith(
        f"scribble_tools convert wsl4mis {tmp_path} --images IMAGES"
    )
    assert "--unlabelled 255" in report["command"]
    assert "key 'scribble'" in format_report(report)


def test_png_labels_and_colours(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    write(tmp_path / "photos" / "a1.png", colours)
    write(tmp_path / "masks" / "a1.png", scribble(0, 3)[0])
    write(tmp_path / "painted" / "a1.png", np.stack([scribble()[0]] * 3, -1))
    report = inspect_path(tmp_path)
    assert group(report, "photos/a#.png")["channels"] == [3]
    assert "spacing_mm" not in group(report, "photos/a#.png")
    found = group(report, "masks/a#.png")
    assert (found["kind"], found["unlabelled"], found["background"]) == ("scribbles", 0, 3)
    painted = group(report, "painted/a#.png")
    assert (painted["kind"], painted["unlabelled"]) == ("scribbles", "#040404")
    assert "in colours: a class may be named by its colour" in painted["remarks"][0]
    assert report["command"].startswith(
        f"scribble_tools convert folder --images {tmp_path}/photos --scribbles {tmp_path}/masks "
        "--labels background=3 NAME1=1 NAME2=2 --unlabelled 0"
    )


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (("x{}_img.nrrd", "x{}_lab.nrrd"), ("{case}_img.nrrd", "{case}_lab.nrrd")),
        (("p{}/img.nrrd", "p{}/lab.nrrd"), ("{case}/img.nrrd", "{case}/lab.nrrd")),
        (("a/x{}_0000.nrrd", "b/x{}.nrrd"), None),
        (("a/x{}_t1.nrrd", "b/x{}.nrrd"), ("{case}_t1.nrrd", "{case}.nrrd")),
        (("img_{}.nrrd", "lab_{}.nrrd"), ("img_{case}.nrrd", "lab_{case}.nrrd")),
        (("img_{}_1.nrrd", "lab_{}_2.nrrd"), ("IMAGE_PATTERN", "SCRIBBLE_PATTERN")),
    ],
)
def test_patterns_that_pair_images_and_labels(tmp_path, names, patterns):
    for k in range(2):
        write(tmp_path / names[0].format(k), image())
        write(tmp_path / names[1].format(k), scribble())
    command = inspect_path(tmp_path)["command"]
    if patterns is None:
        assert "--image-pattern" not in command
    else:
        assert patterns[0] in command.split("--image-pattern")[1].split("--")[0]
        assert patterns[1] in command.split("--scribble-pattern")[1]


def test_many_names_are_grouped_by_their_last_word(tmp_path):
    for name in "abcdefghijklmn":
        write(tmp_path / f"{name}_label.nii.gz", scribble())
        write(tmp_path / f"{name}.nii.gz", image())
    report = inspect_path(tmp_path, max_files=2)
    assert group(report, "*_label.nii.gz")["files"] == 14
    assert group(report, "*.nii.gz")["kind"] == "image"
    assert (
        "--image-pattern '{case}.nii.gz' --scribble-pattern '{case}_label.nii.gz'"
        in (report["command"])
    )


def test_known_layouts(tmp_path):
    write(tmp_path / "acdc" / "patient001_frame01.nii.gz", image())
    write(tmp_path / "acdc" / "patient001_frame01_scribble.nii.gz", scribble())
    command = inspect_path(tmp_path / "acdc")["command"]
    assert f"convert acdc --images {tmp_path}/acdc --scribbles {tmp_path}/acdc " in command
    write(tmp_path / "ms" / "train" / "images" / "subject2_DE.nii.gz", image())
    write(tmp_path / "ms" / "train" / "labels" / "subject2_DE_scribble.nii.gz", scribble())
    values = np.array([0, 200, 500], np.uint16)[dense()]
    write(tmp_path / "ms" / "val" / "labels" / "subject1_DE_manual.nii.gz", values)
    report = inspect_path(tmp_path / "ms")
    assert not report["command"] and "this line would be refused" in report["advice"]
    assert f"convert mscmr {tmp_path}/ms --dense-values challenge" in report["advice"]
    assert "subject1_DE_manual.nii.gz has no image in" in report["advice"]
    write(tmp_path / "ms" / "val" / "images" / "subject1_DE.nii.gz", image())
    command = inspect_path(tmp_path / "ms")["command"]
    assert f"convert mscmr {tmp_path}/ms --dense-values challenge" in command
    write(tmp_path / "set" / "data" / "labelsTr" / "a.nii.gz", dense())
    write(tmp_path / "set" / "scribbles" / "a.nii.gz", scribble())
    labels = {"background": 0, "a": 1, "b": 2}
    dataset_json = tmp_path / "set" / "data" / "dataset.json"
    dataset_json.write_text(json.dumps({"labels": labels}))
    command = inspect_path(tmp_path / "set")["command"]
    expected = f"convert scribblebench {tmp_path}/set/data --scribbles {tmp_path}/set/scribbles"
    assert expected in command
    dataset_json.write_text(json.dumps({"labels": {**labels, "ignore": 3}}))
    command = inspect_path(tmp_path / "set" / "data" / "labelsTr")["command"]
    assert command == f"scribble_tools check {tmp_path}/set/data"
    dataset_json.write_text(json.dumps({"labels": {"0": "background", "1": "a"}}))
    assert "convert folder" in inspect_path(tmp_path / "set")["command"]


def test_names_of_mscmr_without_its_folders_are_no_layout(tmp_path):
    for k in (1, 2):
        write(tmp_path / "ms" / "images" / f"subject{k}_DE.nii.gz", image())
        write(tmp_path / "ms" / "labels" / f"subject{k}_DE_scribble.nii.gz", scribble())
    report = inspect_path(tmp_path / "ms")
    assert report["command"].startswith("scribble_tools convert folder")
    assert paste(report, tmp_path) == 0
    report = inspect_path(tmp_path / "ms" / "labels")
    assert "convert mscmr ROOT --scribbles" in report["command"]
    assert report["layout"] == "labels that are called like MSCMRseg's"


def test_two_public_sets_in_one_folder_get_a_line_each(tmp_path, monkeypatch, capsys):
    raw = tmp_path / "raw"
    (raw / "Dataset101_Taken").mkdir(parents=True)
    monkeypatch.setenv("nnUNet_raw", str(raw))
    here = tmp_path / "downloads"
    write(here / "acdc" / "patient001_frame01.nii.gz", image())
    write(here / "acdc" / "patient001_frame01_scribble.nii.gz", scribble())
    write(here / "ms" / "train" / "images" / "subject2_DE.nii.gz", image())
    write(here / "ms" / "train" / "labels" / "subject2_DE_scribble.nii.gz", scribble())
    report = inspect_path(here)
    (second,) = report["more"]
    assert report["command"].startswith(f"scribble_tools convert mscmr {here}/ms --dataset-id 100 ")
    expected = f"scribble_tools convert acdc --images {here} --scribbles {here} --dataset-id 102 "
    assert second["command"].startswith(expected)
    assert cli.main(["inspect", str(here)]) == 0
    printed = capsys.readouterr().out
    assert report["command"] in printed and second["command"] in printed
    for path in here.rglob("*_scribble.nii.gz"):  # of images alone nothing can be run
        path.unlink()
    assert not inspect_path(here)["more"]


def test_folders_are_shown_by_their_names(tmp_path):
    for k in (1, 2):
        write(tmp_path / "wsl4mis_h5" / f"c{k}.nii.gz", image())
        write(tmp_path / "set2" / f"p{k}" / "c1.nii.gz", image())
    text = format_report(inspect_path(tmp_path))
    assert "\nwsl4mis_h5/c#.nii.gz: 2 files\n" in text
    assert "\nset2/p#/c#.nii.gz: 2 files\n" in text


def test_label_maps_called_like_acdcs_images_are_none(tmp_path):
    for k in (1, 2):
        write(tmp_path / "predicted" / f"patient00{k}_frame01.nii.gz", dense())
    report = inspect_path(tmp_path / "predicted")
    assert report["layout"] == "dense labels" and "generate" in report["command"]


def test_own_strokes_for_acdcs_images_are_paired_as_any(tmp_path):
    for k in (1, 2):
        write(tmp_path / "own" / "images" / f"patient00{k}_frame01.nii.gz", image())
        strokes = scribble()
        write(tmp_path / "own" / "mine" / f"patient00{k}_frame01.nii.gz", strokes)
    report = inspect_path(tmp_path / "own")
    assert f"--scribbles {tmp_path}/own/mine" in report["command"]
    assert report["layout"] == "no known data set"


def test_of_two_folders_of_scribbles_of_acdc_one_is_taken(tmp_path, monkeypatch):
    root = tmp_path / "root 3"
    for k in (1, 2):
        name = f"patient00{k}_frame01"
        write(root / "training" / name[:10] / f"{name}.nii.gz", image(k))
        for folder in ("reader1", "reader2"):
            write(root / folder / f"{name}_scribble.nii.gz", scribble())
    report = inspect_path(root)
    assert f"--images '{root}' --scribbles '{root}/reader1' " in report["command"]
    assert f"elsewhere, too: --scribbles '{root}/reader2'" in report["advice"]
    line = report["command"].replace("$nnUNet_raw", str(tmp_path / "raw"))
    assert cli.main(shlex.split(line)[1:]) == 0
    assert (tmp_path / "raw" / "Dataset100_ACDCScribbles").is_dir()


def test_what_lies_beside_does_not_change_the_line(tmp_path):
    """New images in another folder, and dense labels that are one too many to pair."""
    for name in ("p1_a", "p1_b", "p2_a", "p2_b"):
        write(tmp_path / "images" / f"{name}.nii.gz", image())
        write(tmp_path / "scribbles" / f"{name}.nii.gz", scribble())
        write(tmp_path / "full" / f"{name}.nii.gz", 7 * dense())
    line = inspect_path(tmp_path)["command"]
    assert "--patient-regex" in line and "--dense-labels" in line and "--dense " in line
    for folder, array in (("new", image()), ("full", 7 * dense())):
        write(tmp_path / folder / "new 8.nii.gz", array)
    report = inspect_path(tmp_path)
    assert "--patient-regex '(p\\d+)'" in report["command"]
    assert "--dense" not in report["command"]
    assert f"the command with --dense {tmp_path}/full says why" in report["advice"]


@pytest.mark.parametrize(
    ("names", "lost"),
    [
        (["c0/s", "c1/s", "c2/S_1"], "c2/S_1"),
        (["c0/s", "c1/s", "c2/s", "c0/x y"], "x y"),
        (["c0/s", "c1/s", "c2/s", "c1/later/s"], "c1/later/s"),
    ],
)
def test_files_with_strokes_that_the_line_does_not_take_are_named(tmp_path, names, lost):
    """So nobody trains on images as if they had no strokes; convert names such files again."""
    for name in names:
        path = tmp_path / f"{name}.nii.gz"
        write(path, scribble())
        write(path.with_name("t1.nii.gz"), image())
    report = inspect_path(tmp_path)
    (note,) = (line for line in report["advice"].splitlines() if "does not take" in line)
    assert "1 file with strokes" in note and f"{lost}.nii.gz" in note
    assert "--mixed" not in report["command"] and "no strokes" not in report["advice"]


def test_dense_labels_beside_images_of_which_some_have_no_strokes(tmp_path):
    for k in range(4):
        write(tmp_path / "images" / f"a{k}.nii.gz", image(k))
        if k:
            write(tmp_path / "strokes" / f"a{k}.nrrd", scribble())
        else:
            write(tmp_path / "images" / f"a{k}_gt.nii.gz", dense())
    report = inspect_path(tmp_path)
    assert f"--dense {tmp_path}/images --dense-pattern '{{case}}_gt.nii.gz'" in report["command"]
    assert "--mixed" in report["command"] and "1 image has no strokes (a0)" in report["advice"]


def test_two_folders_of_images_of_the_same_names_may_be_strokes_on_copies(tmp_path):
    for folder in ("photos", "drawn"):
        write(tmp_path / folder / "a1.nii.gz", image())
    assert "draw on an empty layer, and save that alone" in inspect_path(tmp_path)["advice"]


def test_grey_pictures_stored_as_rgb_are_images(tmp_path):
    for k in range(2):
        grey = (image(k)[0] % 256).astype(np.uint8)
        write(tmp_path / "img" / f"a{k}.png", np.stack([grey] * 3, -1))
        write(tmp_path / "marks" / f"a{k}.png", scribble()[0])
    report = inspect_path(tmp_path)
    assert group(report, "img/a#.png")["kind"] == "image"
    assert "--images" in report["command"] and "problem" not in report["advice"]


def test_visits_of_patients_are_cases_of_their_own(tmp_path):
    for folder in ("P01/v1", "P01/v2", "P02/v1"):
        write(tmp_path / folder / "T1.nrrd", image())
        write(tmp_path / folder / "strokes.nrrd", scribble())
    command = inspect_path(tmp_path)["command"]
    assert "--image-pattern '{patient}/{case}/T1.nrrd'" in command
    assert "--scribble-pattern '{patient}/{case}/strokes.nrrd'" in command


def test_dense_labels_alone_lead_to_generate(tmp_path):
    write(tmp_path / "labels" / "a1.nii.gz", dense())
    assert inspect_path(tmp_path)["command"].startswith(
        f"scribble_tools generate {tmp_path}/labels"
    )


def test_names_of_itksnap_and_the_values_of_dense_labels_are_in_the_command(tmp_path):
    for k in range(2):
        write(tmp_path / "mri" / f"a{k}.nii.gz", image(k))
        write(tmp_path / "scribbles" / f"a{k}.nii.gz", scribble())
        write(tmp_path / "full" / f"a{k}.nii.gz", 7 * dense())
    lines = ['0 0 0 0 0 0 0 "Clear Label"', '1 9 0 0 1 1 1 "Right ventricle"']
    lines += [f'{value} 0 9 0 1 1 1 "Label {value}"' for value in (2, 4)]
    (tmp_path / "labels.txt").write_text("\n".join(lines))
    command = inspect_path(tmp_path)["command"]
    assert "--labels background=0 Right_ventricle=1 Label_2=2 --unlabelled 4" in command
    assert "--dense-labels background=0 NAME1=7 NAME2=14" in command


def test_broken_files_are_reported_and_do_not_stop_the_rest(tmp_path):
    write(tmp_path / "a1.nii.gz", image())
    (tmp_path / "b1.nrrd").write_bytes(b"no image")
    (tmp_path / "c1.h5").write_bytes(b"no h5")
    text = format_report(inspect_path(tmp_path))
    assert "b1.nrrd cannot be read as an image" in text
    assert "c1.h5" in text.split("problem: ")[-1]
    assert "mend the problems above" in text
    assert "problem" in examine(tmp_path / "c1.h5")[""]


@pytest.mark.parametrize("mark", [b"TREE", b"SNOD", b"HEAP"])
def test_a_damaged_h5_is_reported(tmp_path, mark):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["group/image"] = image()
    content = path.read_bytes()
    assert mark in content
    path.write_bytes(content.replace(mark, b"\0" + mark[1:]))
    assert str(path) in examine(path)[""]["problem"]


def test_command_line(tmp_path, capsys):
    write(tmp_path / "a1.nii.gz", scribble())
    (tmp_path / ".hidden").mkdir()
    write(tmp_path / ".hidden" / "a1.nii.gz", image())
    assert cli.main(["inspect", str(tmp_path)]) == 0
    assert "looks like: scribbles (4 fills most of it" in capsys.readouterr().out
    assert cli.main(["inspect", str(tmp_path), "--json", "-np", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [g["pattern"] for g in report["groups"]] == ["a#.nii.gz"]
    assert cli.main(["inspect", str(tmp_path / "nowhere")]) == 1
    assert "no such file or folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert cli.main(["inspect", str(tmp_path / "empty")]) == 1
    assert "is it the right folder" in capsys.readouterr().err


SEGMENTS = [("Background", 1, 0), ("RV", 2, 0)]


def write_strokes(path, value=1):
    """A .seg.nrrd of 3D Slicer with two segments, on the grid of `image`."""
    array = np.zeros(SHAPE, np.uint8)
    array[:, 5, 5:60], array[:, 20:40, 14] = 1, 2
    like = sitk.GetImageFromArray(array)
    like.SetSpacing((1.5, 1.5, 8.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_seg(path, like, array, SEGMENTS)


def filled_in(line, raw):
    line = re.sub(r"(?<=--name )\S+", "Own", line)
    return re.sub(r"\bNAME(?=\d*\b)", "Own", line).replace("$nnUNet_raw", str(raw))


def paste(report, tmp_path, number=100):
    """Run the printed line, with names for NAME; returns its status."""
    words = shlex.split(filled_in(report["command"], tmp_path / "raw"))
    words[words.index("--dataset-id") + 1] = str(number)
    return cli.main(words[1:])


def test_the_printed_line_takes_an_id_that_is_free(tmp_path, monkeypatch):
    for k in (1, 2):
        write(tmp_path / f"data/images/p{k}.nrrd", image())
        write_strokes(tmp_path / f"data/strokes/p{k}.seg.nrrd")
    raw = tmp_path / "raw"
    monkeypatch.setenv("nnUNet_raw", str(raw))
    for number in (100, 101, 102):
        line = inspect_path(tmp_path / "data")["command"]
        assert f"--dataset-id {number} --out" in line
        assert cli.main(shlex.split(filled_in(line, raw))[1:]) == 0
    assert len([*raw.glob("Dataset*_Own")]) == 3


def test_two_folders_with_the_same_pairs_are_told_apart(tmp_path):
    root = tmp_path / "data"
    for name in ("p01_a", "p01_b", "p02_a", "p02_b"):
        for folder in ("round1/images", "round2/images"):
            write(root / folder / f"{name}.nrrd", image())
        for folder in ("round1/strokes", "round2/strokes", "round2/strokes_old"):
            write_strokes(root / folder / f"{name}.seg.nrrd")
    report = inspect_path(root)
    assert "other scribbles pair with images too: --scribbles" in report["advice"]
    assert paste(report, tmp_path) == 0
    assert len([*(tmp_path / "raw/Dataset100_Own/labelsTr").iterdir()]) == 4


def test_all_other_scribbles_are_named_at_once(tmp_path):
    for k in (1, 2):
        write(tmp_path / "images" / f"p{k}.nrrd", image())
        for reader in ("anna", "ben", "carl"):
            write_strokes(tmp_path / reader / f"p{k}.seg.nrrd")
    report = inspect_path(tmp_path)
    words = report["command"].split()
    others = {str(tmp_path / reader) for reader in ("anna", "ben", "carl")}
    others -= {words[words.index("--scribbles") + 1]}
    (said,) = re.findall("other scribbles pair with images too: --scribbles (.*)", report["advice"])
    assert set(said.split(", or ")) == others and len(others) == 2


@pytest.mark.parametrize("name", ["patient001_frame0{}", "subject{}_DE"])
def test_strokes_of_ones_own_are_no_public_set_whatever_their_names(tmp_path, name):
    """Files that are called like ACDC's and MSCMRseg's, drawn in 3D Slicer or with other values."""
    for k in (1, 2):
        write(tmp_path / "mine" / "images" / f"{name.format(k)}.nii.gz", image())
        write_strokes(tmp_path / "mine" / "strokes" / f"{name.format(k)}.seg.nrrd")
        write(tmp_path / "snap" / "images" / f"{name.format(k)}.nii.gz", image())
        write(tmp_path / "snap" / "strokes" / f"{name.format(k)}.nii.gz", scribble(0, 5))
    for number, folder in enumerate(("mine", "snap"), 101):
        report = inspect_path(tmp_path / folder)
        assert report["command"].startswith("scribble_tools convert folder")
        assert paste(report, tmp_path, number) == 0


def test_images_without_strokes_and_dense_references_are_in_the_line(tmp_path):
    root = tmp_path / "data"
    for k in range(4):
        write(root / "images" / f"c{k}.nii.gz", image())
        if k != 2:
            write(root / "strokes" / f"c{k}.nii.gz", scribble(0, 5))
            write(root / "outlines" / f"c{k}_gt.nii.gz", dense())
    report = inspect_path(root)
    assert "--mixed" in report["command"]
    assert "1 image has no strokes (c2), and --mixed trains on it, too" in report["advice"]
    assert f"--dense {root}/outlines" in report["command"]
    assert paste(report, tmp_path) == 0
    assert len([*(tmp_path / "raw/Dataset100_Own/labelsTr_dense").iterdir()]) == 3


@pytest.mark.parametrize(
    ("names", "channels"),
    [
        (("{}_FLAIR", "{}_T1w", "{}_drawn"), "FLAIR T1w"),
        (("{}_T1w", "{}_T2w", "{}_drawn"), "T1w T2w"),
        (("{}/flair", "{}/t1", "{}/drawn"), "flair t1"),
        (("{}_adc", "{}", "{}"), "adc image"),
    ],
)
def test_further_channels_are_pointed_at_with_the_words_that_take_them(tmp_path, names, channels):
    root = tmp_path / "data"
    for case in ("s1", "s2"):
        for folder, name, array in (
            ("images", names[0], image(1)),
            ("images", names[1], image(2)),
            ("strokes", names[2], scribble(0, 5)),
        ):
            write(root / folder / f"{name.format(case)}.nii.gz", array)
        if names[1] != "{}":  # a label map, and an image of one case only
            write(root / "images" / f"{names[0].format(case)}_outline.nii.gz", dense())
            write(root / "images" / f"{names[0].format('s1')}_noisy.nii.gz", image(3))
    report = inspect_path(root)
    first, second = (f"{name.format('{case}')}.nii.gz" for name in names[:2])
    assert f"beside each image lies {second}, which the line leaves out" in report["advice"]
    said = f"--image-pattern '{first}' '{second}'"
    assert f"{said} --channel-names {channels} instead" in report["advice"]
    one = report["command"]
    both = re.sub(r"--image-pattern \S+", f"{said} --channel-names {channels}", one)
    assert both != one and paste({**report, "command": both}, tmp_path) == 0
    names = json.loads((tmp_path / "raw/Dataset100_Own/dataset.json").read_text())["channel_names"]
    assert [*names.values()] == channels.split()


@pytest.mark.parametrize(
    "lowest, highest, is_ct", [(-1024, 1800, True), (0, 900, False), (-3, 3, False)]
)
def test_values_of_ct_are_pointed_at(tmp_path, lowest, highest, is_ct):
    for k in range(3):
        values = image(k).astype(float) / image(k).max() * (highest - lowest) + lowest
        write(tmp_path / "images" / f"case{k}.nii.gz", values.astype(np.int16))
        write(tmp_path / "drawn" / f"case{k}.nii.gz", scribble(unlabelled=0, background=3))
    report = inspect_path(tmp_path)
    assert ("--channel-names CT" in report["advice"]) == is_ct
    assert "--channel-names" not in report["command"]  # it may be MR


def test_channels_that_the_line_takes_for_cases_are_no_images_kept_aside(tmp_path):
    root = tmp_path / "data"
    for k in range(4):
        write(root / "images" / f"p{k}.nii.gz", image(1))
        write(root / "images" / f"p{k}_flair.nii.gz", image(2))
        if k < 2:
            write(root / "strokes" / f"p{k}.nii.gz", scribble(0, 5))
    advice = inspect_path(root)["advice"]
    assert "{case}_flair.nii.gz, which the line takes for cases without strokes. For" in advice
    assert "instead; to pass over what is none, --exclude '*_flair.nii.gz'\n" in advice
    assert "2 images have no strokes (p2, p3), and --mixed trains on them, too" in advice


@pytest.mark.parametrize("channels", [("T1",), ("T1", "T2")])
def test_folders_of_cases_pair_whose_images_names_hold_a_number(tmp_path, channels):
    root = tmp_path / "data"
    for case in ("p1", "p2", "p3"):
        for k, name in enumerate(channels):
            write(root / case / f"{name}.nii.gz", image(k))
        write(root / case / "scribble.nii.gz", scribble(0, 5))
    report = inspect_path(root)
    assert "--scribble-pattern '{case}/scribble.nii.gz'" in report["command"]
    assert "other scribbles" not in report["advice"]
    assert paste(report, tmp_path) == 0
    assert len([*(tmp_path / "raw/Dataset100_Own/labelsTr").iterdir()]) == 3


def test_where_nothing_pairs_patterns_are_asked_for(tmp_path):
    for k in range(2):
        write(tmp_path / f"img_{k}_1.nrrd", image())
        write(tmp_path / f"lab_{k}_2.nrrd", scribble())
    report = inspect_path(tmp_path)
    assert "the names do not pair" in report["advice"] and "IMAGE_PATTERN" in report["command"]


def test_a_segment_that_is_mistyped_in_one_file_is_asked_about(tmp_path):
    names = {k: ["Outside", "liver", "Kidney_L"] for k in range(4)}
    names[1] = ["Outsde", "liver", "Kidney_L"]
    names[2] = ["Outside", "Liver", "Kidney_L", "Kidney_R"]  # both kidneys are told apart
    array = np.zeros(SHAPE, np.uint8)
    for value in range(1, 5):
        array[:, 10 * value, 10:40] = value
    for k, own in names.items():
        picture = sitk.GetImageFromArray(image(k))
        (tmp_path / "images").mkdir(exist_ok=True)
        sitk.WriteImage(picture, str(tmp_path / "images" / f"p{k}.nrrd"))
        segments = [(name, value, 0) for value, name in enumerate(own, 1)]
        drawn = np.where(array <= len(own), array, 0)
        write_seg(tmp_path / "strokes" / f"p{k}.seg.nrrd", picture, drawn, segments)
    advice = inspect_path(tmp_path)["advice"]
    assert "'Outsde', in 1 file, is nearly 'Outside': if it is that class, say " in advice
    assert "say liver=liver,Liver" in advice
    assert "is nearly 'Kidney" not in advice


def test_a_word_that_all_names_end_in_is_no_part_of_the_cases(tmp_path):
    for folder, names, array in (
        ("pictures", "dish{}_img", image()),
        ("strokes", "dish{}_img_mask", scribble()),
        ("outlines", "dish{}_dense", dense()),
    ):
        (tmp_path / folder).mkdir()
        for number in range(1, 4):
            path = tmp_path / folder / f"{names.format(number)}.nrrd"
            sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    command = inspect_path(tmp_path)["command"]
    assert "--image-pattern '{case}_img.nrrd' --scribble-pattern '{case}_img_mask.nrrd'" in command
    assert f"--dense {tmp_path / 'outlines'} --dense-pattern '{{case}}_dense.nrrd'" in command


def test_words_that_tell_cases_apart_stay_in_their_names(tmp_path):
    for folder, ending in (("pictures", ""), ("strokes", "_scribble")):
        (tmp_path / folder).mkdir()
        for name in ("p1_ed", "p1_es", "p2_ed", "p2_es"):
            array = scribble() if ending else image()
            path = tmp_path / folder / f"{name}{ending}.nrrd"
            sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    command = inspect_path(tmp_path)["command"]
    assert "--image-pattern '{case}.nrrd' --scribble-pattern '{case}_scribble.nrrd'" in command


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ("scribble_tools evaluate predictions REF", True),
        ("scribble_tools convert folder --update --dataset-id ID --scribbles next", True),
        ("scribble_tools convert folder --images /data/IMAGES --labels background=0 RV=1", False),
    ],
)
def test_words_to_fill_in_are_told_from_names_of_folders(command, asked):
    assert bool(TO_EDIT.search(command)) == asked
