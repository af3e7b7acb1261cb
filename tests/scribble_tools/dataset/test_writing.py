"""Atomic writing, dataset.json, and splits by patient."""

from pathlib import PurePosixPath

import pytest

from scribble_tools import cli
from scribble_tools.dataset.install_splits import install_splits
from scribble_tools.dataset.writing import (
    dataset_folder_name,
    dataset_json,
    find_raw_dataset,
    next_commands,
    patient_grouped_splits,
    write_dataset_atomically,
    write_json,
)


def test_a_data_set_appears_only_when_it_is_whole(tmp_path):
    with pytest.raises(RuntimeError), write_dataset_atomically(tmp_path, "Dataset001_A") as folder:
        (folder / "half").touch()
        assert not (tmp_path / "Dataset001_A").exists()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with write_dataset_atomically(tmp_path, "Dataset001_A") as folder:
        (folder / "whole").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["Dataset001_A", "whole"]


def test_nothing_is_overwritten_unasked(tmp_path):
    old = tmp_path / "Dataset001_A" / "mine"
    old.parent.mkdir()
    old.touch()
    with (
        pytest.raises(FileExistsError, match="Dataset001_A exists already.*--overwrite"),
        write_dataset_atomically(tmp_path, "Dataset001_A"),
    ):
        pass
    assert old.exists()
    with write_dataset_atomically(tmp_path, "Dataset001_A", lambda folder: {PurePosixPath("mine")}):
        assert old.exists()  # until the new one is complete
    assert not old.exists()


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "a": 2},
        {"a": 0, "b": 1},
        {"background": 0, "ignore": 1, "a": 2},
    ],
)
def test_labels_that_nnunet_would_refuse_are_refused(labels):
    with pytest.raises(ValueError, match="label"):
        dataset_json(labels, 3, {"0": "MRI"})


def test_dataset_json_holds_what_nnunet_reads():
    labels = {"background": 0, "a": 1, "ignore": 2}
    content = dataset_json(labels, 3, {"0": "CT"}, reference="x")
    assert content == {
        "channel_names": {"0": "CT"},
        "labels": labels,
        "numTraining": 3,
        "file_ending": ".nii.gz",
        "reference": "x",
    }


def test_splits_keep_patients_together_and_are_seeded():
    cases = {f"p{p:02d}_f{f}": f"p{p:02d}" for p in range(11) for f in (1, 2)}
    splits = patient_grouped_splits(cases, 5, seed=3)
    held_out = [case for fold in splits for case in fold["val"]]
    assert sorted(held_out) == sorted(cases)
    for fold in splits:
        assert not {cases[c] for c in fold["train"]} & {cases[c] for c in fold["val"]}
        assert sorted(fold["train"] + fold["val"]) == sorted(cases)
    assert splits == patient_grouped_splits(cases, 5, seed=3)
    assert splits != patient_grouped_splits(cases, 5, seed=4)
    with pytest.raises(ValueError, match="12 folds.*11"):
        patient_grouped_splits(cases, 12)
    with pytest.raises(ValueError, match="1 fold:"):
        patient_grouped_splits(cases, 1)


def test_ids_that_nnunet_would_refuse_are_refused(tmp_path):
    (tmp_path / "Dataset007_Other").mkdir()
    assert dataset_folder_name(tmp_path, 8, "X") == "Dataset008_X"
    assert dataset_folder_name(tmp_path, 7, "Other") == "Dataset007_Other"
    for name in ("a/b", "../x", ""):
        with pytest.raises(ValueError, match="name .*without slashes"):
            dataset_folder_name(tmp_path, 7, name)
    for number, message in ((0, "1 to 999"), (1000, "1 to 999"), (7, "Dataset007_Other")):
        with pytest.raises(ValueError, match=message):
            dataset_folder_name(tmp_path, number, "X")


def test_json_is_replaced_whole(tmp_path):
    path = tmp_path / "sub" / "x.json"
    write_json([1], path)
    with pytest.raises(TypeError):
        write_json(object(), path)
    assert path.read_text() == "[\n  1\n]\n"
    assert list(path.parent.iterdir()) == [path]


# ---------------------------------------------------------------- install-splits


