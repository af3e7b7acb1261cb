"""Every finding provoked once on a small data set, and none on a clean one."""

import json
import os
import re
import shlex
import shutil
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
    _maybe_copy_splits_file,
)

from scribble_tools.check import resampling_loss
from scribble_tools.check.annotations import coverage_table
from scribble_tools.check.case_facts import CaseFacts, examine_case
from scribble_tools.check.case_files import TrainingCase
from scribble_tools.check.command import check_dataset
from scribble_tools.check.findings import Finding, format_findings, group_findings, sort_findings
from scribble_tools.check.resampling_loss import add_up, count_kept
from scribble_tools.check.splits import few_patients, patients_of, split_findings
from scribble_tools.cli import build_parser, main
from scribble_tools.dataset.install_splits import install_splits
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.dataset.shapes import CT_MARK
from scribble_tools.dataset.writing import patient_grouped_splits
from scribble_tools.images.file_integrity import count_not_finite
from scribble_tools.images.image_io import read_image

SHAPE = (6, 32, 32)
SPACING_MM = (10.0, 1.5, 1.5)
IGNORE = 3
CASES = {f"p{p}_frame{f}": f"p{p}" for p in range(1, 4) for f in (1, 2)}


def save(array, path, spacing_mm=SPACING_MM):
    image = sitk.GetImageFromArray(np.asarray(array))
    image.SetSpacing(spacing_mm[::-1][: image.GetDimension()])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def load(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def anatomy():
    dense = np.zeros(SHAPE, np.uint8)
    dense[1:5, 6:20, 6:14], dense[1:5, 6:20, 18:28] = 1, 2
    return dense


def scribble():
    labels = np.full(SHAPE, IGNORE, np.uint8)
    labels[1:5, 8:18, 9:11], labels[1:5, 8:18, 22], labels[1:5, 26, 2:30] = 1, 2, 0
    return labels


class DataSet(SimpleNamespace):
    """Paths in a data set, and ways to change its files."""

    def image(self, case, channel=0):
        return self.folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz"

    def label(self, case):
        return self.folder / "labelsTr" / f"{case}.nii.gz"

    def change_label(self, case, change):
        array = load(self.label(case))
        save(change(array), self.label(case))

    def change_json(self, name="dataset.json", **entries):
        path = self.folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    def write_splits(self, splits):
        (self.folder / "splits_final.json").write_text(json.dumps(splits))

    def check(self, **options):
        return check_dataset(self.folder, num_processes=1, **options)

    def finding(self, code, where=None, **options):
        found = [f for f in self.check(**options).findings if f.code == code]
        assert [f.where for f in found if where in (None, f.where)], f"{code} was not found"
        return next(f for f in found if where in (None, f.where))


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "raw" / "Dataset127_Heart"
    data = DataSet(folder=folder, pre=tmp_path / "pre" / folder.name)
    rng = np.random.default_rng(0)
    for case in CASES:
        image = rng.integers(1, 500, SHAPE).astype(np.int16)
        save(image, data.image(case))
        save(scribble(), data.label(case))
        save(anatomy(), folder / "labelsTr_dense" / f"{case}.nii.gz")
    (folder / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "MRI"},
                "labels": {"background": 0, "RV": 1, "LV": 2, "ignore": IGNORE},
                "numTraining": len(CASES),
                "file_ending": ".nii.gz",
            }
        )
    )
    (folder / "conversion.json").write_text(json.dumps({"patients": CASES}))
    data.write_splits(patient_grouped_splits(CASES, 3))
    return data


def preprocess(data, configuration="2d"):
    """What nnU-Net leaves behind, as far as the check looks at it."""
    folder = data.pre / f"nnUNetPlans_{configuration}"
    folder.mkdir(parents=True)
    for case in CASES:
        (folder / f"{case}.pkl").touch()
    (data.pre / "dataset.json").write_text((data.folder / "dataset.json").read_text())


# --- clean -----------------------------------------------------------------------------------


def test_clean_data_set_has_no_error_or_warning(data, capsys):
    assert main(["check", str(data.folder), "-np", "1"]) == 0
    output = capsys.readouterr().out
    assert "Dataset127_Heart, 6 cases: 4 notes; ready for nnU-Net" in output
    agreement = "100.00 % of 1392 annotated voxels in 6 cases agree with labelsTr_dense"
    assert data.finding("dense-agreement").message.startswith(agreement)
    assert "not planned yet" in data.finding("resampling-unknown").message


def test_patients_that_are_few_are_noted():
    cases = {f"p{k:02d}_{frame}": f"p{k:02d}" for k in range(10) for frame in ("ed", "es")}
    assert not few_patients(cases, cases) and not few_patients([], {})
    (finding,) = few_patients([*cases][:18], cases)
    assert finding.message.startswith("9 patients in all")
    (finding,) = few_patients([*cases][:5], {})
    assert finding.message.startswith("5 cases in all")


def test_cases_of_different_dimensions_are_found(data):
    case = next(iter(CASES))
    for path in (data.image(case), data.label(case)):
        sitk.WriteImage(sitk.ReadImage(str(path))[:, :, 2], str(path))
    (data.folder / "labelsTr_dense" / f"{case}.nii.gz").unlink()
    message = data.finding("dimension-mixed").message
    assert message.startswith(f"cases of different dimensions (1 2D, such as {case}; 5 3D, such")


