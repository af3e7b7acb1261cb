"""Background and unlabelled, exchanged: asked before anything is written, and named by `check`."""

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli
from scribble_tools.convert.swapped import refuse_renamed_background, refuse_swapped
from scribble_tools.dataset.label_mapping import LabelMapping

SHAPE = (3, 48, 48)


def strokes(unlabelled, background):
    array = np.full(SHAPE, unlabelled, np.uint8)
    array[:, 14:34, 14], array[:, 14:34, 30] = 1, 2
    array[:, 4, 4:44] = array[:, 4:44, 4] = background
    return array


def outlines_with_a_border():
    """Dense labels in which a thin line between the objects belongs to none."""
    array = np.zeros(SHAPE, np.uint8)
    array[:, 10:38, 8:24], array[:, 10:38, 25:40] = 1, 2
    array[:, 10:38, 24] = 9
    return array


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 6.0))
    sitk.WriteImage(image, str(path))
    return path


def mapping(background, unlabelled):
    return LabelMapping({"background": background, "RV": (1,), "LV": (2,)}, unlabelled)


@pytest.mark.parametrize(("unlabelled", "background"), [(4, 0), (0, 4)])
def test_what_is_swapped_is_asked_with_the_line_that_exchanges_it(tmp_path, unlabelled, background):
    paths = [save(tmp_path / f"{k}.nrrd", strokes(unlabelled, background)) for k in range(7)]
    refuse_swapped(mapping((background,), (unlabelled,)), paths)
    with pytest.raises(ValueError) as caught:
        refuse_swapped(mapping((unlabelled,), (background,)), paths)
    text = str(caught.value)
    assert text.startswith(f"are background and unlabelled swapped? {unlabelled}, said to be back")
    assert f"--labels background={background} RV=1 LV=2 --unlabelled {unlabelled}" in text
    assert "0.nrrd" in text and "--not-swapped" in text


def test_of_colours_the_line_can_be_pasted(tmp_path, capsys):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 0], [0, 0, 255]], np.uint8)
    for k in range(4):
        picture = sitk.GetImageFromArray(colours[strokes(0, 4)[0]], isVector=True)
        save(tmp_path / "images" / f"c{k}.png", np.arange(48 * 48).reshape(48, 48).astype(np.uint8))
        (tmp_path / "strokes").mkdir(exist_ok=True)
        sitk.WriteImage(picture, str(tmp_path / "strokes" / f"c{k}.png"))
    swapped = ["--labels", "background=#000000", "RV=#ff0000", "LV=#00ff00"]
    assert convert(tmp_path, *swapped, "--unlabelled", "#0000ff") == 1
    line = "--labels background='#0000ff' 'RV=#ff0000' 'LV=#00ff00' --unlabelled '#000000'"
    assert line in capsys.readouterr().err


def test_dense_labels_and_single_odd_files_are_left_alone(tmp_path):
    dense = [save(tmp_path / f"d{k}.nrrd", outlines_with_a_border()) for k in range(3)]
    refuse_swapped(mapping((0,), (9,)), dense)
    odd = [save(tmp_path / "odd.nrrd", strokes(0, 4))]
    good = [save(tmp_path / f"g{k}.nrrd", strokes(4, 0)) for k in range(4)]
    refuse_swapped(mapping((0,), (4,)), odd + good)
    refuse_swapped(mapping((0,), (4,)), [])


def convert(folder, *more):
    files = ["--images", str(folder / "images"), "--scribbles", str(folder / "strokes")]
    words = ["convert", "folder", *files, *more, "--dataset-id", "5", "--name", "X"]
    return cli.main([*words, "--out", str(folder / "raw")])


def test_convert_asks_and_check_does_not_repeat_the_wrong_line(tmp_path, capsys):
    for k in range(4):
        save(tmp_path / "images" / f"c{k}.nrrd", np.arange(np.prod(SHAPE)).reshape(SHAPE))
        save(tmp_path / "strokes" / f"c{k}.nrrd", strokes(4, 0))
    swapped = ["--labels", "background=4", "RV=1", "LV=2", "--unlabelled", "0"]
    assert convert(tmp_path, *swapped) == 1
    assert "swapped? 4, said to be background" in capsys.readouterr().err
    assert not (tmp_path / "raw" / "Dataset005_X").exists()
    assert convert(tmp_path, *swapped, "--not-swapped") == 0
    assert cli.main(["check", str(tmp_path / "raw" / "Dataset005_X")]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "Are background and unlabelled swapped?" in printed
    assert "--unlabelled 0" not in printed
    right = ["--labels", "background=0", "RV=1", "LV=2", "--unlabelled", "4", "--overwrite"]
    assert convert(tmp_path, *right) == 0


def test_a_class_that_is_called_background_is_asked_about():
    with pytest.raises(ValueError, match="are RV and background swapped"):
        refuse_renamed_background(["background=Right", "RV=Background", "LV=Left,Apex"])
    refuse_renamed_background(["background=Background,Outside", "RV=Right", "LV=2"])


def test_strokes_around_all_others_that_are_said_to_be_a_class_are_asked_about(tmp_path, capsys):
    paths = [save(tmp_path / f"{k}.nrrd", strokes(0, 4)) for k in range(3)]
    assert refuse_swapped(mapping((4,), (0,)), paths) == []
    said = LabelMapping({"background": (1,), "RV": (4,), "LV": (2,)}, (0,))
    (question,) = refuse_swapped(said, paths)
    assert question.startswith("are RV and background swapped? The strokes of 4, said to be RV")
    assert "in 3 of 3 files" in question
    for k in range(3):
        save(tmp_path / "images" / f"{k}.nrrd", np.arange(48 * 48 * 3).reshape(SHAPE) * 1.0)
        save(tmp_path / "strokes" / f"{k}.nrrd", strokes(0, 4))
    words = ["--labels", "background=1", "RV=4", "LV=2", "--unlabelled", "0"]
    assert convert(tmp_path, *words) == 0
    assert "note: are RV and background swapped?" in capsys.readouterr().out
    assert convert(tmp_path, *words, "--not-swapped", "--overwrite") == 0
    assert "swapped" not in capsys.readouterr().out
