"""Folders of files as people have them, in small: strokes of two classes and a background."""

import struct
import unicodedata

import nibabel
import nrrd
import numpy as np
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


def nan_labels(root):
    write_images(root)
    labels = strokes().astype(np.float32)
    labels[:, :2] = np.nan
    for name in NAMES:
        write(root / "scribbles" / f"{name}.nii.gz", labels)


def almost_integers(root):
    write_images(root)
    for name, dtype in zip(NAMES, (np.float64, np.float32), strict=True):
        noise = np.random.default_rng(0).uniform(-9e-4, 9e-4, SHAPE)
        write(root / "scribbles" / f"{name}.nii.gz", (strokes() + noise).astype(dtype))


def unpacked(root):
    write_images(root)
    for name in NAMES:
        path = write(root / "scribbles" / f"{name}.nii", strokes())
        path.rename(path.with_suffix(".nii.gz"))


def packed_as_nii(root):
    write_images(root)
    for folder in ("images", "scribbles"):
        for k, name in enumerate(NAMES):
            path = write(root / folder / f"{name}.nii.gz", image_of(strokes(), k))
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


def tiles(root):
    for folder in ("images", "scribbles"):
        (root / folder).mkdir(parents=True)
    for k, name in enumerate(NAMES):
        image = image_of(picture_strokes(), k).astype(np.uint16) * 9
        tifffile.imwrite(root / "images" / f"{name}.tif", image, tile=(16, 16))
        tifffile.imwrite(root / "scribbles" / f"{name}.tif", picture_strokes(), tile=(16, 16))


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


ORDERS = ({"A": 1, "B": 2, "Background": 3}, {"Background": 1, "A": 2, "B": 3})


def slicer_header(root, orders=ORDERS):
    write_images(root, ".nrrd")
    for name, values in zip(NAMES, orders, strict=True):
        write_seg(root / "scribbles" / f"{name}.nrrd", strokes(), values)


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


def mirrored(root):
    """Labels whose voxels run the other way along x, and whose header says so."""
    write_images(root)
    origin = (20.0 + 1.5 * (SHAPE[2] - 1), -10.0, 30.0)
    direction = [-1.0, 0, 0, 0, 1, 0, 0, 0, 1]
    for name in NAMES:
        path = root / "scribbles" / f"{name}.nii.gz"
        write(path, strokes()[..., ::-1], origin=origin, direction=direction)


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


def a_folder_for_each_class(root):
    write_pictures(root)
    for name in NAMES:
        for value, word in ((1, "Cell"), (2, "Nucleus"), (3, "Background")):
            mask = 255 * (picture_strokes() == value).astype(np.uint8)
            save(root / "scribbles" / word / f"{name}.png", mask)


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


def slicer_masks(root):
    """A segmentation for each class, cropped to it."""
    write_images(root, ".nrrd")
    for name in NAMES:
        for value, word in ((1, "A"), (2, "B"), (3, "Background")):
            path = root / "scribbles" / f"{name}_{word}.seg.nrrd"
            write_seg(path, np.where(strokes() == value, value, 0), {word: 1}, crop=True)
