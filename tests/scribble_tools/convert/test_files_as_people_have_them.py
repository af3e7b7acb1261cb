"""Files as people have them: read right, or refused with what to do; never silently wrong.

Each case is built here in small, and what `inspect` prints is then given to `convert`.
"""

import gzip
import os
import shlex
import struct
import unicodedata

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from scribble_tools import cli

SHAPE = (4, 24, 30)  # z, y, x
SPACING = (1.5, 1.5, 4.0)
NAMES = ("case_1", "case_2")


def strokes(shape=SHAPE):
    """0 unlabelled, 1 and 2 classes, 3 background: lines that inspect takes for scribbles."""
    labels = np.zeros(shape, np.uint8)
    labels[..., 3, 2:-2] = labels[..., -4, 2:-2] = labels[..., 3:-3, 2] = 3
    labels[..., 10, 8:14] = 1
    labels[..., 14, 16:22] = 2
    return labels


def picture_strokes():
    return strokes(SHAPE[1:])


def image_of(labels, seed=0):
    """Bright under class 1, so that a flip is seen."""
    noise = np.random.default_rng(seed).integers(40, 80, labels.shape)
    return np.where(labels == 1, 180, noise).astype(np.uint8)


def write(path, array, spacing=SPACING, origin=(20.0, -10.0, 30.0), direction=None):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[: array.ndim])
    image.SetOrigin(origin[: array.ndim])
    if direction:
        image.SetDirection(direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def write_images(root, ending=".nii.gz", **options):
    for k, name in enumerate(NAMES):
        write(root / "images" / f"{name}{ending}", image_of(strokes(), k), **options)


def write_pictures(root, ending=".png"):
    for k, name in enumerate(NAMES):
        save(root / "images" / f"{name}{ending}", image_of(picture_strokes(), k))


def write_seg(path, labels, values, crop=False, plain_header=None):
    """A segmentation of 3D Slicer: ``values`` is name to value in the file."""
    source = {"A": 1, "B": 2, "Background": 3}
    array = np.zeros(labels.shape, np.uint8)
    for name, value in values.items():
        array[labels == source[name]] = value
    low = np.argwhere(array).min(0) if crop else np.zeros(3, int)
    high = np.argwhere(array).max(0) + 1 if crop else labels.shape
    array = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    header = {
        "space": "left-posterior-superior",
        "kinds": ["domain"] * 3,
        "space directions": np.diag(SPACING).tolist(),
        "space origin": (np.array((20.0, -10.0, 30.0)) + low[::-1] * SPACING).tolist(),
        **(plain_header or {}),
    }
    for k, (name, value) in enumerate(values.items()):
        header |= {f"Segment{k}_Name": name, f"Segment{k}_LabelValue": str(value)}
        header[f"Segment{k}_Layer"] = "0"
    path.parent.mkdir(parents=True, exist_ok=True)
    nrrd.write(str(path), array.transpose(2, 1, 0), header)


def convert(root, *words, labels=("background=3", "A=1", "B=2"), unlabelled=("0",)):
    arguments = [
        "convert",
        "folder",
        "--images",
        root / "images",
        "--scribbles",
        root / "scribbles",
    ]
    arguments += ["--labels", *labels, *(("--unlabelled", *unlabelled) if unlabelled else ())]
    arguments += ["--dataset-id", "900", "--name", "T", "--out", root / "raw", "-np", "1", *words]
    code = cli.main([str(word) for word in arguments])
    return code, root / "raw" / "Dataset900_T"


def refusal(root, capsys, *words, **options):
    code, folder = convert(root, *words, **options)
    assert code == 1 and not folder.exists()
    return capsys.readouterr().err


def labels_in(folder):
    return [
        sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        for path in sorted((folder / "labelsTr").iterdir())
    ]


def in_nnunet(labels):
    return np.array([3, 1, 2, 0])[labels]


def assert_converted(root, *words, expected=None, **options):
    code, folder = convert(root, *words, **options)
    assert code == 0
    found = labels_in(folder)
    wanted = in_nnunet(strokes() if expected is None else expected)
    assert len(found) == len(NAMES)
    assert all(np.array_equal(own, wanted) for own in found)
    return folder


# --- what each kind of file becomes ----------------------------------------------------------


def nan_labels(root):
    write_images(root)
    labels = strokes().astype(np.float32)
    labels[:, :2] = np.nan
    for name in NAMES:
        write(root / "scribbles" / f"{name}.nii.gz", labels)


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
    assert "case_1" in message and "1 infinite voxels" in message


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


def almost_integers(root):
    write_images(root)
    for name, dtype in zip(NAMES, (np.float64, np.float32), strict=True):
        noise = np.random.default_rng(0).uniform(-9e-4, 9e-4, SHAPE)
        write(root / "scribbles" / f"{name}.nii.gz", (strokes() + noise).astype(dtype))


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


def unpacked(root):
    write_images(root)
    for name in NAMES:
        path = write(root / "scribbles" / f"{name}.nii", strokes())
        path.rename(path.with_suffix(".nii.gz"))


def packed_as_nii(root):
    write_images(root)
    for folder in ("images", "scribbles"):
        for name in NAMES:
            path = write(root / folder / f"{name}.nii.gz", image_of(strokes()))
            path.rename(path.with_suffix(""))
    for name in NAMES:
        path = write(root / "scribbles" / f"{name}.nii.gz", strokes())
        path.rename(path.with_suffix(""))


def trailing_bytes(root):
    write_images(root)
    for name in NAMES:
        path = write(root / "scribbles" / f"{name}.nii.gz", strokes())
        path.write_bytes(path.read_bytes() + b"after the end")


def names_in_other_forms(root):
    for k, name in enumerate(("Müller_1", "José_2")):
        forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
        write(root / "images" / f"{forms[k % 2]}.nii.gz", image_of(strokes(), k))
        write(root / "scribbles" / f"{forms[1 - k % 2]}.nii.gz", strokes())


@pytest.mark.parametrize("make", [unpacked, packed_as_nii, trailing_bytes, names_in_other_forms])
def test_read_as_it_is(tmp_path, make):
    make(tmp_path)
    folder = assert_converted(tmp_path)
    assert cli.main(["check", str(folder), "-np", "1"]) == 0
    for path in (folder / "imagesTr").iterdir():
        nibabel.load(path).get_fdata()  # which is stricter than ITK
        assert path.name == unicodedata.normalize("NFC", path.name)


def tiles(root):
    for folder in ("images", "scribbles"):
        (root / folder).mkdir(parents=True)
    for k, name in enumerate(NAMES):
        image = image_of(picture_strokes(), k).astype(np.uint16) * 9
        tifffile.imwrite(root / "images" / f"{name}.tif", image, tile=(16, 16))
        tifffile.imwrite(root / "scribbles" / f"{name}.tif", picture_strokes(), tile=(16, 16))


def test_tiles_are_one_channel(tmp_path):
    tiles(tmp_path)
    folder = assert_converted(tmp_path, expected=picture_strokes())
    image = tifffile.imread(folder / "imagesTr" / "case_1_0000.tif")
    assert image.shape == SHAPE[1:] and image.dtype == np.uint16


def one_slice(root, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), flip=(), origin=(0.0, 0.0, 0.0)):
    write_pictures(root)
    labels = np.flip(picture_strokes(), flip)[None]
    for name in NAMES:
        path = root / "scribbles" / f"{name}.nii.gz"
        write(path, labels, (1.0, 1.0, 1.0), origin, [float(v) for v in direction])


