"""Confusion of classes: closed forms, a naive count, empty cases, overlapping regions."""

import csv
import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.image import imread

from scribble_tools.cli import main
from scribble_tools.dataset.label_set import LabelSet, parse_label_set
from scribble_tools.evaluate.command import CONFUSION_PICTURE
from scribble_tools.evaluate.confusion import (
    compare_confusion,
    confusion_matrix,
    confusion_of_case,
    count_confusion,
    part_map,
    parts_of,
    percent_of_true,
    summarise_confusion,
)
from scribble_tools.evaluate.confusion_picture import (
    BETTER,
    MOST_PARTS,
    WORSE,
    confusion_figure,
)
from scribble_tools.evaluate.confusion_report import confused, format_confusion

TWO = LabelSet({"wall": (1,), "cavity": (2,)}, ignore=9)
NESTED = LabelSet({"tumour": (1, 2, 3), "core": (2, 3), "active": (3,)})


def test_counts_are_those_of_a_naive_loop():
    draw = np.random.default_rng(0)
    prediction, reference = draw.integers(0, 4, (2, 5, 6, 7))
    reference[draw.random(reference.shape) < 0.2] = 9
    expected = np.zeros((3, 3), int)
    for p, r in zip(prediction.ravel().tolist(), reference.ravel().tolist(), strict=True):
        if r != 9:  # 3 is no class: background on both sides
            expected[r % 3, p % 3] += 1
    counts = confusion_of_case(prediction, reference, TWO)
    np.testing.assert_array_equal(counts, expected)
    assert counts.sum() == (reference != 9).sum()


def test_per_cent_of_the_true_class():
    counts = np.array([[8, 2, 0], [0, 0, 0], [1, 3, 4]])
    percent = percent_of_true(counts)
    np.testing.assert_allclose(percent[[0, 2]], [[80, 20, 0], [12.5, 37.5, 50]])
    assert np.isnan(percent[1]).all()  # no reference has the class


def test_disjoint_classes_are_their_own_parts():
    assert parts_of(TWO) == {"background": (0,), "wall": (1,), "cavity": (2,)}
    several = LabelSet({"heart": (1, 2), "lung": (4,)})
    assert parts_of(several) == {"background": (0,), "heart": (1, 2), "lung": (4,)}
    assert parts_of(LabelSet({"background": (3,)})) == {
        "other background": (0,),
        "background": (3,),
    }


def test_regions_are_taken_apart():
    parts = parts_of(NESTED)
    assert parts == {
        "background": (0,),
        "tumour": (1,),
        "tumour + core": (2,),
        "tumour + core + active": (3,),
    }
    array = np.array([0, 1, 2, 3, 7])
    assert part_map(array, parts).tolist() == [0, 1, 2, 3, 0]
    counts = count_confusion(part_map(np.array([1, 1, 3, 3]), parts), np.array([1, 2, 2, 3]), 4)
    assert counts.sum() == 4 and counts[2].tolist() == [0, 1, 0, 1]


def test_values_far_apart_and_an_ignored_value_of_a_class():
    labels = LabelSet({"a": (2**30,), "b": (5,)}, ignore=5)
    array = np.array([0, 5, 6, 2**30, -3])
    parts = parts_of(labels)
    assert part_map(array, parts, labels.ignore).tolist() == [0, -1, 0, 1, 0]
    assert part_map(array, parts).tolist() == [0, 2, 0, 1, 0]


def test_what_keep_largest_takes_away_is_background():
    reference = np.ones((1, 10), int)
    prediction = np.array([[1, 1, 1, 0, 1, 0, 2, 0, 2, 2]])
    plain = confusion_of_case(prediction, reference, TWO)
    assert plain[1].tolist() == [3, 4, 3]
    kept = confusion_of_case(prediction, reference, TWO, keep_largest=True)
    assert kept[1].tolist() == [5, 3, 2]


def test_keep_largest_of_nested_regions():
    # the island of the core stays tumour, the island of the tumour becomes background
    prediction = np.array([[2, 2, 2, 1, 2, 0, 1, 0, 3]])
    counts = confusion_of_case(prediction, np.ones((1, 9), int), NESTED, keep_largest=True)
    # tumour: 5 voxels are one component, of which the core's second component is the last one
    assert counts[1].tolist() == [4, 2, 3, 0]


def two_cases():
    """LV 10 of 40 and 5 of 10 voxels wrong: together 30 %, on average 37.5 %."""
    return {
        "p1_a": np.array([[100, 0], [10, 30]]),
        "p2_a": np.array([[50, 50], [5, 5]]),
        "p3_a": np.array([[100, 0], [0, 0]]),
    }


