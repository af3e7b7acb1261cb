"""Files that lack voxels are refused, whatever their format; whole ones are read."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.images.file_integrity import count_not_finite
from scribble_tools.images.image_io import read_image

SHAPE = (4, 9, 7)


def write(folder, ending):
    path = folder / f"a{ending}"
    image = sitk.GetImageFromArray(np.full(SHAPE, 3, np.int16))
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".hdr", ".img", ".gipl", ".mha", ".nrrd"])
def test_what_lacks_voxels_is_refused(tmp_path, ending):
    path = write(tmp_path, ending)
    assert (sitk.GetArrayFromImage(read_image(path)) == 3).all()
    data = path.with_suffix(".img") if ending == ".hdr" else path
    content = data.read_bytes()
    if data.suffix == ".gz":  # a whole stream of too little
        data.write_bytes(gzip.compress(gzip.decompress(content)[:-30]))
    else:
        data.write_bytes(content[:-30])
    with pytest.raises(ValueError, match=rf"{path.name} (is cut off|cannot be read)"):
        read_image(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_not_finite_voxels_are_counted_and_what_follows_them_is_not(tmp_path, ending):
    array = np.zeros(SHAPE, np.float32)
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    content = path.read_bytes()
    if ending == ".nii.gz":
        path.write_bytes(gzip.compress(gzip.decompress(content) + b"\1"))
    else:
        path.write_bytes(content + b"\1")
    assert count_not_finite(path, sitk.GetArrayFromImage(read_image(path))) == 3