def slicer_on_pictures(root):
    write_pictures(root)
    for name in NAMES:
        path = root / "scribbles" / f"{name}.seg.nrrd"
        values = {"A": 1, "Background": 2, "B": 3}
        header = {"space directions": np.eye(3).tolist(), "space origin": [0.0, 0.0, 0.0]}
        write_seg(path, picture_strokes()[None], values, plain_header=header)


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


ORDERS = ({"A": 1, "B": 2, "Background": 3}, {"Background": 1, "A": 2, "B": 3})


def slicer_header(root, orders=ORDERS):
    write_images(root, ".nrrd")
    for name, values in zip(NAMES, orders, strict=True):
        write_seg(root / "scribbles" / f"{name}.nrrd", strokes(), values)


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


def two_layers(root):
    write_images(root, ".nrrd")
    layers = np.stack([strokes() == 1, strokes() == 2]).astype(np.uint8)
    header = {
        "space": "left-posterior-superior",
        "kinds": ["vector", "domain", "domain", "domain"],
        "space directions": [[np.nan] * 3, *np.diag(SPACING).tolist()],
        "space origin": [20.0, -10.0, 30.0],
    }
    (root / "scribbles").mkdir(parents=True)
    for name in NAMES:
        nrrd.write(str(root / "scribbles" / f"{name}.nrrd"), layers.transpose(0, 3, 2, 1), header)


