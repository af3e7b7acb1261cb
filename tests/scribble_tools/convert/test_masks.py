"""Several masks of a case are joined, and none is dropped."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from scribble_tools import cli
from scribble_tools.convert.masks import is_mask_pattern
from tests.scribble_tools.convert.people_files import (
    in_nnunet,
    labels_in,
    slicer_masks,
    strokes,
)

SHAPE = (20, 24)
PATTERNS = ("background={case}-bg-*.png", "cell={case}-cell-*.png")

SLICER = ("background={case}_Background.seg.nrrd", "A={case}_A.seg.nrrd", "B={case}_B.seg.nrrd")


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def mask(*rows, value=255):
    array = np.zeros(SHAPE, np.uint8)
    array[list(rows), 3:20] = value
    return array


def make(root, value=255):
    for case in ("a_1", "a_10"):  # one name begins with the other
        save(root / "images" / f"{case}.png", np.arange(480, dtype=np.uint8).reshape(SHAPE))
        save(root / "masks" / f"{case}-bg-0.png", mask(2, value=value))
        save(root / "masks" / f"{case}-bg-1.png", mask(3, value=value))
        save(root / "masks" / f"{case}-cell-0.png", mask(8, value=1))


def convert(root, *words, labels=PATTERNS):
    arguments = ["convert", "folder", "--images", root / "images", "--scribbles", root / "masks"]
    arguments += ["--labels", *labels, "--dataset-id", 900, "--name", "T", "--out", root / "raw"]
    return cli.main([str(word) for word in (*arguments, "-np", 1, *words)])


def labels_of(root, case):
    folder = root / "raw" / "Dataset900_T" / "labelsTr"
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{case}.png")))


EXPECTED = np.select([mask(2, 3) > 0, mask(8) > 0], [0, 1], 2)


@pytest.mark.parametrize("value", [1, 255, 7])
def test_masks_are_joined_by_class(tmp_path, value):
    make(tmp_path, value)
    assert convert(tmp_path) == 0
    for case in ("a_1", "a_10"):
        assert np.array_equal(labels_of(tmp_path, case), EXPECTED)
    record = json.loads((tmp_path / "raw" / "Dataset900_T" / "conversion.json").read_text())
    names = record["scribble_masks"]["a_10"]
    assert [len(names["background"]), len(names["cell"])] == [2, 1]


@pytest.mark.parametrize("labels", [("background=bg-0.png,bg-1.png", "cell=cell-0.png")])
def test_a_file_name_alone_stands_behind_the_cases_name(tmp_path, labels):
    make(tmp_path)
    assert convert(tmp_path, labels=labels) == 0
    assert np.array_equal(labels_of(tmp_path, "a_1"), EXPECTED)


def test_a_file_name_alone_stands_in_the_cases_folder(tmp_path):
    make(tmp_path)
    for path in sorted((tmp_path / "masks").iterdir()):
        case, word, number = path.stem.split("-")
        target = tmp_path / "masks" / case / f"{word}{number}.png"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    assert convert(tmp_path, labels=("background=bg0.png,bg1.png", "cell=cell0.png")) == 0
    assert np.array_equal(labels_of(tmp_path, "a_10"), EXPECTED)


def test_a_folder_for_each_class(tmp_path, capsys):
    make(tmp_path)
    for path in sorted((tmp_path / "masks").iterdir()):
        case, word, number = path.stem.split("-")
        target = tmp_path / "masks" / f"{word}{number}" / f"{case}.png"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    assert convert(tmp_path, "--unlabelled", "0", labels=("background=255", "cell=1")) == 1
    message = capsys.readouterr().err
    assert "--labels NAME='bg0/{case}.*' NAME='bg1/{case}.*' NAME='cell0/{case}.*'" in message
    words = ("background=bg0/{case}.*,bg1/{case}.*", "cell=cell0/{case}.*")
    assert convert(tmp_path, labels=words) == 0
    assert np.array_equal(labels_of(tmp_path, "a_10"), EXPECTED)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "L"])
def test_masks_in_black_and_a_colour(tmp_path, mode):
    make(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        array = np.asarray(Image.open(path)) > 0
        if mode == "RGBA":  # red on nothing
            picture = Image.fromarray(np.dstack([array * v for v in (255, 0, 0, 255)]).astype("u1"))
        else:
            picture = Image.fromarray((255 * array).astype(np.uint8)).convert(mode)
        picture.save(path)
    assert convert(tmp_path) == 0
    assert np.array_equal(labels_of(tmp_path, "a_1"), EXPECTED)


def test_a_case_may_lack_a_class(tmp_path):
    make(tmp_path)
    (tmp_path / "masks" / "a_1-cell-0.png").unlink()
    assert convert(tmp_path) == 0
    assert set(np.unique(labels_of(tmp_path, "a_1"))) == {0, 2}


def test_no_mask_is_passed_over(tmp_path, capsys):
    make(tmp_path)
    save(tmp_path / "masks" / "a_1-wall-0.png", mask(12))
    assert convert(tmp_path) == 1
    message = capsys.readouterr().err
    assert "1 file beside the masks without a pattern" in message and "a_1-wall-0.png" in message
    assert convert(tmp_path, "--exclude", "*-wall-*") == 0


def test_without_patterns_the_error_says_how_to_join(tmp_path, capsys):
    make(tmp_path)
    assert convert(tmp_path, "--unlabelled", "0", labels=("background=255", "cell=1")) == 1
    message = capsys.readouterr().err
    assert "Several files belong to one case" in message
    assert "--labels NAME='{case}-bg-*.*' NAME='{case}-cell-*.*'" in message


def test_an_update_takes_colours_in_the_place_of_masks(tmp_path):
    make(tmp_path)
    assert convert(tmp_path) == 0
    drawn = np.zeros((*SHAPE, 3), np.uint8)
    drawn[12, 3:20] = 255, 0, 0
    save(tmp_path / "next" / "a_1.png", drawn)
    words = ["--labels", "background=#00ff00", "cell=#ff0000", "--unlabelled", "#000000"]
    folders = ["--scribbles", str(tmp_path / "next"), "--out", str(tmp_path / "raw")]
    command = ["convert", "folder", "--update", "--dataset-id", "900", *folders, *words]
    assert cli.main(command) == 0
    assert np.array_equal(labels_of(tmp_path, "a_1"), np.where(mask(12) > 0, 1, EXPECTED))


def test_overlapping_masks_are_refused_or_decided(tmp_path, capsys):
    make(tmp_path)
    save(tmp_path / "masks" / "a_1-cell-0.png", mask(3, 8))
    assert convert(tmp_path) == 1
    assert "voxels in masks of two classes: 17 in background and cell" in capsys.readouterr().err
    for choice, label in (("ignore", 2), ("first", 0)):
        assert convert(tmp_path, "--overlaps", choice, "--overwrite") == 0
        assert labels_of(tmp_path, "a_1")[3, 3:6].tolist() == [label] * 3


def test_the_mask_that_stands_first_wins_over_the_background(tmp_path):
    make(tmp_path)
    save(tmp_path / "masks" / "a_1-cell-0.png", mask(3, 8))
    assert convert(tmp_path, "--overlaps", "first", labels=PATTERNS[::-1]) == 0
    # the numbers are as ever
    assert labels_of(tmp_path, "a_1")[[2, 3, 8, 9], 3].tolist() == [0, 1, 1, 2]


def test_cropped_segmentations_of_slicer_are_put_in_place(tmp_path, capsys):
    slicer_masks(tmp_path)
    words = ("--scribbles", tmp_path / "scribbles")
    assert convert(tmp_path, *words, labels=SLICER) == 0
    for found in labels_in(tmp_path / "raw" / "Dataset900_T"):
        assert np.array_equal(found, in_nnunet(strokes()))
    # of another image
    elsewhere = sitk.ReadImage(str(tmp_path / "scribbles" / "case_1_B.seg.nrrd"))
    elsewhere.SetOrigin((20.0, -10.0, 34.0))
    sitk.WriteImage(elsewhere, str(tmp_path / "scribbles" / "case_1_B.seg.nrrd"))
    assert convert(tmp_path, *words, "--overwrite", labels=SLICER) == 1
    assert "labelled voxels outside its image" in capsys.readouterr().err


def test_what_is_no_mask_is_refused(tmp_path, capsys):
    make(tmp_path)
    smooth = mask(8)
    smooth[9, 3:20] = 120
    save(tmp_path / "masks" / "a_1-cell-0.png", smooth)
    save(tmp_path / "masks" / "a_10-cell-0.png", mask(8)[:10])
    assert convert(tmp_path) == 1
    message = capsys.readouterr().err
    assert "a_1-cell-0.png is no mask of one class: besides 0 it holds 120, 255" in message
    save(tmp_path / "masks" / "a_1-cell-0.png", mask(8))
    assert convert(tmp_path) == 1
    assert "size (24, 10) against (24, 20)" in capsys.readouterr().err


def test_words_that_contradict_each_other(tmp_path, capsys):
    make(tmp_path)
    for words, labels, problem in (
        ((), ("background=1", "cell={case}-cell-*.png"), "for all classes, or for none"),
        ((), ("background={case}-*.png", "cell={case}-cell-*.png"), "fits the patterns of"),
        ((), (PATTERNS[0], "cell={case}-nucleus.png"), "the masks of cell"),
        (("--unlabelled", "0"), PATTERNS, "leave out --unlabelled"),
        (("--scribble-pattern", "{case}.png"), PATTERNS, "leave the former out"),
    ):
        assert convert(tmp_path, *words, labels=labels) == 1
        assert problem in capsys.readouterr().err


def test_dense_masks_beside_scribbles(tmp_path):
    make(tmp_path)
    for case in ("a_1", "a_10"):
        save(tmp_path / "dense" / f"{case}_organ.png", mask(7, 8, 9))
    words = ("--dense", tmp_path / "dense", "--dense-labels", "cell={case}_organ.png")
    assert convert(tmp_path, *words) == 0
    path = tmp_path / "raw" / "Dataset900_T" / "labelsTr_dense" / "a_1.png"
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), mask(7, 8, 9) > 0)


def test_masks_in_the_folder_of_the_images(tmp_path):
    make(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        path.rename(tmp_path / "images" / path.name)
    assert convert(tmp_path, "--scribbles", tmp_path / "images") == 0
    assert np.array_equal(labels_of(tmp_path, "a_1"), EXPECTED)


def test_what_is_a_pattern():
    assert all(map(is_mask_pattern, ("{case}_a", "BG.png", "a.nii.gz", "{case}/a.png")))
    assert not any(map(is_mask_pattern, ("1", "Right ventricle", "#ff0000", "a.b")))
