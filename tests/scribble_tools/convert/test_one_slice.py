"""Pictures that were labelled as volumes of one slice, and the reverse; flips are looked for."""

import nibabel
import numpy as np
import pytest

from scribble_tools import cli
from tests.scribble_tools.convert.people_files import (
    NAMES,
    ORDERS,
    SHAPE,
    assert_converted,
    image_of,
    one_slice,
    picture_strokes,
    refusal,
    save,
    slicer_header,
    slicer_on_pictures,
    write,
    write_pictures,
    write_seg,
)


def test_pictures_labelled_as_volumes_of_one_slice(tmp_path):
    one_slice(tmp_path)
    assert_converted(tmp_path, expected=picture_strokes())


def test_volumes_of_one_slice_labelled_as_pictures(tmp_path, capsys):
    for name in NAMES:
        write(tmp_path / "images" / f"{name}.nii.gz", image_of(picture_strokes()[None]))
        save(tmp_path / "scribbles" / f"{name}.png", picture_strokes())
    assert_converted(tmp_path, expected=picture_strokes()[None])
    (tmp_path / "raw").rename(tmp_path / "elsewhere")
    turned = {"direction": [0.0, 1, 0, 1, 0, 0, 0, 0, -1]}
    write(tmp_path / "images" / "case_1.nii.gz", image_of(picture_strokes()[None]), **turned)
    message = refusal(tmp_path, capsys)
    assert "case_1.png" in message and "axes that are turned" in message


@pytest.mark.parametrize("axis", [0, 1])
def test_a_slice_that_is_stored_in_reverse_is_turned_back(tmp_path, axis):
    signs = [1, 1, 1]
    signs[1 - axis] = -1
    origin = [0.0, 0.0, 0.0]
    origin[1 - axis] = float(SHAPE[1:][axis] - 1)
    one_slice(tmp_path, np.diag(signs).ravel(), (axis,), tuple(origin))
    assert_converted(tmp_path, expected=picture_strokes())


def test_a_slice_whose_header_is_mirrored_without_a_reason_is_refused(tmp_path, capsys):
    write_pictures(tmp_path)
    (tmp_path / "scribbles").mkdir()
    for name in NAMES:  # as people save arrays of pictures
        labels = nibabel.Nifti1Image(picture_strokes().T[..., None], np.eye(4))
        nibabel.save(labels, tmp_path / "scribbles" / f"{name}.nii.gz")
    message = refusal(tmp_path, capsys)
    assert message.count("is mirrored against its picture by its header") == 2
    assert "--geometry image" in message
    assert_converted(tmp_path, "--geometry", "image", expected=picture_strokes())


def test_pictures_labelled_in_slicer(tmp_path):
    slicer_on_pictures(tmp_path)
    words = ("background=Background", "A=A", "B=B")
    assert_converted(tmp_path, labels=words, unlabelled=(), expected=picture_strokes())


def test_a_segmentation_that_covers_a_part_of_a_picture(tmp_path):
    write_pictures(tmp_path)
    for name in NAMES:
        labels = np.where(picture_strokes() == 3, 0, picture_strokes())
        labels[20, 9:15] = 3
        low = np.argwhere(labels).min(0)
        values = {"A": 1, "Background": 2, "B": 3}
        header = {
            "space directions": np.diag((0.3, 0.3, 1)).tolist(),
            "space origin": [*(low[::-1] * 0.3), 0.0],
        }
        write_seg(tmp_path / "scribbles" / f"{name}.seg.nrrd", labels[None], values, True, header)
    words = ("background=Background", "A=A", "B=B")
    assert_converted(tmp_path, labels=words, unlabelled=(), expected=labels)


def test_a_header_of_slicer_counts_whatever_the_name(tmp_path, capsys):
    slicer_header(tmp_path)
    message = refusal(tmp_path, capsys)  # by values that mean other things in the other file
    assert "the value 3 is Background in" in message and "and B in" in message
    words = ("background=Background", "A=A", "B=B")
    assert_converted(tmp_path, labels=words, unlabelled=())


def test_values_of_slicers_header_may_be_named_where_all_files_agree(tmp_path):
    slicer_header(tmp_path, (ORDERS[0], ORDERS[0]))
    assert_converted(tmp_path)


def test_other_commands_do_not_take_slicers_values_for_labels(tmp_path, capsys):
    slicer_header(tmp_path)
    scribbles = str(tmp_path / "scribbles")
    assert cli.main(["generate", scribbles, "--out", str(tmp_path / "out"), "-np", "1"]) == 1
    message = capsys.readouterr().err
    assert "the value 1 is 'A' in" in message and "'Background' in" in message
    arguments = ["evaluate", scribbles, scribbles, "--file-ending", ".nrrd", "-np", "1"]
    assert cli.main(arguments) == 1
    assert "the value 2 is 'B' in" in capsys.readouterr().err
