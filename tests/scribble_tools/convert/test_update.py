"""`convert folder --update`: more strokes into the same data set."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.cli import main
from scribble_tools.convert.mixed_up import mixed_up, unlike_its_case
from scribble_tools.convert.source import SourceCase
from scribble_tools.convert.stroke_changes import count_changes, merge
from scribble_tools.convert.update import extend_splits
from scribble_tools.convert.update_line import update_command
from scribble_tools.suggest.new_patients import write_new_patients
from tests.scribble_tools.images.test_slicer_segmentation import write_seg

SHAPE = (3, 12, 14)
IGNORE = 3


def write(path, array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 5.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def strokes(**extra):
    """User's values: 4 background, 1 RV, 2 LV, 0 unlabelled."""
    values = np.zeros(SHAPE, np.uint8)
    values[0, 2, 1:6], values[0, 5, 1:6], values[0, 9, 1:12] = 1, 2, 4
    return values


@pytest.fixture
def raw(tmp_path):
    """A data set of four cases of two patients each with an own fold."""
    generator = np.random.default_rng(0)
    for patient in (1, 2, 3):
        for time in "ab":
            name = f"p{patient}_{time}"
            write(tmp_path / "images" / f"{name}.nii.gz", generator.normal(0, 1, SHAPE))
            write(tmp_path / "drawn" / f"{name}.nii.gz", strokes())
    assert main(convert(tmp_path, "images", "drawn", *LABELS)) == 0
    return tmp_path / "raw" / "Dataset130_Hearts"


LABELS = (
    "--labels background=4 RV=1 LV=2 --unlabelled 0 --name Hearts --patient-regex (p\\d+)".split()
)


def convert(root, images, scribbles, *words):
    folders = ["--images", str(root / images)] if images else []
    return [
        *"convert folder --dataset-id 130 --scribbles".split(),
        str(root / scribbles),
        *folders,
        *("--out", str(root / "raw")),
        *words,
    ]


def update(raw, *words, images=None, scribbles="next"):
    return main(convert(raw.parents[1], images, scribbles, "--update", *words))


def labels_of(raw, case, folder="labelsTr"):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(raw / folder / f"{case}.nii.gz")))


def record_of(raw):
    return json.loads((raw / "conversion.json").read_text())


