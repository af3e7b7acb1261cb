"""NIfTI headers that say what ITK takes otherwise than they mean, without a word."""

import gzip
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.images.image_io import read_image
from scribble_tools.images.nifti import BYTES, parse_header

ARRAY = np.arange(24, dtype=np.int16).reshape(2, 3, 4)  # z, y, x
AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])


def write(path, *patches, affine=AFFINE, codes=(1, 1), dtype=np.int16):
    """A volume in whose header other numbers are put: (format, byte, values)."""
    image = nibabel.Nifti1Image(ARRAY.astype(dtype).T, affine)
    image.set_qform(affine, codes[0])
    image.set_sform(affine, codes[1])
    content = bytearray(image.to_bytes())
    for kind, start, *values in patches:
        struct.pack_into(f"<{kind}", content, start, *values)
    path.write_bytes(gzip.compress(bytes(content)) if path.suffix == ".gz" else bytes(content))
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("offset", [0, 100, 348])
def test_voxels_that_are_said_to_begin_in_the_header(tmp_path, ending, offset):
    """ITK read them two voxels off."""
    path = write(tmp_path / f"a{ending}", ("f", 108, offset))
    with pytest.raises(ValueError, match=rf"begin at byte {offset} \(vox_offset\).*'<f', 352\)"):
        read_image(path)
    path = write(path, ("f", 108, 352))  # what it advises
    np.testing.assert_array_equal(_voxels(path), ARRAY)


def test_voxels_of_a_pair_begin_at_0(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(ARRAY.T, AFFINE), tmp_path / "a.img")
    np.testing.assert_array_equal(_voxels(tmp_path / "a.hdr"), ARRAY)


@pytest.mark.parametrize("bits", [0, 8, 32])
def test_the_type_counts_where_bitpix_says_something_else(tmp_path, bits):
    path = write(tmp_path / "a.nii", ("h", 72, bits))
    np.testing.assert_array_equal(_voxels(path), ARRAY)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match="cut off: it has 398 bytes of the 400"):
        read_image(path)


def test_types_have_the_bytes_that_nibabel_counts():
    for code in nibabel.nifti1.data_type_codes.value_set("code"):
        size = nibabel.nifti1.data_type_codes.dtype[code].itemsize
        if size and code in BYTES:
            header = nibabel.Nifti1Header()
            header["dim"][0], header["datatype"] = 3, code
            assert BYTES[code] == size == parse_header(header.binaryblock).voxel_bytes


def test_a_negative_size_is_no_single_slice(tmp_path):
    path = write(tmp_path / "a.nii", ("8h", 40, 3, 4, 3, -2, 1, 1, 1, 1))
    with pytest.raises(ValueError, match="a.nii cannot .*says that its size is 4 x 3 x -2"):
        read_image(path)


def test_an_sform_of_another_voxel_size(tmp_path):
    """As nibabel writes it after set_sform alone; ITK took 1 mm, others 3."""
    path = write(tmp_path / "a.nii", ("3f", 80, 1, 1, 1), codes=(0, 1))
    with pytest.raises(ValueError, match="sform says that voxels are 1 x 1 x 3 mm, its pixdim 1 x"):
        read_image(path)
    image = nibabel.load(path)
    image.header.set_zooms((1, 1, 3))  # what it advises
    nibabel.save(image, path)
    assert read_image(path).GetSpacing() == (1, 1, 3)


@pytest.mark.parametrize(
    ("codes", "affine"),
    [((1, 1), AFFINE), ((0, 1), np.diag([-1.0, -1.0, 1.0, 1.0])), ((1, 0), AFFINE)],
)
def test_pixdim_counts_where_the_sform_gives_directions_only(tmp_path, codes, affine):
    """ACDC's files are so, with and without a qform."""
    rows = [value for row in np.diag([-1.0, -1.0, 1.0, 1.0])[:3] for value in row]
    path = write(
        tmp_path / "a.nii",
        ("3f", 80, 1.5, 1.5, 10),
        ("12f", 280, *rows),
        codes=codes,
        affine=affine,
    )
    assert read_image(path).GetSpacing() == (1.5, 1.5, 10)


def _voxels(path):
    return sitk.GetArrayFromImage(read_image(path))
