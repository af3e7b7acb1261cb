"""A raw data set as it is read: all that is said of it, and all that is wrong with it at once."""

import json

import pytest

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.dataset.raw import RawDataset, find_dataset_json, is_nnunets, read_label_names

CONTENT = {
    "labels": {"background": 0, "RV": 1, "both": [1, 2], "ignore": 3},
    "channel_names": {"0": "T1", "1": "T2"},
    "file_ending": ".nii.gz",
    "comment": "kept",
}
FOLDS = [{"train": ["a"], "val": ["b"]}]
RECORD = {"patients": {"a": "p", "b": "q"}, "format": "acdc"}


def write(folder, name, content):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "dataset.json", CONTENT)
    write(tmp_path, "splits_final.json", FOLDS)
    write(tmp_path, "conversion.json", RECORD)
    return tmp_path


def test_all_that_is_said(folder):
    raw = RawDataset.read(folder)
    assert raw.labels == LabelSet({"RV": (1,), "both": (1, 2)}, 3)
    assert (raw.channels, raw.file_ending) == (("T1", "T2"), ".nii.gz")
    assert (raw.splits, raw.record, raw.content) == (FOLDS, RECORD, CONTENT)
    assert read_label_names(folder / "dataset.json") == {0: "background", 1: "RV", 3: "ignore"}


def test_channels_of_a_network_are_in_the_order_of_values_or_of_regions():
    assert LabelSet({"MYO": (2,), "RV": (1,)}, 3).by_value == ["RV", "MYO"]
    assert LabelSet({"core": (2,), "whole": (1, 2)}, 3).by_value == ["core", "whole"]


def test_splits_and_record_need_not_be_there(folder):
    for name in ("splits_final.json", "conversion.json"):
        (folder / name).unlink()
    raw = RawDataset.read(folder)
    assert (raw.splits, raw.record) == (None, {})


def test_files_of_cases(folder):
    for sub, names in (
        ("imagesTr", ["b_0000", "a_0001", "a_0000", "a_b_0000", "strange"]),
        ("labelsTr", ["b", "a", ".a", "._b"]),
    ):
        (folder / sub).mkdir()
        for name in names:
            (folder / sub / f"{name}.nii.gz").touch()
        (folder / sub / "notes.txt").touch()
    raw = RawDataset.read(folder)
    assert [*raw.files("labelsTr")] == ["a", "b"]
    assert raw.files("labelsTs") == {}
    images = {case: [path.name for path in paths] for case, paths in raw.images().items()}
    assert images == {
        "a": ["a_0000.nii.gz", "a_0001.nii.gz"],
        "a_b": ["a_b_0000.nii.gz"],
        "b": ["b_0000.nii.gz"],
    }


def test_problems_of_all_three_files_at_once(folder):
    write(folder, "dataset.json", {"labels": {"RV": float("inf")}})
    write(folder, "splits_final.json", [])
    write(folder, "conversion.json", {"patients": {"a": 1}})
    with pytest.raises(ValueError) as error:
        RawDataset.read(folder)
    assert str(error.value).split("\n") == [
        f"{folder}/dataset.json: labels.RV is Infinity; expected a finite number",
        f"{folder}/splits_final.json: the content is []; expected a list of folds, such as "
        '{"train": [cases], "val": [cases]} (1 or more)',
        f"{folder}/conversion.json: patients.a is 1; expected the name of a patient",
    ]


@pytest.mark.parametrize("key", ["labels", "channel_names", "file_ending"])
def test_what_is_missing_is_named(folder, key):
    write(folder, "dataset.json", {k: v for k, v in CONTENT.items() if k != key})
    with pytest.raises(ValueError, match=f"dataset.json: {key} is missing; expected"):
        RawDataset.read(folder)


def test_the_old_word_for_channels(folder):
    content = {**CONTENT, "modality": CONTENT["channel_names"]}
    del content["channel_names"]
    write(folder, "dataset.json", content)
    assert RawDataset.read(folder).channels == ("T1", "T2")


def test_what_others_judge_may_be_broken(folder):
    write(folder, "splits_final.json", "{")
    write(folder, "conversion.json", "[]")
    raw = RawDataset.read(folder, tolerate=("splits", "record"))
    assert (raw.splits, raw.record) == (None, {})
    with pytest.raises(ValueError, match="conversion.json"):
        RawDataset.read(folder, tolerate=("splits",))


def test_no_data_set_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match="dataset.json: no such file: is it a raw"):
        RawDataset.read(tmp_path)


def test_a_dataset_json_is_found_above(folder):
    (folder / "labelsTr").mkdir()
    assert find_dataset_json((folder / "none", folder / "labelsTr")) == folder / "dataset.json"


@pytest.mark.parametrize(
    "content, answer",
    [
        (CONTENT, True),
        ({"labels": {"0": "background", "1": "liver"}}, False),
        ("{", True),
        ("[" * 100_000, True),
        ({"labels": 3}, True),
    ],
    ids=range(5),
)
def test_whose_dataset_json_it_is(folder, content, answer):
    write(folder, "dataset.json", content)
    assert is_nnunets(folder / "dataset.json") is answer
