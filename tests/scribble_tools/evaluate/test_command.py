"""Scores against geometry worked out by hand, against medpy, and in every empty case."""

import csv
import json
import math
import re
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.cli import main
from scribble_tools.dataset.label_set import LabelSet, parse_label_set
from scribble_tools.dataset.raw import is_nnunets, read_label_set
from scribble_tools.evaluate.command import COMPARISON_REPORTS, REPORTS, evaluate_folders
from scribble_tools.evaluate.scores import METRICS, dice, evaluate_case

ONE_CLASS = LabelSet({"organ": (1,)})


def mask(shape, *points):
    array = np.zeros(shape, bool)
    for point in points:
        array[point] = True
    return array


def write(folder, name, array, spacing_mm):
    image = sitk.GetImageFromArray(np.asarray(array))
    image.SetSpacing(tuple(spacing_mm)[::-1])
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(folder / name))


# --- Dice and islands ------------------------------------------------------------------------


def test_dice_by_hand():
    a, b = mask((4, 4), (0, 0), (0, 1), (0, 2)), mask((4, 4), (0, 1))
    assert dice(a, b) == pytest.approx(2 * 1 / (3 + 1))
    assert dice(a, ~a) == 0
    assert dice(a, a) == 1
    assert math.isnan(dice(a & ~a, a & ~a))


def test_islands_touching_at_a_corner_are_one_component():
    def islands(shape, *points):
        array = mask(shape, *points)
        (score,) = evaluate_case("c", array, array, (1,) * array.ndim, ONE_CLASS)
        return score.islands

    assert islands((5, 5, 5), (1, 1, 1), (2, 2, 2)) == 0
    assert islands((5, 5), (1, 1), (2, 2)) == 0
    assert islands((5, 5, 5), (0, 0, 0), (2, 2, 2), (4, 4, 4), (4, 0, 0)) == 3
    assert islands((5, 5)) == 0


# --- one case --------------------------------------------------------------------------------


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("predicted", "expected", "outcome", "values"),
    [
        (1, 1, "scored", (1, 0, 0, 1, 0, 0, 0, 0)),
        (0, 0, "both_empty", (NAN, NAN, NAN, NAN, NAN, NAN, 0, NAN)),
        (0, 1, "missed", (0, INF, INF, 0, -100, -0.02, 0, NAN)),
        (1, 0, "invented", (0, INF, INF, 0, NAN, 0.02, 0, 0)),
    ],
)
def test_every_empty_case(predicted, expected, outcome, values):
    prediction, reference = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), np.uint8)
    prediction[1, 1, 1], reference[1, 1, 1] = predicted, expected
    (score,) = evaluate_case("c", prediction, reference, (10, 2, 1), ONE_CLASS)  # 0.02 mL a voxel
    assert score.outcome == outcome
    assert [m.name for m in METRICS] == [
        "dice", "hd95_mm", "assd_mm", "surface_dice",
        "volume_error_percent", "volume_error_ml", "islands", "islands_percent",
    ]  # fmt: skip
    found = [getattr(score, metric.name) for metric in METRICS]
    assert found == pytest.approx(values, nan_ok=True)
    assert score.diagonal_mm == pytest.approx(math.sqrt(20**2 + 6**2 + 4**2))


def test_all_scores_of_a_case_by_hand():
    reference, prediction = np.zeros((2, 12, 7), np.uint8), np.zeros((2, 12, 7), np.uint8)
    reference[0, 2:5, 1:4] = 1
    prediction[0, 4:7, 1:4] = 1
    prediction[1, 11, 6] = 1  # an island: 8 mm up, 21 mm (7 rows) and 6 mm (3 columns) away
    (score,) = evaluate_case("c", prediction, reference, (8, 3, 2), ONE_CLASS, tolerance_mm=3)
    # In a slice of one voxel's thickness every voxel is surface. Row by row, from either block to
    # the other: 6, 3 and 0 mm, each 3 times. The island lies (8, 21, 6) mm from the reference.
    far = math.sqrt(8**2 + 21**2 + 6**2)
    distances = [6, 3, 0] * 6 + [far]
    assert score.dice == pytest.approx(2 * 3 / 19)
    assert score.hd95_mm == pytest.approx(np.percentile(distances, 95))
    assert score.assd_mm == pytest.approx((6 * 9 + far) / 19)
    assert score.surface_dice == pytest.approx(12 / 19)
    assert score.volume_error_percent == pytest.approx(100 / 9)
    assert score.volume_error_ml == pytest.approx(8 * 3 * 2 / 1000)
    assert (score.islands, score.islands_percent) == (1, pytest.approx(10))
    (kept,) = evaluate_case("c", prediction, reference, (8, 3, 2), ONE_CLASS, keep_largest=True)
    assert (kept.islands, kept.islands_percent, kept.volume_error_ml) == (0, 0, 0)
    assert kept.dice == pytest.approx(2 * 3 / 18)
    assert kept.assd_mm == pytest.approx(3)


