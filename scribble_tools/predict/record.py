"""prediction.json, the record of `predict`: which files of a folder it wrote, of which cases."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from scribble_tools.dataset.origin import PREDICTION
from scribble_tools.evaluate.origin import EARLIER
from scribble_tools.json_files import ListOf, Record, Text, read_json
from scribble_tools.storage.written_record import FILES, refuse_foreign, written_by_record
from scribble_tools.wording import counted

RECORD, FILES_OF = PREDICTION, "files_of"
_FILES = Record(others=ListOf(Text("a file's name"), least=1), words="files by case")
_CASES = Record(others=ListOf(Text("a file's name")), words="images by case")
SHAPE = Record(
    required={FILES_OF: _FILES, FILES: ListOf(Text("a file's name")), "cases": _CASES},
    optional={EARLIER: ListOf(Record(required={"cases": _CASES}), what="a list of records")},
)


def read_earlier(out: Path) -> dict:
    """The record in a folder; one of nothing where there is none.

    Raises:
        FileExistsError: there is a file of its name that is no such record.
    """
    if not os.path.lexists(out / RECORD):
        return {FILES: [], FILES_OF: {}, "cases": {}}
    written_by_record(out, RECORD, "predict")
    try:
        return read_json(out / RECORD, SHAPE)
    except ValueError as error:
        raise FileExistsError(
            f"{error}\nIt is no record of predict: take another --out, or take it away yourself"
        ) from None


def refuse_to_replace(out: Path, names: Sequence[str], earlier: Mapping, overwrite: bool) -> None:
    """Refuse to write files, given as paths below ``out``, that are there already.

    Args:
        earlier: see `read_earlier`.

    Raises:
        FileExistsError: some are there, and ``overwrite`` is false or no earlier run wrote them.
    """
    there = [out / name for name in names if os.path.lexists(out / name)]
    if there and not overwrite:
        raise FileExistsError(
            f"{counted(len(there), 'file exists', 'files exist')}"
            f", such as {there[0]}: say --overwrite"
        )
    more = [out / name for name in (RECORD, "dataset.json")]
    refuse_foreign([*there, *more], {*earlier[FILES], RECORD}, "scribble_tools predict", out)


def merged(earlier: Mapping, files_of: Mapping[str, Sequence[str]]) -> dict:
    """What a record says of files: those of this run, and of an earlier one's other cases.

    Args:
        files_of: of this run, by case.
    """
    kept = {case: own for case, own in earlier[FILES_OF].items() if case not in files_of}
    all_files = {**kept, **files_of}
    return {
        FILES_OF: all_files,
        FILES: [RECORD, *(name for own in all_files.values() for name in own)],
        EARLIER: _other_cases(earlier, kept),
    }


def _other_cases(earlier: Mapping, kept: Collection[str]) -> list[dict]:
    """Earlier records, each with the cases whose files are still its own."""
    latest = {k: v for k, v in earlier.items() if k not in (FILES, FILES_OF, EARLIER)}
    found, taken = [], set()
    for record in (latest, *earlier.get(EARLIER, [])):
        own = {c: files for c, files in record["cases"].items() if c in kept and c not in taken}
        taken |= own.keys()
        if own:
            found.append({**record, "cases": own})
    return found