def test_coverage_table_by_hand(data):
    rows = {c.name: c for c in data.check().coverage}
    assert list(rows) == ["background", "RV", "LV", "(unlabelled)"]
    assert (rows["RV"].cases, rows["RV"].median, rows["RV"].lowest) == (6, 80, 80)
    assert rows["LV"].percent == pytest.approx(100 * 40 / (6 * 32 * 32))
    counts = [{0: 4, 1: 2}, {0: 5, 1: 1}, {0: 6}]
    facts = [CaseFacts(str(k), (), c) for k, c in enumerate(counts)]
    background, organ = coverage_table(facts, LabelSet({"organ": (1,)}))
    assert (organ.cases, organ.median, organ.lowest, organ.highest) == (2, 1.5, 1, 2)
    assert organ.percent == pytest.approx(100 * 3 / 18)
    assert background.percent + organ.percent == pytest.approx(100)


def test_region_based_labels(data):
    regions = {"background": 0, "heart": [1, 2], "LV": [2], "ignore": IGNORE}
    data.change_json(labels=regions, regions_class_order=[1, 2])
    report = data.check()
    assert report.exit_code == 0
    assert {c.name: c.median for c in report.coverage}["heart"] == 80 + 40
    data.change_json(regions_class_order=[1])
    assert "[1], there are 2 regions" in data.finding("regions-class-order").message


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_is_counted_in_every_format(tmp_path, ending, dtype):
    # ITK's NIfTI reader gives 0 for NaN
    array = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    array[0, 0] = np.nan, np.inf, -np.inf, 1
    path = tmp_path / f"x{ending}"
    save(array, path)
    assert count_not_finite(path, load(path)) == 3
    assert count_not_finite(path, array.astype(int)) == 0
    save(np.ones((2, 3, 4), dtype), path)
    assert count_not_finite(path, load(path)) == 0


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".png", ".tif"])
def test_other_file_formats(tmp_path, ending):
    flat = ending in (".png", ".tif")
    rng = np.random.default_rng(0)
    for case in CASES:
        image = rng.integers(1, 255, SHAPE).astype(np.uint8)
        select = 2 if flat else slice(None)
        save(image[select], tmp_path / "D" / "imagesTr" / f"{case}_0000{ending}")
        save(scribble()[select], tmp_path / "D" / "labelsTr" / f"{case}{ending}", (1, 1, 1))
        if not flat:
            save(scribble(), tmp_path / "D" / "labelsTr" / f"{case}{ending}")
    content = {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "RV": 1, "LV": 2, "ignore": IGNORE},
        "numTraining": 6,
        "file_ending": ending,
    }
    (tmp_path / "D" / "dataset.json").write_text(json.dumps(content))
    report = check_dataset(tmp_path / "D", num_processes=1)
    assert report.num_cases == 6
    assert {f.severity for f in report.findings} == {"note"}


def test_files_listed_in_dataset_json(data):
    entries = {c: {"images": [str(data.image(c))], "label": f"labelsTr/{c}.nii.gz"} for c in CASES}
    data.change_json(dataset=entries)
    assert data.check().verdict.endswith("ready for nnU-Net")
    data.change_json(dataset={"a": {"images": 3}})
    assert "'dataset' is not as nnU-Net wants it" in data.finding("files-listed").message


# --- dataset.json ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "code", "message"),
    [
        ({"0": "background", "1": "RV"}, "labels-swapped", "nnU-Net version 1's format"),
        ({"background": 0, "RV": "one"}, "labels-unusable", '"RV": "one"'),
        ({"background": 0, "ignore": []}, "labels-unusable", '"ignore": []'),
        (None, "labels-unusable", "labels is null"),
        ({"background": 3, "RV": 1, "LV": 2}, "background-not-zero", "background is 3, it must"),
        ({"RV": 1, "LV": 2, "ignore": 3}, "background-not-zero", "background is missing"),
        (
            {"background": 0, "RV": 85, "LV": 170, "ignore": 171},
            "labels-not-consecutive",
            "the values are 0, 85, 170",
        ),
        ({"background": 0, "RV": 1, "LV": 2}, "ignore-missing", "labels has no 'ignore'"),
        ({"background": 0, "RV": 1, "ignore": [2, 3]}, "ignore-is-a-list", "ignore is [2, 3]"),
        (
            {"background": 0, "RV": 1, "ignore": 2, "LV": 3},
            "ignore-not-last",
            "ignore is 2; it must be the highest label, 4",
        ),
        (
            {"background": 0, "RV": 1, "LV": 1, "ignore": 2},
            "labels-alike",
            "RV and LV are both 1: nnU-Net takes them for one class",
        ),
        ({"background": 0, "air": 0, "RV": 1, "ignore": 2}, "labels-alike", "background and air"),
    ],
)
def test_unusable_labels(data, labels, code, message):
    data.change_json(labels=labels)
    finding = data.finding(code)
    assert message in finding.message
    assert finding.severity == "error"


@pytest.mark.parametrize(
    ("entry", "code", "message"),
    [
        ({"numTraining": 7}, "num-training", "numTraining is 7, imagesTr holds 6 cases"),
        ({"file_ending": ".nrrd"}, "file-ending", 'file_ending is ".nrrd", the files in labelsTr'),
        ({"file_ending": "nii.gz"}, "file-ending", 'file_ending is "nii.gz", the files in labels'),
        ({"channel_names": None}, "channel-names", "channel_names is null"),
    ],
)
def test_other_entries_of_dataset_json(data, entry, code, message):
    data.change_json(**entry)
    assert message in data.finding(code, "dataset.json").message
    assert data.check().num_cases == 6  # the cases are looked at all the same


def test_dataset_json_missing_or_broken(data):
    path = data.folder / "dataset.json"
    path.write_text("{")
    assert "cannot be read" in data.finding("dataset-json").message
    path.write_text("[]")
    assert "the content is []" in data.finding("dataset-json").message
    path.unlink()
    assert "dataset.json is missing" in data.finding("dataset-json").message


