"""`convert folder --update`: corrected and added strokes into a data set that is there already.

Folds, patients and label values stay as the first conversion made them, so that models before and
after can be compared. Earlier strokes stay where the new files say nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from scribble_tools.convert.conversion import convert_case
from scribble_tools.convert.mixed_up import (
    Strokes,
    contradictions,
    count_pairs,
    mixed_up,
    unlike_its_case,
)
from scribble_tools.convert.pairing import CaseFiles, Place, pair_with_dataset
from scribble_tools.convert.source import Source, SourceCase
from scribble_tools.convert.stroke_changes import (
    ClassChange,
    StrokeReader,
    UpdateOptions,
    count_changes,
    merge,
)
from scribble_tools.dataset.drawn_labels import read_drawn_labels
from scribble_tools.dataset.label_mapping import LabelMapping
from scribble_tools.dataset.not_strokes import NOT_STROKES
from scribble_tools.dataset.shapes import CONVERSION, DATASET_JSON
from scribble_tools.dataset.writing import RECORD, SPLITS, dataset_held, read_splits
from scribble_tools.images.image_files import cases_in
from scribble_tools.images.image_io import write_labels
from scribble_tools.images.mismatches import GridMismatch, Mismatch
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.images.slicer_segmentation import is_segmentation
from scribble_tools.json_files import read_json
from scribble_tools.parallel import threaded_map
from scribble_tools.problems import refuse
from scribble_tools.storage.file_sets import write_json
from scribble_tools.storage.folders import list_entries, written_folder
from scribble_tools.storage.workshop import discard, workshop
from scribble_tools.storage.written_record import FILES

EARLIER = "labelsTr_before_update_"
WHAT_ELSE = "Draw with the values or segments that are mapped; of no class, say --unlabelled"
MARKS = (
    f". If suggest wrote these files: predictions and marks are told by {NOT_STROKES}, which it "
    "writes beside its label files. Copy it to where they lie now"
)


@dataclass(frozen=True)
class Update:
    """What an update did.

    Attributes:
        changes: of classes whose voxels are others than before.
        same: cases whose files say nothing new; new images that `suggest` asked about in vain, too.
        new: cases that the data set did not have.
        kept: voxels of earlier strokes that the new files lack, and that stay.
        met: voxels of earlier strokes in whose place the new files have a stroke, too.
        earlier: folder with the earlier labels of the changed cases; None where none changed.
        passed_over: see `StrokeReader`.
    """

    changes: Sequence[ClassChange]
    same: Sequence[str]
    new: Sequence[str]
    kept: int
    met: int
    earlier: Path | None
    passed_over: Mapping[Path, str]

    @property
    def changed(self) -> list[str]:
        """Cases of the data set with other strokes than before."""
        return [
            case for case in dict.fromkeys(c.case for c in self.changes) if case not in self.new
        ]


def update_dataset(
    dataset: Path,
    scribbles: Place,
    images: Sequence[Place] = (),
    patients_of: Callable[[Mapping[str, CaseFiles]], Mapping[str, str]] | None = None,
    options: UpdateOptions | None = None,
) -> Update:
    """Bring corrected or added strokes into a raw data set.

    Its folds stay; new cases go where their patient is, those of a new patient to the fold that
    validates on the fewest cases. The earlier labels of what changes are copied to a folder of
    their own, and conversion.json says what was done.

    Args:
        images: of new cases.
        patients_of: patient of every new case; default: every case has its own.

    Raises:
        FileNotFoundError, ValueError: the data set or files cannot be used; the message lists all
            of them, and nothing is written.
    """
    with dataset_held(dataset.parent, dataset.name):
        return _update(dataset, scribbles, images, patients_of, options or UpdateOptions())


def _update(
    dataset: Path,
    scribbles: Place,
    images: Sequence[Place],
    patients_of: Callable[[Mapping[str, CaseFiles]], Mapping[str, str]] | None,
    options: UpdateOptions,
) -> Update:
    content = read_json(dataset / "dataset.json", DATASET_JSON)
    record_path = dataset / RECORD
    record = read_json(record_path, CONVERSION) if record_path.is_file() else {}
    drawn = read_drawn_labels(dataset)
    if not drawn.mapping.unlabelled:
        raise ValueError(f"{dataset} has no ignore label: it was not made of strokes")
    ending, ignore = content["file_ending"], drawn.mapping.labels["ignore"]
    labels_folder = dataset / "labelsTr"
    known = cases_in(labels_folder, ending)
    files, added = pair_with_dataset(known, images, scribbles, options.exclude)
    linked = [dataset / name for name in ("labelsTr", "imagesTr") if (dataset / name).is_symlink()]
    if linked and (added or linked[0].name == "labelsTr"):
        raise ValueError(
            f"{linked[0]} is a link to another folder, in which nothing is changed: put a folder "
            "with its files in its place"
        )
    reader = StrokeReader(drawn, scribbles.folder, options)
    paths = [*files.values(), *(own.scribble for own in added.values())]
    if options.labels and all(map(is_segmentation, paths)):
        raise ValueError(
            "--labels is for label maps, and all files are segmentations of 3D Slicer, which are "
            "read by name: leave it out"
        )
    undrawn = {case for case, own in added.items() if reader.is_undrawn(own.scribble)}
    added = {case: own for case, own in added.items() if case not in undrawn}
    with workshop(dataset.parent, f"{dataset.name}.update", discard) as (staged, _):
        (staged / "labelsTr").mkdir()
        (staged / "imagesTr").mkdir()
        one = partial(_update_case, dataset, ending, ignore, drawn.mapping, reader, staged, options)
        outcomes = [*threaded_map(one, [*files.items()], options.num_threads, "reading")]
        problems = [problem for own in outcomes for problem in own.problems]
        if not options.not_mixed_up:
            read = zip(files.values(), outcomes, strict=True)
            pairs = {path: own.pairs for path, own in read if own.pairs is not None}
            problems += contradictions(pairs, drawn.mapping.names)
            unlike = [own.unlike for own in outcomes if own.unlike]
            problems += mixed_up(unlike, known, ignore, options.num_threads)
        patients = patients_of(added) if patients_of and added else {}
        cases, source = _new_cases(added, patients, content, drawn.mapping, reader)
        dimension = read_labels(next(iter(known.values())))[1].GetDimension() if known else 0
        for case in cases:
            own, found = convert_case(staged, ending, source, case)
            problems += found
            if dimension and own not in (0, dimension):
                problems.append(
                    f"{case.images[0]} is {own}D, but the data set's images are {dimension}D, and "
                    "no network is shared between the two: convert it apart"
                )
        problems += reader.problems()
        if unmapped := [k for k, problem in enumerate(problems) if "not mapped" in problem]:
            moved = not (scribbles.folder / NOT_STROKES).is_file()
            problems[unmapped[-1]] += f". {WHAT_ELSE}{MARKS * moved}"
        refuse(problems)
        changes = [change for own in outcomes for change in own.changes]
        for case in cases:
            labels = read_labels(staged / "labelsTr" / f"{case.name}{ending}")[0]
            empty = np.full_like(labels, ignore)
            changes += count_changes(case.name, empty, labels, drawn.mapping.labels, ignore)
        changed = {change.case for change in changes}
        earlier = _next_folder(dataset) if changed & set(files) else None
        found = Update(
            changes,
            [*(case for case in files if case not in changed), *sorted(undrawn)],
            [case.name for case in cases],
            sum(own.kept for own in outcomes),
            sum(int(own.pairs[:, :-1].sum()) for own in outcomes if own.pairs is not None),
            earlier,
            reader.passed_over,
        )
        if not changed and not cases:
            return found
        if cases:
            write_json({**content, "numTraining": len(known) + len(cases)}, staged / "dataset.json")
            if (dataset / SPLITS).is_file():
                known_patients = record.get("patients", {})
                splits = read_splits(dataset / SPLITS)
                write_json(extend_splits(splits, known_patients, cases), staged / SPLITS)
        if record:
            extended = _extended(record, scribbles.folder, cases, found)
            if FILES in record:
                own = {*map(str, _files_in(staged))}
                extended[FILES] = sorted({*record[FILES], *own})
            write_json(extended, staged / RECORD)
        _publish(staged, dataset, found, ending)
    return found


@dataclass(frozen=True)
class _Outcome:
    """What an update finds in one case, see `Update`.

    Attributes:
        pairs: see `count_pairs`; None where the file cannot be used.
        unlike: perhaps another case's strokes.
    """

    changes: Sequence[ClassChange] = ()
    kept: int = 0
    pairs: np.ndarray | None = None
    problems: Sequence[str] = ()
    unlike: Strokes | None = None


def _update_case(
    dataset: Path,
    ending: str,
    ignore: int,
    mapping: LabelMapping,
    reader: StrokeReader,
    staged: Path,
    options: UpdateOptions,
    item: tuple[str, Path],
) -> _Outcome:
    """Merge one case's strokes."""
    case, path = item
    try:
        before, grid = read_labels(dataset / "labelsTr" / f"{case}{ending}")
        new = reader.read(path, grid, dataset / "imagesTr" / f"{case}_0000{ending}")
        after, kept = merge(before, new, ignore, options.erase)
        if not options.erase or (after != ignore).any():
            changes = count_changes(case, before, after, mapping.labels, ignore)
            if changes:
                write_labels(after, grid, staged / "labelsTr" / f"{case}{ending}")
            unlike = unlike_its_case(case, path, before, new, ignore)
            pairs = count_pairs(before, new, ignore)
            return _Outcome(changes, kept, pairs, unlike=unlike)
        problem = f"{path} holds no stroke at all, and --erase would leave none"
    except Mismatch as error:
        remedy = error.remedy if isinstance(error, GridMismatch) else ""
        problem = f"{path} {error}. {remedy}".rstrip(". ")
    except (OSError, ValueError) as error:
        message = str(error)
        problem = message if str(path) in message else f"{path} {message}"
    return _Outcome(problems=[problem])


