"""Strokes on shapes whose geometry is known: never wrong, never lost, where they should be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

from scribble_tools.generate.strokes import STYLES, StrokeSettings, draw_scribbles, extent_mm

UNLABELLED = 9
FEW = settings(max_examples=25, deadline=None, derandomize=True)


def disc(shape, centre, radius, spacing=(1, 1)):
    grid = np.indices(shape).astype(float)
    squares = [((g - c) * mm) ** 2 for g, c, mm in zip(grid, centre, spacing, strict=True)]
    return sum(squares) <= radius**2


def draw(dense, seed=0, spacing=None, **own):
    values = {int(v): StrokeSettings(**own) for v in np.unique(dense)}
    return draw_scribbles(dense, spacing or (1,) * dense.ndim, values, UNLABELLED, [seed])


@st.composite
def dense_labels(draw_from):
    """Random label maps: blobs, specks, absent classes, objects on the image's border."""
    ndim = draw_from(st.sampled_from((2, 3)))
    longest = 40 if ndim == 2 else 12
    shape = [draw_from(st.integers(1, longest)) for _ in range(ndim)]
    rng = np.random.default_rng(draw_from(st.integers(0, 2**20)))
    field = gaussian_filter(rng.normal(size=shape), draw_from(st.sampled_from((0, 1, 3))))
    spread = field.std() + 1e-9
    return np.digitize(field / spread, draw_from(st.sampled_from(((0.5, 1), (-3, 1.5), (2,)))))


stroke_settings = st.builds(
    StrokeSettings,
    styles=st.sampled_from((("interior",), ("border",), STYLES)),
    length=st.sampled_from(((0.1, 0.2), (0.5, 3.0))),
    strokes=st.integers(1, 3),
    thickness=st.integers(1, 4),
    every_component=st.booleans(),
)


@FEW
@given(dense_labels(), stroke_settings, st.integers(0, 99), st.sampled_from((1, 0.5, 6)))
def test_every_scribbled_voxel_is_right_and_every_class_is_scribbled(dense, own, seed, thick_mm):
    spacing = (thick_mm, *(1,) * (dense.ndim - 1))
    values = np.unique(dense).tolist()
    scribble = draw_scribbles(dense, spacing, dict.fromkeys(values, own), UNLABELLED, [seed])
    drawn = scribble != UNLABELLED
    assert (scribble[drawn] == dense[drawn]).all()
    assert set(np.unique(scribble[drawn]).tolist()) == set(values)


@FEW
@given(dense_labels(), st.integers(0, 99))
def test_every_component_gets_a_scribble(dense, seed):
    scribble = draw(dense, seed)
    for value in np.unique(dense)[1:]:  # the background is drawn round the objects
        components, count = label(dense == value, np.ones((3,) * dense.ndim))
        assert set(np.unique(components[scribble == value]).tolist()) == set(range(1, count + 1))


@pytest.mark.parametrize("styles", [("interior",), ("border",)])
@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_ring_keeps_its_scribble_however_thin(styles, width):
    outer, inner = disc((64, 64), (32, 31), 20), disc((64, 64), (32, 31), 20 - width)
    ring = (outer & ~inner).astype(int)
    for seed in range(5):
        scribble = draw(ring, seed, styles=styles, length=(1.0, 1.0))
        # a ring of extent 58 has room for a stroke of that length
        least = 0.25 * ring.sum() if width == 1 else 20
        assert np.count_nonzero(scribble == 1) >= 0.5 * min(least, 58)


def test_interior_strokes_lie_deeper_than_border_strokes():
    dense = disc((70, 70), (35, 35), 28).astype(int)
    depth = distance_transform_edt(dense)
    interior, border = (
        [depth[draw(dense, seed, styles=(style,)) == 1].mean() for seed in range(8)]
        for style in STYLES
    )
    assert min(interior) > max(border)
    assert max(border) < 0.5 * depth.max()  # an arc along the contour eroded by at most 35 %
    assert min(border) > 1


def test_background_goes_round_the_object_at_a_distance():
    dense = disc((100, 100), (48, 50), 18).astype(int)
    away = distance_transform_edt(dense == 0)
    for seed in range(5):
        own = {0: StrokeSettings(length=(2.5, 2.5), distance=(0.15, 0.15))}
        scribble = draw_scribbles(dense, (1, 1), own, UNLABELLED, [seed])
        distance = away[scribble == 0]
        # aimed at 0.15 of an extent of 37 * sqrt 2, within the band that strokes keep to
        assert 0.25 * 7.8 <= distance.min() and distance.max() <= 2.6 * 7.9 + 1
        y, x = np.nonzero(scribble == 0)
        sectors = np.floor(np.arctan2(y - 48, x - 50) / (np.pi / 4)).astype(int)
        assert len(set(sectors.tolist())) >= 6  # of eight: round the object, not beside it


def test_holes_of_the_background_are_scribbled_too():
    ring = (disc((60, 60), (30, 30), 20) & ~disc((60, 60), (30, 30), 10)).astype(int)
    inside = disc((60, 60), (30, 30), 10)
    scribble = draw(ring)
    assert (scribble[inside] == 0).any() and (scribble[~inside] == 0).any()