# --- files -----------------------------------------------------------------------------------


def test_missing_and_strange_files(data):
    data.image("p1_frame1").unlink()
    data.label("p2_frame1").unlink()
    (data.folder / "labelsTr_dense" / "p3_frame1.nii.gz").unlink()
    (data.folder / "imagesTr" / "notes.txt").touch()
    data.image("p3_frame2").rename(data.folder / "imagesTr" / "p3.nii.gz")
    report = data.check()
    found = {f.code: f for f in report.findings}
    assert "has a label but no image" in found["image-missing"].message
    assert found["label-missing"].where == "p2_frame1"
    assert found["dense-missing"].where == "p3_frame1"
    assert found["file-ignored"].where == "imagesTr/notes.txt"
    assert found["image-name"].where == "imagesTr/p3.nii.gz"
    assert "numTraining is 6, imagesTr holds 4" in found["num-training"].message
    assert report.num_cases == 3


def test_folders_missing(tmp_path):
    report = check_dataset(tmp_path, num_processes=1)
    codes = {f.code for f in report.findings}
    assert {"dataset-json", "folder-missing", "no-cases"} <= codes
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        check_dataset(tmp_path / "nowhere")


def test_unreadable_files(data):
    data.image("p1_frame1").write_bytes(b"no image")
    data.label("p2_frame1").write_bytes(b"no image")
    (data.folder / "labelsTr_dense" / "p3_frame1.nii.gz").write_bytes(b"no image")
    for code in ("image-unreadable", "label-unreadable", "dense-unreadable"):
        assert "cannot be read as an image" in data.finding(code).message


def test_file_that_was_cut_off(data):
    # ITK reads zeros in place of the missing half
    path = data.label("p1_frame1")
    save(np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8), path)
    assert read_image(path).GetSize() == SHAPE[::-1]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    finding = data.finding("label-unreadable", "p1_frame1")
    assert finding.message.startswith("labelsTr/p1_frame1.nii.gz is cut off or damaged")


def test_missing_channel(data):
    data.change_json(channel_names={"0": "T1", "1": "T2"})
    for case in list(CASES)[1:]:
        save(load(data.image(case)), data.image(case, 1))
    finding = data.finding("channels", "p1_frame1")
    assert "1 channels (p1_frame1_0000.nii.gz); dataset.json names 2 (T1, T2)" in finding.message
    save(load(data.image("p2_frame1")), data.image("p2_frame1", 1), (10, 1, 1))
    finding = data.finding("channel-geometry", "p2_frame1")
    assert "spacing [1.0, 1.0, 10.0] against [1.5, 1.5, 10.0]" in finding.message


def test_geometry_of_labels(data):
    save(scribble()[:5], data.label("p1_frame1"))
    save(scribble(), data.label("p1_frame2"), (10, 1, 1))
    save(anatomy()[:, :30], data.folder / "labelsTr_dense" / "p2_frame1.nii.gz")
    assert "size (32, 32, 5) against (32, 32, 6)" in data.finding("label-geometry").message
    assert "spacing" in data.finding("label-geometry", "p1_frame2").message
    finding = data.finding("dense-geometry", "p2_frame1")
    assert (finding.severity, finding.message[:31]) == (
        "warning",
        "dense reference on another grid",
    )


def test_broken_image_voxels(data):
    image = load(data.image("p1_frame1")).astype(np.float32)
    image[0, 0, :3] = np.nan, np.inf, 1
    save(image, data.image("p1_frame1"))
    save(np.full(SHAPE, 7, np.int16), data.image("p1_frame2"))
    finding = data.finding("image-not-finite", "p1_frame1")
    assert "p1_frame1_0000.nii.gz: 2 voxels are NaN or infinite" in finding.message
    assert "every voxel is 7" in data.finding("image-constant", "p1_frame2").message


def test_label_maps_in_the_place_of_images_are_asked_about(data):
    assert "image-like-labels" not in {f.code for f in data.check().findings}
    save(anatomy().astype(np.float32), data.image("p1_frame1"))
    finding = data.finding("image-like-labels", "p1_frame1")
    assert finding.severity == "note"
    assert finding.message == "p1_frame1_0000.nii.gz: few whole values, as labels have"
    dark = np.zeros(SHAPE, np.uint8)
    dark[2, 3, :20] = range(20)  # a dark picture with some light
    save(dark, data.image("p1_frame1"))
    assert "image-like-labels" not in {f.code for f in data.check().findings}


def test_a_mask_as_one_of_several_channels_is_none(data):
    data.change_json(channel_names={"0": "MRI", "1": "mask"})
    for case in CASES:
        save(anatomy().astype(np.float32), data.image(case, 1))
    assert "image-like-labels" not in {f.code for f in data.check().findings}


def test_label_values(data):
    data.change_label("p1_frame1", lambda a: np.where(a == 2, 1.5, a))
    data.change_label("p1_frame2", lambda a: np.where(a == 2, -1, a.astype(np.int16)))
    data.change_label("p2_frame1", lambda a: np.where(a == 2, 200, a).astype(np.uint8))
    data.change_label("p3_frame1", lambda a: np.where(a == 2, np.nan, a))
    assert "no integers, such as 1.5" in data.finding("label-not-integer", "p1_frame1").message
    assert "40 NaN voxels of 6144" in data.finding("label-not-integer", "p3_frame1").message
    assert "negative label values [-1]" in data.finding("label-negative", "p1_frame2").message
    assert "200 (40 voxels)" in data.finding("label-unknown", "p2_frame1").message