@pytest.fixture
def folders(tmp_path):
    raw, preprocessed = tmp_path / "raw", tmp_path / "preprocessed"
    dataset = raw / "Dataset007_X"
    (dataset / "labelsTr").mkdir(parents=True)
    (preprocessed / "Dataset007_X").mkdir(parents=True)
    for case in "abc":
        (dataset / "labelsTr" / f"{case}.nii.gz").touch()
    write_json(dataset_json({"background": 0, "a": 1}, 3, {"0": "MRI"}), dataset / "dataset.json")
    write_json([{"train": ["a", "b"], "val": ["c"]}], dataset / "splits_final.json")
    return raw, preprocessed


@pytest.mark.parametrize("name", ["7", "007", "Dataset007_X"])
def test_splits_are_installed(folders, name):
    raw, preprocessed = folders
    target = install_splits(name, raw, preprocessed)
    assert target == preprocessed / "Dataset007_X" / "splits_final.json"
    assert target.read_text() == (raw / "Dataset007_X" / "splits_final.json").read_text()
    install_splits(name, raw, preprocessed)  # the same splits again are no conflict


def test_other_splits_are_not_overwritten_unasked(folders):
    raw, preprocessed = folders
    target = preprocessed / "Dataset007_X" / "splits_final.json"
    write_json([], target)
    with pytest.raises(FileExistsError, match="--overwrite"):
        install_splits("7", raw, preprocessed)
    assert target.read_text() == "[]\n"
    install_splits("7", raw, preprocessed, overwrite=True)
    assert target.read_text() != "[]\n"


def test_broken_splits_are_replaced_when_asked(folders):
    raw, preprocessed = folders
    target = preprocessed / "Dataset007_X" / "splits_final.json"
    target.write_text('[{"train": [')
    with pytest.raises(FileExistsError, match="--overwrite"):
        install_splits("7", raw, preprocessed)
    install_splits("7", raw, preprocessed, overwrite=True)
    assert target.read_text() == (raw / "Dataset007_X" / "splits_final.json").read_text()


def test_cases_of_splits_are_names(folders, tmp_path):
    write_json([{"train": [1, 2], "val": [3]}], tmp_path / "s.json")
    with pytest.raises(ValueError, match=r"\[0\].train\[0\] is 1; expected the name of a case"):
        install_splits("7", *folders, tmp_path / "s.json")


def test_wrong_splits_are_refused_with_all_their_problems(folders, tmp_path):
    raw, preprocessed = folders
    splits = tmp_path / "s.json"
    write_json([{"train": ["a", "x"], "val": ["c"]}, {"train": ["a"], "val": ["a"]}], splits)
    with pytest.raises(ValueError) as error:
        install_splits("7", raw, preprocessed, splits)
    assert "fold 0 names cases that have no label: x" in str(error.value)
    assert "fold 1 trains and validates on a" in str(error.value)


def test_splits_that_part_the_images_of_a_patient_are_refused(folders, tmp_path):
    raw, preprocessed = folders
    write_json(
        [{"train": ["a"], "val": ["b"]}, {"train": ["c"], "val": ["a", "b"]}], tmp_path / "s"
    )
    record = raw / "Dataset007_X" / "conversion.json"
    write_json({"patients": {"a": "p1", "b": "p1", "c": "p2"}}, record)
    before = [path.read_bytes() for path in sorted(raw.rglob("*.json"))]
    with pytest.raises(
        ValueError, match="^[^:]*:\nfold 0 trains and validates on images of .* p1 "
    ):
        install_splits("7", raw, preprocessed, tmp_path / "s", overwrite=True)
    assert before == [path.read_bytes() for path in sorted(raw.rglob("*.json"))]
    write_json({"patients": {"a": "p1", "b": "p3", "c": "p2"}}, record)
    install_splits("7", raw, preprocessed, tmp_path / "s", overwrite=True)
    write_json({"patients": [1]}, record)
    with pytest.raises(ValueError, match="patients is .1.; expected a patient for each case"):
        install_splits("7", raw, preprocessed, tmp_path / "s", overwrite=True)