def test_over_all_voxels_and_over_cases(two_are_enough):
    rows = summarise_confusion(two_cases(), ["background", "LV"])
    found = {(row["true"], row["predicted"]): row for row in rows}
    wrong = found["LV", "background"]
    assert wrong["percent"] == 30 and wrong["mean_of_cases"] == 37.5
    assert wrong["voxels"] == 15 and wrong["cases"] == 2
    # resamples of the three cases hold only the first, only the second, both, or no LV at all
    assert (wrong["ci_low"], wrong["ci_high"]) == (25, 50)
    assert found["background", "LV"]["percent"] == pytest.approx(100 / 6)
    matrix = confusion_matrix(rows, ["background", "LV"])
    np.testing.assert_allclose(matrix.sum(axis=1), 100)


def test_patients_are_resampled_together(two_are_enough):
    counts = two_cases()
    patients = {"p1_a": "x", "p2_a": "x", "p3_a": "y"}
    row = summarise_confusion(counts, ["background", "LV"], patients)[-1]
    # only patient x has LV: nothing is known of others
    assert math.isnan(row["ci_low"]) and math.isnan(row["ci_high"])


def test_a_part_that_no_reference_has():
    counts = {"a": np.array([[5, 0, 2], [0, 0, 0], [0, 0, 3]])}
    parts = ["background", "wall", "cavity"]
    rows = summarise_confusion(counts, parts)
    assert {row["true"] for row in rows} == {"background", "cavity"}
    matrix = confusion_matrix(rows, parts)
    assert np.isnan(matrix[1]).all() and matrix[2].tolist() == [0, 0, 100]
    assert "wall" in format_confusion(rows, parts)  # as a row of dashes


def test_paired_differences(two_are_enough):
    counts = two_cases()
    other = {case: table.copy() for case, table in counts.items()}
    other["p1_a"][1] = (20, 20)
    other = dict(reversed(other.items()))  # the order does not matter
    rows = compare_confusion(counts, other, ["background", "LV"])
    found = {(row["true"], row["predicted"]): row for row in rows}
    wrong = found["LV", "background"]
    assert (wrong["prediction"], wrong["other"], wrong["difference"]) == (30, 50, -20)
    assert (wrong["better"], wrong["worse"], wrong["equal"]) == (1, 0, 1)
    assert (wrong["ci_low"], wrong["ci_high"]) == (-25, 0)
    right = found["LV", "LV"]
    assert right["difference"] == 20 and (right["better"], right["worse"]) == (1, 0)
    same = compare_confusion(counts, counts, ["background", "LV"])
    assert all(row["difference"] == 0 and row["wilcoxon_p"] == 1 for row in same)


def test_the_list_is_sorted_and_leaves_out_what_rounds_to_nothing():
    counts = {"a": np.array([[99999, 1, 0], [3, 90, 7], [0, 20, 80]])}
    rows = summarise_confusion(counts, ["background", "wall", "cavity"])
    named = [(row["true"], row["predicted"]) for row in confused(rows, "percent")]
    assert named == [("cavity", "wall"), ("wall", "cavity"), ("wall", "background")]
    text = format_confusion(rows, ["background", "wall", "cavity"])
    assert "cavity as wall" in text and "None is confused" not in text
    perfect = summarise_confusion({"a": np.diag((5, 5, 5))}, ["background", "wall", "cavity"])
    assert "None is confused." in format_confusion(perfect, ["background", "wall", "cavity"])


def test_many_classes_are_listed_and_not_printed_as_a_matrix():
    parts = ["background", *(f"class number {k}" for k in range(20))]
    counts = np.diag(np.full(21, 90)) + np.roll(np.diag(np.full(21, 10)), 1, axis=1)
    text = format_confusion(summarise_confusion({"a": counts}, parts), parts)
    assert max(map(len, text.splitlines())) <= 100
    assert "and 11 smaller ones" in text


def test_the_picture(tmp_path):
    parts = ["background", "wall", "cavity"]
    matrix = np.array([[100, 0, 0], [np.nan] * 3, [0, 40.0, 60]])
    difference = np.array([[0, 0, 0], [np.nan] * 3, [-3, 8, -5]])
    figure = confusion_figure({"a": matrix, "b": matrix}, parts, difference)
    texts = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert texts[0] == ["100.0", "0", "0", "-", "-", "-", "0", "40.0", "60.0"]
    assert texts[2][6:] == ["-3.0", "+8.0", "-5.0"]
    colours = figure.axes[2].images[0].get_array()
    # right is grey and has no colour; less confused is blue, more is orange
    assert colours[2, 2, 0] == colours[2, 2, 2]
    assert colours[2, 0, 2] > colours[2, 0, 0] and colours[2, 1, 0] > colours[2, 1, 2]
    assert figure.axes[0].get_ylabel() == "true"
    figure.savefig(tmp_path / "picture.png")
    assert imread(tmp_path / "picture.png").shape[2] == 4
    assert BETTER != WORSE