def test_the_largest_component_is_kept_of_every_class_by_itself():
    prediction = np.array([[1, 1, 0, 1, 2, 2, 0, 2, 2, 2]])
    reference = np.array([[1, 1, 0, 0, 0, 0, 0, 2, 2, 2]])
    labels = parse_label_set(["1", "2", "both=1,2", "9"])
    scores = evaluate_case("c", prediction, reference, (1, 1), labels, keep_largest=True)
    assert [s.dice for s in scores[:2]] == [1, 1]
    # as a region, 1 and 2 touch: the first of two components of three voxels is kept
    assert scores[2].prediction_voxels == 3
    assert scores[3].outcome == "both_empty"


def test_ignored_voxels_enter_neither_dice_nor_hd95():
    reference = np.array([[1, 1, 0, 9, 9, 9]])
    prediction = np.array([[1, 1, 0, 0, 1, 1]])
    labels = LabelSet({"organ": (1,)}, ignore=9)
    (score,) = evaluate_case("c", prediction, reference, (1, 1), labels)
    assert (score.dice, score.hd95_mm) == (1, 0)
    assert score.islands == 1  # counted in the whole prediction
    (strict,) = evaluate_case("c", prediction, reference, (1, 1), ONE_CLASS)
    assert strict.dice == pytest.approx(4 / 6)


def test_regions_join_label_values():
    reference, prediction = np.array([[1, 2, 0]]), np.array([[2, 1, 0]])
    labels = parse_label_set(["whole=1,2", "2"])
    whole, second = evaluate_case("c", prediction, reference, (1, 1), labels)
    assert (whole.label, whole.dice) == ("whole", 1)
    assert (second.label, second.dice) == ("2", 0)


# --- folders ---------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    prediction, reference = tmp_path / "pred", tmp_path / "ref"
    for number in range(3):
        array = np.zeros((3, 8, 9), np.uint8)
        array[1, 2:5, 2:6], array[1, 6, 6] = 1, 2
        write(reference, f"c{number}.nii.gz", array, (10, 2, 1))
        array[0, 0, 0] = 1 if number == 2 else 0
        write(prediction, f"c{number}.nii.gz", np.roll(array, number, axis=2), (10, 2, 1))
    return prediction, reference


def test_folders_find_the_labels_of_the_references(folders):
    evaluation = evaluate_folders(*folders, num_processes=1)
    assert list(evaluation.labels.classes) == ["1", "2"]
    assert [(s.case, s.label) for s in evaluation.scores[:3]] == [
        ("c0", "1"),
        ("c0", "2"),
        ("c1", "1"),
    ]
    assert evaluation.scores[0].dice == 1
    assert evaluation.scores[3].hd95_mm == pytest.approx(1)  # one voxel, moved by one column
    assert evaluation.scores[4].islands == 1
    assert not evaluation.notes


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_pictures_are_compared_by_pixel(tmp_path, ending):
    array = np.zeros((20, 20), np.uint8)
    array[5:15, 5:15] = 1
    for folder, spacing, labels in (("ref", 0.5, array), ("pred", 1.0, np.roll(array, 2, 0))):
        image = sitk.GetImageFromArray(labels)
        image.SetSpacing((spacing, spacing))  # nnU-Net's predictions of pictures have none
        (tmp_path / folder).mkdir()
        sitk.WriteImage(image, str(tmp_path / folder / f"c0{ending}"))
    evaluation = evaluate_folders(
        tmp_path / "pred", tmp_path / "ref", file_ending=ending, num_processes=1
    )
    (score,) = evaluation.scores
    assert evaluation.unit == "mm"
    assert any("mm by the resolution" in note for note in evaluation.notes)
    assert score.dice == pytest.approx(0.8)
    assert score.hd95_mm == pytest.approx(1.0, rel=1e-3)  # two pixels of the reference's size


