"""Writing a data set in nnU-Net's raw format: dataset.json, splits by patient, all or nothing."""

from __future__ import annotations

import os
import random
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from scribble_tools.dataset import shapes
from scribble_tools.dataset.ids import LAST_ID, free_id
from scribble_tools.json_files import read_json
from scribble_tools.storage.file_sets import write_json, written_atomically  # noqa: F401
from scribble_tools.storage.folders import made_folder, recover_folder, written_folder
from scribble_tools.storage.locks import locked
from scribble_tools.storage.workshop import lock_path, sweep
from scribble_tools.wording import counted

IGNORE = "ignore"
RECORD = "conversion.json"
SPLITS = "splits_final.json"
THEN = "then: "  # of lines that preprocess


@contextmanager
def write_dataset_atomically(
    out: Path,
    name: str,
    replaceable: Callable[[Path], Collection[PurePosixPath]] | None = None,
) -> Iterator[Path]:
    """Yield a temporary folder inside ``out`` that becomes ``out/name`` when the block succeeds.

    When the block raises, or the process is killed, ``out`` is as it was (after a kill, a hidden
    folder whose name starts with a dot may remain until the next run; nnU-Net ignores it).

    Args:
        name: ``DatasetNNN_name``; no other run can write a data set of this id meanwhile.
        replaceable: see `scribble_tools.dataset.replacing.replaceable_dataset`; splits that are
            the user's stay. None: ``out/name`` must not exist.

    Raises:
        FileExistsError: ``out/name`` exists and ``replaceable`` is None, or see `written_folder`.
        ValueError: there is another data set of this id.
        Busy: another run is writing a data set of this id.
    """
    out = Path(out)
    with made_folder(out), dataset_held(out, name):
        _refuse_other_names(out, name)
        target = out / name
        if replaceable is None and os.path.lexists(target):
            raise FileExistsError(f"{target} exists already: choose another id or say --overwrite")
        with written_folder(target, replaceable, precedence={SPLITS}) as folder:
            yield folder
            _refuse_other_names(out, name)  # that the user has put there meanwhile


@contextmanager
def dataset_held(out: Path, name: str) -> Iterator[None]:
    """Keep other runs away from the data sets of one id in ``out``, and end what a kill has left.

    Args:
        name: ``DatasetNNN_name``.

    Raises:
        Busy: another run is writing a data set of this id.
    """
    identity = name[: len("Dataset000")]
    with locked(lock_path(out, identity)):
        sweep(out, f"{identity}_*", recover_folder)
        yield


def _refuse_other_names(out: Path, name: str) -> None:
    number = name[len("Dataset") : len("Dataset000")]
    if others := sorted(p.name for p in out.glob(f"Dataset{number}_*") if p.name != name):
        free = free_id(out, int(number))
        such = f", such as {free}" if free else ""
        raise ValueError(
            f"{out} holds {', '.join(others)}: choose another id than {int(number)}{such}"
        )


def dataset_folder_name(out: Path, dataset_id: int, name: str) -> str:
    """Return ``DatasetNNN_name``.

    Raises:
        ValueError: nnU-Net takes no such id, the name is no file name, or ``out`` holds another
            data set of this id, after which nnU-Net would refuse the id altogether.
    """
    if not name or name != Path(name).name:
        raise ValueError(f"name {name!r}: give what is to follow DatasetNNN_, without slashes")
    if not 1 <= dataset_id <= LAST_ID:
        raise ValueError(f"data set id {dataset_id}: nnU-Net takes 1 to {LAST_ID}")
    folder = f"Dataset{dataset_id:03d}_{name}"
    _refuse_other_names(Path(out), folder)
    return folder


def find_dataset(root: Path, dataset: str) -> Path:
    """Return the folder of a data set, given by id or by full name, below ``root``.

    Raises:
        FileNotFoundError: there is none, or several have that id.
    """
    prefix = f"Dataset{int(dataset):03d}_" if dataset.isdigit() else dataset
    found = sorted(p for p in root.iterdir() if p.name == dataset or p.name.startswith(prefix))
    found = found if dataset.isdigit() else [p for p in found if p.name == dataset]
    if len(found) != 1:
        others = ", ".join(sorted(p.name for p in root.glob("Dataset*"))) or "none at all"
        names = ", ".join(p.name for p in found) or f"none. There are: {others}"
        raise FileNotFoundError(f"data set {dataset} in {root}: found {names}")
    return found[0]