# --- annotations -----------------------------------------------------------------------------


def test_background_scribbles(data):
    no_background = lambda a: np.where(a == 0, IGNORE, a).astype(np.uint8)  # noqa: E731
    data.change_label("p1_frame1", no_background)
    finding = data.finding("case-without-background")
    assert (finding.severity, finding.where) == ("warning", "p1_frame1")
    for case in CASES:
        data.change_label(case, no_background)
    finding = data.finding("no-background")
    assert (finding.severity, finding.where) == ("error", "data set")
    assert "Draw background scribbles too" in finding.remedy


def test_cases_without_annotation(data):
    data.change_label("p1_frame1", lambda a: np.full_like(a, IGNORE))
    finding = data.finding("case-without-annotation", "p1_frame1")
    assert finding.severity == "warning"
    assert "No annotated pixels in image" in finding.message
    for case in CASES:
        data.change_label(case, lambda a: np.full_like(a, IGNORE))
    assert data.finding("nothing-annotated").severity == "error"


def test_slices_without_annotation(data):
    def annotate(array, number=slice(None)):
        array[number, 0] = 0
        return array

    finding = data.finding("slices-without-annotation")
    assert finding.severity == "note"
    assert finding.message.startswith("12 of 36 slices, in 6 cases, hold no annotation")
    for case in CASES:
        data.change_label(case, annotate)
    assert "slices-without-annotation" not in {f.code for f in data.check().findings}
    data.change_label("p1_frame1", lambda a: np.full_like(a, IGNORE))  # drawn from anywhere
    data.change_label("p2_frame1", lambda a: annotate(np.full_like(a, IGNORE), 2))
    assert data.finding("slices-without-annotation").message.startswith("5 of 30 slices, in 1")


def test_slices_are_cut_across_the_largest_voxel_size(tmp_path):
    labels = np.full((4, 5, 6), IGNORE, np.uint8)
    labels[:, :, 3] = 1
    image = np.random.default_rng(0).normal(size=labels.shape)
    about = SimpleNamespace(
        file_ending=".nii.gz",
        channels=("MRI",),
        labels=LabelSet({"RV": (1,)}, IGNORE),
        content={},
    )
    for spacing_mm, expected in (((1, 1, 5), (6, 5)), ((5, 1, 1), (4, 0)), ((1, 1, 1), (4, 0))):
        for name, array in (("a_0000", image), ("a", labels)):
            save(array, tmp_path / f"{name}.nii.gz", spacing_mm)
        files = TrainingCase("a", (tmp_path / "a_0000.nii.gz",), tmp_path / "a.nii.gz")
        facts = examine_case(about, files)
        assert (facts.slices, facts.bare_slices) == expected


def test_cases_that_generate_was_told_to_leave_unscribbled(data):
    unscribbled = ["p1_frame1", "p1_frame2"]
    for case in unscribbled:
        data.change_label(case, lambda a: np.full_like(a, IGNORE))
    scribbled = [case for case in CASES if case not in unscribbled]
    data.change_json("conversion.json", scribbled_cases=scribbled)
    data.write_splits([{"train": scribbled, "val": unscribbled}])
    report = data.check()
    assert (report.count("error"), report.count("warning")) == (0, 0)
    finding = data.finding("case-kept-unscribbled")
    assert finding.severity == "note" and finding.message.startswith("2 cases were left")
    data.change_json("conversion.json", scribbled_cases=[*scribbled, "p1_frame1"])
    assert data.finding("case-without-annotation").where == "p1_frame1"


def test_cases_that_were_converted_without_strokes_are_no_warning(data):
    for case in ("p1_frame1", "p1_frame2", "p2_frame1"):
        data.change_label(case, lambda a: np.full_like(a, IGNORE))
    cases = {"p1_frame1": None, "p1_frame2": None, "p2_frame1": "drawn/p2_frame1.nii.gz"}
    data.change_json(
        "conversion.json", cases={c: {"part": "Tr", "scribble": s} for c, s in cases.items()}
    )
    finding = data.finding("case-declared-unannotated")
    assert finding.severity == "note" and finding.message.startswith("2 cases have no strokes, as")
    assert data.finding("case-without-annotation").where == "p2_frame1"
    assert ": 1 warning, " in data.check().verdict


def test_the_verdict_counts_the_rows_of_the_table(data):
    for case in ("p1_frame1", "p1_frame2"):
        data.change_label(case, lambda a: np.full_like(a, IGNORE))
    report = data.check()
    rows = [row for row in group_findings(report.findings) if row[0] == "warning"]
    assert len(rows) == 1 and report.count("warning") == 2
    assert "6 cases: 1 warning in 2 places, " in report.verdict


def test_dense_cases(data):
    save(anatomy(), data.label("p1_frame1"))
    finding = data.finding("case-dense", "p1_frame1")
    assert "100.0 % of the voxels are annotated, 3.78 % in the median case" in finding.message
    for case in CASES:
        save(anatomy(), data.label(case))
    report = data.check()
    assert "case-dense" not in {f.code for f in report.findings}
    assert "these are dense labels" in data.finding("data-set-dense").message


def test_zero_that_means_unlabelled(data):
    def zero_for_ignore(labels):
        labels[labels == 0] = 1
        return np.where(labels == IGNORE, 0, labels).astype(np.uint8)

    data.change_label("p1_frame1", zero_for_ignore)
    finding = data.finding("zero-is-unlabelled", "p1_frame1")
    assert finding.severity == "error"
    assert "0 seems to mean unlabelled" in finding.message
    assert "--unlabelled 0" in finding.remedy
    codes = [f.code for f in data.check().findings]
    assert codes.count("zero-is-unlabelled") == 1
    assert "case-dense" not in codes