def _new_cases(
    added: Mapping[str, CaseFiles],
    patients: Mapping[str, str],
    content: Mapping,
    mapping: LabelMapping,
    reader: StrokeReader,
) -> tuple[list[SourceCase], Source]:
    cases = [
        SourceCase(name, patients.get(name, name), files.images, files.scribble)
        for name, files in added.items()
    ]
    # the reader has mapped the values already
    as_they_are = LabelMapping(
        {name: (k,) for k, name in enumerate(mapping.names)}, (len(mapping.names),)
    )
    source = Source("folder", cases, as_they_are, content["channel_names"], None, reader.read)
    return cases, source


def extend_splits(
    splits: Sequence[Mapping[str, Sequence[str]]],
    patients: Mapping[str, str],
    cases: Sequence[SourceCase],
) -> list[dict[str, list[str]]]:
    """Folds with new cases in them; no old case changes sides.

    Args:
        patients: patient of every old case.
        cases: new ones.
    """
    folds = [{side: list(fold[side]) for side in ("train", "val")} for fold in splits]
    owner = dict(patients)
    for case in sorted(cases, key=lambda case: case.name):
        of_patient = {name for name, patient in owner.items() if patient == case.patient}
        sides = [bool(of_patient & set(fold["val"])) for fold in folds]
        if not any(sides) and not any(of_patient & set(fold["train"]) for fold in folds):
            smallest = min(range(len(folds)), key=lambda k: len(folds[k]["val"]))
            sides = [k == smallest for k in range(len(folds))]
        for fold, validates in zip(folds, sides, strict=True):
            side = "val" if validates else "train"
            fold[side] = sorted([*fold[side], case.name])
        owner[case.name] = case.patient
    return folds


