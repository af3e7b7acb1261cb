"""Which files belong together, by name or by pattern; and what is said of a suffix."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli
from scribble_tools.evaluate.label_files import addition_hint, find_label_files


def save(path, shift=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((4, 12, 12), np.uint8)
    array[1:3, 3 + shift : 9, 3:9] = 1
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return path


@pytest.fixture
def folders(tmp_path):
    for name in ("a1", "a2", "b1"):
        save(tmp_path / "pred" / f"{name}.mha", 1)
        save(tmp_path / "ref" / f"{name}_gt.nii.gz")
    (tmp_path / "pred" / "prediction.json").write_text("{}")
    return tmp_path / "pred", tmp_path / "ref"


def test_names_patterns_and_endings(folders):
    pred, ref = folders
    assert list(find_label_files(pred)) == ["a1", "a2", "b1"]
    assert list(find_label_files(ref)) == ["a1_gt", "a2_gt", "b1_gt"]
    assert list(find_label_files(ref, pattern="{case}_gt.nii.gz")) == ["a1", "a2", "b1"]
    assert list(find_label_files(ref, pattern="a{case}_gt.*")) == ["1", "2"]
    save(pred / "d.seg.nrrd")
    assert list(find_label_files(pred)) == ["a1", "a2", "b1", "d"]
    assert list(find_label_files(pred, ".seg.nrrd")) == ["d"]
    with pytest.raises(FileNotFoundError, match=r"no \*.nrrd in"):
        find_label_files(pred, ".nrrd")
    save(pred / "c.nii.gz")
    save(pred / "e.mhd")
    assert list(find_label_files(pred)) == ["a1", "a2", "b1", "c", "d", "e"]
    assert list(find_label_files(pred, ".nii.gz")) == ["c"]


def test_pictures_beside_volumes_are_labels_of_cases_of_the_other_folder(folders, tmp_path):
    pred, ref = folders
    picture = sitk.GetImageFromArray(np.zeros((8, 8), np.uint8))
    for name in ("pred/contact_sheet", "pred/a1", "pred/photo", "ref/photo"):
        sitk.WriteImage(picture, str(tmp_path / f"{name}.png"))
    assert list(find_label_files(pred)) == ["a1", "a2", "b1"]
    found = find_label_files(pred, other=ref)
    assert list(found) == ["a1", "a2", "b1", "photo"]
    assert found["a1"] == pred / "a1.mha"
    assert list(find_label_files(ref, other=pred)) == ["a1_gt", "a2_gt", "b1_gt", "photo"]
    assert list(find_label_files(ref, other=tmp_path / "none")) == ["a1_gt", "a2_gt", "b1_gt"]


def test_a_picture_of_a_volume_is_no_prediction_that_is_missing(folders, tmp_path, capsys):
    pred, ref = folders
    (pred / "b1.mha").unlink()
    for path in (pred / "a1.png", pred / "b1.png", ref / "b1.png"):
        path.write_bytes(b"a contact sheet")
    for path in ref.glob("*_gt.nii.gz"):
        path.rename(ref / path.name.replace("_gt", ""))
    for other in (ref / "b1.png", None):
        assert list(find_label_files(pred, other=ref)) == ["a1", "a2"]
        assert list(find_label_files(ref, other=pred)) == ["a1", "a2", "b1"]
        if other:
            other.unlink()
    assert cli.main(["evaluate", str(pred), str(ref), "-np", "1"]) == 1
    error = capsys.readouterr().err
    assert f"{ref / 'b1.nii.gz'}: no prediction of b1 in {pred}\n" in error
    assert "1 problem, " in error and "b1.png" not in error


def test_what_cannot_be_is_refused(folders, tmp_path):
    pred, ref = folders
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        find_label_files(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="fits the pattern"):
        find_label_files(ref, pattern="{case}_seg.nii.gz")
    with pytest.raises(ValueError, match="must hold {case}"):
        find_label_files(ref, pattern="gt.nii.gz")
    with pytest.raises(FileNotFoundError, match=r"no label files \(.*\.nii\.gz.*\) in"):
        find_label_files(tmp_path)
    for name in ("a1.nrrd", "b1.nii.gz"):
        save(pred / name)
    with pytest.raises(ValueError) as error:
        find_label_files(pred)
    first, second, remedy = str(error.value).split("\n")
    assert first == f"{pred / 'a1.mha'} and {pred / 'a1.nrrd'} are both of a1"
    assert second.endswith("are both of b1") and "--file-ending" in remedy


def test_folders_of_mixed_formats_are_paired_by_case(tmp_path, capsys):
    pred, ref = tmp_path / "pred", tmp_path / "ref"
    for folder, names in (
        (pred, ("Pat.08 new.nrrd", "Pat.09 new.nii.gz", "Pat.10.mha")),
        (ref, ("Pat.08 new.mha", "Pat.09 new.nii.gz")),
    ):
        for name in names:
            save(folder / name)
    (ref / "Pat.09 new.png").write_bytes(b"")  # pictures show the volumes beside them
    (ref / "overview.png").write_bytes(b"")
    words = ["evaluate", str(pred), str(ref), "-np", "1"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "note: no reference, not scored: Pat.10\n" in capsys.readouterr().out
    rows = (tmp_path / "out" / "evaluation.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["Pat.08 new", "Pat.09 new"]
    save(ref / "lost.nrrd")
    assert cli.main(words) == 1
    assert f"{ref / 'lost.nrrd'}: no prediction of lost in {pred}\n" in capsys.readouterr().err
    save(pred / "Lost.nrrd")
    assert cli.main(words) == 1
    error = capsys.readouterr().err
    assert f"no prediction of lost in {pred}, only of Lost: rename it\n" in error
    assert "predict these cases too" not in error


def test_a_suffix_is_named_and_the_pattern_works(folders, capsys):
    pred, ref = folders
    assert cli.main(["evaluate", str(pred), str(ref)]) == 1
    error = capsys.readouterr().err
    assert "names differ by '_gt' only: say --ref-pattern '{case}_gt.nii.gz'" in error
    assert cli.main(["evaluate", str(pred), str(ref), "--ref-pattern", "{case}_gt.nii.gz"]) == 0
    assert "overall" in capsys.readouterr().out


def test_nothing_is_said_of_names_that_differ_otherwise(folders):
    _, ref = folders
    lost = find_label_files(ref)

    def files(*names):
        return {name: Path(f"{name}.nii.gz") for name in names}

    assert addition_hint(lost, files("x", "y")) is None
    assert addition_hint(lost, {}) is None
    assert addition_hint({}, files("a1")) is None
    assert addition_hint(lost, files("a1", "x", "y")) is None  # one of three is a chance
    assert "'ref_'" in addition_hint({"ref_a": ref / "ref_a.nii.gz"}, files("a"))
    some = addition_hint(files("d1", "d2", "d7", "d8"), files("d1_img", "d2_img", "d3_img"))
    assert some == "names differ by '_img' only: say --pred-pattern '{case}_img.nii.gz'"
    assert addition_hint(files("d1", "d2"), files("d1_img", "x", "y")) is None
    assert addition_hint(files("case_1"), files("case_10")) is None, "another number"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda labels: labels, ()),
        (lambda labels: np.where(labels == 0, 4, labels), ("no voxel of the references is 0",)),
        (lambda labels: 50 * labels, ("no value that was predicted is a class",)),
    ],
)
def test_references_with_other_values_are_asked_about(tmp_path, capsys, change, words):
    path = save(tmp_path / "pred" / "a.mha")
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    (tmp_path / "ref").mkdir()
    changed = sitk.GetImageFromArray(change(labels).astype(np.uint8))
    sitk.WriteImage(changed, str(tmp_path / "ref" / "a.mha"))
    assert cli.main(["evaluate", str(tmp_path / "pred"), str(tmp_path / "ref"), "-np", "1"]) == 0
    out = capsys.readouterr().out
    doubts = ("no voxel of the references is 0", "no value that was predicted is a class")
    assert [doubt in out for doubt in doubts] == [doubt in words for doubt in doubts]
