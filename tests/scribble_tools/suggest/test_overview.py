"""The picture of the first places."""

import numpy as np
import pytest

from scribble_tools.suggest.overview import ShownPlace, overview_figure
from scribble_tools.suggest.places import Place


def test_colour_pictures_are_shown_in_colour_and_grey_under_labels():
    image = np.zeros((40, 60, 3), np.float32)
    image[:, :30, 0] = image[:, 30:, 1] = 0.6
    place = Place("a", 0, (0, 20, 30), "far", {}, "organ", "background", 0.6, 0.3, 30, 30, 1)
    labels = np.zeros((40, 60), int)
    shown = ShownPlace(1, place, image, None, None, labels, (20, 30), (1.0, 1.0))
    figure = overview_figure([shown], {1: "organ"}, ["1"], "head")
    above, below = (axis.images[0].get_array() for axis in figure.axes)
    assert above.shape == (*below.shape, 3)  # cropped to the surroundings
    assert [*map(float, above[0, 0])] == pytest.approx([0.6, 0, 0])
    assert float(below[0, 0]) == pytest.approx(0.2)


@pytest.mark.parametrize("places", [1, 4])
def test_the_legend_lies_within_the_picture_below_all_places(places):
    place = Place("a", 0, (0, 20, 30), "far", {}, "organ", "background", 0.6, 0.3, 30, 30, 1)
    labels = np.arange(40 * 60).reshape(40, 60) % 9
    shown = ShownPlace(1, place, np.zeros((40, 60)), None, None, labels, (20, 30), (1.0, 1.0))
    names = {value: f"a rather long name = #0000f{value}" for value in range(9)}
    figure = overview_figure([shown] * places, names, ["1"] * places, "head")
    figure.canvas.draw()
    box, whole = figure.legends[0].get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0
    assert box.y1 <= min(axis.get_window_extent().y0 for axis in figure.axes)