def snapshot(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_added_and_corrected_strokes_go_in_and_the_earlier_ones_stay(raw, capsys):
    before = labels_of(raw, "p1_a")
    splits = (raw / "splits_final.json").read_bytes()
    new = np.zeros(SHAPE, np.uint8)
    new[2, 4, 2:8] = 1  # added
    new[0, 5, 1:3] = 1  # what was LV
    write(raw.parents[1] / "next" / "p1_a.nii.gz", new)
    capsys.readouterr()
    assert update(raw) == 0
    after = labels_of(raw, "p1_a")
    assert (after[2, 4, 2:8] == 1).all() and [*after[0, 5, 1:6]] == [1, 1, 2, 2, 2]
    untouched = np.ones(SHAPE, bool)
    untouched[2, 4, 2:8] = untouched[0, 5, 1:3] = False
    np.testing.assert_array_equal(after[untouched], before[untouched])
    assert (raw / "splits_final.json").read_bytes() == splits
    np.testing.assert_array_equal(labels_of(raw, "p1_a", "labelsTr_before_update_1"), before)
    assert len(list((raw / "labelsTr_before_update_1").iterdir())) == 1
    out = capsys.readouterr().out
    rows = {tuple(line.split()) for line in out.splitlines()}
    assert ("p1_a", "RV", "5", "+6", "2", "0", "13") in rows
    assert ("p1_a", "LV", "5", "+0", "0", "2", "3") in rows
    assert "1 case changed, 0 new" in out and "19 voxels of earlier strokes" in out
    earlier = raw / "labelsTr_before_update_1"
    undo = f"before: {earlier}. To undo the update, copy them back into {raw / 'labelsTr'}\n"
    assert undo in out and "new cases stay" not in out
    (entry,) = record_of(raw)["updates"]
    assert entry["changed"] == ["p1_a"] and entry["earlier"] == "labelsTr_before_update_1"


def test_the_same_files_again_change_nothing(raw, capsys):
    files = snapshot(raw)
    assert update(raw, scribbles="drawn") == 0
    assert snapshot(raw) == files
    assert "0 cases changed, 0 new, 6 with nothing new" in capsys.readouterr().out


def test_erase_takes_away_what_the_new_file_lacks(raw):
    new = strokes()
    new[0, 5] = 0
    new[1, 5, 1:6] = 2
    write(raw.parents[1] / "next" / "p2_b.nii.gz", new)
    assert update(raw, "--erase") == 0
    after = labels_of(raw, "p2_b")
    assert (after[0, 5] == IGNORE).all() and (after[1, 5, 1:6] == 2).all()
    assert (labels_of(raw, "p2_b", "labelsTr_before_update_1")[0, 5, 1:6] == 2).all()
    write(raw.parents[1] / "next" / "p2_b.nii.gz", np.zeros(SHAPE, np.uint8))
    assert update(raw, "--erase") == 1, "no stroke would be left"


def test_a_new_case_keeps_to_its_patient_and_a_new_patient_gets_a_fold(raw, capsys):
    root, generator = raw.parents[1], np.random.default_rng(1)
    for name in ("p2_c", "p9_a"):
        write(root / "more" / f"{name}.nii.gz", generator.normal(0, 1, SHAPE))
        write(root / "next" / f"{name}.nii.gz", strokes())
    write(root / "next" / "p1_a.nii.gz", strokes())
    before = json.loads((raw / "splits_final.json").read_text())
    assert update(raw, "--patient-regex", r"(p\d+)", images="more") == 0
    out = capsys.readouterr().out
    assert "install-splits 130 --overwrite" in out and "To undo" not in out
    assert "new cases stay; for a data set without them convert to another --dataset-id" in out
    after = json.loads((raw / "splits_final.json").read_text())
    for old, new in zip(before, after, strict=True):
        assert set(old["train"]) <= set(new["train"]) and set(old["val"]) <= set(new["val"])
        side = "val" if "p2_a" in old["val"] else "train"
        assert "p2_c" in new[side]
        assert set(new["train"]) | set(new["val"]) == set(old["train"] + old["val"]) | {
            "p2_c",
            "p9_a",
        }
    assert sum("p9_a" in fold["val"] for fold in after) == 1
    assert json.loads((raw / "dataset.json").read_text())["numTraining"] == 8
    assert (
        record_of(raw)["patients"]["p9_a"] == "p9" and (raw / "imagesTr/p9_a_0000.nii.gz").exists()
    )
    np.testing.assert_array_equal(labels_of(raw, "p9_a"), labels_of(raw, "p1_b"))
    assert main(["check", str(raw)]) == 0


def add_case(root, name):
    write(root / "more" / f"{name}.nii.gz", np.random.default_rng(1).normal(0, 1, SHAPE))
    write(root / "next" / f"{name}.nii.gz", strokes())


def test_patients_of_new_cases_are_found_as_those_of_the_first_ones(raw, capsys):
    add_case(raw.parents[1], "p2_c")
    capsys.readouterr()
    assert " --patient-regex '(p\\d+)' " in update_command(raw, Path("next"), Path("more"))
    assert "regex" not in update_command(raw, Path("next"))
    assert update(raw, images="more") == 0
    assert record_of(raw)["patients"]["p2_c"] == "p2"
    assert "patient of its own" not in capsys.readouterr().out
    assert main(["check", str(raw)]) == 0


@pytest.mark.parametrize("recorded", [True, False])
def test_the_line_of_suggest_is_taken_where_the_first_regex_does_not_fit(
    raw, recorded, capsys, monkeypatch
):
    root = raw.parents[1]
    if not recorded:  # a record of an earlier version
        content = record_of(raw)
        del content["patient_regex"]
        (raw / "conversion.json").write_text(json.dumps(content))
    add_case(root, "scan7")
    monkeypatch.chdir(root)
    alone = write_new_patients(Path("more"), raw, root)
    assert alone == ["scan7"]
    line = update_command(raw, Path("next"), Path("more"), patients=Path("patients.csv"))
    assert "regex" not in line and " --patients patients.csv " in line
    assert main(line.split()[1:]) == 0
    assert record_of(raw)["patients"]["scan7"] == "scan7"


def test_where_the_first_regex_fits_no_table_of_patients_is_needed(raw):
    root = raw.parents[1]
    add_case(root, "p2_c")
    assert write_new_patients(root / "more", raw, root) == []
    add_case(root, "scan7")
    assert write_new_patients(root / "more", raw, root) == ["scan7"]
    assert (root / "patients.csv").read_text().split() == ["case,patient", "p2_c,p2", "scan7,scan7"]


def test_new_images_in_which_nothing_was_drawn_are_passed_over(raw, capsys):
    root = raw.parents[1]
    values = np.zeros(SHAPE, np.uint8)
    values[1, 2:6, 2:6], values[1, 8, 2:9] = 101, 201  # a prediction and a mark
    for name in ("p2_c", "p9_a"):
        add_case(root, name)
    write(root / "next" / "p9_a.nii.gz", values)
    assert update(raw, images="more") == 1, "nobody says that it comes from `suggest`"
    beside = {"names": {"101": "prediction: LV"}, "voxels": {"p9_a": {"101": 16, "201": 7}}}
    content = json.dumps({"values": [101, 201], "segments": [], **beside})
    (root / "next" / "not_strokes.json").write_text(content)
    capsys.readouterr()
    assert update(raw, images="more") == 0
    assert "0 cases changed, 1 new, 1 with nothing new\n" in capsys.readouterr().out
    assert "p9_a" not in record_of(raw)["cases"]
    assert not list(raw.glob("*/p9_a*")) and list(raw.glob("*/p2_c*"))
    values[0, 0, 0:4] = 101  # by somebody who takes it for LV
    write(root / "next" / "p9_a.nii.gz", values)
    files = snapshot(raw)
    assert update(raw, images="more") == 0
    out = capsys.readouterr().out
    assert "note: p9_a.nii.gz: 4 voxels were drawn with 'prediction: LV' (101): draw with 2" in out
    assert snapshot(raw) == files


def test_where_nothing_tells_the_patients_of_new_cases_they_are_asked_for(raw, capsys):
    content = record_of(raw)
    del content["patient_regex"]  # a record of an earlier version
    (raw / "conversion.json").write_text(json.dumps(content))
    add_case(raw.parents[1], "p2_c")
    files = snapshot(raw)
    assert update(raw, images="more") == 1
    error = capsys.readouterr().err
    assert "cases of the data set share patients, and conversion.json does not say" in error
    assert "new cases p2_c: --patient-regex or --patients" in error and snapshot(raw) == files
    content["patients"] = {case: case for case in content["patients"]}
    (raw / "conversion.json").write_text(json.dumps(content))
    assert update(raw, images="more") == 0
    assert "every case counts as a patient of its own" in capsys.readouterr().out


def test_new_images_with_exchanged_channels_are_refused(raw, capsys):
    content = json.loads((raw / "dataset.json").read_text())
    content["channel_names"] = {"0": "T1", "1": "T2"}
    (raw / "dataset.json").write_text(json.dumps(content))
    files = snapshot(raw)
    patterns = ["--image-pattern", "{case}_T2.nii.gz", "{case}_T1.nii.gz"]
    assert update(raw, *patterns, images="images") == 1
    error = capsys.readouterr().err
    assert "channels exchanged: T1 = {case}_T2.nii.gz, T2 = {case}_T1.nii.gz. The data" in error
    assert "--image-pattern '{case}_T1.nii.gz' '{case}_T2.nii.gz'" in error
    assert snapshot(raw) == files


def test_new_images_in_another_order_than_the_first_files_are_refused(tmp_path, capsys):
    """Whatever the channels are called."""
    for case in ("anna", "ben"):
        for name in ("cine", "grad"):
            array = np.random.default_rng(len(case + name)).normal(0, 1, SHAPE)
            write(tmp_path / "images" / case / f"{name}.nii.gz", array)
        write(tmp_path / "drawn" / f"{case}.nii.gz", strokes())
    words = [*LABELS[:-2], "--channel-names", "MRI", "Edges"]
    said = ["--image-pattern", "{case}/cine.nii.gz", "{case}/grad.nii.gz"]
    assert main(convert(tmp_path, "images", "drawn", *words, *said)) == 0
    (tmp_path / "images" / "ben").rename(tmp_path / "images" / "zoe")
    (tmp_path / "drawn" / "ben.nii.gz").rename(tmp_path / "drawn" / "zoe.nii.gz")
    raw = tmp_path / "raw" / "Dataset130_Hearts"
    exchanged = [said[0], *said[:0:-1]]
    assert update(raw, *exchanged, images="images", scribbles="drawn") == 1
    error = capsys.readouterr().err
    assert "MRI, Edges of the data set are cine.nii.gz, grad.nii.gz in this order" in error
    assert "--image-pattern '{case}/cine.nii.gz' '{case}/grad.nii.gz'" in error
    assert update(raw, *said, images="images", scribbles="drawn") == 0


def test_a_regex_that_gives_an_old_patient_another_name_is_refused(raw, capsys):
    add_case(raw.parents[1], "p2_c")
    files = snapshot(raw)
    table = raw.parents[1] / "patients.csv"
    table.write_text("case,patient\np2_c,new\np2_a,new\n")
    for words, what in (
        (["--patient-regex", r"p(\d+)"], r"--patient-regex 'p(\d+)' gives the patient 1 to the"),
        (["--patient-regex", "(.+)"], "gives the patient p1_a to the old case p1_a"),
        (["--patients", str(table)], "patients.csv gives the patient new to the old case p2_a"),
    ):
        assert update(raw, *words, images="more") == 1
        error = capsys.readouterr().err
        assert what in error and " in conversion.json: a patient would end on both" in error
    assert snapshot(raw) == files


def test_the_first_regex_that_does_not_fit_a_new_case_is_said_to_be_the_first_ones(raw, capsys):
    add_case(raw.parents[1], "scan7")
    assert update(raw, images="more") == 1
    error = capsys.readouterr().err
    assert "gives no patient for the cases scan7. It is the first conversion's (conv" in error
    assert update(raw, "--seed", "7", "--channel-names", "CT") == 1
    assert "leave out --channel-names, --seed" in capsys.readouterr().err


def test_patients_that_are_said_though_no_case_is_new_are_not_passed_over_in_silence(raw, capsys):
    assert update(raw, "--patient-regex", r"p(\d+)", scribbles="drawn") == 0
    note = "note: --patient-regex is for new cases, and none is new"
    assert note in capsys.readouterr().out
    assert update(raw, "--patient-regex", r"(p\d+)", scribbles="drawn") == 0
    assert note not in capsys.readouterr().out


def test_what_suggest_wrote_beside_the_strokes_is_no_stroke(raw, capsys):
    root = raw.parents[1]
    values = strokes()
    values[1, 2:6, 2:6], values[1, 8, 2:9] = 101, 201  # a prediction and a mark
    values[1, 4, 3:5] = 1  # what the user drew
    write(root / "next" / "p3_a.nii.gz", values)
    files = snapshot(raw)
    assert update(raw) == 1, "nobody says what 101 and 201 are"
    assert snapshot(raw) == files
    (root / "next" / "not_strokes.json").write_text('{"values": [101, 201], "segments": []}')
    assert update(raw) == 0
    after = labels_of(raw, "p3_a")
    assert (after[1] != IGNORE).sum() == 2 and (after[1, 4, 3:5] == 1).all()
    assert "never trained on" not in capsys.readouterr().out, "nobody knows what was drawn"
    beside = {"names": {"101": "prediction: LV"}, "voxels": {"p3_a": {"101": 10, "201": 7}}}
    content = json.dumps({"values": [101, 201], "segments": [], **beside})
    (root / "next" / "not_strokes.json").write_text(content)
    assert update(raw) == 0
    assert (
        "note: p3_a.nii.gz: 4 voxels were drawn with 'prediction: LV' (101): draw with 2. "
        "Predictions and marks are never trained on\n"
    ) in capsys.readouterr().out


def test_of_the_folder_that_suggest_wrote_the_one_with_the_labels_is_named(raw, capsys):
    folder = raw.parents[1] / "next"
    write(folder / "labels" / "p3_a.nii.gz", strokes())
    (folder / "labels" / "not_strokes.json").write_text('{"values": [], "segments": []}')
    (folder / "overview.png").touch()
    assert update(raw) == 1
    assert f"Say --scribbles {folder / 'labels'}\n" in capsys.readouterr().err
    assert update(raw, scribbles="next/labels") == 0


def test_unlabelled_says_it_by_hand(raw):
    values = strokes()
    values[1, 2:6, 2:6] = 77
    write(raw.parents[1] / "next" / "p3_a.nii.gz", values)
    assert update(raw, "--unlabelled", "77") == 0
    assert (labels_of(raw, "p3_a")[1] == IGNORE).all()


ALIASES = '{"values": [101], "segments": [], "aliases": {"0": 4, "100": 0}}'


@pytest.fixture
def zero_is_background(tmp_path):
    """A data set of one case, of files in which 0 is background and 4 unlabelled."""
    write(tmp_path / "images" / "p1.nii.gz", np.random.default_rng(0).normal(0, 1, SHAPE))
    values = strokes()
    values[strokes() == 0], values[strokes() == 4] = 4, 0
    write(tmp_path / "drawn" / "p1.nii.gz", values)
    words = "--labels background=0 RV=1 LV=2 --unlabelled 4 --name Hearts".split()
    assert main(convert(tmp_path, "images", "drawn", *words)) == 0
    return tmp_path / "raw" / "Dataset130_Hearts"


def test_messages_show_the_values_that_the_file_holds(zero_is_background, capsys):
    """What `suggest` wrote: 0 there means nothing, and 100 background."""
    raw, values = zero_is_background, strokes()
    folder = raw.parents[1] / "next"
    values[strokes() == 4], values[1, 2, 2:5], values[2, 2, 2:5] = 100, 101, 9
    write(folder / "p1.nii.gz", values)
    (folder / "not_strokes.json").write_text(ALIASES)
    capsys.readouterr()
    assert update(raw) == 1
    assert (
        "p1.nii.gz holds the values [9], which are not mapped (background=100 RV=1 LV=2 "
        "unlabelled=0,4,101). Values and voxels seen: 0 (477), 1 (5), 2 (5), 9 (3), 100 (11), 101 ("
    ) in capsys.readouterr().err
    assert update(raw, "--unlabelled", "9") == 0
    assert "0 cases changed" in capsys.readouterr().out


def test_where_zero_is_background_an_erased_voxel_is_unlabelled(zero_is_background, capsys):
    raw, values = zero_is_background, strokes()
    folder = raw.parents[1] / "next"
    values[strokes() == 4], values[1, 2:6, 2:9] = 100, 101
    values[1, 3, 3:6] = 0  # a piece of the prediction erased, or meant to be background
    write(folder / "p1.nii.gz", values)
    (folder / "not_strokes.json").write_text(ALIASES)
    assert update(raw) == 0
    assert (labels_of(raw, "p1")[1] == IGNORE).all()
    note = "no background was drawn: its value in files of `suggest` is 100, not 0"
    assert note in capsys.readouterr().out
    values[1, 3, 3:6] = 100
    write(folder / "p1.nii.gz", values)
    assert update(raw) == 0
    after = labels_of(raw, "p1")[1]
    assert (after[3, 3:6] == 0).all() and (after != IGNORE).sum() == 3
    assert note not in capsys.readouterr().out


@pytest.mark.parametrize("new_case", [False, True])
def test_zero_that_was_background_and_now_is_unlabelled_is_asked_about(
    zero_is_background, new_case, capsys
):
    raw, values = zero_is_background, strokes()
    root, case = raw.parents[1], "p2" if new_case else "p1"
    values[strokes() == 4], values[2, 1:3, 1:13] = 0, 2
    write(root / "next" / f"{case}.nii.gz", values)
    write(root / "more" / "p2.nii.gz", np.random.default_rng(1).normal(0, 1, SHAPE))
    files = snapshot(raw)
    assert update(raw, images="more") == 1
    error = capsys.readouterr().err
    assert f"{case}.nii.gz: are background and unlabelled swapped? 0, which is" in error
    assert "say --unlabelled 0; if" in error and snapshot(raw) == files
    assert update(raw, "--unlabelled", "0", images="more") == 0
    assert (labels_of(raw, case)[1] == IGNORE).all()
    assert update(raw, "--not-swapped", images="more") == 0
    assert (labels_of(raw, case)[1] == 0).all()


def test_background_and_unlabelled_that_new_files_exchange_are_taken_as_said(
    zero_is_background, capsys
):
    raw, values = zero_is_background, strokes()  # 4 is background there, 0 unlabelled
    values[2, 1, 1:13] = 4
    write(raw.parents[1] / "next" / "p1.nii.gz", values)
    files = snapshot(raw)
    assert update(raw) == 1
    assert "If it is unlabelled here, say --unlabelled 0;" in capsys.readouterr().err
    assert update(raw, "--unlabelled", "0") == 1
    line = "--labels background=4 RV=1 LV=2 --unlabelled 0"
    asked = "holds 4, unlabelled in the first files, beside 0, which is unlabelled now. Is 4 back"
    assert asked in (error := capsys.readouterr().err) and line in error
    assert snapshot(raw) == files
    assert update(raw, *line.split()) == 0
    expected = np.array([IGNORE, 1, 2, 9, 0])[values]
    np.testing.assert_array_equal(labels_of(raw, "p1"), expected)
    assert update(raw, "--unlabelled", "0", "--not-swapped") == 0  # nothing but the organs
    np.testing.assert_array_equal(labels_of(raw, "p1"), expected)


def test_files_of_the_first_convention_among_exchanged_ones_are_told(zero_is_background, capsys):
    raw = zero_is_background
    for case in ("p2", "p3"):
        write(
            raw.parents[1] / "more" / f"{case}.nii.gz", np.random.default_rng(1).normal(0, 1, SHAPE)
        )
        write(raw.parents[1] / "next" / f"{case}.nii.gz", strokes())
    shutil.copy(raw.parents[1] / "drawn" / "p1.nii.gz", raw.parents[1] / "next" / "p1.nii.gz")
    line = "--labels background=4 RV=1 LV=2 --unlabelled 0".split()
    assert update(raw, *line, images="more") == 1
    assert (
        "p1.nii.gz: are background and unlabelled swapped? 4, which is" in capsys.readouterr().err
    )


def test_what_is_said_to_be_unlabelled_is_so_even_if_it_was_a_class(raw):
    values = strokes()
    values[2, 4, 2:8], values[1, 4, 2:8] = 4, 1
    write(raw.parents[1] / "next" / "p1_a.nii.gz", values)
    assert update(raw, "--unlabelled", "4") == 0
    after = labels_of(raw, "p1_a")
    assert (after[1, 4, 2:8] == 1).all() and (after[2] == IGNORE).all()


SEGMENTS = [("Right ventricle", 1, 0), ("Outside", 2, 0)]


@pytest.fixture
def of_segments(tmp_path):
    """A data set of segments of 3D Slicer, and an image and a layer of theirs."""
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 1, SHAPE))
    image.SetSpacing((1.0, 1.0, 5.0))
    layer = np.zeros(SHAPE, np.uint8)
    layer[0, 2, 1:6], layer[0, 9, 1:12] = 1, 2
    for name in ("a", "b"):
        (tmp_path / "images").mkdir(exist_ok=True)
        sitk.WriteImage(image, str(tmp_path / "images" / f"{name}.nii.gz"))
        write_seg(tmp_path / "drawn" / f"{name}.seg.nrrd", image, layer, SEGMENTS)
    words = ["--labels", "background=Outside", "RV=Right ventricle", "--name", "Hearts"]
    assert main(convert(tmp_path, "images", "drawn", *words)) == 0
    return tmp_path / "raw" / "Dataset130_Hearts", image, layer


