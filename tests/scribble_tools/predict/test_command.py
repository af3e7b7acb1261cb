"""`scribble_tools predict`: images as they are in, labels in their geometry and format out."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from matplotlib.image import imread

from scribble_tools import cli
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.dataset.raw import read_label_set
from scribble_tools.images.slicer_segmentation import read_segmentation
from scribble_tools.predict import command
from scribble_tools.predict.chosen_model import find_model_folder
from scribble_tools.predict.command import (
    PredictOptions,
    find_model_of,
    predict_images,
)
from scribble_tools.predict.label_writer import (
    label_ending,
    names_as_drawn,
    names_of_regions,
    uncertainty_of,
    write_prediction,
)
from scribble_tools.predict.nnunet_model import NNUNetModel, TrainedModel, find_model
from scribble_tools.predict.unfinished import unfinished_in_words
from tests.conftest import DATASET


@pytest.fixture
def images(trained, tmp_path):
    """Two cases of the training under other names and in other formats, one of them turned."""
    given = trained[1] / "imagesTr"
    folder = tmp_path / "scans"
    folder.mkdir()
    image = sitk.ReadImage(str(given / "case0_0000.nii.gz"))
    image.SetOrigin((7.0, -3.0, 11.0))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    sitk.WriteImage(image, str(folder / "anna.nrrd"))
    shutil.copy(given / "case1_0000.nii.gz", folder / "ben.nii.gz")
    return folder


CPU = PredictOptions(device="cpu", mirroring=False, pictures=False)


def test_labels_have_the_images_geometry_and_format(trained, images, tmp_path):
    model, given = trained[0], trained[1] / "imagesTr"
    written = predict_images(find_model(model), images, tmp_path / "out", CPU)
    assert {case: path.name for case, path in written.items()} == {
        "anna": "anna.nrrd",
        "ben": "ben.nii.gz",
    }
    opened = NNUNetModel(find_model(model), "cpu", mirroring=False)
    for case, source in (("anna", 0), ("ben", 1)):
        image = sitk.ReadImage(str(images / written[case].name))
        labels = sitk.ReadImage(str(written[case]))
        for of in ("Size", "Spacing", "Origin", "Direction"):
            assert getattr(labels, f"Get{of}")() == pytest.approx(getattr(image, f"Get{of}")())
        # the voxels are those of nnU-Net's prediction, whatever the header says of their place
        expected = opened.predict([given / f"case{source}_0000.nii.gz"]).labels
        if case == "ben":
            np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), expected)
    record = json.loads((tmp_path / "out/prediction.json").read_text())
    assert record["folds"] == ["0", "1"] and record["cases"]["anna"] == [str(images / "anna.nrrd")]
    # names of classes for whoever scores; of two file endings none is the folder's
    assert "file_ending" not in json.loads((tmp_path / "out/dataset.json").read_text())
    classes = read_label_set(tmp_path / "out/dataset.json").classes
    assert classes == read_label_set(model / "dataset.json").classes


def test_for_slicer_with_names_and_colours_uncertainty_and_pictures(trained, images, tmp_path):
    model, _ = trained
    options = PredictOptions(".seg.nrrd", uncertainty=True, device="cpu", mirroring=False)
    dataset = tmp_path / "raw"
    dataset.mkdir()
    mapping = {"classes": {"background": [0], "left": [1], "right": [2]}, "unlabelled": [3]}
    names = {"Outside": 0, "Left kidney": 1, "Right kidney": 2, "Right kidney, cyst": 2}
    record = {"scribble_labels": mapping, "values_of_names": names}
    (dataset / "conversion.json").write_text(json.dumps(record))
    written = predict_images(find_model(model), images, tmp_path / "out", options, dataset)
    predict_images(
        find_model(model), images, tmp_path / "plain", replace(options, uncertainty=False)
    )
    image, segments = read_segmentation(written["anna"])
    assert [segment.name for segment in segments] == ["Left kidney", "Right kidney"]
    assert image.GetOrigin() == pytest.approx((7.0, -3.0, 11.0))
    for case, ending in (("anna", ".nrrd"), ("ben", ".nii.gz")):
        path = tmp_path / "out/uncertainty" / f"{case}{ending}"
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        assert values.dtype == np.float32 and 0 <= values.min() < values.max() <= 1
        with_map = imread(tmp_path / "out/pictures" / f"{case}.png")
        without = imread(tmp_path / "plain/pictures" / f"{case}.png")
        assert with_map.shape[1] > 1.2 * without.shape[1], "a column more"
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_nothing_of_the_users_is_replaced_unasked(trained, images, tmp_path):
    model, _ = trained
    out = tmp_path / "out"
    out.mkdir()
    (out / "ben.nii.gz").write_text("mine")
    with pytest.raises(FileExistsError, match="1 file exists.*--overwrite"):
        predict_images(find_model(model), images, out, CPU)
    replacing = replace(CPU, overwrite=True)
    with pytest.raises(FileExistsError, match="ben.nii.gz: scribble_tools predict did not write"):
        predict_images(find_model(model), images, out, replacing)
    (out / "prediction.json").write_text("{}")  # a record that names no files
    with pytest.raises(FileExistsError, match="prediction.json does not say which files"):
        predict_images(find_model(model), images, out, replacing)
    assert (out / "ben.nii.gz").read_text() == "mine"
    assert sorted(path.name for path in out.iterdir()) == ["ben.nii.gz", "prediction.json"]


def test_a_second_run_replaces_its_own_cases_and_keeps_the_others(trained, images, tmp_path):
    model, out = find_model(trained[0]), tmp_path / "out"
    predict_images(model, images, out, replace(CPU, uncertainty=True))
    (out / "notes.txt").write_text("mine")
    first = (out / "ben.nii.gz").read_bytes()
    (images / "ben.nii.gz").rename(images / "carl.nii.gz")
    one = replace(CPU, label_format=".nii.gz", overwrite=True, image_patterns=["{case}.nrrd"])
    predict_images(model, images, out, one)
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    # anna's labels in another format, and no map of her uncertainty that is not of these labels
    expected = {"anna.nii.gz", "ben.nii.gz", "uncertainty/ben.nii.gz"}
    assert files == expected | {"dataset.json", "notes.txt", "prediction.json"}
    assert (out / "ben.nii.gz").read_bytes() == first
    record = json.loads((out / "prediction.json").read_text())
    assert set(record["files"]) == expected | {"dataset.json", "prediction.json"}
    assert list(record["cases"]) == ["anna"] and list(record["earlier"][0]["cases"]) == ["ben"]
    predict_images(model, images, out, replace(CPU, image_patterns=["{case}.nii.gz"]))
    record = json.loads((out / "prediction.json").read_text())
    assert [list(own["cases"]) for own in record["earlier"]] == [["anna"], ["ben"]]
    assert set(record["files_of"]) == {"anna", "ben", "carl"}


def test_labels_in_another_format_are_not_replaced_unasked(trained, images, tmp_path):
    model, out = find_model(trained[0]), tmp_path / "out"
    predict_images(model, images, out, CPU)
    (out / "ben.nii.gz").write_bytes(b"corrected by hand")
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match="2 files exist.*--overwrite"):
        predict_images(model, images, out, replace(CPU, label_format=".seg.nrrd"))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == files


def test_every_value_of_regions_is_a_segment(tmp_path):
    regions = LabelSet({"whole": (1, 2, 3), "core": (2, 3), "both": (4, 5)})
    names = names_of_regions(regions)
    assert names == {
        0: "background",
        1: "whole",
        2: "whole + core (2)",
        3: "whole + core (3)",
        4: "both (4)",
        5: "both (5)",
    }
    labels = np.random.default_rng(0).integers(0, 7, (3, 8, 8)).astype(np.uint8)
    path = tmp_path / "a.seg.nrrd"
    write_prediction(labels, sitk.GetImageFromArray(labels), path, names)
    image, segments = read_segmentation(path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), labels)
    assert {segment.value: segment.name for segment in segments} == {
        **{value: name for value, name in names.items() if value},
        6: "label 6",
    }


def test_an_error_in_the_last_case_leaves_nothing(trained, images, tmp_path, monkeypatch):
    out = tmp_path / "deep" / "out"

    def full(labels, image, path, names):
        if path.name.startswith("ben"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_prediction(labels, image, path, names)

    monkeypatch.setattr(command, "write_prediction", full)
    with pytest.raises(OSError, match="No space"):
        predict_images(find_model(trained[0]), images, out, CPU)
    assert not [path for path in tmp_path.iterdir() if path != images]
    monkeypatch.undo()
    predict_images(find_model(trained[0]), images, out, CPU)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr(command, "write_prediction", full)
    with pytest.raises(OSError, match="No space"):
        predict_images(find_model(trained[0]), images, out, replace(CPU, overwrite=True))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_every_bad_image_is_named_before_anything_is_predicted(trained, images, tmp_path):
    model, _ = trained
    (images / "broken.nii.gz").write_bytes(b"no image")
    for k in range(3):
        picture = sitk.GetImageFromArray(np.zeros((4, 4), np.uint8))
        sitk.WriteImage(picture, str(images / f"photo{k}.png"))
    with pytest.raises(ValueError) as caught:
        predict_images(find_model(model), images, tmp_path / "out", CPU)
    text = str(caught.value)
    assert text.startswith("4 of 6 cases cannot be predicted, nothing was:")
    assert text.count("is a picture, but the model was trained on .nii.gz files") == 1
    assert "the same in 2 other files: photo1.png, photo2.png" in text and "broken.nii.gz" in text
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_more_than_plain_data_is_refused(trained, images, tmp_path):
    import pickle

    model = shutil.copytree(trained[0], tmp_path / "model")
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (ran.write_text, ("it ran",))

    (model / "fold_0/checkpoint_final.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="checkpoint_final.pth"):
        predict_images(find_model(model), images, tmp_path / "out", CPU)
    assert not ran.exists()


def test_models_are_found_by_name_and_by_data_set(trained, tmp_path, monkeypatch):
    model, _ = trained
    monkeypatch.setenv("nnUNet_results", str(model.parent.parent))
    found = find_model(model)
    assert find_model_of("901", None) == find_model_of(None, model) == found
    assert find_model_of("901", model.relative_to(model.parent), ["1"]).folds == ("1",)
    with pytest.raises(FileNotFoundError, match=f"no model other(.|\n)*--model {model.name}"):
        find_model_of("901", tmp_path.relative_to(tmp_path) / "other")
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        find_model_of("901", tmp_path / "none")
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(ValueError, match="nnUNet_results is not set"):
        find_model_of("901", None)


def test_a_model_that_is_not_there_is_looked_for_among_its_neighbours(tmp_path):
    (tmp_path / "results" / "Mine__plans__2d" / "fold_0").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="in .*results there are Mine__plans__2d$"):
        find_model_of(None, tmp_path / "results" / "Mine")


def test_before_the_first_training_it_is_said_how_to_train(tmp_path, monkeypatch):
    results = tmp_path / "results"
    monkeypatch.setenv("nnUNet_results", str(results))
    command = "Train one first, such as: nnUNetv2_train 5 2d 0 -tr nnUNetTrainerStrokeSupport "
    with pytest.raises(FileNotFoundError, match=f"results, which is no folder yet. {command}"):
        find_model_of("5", None)
    results.mkdir()
    with pytest.raises(FileNotFoundError, match=f"There are: none at all. {command}"):
        find_model_of("5", None)
    (results / "Dataset005_X").mkdir()
    with pytest.raises(
        FileNotFoundError, match=f"has no model. There are:\n  none at all. {command}"
    ):
        find_model_of("5", None)


def test_models_to_choose_from_that_are_not_finished_are_marked(tmp_path, monkeypatch):
    for name, fold, checkpoint in (
        ("A__P__2d", "0", "checkpoint_final.pth"),
        ("B__P__2d", "0", "checkpoint_final.pth"),
        ("B__P__2d", "1", "checkpoint_best.pth"),
        ("B__P__2d", "all", "training_log_1.txt"),
        ("C__P__2d", "0", "training_log_1.txt"),
    ):
        folder = tmp_path / "Dataset005_X" / name / f"fold_{fold}"
        folder.mkdir(parents=True)
        (folder / checkpoint).touch()
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    listed = "\n  --model A__P__2d\n  --model B__P__2d  # not finished: fold 1, all"
    listed += "\n  --model C__P__2d  # no checkpoint yet"
    with pytest.raises(FileNotFoundError, match=f"several models. There are:{listed}$"):
        find_model_of("5", None)
    shutil.rmtree(tmp_path / "Dataset005_X/B__P__2d")
    assert find_model_folder("5", None).name == "A__P__2d"
    assert find_model_folder("5", Path("C__P__2d")).name == "C__P__2d"
    shutil.rmtree(tmp_path / "Dataset005_X/A__P__2d")
    with pytest.raises(FileNotFoundError, match="training of fold 0 was begun or refused, and"):
        find_model_of("5", None)


def test_command_line(trained, images, tmp_path, capsys, monkeypatch):
    model, _ = trained
    monkeypatch.setenv("nnUNet_results", str(model.parent.parent))
    (images / "anna.nrrd").unlink()
    out = tmp_path / "out"
    line = ["predict", "--dataset", "901", "--images", str(images), "--out", str(out)]
    assert cli.main([*line, "--device", "cpu", "--no-mirroring", "--fold", "0"]) == 0
    printed = capsys.readouterr().out
    assert "fold 0, checkpoint_final.pth" in printed and "labels of 1 case" in printed
    assert json.loads((out / "dataset.json").read_text())["file_ending"] == ".nii.gz"
    assert cli.main(["predict", "--images", str(images), "--out", str(out)]) == 1
    assert "say which model" in capsys.readouterr().err
    assert cli.main([*line[:-1], str(images)]) == 1
    assert "is an image, and would be written over: take another --out" in capsys.readouterr().err


def test_which_file_is_which_channel_is_said_before_anything_is_read(tmp_path, capsys):
    content = {"channel_names": {"0": "T1", "1": "FLAIR"}, "file_ending": ".nii.gz"}
    content |= {"labels": {"background": 0, "organ": 1}, "numTraining": 1}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    patterns = ["{case}_T1w.nii.gz", "{case}_FLAIR.nii.gz"]
    for pattern in patterns:
        (tmp_path / pattern.format(case="anna")).touch()
    model = TrainedModel(tmp_path, ("0",), "checkpoint_final.pth")
    for given, error in ((patterns, "cannot be predicted"), (patterns[::-1], "exchanged: T1 = ")):
        options = replace(CPU, image_patterns=given)
        with pytest.raises(ValueError, match=error):
            predict_images(model, tmp_path, tmp_path / "out", options)
    with pytest.raises(ValueError, match=r"If each channel .* '{case}_T1w.nii.gz' '{case}_FLAIR"):
        predict_images(model, tmp_path, tmp_path / "out", CPU)
    for name in ("p1/T1", "p1/FLAIR", "p2/T1", "p2/FLAIR"):
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "new" / f"{name}.nii").touch()
    with pytest.raises(
        ValueError, match=r"would both be .*\n.* '{case}/T1.nii' '{case}/FLAIR.nii'"
    ):
        predict_images(model, tmp_path / "new", tmp_path / "out", CPU)
    said = "channels: T1 = {case}_T1w.nii.gz, FLAIR = {case}_FLAIR.nii.gz\n"
    assert capsys.readouterr().out == said


def test_a_model_of_another_data_set_than_the_one_that_is_said_is_warned_of(
    trained, images, tmp_path, capsys, monkeypatch
):
    model, dataset = trained
    monkeypatch.setattr(command, "predict_images", lambda *_: {})
    line = ["predict", "--images", str(images), "--out", "out", "--dataset", str(dataset)]
    assert cli.main([*line, "--model", str(model)]) == 0
    assert "warning" not in capsys.readouterr().out
    other = shutil.copytree(model, tmp_path / "Dataset902_Other" / model.name)
    assert cli.main([*line, "--model", str(other)]) == 0
    said = f"warning: the model {other} is of Dataset902_Other, but --dataset is {DATASET}\n"
    assert said in capsys.readouterr().out


def test_what_an_unfinished_training_predicts_is_said_and_recorded(
    trained, images, tmp_path, capsys
):
    model = tmp_path / DATASET / trained[0].name
    model, dataset = shutil.copytree(trained[0], model), trained[1]
    (images / "anna.nrrd").unlink()
    (images / "ben.nii.gz").rename(images / "case1.nii.gz")
    line = ["predict", "--model", str(model), "--images", str(images), "--device", "cpu"]
    line += ["--no-mirroring", "--no-pictures", "--out"]
    assert cli.main([*line, str(tmp_path / "ended")]) == 0
    assert "not finished" not in capsys.readouterr().out
    (model / "fold_1/checkpoint_final.pth").rename(model / "fold_1/checkpoint_best.pth")
    shutil.copy(model / "fold_0/checkpoint_final.pth", model / "fold_0/checkpoint_best.pth")
    assert cli.main([*line, str(tmp_path / "out")]) == 0
    epochs = torch.load(model / "fold_1/checkpoint_best.pth", weights_only=False)["current_epoch"]
    words = f"checkpoint_best.pth, fold 1 after {epochs} of {epochs} epochs"
    printed = capsys.readouterr().out.splitlines()
    (warning,) = [x for x in printed if x.startswith("warning")]
    assert warning.endswith(f"is not finished. Used: {words}. Finished: --fold 0")
    goes_on = [x for x in printed if x.startswith("If it no longer runs, go on with: ")]
    (command,) = [x.partition(": ")[2] for x in goes_on]
    expected = f"nnUNetv2_train {DATASET} 2d 1 -tr nnUNetTrainerPCLMix -p nnUNetPlans "
    assert command == f"{expected}-device cpu --c"
    assert json.loads((tmp_path / "out/prediction.json").read_text())["unfinished"] == words
    reference = str(dataset / "labelsTr_dense")
    (tmp_path / "ref").mkdir()
    shutil.copy(f"{reference}/case1.nii.gz", tmp_path / "ref")
    for folder, times in (("out", 1), ("ended", 0)):
        words = ["evaluate", str(tmp_path / folder), str(tmp_path / "ref"), "-np", "1"]
        assert cli.main([*words, "--labels", "left=1"]) == 0
        said = "note: predicted before the training was finished (checkpoint_best.pth, fold 1 after"
        assert capsys.readouterr().out.count(said) == times


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"current_epoch": 3, "pclmix": {"num_epochs": 500}}, "fold 0 after 3 of 500 epochs"),
        ({"current_epoch": 1}, "fold 0 after 1 epoch"),  # the stock trainer's
        ({"current_epoch": "x", "pclmix": []}, "fold 0"),
        ([], "fold 0"),
        (None, "fold 0"),
    ],
)
def test_how_far_an_unfinished_training_is(tmp_path, content, words):
    (tmp_path / "fold_0").mkdir()
    path = tmp_path / "fold_0/checkpoint_latest.pth"
    torch.save(content, path) if content is not None else path.write_bytes(b"PK")
    model = TrainedModel(tmp_path, ("0",), path.name)
    assert unfinished_in_words(model) == f"checkpoint_latest.pth, {words}"
    (tmp_path / "fold_0/checkpoint_final.pth").touch()
    assert unfinished_in_words(model) == ""


@pytest.mark.parametrize(
    ("name", "wanted", "ending"),
    [
        ("a.nii.gz", "image", ".nii.gz"),
        ("a.nii", "image", ".nii"),
        ("a.mhd", "image", ".mha"),
        ("a.jpg", "image", ".png"),
        ("a.bmp", "image", ".png"),
        ("a.tiff", "image", ".tiff"),
        ("a.nii.gz", ".seg.nrrd", ".seg.nrrd"),
    ],
)
def test_endings_of_labels(tmp_path, name, wanted, ending):
    assert label_ending(tmp_path / name, wanted) == ending


def test_a_picture_has_no_segmentation_of_slicer(tmp_path):
    with pytest.raises(ValueError, match="is a picture"):
        label_ending(tmp_path / "a.png", ".seg.nrrd")


def test_names_are_the_classes_where_nothing_else_is_known(tmp_path):
    names = {0: "background", 1: "RV"}
    assert names_as_drawn(None, names) == names
    assert names_as_drawn(tmp_path, names) == names
    (tmp_path / "conversion.json").write_text("[1]")
    assert names_as_drawn(tmp_path, names) == names


def test_uncertainty_is_the_entropy():
    p = np.array([[0.5, 1.0, 0.9], [0.5, 0.0, 0.1]], np.float32)[:, None, None]
    entropy = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))
    np.testing.assert_allclose(uncertainty_of(p, False)[0, 0], [1, 0, entropy], atol=1e-5)
    np.testing.assert_allclose(uncertainty_of(p[1:], True)[0, 0], [1, 0, entropy], atol=1e-5)
    thirds = np.full((3, 1, 1, 1), 1 / 3, np.float32)
    np.testing.assert_allclose(uncertainty_of(thirds, False), 1, atol=1e-6)
