"""NRRD's and MetaImage's headers: what they say of the voxels is what ITK reads."""

import re
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.images.file_kind import kind_of
from scribble_tools.images.image_io import read_image
from scribble_tools.images.text_headers import META_BYTES, NRRD_BYTES, text_header
from tests.scribble_tools.images.test_header_limits import ARRAY, META, NRRD

END = "ElementDataFile = LOCAL\n"


@pytest.mark.parametrize("name", META_BYTES)
def test_types_of_metaimage_have_the_size_that_itk_reads(tmp_path, name):
    path = tmp_path / "a.mha"
    path.write_bytes(
        f"{META}{END}".replace("MET_SHORT", name).encode() + bytes(24 * META_BYTES[name])
    )
    assert read_image(path).GetSizeOfPixelComponent() == META_BYTES[name]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut off"):
        read_image(path)


@pytest.mark.parametrize("name", NRRD_BYTES)
def test_types_of_nrrd_have_the_size_that_itk_reads(tmp_path, name):
    path = tmp_path / "a.nrrd"
    path.write_bytes(
        f"{NRRD}\n".replace("type: short", f"type: {name}").encode() + bytes(24 * NRRD_BYTES[name])
    )
    assert read_image(path).GetSizeOfPixelComponent() == NRRD_BYTES[name]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("ending, header", [("mha", META + END), ("nrrd", f"{NRRD}\n")])
def test_the_voxels_begin_where_the_header_ends(tmp_path, ending, header, line_end):
    path = tmp_path / f"a.{ending}"
    text = header.replace("\n", line_end).encode()
    path.write_bytes(text + ARRAY.tobytes())
    assert text_header(path, kind_of(path)).end == len(text)
    if line_end == "\n":  # ITK reads no other MetaImage
        assert (sitk.GetArrayFromImage(read_image(path)) == ARRAY).all()
    path.write_bytes(text + ARRAY.tobytes()[:-1])
    with pytest.raises(ValueError, match="cut off"):
        read_image(path)


@pytest.mark.parametrize(
    "before, size, packed",
    [(b"", 0, False), (b"12345", 5, False), (b"12345", -1, False), (b"", 0, True)],
)
def test_bytes_before_the_voxels_of_a_metaimage(tmp_path, before, size, packed):
    data = zlib.compress(ARRAY.tobytes()) if packed else ARRAY.tobytes()
    (tmp_path / "a.raw").write_bytes(before + data)
    header = META.replace("CompressedData = False", f"CompressedData = {packed}")
    path = tmp_path / "a.mhd"
    path.write_text(f"{header}HeaderSize = {size}\nElementDataFile = a.raw\n")
    assert (sitk.GetArrayFromImage(read_image(path)) == ARRAY).all()
    (tmp_path / "a.raw").write_bytes((before + data)[:-6])
    with pytest.raises(ValueError, match="cut off|damaged"):
        read_image(path)


@pytest.mark.parametrize("said", ["", "CompressedDataSize = 0\n", "CompressedDataSize = 20\n"])
def test_packed_voxels_of_which_itk_would_read_a_part(tmp_path, said):
    """It does not say so, but takes whatever its memory holds."""
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path), useCompression=True)
    assert (sitk.GetArrayFromImage(read_image(path)) == ARRAY).all()
    content = re.sub(rb"CompressedDataSize = \d+\n", said.encode(), path.read_bytes())
    path.write_bytes(content)
    with pytest.raises(ValueError, match="lacks CompressedDataSize|is damaged"):
        read_image(path)


def test_other_files_have_no_such_header(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(tmp_path / "a.nii"))
    assert text_header(tmp_path / "a.nii", kind_of(tmp_path / "a.nii")) is None
    header = META.replace("3\n", "3\nComment = x\n", 1) + END
    (tmp_path / "a.mha").write_bytes(header.encode() + ARRAY.tobytes())
    found = text_header(tmp_path / "a.mha", kind_of(tmp_path / "a.mha"))
    assert found.fields["Comment"] == "x" and found.parts is None
    assert (found.sizes, found.voxel_bytes, found.packing) == ((4, 3, 2), 2, "")
    assert np.prod(found.sizes) * found.voxel_bytes == ARRAY.nbytes


def metaimage(path, name, value):
    start, rest = META.split("BinaryData =", 1)  # where SimpleITK writes what it carries along
    text = f"{start}{name} = {value}\nBinaryData ={rest}{END}"
    path.write_bytes(text.encode() + ARRAY.tobytes())
    return path


@pytest.mark.parametrize(
    ("name", "longest"),
    [("0008|1030", 32767), ("ITK_FileNotes", 32767), ("Comment", 499), ("Name", 254)],
)
def test_values_as_long_as_itk_reads_them(tmp_path, name, longest):
    for letter, length in (("a", longest), ("é", longest // 2)):
        path = metaimage(tmp_path / "a.mha", name, letter * length)
        assert (sitk.GetArrayFromImage(read_image(path)) == ARRAY).all()
    for letter, length in (("a", longest + 1), ("é", longest // 2 + 1), ("a", 60_000)):
        metaimage(path, name, letter * length)
        with pytest.raises(ValueError) as error:
            read_image(path)
        size = len(letter.encode()) * length
        assert f"{path} cannot be read as an image (its header has a value of {size} bytes" in str(
            error.value
        )
        assert f"for {name}, and ITK reads at most {longest}" in str(error.value)


def test_what_simpleitk_writes_of_dicom_is_read(tmp_path):
    image = sitk.GetImageFromArray(ARRAY)
    image.SetMetaData("0008|1030", "Study " * 1000)
    image.SetMetaData("0029|1010", "QUJD" * 8000)  # private, as text
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    assert (sitk.GetArrayFromImage(read_image(tmp_path / "a.mha")) == ARRAY).all()


def test_a_header_of_many_long_values_has_an_end(tmp_path):
    path = tmp_path / "a.mha"
    values = "".join(f"0029|{k:04d} = {'a' * 30_000}\n" for k in range(40))
    path.write_bytes(f"{META}{values}{END}".encode() + ARRAY.tobytes())
    with pytest.raises(ValueError, match="a.mha .*header"):
        read_image(path)
