"""What the record of `predict` says of the predictions in its folder that a reader has to know."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from scribble_tools.dataset.origin import PREDICTION, predicted_by
from scribble_tools.json_files import ListOf, Record, Text, read_json

UNFINISHED, EARLIER = "unfinished", "earlier"
LONGEST = 200  # of what is shown of a file that anybody may have written
_OF_CASES = {UNFINISHED: Text(), "cases": Record()}
_SHAPE = Record(optional={**_OF_CASES, EARLIER: ListOf(Record(optional=_OF_CASES))})


def unfinished_notes(folder: Path, cases: Collection[str]) -> dict[str, list[str]]:
    """A note for each unfinished training that predicted some of the cases, with these cases.

    Args:
        folder: of predictions; without a record, or with one that cannot be read, nothing is said.
    """
    try:
        latest = read_json(folder / PREDICTION, _SHAPE)
    except (OSError, ValueError):
        return {}
    notes: dict[str, list[str]] = {}
    for record in (latest, *latest.get(EARLIER, [])):
        words = record.get(UNFINISHED, "")[:LONGEST]
        own = [case for case in cases if case in record.get("cases", {})]
        if words and own:
            note = f"predicted before the training was finished ({words})"
            notes.setdefault(note, []).extend(own)
    return notes


def doubts_of(predictions: Sequence[Path], reference: Path, apart: bool = False) -> list[str]:
    """What to ask of folders: one and the same (right as a test only), or perhaps exchanged.

    Args:
        apart: patterns tell the files of one folder apart.
    """
    doubts = [
        f"{own} is compared with itself: give a folder of predictions and one of references"
        for own in predictions
        if not apart and reference.is_dir() and own.samefile(reference)
    ]
    if (command := predicted_by(reference)) and not predicted_by(predictions[0]):
        doubts.append(
            f"{command} wrote the labels in REF ({reference}). Are PRED and REF exchanged?"
        )
    return doubts
