"""Scribbles for the dense labels of a whole folder or nnU-Net data set."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from scribble_tools.convert.pairing import stem_of
from scribble_tools.dataset.patients import find_patients
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.dataset.raw import FILE, RawDataset, read_record
from scribble_tools.dataset.replacing import entries_to_keep
from scribble_tools.dataset.writing import (
    IGNORE,
    RECORD,
    dataset_folder_name,
    patient_grouped_splits,
    read_splits,
    write_dataset_atomically,
    write_json,
)
from scribble_tools.generate.plan import ScribblePlan, generate_scribbles, seed_words
from scribble_tools.generate.strokes import BACKGROUND
from scribble_tools.images.file_kind import READABLE, file_ending_of, normal_form
from scribble_tools.images.image_files import files_in
from scribble_tools.images.image_io import largest_label, write_labels
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.images.slicer_segmentation import value_conflicts
from scribble_tools.parallel import parallel_map
from scribble_tools.problems import refuse

FOLDER_RECORD = "generated.json"


@dataclass(frozen=True)
class _Job:
    """What a process needs to scribble the files of a folder."""

    classes: tuple[int, ...]
    unlabelled: int
    may_ignore: bool
    plan: ScribblePlan


def _scribble_file(job: _Job, item: tuple[str, Path, Path]) -> tuple[Counter, list[str]]:
    """Write one scribble file.

    Returns:
        the number of voxels of each label value, and what is wrong, to report all at once.
    """
    case, source, target = item
    try:
        dense, image = read_labels(source)
    except (FileNotFoundError, ValueError) as error:
        return Counter(), [str(error)]
    if dense.ndim not in (2, 3):
        return Counter(), [f"{source} has {dense.ndim} dimensions; labels have 2 or 3"]
    found = set(np.unique(dense).tolist())
    known = {*job.classes, job.unlabelled} if job.may_ignore else {*job.classes}
    if unknown := sorted(found - known):
        return Counter(), [f"{source} holds {unknown}; expected {sorted(known)}"]
    if np.count_nonzero(dense == job.unlabelled) > dense.size / 2:
        return Counter(), [
            f"{source}: most voxels are unlabelled ({job.unlabelled}), so these are scribbles "
            "already. Give dense labels, or put them into labelsTr_dense"
        ]
    spacing_mm = image.GetSpacing()[::-1]
    scribble = generate_scribbles(dense, spacing_mm, job.classes, job.unlabelled, job.plan, case)
    write_labels(scribble, image, target)
    values, counts = np.unique(scribble, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True))), []


def _values_in(path: Path) -> tuple[set[int], list[str]]:
    try:
        return set(np.unique(read_labels(path)[0]).tolist()), []
    except (FileNotFoundError, ValueError) as error:
        return set(), [str(error)]


def _scribble_files(
    job: _Job, items: Sequence[tuple[str, Path, Path]], num_processes: int
) -> Counter:
    total, problems = Counter(), []
    for counts, own in parallel_map(partial(_scribble_file, job), items, num_processes, "drawing"):
        total += counts
        problems += own
    refuse(problems)
    return total


def _record(source: Path, plan: ScribblePlan, classes: Mapping[str, int], **more: object) -> dict:
    return {
        "format": "generate",
        "versions": package_versions(),
        "source": str(source),
        "mode": plan.mode,
        "slices": plan.slices,
        "every_nth_slice": plan.every_nth,
        "seed": plan.seed,
        "classes": {}
        if plan.every_nth
        else {name: asdict(plan.settings_of(value)) for name, value in classes.items()},
        **more,
    }


def _refuse_other_classes(plan: ScribblePlan, values: Collection[int], source: Path) -> None:
    if unknown := sorted({*plan.by_class} - {*values}):
        raise ValueError(
            f"--class: {source} holds no label {', '.join(map(str, unknown))}, but {sorted(values)}"
        )


def find_label_files(folder: Path) -> list[Path]:
    """The label files directly in a folder, sorted; hidden files are passed over.

    Raises:
        FileNotFoundError: there is no such folder, or none in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    files = [path for path in files_in(folder) if file_ending_of(path) in READABLE]
    if not files:
        raise FileNotFoundError(f"no label files ({' '.join(sorted(READABLE))}) in {folder}")
    return files