def test_a_segmentation_of_slicer_passes_over_predictions_and_marks(of_segments):
    raw, image, layer = of_segments
    more = np.zeros((3, *SHAPE), np.uint8)
    more[0] = layer
    more[0, 2, 4, 3:8] = 2  # a new background stroke, under a prediction and a mark
    more[1, 2, 3:7, 2:9], more[2, 2, 4, 2:9] = 1, 1
    names = [*SEGMENTS, ("prediction: RV", 1, 1), ("look 1: RV or background?", 1, 2)]
    write_seg(raw.parents[1] / "next" / "a.seg.nrrd", image, more, names)
    assert update(raw) == 0
    after = labels_of(raw, "a")
    assert (after[2] != 2).sum() == 5 and (after[2, 4, 3:8] == 0).all()


def test_a_new_segmentation_of_slicer_in_which_nothing_was_drawn_is_passed_over(
    of_segments, capsys
):
    raw, image, layer = of_segments
    root = raw.parents[1]
    (root / "more").mkdir()
    segments = [("Right ventricle", 1, 0), ("look here", 2, 0)]
    for name, drawn in (("c", layer == 1), ("d", layer == 3)):
        sitk.WriteImage(image, str(root / "more" / f"{name}.nii.gz"))
        values = np.where(drawn, 1, np.where(layer == 2, 2, 0)).astype(np.uint8)
        write_seg(root / "next" / f"{name}.seg.nrrd", image, values, segments)
    voxels = {name: {"look here": 11} for name in "cd"}
    content = {"values": [], "segments": ["look "], "voxels": voxels}
    (root / "next" / "not_strokes.json").write_text(json.dumps(content))
    assert update(raw, images="more") == 0
    assert " 1 new, 1 with nothing new\n" in capsys.readouterr().out
    assert (labels_of(raw, "c") == 1).sum() == 5 and not list(raw.glob("*/d*"))


