"""Scores against geometry worked out by hand, against medpy, and in every empty case."""

import csv
import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
from medpy.metric.binary import dc as medpy_dice
from medpy.metric.binary import hd95 as medpy_hd95
from scipy.ndimage import gaussian_filter

from scribble_tools.cli import main
from scribble_tools.evaluate import evaluate_folders
from scribble_tools.evaluation_report import format_table, summarise
from scribble_tools.label_set import LabelSet, parse_label_set, read_label_set
from scribble_tools.segmentation_scores import count_islands, dice, evaluate_case
from scribble_tools.surface_distance import bounding_box, hd95_mm, surface_points_mm

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


# --- surface distances -----------------------------------------------------------------------


def test_distance_of_two_voxels_uses_the_spacing_of_each_axis():
    a, b = mask((6, 6, 6), (1, 1, 1)), mask((6, 6, 6), (2, 4, 5))
    # 1 slice of 10 mm, 3 rows of 2 mm, 4 columns of 1.5 mm: 10, 6 and 6 mm
    assert hd95_mm(a, b, (10, 2, 1.5)) == pytest.approx(math.sqrt(100 + 36 + 36))


def test_percentile_is_taken_over_both_directions_together():
    line = mask((1, 40), *[(0, k) for k in range(19)])
    other = mask((1, 40), (0, 0))
    # 19 distances 0..18 from the line to the point, one 0 back; 0 stands at both ends of the joint
    # list: sorted 0, 0, 1, ..., 18; the 95th percentile of 20 values lies at index 18.05
    assert hd95_mm(line, other, (1, 1)) == pytest.approx(17.05)
    assert hd95_mm(other, line, (1, 1)) == pytest.approx(17.05)


def test_surface_is_what_a_face_connected_erosion_removes():
    block = np.zeros((7, 7), bool)
    block[1:6, 1:6] = True
    # the centre 3 x 3 of a 5 x 5 block survives the erosion: 16 surface pixels
    assert len(surface_points_mm(block, (1, 1))) == 16
    block[0:6, 1:6] = True  # object on the border of the image: its border row is surface
    assert (surface_points_mm(block, (3, 1))[:, 0] == 0).sum() == 5


def test_shifted_block_by_hand():
    a, b = np.zeros((12, 5), bool), np.zeros((12, 5), bool)
    a[2:5, 1:4], b[4:7, 1:4] = True, True
    # two rows of 3 mm apart. Surfaces: 8 pixels each. From a: rows 2, 3, 4 lie 6, 3, 0 mm from b's
    # first row (3, 2 and 3 pixels); the other way round alike.
    distances = [6] * 3 + [3] * 2 + [0] * 3
    assert hd95_mm(a, b, (3, 1)) == pytest.approx(np.percentile(distances * 2, 95))


@pytest.mark.parametrize("shape", [(40, 33), (9, 24, 31), (16, 17, 15)])
@pytest.mark.parametrize("seed", range(4))
def test_hd95_and_dice_agree_with_medpy(shape, seed):
    rng = np.random.default_rng(seed)
    spacing_mm = rng.uniform(0.5, 8, len(shape))
    smooth = [gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(2)]
    a, b = (field > np.quantile(field, q) for field, q in zip(smooth, (0.7, 0.95), strict=True))
    a[(0,) * len(shape)] = True  # a far island in a corner
    assert hd95_mm(a, b, spacing_mm) == pytest.approx(medpy_hd95(a, b, spacing_mm), abs=1e-6)
    assert dice(a, b) == pytest.approx(medpy_dice(a, b), abs=1e-12)


def test_hd95_of_empty_masks():
    full, empty = mask((3, 3), (1, 1)), np.zeros((3, 3), bool)
    assert math.isnan(hd95_mm(empty, empty, (1, 1)))
    assert hd95_mm(full, empty, (1, 1)) == math.inf
    assert hd95_mm(empty, full, (1, 1)) == math.inf


def test_wrong_shapes_and_spacings_are_named():
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(4, 3\)"):
        hd95_mm(np.ones((3, 3), bool), np.ones((4, 3), bool), (1, 1))
    with pytest.raises(ValueError, match="3 entries"):
        hd95_mm(np.ones((3, 3), bool), np.ones((3, 3), bool), (1, 1, 1))


def test_bounding_box():
    assert bounding_box(mask((9, 9), (2, 7), (5, 3))) == (slice(2, 6), slice(3, 8))
    assert bounding_box(np.zeros((2, 3), bool)) == (slice(0, 0), slice(0, 0))


# --- Dice and islands ------------------------------------------------------------------------


def test_dice_by_hand():
    a, b = mask((4, 4), (0, 0), (0, 1), (0, 2)), mask((4, 4), (0, 1))
    assert dice(a, b) == pytest.approx(2 * 1 / (3 + 1))
    assert dice(a, ~a) == 0
    assert dice(a, a) == 1
    assert math.isnan(dice(a & ~a, a & ~a))


def test_islands_touching_at_a_corner_are_one_component():
    assert count_islands(mask((5, 5, 5), (1, 1, 1), (2, 2, 2))) == 0
    assert count_islands(mask((5, 5), (1, 1), (2, 2))) == 0
    assert count_islands(mask((5, 5, 5), (0, 0, 0), (2, 2, 2), (4, 4, 4), (4, 0, 0))) == 3
    assert count_islands(np.zeros((5, 5), bool)) == 0


