"""What a file is follows from its content, whatever it is called."""

import gzip
import struct
import tarfile

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from scribble_tools.images.file_kind import (
    DETACHED_META,
    DETACHED_NRRD,
    META,
    NRRD,
    is_hidden,
    kind_of,
)
from scribble_tools.images.image_files import files_below, files_in, read_channels, write_image
from scribble_tools.images.image_io import read_image

VOLUME = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)  # z, y, x
PICTURE = VOLUME[0]


def write(path, array=VOLUME, spacing=(1.5, 1.25, 4.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[: array.ndim])
    sitk.WriteImage(image, str(path))
    return path


def nifti_bytes(folder):
    return write(folder / "original.nii").read_bytes()


def dicom_bytes(preamble=True, explicit=True):
    """The first elements of a slice, as scanners write them."""
    element = (
        struct.pack("<HH2sH", 8, 5, b"CS", 10) if explicit else struct.pack("<HHI", 8, 5, 10)
    ) + b"ISO_IR 100"
    element += struct.pack("<HH2sH", 8, 8, b"CS", 8) + b"ORIGINAL"
    if preamble:
        element = bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, 0) + element
    return element + bytes(400)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.NII.GZ", "a.nrrd", "a.mha", "a.png"])
@pytest.mark.parametrize("packed", [True, False])
def test_nifti_is_read_packed_or_not_whatever_it_is_called(tmp_path, name, packed):
    content = nifti_bytes(tmp_path)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if packed else content)
    image = read_image(path)
    assert np.array_equal(sitk.GetArrayFromImage(image), VOLUME)
    assert image.GetSpacing() == (1.5, 1.25, 4.0)


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".gipl"])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.tif", "a.nrrd", "a.mha"])
def test_volumes_under_a_wrong_name(tmp_path, ending, name):
    content = write(tmp_path / f"original{ending}").read_bytes()
    (tmp_path / name).write_bytes(content)
    assert np.array_equal(sitk.GetArrayFromImage(read_image(tmp_path / name)), VOLUME)


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.bmp", "a.nii.gz", "a.png"])
@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_pictures_under_a_wrong_name(tmp_path, name, ending):
    original = tmp_path / f"original{ending}"
    Image.fromarray(PICTURE).save(original)
    (tmp_path / name).write_bytes(original.read_bytes())
    assert np.array_equal(sitk.GetArrayFromImage(read_image(tmp_path / name)), PICTURE)


@pytest.mark.parametrize("after", [b"\1", b"something else" * 99, bytes(700), bytes(512) + b"\1"])
def test_what_follows_packed_data_is_passed_over(tmp_path, after):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti_bytes(tmp_path)) + after)
    images, whole = read_channels(path)
    assert np.array_equal(sitk.GetArrayFromImage(images[0]), VOLUME)
    # what is handed to nnU-Net is read by every program
    write_image(path, images[0], whole, tmp_path / "b.nii.gz")
    assert gzip.decompress((tmp_path / "b.nii.gz").read_bytes()) == nifti_bytes(tmp_path)


def test_several_packed_members_are_one_file(tmp_path):
    content = nifti_bytes(tmp_path)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(content[:390]) + gzip.compress(content[390:]))
    assert np.array_equal(sitk.GetArrayFromImage(read_image(path)), VOLUME)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="a.nii.gz is cut off or damaged"):
        read_image(path)