def test_class_that_is_never_annotated(data):
    data.change_label("p1_frame1", lambda a: np.where(a == 2, IGNORE, a).astype(np.uint8))
    assert data.check().count("error") == 0  # in one case it is normal
    for case in CASES:
        data.change_label(case, lambda a: np.where(a == 2, IGNORE, a).astype(np.uint8))
    finding = data.finding("class-never-annotated")
    assert finding.message == "LV is annotated in none of the 6 cases"
    assert "class-never-annotated-in-fold" not in {f.code for f in data.check().findings}


def test_class_that_is_missing_in_one_fold(data):
    for case in list(CASES)[2:]:
        data.change_label(case, lambda a: np.where(a == 2, IGNORE, a).astype(np.uint8))
    finding = data.finding("class-never-annotated-in-fold")
    assert finding.message == "LV is annotated in none of the 4 training cases"
    splits = json.loads((data.folder / "splits_final.json").read_text())
    fold = next(k for k, s in enumerate(splits) if "p1_frame1" in s["val"])
    assert finding.where == f"splits_final.json, fold {fold}"


def test_coverage_outliers(data):
    def one_tenth(labels):
        rv = np.argwhere(labels == 1)[8:]
        labels[tuple(rv.T)] = IGNORE
        return labels

    data.change_label("p1_frame1", one_tenth)
    finding = data.finding("coverage-outlier", "p1_frame1")
    assert finding.message.startswith("RV: 0.13 % of the voxels annotated, 1/10.0 of the median")


@pytest.mark.parametrize(("wrong", "severity"), [(5, "warning"), (40, "error")])
def test_scribbles_that_contradict_the_dense_labels(data, wrong, severity):
    def mislabel(labels):
        labels[tuple(np.argwhere(labels == 1)[:wrong].T)] = 2
        return labels

    data.change_label("p1_frame1", mislabel)
    finding = data.finding("contradicts-dense", "p1_frame1")
    assert finding.severity == severity
    assert f"{100 * wrong / 232:.1f} % of 232 annotated voxels contradict" in finding.message


def test_ct_statistics(data):
    data.change_json(channel_names={"0": "CT"})
    finding = data.finding("ct-statistics")
    assert "unlabelled ones too" in finding.message
    assert "nnunetv2_pclmix ct-fingerprint" in finding.remedy
    preprocess(data)
    fingerprint = data.pre / "dataset_fingerprint.json"
    fingerprint.write_text("{}")
    assert data.finding("ct-statistics", preprocessed=data.pre).severity == "warning"
    fingerprint.write_text(json.dumps({CT_MARK: "scribbles"}))
    assert "ct-statistics" not in {f.code for f in data.check(preprocessed=data.pre).findings}


# --- splits ----------------------------------------------------------------------------------


def test_patients_on_both_sides(data):
    first = [c for c in CASES if c.endswith("1")]
    fold = {"train": first, "val": [c for c in CASES if c not in first]}
    data.write_splits([fold])
    finding = data.finding("splits-patient")
    assert finding.severity == "error"
    assert "patients on both sides: p1, p2, p3" in finding.message
    (data.folder / "conversion.json").unlink()
    codes = {f.code for f in data.check().findings}
    assert "splits-patient" not in codes
    assert "patients-unknown" in codes
    assert data.finding("splits-patient", patient_regex="(.+)_frame")
    with pytest.raises(ValueError, match="regex p1 does not match p2_frame1"):
        data.check(patient_regex="p1")
    (data.folder / "conversion.json").write_text("[]")
    assert data.finding("patients-unknown").severity == "note"


def test_one_image_under_two_patients_names(data):
    save(load(data.image("p1_frame1")).astype(np.float32), data.image("p2_frame2"), (9.0, 1, 1))
    finding = data.finding("image-of-two-patients")
    assert (finding.severity, finding.where) == ("error", "p1_frame1")
    assert finding.message.startswith(
        "p1_frame1, p2_frame2 hold the same image, voxel by voxel, and"
    )
    assert ": fold 0 trains and validates on it" in finding.message
    (data.folder / "splits_final.json").unlink()
    assert data.finding("image-of-two-patients").severity == "warning"
    one = dict.fromkeys(CASES, "p1")
    data.change_json("conversion.json", patients=one)
    assert data.finding("image-twice").severity == "note"
    assert not {"image-of-two-patients"} & {f.code for f in data.check().findings}


def test_cases_that_share_one_of_two_channels_are_no_copies(data):
    data.change_json("dataset.json", channel_names={"0": "atlas", "1": "MRI"})
    for k, case in enumerate(CASES):
        save(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), data.image(case))
        save(
            np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) % (9 + k), data.image(case, 1)
        )
    assert not {"image-of-two-patients", "image-twice"} & {f.code for f in data.check().findings}
    (data.image("p1_frame1", 1)).replace(data.image("p2_frame1", 1))
    save(load(data.image("p2_frame1", 1)), data.image("p1_frame1", 1))
    assert data.finding("image-of-two-patients").where == "p1_frame1"


def test_images_of_nothing_are_not_taken_for_copies(data):
    for case in ("p1_frame1", "p2_frame2"):
        save(np.zeros(SHAPE, np.int16), data.image(case))
    save(load(data.image("p1_frame2"))[::-1], data.image("p3_frame1"))
    codes = {f.code for f in data.check().findings}
    assert "image-constant" in codes
    assert not {"image-of-two-patients", "image-twice"} & codes


