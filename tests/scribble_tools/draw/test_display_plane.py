"""Which way up a volume is shown: checked on volumes of known position in the patient."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.draw.display_plane import display_plane
from scribble_tools.images.image_io import read_image

# Patient space in ITK's LPS: 4 voxels towards the left, 5 towards posterior, 6 towards superior.
SIZE_LPS = (4, 5, 6)


def patient(spacing_lps=(1.0, 1.0, 1.0)):
    """A volume stored along L, P, S in which every voxel has its own value."""
    values = np.arange(np.prod(SIZE_LPS), dtype=np.float32).reshape(SIZE_LPS[::-1])
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing_lps)
    return image


def write(image, tmp_path, name="image.nii.gz"):
    sitk.WriteImage(image, str(tmp_path / name))
    return read_image(tmp_path / name), tmp_path / name


def turned(degrees, axis):
    """A direction matrix that is off the axes."""
    rotation = sitk.VersorTransform(axis, np.deg2rad(degrees))
    return rotation.GetMatrix()


def test_axial_slices_have_the_patients_right_on_the_left_and_anterior_up(tmp_path):
    image, file = write(patient((1, 1, 5)), tmp_path)
    plane = display_plane(image, file)
    shown = plane.cut(sitk.GetArrayFromImage(image))
    assert plane.edges == ("R", "L", "A", "P")
    assert shown.shape == (6, 5, 4)
    # the voxel at the patient's right, anterior, inferior corner is number 0
    assert shown[0, 0, 0] == 0
    assert shown[0, 0, -1] == 3  # farthest left
    assert shown[0, -1, 0] == 4 * 4  # farthest posterior
    assert "Axial slices" in plane.description
    assert "left is R, up is A" in plane.description


def test_coronal_slices_have_superior_up(tmp_path):
    image, file = write(patient((1, 5, 1)), tmp_path)
    plane = display_plane(image, file)
    shown = plane.cut(sitk.GetArrayFromImage(image))
    assert plane.edges == ("R", "L", "S", "I")
    assert shown.shape == (5, 6, 4)
    assert shown[0, -1, 0] == 0
    assert shown[0, 0, 0] == 5 * 20  # farthest superior
    assert "Coronal slices" in plane.description


def test_sagittal_slices_have_anterior_on_the_left(tmp_path):
    image, file = write(patient((5, 1, 1)), tmp_path)
    plane = display_plane(image, file)
    shown = plane.cut(sitk.GetArrayFromImage(image))
    assert plane.edges == ("A", "P", "S", "I")
    assert shown.shape == (4, 6, 5)
    assert shown[0, -1, 0] == 0
    assert shown[0, -1, -1] == 4 * 4  # farthest posterior
    assert "Sagittal slices" in plane.description


@pytest.mark.parametrize("order", ["".join(letters) for letters in itertools.permutations("LPS")])
@pytest.mark.parametrize("thick", [0, 1, 2])
def test_the_same_patient_gives_the_same_picture_however_it_is_stored(order, thick, tmp_path):
    spacing = [1.0, 1.0, 1.0]
    spacing[thick] = 4.0
    original = patient(spacing)
    plane = display_plane(*write(original, tmp_path))
    expected = plane.cut(sitk.GetArrayFromImage(original))
    opposite = dict(zip("LPS", "RAI", strict=True))
    for reverse in itertools.product((False, True), repeat=3):
        code = "".join(opposite[a] if r else a for a, r in zip(order, reverse, strict=True))
        stored, file = write(sitk.DICOMOrient(original, code), tmp_path, f"{code}.nii.gz")
        other = display_plane(stored, file)
        shown = other.cut(sitk.GetArrayFromImage(stored))
        across = "LPS"[thick]
        if opposite[across] in code:  # slices keep the file's numbers
            shown = shown[::-1]
        assert np.array_equal(shown, expected), code
        assert (other.edges, other.spacing_mm) == (plane.edges, plane.spacing_mm)


def test_oblique_slices_get_two_letters(tmp_path):
    image = patient((1, 1, 5))
    image.SetDirection(turned(10, (0, 0, 1)))
    assert display_plane(*write(image, tmp_path)).edges == ("R", "L", "A", "P")
    image.SetDirection(turned(30, (0, 0, 1)))  # x turns from left towards posterior
    plane = display_plane(*write(image, tmp_path))
    assert plane.edges == ("RA", "LP", "AL", "PR")
    assert "Oblique slices, nearest to axial," in plane.description


def test_spacing_is_that_of_the_shown_rows_and_columns(tmp_path):
    plane = display_plane(*write(patient((2, 5, 3)), tmp_path))
    assert plane.spacing_mm == pytest.approx((3, 2))


def test_equal_axes_are_cut_across_the_first(tmp_path):
    image, file = write(patient((1.0000001, 1, 1)), tmp_path)
    assert display_plane(image, file).axes[0] == 0


def test_an_axis_of_one_voxel_is_cut_across(tmp_path):
    image, file = write(patient((1, 3, 1))[:, :, :1], tmp_path)
    assert display_plane(image, file).cut(sitk.GetArrayFromImage(image)).shape == (1, 5, 4)


def test_two_dimensions_are_shown_as_stored():
    image = sitk.GetImageFromArray(np.zeros((3, 4, 3), np.uint8), isVector=True)
    image.SetSpacing((2, 5))
    plane = display_plane(image, Path("picture.png"))
    assert plane.cut(sitk.GetArrayFromImage(image)).shape == (1, 3, 4, 3)
    assert (plane.spacing_mm, plane.edges) == ((5, 2), None)
    assert "states no orientation" in plane.description


def unknown_nifti(tmp_path):
    """SimpleITK always writes a code: 0 for "unknown" is set in the header's bytes."""
    file = tmp_path / "image.nii"
    write(patient((1, 1, 5)), tmp_path, "image.nii")
    content = bytearray(file.read_bytes())
    content[252:256] = bytes(4)  # qform_code and sform_code
    file.write_bytes(content)
    return read_image(file), file


def nrrd_without_space(tmp_path):
    file = tmp_path / "image.nrrd"
    header = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nspacings: 1 1 5\nencoding: raw\n\n"
    file.write_bytes(header.encode() + bytes(8))
    return read_image(file), file


def tif(tmp_path):
    return write(sitk.Cast(patient(), sitk.sitkUInt8), tmp_path, "image.tif")


@pytest.mark.parametrize("stored", [unknown_nifti, nrrd_without_space, tif])
def test_no_letters_where_the_file_states_no_orientation(stored, tmp_path):
    plane = display_plane(*stored(tmp_path))
    assert plane.edges is None
    assert (plane.axes, plane.flips) == ((0, 1, 2), (False, False))
    assert plane.description == "The file states no orientation: slices are shown as stored."


@pytest.mark.parametrize("name", ["image.nrrd", "image.mha", "image.nii"])
def test_letters_where_the_file_states_one(name, tmp_path):
    plane = display_plane(*write(patient((1, 1, 5)), tmp_path, name))
    assert plane.edges == ("R", "L", "A", "P")


def test_four_dimensions_are_refused(tmp_path):
    image = sitk.Image([2, 2, 2, 2], sitk.sitkUInt8)
    with pytest.raises(ValueError, match="film.nii has 4 dimensions: give one 2D or 3D file"):
        display_plane(image, tmp_path / "film.nii")