def test_a_picture_of_many_classes_shows_the_most_confused():
    parts = [f"class {k}" for k in range(40)]
    matrix = np.eye(40) * 100
    matrix[30, 35], matrix[30, 30] = 20, 80
    figure = confusion_figure({"a": matrix}, parts)
    (axis,) = figure.axes
    names = [tick.get_text() for tick in axis.get_yticklabels()]
    assert len(names) == MOST_PARTS and {"class 0", "class 30", "class 35"} <= set(names)
    assert "20.0" in [text.get_text() for text in axis.texts]
    assert f"the {MOST_PARTS} most confused of 40 classes" in figure.get_supxlabel().replace(
        "\n", " "
    )


@pytest.fixture
def folders(tmp_path):
    """A cavity of 16 voxels of which the prediction calls 4 wall; a second case without it."""
    reference = np.zeros((8, 8), np.uint8)
    reference[1:7, 1:7] = 1
    reference[2:6, 2:6] = 2
    predicted = reference.copy()
    predicted[2, 2:6] = 1
    without = np.where(reference == 2, 1, reference).astype(np.uint8)
    for folder, arrays in (
        ("pred", (predicted, without)),
        ("other", (reference, without)),
        ("ref", (reference, without)),
    ):
        (tmp_path / folder).mkdir()
        for number, array in enumerate(arrays):
            path = tmp_path / folder / f"c{number}.nii.gz"
            sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return tmp_path


def test_on_the_command_line(folders, capsys):
    out, words = folders / "out", ["evaluate", str(folders / "pred"), str(folders / "ref")]
    words += ["--labels", "wall=1", "cavity=2", "-np", "1", "--out", str(out)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "cavity as wall     25.0" in printed
    assert max(map(len, printed.split("wrote")[0].splitlines()[1:])) <= 100
    with (out / "confusion.csv").open() as file:
        rows = list(csv.DictReader(file))
    first = [row for row in rows if row["case"] == "c0" and row["true"] == "cavity"]
    assert [(row["predicted"], row["voxels"], row["percent"]) for row in first] == [
        ("wall", "4", "25.0"),
        ("cavity", "12", "75.0"),
    ]
    assert not [row for row in rows if row["case"] == "c1" and row["true"] == "cavity"]
    content = json.loads((out / "evaluation.json").read_text())["summary"]["confusion"]
    row = next(r for r in content if (r["true"], r["predicted"]) == ("cavity", "wall"))
    assert row["percent"] == 25 and row["cases"] == 1 and row["ci_low"] is None
    assert "| cavity as wall | 25.0 |" in (out / "evaluation.md").read_text()
    assert imread(out / CONFUSION_PICTURE).ndim == 3


def test_two_predictions_on_the_command_line(folders, capsys):
    out, words = folders / "out", ["evaluate", str(folders / "pred"), str(folders / "ref")]
    words += ["--labels", "wall=1", "cavity=2", "-np", "1", "--out", str(out)]
    assert main(words) == 0
    one = imread(out / CONFUSION_PICTURE)
    assert main([*words, "--compare", str(folders / "other"), "--overwrite"]) == 0
    assert "cavity as wall       25.0      0.0       +25.0" in capsys.readouterr().out
    content = json.loads((out / "comparison.json").read_text())["comparison"]["confusion"]
    row = next(r for r in content if (r["true"], r["predicted"]) == ("cavity", "wall"))
    assert row["difference"] == 25 and (row["better"], row["worse"], row["equal"]) == (0, 1, 0)
    with (out / "comparison.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["metric"] == "percent predicted as wall"]
    paired = {(r["case"], r["label"]): (r["prediction"], r["other"]) for r in rows}
    assert paired["c0", "cavity"] == ("25.0", "0.0")
    assert "cavity as wall" in (out / "comparison.md").read_text()
    assert imread(out / CONFUSION_PICTURE).shape[1] > 2 * one.shape[1]


def test_nothing_annotated_at_all(folders, capsys):
    empty = np.full((8, 8), 9, np.uint8)
    for number in (0, 1):
        path = folders / "ref" / f"c{number}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(empty), str(path))
    words = ["evaluate", str(folders / "pred"), str(folders / "ref"), "--labels", "1"]
    words += ["--ignore-label", "9", "-np", "1", "--out", str(folders / "out")]
    assert main(words) == 0
    header = (folders / "out" / "confusion.csv").read_text().strip()
    assert header == "case,true,predicted,voxels,percent"


def test_classes_by_option_leave_the_rest_to_the_background():
    labels = parse_label_set(["cavity=2"])
    counts = confusion_of_case(np.array([1, 2, 2, 0]), np.array([1, 1, 2, 2]), labels)
    assert counts.tolist() == [[1, 1], [1, 1]]
