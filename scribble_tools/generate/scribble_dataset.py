"""Scribbles for the dense labels of a whole nnU-Net data set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scribble_tools.dataset.case_names import alike_problems
from scribble_tools.dataset.patients import find_patients
from scribble_tools.dataset.raw import FILE, RawDataset, read_record
from scribble_tools.dataset.replacing import replaceable_dataset, write_dataset_record
from scribble_tools.dataset.writing import (
    IGNORE,
    RECORD,
    dataset_folder_name,
    patient_grouped_splits,
    read_splits,
    write_dataset_atomically,
    write_json,
)
from scribble_tools.generate.drawing import (
    Item,
    Job,
    record_of,
    refuse_other_classes,
    scribble_files,
)
from scribble_tools.generate.plan import ScribblePlan, seed_words
from scribble_tools.generate.strokes import BACKGROUND
from scribble_tools.images.file_kind import normal_form
from scribble_tools.images.slicer_segmentation import value_conflicts
from scribble_tools.problems import refuse
from scribble_tools.storage.overlap import refuse_overlap, refuse_sources_in
from scribble_tools.wording import counted

NEW_FOLDERS = ("imagesTr", "labelsTr", "labelsTr_dense")


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
        refuse(lost + alike_problems(files) + value_conflicts(files.values()))
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
            f"too few for the folds, {counted(len(scribbled), 'scribbled case')}: "
            f"{', '.join(problems)}. "
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
        FileNotFoundError, FileExistsError: see `write_dataset_atomically` and `written_entries`;
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
    refuse_overlap(Path(out) / target, dataset.folder, "take another --dataset-id or --name")
    sources = [*dataset.files.values(), *(p for own in dataset.images.values() for p in own)]
    refuse_sources_in(Path(out) / target, sources, "take another --dataset-id or --name")
    refuse_other_classes(plan, dataset.values, dataset.folder)
    job = Job(dataset.values, dataset.ignore, dataset.had_ignore, plan)
    replaceable = replaceable_dataset(kept, NEW_FOLDERS) if overwrite else None
    with write_dataset_atomically(Path(out), target, replaceable) as folder:
        for sub in NEW_FOLDERS:
            (folder / sub).mkdir()
        items = []
        for case in kept:
            label = dataset.files[case]
            copies = [
                (path, folder / "imagesTr" / normal_form(path.name))
                for path in dataset.images[case]
            ]
            copies.append((label, folder / "labelsTr_dense" / normal_form(label.name)))
            target_file = folder / "labelsTr" / normal_form(label.name)
            items.append(Item(case, label, target_file, tuple(copies), case in scribbled))
        counts = scribble_files(job, items, num_processes)
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
        details = record_of(
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
        write_dataset_record({**before, **details}, folder)
    return Path(out) / target, counts
