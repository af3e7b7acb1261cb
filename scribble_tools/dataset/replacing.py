"""What of a data set outlives its replacement: all that no conversion wrote there."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath

from scribble_tools.dataset.shapes import CONVERSION
from scribble_tools.dataset.writing import RECORD, SPLITS, patient_grouped_splits, read_splits
from scribble_tools.json_files import Record, read_json
from scribble_tools.storage.folders import list_entries
from scribble_tools.storage.written_record import files_in_record, write_record

SPLITS_DIGEST = "splits_sha256"


def write_dataset_record(record: Mapping, folder: Path) -> None:
    """Write the record of a new data set into it, with its files and what its splits were."""
    splits = folder / SPLITS
    digest = sha256(splits.read_bytes()).hexdigest() if splits.exists() else None
    write_record({**record, SPLITS_DIGEST: digest}, folder / RECORD)


def replaceable_dataset(
    training_cases: Collection[str], new_folders: Collection[str]
) -> Callable[[Path], set[PurePosixPath]]:
    """What `write_dataset_atomically` asks of an old data set: which of its files may go.

    Args:
        training_cases: of the new data set.
        new_folders: into which the new data set's files go, such as ``imagesTr``.

    Returns:
        `written_entries` with these two.
    """
    return lambda target: written_entries(target, training_cases, new_folders)


def written_entries(
    target: Path, training_cases: Collection[str], new_folders: Collection[str] = ()
) -> set[PurePosixPath]:
    """Files in ``target`` that its record says an earlier run wrote; all others are the user's.

    Such are ``imagesTs`` where no test cases were converted, and splits that were installed.

    Args:
        target: the data set to be replaced.
        training_cases, new_folders: see `replaceable_dataset`.

    Raises:
        FileExistsError: ``target`` has no record of a conversion, so that all may be the user's.
        ValueError: its splits are the user's, and name cases that the new data set has not; or a
            file of the user's would lie among the new ones.
    """
    try:
        record = read_json(target / RECORD, CONVERSION)
        # generated scribbles have their source's record, but none of its test cases
        cases = {} if record.get("format") == "generate" else record.get("cases", {})
        parts = {case: files["part"] for case, files in cases.items()}
        training = {c: p for c, p in record["patients"].items() if parts.get(c, "Tr") == "Tr"}
        written = files_in_record(target / RECORD)
        if written is None:
            written = _of_older_record(target, record, parts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise FileExistsError(
            f"{target} exists and holds no {RECORD} that says what a conversion wrote there: not "
            "replaced. Choose another id, or take it away"
        ) from None
    for entry in list_entries(target):
        hidden = entry.name.startswith(".")  # what a desktop leaves in every folder
        if entry not in written and entry.parts[0] in new_folders and not hidden:
            raise ValueError(
                f"{target / entry} is not what a conversion made, and would lie among the new "
                "files: move it away"
            )
    if (splits := target / SPLITS).exists() and not _are_made(splits, training, record):
        named = {c for fold in read_splits(splits) for side in fold.values() for c in side}
        if gone := sorted(named - {*training_cases}):
            raise ValueError(
                f"{splits} is not what a conversion made, and names cases that the new data set "
                f"has not: {', '.join(gone)}. Mend it, or take it away to get new splits"
            )
        written.discard(PurePosixPath(SPLITS))
    return written


def _of_older_record(target: Path, record: Mapping, parts: Mapping[str, str]) -> set[PurePosixPath]:
    """The files of a data set whose record does not list them: its cases' by their names."""
    ending = str(read_json(target / "dataset.json", Record()).get("file_ending", ".nii.gz"))
    written = {PurePosixPath(name) for name in ("dataset.json", RECORD, SPLITS)}
    demo = record.get("format") == "demo-data"  # did not say which of its cases are for testing
    for entry in list_entries(target):
        match = re.fullmatch(r"(images|labels)(Tr|Ts|Val)(_dense)?", entry.parts[0])
        if match is None or len(entry.parts) != 2 or not entry.name.endswith(ending):
            continue
        case = entry.name.removesuffix(ending)
        if match[1] == "images":
            case = re.sub(r"_\d{4}$", "", case)
        if case in record["patients"] and (demo or parts.get(case, "Tr") == match[2]):
            written.add(entry)
    return written


def _are_made(splits: Path, patients: Mapping[str, str], record: Mapping) -> bool:
    """Whether these are the splits that the conversion made."""
    if SPLITS_DIGEST in record:
        return sha256(splits.read_bytes()).hexdigest() == record[SPLITS_DIGEST]
    if record.get("format") == "generate":
        return True  # from its source's, for the cases that it took
    try:
        made = patient_grouped_splits(patients, record["num_folds"], record["seed"])
        return read_splits(splits) == made
    except (ValueError, KeyError, TypeError):
        return False
