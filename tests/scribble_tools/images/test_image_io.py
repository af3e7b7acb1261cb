"""What ITK does without a word: cut off files, and warnings."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from scribble_tools.images.image_io import geometry_difference, image_grid, read_image, write_labels
from scribble_tools.images.segmentation_files import read_labels

GRID = sitk.GetImageFromArray(np.zeros((2, 3, 4), np.uint8))


@pytest.mark.parametrize(
    ("highest", "pixel_type"),
    [
        (255, sitk.sitkUInt8),
        (-1, sitk.sitkInt16),
        (65535, sitk.sitkUInt16),
        (65536, sitk.sitkInt32),
    ],
)
def test_labels_are_written_with_the_smallest_integers_that_hold_them(
    tmp_path, highest, pixel_type
):
    array = np.full((2, 3, 4), highest)
    array[0] = 0
    write_labels(array, GRID, tmp_path / "a.nii.gz")
    found, image = read_labels(tmp_path / "a.nii.gz")
    assert np.array_equal(found, array) and image.GetPixelID() == pixel_type


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64, ">i8"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tif_of_64_bits(tmp_path, dtype, compression):
    path = tmp_path / "a.tif"
    array = np.arange(12, dtype=dtype).reshape(3, 4)
    byte_order = ">" if dtype == ">i8" else "<"
    tifffile.imwrite(path, array, byteorder=byte_order, compression=compression)
    found, image = read_labels(path)
    assert np.array_equal(found, array) and found.dtype == np.int32
    assert image.GetSize() == image_grid(path)[0] == (4, 3)
    path.write_bytes(path.read_bytes()[:-20])
    for read in (read_image, image_grid):
        with pytest.raises(ValueError, match="a.tif cannot be read as an image"):
            read(path)


def test_a_file_cut_off_by_a_full_disk_is_no_success(tmp_path, monkeypatch):
    def write_half(image, path, useCompression):
        with open(path, "wb") as file:
            file.write(gzip.compress(bytes(1000))[:-9])

    monkeypatch.setattr(sitk, "WriteImage", write_half)
    with pytest.raises(ValueError, match="a.nii.gz cannot be written .*read back: it is cut off"):
        write_labels(np.zeros((2, 3, 4)), GRID, tmp_path / "a.nii.gz")


def test_a_cut_off_file_is_not_read_as_background(tmp_path):
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((9, 9, 9), np.uint8)), str(path))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="a.nii.gz"):
        read_image(path)


def test_a_format_that_cannot_hold_the_labels(tmp_path):
    with pytest.raises(ValueError, match="a.png cannot be written"):
        write_labels(np.full((2, 3, 4), 70000), GRID, tmp_path / "a.png")


@pytest.mark.parametrize("value", [2**32 + 1, 2**31])
def test_numbers_too_large_for_a_label_are_refused_and_not_wrapped(tmp_path, value):
    for dtype in (np.int64, np.float64):
        path = tmp_path / "a.nrrd"
        sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 3, 4), value, dtype)), str(path))
        with pytest.raises(ValueError, match="24 numbers that are too large.*below 2"):
            read_labels(path)


def test_the_flood_of_nifti_warnings_stays_silent(tmp_path, capfd):
    path = tmp_path / "a.nii"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 3, 3), np.uint8)), str(path))
    header = bytearray(path.read_bytes())
    header[252:256] = (1).to_bytes(2, "little") * 2  # qform and sform are both in use
    for row, start in enumerate((280, 296, 312)):  # an sform of unit scale, as ACDC's
        header[start : start + 16] = np.eye(4, dtype="<f4")[row].tobytes()
    header[80:92] = np.array((1.5, 1.5, 10), "<f4").tobytes()  # the spacing in pixdim
    path.write_bytes(header)
    assert read_image(path).GetSpacing() == (1.5, 1.5, 10.0)
    assert capfd.readouterr() == ("", "")
    sitk.ProcessObject.SetGlobalWarningDisplay(True)
    try:  # such a file would make ITK warn
        sitk.ReadImage(str(path))
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
    assert "unexpected scales in sform" in capfd.readouterr().err


@pytest.mark.parametrize("size", [1.0, 0.1, 0.01, 0.0004])
def test_grids_are_compared_by_the_size_of_their_voxels(size):
    """Of a microscope's voxels, 0.001 mm is more than one."""

    def grid(spacing, origin=0.0):
        image = sitk.GetImageFromArray(np.zeros((2, 3, 4), np.uint8))
        image.SetSpacing((spacing,) * 3)
        image.SetOrigin((origin, 0, 0))
        return image

    assert "spacing" in geometry_difference(grid(size), grid(2 * size))
    assert "origin" in geometry_difference(grid(size), grid(size, 0.5 * size))
    assert not geometry_difference(grid(size), grid(size * 1.0005, 0.0009 * size))
    rounded = grid(size, float(np.float32(123.456)))  # as NIfTI keeps it
    assert not geometry_difference(grid(size, 123.456), rounded)


def test_a_header_that_itk_dies_of_is_looked_at_first(tmp_path):
    path = tmp_path / "a.mha"
    path.write_text(f"NDims = 3\nName = {'a' * 400}\nDimSize = 1 1 1\nElementDataFile = LOCAL\n")
    with pytest.raises(ValueError, match="a.mha cannot be read .*400 bytes for Name"):
        image_grid(path)