def test_patients_that_nobody_named_may_have_several_cases(data):
    data.change_json("conversion.json", patients={case: case for case in CASES})
    data.write_splits([{"train": [c for c in CASES if c != "p1_frame2"], "val": ["p1_frame2"]}])
    finding = data.finding("patients-alike")
    assert finding.severity == "note"
    assert "are p1_frame1 and p1_frame2 of one?" in finding.message
    *_, folder, _, regex = shlex.split(finding.line)
    assert folder == str(data.folder)
    assert data.finding("splits-patient", patient_regex=regex)
    data.change_json("conversion.json", patients=CASES)
    assert "patients-alike" not in {f.code for f in data.check().findings}


def test_the_regex_for_names_that_end_alike_finds_the_patients(tmp_path):
    cases = [f"{who}_v{k}_T2" for who in ("anna", "ben", "eva") for k in (1, 2)]
    record = {"patients": {case: case for case in cases}}
    (tmp_path / "conversion.json").write_text(json.dumps(record))
    _, (finding,) = patients_of(tmp_path, cases, None)
    regex = re.compile(shlex.split(finding.line)[-1])
    assert {regex.search(case)[0] for case in cases} == {"anna", "ben", "eva"}


def test_splits_that_do_not_fit_the_cases(data):
    cases = list(CASES)
    data.write_splits([{"train": [*cases[:4], "stranger"], "val": cases[3:5]}])
    assert "does not have: stranger" in data.finding("splits-unknown-case").message
    assert "trains and validates on p2_frame2" in data.finding("splits-overlap").message
    finding = data.finding("case-in-no-fold")
    assert (finding.severity, finding.where) == ("warning", "p3_frame2")
    data.write_splits({"train": []})
    assert data.finding("splits-unusable").severity == "error"


def test_no_splits(data):
    (data.folder / "splits_final.json").unlink()
    finding = data.finding("splits-missing")
    assert (finding.severity, "3 patients have several cases" in finding.message) == (
        "warning",
        True,
    )
    (data.folder / "conversion.json").unlink()
    assert data.finding("splits-missing").severity == "note"


def test_a_single_patient_cannot_be_split(tmp_path):
    (finding,) = split_findings(tmp_path, None, {"a": {}, "b": {}}, {"a": "p", "b": "p"}, None, {})
    assert finding.code == "splits-missing"
    assert finding.remedy == "Train with fold 'all': there is no other patient to validate on"


def test_other_splits_in_the_preprocessed_folder(data):
    preprocess(data)
    splits = json.loads((data.folder / "splits_final.json").read_text())
    (data.pre / "splits_final.json").write_text(json.dumps(splits[::-1]))
    assert (
        "training uses the former" in data.finding("splits-differ", preprocessed=data.pre).message
    )


def test_splits_from_before_patients_were_added(data):
    preprocess(data)
    old = {case: patient for case, patient in CASES.items() if patient != "p3"}
    (data.pre / "splits_final.json").write_text(json.dumps(patient_grouped_splits(old, 2)))
    finding = data.finding("splits-outdated", preprocessed=data.pre)
    assert finding.severity == "error"
    assert "planner stops with a bare AssertionError" in finding.message
    with pytest.raises(AssertionError):  # it does
        _maybe_copy_splits_file(
            str(data.folder / "splits_final.json"), str(data.pre / "splits_final.json")
        )
    codes = {f.code for f in data.check(preprocessed=data.pre).findings}
    assert not codes & {"case-in-no-fold", "splits-differ"}
    words = shlex.split(finding.line)
    assert words[:2] == ["scribble_tools", "install-splits"]
    arguments = build_parser(words[1:]).parse_args(words[1:])
    install_splits(
        arguments.dataset, data.folder.parent, data.pre.parent, overwrite=arguments.overwrite
    )
    assert not any(f.code.startswith("splits") for f in data.check(preprocessed=data.pre).findings)


# --- preprocessed data -----------------------------------------------------------------------


def test_preprocessed_data_that_is_older(data):
    preprocess(data)
    codes = {f.code for f in data.check(preprocessed=data.pre).findings}
    notes = {"dense-agreement", "resampling-unknown", "slices-without-annotation"}
    assert codes == {*notes, "few-patients"}
    late = data.label("p1_frame1").stat().st_mtime + 3600
    os.utime(data.label("p1_frame1"), (late, late))
    (data.pre / "nnUNetPlans_2d" / "p2_frame1.pkl").rename(
        data.pre / "nnUNetPlans_2d" / "former.pkl"
    )
    data.change_json(labels={"background": 0, "A": 1, "B": 2, "ignore": 3})
    for code, where, severity in (
        ("preprocessed-old", "nnUNetPlans_2d/p1_frame1", "warning"),
        ("not-preprocessed", "nnUNetPlans_2d/p2_frame1", "warning"),
        ("preprocessed-extra", "nnUNetPlans_2d/former", "warning"),
        ("labels-changed", "dataset.json", "error"),
    ):
        assert data.finding(code, where, preprocessed=data.pre).severity == severity


def test_plans_left_behind_are_no_warning_beside_others_that_are_up_to_date(data):
    preprocess(data)
    late = data.label("p1_frame1").stat().st_mtime + 3600
    os.utime(data.label("p1_frame1"), (late, late))
    new = data.pre / "small_2d"
    shutil.copytree(data.pre / "nnUNetPlans_2d", new)
    where = "nnUNetPlans_2d/p1_frame1"
    assert data.finding("preprocessed-old", where, preprocessed=data.pre).severity == "warning"
    for path in new.iterdir():
        os.utime(path, (late + 1, late + 1))
    finding = data.finding("preprocessed-old", where, preprocessed=data.pre)
    assert finding.severity == "note" and "small_2d is up to date" in finding.remedy
    assert not finding.line


