"""What tells two voxel grids apart, in words and with the digits that matter; what is lost."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.images.grids import tell_grids
from scribble_tools.images.image_io import geometry_difference, with_digits
from scribble_tools.images.nifti import read_header
from scribble_tools.images.resampling import resample_array

SIZE = (6, 5, 4)
STRAIGHT = np.eye(3)
TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def grid(size=SIZE, spacing=(1.5, 1.0, 4.0), origin=(7.0, -3.0, 2.0), direction=STRAIGHT):
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(np.ravel(direction).tolist())
    return image


def test_numbers_get_the_digits_that_tell_them_apart():
    assert with_digits((1.5, 2.0), (1.5, 3.0)) == ("[1.5, 2.0]", "[1.5, 3.0]")
    assert with_digits((1.00001,), (1.0,)) == ("[1.00001]", "[1.0]")
    assert with_digits((1 / 3,), (1 / 3,)) == ("[0.3333]", "[0.3333]")


def test_all_that_differs_is_said(tmp_path):
    other = grid(spacing=(1.5, 1.0, 4.5), origin=(7.0, -3.0, 2.5))
    words = geometry_difference(grid(), other)
    assert words == (
        "spacing [1.5, 1.0, 4.0] against [1.5, 1.0, 4.5], "
        "origin [7.0, -3.0, 2.0] against [7.0, -3.0, 2.5]"
    )


def flipped(axis):
    direction, origin = np.eye(3), np.array((7.0, -3.0, 2.0))
    direction[axis, axis] = -1
    origin[axis] += (SIZE[axis] - 1) * (1.5, 1.0, 4.0)[axis]
    return grid(origin=origin.tolist(), direction=direction)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_voxels_in_another_order_are_recognised(tmp_path, axis):
    story = tell_grids(flipped(axis), tmp_path / "none.nrrd", grid())
    assert story.reordered and not story.header_only
    assert f"({'xyz'[axis]} reversed" in story.words


def test_exchanged_axes_are_recognised(tmp_path):
    # the label's x runs along the image's y
    turned = grid((5, 6, 4), (1.0, 1.5, 4.0), direction=[[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    story = tell_grids(turned, tmp_path / "none.nrrd", grid())
    assert story.reordered and "axes exchanged" in story.words
    array = np.random.default_rng(0).integers(0, 3, SIZE[::-1])
    found, kept = resample_array(array.swapaxes(1, 2), turned, grid(), 0, tmp_path)
    assert np.array_equal(found, array) and kept.share == 1 and not kept.lost


def test_another_box_is_no_other_order(tmp_path):
    for other in (grid(origin=(8.0, -3.0, 2.0)), grid((5, 5, 4)), grid(direction=TURN)):
        assert not tell_grids(other, tmp_path / "none.nrrd", grid()).reordered


def test_the_default_of_a_library_explains_a_difference(tmp_path):
    default = grid(spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0))
    story = tell_grids(default, tmp_path / "none.nrrd", grid())
    assert story.header_only and "the label has the geometry of a program that" in story.words
    story = tell_grids(grid(), tmp_path / "none.nrrd", default)
    assert story.header_only and "the image has the geometry" in story.words
    story = tell_grids(grid(origin=(7.0, -3.0, 3.0)), tmp_path / "none.nrrd", grid())
    assert not story.header_only and story.same_size


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ((0, 0), "the label has neither a qform nor an sform"),
        ((1, 1), "the image agrees with the qform"),
    ],
)
def test_the_label_may_be_the_one_whose_header_is_wrong(tmp_path, codes, said):
    path = tmp_path / "label.nii"
    sitk.WriteImage(grid(), str(path))
    content = bytearray(path.read_bytes())
    struct.pack_into("<2h", content, 252, *codes)
    if codes == (1, 1):  # an sform that lies elsewhere
        struct.pack_into("<f", content, 280 + 12, 99.0)
    path.write_bytes(content)
    label = sitk.ReadImage(str(path))
    story = tell_grids(label, path, grid())
    assert story.header_only and said in story.words


def test_strokes_that_fall_between_voxels_are_counted(tmp_path):
    fine = grid((12, 10, 4), (0.75, 0.5, 4.0))
    array = np.zeros((4, 10, 12), np.uint8)
    array[:, 2, 2:10], array[:, 7, :1] = 1, 2
    _, kept = resample_array(array, fine, grid(), 0, tmp_path)
    assert set(kept.voxels) == {1, 2}
    for before, after in kept.voxels.values():
        assert 0 <= after <= before
    wide = np.kron(array[:, ::2, ::2], np.ones((1, 2, 2), int))  # two voxels and more
    found, kept = resample_array(wide, fine, grid(), 0, tmp_path)
    assert kept.share > 0.8 and np.array_equal(found, array[:, ::2, ::2])
    far = grid((12, 10, 4), origin=(500.0, 0, 0))
    found, kept = resample_array(array, far, grid(), 0, tmp_path)
    assert kept.lost == [1, 2] and kept.share == 0 and not found.any()


def test_a_header_is_read_as_it_is_written(tmp_path):
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(grid(direction=TURN), str(path))
    header = read_header(path)
    assert header.size == SIZE and header.spacing == (1.5, 1.0, 4.0)
    turn = np.diag((-1.0, -1, 1, 1))
    expected = np.eye(4)
    expected[:3, :3], expected[:3, 3] = TURN * (1.5, 1.0, 4.0), (7.0, -3.0, 2.0)
    for form in (header.qform, header.sform):
        assert np.allclose(turn @ form, expected, atol=1e-5)
    assert read_header(tmp_path / "none.nii") is None
