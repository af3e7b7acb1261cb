"""Label maps drawn in the test: strokes, compact organs, a ring, annotated slices."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from scribble_tools.images.label_appearance import (
    DENSE,
    EMPTY,
    SCRIBBLES,
    SLICES,
    is_label_map,
    look_at_labels,
)

SHAPE = (3, 64, 64)


def dense_heart():
    """A filled disc (3) in a ring (2) beside another disc (1), as ventricles and myocardium."""
    y, x = np.mgrid[:64, :64]
    radius = np.hypot(y - 30, x - 40)
    plane = np.where(radius < 9, 3, np.where(radius < 14, 2, 0))
    plane[np.hypot(y - 30, x - 15) < 9] = 1
    return np.broadcast_to(plane, SHAPE).astype(np.uint8)


def strokes(unlabelled, background, thickness=1):
    """Lines in two organs, and a wide frame around them when there is a background value."""
    array = np.full(SHAPE, unlabelled, np.uint8)
    array[:, 20:40, 14 : 14 + thickness] = 1
    array[:, 20:40, 40 : 40 + thickness] = 2
    if background is not None:
        array[:, 5 : 5 + thickness, 5:60] = background
        array[:, 5:60, 5 : 5 + thickness] = background
    return array


def test_dense_labels():
    seen = look_at_labels(dense_heart())
    assert (seen.looks_like, seen.unlabelled, seen.background) == (DENSE, None, 0)
    assert sum(seen.counts.values()) == np.prod(SHAPE)


@pytest.mark.parametrize("thickness", [1, 2, 3])
@pytest.mark.parametrize(("unlabelled", "background"), [(4, 0), (255, 0), (0, 5), (0, 3)])
def test_scribbles_in_every_convention(unlabelled, background, thickness):
    seen = look_at_labels(strokes(unlabelled, background, thickness))
    assert seen.looks_like == SCRIBBLES
    assert (seen.unlabelled, seen.background) == (unlabelled, background)


def test_thick_strokes_are_strokes_by_their_length():
    array = np.full((2, 400, 400), 4, np.uint8)
    for k, value in enumerate((0, 1, 2)):
        array[:, 50 + 100 * k : 58 + 100 * k, 20 : 390 - 60 * k] = value
    assert look_at_labels(array).looks_like == SCRIBBLES


def test_no_background_scribble_is_guessed_where_none_reaches_farther():
    seen = look_at_labels(strokes(0, None))
    assert (seen.looks_like, seen.unlabelled, seen.background) == (SCRIBBLES, 0, None)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_some_slices_annotated(axis):
    array = np.moveaxis(dense_heart().copy(), 0, axis)
    np.moveaxis(array, axis, 0)[1] = 4
    seen = look_at_labels(array, axis)
    assert (seen.looks_like, seen.unlabelled, seen.background) == (SLICES, 4, 0)
    assert "2 of 3 slices" in seen.reason


def test_a_single_slice_and_a_single_value():
    assert look_at_labels(strokes(4, 0)[0]).looks_like == SCRIBBLES
    assert look_at_labels(dense_heart()[0]).looks_like == DENSE
    assert look_at_labels(np.zeros(SHAPE, np.uint8)).looks_like == EMPTY


def test_half_of_an_image_is_dense():
    half = np.zeros(SHAPE, np.uint8)
    half[:, :32] = 1
    half[:, :, 40:] = 2
    assert look_at_labels(half).looks_like == DENSE


def test_images_are_no_label_maps():
    generator = np.random.default_rng(0)
    assert not is_label_map(generator.normal(size=SHAPE))
    assert not is_label_map(generator.integers(0, 255, SHAPE))
    assert not is_label_map(np.full(SHAPE, np.nan))
    assert is_label_map(dense_heart().astype(np.float32))
    many = np.repeat(np.repeat(np.arange(64).reshape(1, 8, 8), 60, 1), 60, 2)
    assert is_label_map(many)


@pytest.mark.parametrize("width", [3, 4, 5])
def test_short_strokes_aslant_are_strokes(width):
    picture = Image.new("L", (200, 160))
    draw = ImageDraw.Draw(picture)
    draw.line((40, 40, 54, 49), fill=1, width=width)
    draw.line((100, 60, 108, 74), fill=2, width=width)
    draw.line((8, 8, 190, 20, 180, 150, 15, 140), fill=3, width=width)
    seen = look_at_labels(np.asarray(picture))
    assert (seen.looks_like, seen.unlabelled, seen.background) == (SCRIBBLES, 0, 3)


def test_small_compact_objects_are_dense():
    y, x = np.mgrid[:120, :160]
    array = np.zeros(y.shape, np.uint8)
    for k, (row, column) in enumerate(((30, 40), (60, 100), (90, 50))):
        array[np.hypot(y - row, x - column) < 3.5] = 1 + k % 2
    assert look_at_labels(array).looks_like == DENSE