def test_an_unlabelled_segment_takes_no_class_along_whose_name_begins_alike(tmp_path):
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 1, SHAPE))
    layer = np.zeros(SHAPE, np.uint8)
    layer[0, 2, 1:6], layer[0, 9, 1:12] = 1, 2
    (tmp_path / "images").mkdir()
    sitk.WriteImage(image, str(tmp_path / "images" / "a.nii.gz"))
    segments = [("bone marrow", 1, 0), ("Outside", 2, 0)]
    write_seg(tmp_path / "drawn" / "a.seg.nrrd", image, layer, segments)
    words = ["--labels", "background=Outside", "marrow=bone marrow", "--name", "Hearts"]
    assert main(convert(tmp_path, "images", "drawn", *words)) == 0
    layer[1, 4, 2:8], layer[2, 4, 2:8] = 1, 3
    segments.append(("bone", 3, 0))
    write_seg(tmp_path / "next" / "a.seg.nrrd", image, layer, segments)
    raw = tmp_path / "raw" / "Dataset130_Hearts"
    assert update(raw) == 1, "nobody says what bone is"
    assert update(raw, "--unlabelled", "bone") == 0
    after = labels_of(raw, "a")
    assert (after[1, 4, 2:8] == 1).all() and (after[2] == 2).all()


