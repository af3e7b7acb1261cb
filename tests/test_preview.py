"""The contact sheet: what is drawn, in which colour, and with which aspect."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from scribble_tools.cli import main
from scribble_tools.preview import COLOURS, Panel, choose_slices, contact_sheet, overlay


def stack():
    labels = np.full((4, 10, 12), 4, np.uint8)
    labels[1, 2, 2:8], labels[3, 5, 5] = 1, 0
    return np.arange(480, dtype=float).reshape(4, 10, 12), labels


def test_overlay_colours_and_hides():
    labels = np.array([[0, 1], [2, 4]], np.uint8)
    picture = overlay(labels, hidden=4, alpha=0.5)
    assert picture[1, 1, 3] == 0
    for position, value in {(0, 0): 0, (0, 1): 1, (1, 0): 2}.items():
        assert picture[position] == pytest.approx((*to_rgb(COLOURS[value]), 0.5))
    assert overlay(labels, hidden=0, alpha=1.0)[0, 0, 3] == 0


def test_overlay_thickens_into_hidden_pixels_only():
    labels = np.full((5, 7), 9, np.uint8)
    labels[2, 2], labels[2, 3] = 2, 1
    picture = overlay(labels, hidden=9, alpha=1.0, thicken=1)
    assert (picture[..., 3] > 0).sum() == 3 * 4
    assert picture[2, 3, :3] == pytest.approx(to_rgb(COLOURS[1]))
    assert picture[2, 2, :3] == pytest.approx(to_rgb(COLOURS[2]))


def test_colours_are_distinct():
    assert len(set(COLOURS)) == 7


def test_slices_with_most_of_the_scribble_come_in_order():
    _, labels = stack()
    panel = Panel("scribble", labels, hidden=4)
    assert choose_slices([panel], 1) == [1]
    assert choose_slices([panel], 2) == [1, 3]
    assert choose_slices([panel], 9) == [0, 1, 2, 3]


def test_sheet_has_a_column_per_panel_and_a_legend_of_what_is_there():
    image, labels = stack()
    dense = np.zeros_like(labels)
    dense[1, 2:5, 2:8] = 3
    panels = [Panel("scribble", labels, 4, strokes=True), Panel("reference", dense)]
    figure = contact_sheet(image, panels, (1, 1), {3: "LV"}, slices=[1, 2])
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes[:3]] == ["image", "scribble", "reference"]
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == ["slice 1", "slice 2"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["background", "label 1", "LV"]


def test_anisotropic_pixels_keep_their_aspect():
    image, labels = stack()
    figure = contact_sheet(image, [Panel("scribble", labels, 4)], (3.0, 1.5))
    assert {axis.get_aspect() for axis in figure.axes} == {2.0}


def test_a_thin_stroke_stays_visible_in_a_large_picture():
    labels = np.zeros((1, 900, 900), np.uint8)
    labels[0, 450] = 1
    figure = contact_sheet(np.zeros(labels.shape), [Panel("s", labels, 0, strokes=True)], (1, 1))
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255
    stroke = np.abs(pixels - to_rgb(COLOURS[1])).max(axis=-1) < 0.1
    rows_of_stroke = np.flatnonzero(stroke[:, : pixels.shape[1] // 2 * 2].sum(axis=1) > 200)
    assert len(rows_of_stroke) >= 2


def test_unusable_input_is_named():
    image, labels = stack()
    with pytest.raises(ValueError, match="nothing to show"):
        contact_sheet(image, [], (1, 1))
    with pytest.raises(ValueError, match=r"wrong: shape \(3, 10, 12\), image: \(4, 10, 12\)"):
        contact_sheet(image, [Panel("wrong", labels[:3])], (1, 1))
    with pytest.raises(ValueError, match="no slice 4: the image has slices 0 to 3"):
        contact_sheet(image, [Panel("s", labels)], (1, 1), slices=[4])


def write(path, array, spacing_xyz):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_xyz)
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def files(tmp_path):
    image, labels = stack()
    write(tmp_path / "images" / "c_0000.nii.gz", image.astype(np.float32), (1, 1, 8))
    write(tmp_path / "scribbles" / "c.nii.gz", labels, (1, 1, 8))
    write(tmp_path / "dense" / "c.nii.gz", (labels == 1).astype(np.uint8), (1, 1, 8))
    return tmp_path


def arguments(files, **other):
    named = {
        "image": files / "images" / "c_0000.nii.gz",
        "scribble": files / "scribbles" / "c.nii.gz",
        "pred": files / "dense" / "c.nii.gz",
        "ref": files / "dense" / "c.nii.gz",
        "out": files / "pictures" / "c.png",
        **other,
    }
    return [
        "preview",
        *(str(word) for name, value in named.items() for word in (f"--{name}", value)),
    ]


def has_colour(picture, colour):
    return bool((np.abs(picture[..., :3] - to_rgb(colour)).max(axis=-1) < 0.01).any())


def test_command_writes_a_picture_with_the_scribbles_colours(files, capsys):
    assert main(arguments(files)) == 0
    assert "c.png" in capsys.readouterr().out
    picture = imread(files / "pictures" / "c.png")
    assert has_colour(picture, COLOURS[0])
    assert has_colour(picture, COLOURS[1])
    assert not has_colour(picture, COLOURS[4])  # the most frequent value is unlabelled


def test_ignore_label_comes_from_dataset_json(files):
    content = {"labels": {"background": 0, "organ": 1, "ignore": 2}}
    (files / "dataset.json").write_text(json.dumps(content))
    assert main(arguments(files)) == 0
    assert has_colour(imread(files / "pictures" / "c.png"), COLOURS[4])  # 4 is a label here


def test_slices_are_cut_across_the_thickest_axis(files):
    image, labels = (np.moveaxis(array, 0, 2) for array in stack())
    write(files / "images" / "c_0000.nii.gz", image.astype(np.float32), (8, 1, 1))
    for folder in ("scribbles", "dense"):
        write(files / folder / "c.nii.gz", labels, (8, 1, 1))
    assert main(arguments(files, slice=3)) == 0
    assert main(arguments(files, slice=4)) == 1  # four slices along the last array axis


def test_two_dimensional_images(files):
    write(files / "images" / "c_0000.nii.gz", np.ones((6, 7), np.float32), (1, 2))
    for folder in ("scribbles", "dense"):
        write(files / folder / "c.nii.gz", np.eye(6, 7, dtype=np.uint8), (1, 2))
    assert main(arguments(files)) == 0


def test_errors_name_the_file(files, capsys):
    assert main(arguments(files, ref=files / "lost.nii.gz")) == 1
    assert "lost.nii.gz: no such file" in capsys.readouterr().err
    write(files / "dense" / "c.nii.gz", np.zeros((2, 2, 2), np.uint8), (1, 1, 1))
    assert main(arguments(files)) == 1
    assert "shape (2, 2, 2)" in capsys.readouterr().err
