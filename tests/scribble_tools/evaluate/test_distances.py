"""Surface distances against geometry worked out by hand, and against medpy."""

import math

import numpy as np
import pytest
from medpy.metric.binary import assd as medpy_assd
from medpy.metric.binary import dc as medpy_dice
from medpy.metric.binary import hd95 as medpy_hd95
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from scribble_tools.evaluate.distances import (
    assd_mm,
    bounding_box,
    hd95_mm,
    surface_dice,
    surface_distances_mm,
    surface_points_mm,
)
from scribble_tools.evaluate.scores import dice


def mask(shape, *points):
    array = np.zeros(shape, bool)
    for point in points:
        array[point] = True
    return array


def test_distance_of_two_voxels_uses_the_spacing_of_each_axis():
    a, b = mask((6, 6, 6), (1, 1, 1)), mask((6, 6, 6), (2, 4, 5))
    # 1 slice of 10 mm, 3 rows of 2 mm, 4 columns of 1.5 mm: 10, 6 and 6 mm
    expected = math.sqrt(100 + 36 + 36)
    distances = surface_distances_mm(a, b, (10, 2, 1.5))
    assert distances == pytest.approx([expected, expected])
    assert hd95_mm(distances) == pytest.approx(expected)
    assert assd_mm(distances) == pytest.approx(expected)


def test_both_directions_enter_one_list():
    line = mask((1, 40), *[(0, k) for k in range(19)])
    other = mask((1, 40), (0, 0))
    # 19 distances 0..18 from the line to the point, one 0 back; 0 stands at both ends of the joint
    # list: sorted 0, 0, 1, ..., 18; the 95th percentile of 20 values lies at index 18.05
    for a, b in ((line, other), (other, line)):
        distances = surface_distances_mm(a, b, (1, 1))
        assert hd95_mm(distances) == pytest.approx(17.05)
        assert assd_mm(distances) == pytest.approx(sum(range(19)) / 20)
        assert surface_dice(distances, 2) == pytest.approx(4 / 20)  # 0, 0, 1, 2


def test_surface_is_what_a_face_connected_erosion_removes():
    block = np.zeros((7, 7), bool)
    block[1:6, 1:6] = True
    # the centre 3 x 3 of a 5 x 5 block survives the erosion: 16 surface pixels
    assert len(surface_points_mm(block, (1, 1))) == 16
    block[0:6, 1:6] = True  # object on the border of the image: its border row is surface
    assert (surface_points_mm(block, (3, 1))[:, 0] == 0).sum() == 5


def test_shifted_block_by_hand():
    a, b = np.zeros((12, 5), bool), np.zeros((12, 5), bool)
    a[2:5, 1:4], b[4:7, 1:4] = True, True
    # two rows of 3 mm apart. Surfaces: 8 pixels each. From a: rows 2, 3, 4 lie 6, 3, 0 mm from b's
    # first row (3, 2 and 3 pixels); the other way round alike.
    by_hand = [6] * 3 + [3] * 2 + [0] * 3
    distances = surface_distances_mm(a, b, (3, 1))
    assert hd95_mm(distances) == pytest.approx(np.percentile(by_hand * 2, 95))
    assert assd_mm(distances) == pytest.approx((3 * 6 + 2 * 3) / 8)
    assert surface_dice(distances, 3) == 5 / 8
    assert surface_dice(distances, 2.9) == 3 / 8
    assert surface_dice(distances, 6) == 1


def test_a_distance_equal_to_the_tolerance_counts_in_spite_of_rounding():
    a, b = mask((1, 12), (0, 10)), mask((1, 12), (0, 7))
    distances = surface_distances_mm(a, b, (1, 0.7))
    assert distances[0] > 2.1  # 10 * 0.7 - 7 * 0.7 in floating point
    assert surface_dice(distances, 2.1) == 1
    assert surface_dice(distances, 2.09) == 0


@pytest.mark.parametrize("shape", [(40, 33), (9, 24, 31), (16, 17, 15)])
@pytest.mark.parametrize("seed", range(4))
def test_scores_agree_with_medpy(shape, seed):
    rng = np.random.default_rng(seed)
    spacing_mm = rng.uniform(0.5, 8, len(shape))
    smooth = [gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(2)]
    a, b = (field > np.quantile(field, q) for field, q in zip(smooth, (0.7, 0.95), strict=True))
    a[(0,) * len(shape)] = True  # a far island in a corner
    distances = surface_distances_mm(a, b, spacing_mm)
    assert hd95_mm(distances) == pytest.approx(medpy_hd95(a, b, spacing_mm), abs=1e-6)
    assert assd_mm(distances) == pytest.approx(medpy_assd(a, b, spacing_mm), abs=1e-6)
    assert dice(a, b) == pytest.approx(medpy_dice(a, b), abs=1e-12)
    # medpy has no surface Dice: count on distance maps
    surfaces = [m & ~binary_erosion(m) for m in (a, b)]
    maps = [distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces]
    near = sum(np.count_nonzero(m[s] <= 4) for m, s in zip(maps, reversed(surfaces), strict=True))
    total = sum(map(np.count_nonzero, surfaces))
    assert surface_dice(distances, 4) == pytest.approx(near / total, abs=1e-12)


def test_empty_masks():
    full, empty = mask((3, 3), (1, 1)), np.zeros((3, 3), bool)
    nothing = surface_distances_mm(empty, empty, (1, 1))
    assert all(map(math.isnan, (hd95_mm(nothing), assd_mm(nothing), surface_dice(nothing, 2))))
    for a, b in ((full, empty), (empty, full)):
        distances = surface_distances_mm(a, b, (1, 1))
        assert hd95_mm(distances) == assd_mm(distances) == math.inf
        assert surface_dice(distances, 1000) == 0


def test_wrong_shapes_and_spacings_are_named():
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(4, 3\)"):
        surface_distances_mm(np.ones((3, 3), bool), np.ones((4, 3), bool), (1, 1))
    with pytest.raises(ValueError, match="3 entries"):
        surface_distances_mm(np.ones((3, 3), bool), np.ones((3, 3), bool), (1, 1, 1))


def test_bounding_box():
    assert bounding_box(mask((9, 9), (2, 7), (5, 3))) == (slice(2, 6), slice(3, 8))
    assert bounding_box(np.zeros((2, 3), bool)) == (slice(0, 0), slice(0, 0))
