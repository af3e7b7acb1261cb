"""The greys of pictures show organs, whatever air and bone there is around the body."""

import numpy as np

from scribble_tools.draw.contact_sheet import Panel, contact_sheet, organs_of
from scribble_tools.draw.greys import largest_pieces, scaled

LIVER, SPLEEN, AIR, BONE = 110.0, 140.0, -1000.0, 900.0
IGNORE = 3


def body():
    """A CT: air, bone far from the organs, and two organs of nearly the same grey with strokes."""
    image = np.full((2, 60, 60), AIR)
    image[:, 5:55, 5:55] = 40.0
    image[:, 45:55, 20:40] = BONE
    image[:, 15:30, 10:30], image[:, 15:30, 30:50] = LIVER, SPLEEN
    strokes = np.full(image.shape, IGNORE)
    strokes[0, 20, 15:25], strokes[0, 20, 35:45] = 1, 2
    strokes[0, 1, 5:55] = 0  # in the air
    return image, Panel("scribble", strokes, IGNORE, strokes=True)


def test_greys_are_those_around_organs():
    image, strokes = body()
    whole, near = scaled(image), scaled(image, strokes.organs)
    assert abs(whole[0, 20, 20] - whole[0, 20, 40]) < 0.05
    assert abs(near[0, 20, 20] - near[0, 20, 40]) > 0.25
    assert near[0, 0, 0] == 0 and near[0, 50, 30] == 1, "what is beyond is black or white"


def test_air_close_to_an_outlined_organ_does_not_darken():
    image, strokes = body()
    rng = np.random.default_rng(0)
    image += rng.normal(0, 5, image.shape)
    outlined = np.zeros(image.shape, bool)
    outlined[:, 9:30, 10:50] = True  # air is within reach
    image[:, 9:15, 10:50] = LIVER + rng.normal(0, 5, (2, 6, 40))
    near = scaled(image, outlined)
    assert near[0, 15:30, 30:50].mean() - near[0, 15:30, 10:30].mean() > 0.15


def test_without_organs_or_with_one_grey_around_them_the_whole_image_counts():
    image, strokes = body()
    assert (scaled(image, np.zeros(image.shape, bool)) == scaled(image)).all()
    alone = np.zeros(image.shape, bool)
    alone[0, 50, 10] = True
    image[0, 40:, :20] = 40.0
    assert (scaled(image, alone) == scaled(image)).all()


def test_sheets_use_them_and_strokes_in_the_background_change_nothing():
    image, strokes = body()
    predicted = Panel("prediction", np.ones(image.shape, int))
    shown = {}
    for name, panels in {"drawn": [strokes, predicted], "predicted": [predicted]}.items():
        figure = contact_sheet(image, panels, (1, 1), [0])
        shown[name] = figure.axes[0].images[0].get_array()
    assert abs(shown["drawn"][20, 20] - shown["drawn"][20, 40]) > 0.25
    assert abs(shown["predicted"][20, 20] - shown["predicted"][20, 40]) < 0.05


def test_false_pieces_in_bright_fat_leave_a_prediction_as_bright_as_it_was():
    image, _ = body()
    image[:, 45:55, 20:40] = 4000.0
    labels = np.zeros(image.shape, int)
    labels[:, 15:30, 10:30], labels[:, 15:30, 30:50] = 1, 2
    right = rendered_image(image, labels)
    labels[:, 46:50, 22:26], labels[0, 46:50, 30:34] = 1, 2
    np.testing.assert_array_equal(rendered_image(image, labels), right)
    assert right[0, 20, 40] - right[0, 20, 20] > 0.25


def rendered_image(image, labels):
    prediction = Panel("prediction", labels)
    return scaled(image, organs_of([prediction], range(len(image))))


def test_the_largest_piece_of_each_class_is_found_across_slices():
    labels = np.zeros((2, 6, 6), int)
    labels[:, 0, 0:3], labels[0, 4, 0:4] = 1, 1  # six voxels in two slices, and four in one
    labels[0, 0, 5] = 2
    kept = largest_pieces(labels)
    assert kept[:, 0, 0:3].all() and kept[0, 0, 5] and kept.sum() == 7
    assert not largest_pieces(np.zeros((1, 2, 2), int)).any()
