"""ACDC images with the scribbles of Valvano et al. (IEEE TMI 2021) as an nnU-Net data set.

Images lie in the challenge's own layout, ``patientNNN/patientNNN_frameMM.nii.gz``, with or without
the dense ``_gt`` files. Scribbles are ``patientNNN_frameMM_scribble.nii.gz``: 0 background
scribble, 1 RV, 2 myocardium, 3 LV, 4 unlabelled. 4 becomes nnU-Net's ignore label.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from scribble_tools.image_io import geometry_difference, read_image, write_labels
from scribble_tools.nnunet_dataset import (
    dataset_folder_name,
    dataset_json,
    patient_grouped_splits,
    write_dataset_atomically,
    write_json,
)

LABELS = {"background": 0, "RV": 1, "MYO": 2, "LV": 3, "ignore": 4}
CASE = re.compile(r"(patient\d{3})_frame\d{2}")


def find_cases(images: Path, scribbles: Path) -> dict[str, dict[str, Path]]:
    """Pair every scribble with its image and, where it exists, its dense reference.

    Returns:
        case name to ``{"image": ..., "scribble": ..., "dense": ...}`` (``dense`` may be missing),
        sorted by case name.

    Raises:
        FileNotFoundError: a folder is missing, there is no scribble, or scribbles lack an image.
        ValueError: a file name occurs twice.
    """
    for folder in (images, scribbles):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder")
    by_name, twice = {}, []
    for folder, pattern in ((images, "patient*.nii.gz"), (scribbles, "*_scribble.nii.gz")):
        seen = {}
        for path in sorted(folder.rglob(pattern)):
            if path.name in seen:
                twice.append(f"{seen[path.name]} and {path}")
            seen[path.name] = path
        by_name |= seen
    if twice:
        raise ValueError("files of the same name, keep one of each:\n" + "\n".join(twice))
    cases, lost = {}, []
    for path in sorted(scribbles.rglob("*_scribble.nii.gz")):
        case = path.name.removesuffix("_scribble.nii.gz")
        if not CASE.fullmatch(case):
            continue
        if f"{case}.nii.gz" not in by_name:
            lost.append(case)
            continue
        cases[case] = {"image": by_name[f"{case}.nii.gz"], "scribble": path}
        if f"{case}_gt.nii.gz" in by_name:
            cases[case]["dense"] = by_name[f"{case}_gt.nii.gz"]
    if lost:
        raise FileNotFoundError(
            f"{len(lost)} scribbles have no image below {images}: {', '.join(lost[:10])}"
            f"{' ...' if len(lost) > 10 else ''}. Give the folder that holds patientNNN/, "
            "or take these scribbles away"
        )
    if not cases:
        raise FileNotFoundError(
            f"no patientNNN_frameMM_scribble.nii.gz below {scribbles}: is it the right folder?"
        )
    return cases


def _convert_case(folder: Path, item: tuple[str, Mapping[str, Path]]) -> list[str]:
    """Write one case; return what is wrong with it instead of raising, to report all at once."""
    case, files = item
    try:
        image = read_image(files["image"])
        labels = {role: read_image(files[role]) for role in ("scribble", "dense") if role in files}
    except (FileNotFoundError, ValueError) as error:
        return [str(error)]
    problems = []
    arrays = {}
    for role, label in labels.items():
        if difference := geometry_difference(image, label):
            problems.append(f"{files[role]} does not lie on its image's voxel grid: {difference}")
        arrays[role] = sitk.GetArrayFromImage(label)
        highest = LABELS["ignore"] if role == "scribble" else LABELS["LV"]
        values = np.unique(arrays[role])
        wrong = [v for v in values.tolist() if v not in range(highest + 1)]
        if wrong:
            problems.append(f"{files[role]} holds {wrong}; expected integers from 0 to {highest}")
    if not problems:
        annotated = arrays["scribble"] != LABELS["ignore"]
        if not annotated.any():
            problems.append(
                f"{files['scribble']} holds no scribble at all (only {LABELS['ignore']})"
            )
        elif annotated.all():
            problems.append(f"{files['scribble']} is dense: no voxel is unlabelled (value 4)")
    if problems:
        return problems
    shutil.copyfile(files["image"], folder / "imagesTr" / f"{case}_0000.nii.gz")
    write_labels(arrays["scribble"], image, folder / "labelsTr" / f"{case}.nii.gz")
    if "dense" in arrays:
        write_labels(arrays["dense"], image, folder / "labelsTr_dense" / f"{case}.nii.gz")
    return []


def convert_acdc(
    images: Path,
    scribbles: Path,
    dataset_id: int,
    out: Path,
    name: str = "ACDCScribbles",
    num_folds: int = 5,
    seed: int = 0,
    overwrite: bool = False,
    num_processes: int = 2,
) -> Path:
    """Convert ACDC and its scribbles to ``out/DatasetNNN_name`` and return that folder.

    Images are copied byte for byte, labels take the image's geometry. Dense references, where
    given, go to ``labelsTr_dense``, which nnU-Net never reads. ``splits_final.json`` keeps each
    patient on one side; nnU-Net's planner copies it to the preprocessed folder.

    Raises:
        FileNotFoundError, FileExistsError: see `find_cases`, `write_dataset_atomically`.
        ValueError: files are not what they should be; the message lists all of them.
    """
    cases = find_cases(Path(images), Path(scribbles))
    dataset = dataset_folder_name(out, dataset_id, name)
    with write_dataset_atomically(Path(out), dataset, overwrite) as folder:
        for sub in ("imagesTr", "labelsTr", "labelsTr_dense"):
            (folder / sub).mkdir()
        with ThreadPoolExecutor(num_processes) as pool:
            results = pool.map(partial(_convert_case, folder), cases.items())
            problems = [p for r in tqdm(results, "converting", len(cases), unit="case") for p in r]
        if problems:
            raise ValueError(f"{len(problems)} problems, nothing written:\n" + "\n".join(problems))
        if not any((folder / "labelsTr_dense").iterdir()):
            (folder / "labelsTr_dense").rmdir()
        write_json(
            dataset_json(
                LABELS,
                len(cases),
                {"0": "cineMRI"},
                overwrite_image_reader_writer="SimpleITKIO",
                reference="ACDC (Bernard et al. 2018), scribbles by Valvano et al. 2021",
                licence="images CC BY-NC-SA 4.0",
            ),
            folder / "dataset.json",
        )
        patients = {case: CASE.fullmatch(case).group(1) for case in cases}
        write_json(patient_grouped_splits(patients, num_folds, seed), folder / "splits_final.json")
        write_json(
            {"seed": seed, "num_folds": num_folds, "grouped_by": "patient", "patients": patients},
            folder / "splits_origin.json",
        )
    return Path(out) / dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "ACDC's images (patientNNN/patientNNN_frameMM.nii.gz) with the scribbles of Valvano et al. "
        "(patientNNN_frameMM_scribble.nii.gz): 4, unlabelled, becomes the ignore label. Dense _gt "
        "files beside the images go to labelsTr_dense, for scoring only."
    )
    parser.epilog = (
        "example:\n  scribble_tools convert acdc --images ACDC/training --scribbles scribbles "
        "--dataset-id 127 --out nnUNet_raw"
    )
    parser.add_argument("--images", type=Path, required=True, help="folder that holds patientNNN/")
    parser.add_argument("--scribbles", type=Path, required=True, help="folder of *_scribble.nii.gz")
    parser.add_argument("--dataset-id", type=int, required=True, help="nnU-Net data set id, 1-999")
    parser.add_argument("--out", type=Path, required=True, help="your nnUNet_raw folder")
    parser.add_argument(
        "--name", default="ACDCScribbles", help="gives DatasetNNN_NAME (default: %(default)s)"
    )
    parser.add_argument("--folds", type=int, default=5, help="cross-validation folds (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing data set")
    parser.add_argument("-np", type=int, default=2, dest="num_processes", help="parallel readers")


def run(args: argparse.Namespace) -> int:
    """Run the sub-command and return its exit code."""
    folder = convert_acdc(
        args.images,
        args.scribbles,
        args.dataset_id,
        args.out,
        args.name,
        args.folds,
        args.seed,
        args.overwrite,
        args.num_processes,
    )
    count = json.loads((folder / "dataset.json").read_text())["numTraining"]
    print(
        f"wrote {count} cases to {folder}\n"
        f"next: nnUNetv2_plan_and_preprocess -d {args.dataset_id} -c 2d --clean"
    )
    return 0
