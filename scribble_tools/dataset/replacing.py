"""What of a data set outlives its replacement: all that no conversion wrote there."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from scribble_tools.dataset.writing import RECORD, patient_grouped_splits, read_splits

SPLITS = "splits_final.json"
WRITTEN = {"imagesTr", "labelsTr", "labelsTr_dense", "dataset.json", RECORD, SPLITS}


def refuse_own_source(target: Path, sources: Iterable[Path]) -> None:
    """Refuse to replace a data set by what is made of its own files.

    Raises:
        ValueError: one of ``sources`` lies in ``target``.
    """
    folder = target.resolve()
    if inside := [path for path in sources if path.resolve().is_relative_to(folder)]:
        raise ValueError(
            f"{inside[0]} lies in {target}, which would be replaced by what is made of it: take "
            "another --dataset-id or --name"
        )


def entries_to_keep(
    target: Path, training_cases: Collection[str], new_folders: Collection[str] = ()
) -> list[str]:
    """Names of the files and folders in ``target`` that are not a conversion's, but the user's.

    Such are ``imagesTs`` where no test cases were converted, and splits that were installed.

    Args:
        target: the data set to be replaced, if it is there.
        training_cases: of the new data set.
        new_folders: that the new data set will have beside those of training cases.

    Raises:
        FileExistsError: ``target`` has no record of a conversion, so that all may be the user's.
        ValueError: its splits are the user's, and name cases that the new data set has not; or the
            user has a folder of a new one's name.
    """
    if not target.exists():
        return []
    try:
        record = json.loads((target / RECORD).read_text())
        # generated scribbles have their source's record, but none of its test cases
        cases = {} if record.get("format") == "generate" else record.get("cases", {})
        parts = {case: files["part"] for case, files in cases.items()}
        training = {c: p for c, p in record["patients"].items() if parts.get(c, "Tr") == "Tr"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise FileExistsError(
            f"{target} exists and holds no {RECORD} that says what a conversion wrote there: not "
            "replaced. Choose another id, or take it away"
        ) from None
    tests = {name for part in parts.values() for name in (f"images{part}", f"labels{part}_dense")}
    kept = sorted({path.name for path in target.iterdir()} - WRITTEN - tests)
    if both := sorted({*kept} & {*new_folders}):
        raise ValueError(
            f"{target / both[0]} is not what a conversion made, and would be replaced: move it away"
        )
    if (splits := target / SPLITS).exists() and not _are_made(splits, training, record):
        named = {c for fold in read_splits(splits) for side in fold.values() for c in side}
        if gone := sorted(named - {*training_cases}):
            raise ValueError(
                f"{splits} is not what a conversion made, and names cases that the new data set "
                f"has not: {', '.join(gone)}. Mend it, or take it away to get new splits"
            )
        kept.append(SPLITS)
    return kept


def _are_made(splits: Path, patients: Mapping[str, str], record: Mapping) -> bool:
    """Whether these are the splits that the conversion made."""
    if record.get("format") == "generate":
        return True  # from its source's, for the cases that it took
    try:
        made = patient_grouped_splits(patients, record["num_folds"], record["seed"])
        return read_splits(splits) == made
    except (ValueError, KeyError, TypeError):
        return False