def test_channels_that_were_renamed_after_preprocessing(data):
    preprocess(data)
    assert "channels-changed" not in {f.code for f in data.check(preprocessed=data.pre).findings}
    data.change_json(channel_names={"0": "CT"})
    finding = data.finding("channels-changed", "dataset.json", preprocessed=data.pre)
    assert finding.severity == "warning" and "nnUNetv2_plan_and_preprocess" in finding.line
    assert '{"0": "MRI"} when' in finding.message and 'now they are {"0": "CT"}' in finding.message


def test_an_image_that_is_newer_than_the_preprocessed_case(data):
    preprocess(data)
    late = data.image("p1_frame1").stat().st_mtime + 3600
    os.utime(data.image("p1_frame1"), (late, late))
    where = "nnUNetPlans_2d/p1_frame1"
    finding = data.finding("preprocessed-old", where, preprocessed=data.pre)
    assert finding.message.startswith("an image is newer than the preprocessed case")


def test_folds_that_train_on_nothing_or_on_cases_left_without_strokes(data):
    first, *others = CASES
    data.change_label(first, lambda array: np.full_like(array, IGNORE))
    record = {"patients": CASES, "scribbled_cases": others}
    (data.folder / "conversion.json").write_text(json.dumps(record))
    sides = [case for case in others if CASES[case] != CASES[first]]
    data.write_splits([{"train": [first, *others], "val": []}, {"train": sides, "val": [first]}])
    assert "'val'" in data.finding("splits-empty", "splits_final.json, fold 0").message
    finding = data.finding("splits-unscribbled", "splits_final.json, fold 0")
    assert finding.message.endswith(f"without scribbles: {first}")
    found = [f.where for f in data.check().findings if f.code == "splits-unscribbled"]
    assert found == ["splits_final.json, fold 0"]


def test_names_in_another_unicode_form_are_judged_like_others(data):
    apart = {case: case.replace("frame", "e\u0301tat") for case in CASES}
    for path in sorted(data.folder.rglob("*.nii.gz")):
        path.rename(path.with_name(path.name.replace("frame", "e\u0301tat")))
    record = {"patients": {apart[case]: patient for case, patient in CASES.items()}}
    (data.folder / "conversion.json").write_text(json.dumps(record))
    data.write_splits(patient_grouped_splits(record["patients"], 3))
    codes = {f.code for f in data.check().findings}
    assert "dense-agreement" in codes and "dense-missing" not in codes
    assert not {code for code in codes if code.startswith(("splits", "case-in-no"))}
    composed = {unicodedata.normalize("NFC", case): own for case, own in record["patients"].items()}
    data.write_splits(patient_grouped_splits(composed, 3))
    finding = data.finding("splits-name-form", "splits_final.json")
    assert finding.severity == "error" and "nnU-Net does not find them" in finding.message
    assert finding.line.startswith("convmv") and str(data.folder) in finding.line


def test_small_plans_are_preprocessed_by_their_own_command(data):
    write_plans(data, [1.5, 1.5])
    plans = json.loads((data.pre / "nnUNetPlans.json").read_text())
    plans["configurations"]["2d"]["data_identifier"] = "small_2d"
    (data.pre / "small.json").write_text(json.dumps(plans))
    for folder, command in (
        ("nnUNetPlans_2d", "nnUNetv2_plan_and_preprocess -d 127"),  # of no plans that are here
        ("small_2d", "nnUNetv2_preprocess -d 127 -plans_name small -c 2d"),
    ):
        (data.pre / folder).mkdir()
        (data.pre / folder / "p1_frame1.pkl").touch()
        os.utime(data.pre / folder / "p1_frame1.pkl", (1, 1))
        found = data.finding("preprocessed-old", f"{folder}/p1_frame1", preprocessed=data.pre)
        assert found.line == command
    report = data.check(preprocessed=data.pre)
    rows = [row for row in group_findings(report.findings) if "newer than" in row[2]]
    assert [row[1] for row in rows] == ["nnUNetPlans_2d/p1_frame1", "small_2d/p1_frame1"]
    data.change_json(labels={"background": 0, "A": 1, "B": 2, "ignore": 3})
    (data.pre / "dataset.json").write_text('{"labels": {"background": 0}}')
    plans["configurations"]["2d"]["data_identifier"] = "nnUNetPlans_2d"
    (data.pre / "nnUNetPlans.json").write_text(json.dumps(plans))
    changed = data.finding("labels-changed", preprocessed=data.pre)
    assert changed.line == "nnUNetv2_plan_and_preprocess -d 127 -c 2d"


def write_plans(data, spacing_mm):
    configuration = {
        "spacing": spacing_mm,
        "architecture": {},
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {
            "is_seg": True,
            "order": 1,
            "order_z": 0,
            "force_separate_z": None,
        },
    }
    plans = {
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "configurations": {"2d": configuration},
    }
    data.pre.mkdir(parents=True, exist_ok=True)
    (data.pre / "nnUNetPlans.json").write_text(json.dumps(plans))


