"""What band.py says of predictions whose error is known by construction."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks" / "accuracy"
A, B = 1, 2


@pytest.fixture
def measures(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import band_measures

    return band_measures


def value(ratio):
    return ratio[0] / ratio[1]


def halves(border, shape=(20, 16)):
    """A in the rows before ``border``, B in the others."""
    array = np.full(shape, B, np.int16)
    array[:border] = A
    return array


def test_the_outline_runs_between_voxels(measures):
    distance = measures.signed_distance_mm(halves(5) == A, (2.0, 1.0))
    assert distance[:, 3].tolist() == [2.0 * (k - 5) + 1 for k in range(20)]
    assert measures.signed_distance_mm(np.ones((3, 3), bool), (1, 1)) is None


@pytest.mark.parametrize("moved", [-4, -1, 0, 3])
def test_a_moved_straight_outline(measures, moved):
    spacing = (1.5, 0.7)
    for part, other, sign in ((A, B, 1), (B, A, -1)):
        found = measures.outline_offset(
            halves(10 + moved), halves(10), part, other, spacing, None, 2
        )
        assert value(found["offset"]) == pytest.approx(sign * moved * 1.5)
        assert value(found["absolute"]) == pytest.approx(abs(moved) * 1.5)
        assert value(found["measured"]) == 100


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_in_slices_and_in_the_volume(measures, axis):
    """The border moves across one slice axis and along the two others."""
    flat = np.stack([halves(8), halves(8), halves(8)])
    moved = np.stack([halves(6), halves(6), np.full((20, 16), B, np.int16)])
    expected, predicted = (np.moveaxis(array, 0, axis) for array in (flat, moved))
    spacing = np.insert(np.array((2.0, 2.0)), axis, 9.0)
    found = measures.outline_offset(predicted, expected, A, B, spacing, axis, 2)
    assert value(found["offset"]) == pytest.approx(-4)
    # in the third slice A is not predicted, and has no outline
    assert value(found["measured"]) == pytest.approx(200 / 3)
    whole = measures.outline_offset(expected, expected, A, B, spacing, axis, 3)
    assert value(whole["offset"]) == pytest.approx(0)
    assert value(whole["measured"]) == 100


def test_parts_that_do_not_touch_have_no_offset(measures):
    expected = np.zeros((9, 9), np.int16)
    expected[1, 1], expected[7, 7] = A, B
    found = measures.outline_offset(expected, expected, A, B, (1, 1), None, 2)
    assert found == {"offset": (0, 0), "absolute": (0, 0), "measured": (0, 0)}


def test_strokes_on_both_sides(measures):
    strokes = np.full((20, 16), -1, np.int16)
    strokes[4], strokes[12] = A, B
    found = measures.stroke_distance(strokes, halves(10), A, B, (2.0, 1.0), None, 2)
    # faces lie at row 9.5, which is 5.5 rows from one stroke and 2.5 from the other
    assert value(found["own"]) == pytest.approx(11)
    assert value(found["other"]) == pytest.approx(5)
    assert value(found["halfway"]) == pytest.approx(-3)
    strokes[strokes == B] = -1
    found = measures.stroke_distance(strokes, halves(10), A, B, (2.0, 1.0), None, 2)
    assert found["own"] == (0, 0) and value(found["measured"]) == 0


def test_alike_to_the_other(measures):
    expected = halves(10)
    image = np.where(expected == A, 100.0, 20.0)
    image[0, :8] = 30  # half a row of A is dark: means are 96.5 and 20
    alike = measures.alike_to_other(image, expected, A, B, (1, 1), 10)
    assert value(measures.share(alike, expected == A)) == pytest.approx(5)
    alike = measures.alike_to_other(image, expected, B, A, (1, 1), 10)
    assert value(measures.share(alike, expected == B)) == 0
    assert measures.alike_to_other(image, expected, A, 3, (1, 1), 10) is None


def test_background_means_what_is_near(measures):
    expected = np.zeros((40, 8), np.int16)
    expected[:5] = A
    image = np.full(expected.shape, 1000.0)  # far away
    image[:5], image[5:8] = 100, 0
    image[2] = 40  # nearer to 0 than to A's mean, 88
    alike = measures.alike_to_other(image, expected, A, 0, (1, 1), 3)
    assert value(measures.share(alike, expected == A)) == pytest.approx(20)
    # with everything, the background would be brighter than A
    alike = measures.alike_to_other(image, expected, A, 0, (1, 1), 100)
    assert value(measures.share(alike, expected == A)) == 0


def test_rates_along_the_slices(measures):
    expected = np.zeros((8, 4, 4), np.int16)
    expected[1:7] = A
    predicted = expected.copy()
    predicted[5, :, 0] = B  # a quarter of one of the two last slices
    rates = measures.rates_along(predicted, expected, A, B, 0)
    assert [value(rate) for rate in rates.values()] == [0, 0, 12.5]
    rates = measures.rates_along(predicted[:2], expected[:2], A, B, 0)
    assert [rate[1] for rate in rates.values()] == [16, 0, 0]


def test_oracles_undo_what_they_are_for(measures):
    square = np.zeros((30, 30), np.int16)
    square[5:25, 5:25] = A
    notched, slit = square.copy(), square.copy()
    notched[12:16, 5:12] = B
    slit[5:20, 14] = B
    core = np.zeros((30, 30), np.int16)
    core[10:20, 10:20] = A
    grown = np.where(ndimage.binary_dilation(core == A), A, 0).astype(np.int16)
    for predicted, truth, name in (
        (notched, square, "convex hull"),
        (slit, square, "closed by 3"),
        (core, grown, "one voxel larger"),
    ):
        dice = measures.oracle(predicted, truth, A, None, 2, 3)
        assert dice[name][0] == (1, 1)
        assert dice["as predicted"][0][0] < 1
    # a slit of one voxel is no matter of size, a notch of four is not closed
    assert measures.oracle(notched, square, A, None, 2, 3)["closed by 3"][0][0] < 1
    # absent on both sides, B has no Dice; invented, it has 0
    assert measures.oracle(square, square, A, None, 2, 3)["as predicted"][1] == (0, 0)
    assert measures.oracle(slit, square, A, None, 2, 3)["as predicted"][1] == (0, 1)


@pytest.mark.filterwarnings("error")
def test_an_aslant_line_has_no_hull_and_no_warning(measures):
    line = np.eye(5, dtype=bool)
    assert np.array_equal(measures._hull(line), line)
    plane = np.stack([np.eye(5, dtype=bool)] * 5)
    assert np.array_equal(measures._hull(plane), plane)


def test_a_false_island_does_not_stretch_the_hull(measures):
    truth = np.zeros((1, 30, 30), np.int16)
    truth[0, 5:15, 5:15] = A
    predicted = truth.copy()
    predicted[0, 28, 28] = A
    dice = measures.oracle(predicted, truth, A, 0, 2, 2)
    assert dice["convex hull"] == dice["as predicted"] == [(200 / 201, 1)]
    assert measures.oracle(predicted, truth, A, 0, 3, 2)["convex hull"][0] == (200 / 201, 1)


LABELS = {"background": 0, "wall": 1, "cavity": 2, "ignore": 3}


def write(array, path, spacing=(2.0, 2.0, 8.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[: array.ndim])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def truth_of(number):
    """A cavity of 4 x 8 voxels in a wall; the second patient's is larger."""
    truth = np.zeros((3, 20, 20), np.uint8)
    truth[:, 4:16, 4:16] = 1
    truth[:, 8 - number : 12, 6:14] = 2
    return truth


