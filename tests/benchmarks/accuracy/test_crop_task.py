"""The cropped task: same voxels in the same place, same splits, nothing half written."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks" / "accuracy"
LABELS = {"background": 0, "organ": 1, "core": 2, "ignore": 3}
CASES = ("p1_a", "p1_b", "p2_a", "p3_a")


@pytest.fixture
def crop(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import crop_task

    return crop_task


def write(array, path, spacing, origin=(-7.0, 3.0, 11.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[: array.ndim])
    image.SetOrigin(origin[: array.ndim])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def source(tmp_path):
    raw = tmp_path / "Dataset007_Toy"
    raw.mkdir()
    content = {"labels": LABELS, "channel_names": {"0": "a", "1": "b"}, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps({**content, "numTraining": len(CASES)}))
    draw = np.random.default_rng(0)
    for number, case in enumerate(CASES):
        spacing = (1.0, 1.0 + 0.5 * (number % 2), 4.0)
        dense = np.zeros((4, 40, 50), np.uint8)
        dense[1:3, 10:22, 30:44] = 1
        scribble = np.full(dense.shape, 3, np.uint8)
        scribble[1, 14:18, 33:39], scribble[2, 15, 36], scribble[1, 2] = 1, 2, 0
        for channel in (0, 1):
            image = draw.integers(0, 999, dense.shape).astype(np.int16)
            write(image, raw / "imagesTr" / f"{case}_{channel:04d}.nii.gz", spacing)
        write(scribble, raw / "labelsTr" / f"{case}.nii.gz", spacing)
        write(dense, raw / "labelsTr_dense" / f"{case}.nii.gz", spacing)
    return raw


def test_box_around(crop):
    mask = np.zeros((10, 30), bool)
    mask[4, 10:14] = True
    assert crop.box_around(mask, (4, 10), (2, 1)) == (slice(3, 5), slice(6, 16))
    assert crop.box_around(mask, (0, 100), (2, 1)) == (slice(0, 10), slice(0, 30))
    mask[4, :2] = True  # the middle moves to the left, the box stays in the image
    assert crop.box_around(mask, (0, 20), (2, 1))[1] == slice(0, 20)
    assert crop.box_around(np.zeros((10, 30), bool), (4, 10), (1, 1)) == (
        slice(2, 6),
        slice(10, 20),
    )


def test_both_data_sets(crop, source, tmp_path, capsys):
    crop.main([str(source), "--ids", "8", "9", "--size-mm", "16", "--patient-regex", r"p\d"])
    scribbled, dense = tmp_path / "Dataset008_ToyCrop", tmp_path / "Dataset009_ToyCropDense"
    contents = [json.loads((folder / "dataset.json").read_text()) for folder in (scribbled, dense)]
    assert contents[0]["labels"] == LABELS
    assert contents[1]["labels"] == {k: v for k, v in LABELS.items() if k != "ignore"}
    assert contents[0]["channel_names"] == contents[1]["channel_names"] == {"0": "a", "1": "b"}
    splits = [json.loads((f / "splits_final.json").read_text()) for f in (scribbled, dense)]
    assert splits[0] == splits[1] and len(splits[0]) == 3
    for fold in splits[0]:
        patients = [{case[:2] for case in fold[side]} for side in ("train", "val")]
        assert not patients[0] & patients[1] and patients[0] | patients[1] == {"p1", "p2", "p3"}
    for number, case in enumerate(CASES):
        for name, target in (
            (f"imagesTr/{case}_0000.nii.gz", None),
            (f"imagesTr/{case}_0001.nii.gz", None),
            (f"labelsTr/{case}.nii.gz", None),
            (f"labelsTr_dense/{case}.nii.gz", None),
        ):
            whole = sitk.ReadImage(str(source / name))
            cut = sitk.ReadImage(str(scribbled / name))
            # 16 mm in plane, and all slices
            assert cut.GetSize() == (16, round(16 / (1 + 0.5 * (number % 2))), 4)
            assert cut.GetSpacing() == whole.GetSpacing() and target is None
            corner = whole.TransformPhysicalPointToIndex(cut.GetOrigin())
            x, y, _ = corner
            part = sitk.GetArrayFromImage(whole)[:, y:, x:][:, : cut.GetSize()[1], :16]
            np.testing.assert_array_equal(sitk.GetArrayFromImage(cut), part)
            if name.startswith("imagesTr"):
                other = sitk.ReadImage(str(dense / name))
                np.testing.assert_array_equal(sitk.GetArrayFromImage(other), part)
        for name in (f"labelsTr/{case}.nii.gz", f"labelsTr_dense/{case}.nii.gz"):
            labels = sitk.GetArrayFromImage(sitk.ReadImage(str(dense / name)))
            assert set(np.unique(labels)) == {0, 1}
        strokes = sitk.GetArrayFromImage(sitk.ReadImage(str(scribbled / f"labelsTr/{case}.nii.gz")))
        assert (strokes == 1).sum() == 24 and (strokes == 2).sum() == 1
    printed = capsys.readouterr().out
    assert "outside of the box: 0.00 % of the strokes, in 0 cases" in printed


def test_own_splits_are_kept_and_losses_are_said(crop, source, tmp_path, capsys):
    splits = [{"train": [*CASES[:3]], "val": [CASES[3]]}]
    (source / "splits_final.json").write_text(json.dumps(splits))
    words = [str(source), "--ids", "8", "9", "--name", "Small", "--size-mm", "3", "0", "4"]
    crop.main(words)
    for name in ("Dataset008_Small", "Dataset009_SmallDense"):
        assert json.loads((tmp_path / name / "splits_final.json").read_text()) == splits
        image = sitk.ReadImage(str(tmp_path / name / "imagesTr" / "p1_a_0000.nii.gz"))
        assert image.GetSize() == (3, 40, 1)  # x, y whole, z
    assert "% of the strokes, in 4 cases, most in p1_a" in capsys.readouterr().out


def test_a_dense_label_that_is_unknown_somewhere_keeps_the_ignore_label(crop, source, tmp_path):
    path = source / "labelsTr_dense" / "p2_a.nii.gz"
    image = sitk.ReadImage(str(path))
    image[36, 16, 1] = 3
    sitk.WriteImage(image, str(path))
    crop.main([str(source), "--ids", "8", "9", "--size-mm", "16"])
    content = json.loads((tmp_path / "Dataset009_ToyCropDense" / "dataset.json").read_text())
    assert content["labels"] == LABELS


def test_problems_leave_nothing_behind(crop, source, tmp_path):
    words = [str(source), "--ids", "8", "9", "--size-mm", "16"]
    (source / "labelsTr_dense" / "p1_a.nii.gz").unlink()
    for channel in (0, 1):
        (source / "imagesTr" / f"p3_a_{channel:04d}.nii.gz").unlink()
    with pytest.raises(SystemExit) as error:
        crop.main(words)
    assert "2 files are missing" in str(error.value)
    for case in ("p1_a", "p3_a"):
        for part in ("imagesTr", "labelsTr", "labelsTr_dense"):
            for path in (source / part).glob(f"{case}*"):
                path.unlink()
    write(np.zeros((4, 40, 50), np.uint8), source / "labelsTr_dense" / "p2_a.nii.gz", (2, 1, 4))
    (source / "labelsTr" / "p1_b.nii.gz").write_bytes(b"no image")
    with pytest.raises(SystemExit) as error:
        crop.main([*words, "-np", "1"])
    assert "p2_a.nii.gz does not lie on the grid" in str(error.value)
    assert "p1_b.nii.gz cannot be read" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_what_it_refuses(crop, source, tmp_path):
    for words, message in (
        (["--ids", "7", "9", "--name", "Toy", "--size-mm", "16"], "source itself"),
        (["--ids", "8", "8", "--size-mm", "16"], "two different"),
        (["--ids", "8", "9", "--size-mm", "16", "20"], "one size or 3"),
    ):
        with pytest.raises(SystemExit, match=message):
            crop.main([str(source), *words, "-np", "1"])
    words = [str(source), "--ids", "8", "9", "--size-mm", "16", "-np", "1"]
    crop.main(words)
    with pytest.raises(SystemExit, match="exists"):
        crop.main(words)
    crop.main([*words, "--overwrite"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "Dataset007_Toy",
        "Dataset008_ToyCrop",
        "Dataset009_ToyCropDense",
    ]