def find_raw_dataset(dataset: str) -> Path:
    """Return the folder of a raw data set, given by path, id or full name.

    Raises:
        FileNotFoundError: there is none, several have that id, or the folder is no data set.
        ValueError: it is no path, and the environment variable nnUNet_raw is not set.
    """
    if (folder := Path(dataset)).is_dir():
        if not (folder / "dataset.json").is_file() and not (folder / "imagesTr").is_dir():
            raise FileNotFoundError(f"{folder} has no dataset.json: is it a raw data set?")
        return Path(os.path.realpath(folder))
    if folder.name != dataset:
        raise FileNotFoundError(f"{dataset} is not a folder")
    raw = os.environ.get("nnUNet_raw")
    if not raw:
        raise ValueError(
            f"{dataset} is no folder, and nnUNet_raw is not set: export nnUNet_raw=/your/folder"
        )
    if not Path(raw).is_dir():
        raise FileNotFoundError(f"nnUNet_raw is {raw}, which is no folder")
    return find_dataset(Path(raw), dataset)


def next_commands(folder: Path, configuration: str | None = None) -> str:
    """Lines for the terminal after a data set was written: how to check and to preprocess it.

    Args:
        folder: the data set's, ``.../DatasetNNN_name``.
        configuration: of nnU-Net, such as ``2d``; None: all that it plans.
    """
    raw, number = Path(os.path.realpath(folder)).parent, int(folder.name[7:10])
    only = f" -c {configuration}" if configuration else ""
    # --clean: nnU-Net would keep the fingerprint of an overwritten data set of this id
    then = [f"nnUNetv2_plan_and_preprocess -d {number}{only} --clean"]
    if _has_scribbled_ct(folder):
        then = [
            f"nnUNetv2_extract_fingerprint -d {number} --clean",
            f"nnunetv2_pclmix ct-fingerprint {number}",
            f"nnUNetv2_plan_experiment -d {number}",
            f"nnUNetv2_preprocess -d {number}{only}",
        ]
    lines = [f"next: scribble_tools check {number}", *(f"{THEN}{line}" for line in then)]
    if Path(os.path.realpath(os.environ.get("nnUNet_raw") or "/")) != raw:
        lines.insert(0, f"first: export nnUNet_raw={shlex.quote(str(raw))}")
    return "\n".join(lines)


def _has_scribbled_ct(folder: Path) -> bool:
    """Whether nnU-Net would take what is unlabelled for foreground of a CT image."""
    try:
        content = read_json(folder / "dataset.json", shapes.DATASET_JSON)
    except (OSError, ValueError):
        return False
    ct = any(name.casefold() == "ct" for name in content["channel_names"].values())
    return ct and IGNORE in content["labels"]


def dataset_json(
    labels: Mapping[str, int],
    num_training: int,
    channel_names: Mapping[str, str],
    file_ending: str = ".nii.gz",
    **extra: object,
) -> dict:
    """Return the content of nnU-Net's dataset.json.

    Args:
        labels: name to value; must hold ``background`` = 0, consecutive values and ``ignore`` last.
        num_training: number of training cases.
        channel_names: channel index (as a string) to name; nnU-Net derives the normalisation
            from the name (``CT`` or anything else).
        file_ending: of images and labels.
        extra: further entries, kept by nnU-Net as they are.

    Raises:
        ValueError: the labels are not what nnU-Net accepts.
    """
    values = sorted(labels.values())
    if labels.get("background") != 0 or values != list(range(len(values))):
        raise ValueError(f"labels must be consecutive and start with background = 0, got {labels}")
    if labels.get(IGNORE, values[-1]) != values[-1]:
        raise ValueError(f"'{IGNORE}' must be the highest label, got {labels}")
    return {
        "channel_names": dict(channel_names),
        "labels": dict(labels),
        "numTraining": num_training,
        "file_ending": file_ending,
        **extra,
    }


def patient_grouped_splits(
    case_to_patient: Mapping[str, str], num_folds: int = 5, seed: int = 0
) -> list[dict[str, list[str]]]:
    """Cross-validation folds in which all cases of a patient stay on one side.

    Returns:
        One ``{"train": [cases], "val": [cases]}`` per fold, nnU-Net's splits_final.json format.

    Raises:
        ValueError: there are fewer patients than folds, or fewer than two folds.
    """
    if num_folds < 2:
        raise ValueError(
            f"{counted(num_folds, 'fold')}: at least 2 are needed to validate on other patients"
        )
    patients = sorted(set(case_to_patient.values()))
    if len(patients) < num_folds:
        raise ValueError(
            f"{counted(num_folds, 'fold')} need as many patients, but there are {len(patients)}"
        )
    random.Random(seed).shuffle(patients)
    splits = []
    for fold in range(num_folds):
        held_out = set(patients[fold::num_folds])
        splits.append(
            {
                "train": sorted(c for c, p in case_to_patient.items() if p not in held_out),
                "val": sorted(c for c, p in case_to_patient.items() if p in held_out),
            }
        )
    return splits


def read_splits(path: Path) -> list[dict[str, list[str]]]:
    """Read a splits file: per fold the cases to train on (``train``) and to validate on (``val``).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no list of such folds.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such splits file")
    folds = read_json(path, shapes.SPLITS)
    return [{side: fold[side] for side in ("train", "val")} for fold in folds]