@pytest.fixture
def task(tmp_path):
    """Two patients, one case each; the predicted cavity ends a row too early at its start."""
    raw = tmp_path / "Dataset001_Toy"
    content = {"labels": LABELS, "channel_names": {"0": "MR"}, "file_ending": ".nii.gz"}
    raw.mkdir()
    (raw / "dataset.json").write_text(json.dumps({**content, "numTraining": 2}))
    for number in (0, 1):
        truth, name = truth_of(number), f"p{number}_a.nii.gz"
        strokes = np.full(truth.shape, 3, np.uint8)
        strokes[:, 10, 8:12], strokes[:, 14, 8:12], strokes[:, 18, 8:12] = 2, 1, 0
        predicted = truth.copy()
        predicted[:, 8 - number, 6:14] = 1
        image = np.choose(truth, (0, 50, 100)).astype(np.int16)
        image[:, 8 - number, 6:10] = 50  # half of what is missed looks like wall
        write(truth, raw / "labelsTr_dense" / name)
        write(strokes, raw / "labelsTr" / name)
        write(image, raw / "imagesTr" / name.replace(".nii", "_0000.nii"))
        write(predicted, tmp_path / "short" / name)
        write(truth, tmp_path / "right" / name)
    return raw


@pytest.fixture
def band(measures):
    import band

    return band.main