def test_missing_things_are_named(folders, tmp_path):
    raw, preprocessed = folders
    with pytest.raises(FileNotFoundError, match="data set 8.*found none. There are: Dataset007"):
        install_splits("8", raw, preprocessed)
    with pytest.raises(FileNotFoundError, match="none.json: no such splits file"):
        install_splits("7", raw, preprocessed, tmp_path / "none.json")
    (tmp_path / "none.json").write_text('{"train": 1}')
    with pytest.raises(ValueError, match="none.json: the content is .*expected a list of folds"):
        install_splits("7", raw, preprocessed, tmp_path / "none.json")


def test_named_splits_go_to_both_places_so_that_the_planner_agrees(folders, tmp_path):
    raw, preprocessed = folders
    named = tmp_path / "named.json"
    write_json([{"train": ["b", "c"], "val": ["a"]}], named)
    with pytest.raises(FileExistsError, match="raw.*--overwrite"):
        install_splits("7", raw, preprocessed, named)
    install_splits("7", raw, preprocessed, named, overwrite=True)
    for root in folders:
        assert (root / "Dataset007_X" / "splits_final.json").read_text() == named.read_text()


def test_install_splits_command_line(folders, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    assert cli.main(["install-splits", "7"]) == 1
    assert "nnUNet_raw is not set" in capsys.readouterr().err
    for name, folder in zip(("nnUNet_raw", "nnUNet_preprocessed"), folders, strict=True):
        monkeypatch.setenv(name, str(folder))
    assert cli.main(["install-splits", "7"]) == 0
    assert (folders[1] / "Dataset007_X" / "splits_final.json").exists()


def test_cases_of_the_splits_that_are_not_preprocessed_are_said(folders, monkeypatch, capsys):
    for name, folder in zip(("nnUNet_raw", "nnUNet_preprocessed"), folders, strict=True):
        monkeypatch.setenv(name, str(folder))
    preprocessed = folders[1] / "Dataset007_X"
    small = {"2d": {"data_identifier": "small_2d"}}
    write_json({"configurations": small}, preprocessed / "small.json")
    for name in ("nnUNetPlans_2d/a", "nnUNetPlans_2d/b", "nnUNetPlans_2d/c", "small_2d/b"):
        (preprocessed / name).parent.mkdir(exist_ok=True)
        (preprocessed / f"{name}.pkl").touch()
    (preprocessed / "gt_segmentations").mkdir()
    assert cli.main(["install-splits", "7"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "not preprocessed" in line)
    assert "note: 2 cases of the splits are not preprocessed in " in line
    assert line.endswith("/small_2d: a, c. Run: nnUNetv2_preprocess -d 7 -plans_name small -c 2d")


def test_next_commands_say_where_nnunet_has_to_look(tmp_path, monkeypatch):
    folder = tmp_path / "my raw" / "Dataset027_X"
    commands = [
        "next: scribble_tools check 27",
        "then: nnUNetv2_plan_and_preprocess -d 27 -c 2d --clean",
    ]
    for elsewhere in ("", str(tmp_path)):
        monkeypatch.setenv("nnUNet_raw", elsewhere)
        first = f"first: export nnUNet_raw='{tmp_path}/my raw'"
        assert next_commands(folder, "2d").splitlines() == [first, *commands]
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "my raw"))
    assert next_commands(folder, "2d").splitlines() == commands
    assert next_commands(folder).endswith("-d 27 --clean")


def test_next_commands_of_scribbled_ct_correct_its_statistics(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    folder = tmp_path / "Dataset027_X"
    folder.mkdir()
    content = {"channel_names": {"0": "CT"}, "file_ending": ".nrrd", "numTraining": 1}
    labels = {"background": 0, "liver": 1, "ignore": 2}
    write_json({**content, "labels": labels}, folder / "dataset.json")
    assert next_commands(folder, "2d").splitlines()[1:] == [
        "then: nnUNetv2_extract_fingerprint -d 27 --clean",
        "then: nnunetv2_pclmix ct-fingerprint 27",
        "then: nnUNetv2_plan_experiment -d 27",
        "then: nnUNetv2_preprocess -d 27 -c 2d",
    ]
    del labels["ignore"]
    write_json({**content, "labels": labels}, folder / "dataset.json")
    assert next_commands(folder).endswith("then: nnUNetv2_plan_and_preprocess -d 27 --clean")


def test_a_path_that_is_wrong_is_not_looked_for_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="raw/Dataset027_X is not a folder"):
        find_raw_dataset("raw/Dataset027_X")
