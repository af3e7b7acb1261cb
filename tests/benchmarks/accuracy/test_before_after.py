"""The picture of the same slices before and after: what it shows, and which cases it chooses."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.image import imread

from scribble_tools.dataset.label_set import LabelSet

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks" / "accuracy"
LABELS = LabelSet({"organ": (1,), "core": (2,)}, 3)


@pytest.fixture
def drawing(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import before_after

    return before_after


def truth():
    array = np.zeros((4, 40, 50), np.uint8)
    array[1:3, 10:22, 20:34] = 1
    array[1:3, 13:18, 24:30] = 2
    return array


def without(columns, number=1):
    """The organ lacks some columns in one slice."""
    array = truth()
    array[number, :, 20 : 20 + columns] = 0
    return array


def write(array, path):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 2.0, 8.0)[: array.ndim])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def folders(tmp_path):
    """Cases in which after is better by 6, by 2 and by -4 columns."""
    raw = tmp_path / "Dataset003_Toy"
    labels = {"background": 0, "organ": 1, "core": 2, "ignore": 3}
    raw.mkdir()
    content = {"labels": labels, "channel_names": {"0": "MR"}, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps({**content, "numTraining": 3}))
    for case, before, after in (("a", 6, 0), ("b", 2, 0), ("c", 0, 4)):
        write(truth().astype(np.int16) * 100, raw / "imagesTr" / f"{case}_0000.nii.gz")
        write(truth(), raw / "labelsTr_dense" / f"{case}.nii.gz")
        write(without(before, 2), tmp_path / "before" / f"{case}.nii.gz")
        write(without(after, 2), tmp_path / "after" / f"{case}.nii.gz")
    words = ["--dataset", str(raw), "--out", str(tmp_path / "out.png")]
    words += ["--before", str(tmp_path / "before"), "--after", str(tmp_path / "after")]
    return tmp_path, words


def test_gains_and_losses_are_shown(drawing, folders, capsys):
    root, words = folders
    drawing.main(words)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(", Dice")[0] for line in lines[:3]] == [
        "a, slice 2: best change",
        "b, slice 2: median change",
        "c, slice 2: worst change",
    ]
    assert "Dice +" in lines[0] and "Dice -" in lines[2]
    picture = imread(root / "out.png")[..., :3]
    from scribble_tools.draw.contact_sheet import colour_of

    for value in (1, 2):  # both classes' outlines are there
        assert (np.abs(picture - colour_of(value)).sum(axis=-1) < 0.05).any()
    with pytest.raises(SystemExit, match="out.png exists"):
        drawing.main(words)
    drawing.main([*words, "--overwrite"])


def test_chosen_slices(drawing, folders, capsys):
    _, words = folders
    drawing.main([*words, "--slice", "c", "1", "--slice", "a", "2"])
    assert capsys.readouterr().out.startswith("c, slice 1\na, slice 2\n")
    with pytest.raises(SystemExit, match="slices 0 to 3"):
        drawing.main([*words, "--overwrite", "--slice", "c", "4"])
    with pytest.raises(SystemExit, match="no such case: x; there are a, b, c"):
        drawing.main([*words, "--overwrite", "--slice", "x", "4"])


def test_the_figure(drawing):
    shown = drawing.Shown("case", truth() * 9.0, truth(), without(6), truth(), (2.0, 1.0))
    figure = drawing.before_after_figure([(shown, 1, "why")], LABELS, ("A", "B"), 4)
    assert [axis.get_title() for axis in figure.axes] == ["image", "reference", "A", "B"]
    # outlines of two classes; over the reference's where they are a prediction's
    assert [len(axis.collections) for axis in figure.axes] == [0, 2, 4, 4]
    texts = [axis.get_xlabel() for axis in figure.axes]
    assert texts[3] == "Dice 1.000 in this slice" and texts[2] < texts[3]
    # the organ lies in 12 x 14 voxels of 2 x 1 mm; 4 mm on every side
    assert figure.axes[0].images[0].get_array().shape == (12 + 4, 14 + 8)
    assert figure.axes[0].get_xlim() == (-0.5, 21.5)  # no outline moves the image


def test_the_outline_runs_between_the_pixels(drawing):
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    drawing.draw_outlines(axis, truth()[1], LabelSet({"organ": (1, 2)}), {})
    (path,) = axis.collections[0].get_paths()
    assert path.vertices.min(axis=0).tolist() == [19.5, 9.5]
    assert path.vertices.max(axis=0).tolist() == [33.5, 21.5]


def test_which_cases_and_slices(drawing):
    assert drawing.choose({"a": 0.1, "b": float("nan"), "c": -0.2, "d": 0.3}) == {
        "d": "best change",
        "a": "median change",
        "c": "worst change",
    }
    assert drawing.choose({"a": 0.1}) == {"a": "best change"}
    shown = drawing.Shown("x", truth(), truth(), truth(), truth(), (1.0, 1.0))
    assert drawing.differing_slice(shown) == 1  # equal predictions: where the organ is largest
    assert drawing.zoom([np.zeros((5, 5))], [1], (1, 1), 2) == (slice(None), slice(None))


def test_all_that_is_wrong_at_once(drawing, folders):
    root, words = folders
    write(truth()[:2], root / "after" / "a.nii.gz")
    (root / "before" / "b.nii.gz").write_bytes(b"no image")
    with pytest.raises(SystemExit) as error:
        drawing.main(words)
    assert "a.nii.gz does not lie on the grid" in str(error.value)
    assert "b.nii.gz" in str(error.value)
    assert not (root / "out.png").exists()
    with pytest.raises(SystemExit, match="no such folder"):
        drawing.main([*words[:-1], str(root / "nowhere")])
