"""Predictions in nnU-Net's labels, restored by the record of a conversion."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scribble_tools import cli
from scribble_tools.convert.restore_labels import read_mapping, restore_labels
from scribble_tools.dataset.label_mapping import LabelMapping
from scribble_tools.images.slicer_writer import NewSegment, write_segmentation

SHAPE = (2, 5, 4)
MAPPING = LabelMapping({"background": (5,), "RV": (1, 7), "LV": (600,)}, (0,))
DENSE = LabelMapping({"background": (0,), "RV": (1,), "LV": (2,)})


@pytest.fixture
def root(tmp_path):
    (tmp_path / "pred").mkdir()
    for k in range(3):
        image = sitk.GetImageFromArray(np.random.default_rng(k).integers(0, 3, SHAPE, np.uint8))
        image.SetSpacing((1.5, 1.25, 8.0))
        image.SetOrigin((-1, 2, 3))
        image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
        sitk.WriteImage(image, str(tmp_path / "pred" / f"case{k}.nrrd"))
    (tmp_path / "pred" / "dataset.json").write_text("{}")
    record = {"scribble_labels": MAPPING.as_json(), "dense_labels": DENSE.as_json()}
    (tmp_path / "conversion.json").write_text(json.dumps(record))
    return tmp_path


def test_values_are_restored_and_everything_else_stays(root):
    written = restore_labels(root / "pred", read_mapping(root), root / "out")
    assert written == [root / "out" / f"case{k}.nrrd" for k in range(3)]
    assert sorted(p.name for p in root.iterdir()) == ["conversion.json", "out", "pred"]
    for path in written:
        before, after = (
            sitk.ReadImage(str(folder / path.name)) for folder in (root / "pred", path.parent)
        )
        labels = sitk.GetArrayFromImage(before)
        assert np.array_equal(sitk.GetArrayFromImage(after), np.array([5, 1, 600])[labels])
        for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(after, name)() == pytest.approx(getattr(before, name)())


def test_the_dense_files_values_when_said(root):
    mapping = read_mapping(root / "conversion.json", "dense")
    for path in restore_labels(root / "pred", mapping, root / "out"):
        before, after = (sitk.ReadImage(str(p)) for p in (root / "pred" / path.name, path))
        assert np.array_equal(sitk.GetArrayFromImage(after), sitk.GetArrayFromImage(before))
        assert after.GetPixelID() == sitk.sitkUInt8


@pytest.mark.parametrize(
    ("value", "pixel_type"),
    [
        (255, sitk.sitkUInt8),
        (-1, sitk.sitkInt16),
        (40000, sitk.sitkUInt16),
        (70000, sitk.sitkInt32),
    ],
)
def test_the_smallest_type_that_holds_the_values(root, value, pixel_type):
    mapping = LabelMapping({"background": (0,), "a": (1,), "b": (value,)})
    restored = sitk.ReadImage(str(restore_labels(root / "pred", mapping, root / "out")[0]))
    assert restored.GetPixelID() == pixel_type
    assert value in sitk.GetArrayFromImage(restored)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(-1000, 70000), min_size=3, max_size=8, unique=True),
    st.integers(0, 2**32 - 1),
)
def test_there_and_back_is_the_identity(values, seed):
    *classes, unlabelled = values
    names = ["background", *(f"class{k}" for k in range(1, len(classes)))]
    mapping = LabelMapping(
        {name: (value,) for name, value in zip(names, classes, strict=True)}, (unlabelled,)
    )
    again = LabelMapping.from_json(json.loads(json.dumps(mapping.as_json())))
    array = np.random.default_rng(seed).choice(values, (3, 4))
    assert np.array_equal(again.restore(mapping.apply(array)), array)


def test_all_problems_are_reported_at_once_and_nothing_is_written(root):
    wrong = sitk.GetImageFromArray(np.full(SHAPE, 9, np.uint8))
    sitk.WriteImage(wrong, str(root / "pred" / "case1.nrrd"))
    (root / "pred" / "case2.nrrd").write_bytes(b"no image")
    with pytest.raises(ValueError) as error:
        restore_labels(root / "pred", MAPPING, root / "out")
    message = str(error.value)
    assert message.startswith("2 problems, nothing written:")
    assert "case1.nrrd holds the values [9]; labels are 0 to 3" in message
    assert "case2.nrrd cannot be read as an image" in message
    assert sorted(p.name for p in root.iterdir()) == ["conversion.json", "pred"]


def test_segmentations_of_slicer_have_names_already(root):
    image = sitk.GetImageFromArray(np.zeros(SHAPE, np.uint8))
    segments = [NewSegment("RV", (1, 0, 0), np.ones(SHAPE, bool))]
    write_segmentation(segments, image, root / "pred" / "case9.seg.nrrd")
    with pytest.raises(ValueError, match="case9.seg.nrrd is a segmentation of 3D Slicer.*nothing"):
        restore_labels(root / "pred", MAPPING, root / "out")
    assert not (root / "out").exists()


def test_nothing_is_overwritten_unasked(root):
    restore_labels(root / "pred", MAPPING, root / "out")
    (root / "out" / "other.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="3 files exist, such as .*case0.nrrd: say --over"):
        restore_labels(root / "pred", MAPPING, root / "out")
    restore_labels(root / "pred", DENSE, root / "out", overwrite=True)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(root / "out" / "case0.nrrd"))).max() == 2
    assert (root / "out" / "other.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="holds the predictions themselves"):
        restore_labels(root / "pred", MAPPING, root / "pred", overwrite=True)


def test_wrong_folders_and_records_are_named(root):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        restore_labels(root / "nowhere", MAPPING, root / "out")
    with pytest.raises(FileNotFoundError, match="no label map in"):
        restore_labels(root, MAPPING, root / "out")
    with pytest.raises(FileNotFoundError, match="conversion.json: no such file"):
        read_mapping(root / "pred")
    with pytest.raises(ValueError, match="dataset.json is no record of scribble_tools convert"):
        read_mapping(root / "pred" / "dataset.json")


def test_command_line(root, capsys):
    arguments = ["restore-labels", root / "pred", "--dataset", root, "--out", root / "out"]
    assert cli.main(list(map(str, arguments))) == 0
    assert "wrote 3 label maps" in capsys.readouterr().out
    assert cli.main(list(map(str, arguments))) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_the_data_set_may_be_given_by_id(root, monkeypatch, capsys):
    folder = root / "raw" / "Dataset027_X"
    folder.mkdir(parents=True)
    (root / "conversion.json").rename(folder / "conversion.json")
    monkeypatch.setenv("nnUNet_raw", str(root / "raw"))
    arguments = ["restore-labels", str(root / "pred"), "--out", str(root / "out"), "--dataset"]
    assert cli.main([*arguments, "27"]) == 0
    assert "background=5 RV=1,7 LV=600" in capsys.readouterr().out
    assert cli.main([*arguments, "28"]) == 1
    assert "data set 28" in capsys.readouterr().err


@pytest.fixture
def two(root):
    """Predictions of a model of Dataset028_Y; what restores them with a data set."""
    raw, pred = root / "raw", root / "pred"
    for name in ("Dataset027_X", "Dataset028_Y"):
        (raw / name).mkdir(parents=True)
    (root / "conversion.json").rename(raw / "Dataset027_X" / "conversion.json")
    model = "/results/Dataset028_Y/nnUNetTrainer__nnUNetPlans__2d"
    (pred / "prediction.json").write_text(json.dumps({"model": model}))

    def restore(name, mapping=None, labels=None, **more):
        if mapping:
            record = {"scribble_labels": mapping.as_json(), "dense_labels": DENSE.as_json(), **more}
            (raw / "Dataset028_Y" / "conversion.json").write_text(json.dumps(record))
        if labels:
            (pred / "dataset.json").write_text(json.dumps({"labels": labels}))
        words = ["--dataset", raw / name, "--out", root / "out", "--overwrite"]
        return cli.main(list(map(str, ["restore-labels", pred, *words])))

    return restore


def test_predictions_of_other_classes_than_the_data_sets_are_refused(two, root, capsys):
    assert two("Dataset027_X", labels={"background": 0, "liver": 1, "ignore": 2}) == 1
    error = capsys.readouterr().err
    assert "dataset.json has the classes background=0 liver=1, Dataset027_X has" in error
    assert "background=0 RV=1 LV=2: the predictions are of another" in error
    assert "Say --dataset Dataset028_Y" in error and not (root / "out").exists()
    assert two("Dataset027_X", labels={"background": 0, "RV": [1, 2], "LV": [2]}) == 0
    assert two("Dataset027_X", labels={"background": 0, "RV": 1, "LV": 2, "ignore": 3}) == 0


def test_of_the_same_classes_the_values_tell_data_sets_apart(two, capsys):
    assert two("Dataset027_X") == 0, "the model's data set is not here"
    assert two("Dataset027_X", mapping=MAPPING) == 0, "the same values"
    other = LabelMapping({"background": (0,), "RV": (5,), "LV": (6,)}, (9,))
    assert two("Dataset027_X", mapping=other) == 1
    error = capsys.readouterr().err
    assert "are of a model of Dataset028_Y, whose files had other values" in error
    assert "Say --dataset Dataset028_Y" in error
    assert two("Dataset028_Y") == 0


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp"])
def test_pictures_of_predictions(tmp_path, ending):
    """Values above 255 need 16 bits, which BMP has not; a grey BMP is read as grey."""
    labels = np.random.default_rng(0).integers(0, 3, (20, 24)).astype(np.uint8)
    (tmp_path / "pred").mkdir()
    Image.fromarray(labels).save(tmp_path / "pred" / f"a{ending}")
    (tmp_path / "pred" / f"._a{ending}").write_bytes(b"\0\5\x16\7")
    values = (0, 255, 128)
    for value in (128, 600):
        values = (0, 255, value)
        mapping = LabelMapping({name: (v,) for name, v in zip(DENSE.names, values, strict=True)})
        out = tmp_path / f"out{value}"
        if ending == ".bmp" and value > 255:
            with pytest.raises(ValueError, match="a.bmp cannot be written: .bmp holds labels from"):
                restore_labels(tmp_path / "pred", mapping, out)
            continue
        restore_labels(tmp_path / "pred", mapping, out)
        found = np.asarray(Image.open(out / f"a{ending}"))
        assert np.array_equal(found, np.array(values)[labels])
        assert found.dtype == (np.uint8 if value < 256 else np.uint16)


def test_nan_is_no_label(root):
    labels = np.ones(SHAPE, np.float32)
    labels[0, 0, :3] = np.nan
    for name in ("case0.nrrd", "case3.nii.gz"):
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(root / "pred" / name))
    with pytest.raises(ValueError, match="case0.nrrd holds 3 NaN voxels of 40") as error:
        restore_labels(root / "pred", MAPPING, root / "out")
    assert "case3.nii.gz holds 3 NaN voxels of 40" in str(error.value)


def test_values_of_data_sets_in_colours_are_told_apart_in_colours(two, capsys):
    colours = LabelMapping({"background": (0x0000FF,), "RV": (0xFF0000,), "LV": (0x00FF80,)}, (0,))
    assert two("Dataset027_X", mapping=colours, pictures="colour") == 1
    error = capsys.readouterr().err
    assert "(background=#0000ff RV=#ff0000 LV=#00ff80 unlabelled=#000000) than those of" in error
    assert f"Dataset027_X ({MAPPING.describe()})" in error


def test_every_format_of_predictions_is_restored(root):
    (root / "pred" / "case0.nrrd").unlink()
    image = sitk.ReadImage(str(root / "pred" / "case1.nrrd"))
    sitk.WriteImage(image, str(root / "pred" / "case0.nii"))
    (root / "pred" / "case2.nrrd").rename(root / "pred" / "case2.NRRD")
    written = restore_labels(root / "pred", MAPPING, root / "out")
    assert [path.name for path in written] == ["case0.nii", "case1.nrrd", "case2.nrrd"]
    assert all(path.is_file() for path in written)


def test_pictures_get_the_colours_back_that_their_strokes_had(tmp_path, capsys):
    (tmp_path / "pred").mkdir()
    Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(tmp_path / "pred" / "a.png")
    mapping = LabelMapping({"background": (0x0000FF,), "RV": (0xFF0000,), "LV": (0x00FF80,)}, (0,))
    record = {"scribble_labels": mapping.as_json(), "pictures": "colour"}
    (tmp_path / "conversion.json").write_text(json.dumps(record))
    words = [str(tmp_path / "pred"), "--dataset", str(tmp_path), "--out", str(tmp_path / "out")]
    assert cli.main(["restore-labels", *words]) == 0
    assert "background=#0000ff RV=#ff0000 LV=#00ff80" in capsys.readouterr().out
    restored = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert restored.tolist() == [[[0, 0, 255], [255, 0, 0], [0, 255, 128]]]


def test_pictures_get_the_colours_back_that_their_dense_references_had(tmp_path, capsys):
    scribble = np.zeros((12, 14), np.uint8)
    scribble[3, 2:9], scribble[7, 2:9] = 1, 2
    dense = np.zeros_like(scribble)
    dense[3:5] = 1
    colours = np.array([(0, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    pictures = {
        "images": np.arange(168, dtype=np.uint8).reshape(scribble.shape),
        "scribbles": colours[scribble],
        "dense": np.where(dense[..., None] == 1, colours[1], colours[2]),
    }
    for folder, array in pictures.items():
        (tmp_path / folder).mkdir()
        Image.fromarray(array).save(tmp_path / folder / "a.png")
    words = [w for folder in pictures for w in (f"--{folder}", str(tmp_path / folder))]
    words += ["--labels", "background=#0000ff", "A=#00ff00", "--unlabelled", "#000000", "-np", "1"]
    words += ["--dataset-id", "900", "--name", "T", "--out", str(tmp_path / "raw")]
    assert cli.main(["convert", "folder", *words]) == 0
    raw = tmp_path / "raw" / "Dataset900_T"
    words = [str(raw / "labelsTr_dense"), "--dataset", str(raw), "--out", str(tmp_path / "out")]
    assert cli.main(["restore-labels", *words, "--values", "dense"]) == 0
    assert "background=#0000ff A=#00ff00" in capsys.readouterr().out
    restored = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert np.array_equal(restored, pictures["dense"])


def test_a_value_that_is_unlabelled_here_is_of_another_data_set(root, capsys):
    words = ["restore-labels", str(root / "pred"), "--dataset", str(root / "conversion.json")]
    for k in (0, 2):
        path = root / "pred" / f"case{k}.nrrd"
        image = sitk.ReadImage(str(path))
        image[0, 0, 0] = 3
        sitk.WriteImage(image, str(path))
    assert cli.main([*words, "--out", str(root / "out")]) == 1
    error = capsys.readouterr().err
    assert "holds 3, the ignore label of this data set" in error
    assert "case0" in error and "case2" in error and not (root / "out").exists()
    # the strokes of the data set itself have such voxels
    words[-1] = str(root)
    assert cli.main([*words, "--out", str(root / "out")]) == 0
