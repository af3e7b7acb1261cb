"""WSL4MIS's h5 files, written by h5py from miniature ACDC volumes as their script does."""

import json

import h5py
import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools import cli
from scribble_tools.convert.conversion import write_scribble_dataset
from scribble_tools.convert.restore_labels import read_mapping, restore_labels
from scribble_tools.convert.target import Target
from scribble_tools.convert.wsl4mis import wsl4mis_source

SHAPE = (3, 12, 10)  # z, y, x


def write_h5(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array, compression="gzip")


def write_case(root, case, unlabelled=4):
    """One case as original image, h5 volume and h5 slices; returns what the h5 hold."""
    generator = np.random.default_rng(int("".join(filter(str.isdigit, case))))
    image = generator.integers(0, 900, SHAPE).astype(np.int16)
    image[0, 0, 0] = 20000  # the bright voxels that WSL4MIS cuts off
    path = root / "acdc" / case[:10] / f"{case}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nifti = sitk.GetImageFromArray(image)
    nifti.SetSpacing((1.5, 1.5, 10.0))
    nifti.SetOrigin((-3, 4, 5))
    sitk.WriteImage(nifti, str(path))
    cut = np.minimum(image, np.percentile(image, 99))
    label = generator.integers(0, 4, SHAPE).astype(np.uint8)
    scribble = np.where(generator.random(SHAPE) < 0.4, label, unlabelled).astype(np.uint16)
    scribble[0, 0, :2] = (label[0, 0, 0], unlabelled)
    arrays = {"image": (cut / cut.max()).astype(np.float32), "label": label, "scribble": scribble}
    write_h5(root / "volumes" / f"{case}.h5", **arrays)
    for k in range(len(image)):
        slices = {key: array[k] for key, array in arrays.items()}
        write_h5(root / "slices" / f"{case}_slice_{k}.h5", **slices)
    return arrays


@pytest.fixture
def root(tmp_path):
    for case in ("patient001_frame01", "patient001_frame12", "patient002_frame01"):
        write_case(tmp_path, case)
    return tmp_path


def convert(root, layout, **options):
    source = wsl4mis_source(root / layout, root / "acdc", **options)
    return write_scribble_dataset(source, Target(root / "raw", 29, layout, overwrite=True))


def read_h5(path):
    with h5py.File(path) as file:
        return {key: array[()] for key, array in file.items()}


def test_labels_go_there_and_back(tmp_path):
    for patient in (1, 2):
        write_case(tmp_path, f"patient00{patient}_frame01", unlabelled=255)
    folder = convert(tmp_path, "volumes", unlabelled=255)
    restored = restore_labels(folder / "labelsTr", read_mapping(folder), tmp_path / "restored")
    assert len(restored) == 2
    for path in restored:
        original = read_h5(tmp_path / "volumes" / path.name.replace(".nii.gz", ".h5"))["scribble"]
        assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), original)


@pytest.mark.parametrize("layout", ["volumes", "slices"])
def test_labels_come_from_the_h5_and_geometry_from_acdc(root, layout):
    folder = convert(root, layout)
    case = "patient001_frame12"
    original = root / "acdc" / "patient001" / f"{case}.nii.gz"
    assert (folder / "imagesTr" / f"{case}_0000.nii.gz").read_bytes() == original.read_bytes()
    expected = read_h5(root / "volumes" / f"{case}.h5")
    image = sitk.ReadImage(str(original))
    for name, key in (("labelsTr", "scribble"), ("labelsTr_dense", "label")):
        label = sitk.ReadImage(str(folder / name / f"{case}.nii.gz"))
        assert np.array_equal(sitk.GetArrayFromImage(label), expected[key])
        assert label.GetSpacing() == pytest.approx(image.GetSpacing())
        assert label.GetOrigin() == pytest.approx(image.GetOrigin())
    record = json.loads((folder / "conversion.json").read_text())
    assert record["patients"][case] == "patient001"
    assert record["cases"][case]["scribble"].endswith(".h5/scribble")