def test_what_is_not_packed_goes_to_nnunet_packed(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(nifti_bytes(tmp_path))
    images, whole = read_channels(path)
    write_image(path, images[0], whole, tmp_path / "b.nii.gz")
    assert gzip.decompress((tmp_path / "b.nii.gz").read_bytes()) == path.read_bytes()


def save_nifti2(path):
    nibabel.save(nibabel.Nifti2Image(VOLUME, np.eye(4)), path)
    return path


APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(90)
MGH = struct.pack(">6i", 1, 4, 5, 6, 1, 0) + bytes(999)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"


UNREADABLE = {
    "NIfTI-2": (lambda path: save_nifti2(path.with_suffix(".nii")).read_bytes(), "Nifti1Image"),
    "DICOM": (lambda path: dicom_bytes(), "dcm2niix"),
    "DICOM ": (lambda path: dicom_bytes(preamble=False), "dcm2niix"),
    " DICOM": (lambda path: dicom_bytes(preamble=False, explicit=False), "dcm2niix"),
    "macOS": (lambda path: APPLE_DOUBLE, "-name '._*' -delete"),
    "empty": (lambda path: b"", "again"),
    "Git LFS": (lambda path: LFS, "git lfs pull"),
    "web page": (lambda path: b"\n<!DOCTYPE html><html>", "download"),
    "packed twice": (lambda path: gzip.compress(gzip.compress(bytes(99))), "gunzip"),
    "NRRD packed": (lambda path: gzip.compress(b"NRRD0004\n"), "gunzip"),
    "WebP": (lambda path: b"RIFF\0\0\0\0WEBPVP8 ", "PNG"),
    "HEIC": (lambda path: b"\0\0\0\x18ftypheic" + bytes(99), "PNG"),
    "FreeSurfer": (lambda path: MGH, "mri_convert"),
    "FreeSurfer's": (lambda path: gzip.compress(MGH), "mri_convert"),
    "ZIP": (lambda path: b"PK\3\4" + bytes(99), "unpack"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("name", ["a.nii.gz", "a.png", "IM0001", "a.dcm"])
def test_what_is_not_read_is_named_with_the_remedy(tmp_path, what, name):
    make, remedy = UNREADABLE[what]
    path = tmp_path / name
    content = make(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=what.strip()) as error:
        read_image(path)
    assert remedy in str(error.value) and str(path) in str(error.value)
    if what == "NIfTI-2":
        path.write_bytes(gzip.compress(content))
        with pytest.raises(ValueError, match="NIfTI-2"):
            read_image(path)


def test_the_remedy_for_nifti_2_works(tmp_path):
    save_nifti2(tmp_path / "a.nii.gz")
    nibabel.save(
        nibabel.Nifti1Image.from_image(nibabel.load(tmp_path / "a.nii.gz")), tmp_path / "b.nii.gz"
    )
    found = sitk.GetArrayFromImage(read_image(tmp_path / "b.nii.gz"))
    assert np.array_equal(found, VOLUME.T)


def test_neither_folders_nor_nonsense(tmp_path):
    (tmp_path / "a.nii.gz").mkdir()
    with pytest.raises(ValueError, match="a.nii.gz is no regular file"):
        read_image(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii").write_bytes(b"nothing that is known" * 99)
    with pytest.raises(ValueError, match="b.nii cannot be read as an image .*no known image"):
        read_image(tmp_path / "b.nii")
    (tmp_path / "loop.nii").symlink_to("loop.nii")
    with pytest.raises(FileNotFoundError, match="loop.nii: a link to loop.nii, where no file is"):
        read_image(tmp_path / "loop.nii")
    with pytest.raises(FileNotFoundError, match="c.nii: no such file"):
        read_image(tmp_path / "c.nii")


PICTURES = (".png", ".jpg", ".bmp", ".tif")
WRITTEN = (".nii", ".nii.gz", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl", *PICTURES)


@pytest.mark.parametrize("ending", WRITTEN)
def test_every_format_that_itk_writes_is_known(tmp_path, ending):
    array = PICTURE if ending in PICTURES else VOLUME
    kind = kind_of(write(tmp_path / f"a{ending}", array))
    assert ending in kind.endings and not kind.remedy


def test_writers_besides_itk(tmp_path):
    nrrd.write(str(tmp_path / "a.nrrd"), VOLUME)
    assert kind_of(tmp_path / "a.nrrd").name == "NRRD"
    nibabel.save(nibabel.Nifti1Pair(VOLUME, np.eye(4)), tmp_path / "a.hdr")
    assert "NIfTI-1 pair" in kind_of(tmp_path / "a.hdr").name
    nibabel.save(nibabel.AnalyzeImage(VOLUME, np.eye(4)), tmp_path / "b.hdr")
    assert "Analyze" in kind_of(tmp_path / "b.hdr").name
    for big in (False, True):
        tifffile.imwrite(tmp_path / "a.tif", PICTURE, bigtiff=big, byteorder=">")
        assert kind_of(tmp_path / "a.tif").name == "a TIF picture"
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as file:
        file.add(tmp_path / "a.tif")
    assert kind_of(tmp_path / "a.tar.gz").unknown


def test_hidden_files_are_passed_over(tmp_path):
    visible = tmp_path / "sub" / "a.nii.gz"
    for name in ("._a.nii.gz", ".DS_Store", "Thumbs.db", "a.nii.gz"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        (tmp_path / "sub" / name).write_bytes(b"x")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "a.nii.gz").write_bytes(b"x")
    assert files_below(tmp_path) == files_in(tmp_path / "sub") == [visible]
    assert not is_hidden(visible.relative_to(tmp_path))


@pytest.mark.parametrize("line", ["0029|{k:04d} = {a}\n", "Segment{k}_Name:={a}\n"])
@pytest.mark.parametrize("attached", [True, False])
def test_long_headers_that_name_another_file_at_their_end(tmp_path, line, attached):
    """A header alone that is handed on as if it held its voxels is no image."""
    more = "".join(line.format(k=k, a="a" * 300) for k in range(30))
    voxels = bytes(range(24))
    if line.startswith("0"):
        text = f"NDims = 3\n{more}DimSize = 4 3 2\nElementType = MET_UCHAR\n"
        text += f"ElementDataFile = {'LOCAL' if attached else 'a.raw'}\n"
        kinds = META, DETACHED_META
    else:
        text = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n{more}"
        text += "\n" if attached else "data file: a.raw\n"
        kinds = NRRD, DETACHED_NRRD
    path = tmp_path / ("a.mha" if META in kinds else "a.nrrd")
    path.write_bytes(text.encode() + voxels * attached)
    (tmp_path / "a.raw").write_bytes(voxels)
    assert kind_of(path) == kinds[not attached]
    assert sitk.GetArrayFromImage(read_image(path)).sum() == sum(voxels)