def shared_values(root):
    write_images(root, ".nrrd")
    for name in NAMES:
        values = {"A": 1, "B": 1, "Background": 3}
        write_seg(root / "scribbles" / f"{name}.seg.nrrd", strokes(), values)


def nifti2(root):
    for folder, array in (("images", image_of(strokes())), ("scribbles", strokes())):
        (root / folder).mkdir(parents=True)
        for name in NAMES:
            image = nibabel.Nifti2Image(array.T, np.diag((*SPACING, 1)))
            nibabel.save(image, root / folder / f"{name}.nii.gz")


SHEAR = np.array([[-1.5, 0, 0, 20], [0, -1.5, 1.2, 30], [0, 0, 4, -10], [0, 0, 0, 1]])


def sheared(root):
    for folder, array in (("images", image_of(strokes())), ("scribbles", strokes())):
        (root / folder).mkdir(parents=True)
        for name in NAMES:
            nibabel.save(nibabel.Nifti1Image(array.T, SHEAR), root / folder / f"{name}.nii.gz")


def dicom(root):
    for name in NAMES:
        write(root / "scribbles" / f"{name}.nii.gz", strokes())
        (root / "images" / name).mkdir(parents=True)
        head = struct.pack("<HH2sH", 8, 5, b"CS", 10) + b"ISO_IR 100"
        for k in range(3):
            content = bytes(128) + b"DICM" + head if k else head + bytes(400)
            (root / "images" / name / f"IM{k:04d}{'.dcm' * (k == 1)}").write_bytes(content)


def turned(root):
    write_pictures(root, ".jpg")
    exif = Image.Exif()
    exif[274] = 3
    for name in NAMES:
        save(root / "images" / f"{name}.jpg", image_of(picture_strokes()), exif=exif)
        save(root / "scribbles" / f"{name}.png", picture_strokes())


