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
