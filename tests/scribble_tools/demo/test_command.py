"""The demo hearts: right scribbles, ACDC's coverage, the same data for the same seed."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.cli import main
from scribble_tools.convert.restore_labels import read_mapping
from scribble_tools.dataset.patients import find_patients
from scribble_tools.dataset.raw import read_label_set
from scribble_tools.demo.command import COVERAGE, draw_patient, make_demo_data
from scribble_tools.demo.heart import LABELS, Heart, HeartSlice, Wave
from scribble_tools.demo.image import Blob, Scene
from scribble_tools.evaluate.command import evaluate_folders

pytestmark = pytest.mark.slow

PATIENTS = range(6)


@pytest.fixture(scope="module")
def patients():
    return [draw_patient(0, n) for n in PATIENTS]


@pytest.fixture(scope="module")
def volumes(patients):
    return [volume for patient in patients for volume in patient.values()]


def round_heart(rv_depth_mm=20.0):
    """A heart without any irregularity."""
    flat = Wave(np.zeros(4), np.zeros(4))
    return Heart(
        centre_mm=(0.0, 0.0),
        drift_mm=(0.0, 0.0),
        lv_radius_mm=20.0,
        wall_mm=10.0,
        rv_depth_mm=rv_depth_mm,
        rv_angle=np.pi,
        rv_half_span=1.0,
        rv_end=0.9,
        shape=flat,
        rv_shape=flat,
    )


def test_labels_of_a_round_heart_by_hand():
    base, apex = HeartSlice(round_heart(), 0.0), HeartSlice(round_heart(), 1.0)
    x = np.array([0.0, 19.9, 20.1, 29.9, 30.1, -19.9, -25.0, -30.1, -49.9, -50.1])
    expected = [3, 3, 2, 2, 0, 3, 2, 1, 1, 0]  # the RV lies on the left, 20 mm deep
    assert base.labels(np.zeros(10), x).tolist() == expected
    assert (apex.labels(np.zeros(10), x) != LABELS["RV"]).all()  # it ends above the apex


def test_scribbles_are_never_wrong(volumes):
    for volume in volumes:
        drawn = volume.scribble != LABELS["ignore"]
        assert drawn.any()
        assert np.array_equal(volume.scribble[drawn], volume.dense[drawn])


def test_every_class_is_scribbled_in_every_slice_where_it_occurs(volumes):
    for volume in volumes:
        for value in (LABELS[name] for name in COVERAGE):
            occurs = (volume.dense == value).any(axis=(1, 2))
            assert np.array_equal((volume.scribble == value).any(axis=(1, 2)), occurs)


def test_scribbles_cover_what_those_of_acdc_cover(volumes):
    for name, share in COVERAGE.items():
        shares = [(volume.scribble == LABELS[name]).mean() for volume in volumes]
        assert all(0.7 * share < s < 1.25 * share for s in shares)
        if name == "background":
            assert 0.0058 < np.mean(shares) < 0.0070  # ACDC: 0.64 %
        else:
            assert 0.0012 < np.mean(shares) < 0.0019  # ACDC: 0.12 to 0.18 %


def test_volumes_are_hearts(volumes):
    for volume in volumes:
        assert volume.image.shape == volume.dense.shape == volume.scribble.shape
        assert volume.image.dtype == np.int16
        assert set(np.unique(volume.dense)) == {0, 1, 2, 3}
        assert 6 <= len(volume.dense) <= 8
        assert volume.spacing_mm[0] == 10
        mean = {
            name: volume.image[volume.dense == value].mean()
            for name, value in LABELS.items()
            if value < 4
        }
        assert mean["LV"] > 1.5 * mean["MYO"]
        assert mean["RV"] > 1.5 * mean["MYO"]


def test_systole_is_smaller_than_diastole_on_the_same_grid(patients):
    for ed, es in (patient.values() for patient in patients):
        assert (es.dense == LABELS["LV"]).sum() < 0.85 * (ed.dense == LABELS["LV"]).sum()
        assert es.spacing_mm == ed.spacing_mm
        assert es.dense.shape == ed.dense.shape


def test_patients_differ(patients):
    sizes = {int((patient["ed"].dense == LABELS["LV"]).sum()) for patient in patients}
    assert len(sizes) == len(PATIENTS)


def test_same_seed_same_arrays_other_seed_others():
    first, again, other = draw_patient(3, 1), draw_patient(3, 1), draw_patient(4, 1)
    for phase in ("ed", "es"):
        for name in ("image", "dense", "scribble"):
            array = getattr(first[phase], name)
            assert array.tobytes() == getattr(again[phase], name).tobytes()
    assert first["ed"].scribble.tobytes() != other["ed"].scribble.tobytes()


def test_look_alikes_stay_away_from_the_heart():
    heart = round_heart()
    half_mm = (110.0, 110.0)
    for seed in range(20):
        scene = Scene.draw(np.random.default_rng(seed), half_mm, heart)
        bright = [blob for blob in scene.blobs if blob.brightness > 0.6]
        assert bright
        for blob in bright:
            # at the base the heart reaches at least 30 mm from its centre; the gap is 15 mm
            assert np.hypot(*blob.centre_mm) > 30 + blob.radius_mm + 15


def test_a_look_alike_on_the_heart_is_not_clear_of_it():
    blob = Blob.draw_look_alike(np.random.default_rng(0), (1.0, 1.0), 0.3)
    assert not blob.is_clear_of(round_heart())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_demo_data(tmp_path_factory.mktemp("raw"), 7, patients=3, test_patients=1, seed=1)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_layout_is_nnunets(dataset):
    assert dataset.name == "Dataset007_DemoHearts"
    train = [f"demo{n:03d}_{phase}" for n in (1, 2, 3) for phase in ("ed", "es")]
    test = ["demo004_ed", "demo004_es"]
    assert names(dataset / "imagesTr") == [f"{case}_0000.nii.gz" for case in train]
    assert names(dataset / "labelsTr") == [f"{case}.nii.gz" for case in train]
    assert names(dataset / "labelsTr_dense") == [f"{case}.nii.gz" for case in train]
    assert names(dataset / "imagesTs") == [f"{case}_0000.nii.gz" for case in test]
    assert names(dataset / "labelsTs_dense") == [f"{case}.nii.gz" for case in test]
    assert not (dataset / "labelsTs").exists()
    content = json.loads((dataset / "dataset.json").read_text())
    assert content["numTraining"] == 6
    assert read_label_set(dataset / "dataset.json").ignore == 4


def test_files_hold_the_drawn_arrays_on_one_grid(dataset):
    volume = draw_patient(1, 0)["es"]
    for file, array in (
        ("imagesTr/demo001_es_0000", volume.image),
        ("labelsTr/demo001_es", volume.scribble),
        ("labelsTr_dense/demo001_es", volume.dense),
    ):
        image = sitk.ReadImage(str(dataset / f"{file}.nii.gz"))
        assert image.GetSpacing() == pytest.approx(volume.spacing_mm[::-1])
        assert np.array_equal(sitk.GetArrayFromImage(image), array)


def test_no_patient_on_both_sides_of_a_split(dataset):
    splits = json.loads((dataset / "splits_final.json").read_text())
    assert len(splits) == 3
    for split in splits:
        train, validation = ({case[:7] for case in split[side]} for side in ("train", "val"))
        assert train
        assert validation
        assert not train & validation
        assert len(split["train"]) + len(split["val"]) == 6


def test_patients_and_labels_are_recorded(dataset):
    cases = [*names(dataset / "labelsTr"), *names(dataset / "labelsTs_dense")]
    cases = [case.removesuffix(".nii.gz") for case in cases]
    for folder in ("labelsTr", "labelsTr_dense", "labelsTs_dense"):
        assert find_patients(cases, dataset / folder) == {case: case[:7] for case in cases}
    labels = np.arange(4)
    for values in ("scribble", "dense"):
        assert np.array_equal(read_mapping(dataset, values).restore(labels), labels)
    assert read_mapping(dataset).labels == LABELS


def test_dense_labels_can_be_scored_against_themselves(dataset):
    labels = read_label_set(dataset / "dataset.json")
    folder = dataset / "labelsTs_dense"
    scores = evaluate_folders(folder, folder, labels, num_processes=1).scores
    assert [score.dice for score in scores] == [1.0] * 6
    assert [score.islands for score in scores] == [0] * 6


def test_nothing_is_overwritten_unasked(tmp_path, capsys):
    arguments = ["demo-data", "--out", str(tmp_path), "--patients", "2", "--test-patients", "0"]
    assert main(arguments) == 0
    assert "nnUNetv2_plan_and_preprocess -d 999" in capsys.readouterr().out
    folder = tmp_path / "Dataset999_DemoHearts"
    marker, old = folder / "marker", folder / "labelsTr" / "demo002_es.nii.gz"
    marker.touch()
    number = old.stat().st_ino
    assert main(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert marker.exists()
    assert main([*arguments, "--overwrite"]) == 0
    assert marker.exists()  # the user's
    assert old.stat().st_ino != number
    (folder / "conversion.json").unlink()
    assert main([*arguments, "--overwrite"]) == 1
    assert "holds no conversion.json" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("dataset_id", 0, "data set id 0"),
        ("dataset_id", 1000, "data set id 1000"),
        ("patients", 1, "at least 2 patients"),
        ("test_patients", -1, "-1 test patients"),
        ("seed", -5, "seed -5"),
    ],
)
def test_unusable_numbers(tmp_path, argument, value, message):
    with pytest.raises(ValueError, match=message):
        make_demo_data(tmp_path, **{argument: value})
    assert not list(tmp_path.iterdir())
