"""Files as people have them: read right, or refused with what to do; never silently wrong."""

import gzip
import struct
import unicodedata

import nibabel
import numpy as np
import pytest
import tifffile

from scribble_tools import cli
from tests.scribble_tools.convert.people_files import (
    NAMES,
    SHAPE,
    almost_integers,
    assert_converted,
    dicom,
    image_of,
    names_in_other_forms,
    nifti2,
    packed_as_nii,
    picture_strokes,
    refusal,
    save,
    shared_values,
    sheared,
    strokes,
    tiles,
    trailing_bytes,
    turned,
    two_layers,
    unpacked,
    write,
    write_images,
)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_nan_in_labels_is_refused_or_unlabelled(tmp_path, capsys, ending):
    write_images(tmp_path)
    labels = strokes().astype(np.float32)
    labels[:, :2] = np.nan
    for name in NAMES:
        write(tmp_path / "scribbles" / f"{name}{ending}", labels)
    message = refusal(tmp_path, capsys)
    for name in NAMES:
        assert f"{name}{ending} holds {4 * 2 * 30} NaN voxels of {labels.size}" in message
    assert "--nan unlabelled" in message
    assert_converted(tmp_path, "--nan", "unlabelled")
    # and without any other value that means unlabelled
    for name in NAMES:
        path = tmp_path / "scribbles" / f"{name}{ending}"
        write(path, np.where(strokes() == 0, np.nan, strokes()).astype(np.float32))
    assert_converted(tmp_path, "--nan", "unlabelled", "--overwrite", unlabelled=())
    labels[0, 0, 0] = np.inf
    write(tmp_path / "scribbles" / f"{NAMES[0]}{ending}", labels)
    (tmp_path / "raw").rename(tmp_path / "elsewhere")
    message = refusal(tmp_path, capsys, "--nan", "unlabelled")
    assert "case_1" in message and "1 infinite voxel:" in message


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".tif"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_with_nan_or_infinity_are_refused(tmp_path, capsys, ending, value):
    labels = picture_strokes() if ending == ".tif" else strokes()
    for name in NAMES:
        array = image_of(labels).astype(np.float32)
        array[..., 5, 5:8] = value
        if ending == ".tif":
            (tmp_path / "images").mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / "images" / f"{name}.tif", array)
            save(tmp_path / "scribbles" / f"{name}.png", labels)
        else:
            write(tmp_path / "images" / f"{name}{ending}", array)
            write(tmp_path / "scribbles" / f"{name}{ending}", labels)
    message = refusal(tmp_path, capsys)
    number = 3 * (1 if ending == ".tif" else SHAPE[0])
    for name in NAMES:
        assert f"{name}{ending} holds {number} voxels that are NaN or infinite" in message


def test_labels_near_integers_are_rounded(tmp_path):
    almost_integers(tmp_path)
    assert_converted(tmp_path)


def test_labels_that_are_no_integers_are_shown_with_their_digits(tmp_path, capsys):
    write_images(tmp_path)
    labels = strokes() * (1 - 2**-6)
    write(tmp_path / "scribbles" / "case_1.nii.gz", labels)
    # stored as integers with a scale factor, as some programs save what they read as floats
    path = write(tmp_path / "scribbles" / "case_2.nii", strokes())
    header = bytearray(path.read_bytes())
    struct.pack_into("<2f", header, 112, 0.3, 0.0)
    path.write_bytes(header)
    message = refusal(tmp_path, capsys)
    assert "such as 0.984375, 1.96875, 2.953125: is it an image" in message
    assert "case_2.nii holds" in message and "multiplies what is stored by 0.3" in message


@pytest.mark.parametrize("scale", [1 / 255, 2.0])
def test_scale_factors_that_give_integers_are_followed(tmp_path, scale):
    write_images(tmp_path)
    for name in NAMES:
        stored = np.round(strokes() / scale).astype(np.int16)
        path = write(tmp_path / "scribbles" / f"{name}.nii", stored if scale < 1 else strokes())
        header = bytearray(path.read_bytes())
        struct.pack_into("<2f", header, 112, scale, 0.0)
        path.write_bytes(header)
    values = (3, 1, 2) if scale < 1 else (6, 2, 4)
    words = [
        f"{name}={value}" for name, value in zip(("background", "A", "B"), values, strict=True)
    ]
    assert_converted(tmp_path, labels=words)


@pytest.mark.parametrize("make", [unpacked, packed_as_nii, trailing_bytes, names_in_other_forms])
def test_read_as_it_is(tmp_path, make):
    make(tmp_path)
    folder = assert_converted(tmp_path)
    assert cli.main(["check", str(folder), "-np", "1"]) == 0
    for path in (folder / "imagesTr").iterdir():
        nibabel.load(path).get_fdata()  # which is stricter than ITK
        assert path.name == unicodedata.normalize("NFC", path.name)


def test_tiles_are_one_channel(tmp_path):
    tiles(tmp_path)
    folder = assert_converted(tmp_path, expected=picture_strokes())
    image = tifffile.imread(folder / "imagesTr" / "case_1_0000.tif")
    assert image.shape == SHAPE[1:] and image.dtype == np.uint16


@pytest.mark.parametrize(
    ("make", "words", "files"),
    [
        (nifti2, ["NIfTI-2", "Nifti1Image"], 4),
        (sheared, ["sheared", "y and z at 106.699 degrees", "set_qform"], 4),
        (turned, ["EXIF orientation 3", "auto-orient"], 2),
        (two_layers, ["holds 2 layers", ".seg.nrrd", "one layer"], 2),
        (shared_values, ["A and B have the same value 1 in the same layer 0"], 2),
        (dicom, ["6 files are DICOM", "dcm2niix", "3D Slicer"], 0),
    ],
)
def test_refused_by_name_with_the_remedy_and_all_at_once(tmp_path, capsys, make, words, files):
    make(tmp_path)
    message = refusal(tmp_path, capsys)
    assert all(word in message for word in words)
    assert message.count(words[0]) == (files if 0 < files < 3 else 1)
    named = [str(path) for path in tmp_path.rglob("case_?.*") if str(path) in message]
    assert len(named) == files


def test_the_first_remedy_for_a_sheared_image_works(tmp_path):
    sheared(tmp_path)
    for path in tmp_path.rglob("*.nii.gz"):
        image = nibabel.load(path)
        image = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
        image.set_qform(image.affine, 1)
        image.set_sform(None, 0)
        nibabel.save(image, path)
    assert_converted(tmp_path)


def test_all_faulty_cases_at_once_though_the_first_image_cannot_be_opened(tmp_path, capsys):
    write_images(tmp_path)
    for k, name in enumerate(NAMES):
        (tmp_path / "images" / f"{name}.nii.gz").write_bytes(b"none")
        write(tmp_path / "scribbles" / f"{name}.nii.gz", strokes() + np.float32(0.5 * k))
    message = refusal(tmp_path, capsys)
    assert "3 problems, nothing written" in message
    assert message.count("of no known image format") == 2 and "case_2.nii.gz holds" in message


def test_a_packed_file_is_not_packed_twice(tmp_path):
    unpacked(tmp_path)
    folder = assert_converted(tmp_path)
    for path in (folder / "imagesTr").iterdir():
        assert gzip.decompress(path.read_bytes())[:2] != b"\x1f\x8b"
