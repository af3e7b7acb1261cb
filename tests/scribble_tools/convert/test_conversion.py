"""The converters' common core: bytes kept, formats, channels, and all or nothing."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from scribble_tools.convert.conversion import write_scribble_dataset
from scribble_tools.convert.source import Source, SourceCase
from scribble_tools.convert.target import Target
from scribble_tools.dataset.label_mapping import LabelMapping
from scribble_tools.images.image_files import count_channels, dataset_file_ending
from scribble_tools.images.image_io import read_image
from scribble_tools.images.label_files import GridRules, read_on_grid
from scribble_tools.images.mismatches import GridMismatch

SHAPE = (3, 6, 5)
LABELS = LabelMapping({"background": (5,), "RV": (1,)}, (0,))


def write(path, array, spacing=(1.5, 1.25, 8.0), vector=False):
    image = sitk.GetImageFromArray(np.asarray(array), isVector=vector)
    image.SetSpacing(spacing[: image.GetDimension()] + (1.0,) * (image.GetDimension() - 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def make_image(shape=SHAPE, seed=0, dtype=np.int16):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def make_scribble(shape=SHAPE):
    scribble = np.zeros(shape, np.uint8)
    scribble.flat[:3] = (5, 1, 1)
    return scribble


def make_cases(folder, endings=(".nii.gz", ".nii.gz"), label_ending=".nii.gz", shape=SHAPE):
    cases = []
    for k, ending in enumerate(endings):
        image = write(folder / "images" / f"c{k}{ending}", make_image(shape, k))
        label = write(folder / "labels" / f"c{k}{label_ending}", make_scribble(shape))
        cases.append(SourceCase(f"c{k}", f"p{k}", (image,), label))
    return cases


def source_of(cases, channels=1, **options):
    names = {str(k): f"channel{k}" for k in range(channels)}
    return Source("test", cases, LABELS, names, **options)


def convert(tmp_path, source, **options):
    return write_scribble_dataset(source, Target(tmp_path / "raw", 7, "X", **options))


def problems_of(tmp_path, source):
    with pytest.raises(ValueError) as error:
        convert(tmp_path, source)
    assert not (tmp_path / "raw").exists() or list((tmp_path / "raw").iterdir()) == []
    return str(error.value)


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


# --- which files come out --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "ending"),
    [
        ("a.nii.gz b.NII.GZ", ".nii.gz"),
        ("a.nrrd b.nrrd", ".nrrd"),
        ("a.mha", ".mha"),
        ("a.nrrd b.nii.gz", ".nii.gz"),
        ("a.nii", ".nii.gz"),
        ("a.mhd", ".nii.gz"),
        ("a.png b.PNG", ".png"),
        ("a.tif b.tiff", ".tif"),
        ("a.tif b.png", ".png"),
        ("a.jpg", ".png"),
        ("a.bmp", ".png"),
        ("a.png b.nrrd", ".nii.gz"),
    ],
)
def test_ending_of_the_data_set(names, ending):
    assert dataset_file_ending([Path(name) for name in names.split()]) == ending


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".NII.GZ"])
def test_volumes_are_copied_byte_for_byte(tmp_path, ending):
    cases = make_cases(tmp_path, (".nii.gz", ".nii.gz") if ending.isupper() else (ending, ending))
    if ending.isupper():
        renamed = cases[0].images[0].with_name("C0.NII.GZ")
        cases[0].images[0].rename(renamed)
        cases[0] = SourceCase("c0", "p0", (renamed,), cases[0].scribble)
    folder = convert(tmp_path, source_of(cases))
    for case in cases:
        copied = folder / "imagesTr" / f"{case.name}_0000{ending.lower()}"
        assert copied.read_bytes() == case.images[0].read_bytes()
        image, label = (
            sitk.ReadImage(str(p))
            for p in (copied, folder / "labelsTr" / f"{case.name}{ending.lower()}")
        )
        for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(image, name)() == pytest.approx(getattr(label, name)())
        expected = np.full(SHAPE, 2)
        expected.flat[:3] = (0, 1, 1)
        assert np.array_equal(sitk.GetArrayFromImage(label), expected)


def test_plain_nifti_is_packed_and_nothing_else_changes(tmp_path):
    cases = make_cases(tmp_path, (".nii", ".nii"))
    packed = convert(tmp_path, source_of(cases)) / "imagesTr" / "c0_0000.nii.gz"
    assert gzip.decompress(packed.read_bytes()) == cases[0].images[0].read_bytes()
    first = packed.read_bytes()
    time.sleep(1.1)  # gzip would write down the second
    convert(tmp_path, source_of(cases), overwrite=True)
    assert packed.read_bytes() == first


def test_mixed_endings_keep_values_and_geometry(tmp_path):
    cases = make_cases(tmp_path, (".nrrd", ".mha", ".nii.gz"))
    folder = convert(tmp_path, source_of(cases))
    for k, case in enumerate(cases):
        written = folder / "imagesTr" / f"c{k}_0000.nii.gz"
        assert np.array_equal(read(written), make_image(seed=k))
        assert sitk.ReadImage(str(written)).GetSpacing() == pytest.approx((1.5, 1.25, 8.0))
        same = written.read_bytes() == case.images[0].read_bytes()
        assert same == (k == 2)


@pytest.mark.parametrize(
    ("ending", "header"),
    [
        (".nrrd", "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 5 6 3\nencoding: raw\n"
                  "data file: p.raw\n"),
        (".mha", "NDims = 3\nDimSize = 5 6 3\nElementType = MET_UCHAR\nElementDataFile = p.raw\n"),
    ],
)  # fmt: skip
def test_voxels_in_a_file_of_their_own_come_along(tmp_path, ending, header):
    array = make_image(dtype=np.uint8)
    image = tmp_path / "images" / f"c0{ending}"
    image.parent.mkdir()
    image.write_text(header)
    (tmp_path / "images" / "p.raw").write_bytes(array.tobytes())
    label = write(tmp_path / "labels" / f"c0{ending}", make_scribble(), (1.0, 1.0, 1.0))
    folder = convert(tmp_path, source_of([SourceCase("c0", "p0", (image,), label)]))
    assert np.array_equal(read(folder / "imagesTr" / f"c0_0000{ending}"), array)


# --- channels --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["4D NIfTI", "vector NRRD"])
def test_channels_in_one_file_are_taken_apart(tmp_path, kind):
    array = make_image((2, *SHAPE))
    if kind == "4D NIfTI":
        path = write(tmp_path / "c.nii.gz", array)
    else:
        path = write(tmp_path / "c.nrrd", np.moveaxis(array, 0, -1), vector=True)
    assert count_channels(path) == 2
    case = SourceCase("c", "p", (path,), write(tmp_path / "l.nii.gz", make_scribble()))
    folder = convert(tmp_path, source_of([case], 2))
    ending = ".nii.gz" if kind == "4D NIfTI" else ".nrrd"
    for k in range(2):
        assert np.array_equal(read(folder / "imagesTr" / f"c_{k:04d}{ending}"), array[k])
    assert len(list((folder / "imagesTr").iterdir())) == 2


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    path = write(tmp_path / "c.nrrd", make_image((1, *SHAPE)))
    case = SourceCase("c", "p", (path,), write(tmp_path / "l.nii.gz", make_scribble()))
    written = convert(tmp_path, source_of([case])) / "imagesTr" / "c_0000.nrrd"
    assert sitk.ReadImage(str(written)).GetDimension() == 3


def test_wrong_numbers_of_channels_and_axes_are_named(tmp_path):
    label = write(tmp_path / "l.nii.gz", make_scribble())
    film = write(tmp_path / "film.nii.gz", make_image((4, *SHAPE)))
    five = write(tmp_path / "five.nii.gz", make_image((2, 4, *SHAPE)))
    plain = write(tmp_path / "plain.nii.gz", make_image())
    shifted = write(tmp_path / "shifted.nii.gz", make_image(), spacing=(2.0, 2.0, 8.0))
    cases = [
        SourceCase("film", "a", (film,), label),
        SourceCase("five", "b", (five,), label),
        SourceCase("pair", "c", (plain, shifted), label),
        SourceCase("one", "d", (plain,), label),
    ]
    message = problems_of(tmp_path, source_of(cases, 2))
    assert message.startswith("4 problems, nothing written")
    for words in (
        "film.nii.gz: 4 channels, expected 2 (channel0, channel1)",
        "five.nii.gz has 5 dimensions, expected 2 or 3",
        "shifted.nii.gz and",
        "differ in spacing",
        "plain.nii.gz: 1 channel, expected 2 (channel0, channel1). Every case needs the same ones",
    ):
        assert words in message


def test_2d_and_3d_images_are_not_mixed(tmp_path):
    cases = make_cases(tmp_path)
    flat = make_cases(tmp_path / "flat", (".mha",), shape=(6, 5))
    case = SourceCase("flat", "f", flat[0].images, write(tmp_path / "l.mha", make_scribble((6, 5))))
    message = problems_of(tmp_path, source_of([*cases, case]))
    assert "different dimensions: 2 (" in message
    assert "c0.nii.gz). Convert them apart" in message


# --- pictures --------------------------------------------------------------------------------


def save(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path)
    return path


def picture_case(folder, name, array, label_ending=".png"):
    image = save(folder / name, array)
    label = save(folder / f"{image.stem}_label{label_ending}", make_scribble(array.shape[:2]))
    return SourceCase(image.stem, image.stem, (image,), label)


@pytest.mark.parametrize("ending", [".png", ".tif", ".PNG", ".tiff"])
def test_pictures_are_copied_byte_for_byte(tmp_path, ending):
    case = picture_case(tmp_path, f"c{ending}", make_image((6, 5, 3), dtype=np.uint8))
    folder = convert(tmp_path, source_of([case], 3))
    kept = ".png" if "png" in ending.lower() else ".tif"
    assert (folder / "imagesTr" / f"c_0000{kept}").read_bytes() == case.images[0].read_bytes()
    assert np.unique(np.array(Image.open(folder / "labelsTr" / f"c{kept}"))).tolist() == [0, 1, 2]
    content = json.loads((folder / "dataset.json").read_text())
    assert content["overwrite_image_reader_writer"] == "NaturalImage2DIO"


def test_jpg_and_grey_bmp_become_png(tmp_path):
    colour = make_image((6, 5, 3), dtype=np.uint8)
    one_colour = np.full((6, 5, 3), (200, 40, 90), np.uint8)  # decoders agree on it
    jpg = picture_case(tmp_path, "a.jpg", one_colour)
    folder = convert(tmp_path, source_of([jpg], 3))
    written = np.array(Image.open(folder / "imagesTr" / "a_0000.png"))
    assert np.abs(written.astype(int) - one_colour).max() <= 2
    grey = picture_case(tmp_path, "b.bmp", colour[..., 0], ".bmp")
    folder = convert(tmp_path, source_of([grey]), overwrite=True)
    written = np.array(Image.open(folder / "imagesTr" / "b_0000.png"))
    assert np.array_equal(written, colour[..., 0])


def test_colour_bmp_stays_coloured_though_it_be_grey(tmp_path):
    path = save(tmp_path / "a.bmp", np.repeat(make_image((6, 5, 1), dtype=np.uint8), 3, axis=2))
    assert read_image(path).GetNumberOfComponentsPerPixel() == 3


def test_a_palette_in_tif_is_resolved_before_nnunet_sees_bare_indices(tmp_path):
    indices = make_image((6, 5), dtype=np.uint8) % 3
    picture = Image.fromarray(indices, "P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "c.tif")
    label = save(tmp_path / "l.png", make_scribble((6, 5)))
    case = SourceCase("c", "p", (tmp_path / "c.tif",), label)
    written = convert(tmp_path, source_of([case], 3)) / "imagesTr" / "c_0000.tif"
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    array = NaturalImage2DIO().read_images([str(written)])[0]
    assert array.shape == (3, 1, 6, 5)
    assert np.array_equal(array[0, 0] > 0, indices == 1)
    assert np.array_equal(array[1, 0] > 0, indices == 2)


def test_bad_pictures_are_named(tmp_path):
    grey = make_image((6, 5), dtype=np.uint8)
    image = save(tmp_path / "i.png", grey)
    pages = [Image.fromarray(grey)] * 3
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    palette = Image.fromarray(make_scribble((6, 5)), "P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "palette.png")
    save(tmp_path / "rgb.png", np.repeat(grey[..., None], 3, axis=2))
    save(tmp_path / "lossy.jpg", grey)
    save(tmp_path / "small.png", grey[:4])
    label = save(tmp_path / "l.png", make_scribble((6, 5)))
    (tmp_path / "broken.png").write_bytes(b"none")
    cases = [
        SourceCase("pages", "a", (tmp_path / "pages.tif",), label),
        *(
            SourceCase(name, name, (image,), tmp_path / name)
            for name in ("palette.png", "rgb.png", "lossy.jpg", "small.png", "broken.png", "none")
        ),
    ]
    message = problems_of(tmp_path, source_of(cases))
    assert message.startswith("7 problems, nothing written")
    for words in (
        "pages.tif has 3 pages, of which nnU-Net reads one",
        "palette.png is a picture with a palette (#000000",
        "rgb.png is a picture in colours",
        "lossy.jpg: JPG changes label numbers",
        f"small.png (image: {image}) does not lie on its image's voxel grid: "
        "size (5, 4) against (5, 6)",
        "broken.png cannot be read as an image",
        "none: no such file",
    ):
        assert words in message


def test_pictures_and_labels_of_64_bits(tmp_path):
    image = tmp_path / "c.tif"
    tifffile.imwrite(image, make_image((6, 5)).astype(np.float64))
    tifffile.imwrite(tmp_path / "l.tif", make_scribble((6, 5)).astype(np.int64))
    folder = convert(tmp_path, source_of([SourceCase("c", "p", (image,), tmp_path / "l.tif")]))
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    array = NaturalImage2DIO().read_images([str(folder / "imagesTr" / "c_0000.tif")])[0]
    assert np.array_equal(array[0, 0], make_image((6, 5)))
    labels = tifffile.imread(folder / "labelsTr" / "c.tif")
    assert labels.dtype == np.uint8 and np.unique(labels).tolist() == [0, 1, 2]


def test_a_format_that_cannot_hold_an_image_is_named(tmp_path):
    float_tif = save(tmp_path / "f.tif", make_image((6, 5)).astype(np.float32))
    cases = [
        picture_case(tmp_path, "a.png", make_image((6, 5), dtype=np.uint8)),
        SourceCase("f", "f", (float_tif,), save(tmp_path / "l.png", make_scribble((6, 5)))),
    ]
    assert "f.tif cannot be written as .png" in problems_of(tmp_path, source_of(cases))


# --- labels ----------------------------------------------------------------------------------


def test_resampled_labels_do_not_invent_any_outside_their_grid(tmp_path):
    image = sitk.ReadImage(str(write(tmp_path / "i.nii.gz", make_image((2, 6, 6)))))
    label = write(tmp_path / "l.nii.gz", np.ones((2, 3, 3), np.uint8), (1.5, 1.25, 8.0))
    with pytest.raises(GridMismatch, match="voxel grid: it has size"):
        read_on_grid(label, image)
    for outside in (4, -1, 300):
        expected = np.full((2, 6, 6), outside)
        expected[:, :3, :3] = 1
        labels = read_on_grid(label, image, None, GridRules(resample=True), outside)
        assert np.array_equal(labels, expected)
    flat = write(tmp_path / "flat.mha", np.ones((6, 6), np.uint8))
    with pytest.raises(ValueError, match="has 2 dimensions and 1 slices, its image 3 and 2"):
        read_on_grid(flat, image, None, GridRules(resample=True))


def test_dense_labels_must_be_the_scribbles_classes(tmp_path):
    other = LabelMapping({"background": (0,), "LV": (1,)})
    with pytest.raises(ValueError, match="'LV'.*must be the scribbles' in their order.*'RV'"):
        convert(tmp_path, source_of(make_cases(tmp_path), dense_labels=other))


def test_dense_files_may_be_read_in_their_own_way(tmp_path):
    case = make_cases(tmp_path, (".nii.gz",))[0]
    case = SourceCase(case.name, case.patient, case.images, case.scribble, case.scribble)
    source = source_of(
        [case],
        dense_labels=LabelMapping({"background": (0,), "RV": (7,)}),
        read_dense=lambda path, image, image_path: np.full(SHAPE, 7),
        record={"remark": "x"},
    )
    folder = convert(tmp_path, source)
    assert (read(folder / "labelsTr_dense" / "c0.nii.gz") == 1).all()
    assert set(np.unique(read(folder / "labelsTr" / "c0.nii.gz"))) == {0, 1, 2}
    assert json.loads((folder / "conversion.json").read_text())["remark"] == "x"


def test_cases_without_scribble_need_mixed(tmp_path):
    cases = make_cases(tmp_path)
    bare = SourceCase("bare", "b", cases[0].images)
    message = problems_of(tmp_path, source_of([*cases, bare], mixed=False))
    assert "c0.nii.gz: nothing is annotated; leave it out, or say --mixed" in message
    folder = convert(tmp_path, source_of([*cases, bare], mixed=True))
    assert (read(folder / "labelsTr" / "bare.nii.gz") == 2).all()


# --- all or nothing --------------------------------------------------------------------------

SLOW = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.scribble_tools.convert.test_conversion import (
    convert, make_cases, read_on_grid, source_of
)
folder = Path(sys.argv[1])
def read(path, image, image_path):
    if path.name.startswith("c1"):
        (folder / "reached").touch()
        time.sleep(60)
    return read_on_grid(path, image)
convert(folder, source_of(make_cases(folder), read_labels=read), num_processes=1)
"""


@pytest.mark.slow
def test_a_killed_conversion_leaves_no_data_set_and_can_be_run_again(tmp_path):
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen([sys.executable, "-c", SLOW.format(root=root), str(tmp_path)])
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "reached").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        written = list((tmp_path / "raw").rglob("c0_0000.nii.gz"))
    finally:
        process.kill()
        process.wait()
    assert len(written) == 1  # it was in the middle
    assert not list((tmp_path / "raw").glob("Dataset*"))
    folder = convert(tmp_path, source_of(make_cases(tmp_path)))
    assert sorted(p.name for p in (folder / "labelsTr").iterdir()) == ["c0.nii.gz", "c1.nii.gz"]