def test_images_that_are_a_link_stay_so_and_get_no_new_ones(raw, capsys):
    root = raw.parents[1]
    (raw / "imagesTr").rename(root / "shared")
    (raw / "imagesTr").symlink_to(root / "shared", target_is_directory=True)
    new = strokes()
    new[2, 4, 2:8] = 1
    write(root / "next" / "p1_a.nii.gz", new)
    assert update(raw) == 0
    assert (raw / "imagesTr").is_symlink() and (labels_of(raw, "p1_a")[2, 4, 2:8] == 1).all()
    add_case(root, "p2_c")
    files = snapshot(raw)
    assert update(raw, images="more") == 1
    assert f"{raw / 'imagesTr'} is a link to another folder" in capsys.readouterr().err
    assert snapshot(raw) == files


def test_a_new_image_of_another_dimension_is_refused(raw, capsys):
    root = raw.parents[1]
    for folder, array in (("more", np.ones((12, 14), np.int16)), ("next", strokes()[0])):
        (root / folder).mkdir(exist_ok=True)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(root / folder / "p2_c.nii.gz"))
    files = snapshot(raw)
    assert update(raw, images="more") == 1
    assert "p2_c.nii.gz is 2D, but the data set's images are 3D" in capsys.readouterr().err
    assert snapshot(raw) == files


