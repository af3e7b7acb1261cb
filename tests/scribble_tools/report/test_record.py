"""How a data set was made, in a few lines."""

from scribble_tools.report.record import MOST_LETTERS, record_in_words

LABELS = {"classes": {"background": [0], "RV": [1, 2]}, "unlabelled": [4]}


def test_only_what_is_set_is_shown_and_in_words():
    record = {
        "format": "folder",
        "scribble_labels": LABELS,
        "dense_labels": {**LABELS, "unlabelled": []},
        "seed": 0,
        "nan": None,
        "resample": False,
        "overlaps": "refuse",
        "geometry": "image",
        "remarks": [],
        "dense_values_of_names": {},
        "splits_sha256": "53248a",
        "files": ["conversion.json", "dataset.json"],
        "updates": [{"scribbles": "drawn", "changed": ["a"]}],
    }
    assert record_in_words(record) == {
        "format": "folder",
        "scribble labels": "background 0, RV 1, 2; unlabelled 4",
        "seed": "0",
        "geometry": "image",
        "updates": "1 entry",
    }


def test_long_entries_are_cut():
    record = {
        "classes": {f"class {k}": {"styles": ["interior"]} for k in range(40)},
        "remarks": ["a" * 2 * MOST_LETTERS],
    }
    found = record_in_words(record)
    assert found["classes"].endswith("class 11 and 28 more") and "styles" not in found["classes"]
    assert len(found["remarks"]) < MOST_LETTERS + 10
