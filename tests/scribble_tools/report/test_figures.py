"""The report's plots: what they show of unusual input, and that they show nothing of none."""

import math

import numpy as np
import pytest

from scribble_tools.report.figures import (
    distribution_figure,
    paired_figure,
    plot_style,
    training_figure,
)
from scribble_tools.report.pictures import svg_uri
from scribble_tools.report.tables import DISAGREEMENT, ISLANDS


def axis_called(figure, title):
    return next(axis for axis in figure.axes if axis.get_title().startswith(title))


def test_the_training_has_a_line_per_series_and_class():
    series = {
        "train_losses": [3.0, 2.0],
        "val_losses": [1.0, math.nan],
        "dice_per_class": [[0.1, 0.2], [0.3, 0.4]],
        "lrs": [0.01, 0.009],
    }
    figure = training_figure(series, ["a", "b"])
    assert [len(axis.lines) for axis in figure.axes] == [2, 2, 1]
    middle = axis_called(figure, "pseudo Dice")
    assert middle.lines[1].get_label() == "b" and [*middle.lines[1].get_ydata()] == [0.2, 0.4]
    assert [*middle.lines[1].get_xdata()] == [0, 1], "counted as nnU-Net does"


@pytest.mark.parametrize("series", [{}, {"lrs": [0.1]}, {"dice_per_class": [math.nan]}])
def test_without_losses_there_is_no_training_to_show(series):
    assert training_figure(series, []) is None


def test_a_training_that_just_began_is_visible():
    figure = training_figure({"train_losses": [1.0]}, [])
    assert figure.axes[0].lines[0].get_marker() == "o"


def test_many_classes_look_different():
    figure = training_figure({"dice_per_class": [[0.5] * 20] * 2}, [str(k) for k in range(20)])
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[1].lines}
    assert len(looks) == 20


def test_every_case_is_a_dot_and_classes_without_values_are_left_out():
    table = np.array([[1.0, math.nan, 3.0], [2.0, math.nan, math.nan]])
    figure = distribution_figure({ISLANDS: table, DISAGREEMENT: table * math.nan}, ["a", "b", "c"])
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "c"]
    assert [len(dots.get_offsets()) for dots in axis.collections] == [2, 1]
    assert sorted(axis.collections[0].get_offsets()[:, 0]) == [1, 2]


def test_without_values_there_is_no_distribution():
    assert distribution_figure({ISLANDS: np.full((2, 1), math.nan)}, ["a"]) is None


def test_nothing_but_zero_is_drawn_on_an_axis_of_whole_numbers():
    for highest, low in ((0.0, -0.05), (3.0, -1.0)):
        figure = distribution_figure({ISLANDS: np.array([[0.0], [highest]])}, ["a"])
        assert figure.axes[0].get_xlim()[0] >= low and figure.axes[0].get_xlim()[1] >= 1


def test_pairs_without_a_value_are_left_out():
    values, other = np.array([1.0, 2.0, math.nan]), np.array([2.0, 1.0, 5.0])
    figure = paired_figure(ISLANDS, values, other, ("ours", "theirs"))
    better, worse = figure.axes[0].collections
    assert better.get_offsets().tolist() == [[2.0, 1.0]], "fewer islands are better"
    assert worse.get_offsets().tolist() == [[1.0, 2.0]]
    assert paired_figure(ISLANDS, values * math.nan, other, ("a", "b")) is None


def test_names_are_no_formulas():
    with plot_style():
        figure = distribution_figure({ISLANDS: np.ones((2, 1))}, ["$\\frac{$"])
        assert svg_uri(figure).startswith("data:image/svg+xml")
