"""Labels on another grid: which header is wrong, and no stroke is lost without a word."""

import numpy as np
import pytest

from tests.scribble_tools.convert.people_files import (
    NAMES,
    assert_converted,
    convert,
    in_nnunet,
    labels_in,
    library_default,
    mirrored,
    no_codes,
    other_form,
    refusal,
    strokes,
    write,
    write_images,
)

HEADERS = {
    no_codes: "the image has neither a qform nor an sform (qform_code 0, sform_code 0), so that "
    "every program makes up its place, and the label has the geometry that nibabel makes up for it",
    other_form: "the image has a qform and an sform that disagree (qform_code 1, sform_code 1); "
    "ITK and nnU-Net take one of them, and the label agrees with the qform",
    library_default: "the label has the geometry of a program that was told of none (1 mm from 0)",
}


@pytest.mark.parametrize("make", HEADERS)
def test_where_only_a_header_differs_the_images_is_taken_and_no_stroke_is_moved(
    tmp_path, capsys, make
):
    make(tmp_path)
    for words in ((), ("--resample",), ("--resample", "--lose-strokes")):
        message = refusal(tmp_path, capsys, *words)
        assert message.count(HEADERS[make]) == 2
        assert "--geometry image" in message
        assert ("--resample would move the strokes" in message) == bool(words)
    assert_converted(tmp_path, "--geometry", "image")
    assert "2 scribble files were laid on their images voxel by voxel" in capsys.readouterr().out


def test_voxels_in_another_order_are_put_in_order_when_asked(tmp_path, capsys):
    mirrored(tmp_path)
    message = refusal(tmp_path, capsys)
    assert "its voxels are the image's in another order (x reversed" in message
    assert "--resample brings every voxel to its place and loses none" in message
    assert_converted(tmp_path, "--resample")
    number = 2 * np.count_nonzero(strokes())
    assert f"resampled: {number} of {number} labelled voxels" in capsys.readouterr().out


def test_geometry_image_needs_the_images_size(tmp_path, capsys):
    write_images(tmp_path)
    for name in NAMES:
        write(tmp_path / "scribbles" / f"{name}.nii.gz", strokes()[:, 1:])
    message = refusal(tmp_path, capsys, "--geometry", "image")
    assert "it has size (30, 23, 4)" in message


def test_differences_are_shown_with_the_digits_that_matter(tmp_path, capsys):
    write_images(tmp_path, ".nrrd", spacing=(1.5, 1.5, 4.0))
    for name in NAMES:
        write(tmp_path / "scribbles" / f"{name}.nrrd", strokes(), (1.5, 1.5, 4.0011))
    assert "spacing [1.5, 1.5, 4.0011] against [1.5, 1.5, 4.0]" in refusal(tmp_path, capsys)


def test_resampling_that_loses_strokes_stops(tmp_path, capsys):
    write_images(tmp_path)
    far, near = tmp_path / "scribbles" / "case_1.nii.gz", tmp_path / "scribbles" / "case_2.nii.gz"
    write(far, strokes(), origin=(20.0, -10.0, 30.0 + 3 * 4.0))  # one of four slices is left
    write(near, strokes(), origin=(20.3, -10.0, 30.0))  # less than half a voxel: nothing is lost
    message = refusal(tmp_path, capsys, "--resample")
    assert "case_1.nii.gz (image:" in message and "25 % stay in their place" in message
    assert "174 of 696 of 3" not in message or "--lose-strokes" in message
    assert "case_2" not in message
    code, folder = convert(tmp_path, "--resample", "--lose-strokes")
    assert code == 0
    out = capsys.readouterr().out
    assert "2 scribble files were resampled" in out and "25 % of those in" in out
    found = labels_in(folder)
    assert np.array_equal(found[1], in_nnunet(strokes()))
    assert (found[0][:3] == 3).all() and np.array_equal(found[0][3], in_nnunet(strokes())[0])


def test_a_class_that_resampling_loses_stops_it(tmp_path, capsys):
    write_images(tmp_path)
    for name in NAMES:
        labels = strokes()
        labels[labels == 2] = 0
        labels[:, :1, :1] = 2
        shifted = (20.0 - 1.5, -10.0, 30.0)  # one column lies outside
        write(tmp_path / "scribbles" / f"{name}.nii.gz", labels, origin=shifted)
    message = refusal(tmp_path, capsys, "--resample")
    assert "0 of 4 of 2" in message
    code, _ = convert(tmp_path, "--resample", "--lose-strokes")
    assert code == 0
    assert "case_1.nii.gz: nothing is left of the label 2" in capsys.readouterr().out