def test_the_values_of_a_label_map_for_a_data_set_of_segments_are_asked_for(of_segments, capsys):
    raw, _, layer = of_segments
    layer[2, 4, 3:8] = 1
    write(raw.parents[1] / "next" / "a.nii.gz", layer)
    files = snapshot(raw)
    for words in ([], ["--unlabelled", "0"], ["--not-swapped"]):
        assert update(raw, *words) == 1
        error = capsys.readouterr().err
        assert "a.nii.gz is a label map, but the data set was drawn by names" in error
        assert "--labels background=VALUE RV=VALUE --unlabelled VALUE. Or save" in error
        assert "(.seg.nrrd) with the segments Outside, Right ventricle. Is it a mask" in error
        assert "drawn by names, so that it keeps these and no values. Say what" in error
    for words, what in (
        (["RV=1", "--unlabelled", "0"], "no background"),
        (["background=2", "LV=1", "--unlabelled", "0"], "has the classes background, RV: name"),
        (["background=2", "RV=1"], "is said to mean unlabelled: say --unlabelled VALUE. Files"),
        (["background=Outside", "RV=1"], "'Outside' is not a value. Files .seg.nrrd of 3D Slicer"),
    ):
        assert update(raw, "--labels", *words) == 1
        assert what in capsys.readouterr().err
    words = ["--labels", "background=2", "RV=1", "--unlabelled", "0"]
    assert update(raw, *words, scribbles="drawn") == 1
    assert "--labels is for label maps, and all files are seg" in capsys.readouterr().err
    assert snapshot(raw) == files
    assert update(raw, "--labels", "background=2", "RV=1", "--unlabelled", "0") == 0
    after = labels_of(raw, "a")
    assert (after[2, 4, 3:8] == 1).all() and (after[0, 9, 1:12] == 0).all()


def test_that_masks_are_to_be_joined_is_said_wherever_they_are_tried(of_segments, capsys):
    raw, _, layer = of_segments
    for value, name in ((1, "rv"), (2, "bg")):
        write(raw.parents[1] / "next" / f"a_{name}.nii.gz", (layer == value).astype(np.uint8))
    joined = "--update takes one file a case: join masks into one label map, or"
    for words in (
        [],
        ["--labels", "background={case}_bg.nii.gz", "RV={case}_rv.nii.gz"],
        ["--scribble-pattern", "{case}_bg.*"],
    ):
        assert update(raw, *words) == 1
        assert joined in capsys.readouterr().err


def test_what_suggest_wrote_as_label_maps_for_a_data_set_of_segments_is_known(of_segments, capsys):
    raw, _, _ = of_segments
    values = np.zeros(SHAPE, np.uint8)
    values[2, 4, 3:8], values[2, 6, 3:8], values[1] = 1, 100, 101
    write(raw.parents[1] / "next" / "a.nii.gz", values)
    list_of = '{"values": [101], "segments": [], "aliases": {"0": 2, "100": 0}}'
    (raw.parents[1] / "next" / "not_strokes.json").write_text(list_of)
    assert update(raw, "--labels", "background=2", "RV=1") == 1
    assert "leave out --labels" in capsys.readouterr().err
    assert update(raw) == 0
    after = labels_of(raw, "a")
    assert (after[2, 4, 3:8] == 1).all() and (after[2, 6, 3:8] == 0).all()
    assert (after[1] == 2).all()


def test_all_problems_are_named_and_nothing_is_written(raw, capsys):
    root = raw.parents[1]
    for name, value, shape in (("p1_a", 9, SHAPE), ("p1_b", 1, (2, 2, 2))):
        array = np.zeros(shape, np.uint8)
        array[0, 0, 0] = value
        write(root / "next" / f"{name}.nii.gz", array)
    files = snapshot(raw)
    capsys.readouterr()
    assert update(raw) == 1
    error = capsys.readouterr().err
    assert "p1_a.nii.gz holds the values [9]" in error and "p1_b.nii.gz" in error
    write(root / "next" / "stranger.nii.gz", strokes())
    assert update(raw, "--exclude", "strangre*") == 1
    error = capsys.readouterr().err
    assert "stranger.nii.gz" in error
    assert "--exclude 'strangre*' fits no file below" in error
    assert (
        "Cases of the data set: p1_a, p1_b, p2_a, p2_b, p3_a and 1 more. Say how they are called "
        "with --scribble-pattern. If they are of new images, say --images FOLDER, too\n"
    ) in error
    assert update(raw, images="images") == 1
    error = capsys.readouterr().err
    assert f"{root / 'images'} has no images that are called so\n" in error
    assert "say --images" not in error
    assert snapshot(raw) == files and not list(raw.parent.glob(".*"))


def test_added_strokes_are_not_lost_by_a_later_overwrite(raw, capsys):
    new = strokes()
    new[2, 4, 2:8] = 1
    write(raw.parents[1] / "next" / "p1_a.nii.gz", new)
    assert update(raw) == 0
    files = snapshot(raw)
    assert main(convert(raw.parents[1], "images", "drawn", *LABELS, "--overwrite")) == 1
    assert "strokes that --update added" in capsys.readouterr().err
    assert snapshot(raw) == files


@pytest.mark.parametrize("words", [["--labels", "RV=1"], ["--overwrite"], ["--mixed"]])
def test_what_an_update_cannot_change_is_refused(raw, words, capsys):
    assert update(raw, *words, scribbles="drawn") == 1
    assert f"leave out {words[0]}" in capsys.readouterr().err


def test_a_first_conversion_needs_images_and_a_name(tmp_path, capsys):
    assert main(convert(tmp_path, None, "drawn")) == 1
    assert "--images and --name" in capsys.readouterr().err


def test_merge_and_counts_by_hand():
    earlier, new = np.array([3, 3, 1, 1, 2, 0]), np.array([1, 3, 3, 2, 2, 3])
    merged, kept = merge(earlier, new, 3)
    assert merged.tolist() == [1, 3, 1, 2, 2, 0] and kept == 2
    assert merge(earlier, new, 3, erase=True)[0] is new
    rows = count_changes("c", earlier, merged, {"background": 0, "RV": 1, "LV": 2, "ignore": 3}, 3)
    found = {r.name: (r.before, r.added, r.recoloured, r.gone, r.after) for r in rows}
    assert found == {"RV": (2, 1, 0, 1, 2), "LV": (1, 0, 1, 0, 2)}


def test_folds_grow_evenly_by_patient():
    splits = [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]
    new = [SourceCase(f"n{k}", f"q{k // 2}", ()) for k in range(4)]
    grown = extend_splits(splits, {"a": "A", "b": "B"}, new)
    assert grown[0] == {"train": ["a", "n2", "n3"], "val": ["b", "n0", "n1"]}
    assert grown[1] == {"train": ["b", "n0", "n1"], "val": ["a", "n2", "n3"]}


