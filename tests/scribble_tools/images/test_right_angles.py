"""Sheared files of any format are refused by one sentence, and what it advises works."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.images.image_io import read_image
from scribble_tools.images.right_angles import MOST_SKEW
from tests.scribble_tools.images.test_header_limits import ARRAY, META, NRRD

FIELDS = {
    ".nii": "sform has",
    ".nrrd": "space directions have",
    ".nhdr": "space directions have",
    ".mha": "TransformMatrix has",
    ".mhd": "TransformMatrix has",
}


def write(folder, ending, columns):
    """A volume whose axes are the columns, from voxel to mm, to the patient's left and back."""
    path = folder / f"case{ending}"
    if ending == ".nii":
        affine = np.eye(4)
        affine[:3, :3] = np.diag([-1, -1, 1]) @ columns
        image = nibabel.Nifti1Image(ARRAY.T, affine)
        image.set_qform(None, 0)
        nibabel.save(image, path)
        return path
    if ending in (".nrrd", ".nhdr"):
        words = " ".join(f"({','.join(map(repr, map(float, column)))})" for column in columns.T)
        text = NRRD.replace("(1,0,0) (0,1,0) (0,0,2)", words)
        text += "data file: all.raw\n" if ending == ".nhdr" else "\n"
    else:
        axes = columns / np.linalg.norm(columns, axis=0)
        words = " ".join(map(repr, map(float, axes.T.ravel())))
        text = META.replace("1 0 0 0 1 0 0 0 1", words)
        text += f"ElementDataFile = {'all.raw' if ending == '.mhd' else 'LOCAL'}\n"
    path.write_bytes(text.encode() + ARRAY.tobytes() * (ending in (".nrrd", ".mha")))
    (folder / "all.raw").write_bytes(ARRAY.tobytes())
    return path


def sheared(cosine):
    columns = np.diag([1.0, 1.0, 2.0])
    columns[:, 2] += 2 * cosine, 0, 0
    return columns


@pytest.mark.parametrize("ending", FIELDS)
def test_one_sentence_and_one_limit_for_all_formats(tmp_path, ending):
    assert read_image(write(tmp_path, ending, sheared(0.9 * MOST_SKEW))).GetSize() == (4, 3, 2)
    for cosine, angle in ((1.2 * MOST_SKEW, "89.9931"), (0.5, "63.4349"), (-0.5, "116.565")):
        path = write(tmp_path, ending, sheared(cosine))
        with pytest.raises(ValueError) as error:
            read_image(path)
        assert str(error.value).startswith(
            f"{path} is sheared: its {FIELDS[ending]} the axes x and z at {angle} degrees, but ITK "
            "and nnU-Net read right angles only. Bring the image to a grid of right angles"
        )
        remedy = "set_qform(IMAGE.affine, 1)" if ending == ".nii" else "IMAGE.SetDirection"
        assert remedy in str(error.value)


@pytest.mark.parametrize("ending", FIELDS)
def test_turned_axes_are_no_shear(tmp_path, ending):
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, -1]]) * (1, 2, 3)
    image = read_image(write(tmp_path, ending, turn))
    assert np.allclose(np.reshape(image.GetDirection(), (3, 3)), turn / (1, 2, 3), atol=1e-6)


def test_a_sheared_metaimage_of_two_axes(tmp_path):
    text = META.replace("NDims = 3", "NDims = 2").replace("1 0 0 0 1 0 0 0 1", "1 0 0.5 1")
    text = text.replace("= 0 0 0", "= 0 0").replace("1 1 2", "1 1").replace("4 3 2", "4 3")
    path = tmp_path / "case.mha"
    path.write_bytes(f"{text}ElementDataFile = LOCAL\n".encode() + ARRAY[0].tobytes())
    with pytest.raises(ValueError, match="sheared: its TransformMatrix has the axes x and y at"):
        read_image(path)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_the_directions_that_the_message_advises_are_read(tmp_path, ending):
    path = write(tmp_path, ending, sheared(0.2))
    with pytest.raises(ValueError, match="svd"):
        read_image(path)
    image = sitk.ReadImage(str(path))
    left, _, right = np.linalg.svd(np.reshape(image.GetDirection(), (3, 3)))
    image.SetDirection((left @ right).ravel())
    sitk.WriteImage(image, str(path))
    assert (sitk.GetArrayFromImage(read_image(path)) == ARRAY).all()


def test_directions_of_a_metaimage_that_hide_a_voxel_size(tmp_path):
    path = tmp_path / "case.mha"
    text = META.replace("1 0 0 0 1 0 0 0 1", "2 0 0 0 1 0 0 0 1")
    path.write_bytes(f"{text}ElementDataFile = LOCAL\n".encode() + ARRAY.tobytes())
    with pytest.raises(ValueError, match=r"case.mha .*have the lengths 2, 1, 1, and are to have 1"):
        read_image(path)


@pytest.mark.parametrize(
    ("old", "more", "said"),
    [
        ("Offset = 0 0 0\n", "Position = 1 0 0\n", "Offset = 0 0 0 and Position = 1 0 0, which"),
        ("TransformMatrix", "Rotation = 0 1 0 1 0 0 0 0 1\nTransformMatrix", "and Rotation = 0 1"),
    ],
)
def test_two_names_of_the_same_that_contradict(tmp_path, old, more, said):
    path = tmp_path / "case.mha"
    text = META.replace(old, more if more.endswith(old) else old + more)
    path.write_bytes(f"{text}ElementDataFile = LOCAL\n".encode() + ARRAY.tobytes())
    with pytest.raises(ValueError, match=said):
        read_image(path)
    text = META.replace("Offset = 0 0 0\n", "Offset = 0 0 0\nPosition = 0.0 0 0\n")
    path.write_bytes(f"{text}ElementDataFile = LOCAL\n".encode() + ARRAY.tobytes())
    assert read_image(path).GetOrigin() == (0, 0, 0)