def test_pictures_that_state_no_resolution_are_measured_in_pixels(tmp_path, capsys):
    array = np.zeros((20, 20), np.uint8)
    array[5:15, 5:15] = 1
    for folder, labels in (("ref", array), ("pred", array[:, ::-1].copy()), ("other", array)):
        labels[8, 8:12] = 1 if folder == "ref" else 0
        (tmp_path / folder).mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / folder / "c0.png"))
    words = [str(tmp_path / name) for name in ("pred", "ref")]
    out = tmp_path / "out"
    assert main(["evaluate", *words, "--compare", str(tmp_path / "other"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    texts = [printed, *((out / f"{name}.md").read_text() for name in ("evaluation", "comparison"))]
    for text in texts:
        assert "HD95 px" in text and "ASSD px" in text and not re.search(r"\b(mm|mL)\b", text)
    assert "surface Dice at 2 px; lengths in pixels (px)" in printed
    assert "area error px²" in texts[1] and "area error px²" in texts[2]
    (row,) = csv.DictReader((out / "evaluation.csv").open())
    assert float(row["volume_error_ml"]) == -4
    assert json.loads((out / "evaluation.json").read_text())["settings"]["unit"] == "px"


def test_two_processes_give_the_same_scores(folders, processes):
    one, two = (evaluate_folders(*folders, num_processes=n) for n in (1, 2))
    assert one.scores == two.scores


def test_floating_point_files_with_whole_numbers_are_labels(folders):
    prediction, reference = folders
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(reference / "c0.nii.gz")))
    write(prediction, "c0.nii.gz", array.astype(np.float32), (10, 2, 1))
    assert evaluate_folders(prediction, reference, num_processes=1).scores[0].dice == 1


def test_all_problems_are_reported_at_once(folders):
    prediction, reference = folders
    (prediction / "c0.nii.gz").unlink()
    write(prediction, "c1.nii.gz", np.zeros((3, 8, 8), np.uint8), (10, 2, 1))
    write(prediction, "c2.nii.gz", np.zeros((3, 8, 9), np.uint8), (5, 2, 1))
    for folder in folders:
        write(folder, "c3.nii.gz", np.full((3, 8, 9), 0.5, np.float32), (10, 2, 1))
    (reference / "c4.nii.gz").write_bytes(b"no image")
    write(prediction, "c4.nii.gz", np.zeros((3, 8, 9), np.uint8), (10, 2, 1))
    with pytest.raises(ValueError) as error:
        evaluate_folders(prediction, reference, num_processes=1)
    message = str(error.value)
    assert message.startswith("6 problems, nothing scored:")
    assert f"{reference / 'c0.nii.gz'}: no prediction of c0 in {prediction}" in message
    assert message.endswith(
        "predict these cases too, or score a fold's validation cases only: "
        "--splits splits_final.json --fold FOLD; or give a folder with the references of the "
        "predicted cases alone"
    )
    with pytest.raises(ValueError, match="predict these cases too$"):
        evaluate_folders(prediction, reference, num_processes=1, cases=["c0"])
    (prediction / "c0.nii.gz").write_bytes((reference / "c0.nii.gz").read_bytes())
    with pytest.raises(ValueError) as complete:
        evaluate_folders(prediction, reference, num_processes=1)
    assert "predict these" not in str(complete.value)
    grid = "does not lie on its reference's voxel grid: "
    assert f"c1.nii.gz {grid}size (8, 8, 3) against (9, 8, 3)" in message
    assert f"c2.nii.gz {grid}spacing [1.0, 2.0, 5.0] against [1.0, 2.0, 10.0]" in message
    remedy = "If they are of one case, save the reference with its image's header"
    assert message.count(remedy) == 1
    assert message.count("216 values that are no integers, such as 0.5") == 2
    assert f"{reference / 'c4.nii.gz'} cannot be read" in message


def test_the_validation_cases_of_a_fold_can_be_scored_alone(folders, tmp_path, capsys):
    prediction, reference = folders
    (prediction / "c0.nii.gz").unlink()
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps([{"train": ["c0"], "val": ["c1", "c2"]}]))
    arguments = ["evaluate", str(prediction), str(reference), "--splits", str(splits), "-np", "1"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert content["summary"]["overall"]["cases"] == 2
    capsys.readouterr()
    assert main([*arguments, "--fold", "1"]) == 1
    assert "has 1 fold, no fold 1" in capsys.readouterr().err
    splits.write_text('[{"train": []}]')
    assert main(arguments) == 1
    assert "splits.json: [0].val is missing; expected a list of cases" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no reference in .* for c7"):
        evaluate_folders(prediction, reference, cases=["c7"])


@pytest.mark.parametrize(
    "values, shown", [(9, "[2, 3, 4, 5, 6, 7, 8]"), (200, "[2, 3, 4] and 195")]
)
def test_of_many_unknown_values_it_is_asked_whether_they_are_images(folders, values, shown):
    prediction, reference = folders
    array = (np.arange(3 * 8 * 9) % values).astype(np.uint8).reshape(3, 8, 9)
    for case in ("c0", "c1", "c2"):
        write(reference, f"{case}.nii.gz", array, (10, 2, 1))
    notes = evaluate_folders(prediction, reference, parse_label_set(["1"]), num_processes=1).notes
    (note,) = [note for note in notes if note.startswith("reference values")]
    more = " more (are these images?)" if values > 9 else ""
    assert note == f"reference values {shown}{more} count as background"


def test_images_in_the_place_of_predictions_are_refused_in_one_sentence(folders, capsys):
    prediction, reference = folders
    for number, words in ((251, ["--labels", "1"]), (253, [])):  # 0, 1 and 2 are known
        array = (np.arange(3 * 8 * 18) % number).astype(np.uint16).reshape(3, 8, 18)
        for case in ("c0", "c1", "c2"):
            for folder, own in ((prediction, array), (reference, array % 3)):
                write(folder, f"{case}.nii.gz", own, (10, 2, 1))
        arguments = ["evaluate", str(prediction), str(reference), "-np", "1", *words]
        assert main(arguments) == 0, "249 and 250 values are perhaps an atlas'"
        array[0, 0] = np.arange(1000, 1018)
        for case in ("c0", "c1", "c2"):
            write(prediction, f"{case}.nii.gz", array, (10, 2, 1))
        capsys.readouterr()
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert "3 problems, nothing scored:\n" in error
        said = "3 files: each holds more than 250 values that are no class: is it an image?\n"
        assert error.count("is it an image?") == 1 and said in error
        assert str(prediction / "c0.nii.gz") in error


def test_extra_files_and_unknown_values_are_noted(folders):
    prediction, reference = folders
    some = evaluate_folders(prediction, reference, labels=None, cases=["c0"], num_processes=1)
    assert some.notes == {"not among the cases asked for, not scored": ["c1", "c2"]}
    write(prediction, "c9.nii.gz", np.zeros((2, 2, 2), np.uint8), (1, 1, 1))
    evaluation = evaluate_folders(prediction, reference, parse_label_set(["1"]), num_processes=1)
    assert evaluation.notes == {
        "no reference, not scored": ["c9"],
        "predicted values [2] are not scored": ["c0", "c1", "c2"],
        "reference values [2] count as background": ["c0", "c1", "c2"],
    }


def test_a_scribble_as_reference_is_noted(folders):
    prediction, reference = folders
    array = np.full((3, 8, 9), 3, np.uint8)
    array[1, 2, 2] = 1
    write(reference, "c0.nii.gz", array, (10, 2, 1))
    labels = LabelSet({"a": (1,), "b": (2,)}, ignore=3)
    notes = evaluate_folders(prediction, reference, labels, num_processes=1).notes
    ((note, cases),) = notes.items()
    assert note.startswith("most of the reference is unlabelled")
    assert cases == ["c0"]


def test_unusable_folders(folders, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        evaluate_folders(tmp_path / "nowhere", folders[1])
    with pytest.raises(FileNotFoundError, match="no \\*.png in"):
        evaluate_folders(*folders, file_ending=".png")
    for path in folders[1].iterdir():
        write(folders[1], path.name, np.zeros((3, 8, 9), np.uint8), (10, 2, 1))
    with pytest.raises(ValueError, match="--labels"):
        evaluate_folders(*folders, num_processes=1)


def test_an_ignore_label_needs_no_dataset_json(folders, tmp_path, capsys):
    prediction, reference = folders
    for path in reference.iterdir():
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        write(prediction, path.name, labels, (10, 2, 1))
        labels[0] = 4  # where the prediction is something else
        write(reference, path.name, labels, (10, 2, 1))
    words = ["evaluate", str(prediction), str(reference), "-np", "1", "--out", str(tmp_path / "s")]
    assert main([*words, "--ignore-label", "4"]) == 0
    assert "ignore label: 4" in capsys.readouterr().out
    summary = json.loads((tmp_path / "s" / "evaluation.json").read_text())["summary"]
    assert summary["overall"]["dice"] == 1


def test_another_programs_dataset_json_is_left_alone(folders, capsys):
    prediction, reference = folders
    decathlon = {"labels": {"0": "background", "1": "liver"}, "file_ending": ".png"}
    (reference.parent / "dataset.json").write_text(json.dumps(decathlon))
    assert main(["evaluate", str(prediction), str(reference), "-np", "1"]) == 0
    assert "dataset.json is not nnU-Net's, and left alone" in capsys.readouterr().out
    assert is_nnunets(reference.parent / "dataset.json") is False
    (reference.parent / "dataset.json").write_text("{")  # whose it was is not to be seen
    assert main(["evaluate", str(prediction), str(reference), "-np", "1"]) == 1
    assert "dataset.json cannot be read as JSON" in capsys.readouterr().err


def test_a_models_validation_is_scored_with_its_own_classes_and_names(tmp_path, capsys):
    """Files as a user has them: references of some pictures alone, under other names."""
    model, reference = tmp_path / "model", tmp_path / "masks"
    validation = model / "fold_0" / "validation"
    labels = np.zeros((20, 30), np.uint8)
    labels[2:12, 5:20], labels[13:18, 5:20] = 1, 2
    for case in ("d1", "d2", "d3"):
        write(validation, f"{case}_img.png", labels, (1, 1))
    for case in ("d1", "d2", "d7"):  # d7 is no validation case
        write(reference, f"{case}_dense.png", labels, (1, 1))
    names = {"background": 0, "bean": 1, "star": 2}
    (model / "dataset.json").write_text(json.dumps({"labels": names, "file_ending": ".png"}))
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps([{"train": [], "val": ["d1_img", "d2_img", "d3_img"]}]))
    words = ["evaluate", str(validation), str(reference), "--ref-pattern", "{case}_dense.png"]
    assert main(words) == 1
    assert "say --pred-pattern '{case}_img.png'" in capsys.readouterr().err
    words += ["--pred-pattern", "{case}_img.png"]
    assert main(words) == 1
    assert "no prediction of d7" in (error := capsys.readouterr().err) and "--splits" in error
    assert main([*words, "--splits", str(splits), "-np", "1"]) == 0
    seen = capsys.readouterr().out
    assert "note: no reference, not scored: d3" in seen
    assert "bean" in seen and "star" in seen, "the model's names"
    for case in ("d1", "d2"):
        (reference / f"{case}_dense.png").unlink()
    assert main([*words, "--splits", str(splits)]) == 1
    assert "no reference in" in capsys.readouterr().err


def test_a_fold_without_splits_says_nothing(folders, capsys):
    assert main(["evaluate", *map(str, folders), "--fold", "3"]) == 1
    assert "--fold 3 says nothing without --splits" in capsys.readouterr().err


def test_label_words_and_files_that_cannot_be_used(tmp_path):
    with pytest.raises(ValueError, match="'RV=x'"):
        parse_label_set(["RV=x"])
    with pytest.raises(ValueError, match="background"):
        parse_label_set(["0"])
    with pytest.raises(ValueError, match="'A=2': A stands twice"):
        parse_label_set(["A=1", "A=2"])
    (tmp_path / "dataset.json").write_text('{"labels": [1]}')
    with pytest.raises(ValueError, match=r"json: labels is \[1\]; expected names with values"):
        read_label_set(tmp_path / "dataset.json")


def test_command_line_takes_labels_from_dataset_json_and_writes_reports(folders, tmp_path, capsys):
    prediction, reference = folders
    labels = {"background": 0, "organ": 1, "spot": 2, "never": 3, "ignore": 4}
    content = {"labels": labels, "file_ending": ".nii.gz"}
    (reference.parent / "dataset.json").write_text(json.dumps(content))  # above REF
    out = tmp_path / "scores"
    assert main(["evaluate", str(prediction), str(reference), "--out", str(out), "-np", "1"]) == 0
    table = capsys.readouterr().out
    assert "both empty: 3, left out" in table
    with (out / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert rows[2]["outcome"] == "both_empty"
    assert rows[2]["dice"] == "nan"
    report = json.loads((out / "evaluation.json").read_text())
    assert report["cases"][2]["dice"] is None
    assert report["summary"]["per_class"]["organ"]["cases"] == 3
    assert report["settings"]["labels"] == {"organ": [1], "spot": [2], "never": [3]}
    assert report["settings"]["ignore_label"] == 4
    assert report["versions"]["numpy"] == np.__version__


RECORDS = {
    "prediction.json": "scribble_tools predict",
    "predict_from_raw_data_args.json": "nnUNetv2_predict",
}


@pytest.mark.parametrize("record", RECORDS)
def test_exchanged_folders_and_a_folder_beside_itself_are_asked_about(folders, capsys, record):
    prediction, reference = folders
    (prediction / record).write_text("{}")
    assert main(["evaluate", str(prediction), str(reference)]) == 0
    assert "exchanged" not in capsys.readouterr().err
    assert main(["evaluate", str(reference), str(prediction)]) == 0
    asked = f"WARNING: {RECORDS[record]} wrote the labels in REF ({prediction}). Are PRED and REF"
    assert asked in capsys.readouterr().err
    words = ["--pred-pattern", "{case}.nii.gz"]
    assert main(["evaluate", str(reference), str(prediction), *words]) == 0
    assert "Are PRED and REF exchanged?" in capsys.readouterr().err
    assert main(["evaluate", str(prediction), str(prediction)]) == 0
    assert f"WARNING: {prediction} is compared with itself" in capsys.readouterr().err
    (reference / "prediction.json").write_text("{}")  # two models' predictions
    assert main(["evaluate", str(reference), str(prediction)]) == 0
    assert "exchanged" not in capsys.readouterr().err
    for number in range(3):
        (reference / f"c{number}.nii.gz").rename(prediction / f"c{number}_gt.nii.gz")
    words = ["--ref-pattern", "{case}_gt.nii.gz"]
    assert main(["evaluate", str(prediction), str(prediction), *words]) == 0


def test_command_line_labels_and_errors(folders, capsys):
    arguments = ["evaluate", *map(str, folders), "-np", "1"]
    assert main([*arguments, "--labels", "spot=2", "--ignore-label", "1"]) == 0
    printed = capsys.readouterr().out
    assert "note: predicted values [1] are not scored: c0 and 2 more\n" in printed
    assert "classes from --labels, ignore label: 1" in printed
    (folders[0] / "c1.nii.gz").unlink()
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "scribble_tools: error: 1 problem, nothing scored" in error
    assert "Traceback" not in error


def test_reports_are_not_overwritten_unasked(folders, tmp_path, capsys):
    arguments = ["evaluate", *map(str, folders), "--out", str(tmp_path / "out"), "-np", "1"]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'out' / 'evaluation.csv'} exists" in error
    assert "--overwrite" in error
    assert "scoring" not in error  # refused before the work
    assert main([*arguments, "--overwrite"]) == 0


def test_tolerance_and_largest_component_on_the_command_line(folders, tmp_path, capsys):
    arguments = ["evaluate", *map(str, folders), "-np", "1", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--tolerance-mm", "-1"]) == 1
    assert "tolerance -1.0 mm: give 0 or more" in capsys.readouterr().err
    assert main([*arguments, "--tolerance-mm", "0.5", "--keep-largest"]) == 0
    printed = capsys.readouterr().out
    assert "surface Dice at 0.5 mm" in printed
    assert "scored: the largest component of every class" in printed
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (content["settings"]["tolerance_mm"], content["settings"]["keep_largest"]) == (0.5, True)
    assert content["summary"]["overall"]["islands_per_case"] == 0
    # class 1 is a block of 3 x 4 pixels moved by 0, 1 and 2 columns of 1 mm
    assert content["cases"][0]["surface_dice"] == 1
    assert content["cases"][2]["surface_dice"] < 1


def test_patients_are_resampled_where_they_are_known(folders, tmp_path, capsys):
    arguments = ["evaluate", *map(str, folders), "-np", "1"]
    assert main(arguments) == 0
    assert "95 % CI of the mean: none, 3 cases are too few (it takes 6)" in capsys.readouterr().out
    record = {"patients": {"c0": "a", "c1": "a", "c2": "b", "c3": "b"}}
    (folders[1].parent / "conversion.json").write_text(json.dumps(record))
    assert main(arguments) == 0
    assert "none, 2 patients are too few" in capsys.readouterr().out
    assert main([*arguments, "--patient-regex", "c"]) == 0
    assert "none, 1 patient is too few" in capsys.readouterr().out


def test_comparison_on_the_command_line(folders, tmp_path, capsys):
    prediction, reference = folders
    out, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(reference, other)
    arguments = ["evaluate", str(prediction), str(reference), "-np", "1", "--out", str(out)]
    assert main([*arguments, "--compare", str(other)]) == 0
    printed = capsys.readouterr().out
    assert "PRED, pred, minus OTHER, other:" in printed
    assert max(map(len, printed.split("wrote")[0].splitlines()[1:])) <= 100
    names = {path.name for path in out.iterdir()}
    assert names == {*REPORTS, *COMPARISON_REPORTS}
    content = json.loads((out / "comparison.json").read_text())
    organ = content["comparison"]["per_class"]["1"]["dice"]
    assert (organ["better"], organ["worse"], organ["equal"]) == (0, 2, 1)
    assert content["settings"]["other"] == str(other)
    with (out / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    scored = [row for row in rows if row["metric"] in {metric.name for metric in METRICS}]
    assert len(scored) == 3 * 2 * len(METRICS)
    assert (rows[0]["case"], rows[0]["metric"], rows[0]["difference"]) == ("c0", "dice", "0.0")
    # a later evaluation into the same folder leaves no comparison of earlier scores behind
    assert main([*arguments, "--overwrite"]) == 0
    assert {path.name for path in out.iterdir()} == set(REPORTS)


def test_cases_missing_from_either_side_of_a_comparison_are_all_listed(folders, tmp_path, capsys):
    prediction, reference = folders
    other = tmp_path / "other"
    arguments = ["evaluate", str(prediction), str(reference), "-np", "1", "--compare", str(other)]
    assert main(arguments) == 1
    assert f"{other} is not a folder" in capsys.readouterr().err
    shutil.copytree(prediction, other)
    for path in (prediction / "c0.nii.gz", other / "c1.nii.gz", other / "c2.nii.gz"):
        path.unlink()
    assert main(arguments) == 1
    error = capsys.readouterr().err
    for folder, case in ((prediction, "c0"), (other, "c1"), (other, "c2")):
        assert f"no prediction of {case} in {folder}" in error


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("picture_is", ["prediction", "reference"])
def test_a_picture_and_a_volume_of_one_slice_are_compared(tmp_path, picture_is, turned):
    labels = np.zeros((20, 30), np.uint8)
    labels[2:12, 5:20] = 1
    write(tmp_path / "picture", "a.png", labels, (1, 1))
    stored = labels[::-1, ::-1] if turned else labels
    volume = sitk.GetImageFromArray(stored[None].copy())
    volume.SetSpacing((0.5, 0.5, 3))
    if turned:  # as the header says
        volume.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
        volume.SetOrigin((29 * 0.5, 19 * 0.5, 0))
    (tmp_path / "volume").mkdir()
    sitk.WriteImage(volume, str(tmp_path / "volume" / "a.nii.gz"))
    folders = [tmp_path / "picture", tmp_path / "volume"][
        :: 1 if picture_is == "prediction" else -1
    ]
    assert (
        main(["evaluate", *map(str, folders), "--labels", "A=1", "--out", str(tmp_path / "out")])
        == 0
    )
    rows = csv.DictReader((tmp_path / "out/evaluation.csv").open())
    assert {float(row["dice"]) for row in rows if row["case"] == "a"} == {1.0}


def test_a_picture_and_a_volume_of_slices_are_not(tmp_path, capsys):
    write(tmp_path / "a", "a.png", np.ones((20, 30), np.uint8), (1, 1))
    write(tmp_path / "b", "a.nii.gz", np.ones((4, 20, 30), np.uint8), (1, 1, 1))
    assert main(["evaluate", str(tmp_path / "a"), str(tmp_path / "b"), "--labels", "A=1"]) == 1
    assert "does not lie on its reference's voxel grid" in capsys.readouterr().err
