"""JSON of every shape: read, or refused with file, key, what is there and what is expected."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scribble_tools.dataset import shapes
from scribble_tools.json_files import (
    DEEPEST,
    Either,
    ListOf,
    Number,
    Record,
    Text,
    Truth,
    Whole,
    problems_of,
    read_json,
)

GOOD = {
    "labels": {"background": 0, "RV": 1, "both": [1, 2], "ignore": 3},
    "channel_names": {"0": "MRI"},
    "file_ending": ".nii.gz",
    "numTraining": 4,
    "comment": {"anything": [None, True, 1.5]},
}


def written(folder, text):
    path = folder / "a.json"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder, text, shape=None):
    path = written(folder, text)
    with pytest.raises(ValueError) as error:
        read_json(path, shape)
    assert str(error.value).startswith(str(path))
    return str(error.value)[len(str(path)) :].lstrip(": ")


def test_what_is_right_is_returned_as_it_is(tmp_path):
    assert read_json(written(tmp_path, json.dumps(GOOD)), shapes.DATASET_JSON) == GOOD


def test_all_problems_at_once_each_with_its_place(tmp_path):
    wrong = {"labels": {"background": 0, "a b": "1", "x": [1, -2]}, "channel_names": ["MRI"]}
    lines = refusal(tmp_path, json.dumps(wrong), shapes.DATASET_JSON).split("\n  ")[1:]
    label = "a whole number from 0 on, or a list of such"
    assert lines[0] == "file_ending is missing; expected the ending of its files, such as .nii.gz"
    assert f'labels["a b"] is "1"; expected {label}' in lines
    assert f"labels.x is [1, -2]; expected {label}" in lines
    assert lines[-1] == (
        'channel_names is ["MRI"]; expected a name for each channel, such as {"0": "MRI"}'
    )


def test_many_problems_are_counted(tmp_path):
    text = json.dumps([1.5] * 100)
    lines = refusal(tmp_path, text, ListOf(Whole())).split("\n  ")[1:]
    assert lines[0] == "[0] is 1.5; expected a whole number"
    assert lines[-1] == "and 92 more" and len(lines) == 9


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "cannot be read as JSON: Expecting value"),
        ("{", "cannot be read as JSON: Expecting property name"),
        ('{"a": 1, "a": 2}', 'the key "a" stands twice in one pair of braces'),
        ('{"a": {"b": NaN}}', "a.b is NaN; expected a finite number"),
        ("[1, -Infinity]", "[1] is -Infinity; expected a finite number"),
        ("1e999", "the content is Infinity; expected a finite number"),
        ("9" * 5000, "cannot be read as JSON"),
        ('["\\ud800"]', '[0] holds "\\ud800", which is no text'),
        ('{"\\ud800": 1}', 'the content holds "\\ud800", which is no text'),
        ("[" * 60 + "]" * 60, f"is nested more than {DEEPEST} levels deep"),
        ("[" * 200_000 + "]" * 200_000, f"is nested more than {DEEPEST} levels deep"),
        ('{"a":' * 200_000 + "1" + "}" * 200_000, f"is nested more than {DEEPEST} levels deep"),
    ],
    ids=range(12),
)
def test_what_no_such_file_holds(tmp_path, text, message):
    assert message in refusal(tmp_path, text)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(
        ValueError, match="a.json cannot be read as JSON: 'utf-8'.*Save it as UTF-8"
    ):
        read_json(path)
    path.write_text("{}", encoding="utf-8-sig")  # as Windows' editors do
    with pytest.raises(ValueError, match="begins with a byte order mark. Save it as UTF-8 without"):
        read_json(path)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")
    with pytest.raises(ValueError, match="is no file"):
        read_json(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    with pytest.raises(ValueError, match="is no file"):
        read_json(tmp_path / "pipe")


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("scribble_tools.json_files.LARGEST", 3)
    assert "has 4 bytes, which no such file has" in refusal(tmp_path, "[10]")


def test_what_a_terminal_would_obey_is_escaped(tmp_path):
    message = refusal(tmp_path, json.dumps({"\u2066a": "\u202e\n"}), Record(others=Whole()))
    assert message == '["\\u2066a"] is "\\u202e\\n"; expected a whole number'


@pytest.mark.parametrize(
    "shape, good, bad",
    [
        (Text(), "a", ""),
        (Text(pattern="[.]a"), ".a", "a"),
        (Whole(), -1, True),
        (Whole(1), 1, 0),
        (Whole(), 3, 3.0),
        (Number(), 3, True),
        (Number(), 0.5, "0.5"),
        (Truth(), False, 0),
        (ListOf(Whole(), least=2), [1, 2], [1]),
        (Either((Whole(), Text())), "a", []),
        (Record(required={"a": Whole()}), {"a": 1, "b": None}, {"b": 1}),
        (Record(optional={"a": Whole()}), {}, {"a": None}),
        (Record(others=Whole()), {"a": 1}, [1]),
    ],
)
def test_shapes(shape, good, bad):
    assert problems_of(good, shape) == []
    (problem,) = problems_of(bad, shape)
    assert "expected" in problem


SHAPES = [value for value in vars(shapes).values() if isinstance(value, Record | ListOf)]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
KEYS = st.sampled_from([*GOOD, "configurations", "ignore", "train", "val"]) | st.text(max_size=2)
JSON = st.recursive(SCALARS, lambda x: st.lists(x) | st.dictionaries(KEYS, x), max_leaves=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=JSON, shape=st.sampled_from(SHAPES))
def test_any_json_is_read_or_refused(tmp_path, content, shape):
    path = written(tmp_path, json.dumps(content))
    try:
        assert read_json(path, shape) == content
    except ValueError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[2J", "a\u2028b", "\x85"])
def test_names_stand_on_one_line(tmp_path, text):
    labels = {"labels": {"background": 0, text: 1}, "file_ending": ".nii.gz"}
    said = refusal(tmp_path, json.dumps({**labels, "channel_names": {"0": "MRI"}}))
    assert said == f"labels has the key {json.dumps(text)}, which is no text on one line"
    content = {**labels, "labels": {"background": 0}, "channel_names": {"0": text}}
    said = refusal(tmp_path, json.dumps(content), shapes.DATASET_JSON)
    assert said == f"channel_names[{json.dumps('0')}] is {json.dumps(text)}; expected text".replace(
        '["0"]', ".0"
    )
    assert read_json(written(tmp_path, json.dumps({"description": text}))) == {"description": text}


def test_numbers_have_bounds_and_repeated_keys_are_found_at_once(tmp_path):
    assert refusal(tmp_path, "[9223372036854775808]").endswith("expected a number below 2^63")
    assert refusal(tmp_path, "[-1e999]").endswith("expected a finite number")
    assert "cannot be read as JSON" in refusal(tmp_path, "1" * 5000)
    keys = ",".join(f'"{k}":0' for k in [*range(300_000), 299_999])
    assert 'the key "299999" stands twice' in refusal(tmp_path, f"{{{keys}}}")
