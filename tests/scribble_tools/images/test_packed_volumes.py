"""Numbers in writing are what the type holds, and as many as there are voxels."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.images.image_io import read_image
from tests.scribble_tools.images.test_header_limits import ARRAY, META, NRRD


def write(path, numbers, kind=""):
    """``kind``: the type of the voxels, if not two bytes."""
    if path.suffix == ".nrrd":
        text = NRRD.replace("encoding: raw", "encoding: ascii")
        text = text.replace("short", kind or "short") + "\n"
    else:
        text = META.replace("BinaryData = True", "BinaryData = False")
        text = text.replace("MET_SHORT", f"MET_{kind.upper() or 'SHORT'}")
        text += "ElementDataFile = LOCAL\n"
    path.write_text(f"{text}{' '.join(map(str, numbers))} \n")
    return path


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_numbers_in_writing(tmp_path, ending):
    path = write(tmp_path / f"a{ending}", ARRAY.ravel())
    assert (sitk.GetArrayFromImage(read_image(path)) == ARRAY).all()
    write(path, ARRAY.ravel() / 3, "float")
    np.testing.assert_allclose(sitk.GetArrayFromImage(read_image(path)), ARRAY / 3, rtol=1e-5)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize("number", [259, -253, 70000])
def test_numbers_that_the_type_does_not_hold(tmp_path, ending, number):
    """ITK made 3 of 259."""
    path = write(tmp_path / f"a{ending}", [number, *ARRAY.ravel()[1:]], "uchar")
    with pytest.raises(ValueError, match=rf"a{ending} .*(numbers that its type|cannot be read)"):
        read_image(path)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize("numbers", [ARRAY.ravel()[:-1], [*ARRAY.ravel()[:-1], "x"]])
def test_too_few_numbers_and_words(tmp_path, ending, numbers):
    path = write(tmp_path / f"a{ending}", numbers)
    with pytest.raises(ValueError, match=rf"a{ending} .*(too few|element 24 of|no num|23 num)"):
        read_image(path)


def test_files_read_side_by_side(tmp_path):
    """teem keeps the place where it reads for all threads together."""
    numbers = np.arange(24) * 1000
    paths = [write(tmp_path / f"a{k}.nrrd", numbers + k, "int") for k in range(16)]
    with ThreadPoolExecutor(8) as pool:
        for k, image in enumerate(pool.map(read_image, paths * 4)):
            assert (sitk.GetArrayFromImage(image).ravel() == numbers + k % 16).all()


@pytest.mark.parametrize(
    "line", ["ElementToIntensityFunctionSlope = 2\n", "ElementToIntensityFunctionOffset = -1024\n"]
)
def test_a_scale_that_nobody_applies(tmp_path, line):
    path = tmp_path / "a.mha"
    for text, fine in ((line, False), (f"{line.split('=')[0]}= {int('Slope' in line)}\n", True)):
        header = f"{META}{text}ElementDataFile = LOCAL\n"
        path.write_bytes(header.encode() + ARRAY.tobytes())
        if fine:
            assert (sitk.GetArrayFromImage(read_image(path)) == ARRAY).all()
            continue
        with pytest.raises(ValueError, match="which ITK and nnU-Net pass over: save the numbers"):
            read_image(path)