def test_strokes_that_contradict_most_of_the_earlier_ones_are_asked_about(raw, capsys):
    swapped = strokes()
    swapped[strokes() == 1], swapped[strokes() == 2], swapped[strokes() == 4] = 2, 1, 1
    for case in ("p1_a", "p1_b"):
        write(raw.parents[1] / "next" / f"{case}.nii.gz", swapped)
    files = snapshot(raw)
    capsys.readouterr()
    assert update(raw) == 1
    error = capsys.readouterr().err
    assert "p1_a.nii.gz: of 21 voxels that had a stroke, 21 would be of another class" in error
    assert "say --not-mixed-up\n  the same in 1 other file: p1_b.nii.gz\n" in error
    assert snapshot(raw) == files
    assert update(raw, "--not-mixed-up") == 0
    assert "WARNING" not in capsys.readouterr().err
    # some corrections are what an update is for
    corrected = strokes()
    corrected[strokes() == 2] = 1
    write(raw.parents[1] / "next" / "p2_a.nii.gz", corrected)
    (raw.parents[1] / "next" / "p1_a.nii.gz").unlink()
    (raw.parents[1] / "next" / "p1_b.nii.gz").unlink()
    assert update(raw) == 0
    assert "WARNING" not in capsys.readouterr().err


CASES = ("p1_a", "p1_b", "p2_a", "p2_b", "p3_a", "p3_b")


@pytest.fixture
def organs(raw):
    """The data set with less of the organs, 24 voxels each, than of the background around them."""
    values = strokes()
    values[1, 1:3, 1:13], values[1, 5:7, 1:13], values[2, 2:11, 1:13] = 1, 2, 4
    write(raw.parents[1] / "own" / "p1_a.nii.gz", values)
    assert update(raw, "--erase", scribbles="own") == 0
    return raw, values


def exchanged(values, classes=(1, 2)):
    one, other = classes
    return np.where(values == one, other, np.where(values == other, one, values))


@pytest.mark.parametrize("organs_only", [False, True])
def test_organs_that_are_exchanged_are_asked_about_though_the_background_stays(
    organs, organs_only, capsys
):
    raw, values = organs
    new = exchanged(values)
    if organs_only:
        new[new == 4] = 0
    write(raw.parents[1] / "next" / "p1_a.nii.gz", new)
    files = snapshot(raw)
    assert update(raw) == 1
    error = capsys.readouterr().err
    assert "29 of 29 voxels of RV would be LV, 29 of 29 voxels of LV would be RV: are" in error
    assert "values or names exchanged?" in error and "say --not-mixed-up" in error
    assert snapshot(raw) == files
    assert update(raw, "--not-mixed-up") == 0
    assert (labels_of(raw, "p1_a")[0, 2, 1:6] == 2).all()


def test_organs_that_are_exchanged_are_asked_about_where_each_file_has_few_strokes(raw, capsys):
    for case in CASES:
        write(raw.parents[1] / "next" / f"{case}.nii.gz", exchanged(strokes()))
    files = snapshot(raw)
    assert update(raw) == 1
    error = capsys.readouterr().err
    assert "in all files together, 30 of 30 voxels of RV would be LV, 30 of 30" in error
    assert snapshot(raw) == files
    assert update(raw, "--not-mixed-up") == 0


@pytest.mark.parametrize("classes", [(1, 2), (1, 4)])
def test_a_structure_corrected_in_one_file_is_not_asked_about(organs, classes, capsys):
    raw, values = organs
    for case in CASES:
        write(raw.parents[1] / "next" / f"{case}.nii.gz", strokes())
    # all of it, and some strokes of the other
    new = np.where(values == classes[0], classes[1], values)
    new[0, 5, 1:6] = 1
    write(raw.parents[1] / "next" / "p1_a.nii.gz", new)
    capsys.readouterr()
    assert update(raw) == 0
    assert "WARNING" not in capsys.readouterr().err


def test_strokes_that_contradict_all_that_they_meet_of_many_are_doubted(raw, capsys):
    values = np.zeros(SHAPE, np.uint8)
    values[1:, 2:8] = 1
    write(raw.parents[1] / "next" / "p1_a.nii.gz", values)
    assert update(raw) == 0, "added strokes"
    values[:] = 0
    values[2, 2:4] = 2  # 28 of 189 voxels
    write(raw.parents[1] / "next" / "p1_a.nii.gz", values)
    capsys.readouterr()
    assert update(raw) == 0
    seen = capsys.readouterr()
    assert "of 28 voxels that had a stroke and have one in the new files, 28 are of" in seen.err
    assert "Are these files of this data set" in seen.err


def strokes_of(row):
    """Strokes that another patient's do not meet."""
    values = np.zeros(SHAPE, np.uint8)
    values[1, row, :8], values[1, row + 1, :8], values[1, row + 2, 2:10] = 1, 2, 4
    return values


def test_strokes_of_another_case_are_asked_about_before_anything_is_written(raw, capsys):
    root = raw.parents[1]
    of_case = {"p1_a": strokes_of(0), "p2_b": strokes_of(4)}
    for case, values in of_case.items():
        write(root / "own" / f"{case}.nii.gz", values)
    assert update(raw, "--erase", scribbles="own") == 0
    capsys.readouterr()
    files = snapshot(raw)
    other = of_case["p2_b"].copy()
    other[2, 4, 2:8] = 1  # drawn into the file of p2_b, that was then given another name
    write(root / "next" / "p1_a.nii.gz", other)
    assert update(raw) == 1
    error = capsys.readouterr().err
    assert "p1_a.nii.gz has the strokes of p2_b, not those of p1_a, whose name it bears" in error
    assert "--exclude p1_a.nii.gz" in error and snapshot(raw) == files
    assert update(raw, "--not-mixed-up") == 0
    assert (labels_of(raw, "p1_a")[2, 4, 2:8] == 1).all()