def _extended(record: Mapping, folder: Path, cases: Sequence[SourceCase], found: Update) -> dict:
    entry = {
        "scribbles": str(folder),
        "changed": found.changed,
        "new": list(found.new),
        "earlier": found.earlier and found.earlier.name,
        "changes": [vars(change) for change in found.changes],
    }
    new = {
        case.name: {
            "part": case.part,
            "images": [str(path) for path in case.images],
            "scribble": str(case.scribble),
            "dense": None,
        }
        for case in cases
    }
    return {
        **record,
        "patients": {**record.get("patients", {}), **{c.name: c.patient for c in cases}},
        "cases": {**record.get("cases", {}), **new},
        "updates": [*record.get("updates", ()), entry],
    }


def _next_folder(dataset: Path) -> Path:
    """``labelsTr_before_update_1``, or the next number that is free."""
    number = 1
    while (folder := dataset / f"{EARLIER}{number}").exists():
        number += 1
    return folder


def _files_in(staged: Path) -> set[PurePosixPath]:
    """Without a folder in which nothing new lies: the data set's may be a link to another."""
    return {entry for entry in list_entries(staged) if (staged / entry).is_file()}


def _publish(staged: Path, dataset: Path, found: Update, ending: str) -> None:
    """Put every new file into its place, all in one step, and keep the earlier labels apart."""
    changed = _files_in(staged)
    with written_folder(dataset, lambda folder: changed) as new:
        for entry in changed:
            (new / entry).parent.mkdir(exist_ok=True)
            os.replace(staged / entry, new / entry)
        if found.earlier is not None:
            copies = new / found.earlier.name
            copies.mkdir()
            for case in found.changed:
                name = f"{case}{ending}"
                shutil.copy2(dataset / "labelsTr" / name, copies / name)