def test_a_slice_without_objects_is_scribbled_as_its_neighbour_would_be():
    empty, neighbour = np.zeros((80, 80), int), disc((80, 80), (40, 40), 15)
    own = {0: StrokeSettings(length=(2, 2))}
    scribble = draw_scribbles(empty, (1, 1), own, UNLABELLED, [0], neighbour, 42.0)
    assert (scribble == 0).sum() > 60 and not (scribble[neighbour] == 0).any()
    alone = draw_scribbles(empty, (1, 1), own, UNLABELLED, [0])
    assert (alone == 0).sum() > 60
    for shape in ((80, 80), (1, 1)):  # the neighbour fills the whole image
        full = np.ones(shape, bool)
        assert (draw_scribbles(empty[: shape[0], : shape[1]], (1, 1), own, 9, [0], full) == 0).any()


def test_length_grows_with_the_setting_and_thickness_widens():
    dense = disc((80, 80), (40, 40), 32).astype(int)

    def voxels(**own):
        return np.mean([np.count_nonzero(draw(dense, seed, **own) == 1) for seed in range(6)])

    short, long = voxels(length=(0.3, 0.3)), voxels(length=(1.5, 1.5))
    # a line passes through 1 to sqrt 2 voxels per voxel of its length; the extent is 65 * sqrt 2
    assert 0.9 * 0.3 * 92 <= short <= 1.5 * 0.3 * 92
    assert 3 * short < long < 7 * short
    assert 1.8 * short < voxels(length=(0.3, 0.3), thickness=3) < 4 * short


def test_a_small_component_is_not_filled():
    dense = disc((40, 40), (20, 20), 6).astype(int)
    for seed in range(5):
        scribbled = np.count_nonzero(draw(dense, seed, length=(9, 9)) == 1)
        assert scribbled <= 0.4 * dense.sum()  # a quarter, and steps over corners


def test_thin_components_alone_get_several_strokes():
    ring = disc((90, 90), (45, 45), 40) & ~disc((90, 90), (45, 45), 36)
    dense = np.where(disc((90, 90), (45, 45), 20), 2, ring)

    def count(value, seed):
        scribble = draw(dense, seed, strokes=3, length=(0.5, 0.5))
        return label(scribble == value, np.ones((3, 3)))[1]

    assert {count(1, seed) for seed in range(12)} == {1, 2, 3}
    assert {count(2, seed) for seed in range(12)} == {1}


def test_one_component_per_class_is_drawn_in_proportion_to_its_size():
    dense = (disc((40, 60), (20, 20), 14) | disc((40, 60), (20, 50), 5)).astype(int)
    big = [(draw(dense, s, every_component=False)[:, :40] == 1).any() for s in range(40)]
    small = [(draw(dense, s, every_component=False)[:, 40:] == 1).any() for s in range(40)]
    assert (np.array(big) ^ np.array(small)).all()
    assert sum(small) < sum(big)


def test_strokes_of_a_volume_run_through_slices():
    dense = disc((24, 30, 30), (12, 15, 15), 11, (1, 1, 1)).astype(int)
    for style in STYLES:
        scribble = draw(dense, 3, styles=(style,), length=(1, 1))
        assert len(np.unique(np.nonzero(scribble == 1)[0])) >= 4


def test_a_large_volume_is_searched_on_a_coarser_grid():
    dense = disc((60, 60, 60), (30, 30, 30), 25, (1, 1, 1)).astype(int)
    scribble = draw(dense, styles=("border",), length=(1, 1))
    depth = distance_transform_edt(dense)[scribble == 1]
    assert len(depth) > 60 and np.median(depth) < 0.5 * 25


def test_other_classes_keep_their_strokes_when_one_is_set_otherwise():
    dense = np.where(disc((50, 50), (25, 15), 9), 1, 0) + 2 * disc((50, 50), (25, 38), 9)
    plain = {value: StrokeSettings() for value in range(3)}
    one = draw_scribbles(dense, (1, 1), plain, UNLABELLED, [4])
    other = draw_scribbles(dense, (1, 1), plain | {1: StrokeSettings(thickness=3)}, UNLABELLED, [4])
    assert (one[dense != 1] == other[dense != 1]).all() and (one != other).any()


def test_another_seed_draws_other_strokes_and_the_same_the_same():
    dense = disc((50, 50), (25, 25), 15).astype(int)
    assert (draw(dense, 1) == draw(dense, 1)).all()
    assert (draw(dense, 1) != draw(dense, 2)).any()


def test_extent():
    mask = np.zeros((9, 9), bool)
    assert extent_mm(mask, (1, 1)) == 0
    mask[2:5, 3:7] = True
    assert extent_mm(mask, (1, 2)) == pytest.approx(np.hypot(3, 8))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"styles": ("loops",)}, "style 'loops': take interior, border or both"),
        ({"styles": ()}, "style ''"),
        ({"length": (0, 1)}, "length 0-1: positive"),
        ({"length": (2, 1)}, "length 2-1: positive, and the smaller value first"),
        ({"distance": (0.1, float("nan"))}, "distance 0.1-nan"),
        ({"strokes": 0}, "strokes 0: must be at least 1"),
        ({"thickness": 0}, "thickness 0: must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(own, message):
    with pytest.raises(ValueError, match=message):
        StrokeSettings(**own)