# --- one case --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predicted", "expected", "outcome", "dice_value", "hd95_value"),
    [
        (1, 1, "scored", 1.0, 0.0),
        (0, 0, "both_empty", math.nan, math.nan),
        (0, 1, "missed", 0.0, math.inf),
        (1, 0, "invented", 0.0, math.inf),
    ],
)
def test_every_empty_case(predicted, expected, outcome, dice_value, hd95_value):
    prediction, reference = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), np.uint8)
    prediction[1, 1, 1], reference[1, 1, 1] = predicted, expected
    (score,) = evaluate_case("c", prediction, reference, (10, 2, 1), ONE_CLASS)
    assert score.outcome == outcome
    assert score.dice == pytest.approx(dice_value, nan_ok=True)
    assert score.hd95_mm == pytest.approx(hd95_value, nan_ok=True)
    assert score.diagonal_mm == pytest.approx(math.sqrt(20**2 + 6**2 + 4**2))


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


# --- means -----------------------------------------------------------------------------------


def four_cases():
    """One class in four cases: Dice 1, both empty, missed, invented."""
    scores = []
    for number, (predicted, expected) in enumerate([(1, 1), (0, 0), (0, 1), (1, 0)]):
        prediction, reference = np.zeros((1, 3, 4), np.uint8), np.zeros((1, 3, 4), np.uint8)
        prediction[0, 0, 0], reference[0, 0, 0] = predicted, expected
        scores += evaluate_case(f"c{number}", prediction, reference, (12, 1, 1), ONE_CLASS)
    return scores


def test_means_leave_out_what_is_undefined_and_count_it():
    organ = summarise(four_cases())["per_class"]["organ"]
    assert organ["dice"] == pytest.approx(1 / 3)  # 1, 0, 0; the empty pair is left out
    assert organ["hd95_mm"] == 0
    assert organ["hd95_cases"] == 1
    counts = [organ[k] for k in ("cases", "scored", "both_empty", "missed", "invented")]
    assert counts == [4, 1, 1, 1, 1]


def test_missing_hd95_can_enter_as_the_diagonal():
    organ = summarise(four_cases(), missing_hd95="diagonal")["per_class"]["organ"]
    assert organ["hd95_mm"] == pytest.approx((0 + 13 + 13) / 3)  # diagonal of 12, 3 and 4 mm
    assert organ["hd95_cases"] == 3
    with pytest.raises(ValueError, match="'zero'"):
        summarise(four_cases(), missing_hd95="zero")


def test_overall_means_classes_and_sums_islands():
    reference = np.array([[1, 1, 0, 2, 2, 0, 0]])
    prediction = np.array([[1, 0, 1, 2, 2, 0, 2]])
    scores = evaluate_case("c", prediction, reference, (1, 1), parse_label_set(["1", "2"]))
    overall = summarise(scores)["overall"]
    assert overall["dice"] == pytest.approx((2 / 4 + 4 / 5) / 2)
    assert overall["islands_per_case"] == 2


def test_the_table_shows_every_empty_case():
    table = format_table(summarise(four_cases()))
    header, row = table.splitlines()[:2]
    assert header.split()[-4:] == ["missed", "invented", "both", "empty"]
    assert row.split()[-3:] == ["1", "1", "1"]
    assert "missed or invented: 2, Dice 0, left out of the mean HD95" in table
    assert "both empty: 1, left out of the means" in table
    with_diagonal = format_table(summarise(four_cases(), "diagonal"), "diagonal")
    assert "with the image's diagonal" in with_diagonal


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


def test_two_processes_give_the_same_scores(folders):
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
    assert f"{prediction / 'c0.nii.gz'}: no such prediction" in message
    grid = "does not lie on its reference's voxel grid: "
    assert f"c1.nii.gz {grid}size (8, 8, 3) against (9, 8, 3)" in message
    assert f"c2.nii.gz {grid}spacing [1.0, 2.0, 5.0] against [1.0, 2.0, 10.0]" in message
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
    assert "has 1 folds, no fold 1" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no reference in .* for c7"):
        evaluate_folders(prediction, reference, cases=["c7"])


def test_extra_files_and_unknown_values_are_noted(folders):
    prediction, reference = folders
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


def test_label_words_and_files_that_cannot_be_used(tmp_path):
    with pytest.raises(ValueError, match="'RV=x'"):
        parse_label_set(["RV=x"])
    with pytest.raises(ValueError, match="background"):
        parse_label_set(["0"])
    (tmp_path / "dataset.json").write_text('{"labels": [1]}')
    with pytest.raises(ValueError, match="no usable 'labels'"):
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


def test_command_line_labels_and_errors(folders, capsys):
    arguments = ["evaluate", *map(str, folders), "-np", "1"]
    assert main([*arguments, "--labels", "spot=2", "--ignore-label", "1"]) == 0
    printed = capsys.readouterr().out
    assert "note: predicted values [1] are not scored: c0 and 2 more\n" in printed
    assert "classes from --labels, ignore label: 1" in printed
    (folders[0] / "c1.nii.gz").unlink()
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "scribble_tools: error: 1 problems, nothing scored" in error
    assert "Traceback" not in error