def generate_folder(
    source: Path,
    out: Path,
    plan: ScribblePlan,
    unlabelled: int | None = None,
    overwrite: bool = False,
    num_processes: int = 2,
) -> Counter:
    """Draw scribbles for every label file of a folder into files of the same names in ``out``.

    Args:
        unlabelled: value of unlabelled voxels; default: the highest label of the folder + 1, or
            the highest free value where the format holds no more.

    Returns:
        number of voxels of each label value in all files together.

    Raises:
        FileNotFoundError, FileExistsError: see `find_label_files`, `write_dataset_atomically`.
        ValueError: files are no dense labels, or ``unlabelled`` is one of their labels; the
            message lists all of them, and nothing is written.
    """
    files = find_label_files(Path(source))
    found, problems = set(), []
    for path, (values, own) in zip(
        files, parallel_map(_values_in, files, num_processes, "reading"), strict=True
    ):
        found |= values
        problems += own
        if min(values, default=0) < 0:
            problems.append(f"{path} holds the negative label {min(values)}")
    if not problems:
        problems = value_conflicts(files)
    if not problems and BACKGROUND not in found:
        problems.append(f"no background (0) in {source}: are these dense labels?")
    refuse(problems)
    highest = min(2**16 - 1, *map(largest_label, files))
    if unlabelled is None:
        unlabelled = max(found) + 1
        if unlabelled > highest:  # a BMP of 0 and 255, say
            unlabelled = max(set(range(highest + 1)) - found, default=unlabelled)
    if unlabelled in found or not 0 <= unlabelled <= highest:
        raise ValueError(
            f"unlabelled {unlabelled}: take a value up to {highest}, which the format holds, that "
            f"is no label in {source} (--unlabelled); it holds {sorted(found)}"
        )
    out = Path(out).absolute()
    if out.exists() and not (out / FOLDER_RECORD).is_file():
        raise FileExistsError(
            f"{out} exists and holds no {FOLDER_RECORD}: not replaced, take another --out"
        )
    _refuse_other_classes(plan, found, source)
    job = _Job(tuple(sorted(found)), unlabelled, False, plan)
    with write_dataset_atomically(out.parent, out.name, overwrite) as folder:
        counts = _scribble_files(
            job, [(stem_of(path), path, folder / path.name) for path in files], num_processes
        )
        record = _record(source, plan, {str(value): value for value in job.classes})
        write_json({**record, "unlabelled": unlabelled}, folder / FOLDER_RECORD)
    return counts


@dataclass(frozen=True)
class _DenseDataset:
    """An nnU-Net raw data set with dense labels."""

    folder: Path
    content: dict  # of dataset.json
    classes: dict[str, int]  # background and single-valued classes by name
    values: tuple[int, ...]  # every label value, without ignore
    ignore: int
    had_ignore: bool
    files: dict[str, Path]  # case -> dense label file
    images: dict[str, list[Path]]

    @classmethod
    def read(cls, folder: Path) -> _DenseDataset:
        raw = RawDataset.read(folder)
        label_set, content = raw.labels, raw.content
        if "dataset" in content:
            raise ValueError(
                f"{folder / FILE} lists its files under 'dataset'; expected them in imagesTr and "
                "labelsTr"
            )
        labels = "labelsTr_dense" if (folder / "labelsTr_dense").is_dir() else "labelsTr"
        files = raw.files(labels)
        if not files:
            raise FileNotFoundError(f"no *{raw.file_ending} in {folder / labels}")
        images = {case: [] for case in files}
        lost = []
        for stem, path in raw.files("imagesTr").items():
            case = re.sub(r"_\d{4}$", "", stem)
            if case in images:
                images[case].append(path)
            else:
                lost.append(f"{path} has no dense label in {folder / labels}")
        lost += [f"{files[case]} has no image in imagesTr" for case in images if not images[case]]
        refuse(lost + value_conflicts(files.values()))
        values = tuple(sorted(label_set.values))
        names = {n: v[0] for n, v in label_set.classes.items() if len(v) == 1}
        return cls(
            folder,
            content,
            {"background": BACKGROUND, **names},
            values,
            values[-1] + 1 if label_set.ignore is None else label_set.ignore,
            label_set.ignore is not None,
            files,
            images,
        )


def _scribbled_cases(
    patients: Mapping[str, str], share: float, seed: int, folder: Path
) -> list[str]:
    """All cases of the first patients in a seeded order: a larger share holds every smaller one."""
    if not 0 < share <= 1:
        raise ValueError(f"cases {share:g}: a share above 0 and up to 1")
    order = sorted(set(patients.values()), key=lambda patient: seed_words(seed, patient))
    chosen = set(order[: round(share * len(order))])
    if not chosen:
        raise ValueError(f"cases {share:g}: none of the {len(order)} in {folder} would be left")
    return sorted(case for case in patients if patients[case] in chosen)


