"""Exchanged classes are told from bad predictions, and asked about."""

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.cli import main
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.evaluate.exchanged import exchanged_in_words, exchanged_parts

TWO = LabelSet({"wall": (1,), "cavity": (2,)})
RIGHT = np.array([[90, 1, 0], [1, 28, 1], [0, 1, 28]])
EXCHANGED = RIGHT[:, [0, 2, 1]]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([[9, 0, 1], [1, 0, 9], [0, 8, 2]], {1: 2, 2: 1}),
        ([[2, 8, 0], [9, 1, 0], [0, 0, 9]], {0: 1, 1: 0}),  # with the background
        ([[0, 9, 0], [0, 0, 9], [9, 0, 0]], {0: 1, 1: 2, 2: 0}),
        ([[9, 0, 0], [0, 2, 8], [0, 0, 9]], {}),  # b is missed
        ([[9, 0, 0], [0, 5, 5], [0, 5, 5]], {}),
        ([[0, 0, 9], [0, 1, 8], [1, 8, 0]], {1: 2, 2: 1}),  # and 0 is called 2, too
        ([[9, 0, 0], [9, 0, 0], [0, 9, 0]], {}),  # 2 is called 1, 1 is missed
        ([[0, 0, 0], [0, 0, 9], [0, 9, 0]], {1: 2, 2: 1}),
    ],
)
def test_exchanged_classes_are_told_from_bad_ones(counts, expected):
    assert exchanged_parts(np.array(counts)) == expected


def test_of_all_cases_the_option_is_said():
    assert exchanged_in_words({"a": RIGHT, "b": RIGHT}, TWO, "PRED") == ""
    assert exchanged_in_words({}, TWO, "PRED") == ""
    asked = exchanged_in_words({"a": EXCHANGED, "b": EXCHANGED}, TWO, "PRED")
    assert asked == (
        "wall is predicted as cavity, cavity is predicted as wall. Do PRED and REF number their "
        "classes differently? If it is REF whose values mean something else, say --ref-labels "
        "cavity=1 wall=2"
    )
    background = exchanged_in_words({"a": RIGHT[[1, 0, 2]]}, TWO, "PRED")
    assert background.endswith("--ref-labels wall=0 background=1 cavity=2")
    spaced = LabelSet({"left atrium": (1,), "cavity": (2,)})
    assert exchanged_in_words({"a": EXCHANGED}, spaced, "PRED").endswith("cavity=1 'left atrium=2'")
    assert exchanged_in_words({"a": EXCHANGED}, TWO, "PRED", False).endswith("differently?")
    same = LabelSet({"a": (1,), "b": (1,), "c": (2,)})
    assert exchanged_in_words({"a": EXCHANGED}, same, "PRED").endswith("differently?")
    nested = LabelSet({"tumour": (1, 2), "core": (2,)})
    assert exchanged_in_words({"a": EXCHANGED}, nested, "PRED").endswith("differently?")


def test_of_some_cases_they_are_named():
    tables = {name: EXCHANGED if name in "abcd" else RIGHT for name in "abcdefghij"}
    assert exchanged_in_words(tables, TWO, "OTHER") == (
        "in 4 of 10 cases (a, b, c and 1 more) wall is predicted as cavity, cavity is predicted as "
        "wall. Do OTHER and REF number their classes differently there?"
    )


def test_of_most_cases_they_are_named_though_all_together_look_so():
    tables = {name: EXCHANGED if name in "abcdef" else RIGHT for name in "abcdefghij"}
    asked = exchanged_in_words(tables, TWO, "PRED")
    assert asked.startswith("in 6 of 10 cases (a, b, c and 3 more) wall is")
    tables = {"a": 50 * EXCHANGED, **dict.fromkeys("bcdefghij", RIGHT)}
    assert exchanged_in_words(tables, TWO, "PRED").startswith("in 1 of 10 cases (a) wall is")


def test_a_few_voxels_of_a_case_tell_nothing():
    few = np.array([[90, 0, 0], [0, 1, 3], [0, 2, 1]])
    assert exchanged_in_words({"a": RIGHT, "b": few}, TWO, "PRED") == ""


def test_cases_of_one_class_each_tell_together():
    one, other = (EXCHANGED * rows for rows in ([[1], [1], [0]], [[1], [0], [1]]))
    assert exchanged_in_words({"a": one, "b": other}, TWO, "PRED").startswith("wall is predicted")


def test_on_the_command_line(tmp_path, capsys):
    labels = np.zeros((8, 8), np.uint8)
    labels[1:7, 1:7], labels[2:6, 2:6] = 1, 2
    for folder, values in (("ref", (0, 1, 2)), ("pred", (0, 1, 2)), ("other", (0, 2, 1))):
        (tmp_path / folder).mkdir()
        image = sitk.GetImageFromArray(np.array(values, np.uint8)[labels])
        sitk.WriteImage(image, str(tmp_path / folder / "a.nii.gz"))
    ref, pred, other = (str(tmp_path / name) for name in ("ref", "pred", "other"))
    words = ["--labels", "wall=1", "cavity=2", "-np", "1"]
    assert main(["evaluate", pred, ref, *words]) == 0
    assert "WARNING" not in capsys.readouterr().err
    assert main(["evaluate", pred, ref, *words, "--compare", other]) == 0
    assert "WARNING: wall is predicted as cavity" in (said := capsys.readouterr().err)
    assert "Do OTHER and REF number" in said
    assert main(["evaluate", other, ref, *words]) == 0
    said = capsys.readouterr().err
    assert "Do PRED and REF number" in said
    option = said.partition(" say ")[2].split()
    assert main(["evaluate", other, ref, *words, *option]) == 0
    printed = capsys.readouterr()
    assert "WARNING" not in printed.err and "1.000" in printed.out