def test_resampling_is_computed_with_the_plans(data):
    write_plans(data, [1.5, 1.5])
    report = data.check(preprocessed=data.pre, resampled_cases=3)
    assert [loss.name for loss in report.resampling] == ["background", "RV", "LV"]
    assert {(s.cases, s.volume_percent, s.place_percent) for s in report.resampling} == {
        (3, 100, 100)
    }
    write_plans(data, [12.0, 12.0])  # an eighth: lines of one voxel vanish
    report = data.check(preprocessed=data.pre)
    lost = next(f for f in report.findings if f.message.startswith("LV: after resampling"))
    assert (lost.code, lost.severity) == ("resampling-loses-scribbles", "error")
    assert "0 % of the volume is left (computed on 6 of 6 cases)" in lost.message
    assert "resampling-of-other-plans" not in {f.code for f in report.findings}
    shutil.copy(data.pre / "nnUNetPlans.json", data.pre / "nnUNetPlans_small.json")
    other = data.finding("resampling-of-other-plans", preprocessed=data.pre)
    assert (other.where, other.severity) == ("nnUNetPlans_small", "note")
    assert "--plans nnUNetPlans_small" in other.remedy
    finding = data.finding("resampling-unknown", preprocessed=data.pre, configurations=["3d"])
    assert "no configuration 3d, only 2d" in finding.message
    write_plans(data, ["wide"])
    assert "nnUNetPlans.json: " in data.finding("resampling-unknown", preprocessed=data.pre).message


def test_lines_that_only_move_are_no_warning_and_an_old_batchgenerators_is_named(data, monkeypatch):
    write_plans(data, [3.0, 3.0])
    report = data.check(preprocessed=data.pre)
    kept = {loss.name: (loss.volume_percent, loss.place_percent) for loss in report.resampling}
    assert kept["RV"][0] > 95 and kept["RV"][1] < 60 and kept["LV"] == (0, 0)
    losses = [f for f in report.findings if f.code == "resampling-loses-scribbles"]
    assert [f.message.split(":")[0] for f in losses] == ["background", "LV"]
    assert "batchgenerators" not in losses[0].remedy
    for installed, named in (("0.25.3", True), ("0.25.4", False), ("0.26", False)):
        monkeypatch.setattr(resampling_loss, "version", lambda name, own=installed: own)
        found = data.finding("resampling-loses-scribbles", preprocessed=data.pre)
        assert ("Update batchgenerators first" in found.remedy) == named


def test_kept_voxels_by_hand():
    before = np.array([[1, 1, 0, 0], [1, 1, 0, 0]])
    # halved along the columns; the second voxel of class 1 has become 0
    after = np.array([[1, 0], [0, 0]])
    kept = count_kept(before, after, (0, 1, 2))
    assert kept == {0: (4, 6.0, 4), 1: (4, 2.0, 2), 2: (0, 0.0, 0)}
    total = add_up([{"2d": kept}, {"2d": kept}], {"background": (0,), "organ": (1,), "x": (2,)})
    assert total == {("2d", "background"): (150, 100), ("2d", "organ"): (50, 50)}


# --- report ----------------------------------------------------------------------------------


def test_table_groups_what_is_alike_and_puts_errors_first():
    findings = [Finding("note", "n", "data set", "good", "nothing")]
    findings += [Finding("warning", "w", f"case{k:03d}", f"{k} %", "look") for k in range(160)]
    findings += [Finding("error", "e", "case007", "broken", "mend")]
    rows = group_findings(sort_findings(findings))
    assert rows == [
        ("error", "case007", "broken", "mend"),
        (
            "warning",
            "case000, case001, case002 and 157 more",
            "160 findings, the first: 0 %",
            "look",
        ),
        ("note", "data set", "good", "nothing"),
    ]
    lines = format_findings(sort_findings(findings), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 20


def test_json_holds_what_the_table_shows_and_errors_give_exit_code_1(
    data, tmp_path, capsys, processes
):
    for case in list(CASES)[:5]:
        data.change_label(case, lambda a: np.where(a == 0, IGNORE, a).astype(np.uint8))
    save(scribble()[:5], data.label("p3_frame2"))
    out = tmp_path / "report.json"
    code = main(["check", str(data.folder), "--json", str(out), "-np", "2"])
    output = capsys.readouterr().out
    assert code == 1
    content = json.loads(out.read_text())
    findings = [Finding(**f) for f in content["findings"]]
    assert format_findings(findings) in output
    assert content["verdict"] in output
    assert "mend the errors before you train" in output
    assert [f.where for f in findings if f.code == "case-without-background"] == list(CASES)[:5]
    assert content == json.loads(json.dumps(data.check().as_json()))  # for any number of processes


def test_findings_replace_findings_only(data, tmp_path, capsys):
    out = tmp_path / "mine.json"
    out.write_text('{"labels": {}}')
    assert main(["check", str(data.folder), "--json", str(out), "-np", "1"]) == 1
    assert "mine.json exists and is no earlier --json" in capsys.readouterr().err
    assert out.read_text() == '{"labels": {}}'
    out.unlink()
    for _ in range(2):
        main(["check", str(data.folder), "--json", str(out), "-np", "1"])
    assert "wrote" in capsys.readouterr().out


def test_data_set_is_looked_up_by_id_and_name(data, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    assert main(["check", "127"]) == 1
    assert "nnUNet_raw is not set" in capsys.readouterr().err
    monkeypatch.setenv("nnUNet_raw", str(data.folder.parent))
    preprocess(data)
    monkeypatch.setenv("nnUNet_preprocessed", str(data.pre.parent))
    (data.pre / "nnUNetPlans_2d" / "p2_frame1.pkl").unlink()
    for name in ("127", "Dataset127_Heart"):
        assert main(["check", name, "-np", "1"]) == 0
        assert "nnUNetPlans_2d/p2_frame1" in capsys.readouterr().out
    assert main(["check", "128"]) == 1
    assert "data set 128" in capsys.readouterr().err