def _splits(
    source: Path,
    patients: Mapping[str, str],
    scribbled: Sequence[str],
    kept: Sequence[str],
    seed: int,
) -> list[dict] | None:
    """Folds whose training cases are scribbled; validation cases need only be kept."""
    file = source / "splits_final.json"
    if file.is_file():
        splits = read_splits(file)
    else:
        kept_patients = {case: patients[case] for case in kept}
        folds = min(5, len(set(kept_patients.values())))
        if folds < 2:
            return None
        splits = patient_grouped_splits(kept_patients, folds, seed)
    trained, kept = set(scribbled), set(kept)
    splits = [
        {
            "train": [case for case in fold["train"] if case in trained],
            "val": [case for case in fold["val"] if case in kept],
        }
        for fold in splits
    ]
    problems = [
        f"fold {k} keeps no {part} case"
        for k, fold in enumerate(splits)
        for part in ("train", "val")
        if not fold[part]
    ]
    if problems:
        raise ValueError(
            f"{len(scribbled)} scribbled cases are too few for the folds: {', '.join(problems)}. "
            "Take a larger share, or --keep-unscribbled for whole validation lists"
        )
    return splits


def generate_dataset(
    source: Path,
    dataset_id: int,
    out: Path,
    plan: ScribblePlan,
    name: str | None = None,
    cases: float = 1.0,
    keep_unscribbled: bool = False,
    patient_regex: str | None = None,
    record: Mapping[str, object] | None = None,
    overwrite: bool = False,
    num_processes: int = 2,
) -> tuple[Path, Counter]:
    """Write ``out/DatasetNNN_name``: the training images of ``source`` with generated scribbles.

    Images and dense labels (``labelsTr_dense`` of the source, else its ``labelsTr``) are copied
    byte for byte, the latter to ``labelsTr_dense``. Test images stay where they are.
    ``dataset.json`` gets an ignore label and keeps every other entry, ``splits_final.json`` is the
    source's, or new with each patient on one side.

    Args:
        name: default: the source's with ``Scribbles`` appended.
        cases: share of the patients whose cases are scribbled, in a seeded order.
        keep_unscribbled: keep the other cases with nothing but the ignore label, in the folds'
            validation lists only; else they are left out.
        patient_regex: see `find_patients`; default: what the source's ``conversion.json`` says,
            else each case is a patient of its own.
        record: further entries of ``conversion.json``.

    Returns:
        the new folder, and the number of voxels of each label value in it.

    Raises:
        FileNotFoundError, FileExistsError: see `write_dataset_atomically` and `entries_to_keep`;
            files are missing.
        ValueError: files are not what they should be; the message lists all of them, and nothing
            is written.
    """
    dataset = _DenseDataset.read(Path(source))
    patients = find_patients(dataset.files, dataset.folder, patient_regex)
    patients = patients or {case: case for case in dataset.files}
    scribbled = _scribbled_cases(patients, cases, plan.seed, dataset.folder)
    kept = sorted(dataset.files) if keep_unscribbled else scribbled
    splits = _splits(dataset.folder, patients, scribbled, kept, plan.seed)
    if name is None:
        name = re.sub(r"^Dataset\d{3}_", "", dataset.folder.absolute().name) + "Scribbles"
    target = dataset_folder_name(out, dataset_id, name)
    if (Path(out) / target).resolve() == dataset.folder.resolve():
        raise ValueError(
            f"{source} would be replaced by itself: take another --dataset-id or --name"
        )
    _refuse_other_classes(plan, dataset.values, dataset.folder)
    job = _Job(dataset.values, dataset.ignore, dataset.had_ignore, plan)
    keep = entries_to_keep(Path(out) / target, kept) if overwrite else ()
    with write_dataset_atomically(Path(out), target, overwrite, keep) as folder:
        for sub in ("imagesTr", "labelsTr", "labelsTr_dense"):
            (folder / sub).mkdir()
        items = [
            (case, file, folder / "labelsTr" / normal_form(file.name))
            for case in scribbled
            for file in [dataset.files[case]]
        ]
        counts = _scribble_files(job, items, num_processes)
        for case in kept:
            for path in dataset.images[case]:
                shutil.copyfile(path, folder / "imagesTr" / normal_form(path.name))
            path = dataset.files[case]
            shutil.copyfile(path, folder / "labelsTr_dense" / normal_form(path.name))
            if case not in scribbled:
                labels, image = read_labels(path)
                counts[dataset.ignore] += labels.size
                empty = np.full(labels.shape, dataset.ignore)
                write_labels(empty, image, folder / "labelsTr" / normal_form(path.name))
        content = {
            **dataset.content,
            "labels": {
                **{n: v for n, v in dataset.content["labels"].items() if n != IGNORE},
                IGNORE: dataset.ignore,
            },
            "numTraining": len(kept),
        }
        write_json(content, folder / "dataset.json")
        if splits is not None:
            write_json(splits, folder / "splits_final.json")
        details = _record(
            source,
            plan,
            dataset.classes,
            patients={case: patients[case] for case in kept},
            scribbled_cases=scribbled,
            **(record or {}),
        )
        # what is known of the labels' origin stays known, for `restore-labels`
        origin = dataset.folder / RECORD
        before = read_record(dataset.folder) if origin.is_file() else {}
        write_json({**before, **details}, folder / RECORD)
    return Path(out) / target, counts
