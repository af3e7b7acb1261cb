"""ACDC's own layout and the Valvano scribbles, made in miniature."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli
from scribble_tools.convert.acdc import acdc_source
from scribble_tools.convert.conversion import write_scribble_dataset
from scribble_tools.convert.restore_labels import read_mapping, restore_labels
from scribble_tools.convert.target import Target

SHAPE = (2, 6, 5)  # z, y, x


def write(path, array, spacing=(1.5, 1.5, 10.0), origin=(0, 0, 0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return array


def write_case(root, case, dense=True, **scribble):
    generator = np.random.default_rng(int("".join(filter(str.isdigit, case))))
    folder = root / "images" / case[:10]
    write(folder / f"{case}.nii.gz", generator.integers(0, 900, SHAPE).astype(np.int16))
    labels = generator.integers(0, 4, SHAPE).astype(np.uint8)
    labels.flat[0] = 0
    if dense:
        write(folder / f"{case}_gt.nii.gz", labels)
    strokes = np.where(generator.random(SHAPE) < 0.4, labels, 4).astype(np.uint16)
    strokes.flat[:2] = (0, 4)
    return write(root / "scribbles" / f"{case}_scribble.nii.gz", strokes, **scribble)


@pytest.fixture
def source(tmp_path):
    for patient in range(1, 7):
        for frame in (1, 12):
            write_case(tmp_path, f"patient{patient:03d}_frame{frame:02d}")
    return tmp_path


def convert(source, **options):
    target = Target(source / "raw", 27, "ACDCScribbles", **options)
    return write_scribble_dataset(acdc_source(source / "images", source / "scribbles"), target)


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_links_to_folders_are_followed_once(source):
    (source / "images").rename(source / "elsewhere")
    (source / "images").mkdir()
    for patient in (source / "elsewhere").iterdir():
        (source / "images" / patient.name).symlink_to(patient, target_is_directory=True)
    (source / "images" / "again").symlink_to(source / "images", target_is_directory=True)
    assert len(acdc_source(source / "images", source / "scribbles").cases) == 12


def test_images_are_copied_and_scribbles_keep_every_voxel(source):
    folder = convert(source)
    assert folder == source / "raw" / "Dataset027_ACDCScribbles"
    case = "patient003_frame12"
    others = [p.read_bytes() for p in (folder / "imagesTr").iterdir()]
    assert len(set(others)) == 12
    copied = folder / "imagesTr" / f"{case}_0000.nii.gz"
    original = source / "images" / "patient003" / f"{case}.nii.gz"
    assert copied.read_bytes() == original.read_bytes()
    label = sitk.ReadImage(str(folder / "labelsTr" / f"{case}.nii.gz"))
    image = sitk.ReadImage(str(copied))
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(label, name)() == pytest.approx(getattr(image, name)())
    scribble = read(source / "scribbles" / f"{case}_scribble.nii.gz")
    assert np.array_equal(sitk.GetArrayFromImage(label), scribble)
    dense = read(folder / "labelsTr_dense" / f"{case}.nii.gz")
    assert np.array_equal(dense[scribble < 4], scribble[scribble < 4])


def test_nnunet_finds_labels_ignore_and_splits_by_patient(source):
    folder = convert(source, seed=1)
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "RV": 1, "MYO": 2, "LV": 3, "ignore": 4}
    assert content["numTraining"] == len(list((folder / "labelsTr").iterdir())) == 12
    splits = json.loads((folder / "splits_final.json").read_text())
    assert len(splits) == 5
    for fold in splits:
        assert not {c[:10] for c in fold["train"]} & {c[:10] for c in fold["val"]}
    record = json.loads((folder / "conversion.json").read_text())
    assert record["seed"] == 1
    assert record["patients"]["patient003_frame12"] == "patient003"
    assert record["cases"]["patient003_frame12"]["scribble"].endswith(
        "patient003_frame12_scribble.nii.gz"
    )


def test_labels_go_there_and_back(source):
    folder = convert(source)
    for values, sub, ending in (
        ("scribble", "labelsTr", "_scribble.nii.gz"),
        ("dense", "labelsTr_dense", "_gt.nii.gz"),
    ):
        mapping = read_mapping(folder, values)
        restored = restore_labels(folder / sub, mapping, source / f"restored_{values}")
        assert len(restored) == 12
        for path in restored:
            (original,) = source.rglob(path.name.replace(".nii.gz", ending))
            assert np.array_equal(read(path), read(original))


def test_files_that_are_not_packed_are_found_too(source):
    for number, path in enumerate(sorted(source.rglob("*.nii.gz"))):
        if number % 2:
            image = sitk.ReadImage(str(path))
            path.unlink()
            sitk.WriteImage(image, str(path.with_suffix("")))
    dataset = convert(source)
    assert len(list((dataset / "labelsTr").iterdir())) == 12
    assert len(list((dataset / "labelsTr_dense").iterdir())) == 12


def test_without_dense_labels_there_is_no_folder_for_them(tmp_path):
    for patient in range(1, 6):
        write_case(tmp_path, f"patient{patient:03d}_frame01", dense=False)
    assert not (convert(tmp_path) / "labelsTr_dense").exists()


def test_all_problems_are_reported_at_once_and_nothing_is_written(source):
    scribbles = source / "scribbles"
    write_case(source, "patient001_frame01", origin=(5, 0, 0))
    nothing, dense = np.full(SHAPE, 4, np.uint8), np.zeros(SHAPE, np.uint8)
    write(scribbles / "patient002_frame01_scribble.nii.gz", nothing)
    write(scribbles / "patient003_frame01_scribble.nii.gz", dense)
    write(scribbles / "patient004_frame01_scribble.nii.gz", dense + np.uint8(200))
    (scribbles / "patient005_frame01_scribble.nii.gz").write_bytes(b"no image")
    with pytest.raises(ValueError) as error:
        convert(source)
    message = str(error.value)
    assert message.startswith("5 problems, nothing written")
    for words in (
        "/patient001_frame01.nii.gz) does not lie on its image's voxel grid: size and",
        "patient002_frame01_scribble.nii.gz: nothing is annotated",
        "patient003_frame01_scribble.nii.gz: every voxel is annotated",
        "patient004_frame01_scribble.nii.gz holds the values [200], which are not mapped "
        "(background=0 RV=1 MYO=2 LV=3 unlabelled=4)",
        "patient005_frame01_scribble.nii.gz cannot be read as an image",
    ):
        assert words in message
    assert not (source / "raw").exists()


def test_scribbles_without_image_are_named(source):
    write(source / "scribbles" / "patient099_frame01_scribble.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(FileNotFoundError, match="1 scribble has no image.*patient099_frame01"):
        convert(source)


def test_files_of_the_same_name_are_named(source):
    write_case(source / "images" / "copy", "patient001_frame01")
    with pytest.raises(ValueError, match="keep one of each:\n.*patient001_frame01"):
        convert(source)


def test_of_two_folders_of_scribbles_one_is_to_be_given(source):
    shutil.copytree(source / "scribbles", source / "again")
    error = f"give one of the folders: --scribbles {source}/again:\n.*\n(.*\n){{4}}and 7 more$"
    with pytest.raises(ValueError, match=error):
        acdc_source(source / "images", source)
    # below the folder of the images they are no images
    assert len(acdc_source(source, source / "again").cases) == 12


def test_wrong_folders_are_named(source):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        acdc_source(source / "nowhere", source / "scribbles")
    with pytest.raises(FileNotFoundError, match="no patientNNN_frameMM_scribble"):
        acdc_source(source / "images", source / "images")


def test_command_line(source, capsys):
    arguments = ["convert", "acdc", "--images", source / "images", "--scribbles"]
    arguments += [source / "scribbles", "--dataset-id", "27", "--out", source / "raw"]
    assert cli.main(list(map(str, arguments))) == 0
    assert "wrote 12 training cases" in capsys.readouterr().out
    assert cli.main(list(map(str, arguments))) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*map(str, arguments), "--overwrite"]) == 0
