"""Pictures show the surroundings of what is labelled."""

import numpy as np

from scribble_tools.draw.contact_sheet import Panel, contact_sheet
from scribble_tools.draw.surroundings import outside_in_words, surroundings

SHAPE, IGNORE = (2, 100, 80), 3
SPACING = (1.0, 2.0)  # rows, columns


def panels(organ=True):
    strokes, predicted = np.full(SHAPE, IGNORE), np.zeros(SHAPE, int)
    strokes[1, 95, 5:75] = 0  # background, far away
    if organ:
        strokes[0, 40:44, 30:34] = 1
    predicted[0, 38:46, 28:36] = predicted[0, 0:4, 0:4] = 1
    return [Panel("scribble", strokes, IGNORE, strokes=True), Panel("prediction", predicted)]


def test_organs_strokes_decide_and_islands_do_not():
    rows, columns = surroundings(panels(), SPACING)
    assert rows.start < 38 and 46 <= rows.stop < 70 and columns.start < 28 and columns.stop < 50
    # about square in mm, and the stroke in its middle
    sides = (rows.stop - rows.start) * SPACING[0], (columns.stop - columns.start) * SPACING[1]
    assert abs(sides[0] - sides[1]) <= 2
    assert abs((rows.start + rows.stop) / 2 - 42) <= 1
    assert "20.0 % of prediction lies outside" in outside_in_words(panels(), (rows, columns))


def test_a_reference_counts_like_strokes():
    reference = np.zeros(SHAPE, int)
    reference[1, 70:80, 50:60] = 2
    rows, columns = surroundings([*panels(), Panel("reference", reference)], SPACING)
    assert rows.start < 40 and rows.stop > 80 and columns.start < 30 and columns.stop > 60


def test_without_organs_the_rest_decides_and_without_anything_nothing():
    strokes, prediction = panels(organ=False)
    found = surroundings([strokes, prediction], SPACING)
    assert found is None or found[0].stop >= 95
    alone = np.where(np.indices(SHAPE)[1] > 10, prediction.labels, 0)
    assert surroundings([Panel("prediction", alone)], SPACING)[0].stop < 70
    assert surroundings([Panel("prediction", np.zeros(SHAPE, int))], SPACING) is None


def test_a_crop_that_keeps_nearly_all_is_none():
    everywhere = np.zeros(SHAPE, int)
    everywhere[:, 2:-2, 2:-2] = 1
    assert surroundings([Panel("reference", everywhere)], SPACING) is None


def test_a_window_at_the_edge_stays_inside():
    strokes = np.full(SHAPE, IGNORE)
    strokes[0, 0:3, 77:80] = 1
    rows, columns = surroundings([Panel("scribble", strokes, IGNORE, True)], SPACING)
    assert rows.start == 0 and columns.stop == 80 and rows.stop > 3


def test_a_sheet_fills_the_width_that_is_asked_for():
    image = np.random.default_rng(0).random(SHAPE)
    for number in (1, 3):
        maps = [panels()[1]] * number
        figure = contact_sheet(image, maps, SPACING, [0], sheet_inches=9)
        assert 8 < figure.get_size_inches()[0] <= 9.1
    narrow = contact_sheet(image[:, :, :20], [], SPACING, [0], sheet_inches=9)
    assert narrow.get_size_inches()[0] < 4, "panels do not grow without end"