def test_band_of_two_models(task, band, tmp_path, capsys):
    out, models = tmp_path / "band.json", [str(tmp_path / name) for name in ("short", "right")]
    words = [*models, "--dataset", str(task), "--out", str(out), "--patient-regex", r"p\d"]
    band([*words, "-np", "1"])
    run, *lines = json.loads(out.read_text())
    assert run["cases"] == ["p0_a", "p1_a"] and run["settings"]["patients"] == 2
    short, right = (line for line in lines if "counts" in line)
    # 24 of 96 and 24 of 120 voxels of the cavity
    assert short["confusion_percent"][2] == [0, pytest.approx(100 * 48 / 216, abs=1e-4), 77.7778]
    assert short["volume_error_percent"][2] == pytest.approx(-(25 + 20) / 2)
    assert right["confusion_percent"] == [[100, 0, 0], [0, 100, 0], [0, 0, 100]]
    found = {
        (line["model"], line["what"], line["unit"], line["dimension"]): line
        for line in lines
        if line.get("topic") in ("cavity as wall", "cavity corrected")
    }
    missed = found["short", "of true cavity", "%", None]
    assert missed["value"] == pytest.approx(22.2222, abs=1e-3)
    assert missed["mean_of_cases"] == 22.5 and missed["by_case"] == [25, 20]
    assert missed["ci95"] == [20, 25]  # of two patients
    assert found["short", "alike to wall, of these", "%", None]["value"] == 50
    assert found["short", "alike to wall, of strokes of cavity", "%", None]["value"] == 0
    assert found["right", "alike to wall, of these", "%", None]["value"] is None
    for dimension in (2, 3):
        # 8 of 24 and of 26 faces are a voxel off, those at the sides near the missing row less
        offset = found["short", "outline", "voxels", dimension]
        assert -0.6 < offset["value"] < -1 / 3
        assert found["short", "outline", "mm", dimension]["value"] == pytest.approx(
            2 * offset["value"], abs=1e-3
        )
        assert found["right", "outline", "voxels", dimension]["value"] == 0
        assert found["right", "border with an outline", "%", dimension]["value"] == 100
        assert found["right", "as predicted: Dice mean", "", dimension]["value"] == 1
    printed = capsys.readouterr().out
    assert "short - right" in printed and "cavity as wall" in printed
    assert "wall as" not in printed  # never confused, and so no pair
    with pytest.raises(SystemExit, match="exists"):
        band(words)


def test_pairs_by_option(task, band, tmp_path, capsys):
    words = [str(tmp_path / "short"), "--dataset", str(task), "-np", "1", "--dimensions", "2"]
    band([*words, "--pair", "background", "wall"])
    printed = capsys.readouterr().out
    assert "background as wall" in printed and "cavity as wall" not in printed
    with pytest.raises(SystemExit, match="--pair lung: there are background, wall, cavity"):
        band([*words, "--pair", "lung", "wall"])


def test_band_of_pictures(band, tmp_path, capsys):
    raw = tmp_path / "Dataset002_Pictures"
    raw.mkdir()
    content = {"labels": {"background": 0, "cell": 1}, "file_ending": ".png"}
    (raw / "dataset.json").write_text(json.dumps(content))
    truth = np.zeros((20, 20), np.uint8)
    truth[5:15, 5:15] = 1
    predicted = truth.copy()
    predicted[5] = 0
    write(truth, raw / "labelsTr_dense" / "x.png")
    write(truth * 200, raw / "imagesTr" / "x_0000.png")
    write(predicted, tmp_path / "model" / "x.png")
    band([str(tmp_path / "model"), "--dataset", str(raw)])
    printed = capsys.readouterr().out
    assert "of true cell, %  " in printed and "10.0 [-, -]" in printed  # one case has no interval
    assert "2D" in printed and "3D" not in printed and "third" not in printed
    assert "strokes" not in printed


def test_all_problems_of_the_files_at_once(task, band, tmp_path):
    words = [str(tmp_path / "short"), str(tmp_path / "right"), "--dataset", str(task), "-np", "1"]
    (tmp_path / "right" / "p0_a.nii.gz").unlink()
    (task / "imagesTr" / "p1_a_0000.nii.gz").unlink()
    with pytest.raises(SystemExit) as error:
        band(words)
    assert "2 files are missing" in str(error.value)
    assert "p0_a.nii.gz" in str(error.value) and "p1_a_0000.nii.gz" in str(error.value)
    write(truth_of(0), tmp_path / "right" / "p0_a.nii.gz", (1.0, 2.0, 8.0))
    write(truth_of(1)[:2], task / "imagesTr" / "p1_a_0000.nii.gz")
    with pytest.raises(SystemExit) as error:
        band(words)
    assert "spacing" in str(error.value) and "size" in str(error.value)