def test_255_is_unlabelled_only_when_said(tmp_path):
    scribble = write_case(tmp_path, "patient003_frame01", unlabelled=255)["scribble"]
    with pytest.raises(ValueError, match=r"h5.scribble holds the values \[255\], .*unlabelled=4"):
        convert(tmp_path, "volumes")
    folder = convert(tmp_path, "volumes", unlabelled=255)
    label = sitk.ReadImage(str(folder / "labelsTr" / "patient003_frame01.nii.gz"))
    expected = np.where(scribble == 255, 4, scribble)
    assert np.array_equal(sitk.GetArrayFromImage(label), expected)


def test_without_label_there_is_no_dense_folder(root):
    for path in (root / "volumes").iterdir():
        with h5py.File(path, "a") as file:
            del file["label"]
    assert not (convert(root, "volumes") / "labelsTr_dense").exists()


def rewrite(path, change):
    write_h5(path, **change(read_h5(path)))


def view(function):
    return lambda arrays: {key: function(array) for key, array in arrays.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (view(lambda a: a[:, ::-1]), "correlation .*would fit with rows reversed .1.000"),
        (view(lambda a: a[:, :, ::-1]), "would fit with columns reversed"),
        (view(lambda a: a.swapaxes(1, 2)), r"shape \(3, 10, 12\).*rows and columns exchanged"),
        (view(lambda a: a[::-1]), "would fit with slices reversed"),
        (view(lambda a: a[1:]), r"shape \(2, 12, 10\) against \(3, 12, 10\). Is it another"),
        (lambda a: a | {"image": np.zeros_like(a["image"])}, "correlation nan. Is it another"),
        (lambda a: a | {"scribble": a["scribble"][1:]}, "but 'image' in the same file has"),
        (lambda a: a | {"scribble": a["scribble"] / 2}, "holds float64 values"),
        (lambda a: {"image": a["image"]}, "there is no 'scribble' in it"),
    ],
)
def test_an_h5_that_is_not_the_image_is_refused(root, change, words):
    rewrite(root / "volumes" / "patient001_frame01.h5", change)
    with pytest.raises(ValueError, match=words) as error:
        convert(root, "volumes")
    assert "patient001_frame01.h5" in str(error.value)
    assert "patient001_frame12" not in str(error.value)


def test_what_is_wrong_with_a_whole_h5_is_said_once(root, capsys):
    path = root / "volumes" / "patient001_frame01.h5"
    rewrite(path, lambda arrays: arrays | {"image": np.full(3, b"text")})
    with pytest.raises(ValueError, match="1 problem, nothing written") as error:
        convert(root, "volumes")
    assert str(error.value).count(path.name) == 1


def test_broken_and_missing_slices_are_named_at_once(root):
    (root / "slices" / "patient001_frame01_slice_1.h5").unlink()
    (root / "slices" / "patient001_frame12_slice_2.h5").write_bytes(b"no h5")
    rewrite(root / "slices" / "patient002_frame01_slice_0.h5", view(lambda a: a[1:]))
    with pytest.raises(ValueError) as error:
        convert(root, "slices")
    message = str(error.value)
    assert "patient001_frame01_slice_*.h5/scribble slices missing: [1]" in message
    assert "patient001_frame12_slice_2.h5 is no HDF5 file, or damaged" in message
    assert "slices of different shapes: [(11, 10), (12, 10)]" in message


def test_images_are_needed(root, capsys):
    arguments = ["convert", "wsl4mis", root / "volumes", "--dataset-id", 29, "--out", root / "raw"]
    assert cli.main(list(map(str, arguments))) == 1
    assert "neither voxel size nor orientation: give" in capsys.readouterr().err
    assert cli.main([*map(str, arguments), "--images", str(root / "acdc")]) == 0
    assert "wrote 3 training cases" in capsys.readouterr().out
    (root / "acdc" / "patient002" / "patient002_frame01.nii.gz").unlink()
    with pytest.raises(ValueError, match="1 case has no ACDC image below .*patient002_frame01"):
        convert(root, "volumes")


def test_wrong_folders_are_named(root):
    with pytest.raises(ValueError, match="3 cases stand twice.*volumes or that of the slices"):
        convert(root, "")
    with pytest.raises(FileNotFoundError, match="no patientNNN_frameMM.h5"):
        convert(root, "acdc")
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        convert(root, "nowhere")
