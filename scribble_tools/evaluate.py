"""`scribble_tools evaluate`: score a folder of predicted label maps against dense references.

`segmentation_scores` defines the scores and what happens where a class is empty.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from scribble_tools.evaluation_report import (
    MISSING_HD95,
    Evaluation,
    format_table,
    summarise,
    write_report,
)
from scribble_tools.image_io import geometry_difference
from scribble_tools.label_set import (
    LabelSet,
    find_dataset_json,
    parse_label_set,
    read_label_set,
)
from scribble_tools.segmentation_files import read_labels
from scribble_tools.segmentation_scores import ClassScore, evaluate_case


def _evaluate_files(
    labels: LabelSet, files: tuple[str, Path, Path]
) -> tuple[list[ClassScore], list[str], list[str]]:
    """Scores, remarks and problems of one case; problems are returned, to report all at once."""
    case, predicted_file, reference_file = files
    problems, arrays, images = [], [], []
    for path in (predicted_file, reference_file):
        try:
            array, image = read_labels(path)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
            continue
        arrays.append(array)
        images.append(image)
    if problems:
        return [], [], problems
    if difference := geometry_difference(*images):
        return (
            [],
            [],
            [f"{predicted_file} does not lie on its reference's voxel grid: {difference}"],
        )
    (prediction, reference), spacing_r = arrays, images[1].GetSpacing()[::-1]
    remarks = []
    if unknown := sorted(set(np.unique(prediction).tolist()) - labels.values):
        remarks.append(f"predicted values {unknown} are not scored")
    if unknown := sorted(set(np.unique(reference).tolist()) - labels.values - {labels.ignore}):
        remarks.append(f"reference values {unknown} count as background")
    if labels.ignore is not None and (reference == labels.ignore).mean() > 0.5:
        remarks.append(
            "most of the reference is unlabelled (scribbles?), Dice and HD95 cover the rest only"
        )
    return evaluate_case(case, prediction, reference, spacing_r, labels), remarks, []


def _values_in(path: Path) -> set[int]:
    try:
        return set(np.unique(read_labels(path)[0]).tolist())
    except ValueError:
        return set()  # reported with all other problems when the case is scored


def _parallel_map(function: Callable, items: list, num_processes: int, title: str) -> Iterable:
    if min(num_processes, len(items)) < 2:
        yield from tqdm(map(function, items), title, len(items), unit="case")
        return
    # spawn: the same on every system, and safe when the caller has threads (torch has)
    with ProcessPoolExecutor(min(num_processes, len(items)), get_context("spawn")) as pool:
        yield from tqdm(pool.map(function, items), title, len(items), unit="case")


def evaluate_folders(
    prediction: Path,
    reference: Path,
    labels: LabelSet | None = None,
    file_ending: str = ".nii.gz",
    num_processes: int = 2,
    cases: Collection[str] | None = None,
) -> Evaluation:
    """Score every case of the folder ``reference`` against the file of that name in ``prediction``.

    Args:
        cases: score these only, such as the validation cases of a fold.
        labels: default: the labels found in the references, without 0, none of them ignored.

    Raises:
        FileNotFoundError: a folder is missing or holds no reference.
        ValueError: files are missing, unreadable, of another shape or spacing, or hold no
            integers; the message lists all of them.
    """
    for folder in (prediction, reference):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder")
    wanted, given = (
        {
            path.name.removesuffix(file_ending): path
            for path in sorted(folder.glob(f"*{file_ending}"))
        }
        for folder in (reference, prediction)
    )
    if not wanted:
        raise FileNotFoundError(f"no *{file_ending} in {reference}: another --file-ending?")
    if cases is not None:
        if unknown := sorted(set(cases) - set(wanted)):
            raise FileNotFoundError(f"no reference in {reference} for {', '.join(unknown)}")
        wanted = {case: path for case, path in wanted.items() if case in cases}
    problems = [
        f"{prediction / path.name}: no such prediction"
        for case, path in wanted.items()
        if case not in given
    ]
    notes: dict[str, list[str]] = {}
    if extra := [case for case in given if case not in wanted]:
        notes["no reference, not scored"] = extra
    if labels is None:
        found = set().union(*_parallel_map(_values_in, [*wanted.values()], num_processes, "labels"))
        labels = LabelSet({str(value): (value,) for value in sorted(found - {0})})
    if not labels.classes:
        raise ValueError(f"no class to score in {reference}: name some with --labels")
    files = [(case, given[case], path) for case, path in wanted.items() if case in given]
    scores = []
    score = partial(_evaluate_files, labels)
    results = _parallel_map(score, files, num_processes, "scoring")
    for (case, *_), (case_scores, remarks, case_problems) in zip(files, results, strict=True):
        scores += case_scores
        problems += case_problems
        for remark in remarks:
            notes.setdefault(remark, []).append(case)
    if problems:
        raise ValueError("\n".join([f"{len(problems)} problems, nothing scored:", *problems]))
    return Evaluation(scores, notes, labels)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Dice, HD95 in mm (medpy's definition) and false islands of predictions against dense "
        "references, per case and class, with means over cases."
    )
    parser.epilog = (
        "examples:\n  scribble_tools evaluate predictions labelsTs_dense --out scores -np 4\n"
        "  scribble_tools evaluate MODEL/fold_0/validation labelsTr_dense \\\n"
        "    --splits splits_final.json --fold 0\n\n"
        "Cases are the files of REF; PRED holds files of the same names. Islands are connected\n"
        "components beyond the largest (26-connected in 3D, 8-connected in 2D). A class that is\n"
        "empty in both has no score; one that is empty in one of them has Dice 0 and no HD95."
    )
    parser.add_argument("prediction", metavar="PRED", type=Path, help="folder of predictions")
    parser.add_argument("reference", metavar="REF", type=Path, help="folder of dense references")
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="LABEL",
        help="classes to score: 2, RV=1 or heart=1,2,3 (default: those of the dataset.json in or "
        "above REF, then PRED; without one, every label found in REF)",
    )
    parser.add_argument(
        "--splits", type=Path, help="splits_final.json: score a fold's validation cases only"
    )
    parser.add_argument("--fold", type=int, default=0, help="of --splits (default: 0)")
    parser.add_argument("--ignore-label", type=int, help="label of REF to leave out of the scores")
    parser.add_argument("--out", type=Path, help="folder for evaluation.csv and evaluation.json")
    parser.add_argument(
        "--missing-hd95",
        choices=MISSING_HD95,
        default="exclude",
        help="HD95 of a class that only one of the two has: leave it out of the mean and count it, "
        "or take the image's diagonal (default: exclude)",
    )
    parser.add_argument("--file-ending", help="default: of dataset.json, or .nii.gz")
    parser.add_argument(
        "-np", type=int, default=2, dest="num_processes", help="processes (default: 2)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the sub-command and return its exit code."""
    dataset_json = find_dataset_json((args.reference, args.prediction))
    labels, file_ending = None, args.file_ending
    if dataset_json is not None:
        labels = read_label_set(dataset_json)
        file_ending = file_ending or json.loads(dataset_json.read_text()).get("file_ending")
    ignore = args.ignore_label
    if ignore is None and labels is not None:
        ignore = labels.ignore
    if args.labels:
        labels = parse_label_set(args.labels, ignore)
    elif labels is not None:
        labels = LabelSet(labels.classes, ignore)
    cases = None
    if args.splits is not None:
        folds = json.loads(args.splits.read_text())
        if not 0 <= args.fold < len(folds):
            raise ValueError(f"{args.splits} has {len(folds)} folds, no fold {args.fold}")
        cases = folds[args.fold]["val"]
    evaluation = evaluate_folders(
        args.prediction,
        args.reference,
        labels,
        file_ending or ".nii.gz",
        args.num_processes,
        cases,
    )
    summary = summarise(evaluation.scores, args.missing_hd95)
    for note, cases in evaluation.notes.items():
        print(f"note: {note}: {cases[0]}" + f" and {len(cases) - 1} more" * (len(cases) > 1))
    source = "--labels" if args.labels else str(dataset_json or args.reference)
    print(f"classes from {source}, ignore label: {evaluation.labels.ignore}")
    print(format_table(summary, args.missing_hd95))
    if args.out is not None:
        settings = {
            "prediction": str(args.prediction),
            "reference": str(args.reference),
            "labels_from": source,
            "missing_hd95": args.missing_hd95,
            "hd95": "95th percentile of both directions' surface distances together, in mm",
            "islands": "connected components beyond the largest, sharing a face, edge or corner",
        }
        write_report(evaluation, summary, settings, args.out)
        print(f"wrote evaluation.csv and evaluation.json to {args.out}")
    return 0
