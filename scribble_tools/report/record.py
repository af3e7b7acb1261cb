"""How a data set was made, from its conversion.json, in a few short lines.

conversion.json itself holds all of it, and the report's JSON file all but its lists of cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scribble_tools.wording import counted

# an entry for every file, what another entry says, or nothing that a reader could use
LEFT_OUT = ("files", "splits_sha256", "dense_values_of_names")
DEFAULTS = {"overlaps": "refuse", "geometry": "file", "pictures": "grey"}  # of `convert folder`
MOST_PARTS, MOST_LETTERS = 12, 300


def record_in_words(record: Mapping[str, object]) -> dict[str, str]:
    """The entries that are set, by their names in words."""
    shown = {}
    for key, value in record.items():
        usual = DEFAULTS.get(key) == value or value is None or value is False
        same = key == "dense_labels" and _classes(value) == _classes(record.get("scribble_labels"))
        if key in LEFT_OUT or usual or same or value in ("", [], {}):
            continue
        text = _in_words(value)
        shown[key.replace("_", " ")] = (
            text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]} ..."
        )
    return shown


def _classes(labels: object) -> object:
    return labels.get("classes") if isinstance(labels, Mapping) else None


def _in_words(value: object) -> str:
    if isinstance(value, Mapping):
        return _table_in_words(value)
    if isinstance(value, (list, tuple)):
        return _list_in_words(value)
    return str(value)


def _table_in_words(table: Mapping[str, object]) -> str:
    """``RV 1, LV 2; unlabelled 4`` of labels, and of tables in a table their names."""
    classes, unlabelled = table.get("classes"), table.get("unlabelled")
    if isinstance(classes, Mapping):
        none = f"; unlabelled {_in_words(unlabelled)}" if unlabelled else ""
        return _table_in_words(classes) + none
    return _some(
        [
            str(name) if isinstance(value, Mapping) else f"{name} {_in_words(value)}"
            for name, value in table.items()
        ]
    )


def _list_in_words(values: Sequence[object]) -> str:
    if any(isinstance(value, Mapping) for value in values):
        return counted(len(values), "entry", "entries")
    return _some([_in_words(value) for value in values])


def _some(parts: Sequence[str]) -> str:
    more = len(parts) - MOST_PARTS
    return ", ".join(parts[:MOST_PARTS]) + (f" and {more} more" if more > 0 else "")
