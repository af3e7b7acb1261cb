"""Masks in colours, and masks with a palette, on request."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from scribble_tools import cli
from scribble_tools.images.colour_tables import read_colour_table

SHAPE = (20, 24)
COLOURS = np.array([(0, 0, 0), (255, 128, 0), (0, 0, 255)], np.uint8)
WORDS = ("--labels", "background=#0000ff", "cell=#FF8000", "--unlabelled", "#000000")
INDEX = np.zeros(SHAPE, np.uint8)
INDEX[4, 3:20], INDEX[8, 3:20] = 1, 2
EXPECTED = np.array([2, 1, 0])[INDEX]
CVAT = "# label:color_rgb:parts:actions\nNothing:0,0,0::\nCell:255,128,0::\nBackground:0,0,255::\n"
NAMED = ("--labels", "background=Background", "cell=Cell", "--unlabelled", "Nothing")


def palette_picture():
    picture = Image.fromarray(INDEX).convert("P")
    picture.putdata(INDEX.ravel())
    picture.putpalette([*COLOURS.ravel().tolist(), *[7] * 759])
    return picture


def make(root, picture, name="a.png", **options):
    for folder in ("images", "scribbles"):
        (root / folder).mkdir(exist_ok=True)
    Image.fromarray(np.arange(480, dtype=np.uint8).reshape(SHAPE)).save(root / "images" / "a.png")
    picture.save(root / "scribbles" / name, **options)


def convert(root, *words):
    arguments = ["convert", "folder", "--images", root / "images", "--scribbles"]
    arguments += [root / "scribbles", "--dataset-id", 900, "--name", "T", "--out", root / "raw"]
    return cli.main([str(word) for word in (*arguments, "-np", 1, "--overwrite", *words)])


def assert_right(root, *words):
    assert convert(root, *words) == 0
    path = root / "raw" / "Dataset900_T" / "labelsTr" / "a.png"
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), EXPECTED)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_colours_stand_for_classes(tmp_path, name):
    make(tmp_path, Image.fromarray(COLOURS[INDEX]), name)
    assert_right(tmp_path, *WORDS)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_a_palette_is_read_by_index_or_by_colour(tmp_path, name):
    make(tmp_path, palette_picture(), name)
    assert_right(tmp_path, *WORDS)
    words = ("--labels", "background=2", "cell=1", "--unlabelled", "0")
    assert_right(tmp_path, *words, "--palette", "index")
    assert convert(tmp_path, *WORDS, "--palette", "index") == 1


def test_transparent_pixels_are_a_label_of_their_own(tmp_path, capsys):
    array = np.dstack([COLOURS[INDEX], 255 * (INDEX > 0).astype(np.uint8)])
    make(tmp_path, Image.fromarray(array))
    assert_right(tmp_path, *WORDS[:-1], "transparent")
    array[4, 5, 3] = 100
    make(tmp_path, Image.fromarray(array))
    capsys.readouterr()
    assert convert(tmp_path, *WORDS[:-1], "transparent") == 1
    what = "has 1 half transparent pixel: which label is theirs? Draw with a pencil or hard brush"
    assert what in capsys.readouterr().err
    assert cli.main(["inspect", str(tmp_path / "scribbles")]) == 0
    assert what in capsys.readouterr().out


def test_grey_values_are_colours_too(tmp_path):
    make(tmp_path, Image.fromarray(np.array([0, 128, 255], np.uint8)[INDEX]))
    words = ("--labels", "background=#ffffff", "cell=#808080", "--unlabelled", "#000000")
    assert_right(tmp_path, *words)


@pytest.mark.parametrize(
    "table",
    [
        CVAT,
        "name,colour\nNothing,#000000\nCell,#ff8000\nBackground,#0000FF\n",
        "name;red;green;blue\nNothing;0;0;0\nCell;255;128;0\nBackground;0;0;255\n",
    ],
)
def test_a_table_names_the_colours(tmp_path, table):
    make(tmp_path, Image.fromarray(COLOURS[INDEX]))
    (tmp_path / "table.txt").write_text(table)
    assert_right(tmp_path, "--label-description", tmp_path / "table.txt", *NAMED)
    record = json.loads((tmp_path / "raw" / "Dataset900_T" / "conversion.json").read_text())
    assert record["values_of_names"]["Cell"] == 0xFF8000


def test_without_a_request_the_colours_are_shown(tmp_path, capsys):
    make(tmp_path, palette_picture())
    assert convert(tmp_path, "--labels", "background=2", "cell=1", "--unlabelled", "0") == 1
    message = capsys.readouterr().err
    assert "a.png is a picture with a palette (#000000, #0000ff, #ff8000)" in message
    assert "--labels NAME='#ff8000'" in message and "(0, 1, 2): --palette index" in message


def test_colours_that_nobody_named_are_shown(tmp_path, capsys):
    make(tmp_path, Image.fromarray(COLOURS[INDEX]))
    assert convert(tmp_path, "--labels", "background=#0000ff", "cell=#ff0000") == 1
    assert "no value is said to mean unlabelled" in capsys.readouterr().err
    assert convert(tmp_path, *WORDS[:2], "cell=#ff0000", *WORDS[3:]) == 1
    message = capsys.readouterr().err
    assert "the colours [#ff8000] are not mapped" in message
    assert "  #ff8000      17" in message
    assert convert(tmp_path, *WORDS[:2], "cell=orange", *WORDS[3:]) == 1
    assert "'orange' is not a colour such as" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), WORDS])
def test_of_files_of_many_colours_those_that_differ_from_the_others_are_named(
    tmp_path, words, capsys
):
    """One was drawn with a soft brush."""
    make(tmp_path, Image.fromarray(COLOURS[INDEX]))
    soft = COLOURS[INDEX].copy()
    soft[10:14, :20, 0] = np.arange(1, 81).reshape(4, 20)
    shutil.copy(tmp_path / "images/a.png", tmp_path / "images/b.png")
    Image.fromarray(soft).save(tmp_path / "scribbles/b.png")
    words = words or ("--labels", "background=#0000ff", "--unlabelled", "#000000")
    assert convert(tmp_path, *words) == 1
    error = capsys.readouterr().err
    where = tmp_path / "scribbles/b.png"
    assert f"2 files with 83 different values; those with more than 60: {where}. A soft" in error
    assert "soft brush, smoothing, resampling or JPEG" in error and "a.png" not in error
    Image.fromarray(soft).save(tmp_path / "scribbles/a.png")
    assert convert(tmp_path, *words) == 1
    assert "So many are no labels, as a rule: are these images?" in capsys.readouterr().err


def test_a_tif_that_changes_colours_is_refused(tmp_path, capsys):
    make(tmp_path, Image.fromarray(COLOURS[INDEX]))
    path = tmp_path / "scribbles" / "a.tif"
    (tmp_path / "scribbles" / "a.png").unlink()
    tifffile.imwrite(path, COLOURS[INDEX], photometric="rgb", compression="jpeg")
    assert convert(tmp_path, *WORDS) == 1
    assert "a.tif: JPEG changes label numbers" in capsys.readouterr().err


def test_bad_tables(tmp_path):
    path = tmp_path / "t.csv"
    for text, problem in (
        ("name,colour\nA,red\n", "'red' is no colour"),
        ("name,red,green,blue\nA,1,2,300\n", "between 0 and 255"),
        ("name,colour\nA,#000000\nA,#000001\n", "stands twice"),
        ("A:1,2,3::\nB:1,2,3::\n", "A, B stands twice"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=problem):
            read_colour_table(path)
    path.write_text('1 255 0 0 1 1 1 "LV"\n')
    assert read_colour_table(path) is None
    with pytest.raises(FileNotFoundError):
        read_colour_table(tmp_path / "none")


def test_grey_dense_masks_beside_strokes_in_colours_are_said_as_numbers(tmp_path, capsys):
    make(tmp_path, Image.fromarray(COLOURS[INDEX]))
    outlined = np.zeros(SHAPE, np.uint8)
    outlined[2:8, 2:20] = 1
    (tmp_path / "outlines").mkdir()
    Image.fromarray(outlined).save(tmp_path / "outlines" / "a.png")
    words = (*WORDS, "--dense", tmp_path / "outlines")
    assert convert(tmp_path, *words) == 1
    error = capsys.readouterr().err
    said = "These are greys: say them as numbers, --dense-labels background=0 NAME=1\n"
    assert said in error
    assert convert(tmp_path, *words, "--dense-labels", "background=0", "cell=1") == 0
    path = tmp_path / "raw" / "Dataset900_T" / "labelsTr_dense" / "a.png"
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), outlined)