@pytest.mark.parametrize(
    ("make", "words", "files"),
    [
        (nifti2, ["NIfTI-2", "Nifti1Image"], 4),
        (sheared, ["sheared", "y and z at 106.699 degrees", "set_qform"], 4),
        (turned, ["EXIF orientation 3", "auto-orient"], 2),
        (two_layers, ["2 channels", "layers of segments", "one layer"], 2),
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


# --- grids -----------------------------------------------------------------------------------


def no_codes(root):
    """Images with neither qform nor sform; labels as nibabel saves them on these."""
    for folder in ("images", "scribbles"):
        (root / folder).mkdir(parents=True)
    for k, name in enumerate(NAMES):
        image = nibabel.Nifti1Image(image_of(strokes(), k).T, None)
        image.header.set_zooms(SPACING)
        path = root / "images" / f"{name}.nii.gz"
        nibabel.save(image, path)
        labels = nibabel.Nifti1Image(strokes().T, nibabel.load(path).affine)
        nibabel.save(labels, root / "scribbles" / f"{name}.nii.gz")


def other_form(root):
    """Images whose qform and sform disagree; labels have the one that ITK does not take."""
    for folder in ("images", "scribbles"):
        (root / folder).mkdir(parents=True)
    forms = np.diag((*SPACING, 1.0)), np.diag((-1.5, 1.5, 4.0, 1.0))
    for k, name in enumerate(NAMES):
        image = nibabel.Nifti1Image(image_of(strokes(), k).T, None)
        image.set_sform(forms[0], 1)
        image.set_qform(forms[1], 1)
        nibabel.save(image, root / "images" / f"{name}.nii.gz")
        labels = nibabel.Nifti1Image(strokes().T, forms[1])
        nibabel.save(labels, root / "scribbles" / f"{name}.nii.gz")


def library_default(root):
    write_images(root)
    for name in NAMES:
        path = root / "scribbles" / f"{name}.nii.gz"
        write(path, strokes(), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


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


def mirrored(root):
    """Labels whose voxels run the other way along x, and whose header says so."""
    write_images(root)
    origin = (20.0 + 1.5 * (SHAPE[2] - 1), -10.0, 30.0)
    direction = [-1.0, 0, 0, 0, 1, 0, 0, 0, 1]
    for name in NAMES:
        path = root / "scribbles" / f"{name}.nii.gz"
        write(path, strokes()[..., ::-1], origin=origin, direction=direction)


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


# --- what inspect prints, convert accepts ------------------------------------------------------


def masks(root):
    write_pictures(root)
    for name in NAMES:
        for value, word in ((1, "Cell"), (2, "Nucleus"), (3, "Background")):
            mask = 255 * (picture_strokes() == value).astype(np.uint8)
            save(root / "scribbles" / f"{name}-{word}-0.png", mask)


def masks_in_folders(root):
    write_images(root)
    for name in NAMES:
        for value, word in ((1, "cell"), (2, "nucleus"), (3, "BG")):
            write(
                root / "scribbles" / name / f"{word}.nii.gz", (strokes() == value).astype(np.uint8)
            )


def colours(root):
    write_pictures(root)
    table = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    for name in NAMES:
        save(root / "scribbles" / f"{name}.png", table[picture_strokes()])


def plain(ending):
    def make(root):
        if ending in (".png", ".bmp", ".tif"):
            write_pictures(root, ending)
            for name in NAMES:
                save(root / "scribbles" / f"{name}{ending}", picture_strokes())
        else:
            write_images(root, ending)
            for name in NAMES:
                write(root / "scribbles" / f"{name}{ending}", strokes())

    make.__name__ = f"plain{ending}"
    return make


def slicer_files(root):
    write_images(root, ".nrrd")
    for name, values in zip(NAMES, ORDERS, strict=True):
        write_seg(root / "scribbles" / f"{name}.seg.nrrd", strokes(), values, crop=True)


ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl", ".png", ".bmp", ".tif")
FLAT = (tiles, one_slice, slicer_on_pictures, masks, colours)
ACCEPTED = [
    *map(plain, ENDINGS), nan_labels, almost_integers, unpacked, packed_as_nii, trailing_bytes,
    tiles, one_slice, slicer_on_pictures, slicer_header, slicer_files, no_codes, other_form,
    library_default, mirrored, masks, masks_in_folders, colours, names_in_other_forms,
]  # fmt: skip


def inspected_line(root, capsys):
    capsys.readouterr()
    assert cli.main(["inspect", str(root), "-np", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return next((line.strip() for line in lines if line.startswith("  scribble_tools convert")), "")


@pytest.mark.parametrize("make", ACCEPTED, ids=lambda make: make.__name__)
def test_what_inspect_prints_is_accepted_by_convert(tmp_path, monkeypatch, capsys, make):
    make(tmp_path / "data")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    line = os.path.expandvars(inspected_line(tmp_path / "data", capsys))
    assert cli.main([*shlex.split(line)[1:], "-np", "1"]) == 0
    flat = make in FLAT or make.__name__ in ("plain.png", "plain.bmp", "plain.tif")
    labels = picture_strokes() if flat else strokes()
    for found in labels_in(tmp_path / "raw" / "Dataset100_NAME"):
        # 1 and 2 may have changed places with the order in which classes are named
        assert np.array_equal(found == 0, labels == 3)
        assert np.array_equal(found == 3, labels == 0)
        pair = [np.array_equal(found == k, labels == 1) for k in (1, 2)]
        assert sum(pair) == 1


@pytest.mark.parametrize("make", [nifti2, sheared, turned, two_layers, shared_values])
def test_inspect_prints_no_line_that_convert_would_refuse(tmp_path, capsys, make):
    make(tmp_path)
    assert inspected_line(tmp_path, capsys) == ""


def test_inspect_names_what_it_does_not_read(tmp_path, capsys):
    dicom(tmp_path)
    line = inspected_line(tmp_path, capsys)
    assert "--images IMAGES" in line  # to be filled in
    assert cli.main(["inspect", str(tmp_path)]) == 0
    assert "not read: 6 files are DICOM" in capsys.readouterr().out
    assert cli.main(["inspect", str(tmp_path / "images")]) == 1
    assert "6 files are DICOM" in capsys.readouterr().err


def test_a_packed_file_is_not_packed_twice(tmp_path):
    unpacked(tmp_path)
    folder = assert_converted(tmp_path)
    for path in (folder / "imagesTr").iterdir():
        assert gzip.decompress(path.read_bytes())[:2] != b"\x1f\x8b"