def with_frame(values):
    """With background strokes along the border of every slice, as in every other file."""
    framed = values.copy()
    framed[:, [0, -1]] = framed[:, :, [0, -1]] = 4
    return framed


def test_background_that_is_drawn_alike_in_every_file_tells_no_cases_apart(raw, capsys):
    root = raw.parents[1]
    inside = {"p1_a": np.zeros(SHAPE, np.uint8), "p2_b": np.zeros(SHAPE, np.uint8)}
    inside["p1_a"][1, 2:4, 2:12], inside["p2_b"][1, 5:7, 2:12] = 1, 2
    for case, values in inside.items():
        write(root / "own" / f"{case}.nii.gz", with_frame(values))
    write(root / "own" / "p3_a.nii.gz", with_frame(np.zeros(SHAPE, np.uint8)))
    assert update(raw, "--erase", scribbles="own") == 0
    write(root / "next" / "p1_a.nii.gz", with_frame(inside["p2_b"]))
    capsys.readouterr()
    assert update(raw) == 1
    error = capsys.readouterr().err
    assert "p1_a.nii.gz has the strokes of p2_b, not those of p1_a" in error
    # strokes drawn anew in its own file, with the frame that p3_a has alone
    moved = np.zeros(SHAPE, np.uint8)
    moved[2, 3:6, 2:12] = 1
    write(root / "next" / "p1_a.nii.gz", with_frame(moved))
    assert update(raw, "--erase") == 0


@pytest.mark.parametrize("name", ["more", "new only", "dense", "other place"])
def test_ordinary_updates_are_not_taken_for_another_cases(raw, name, capsys):
    root = raw.parents[1]
    write(root / "own" / "p1_a.nii.gz", strokes_of(0))
    assert update(raw, "--erase", scribbles="own") == 0
    values = strokes_of(0)  # all others have `strokes`
    if name == "more":
        values = np.where(values > 0, values, strokes())
    elif name == "dense":
        values = np.full(SHAPE, 4, np.uint8)  # what is drawn of the others, and much more
        values[:, :6, :], values[:, 7:, :] = 1, 2
        values[strokes() > 0] = strokes()[strokes() > 0]
    else:
        values[:] = 0
        values[2, 1:4, 1:13] = 1
    write(root / "next" / "p1_a.nii.gz", values)
    words = {"other place": ["--erase"], "dense": ["--not-swapped"]}
    assert update(raw, *words.get(name, ())) == 0


def test_images_in_the_place_of_new_strokes_are_asked_about(raw, capsys):
    values = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    write(raw.parents[1] / "next" / "p1_a.nii.gz", values)
    assert update(raw) == 1
    error = capsys.readouterr().err
    assert "values that are not mapped, such as [3, 5, 6]" in error and "is this an image?" in error
    assert len(error) < 1000


def test_what_was_preprocessed_is_preprocessed_again_by_the_same_plans(
    raw, capsys, tmp_path, monkeypatch
):
    folder = tmp_path / "preprocessed" / raw.name
    monkeypatch.setenv("nnUNet_preprocessed", str(folder.parent))
    added = strokes()
    added[1, 3, 2:7] = 1
    write(raw.parents[1] / "next" / "p1_a.nii.gz", added)
    assert update(raw) == 0
    assert "then: nnUNetv2_plan_and_preprocess -d 130" in capsys.readouterr().out
    identifiers = {"2d": "nnUNetPlans_2d", "3d_fullres": "nnUNetPlans_3d_fullres"}
    small = {"2d": "nnUNetPlans_small_2d"}
    for plans, own in (("nnUNetPlans", identifiers), ("nnUNetPlans_small", small)):
        configurations = {name: {"data_identifier": value} for name, value in own.items()}
        (folder / "nnUNetPlans_small_2d").mkdir(parents=True, exist_ok=True)
        content = {"configurations": configurations}
        (folder / f"{plans}.json").write_text(json.dumps(content))
    added[1, 4, 2:7] = 1
    write(raw.parents[1] / "next" / "p1_a.nii.gz", added)
    assert update(raw) == 0
    out = capsys.readouterr().out
    assert out.endswith("then: nnUNetv2_preprocess -d 130 -plans_name nnUNetPlans_small -c 2d\n")
    assert "plan_and_preprocess" not in out


def test_much_background_hides_no_strokes_of_another_case(tmp_path):
    """Thirty voxels of a class among 480 of the background, which differs from case to case."""
    paths, drawn = {}, []
    for k in range(2):
        labels = np.full((20, 60), 3, np.uint8)
        labels[8 * k : 8 * k + 8], labels[16 + k, :30] = 0, 1
        paths[f"c{k}"] = tmp_path / f"c{k}.png"
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(paths[f"c{k}"]))
        drawn.append(labels)
    new = unlike_its_case("c0", tmp_path / "new" / "c0.png", *drawn, 3)
    (problem,) = mixed_up([new], paths, 3, 1)
    assert "has the strokes of c1, not those of c0" in problem


def test_files_of_new_images_that_are_called_otherwise_get_a_pattern(raw, capsys):
    root = raw.parents[1]
    write(root / "more" / "zoe x.nii.gz", np.random.default_rng(1).normal(0, 1, SHAPE))
    write(root / "next" / "zoe x_seg.nii.gz", strokes())
    assert update(raw, images="more") == 1
    assert "Perhaps --scribble-pattern '{case}_seg.*'" in capsys.readouterr().err


def test_values_that_nobody_explained_lead_to_the_list_that_suggest_wrote(raw, capsys):
    for case in ("p1_a", "p1_b"):
        write(raw.parents[1] / "next" / f"{case}.nii.gz", strokes() + 100 * (strokes() == 0))
    assert update(raw) == 1
    error = capsys.readouterr().err
    assert "2 problems, nothing written" in error
    assert error.count("told by not_strokes.json, which it writes beside its label files") == 1
    assert error.count("Draw with the values or segments that are mapped") == 1
