"""`scribble_tools evaluate`: score a folder of predicted label maps against dense references.

`scores` defines the scores and what happens where a class is empty.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from scribble_tools.arguments import positive_int
from scribble_tools.dataset.label_set import LabelSet, parse_label_set
from scribble_tools.dataset.patients import find_patients
from scribble_tools.dataset.raw import find_dataset_json, is_nnunets, read_label_set
from scribble_tools.dataset.writing import read_splits
from scribble_tools.evaluate.comparison import (
    compare,
    distinct_names,
    format_comparison,
    write_comparison,
)
from scribble_tools.evaluate.confusion import (
    compare_confusion,
    parts_of,
    summarise_confusion,
)
from scribble_tools.evaluate.confusion_report import format_confusion, write_confusion_picture
from scribble_tools.evaluate.exchanged import exchanged_in_words
from scribble_tools.evaluate.folders import evaluate_folders
from scribble_tools.evaluate.label_files import find_label_files
from scribble_tools.evaluate.origin import doubts_of
from scribble_tools.evaluate.reference_values import OPTION, parse_reference_values
from scribble_tools.evaluate.scores import TOLERANCE_MM
from scribble_tools.evaluate.summary import (
    MISSING_HD95,
    Evaluation,
    format_table,
    summarise,
    write_report,
)
from scribble_tools.images.file_kind import normal_form
from scribble_tools.images.slicer_segmentation import stem_of
from scribble_tools.images.units import PIXELS
from scribble_tools.json_files import read_json
from scribble_tools.storage.file_sets import written_into
from scribble_tools.storage.written_record import refuse_foreign
from scribble_tools.wording import counted, some_of

CONFUSION_PICTURE = "confusion.png"
IN_PIXELS = "; lengths in pixels (px), since the pictures state no resolution"
REPORTS = [f"evaluation.{kind}" for kind in ("csv", "json", "md")]
REPORTS += ["confusion.csv", CONFUSION_PICTURE]
COMPARISON_REPORTS = [f"comparison.{kind}" for kind in ("csv", "json", "md", "png")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    prediction: Path
    reference: Path
    compare: Path | None
    labels: Sequence[str] | None
    ref_labels: Sequence[str] | None
    splits: Path | None
    fold: int | None
    ignore_label: int | None
    tolerance_mm: float
    keep_largest: bool
    patient_regex: str | None
    out: Path | None
    overwrite: bool
    missing_hd95: str
    file_ending: str | None
    ref_pattern: str | None
    pred_pattern: str | None
    num_processes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Scores of predictions against dense references, per case and class, with mean, standard\n"
        "deviation, median and a bootstrap 95 % confidence interval: Dice, HD95 and average\n"
        "symmetric surface distance in mm (medpy's definitions), surface Dice, volume error and\n"
        "islands (pieces beyond the largest of a class); and the confusion of classes: what is\n"
        "predicted where a class truly is."
    )
    parser.epilog = (
        "examples:\n  scribble_tools evaluate predictions labelsTs_dense --out scores -np 4\n"
        "  scribble_tools evaluate MODEL/fold_0/validation labelsTr_dense \\\n"
        "    --splits splits_final.json --fold 0\n"
        "  scribble_tools evaluate pclmix labelsTs_dense --compare stock --out comparison\n\n"
        "Cases are the files of REF; PRED holds files of the same names, unless a pattern says\n"
        "how REF's are called: --ref-pattern '{case}_gt.nii.gz'. Formats may differ, also within\n"
        "a folder.\n\n"
        "Pictures that state no resolution, such as PNG, are measured in pixels (px, px²).\n\n"
        "Islands are connected components beyond the largest (26-connected in 3D, 8-connected in\n"
        "2D). Surface Dice is the share of both surfaces' voxels within the tolerance of the\n"
        "other surface; it counts surface voxels and does not weigh them by area. Volume errors\n"
        "are signed: too large is positive. A class that is empty in both has no score; one that\n"
        "is empty in one of them has Dice and surface Dice 0 and no HD95 and ASSD. Confusion is\n"
        "over all voxels of all cases together; a case whose REF lacks a class says nothing of it\n"
        "there. Regions that overlap are taken apart: 'tumour + core' are the voxels of both.\n\n"
        "Confidence intervals resample patients if the conversion.json in or above REF or\n"
        "--patient-regex tells them, because the volumes of a patient are no independent samples,\n"
        "and cases otherwise. So does the Wilcoxon test of --compare. Fewer than six patients\n"
        "with a value have no interval: even the whole range of so few misses too often."
    )
    parser.add_argument("prediction", metavar="PRED", type=Path, help="folder of predictions")
    parser.add_argument("reference", metavar="REF", type=Path, help="folder of dense references")
    parser.add_argument(
        "--compare",
        metavar="OTHER",
        type=Path,
        help="another folder of predictions of the same cases: paired differences PRED minus OTHER "
        "with a Wilcoxon signed-rank test and, with --out, a picture",
    )
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="LABEL",
        help="classes to score: 2, RV=1 or heart=1,2,3 (default: those of the dataset.json in or "
        "above REF, then PRED; without one, every label found in REF)",
    )
    parser.add_argument(
        OPTION,
        nargs="+",
        metavar="NAME=VALUE",
        help="what the values of REF mean, where PRED has others: RV=600 LV=500 background=7",
    )
    parser.add_argument(
        "--splits", type=Path, help="splits_final.json: score a fold's validation cases only"
    )
    parser.add_argument("--fold", type=int, help="of --splits (default: 0)")
    parser.add_argument("--ignore-label", type=int, help="label of REF to leave out of the scores")
    parser.add_argument(
        "--tolerance-mm",
        type=float,
        default=TOLERANCE_MM,
        metavar="MM",
        help="of the surface Dice, of pictures in pixels; what two readers differ by, where you "
        "know it (default: %(default)s, between one and two pixels of most clinical images)",
    )
    parser.add_argument(
        "--keep-largest",
        action="store_true",
        help="score every class's largest component only: what a simple clean-up would reach",
    )
    parser.add_argument(
        "--patient-regex",
        metavar="REGEX",
        help="finds the patient in a case's name, such as 'patient\\d+' or '(.*)_frame'",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for evaluation.csv, .json and .md, confusion.csv and .png; of --compare also "
        "comparison.csv, .json, .md and .png",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace such files that are in --out"
    )
    parser.add_argument(
        "--missing-hd95",
        choices=MISSING_HD95,
        default="exclude",
        help="HD95 and ASSD of a class that only one of the two has: leave it out of the mean and "
        "count it, or take the image's diagonal (default: exclude)",
    )
    parser.add_argument("--file-ending", help="of the files to score (default: every format)")
    for option, whose in (("ref", "REF"), ("pred", "PRED and OTHER")):
        parser.add_argument(
            f"--{option}-pattern",
            metavar="PATTERN",
            help=f"names of the files of {whose}, such as '{{case}}_gt.nii.gz'",
        )
    parser.add_argument(
        "-np", type=positive_int, default=2, dest="num_processes", help="processes (default: 2)"
    )


def _refuse_old_reports(out: Path) -> None:
    if old := [name for name in (*REPORTS, *COMPARISON_REPORTS) if (out / name).exists()]:
        raise FileExistsError(f"{out / old[0]} exists: give another --out or say --overwrite")


def _files_of_earlier_run(out: Path) -> set[str]:
    """Names of the reports in ``out`` that an earlier run wrote, by what it recorded."""
    names: set[str] = set()
    for kinds, keys in (
        (REPORTS, {"summary", "cases", "settings", "versions"}),
        (COMPARISON_REPORTS, {"comparison", "settings", "versions"}),
    ):
        record = next(name for name in kinds if name.endswith(".json"))
        try:
            content = read_json(out / record)
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and keys <= content.keys():
            names |= {*kinds}
    return names


def _obsolete_reports(out: Path, written: Sequence[str]) -> list[str]:
    """The earlier run's reports that this one does not write.

    Raises:
        FileExistsError: a file of these names is none of an earlier run.
    """
    earlier = _files_of_earlier_run(out)
    refuse_foreign([out / name for name in written], earlier, "scribble_tools evaluate")
    return sorted(earlier - {*written})


def _read_splits(splits: Path, fold: int) -> list[str]:
    folds = read_splits(splits)
    if not 0 <= fold < len(folds):
        raise ValueError(f"{splits} has {counted(len(folds), 'fold')}, no fold {fold}")
    if not folds[fold]["val"]:
        raise ValueError(f"{splits}: fold {fold} validates on no case")
    return folds[fold]["val"]


def _cases_of_fold(options: Options) -> list[str]:
    """The validation cases that have a reference, called as the patterns do; notes of the others.

    Raises:
        FileNotFoundError: none has one.
    """
    names = [normal_form(name) for name in _read_splits(options.splits, options.fold or 0)]
    same = options.file_ending, options.pred_pattern, options.reference
    called = {
        normal_form(stem_of(path)): case
        for case, path in find_label_files(options.prediction, *same).items()
    }
    cases = [called.get(name, name) for name in names]
    known = find_label_files(
        options.reference, options.file_ending, options.ref_pattern, options.prediction
    )
    without = [case for case in cases if case not in known]
    if len(without) == len(cases):
        raise FileNotFoundError(f"no reference in {options.reference} for {', '.join(without)}")
    if without:
        print(f"note: no reference, not scored: {some_of(without)}")
    return [case for case in cases if case in known]


def _refuse_wrong_regex(options: Options, cases: Collection[str] | None) -> None:
    """Refuse a --patient-regex that does not fit, before all is scored."""
    found = find_label_files(
        options.reference, options.file_ending, options.ref_pattern, options.prediction
    )
    if cases is not None:
        found = [case for case in found if case in {*map(normal_form, cases)}]
    find_patients(found, options.reference, options.patient_regex)


def _score(options: Options) -> tuple[list[Evaluation], str]:
    """Evaluations of PRED and, if given, OTHER, and where their classes are from."""
    own = options.prediction.absolute()
    # nnU-Net's validation lies two folders below the model's dataset.json
    model = [own.parent] * (own.name == "validation")
    dataset_json = find_dataset_json((options.reference, own, *model))
    labels = None
    if options.fold is not None and options.splits is None:
        raise ValueError(f"--fold {options.fold} says nothing without --splits splits_final.json")
    if dataset_json is not None and is_nnunets(dataset_json):
        labels = read_label_set(dataset_json)
    elif dataset_json is not None:
        print(f"note: {dataset_json} is not nnU-Net's, and left alone")
        dataset_json = None
    ignore = options.ignore_label
    if ignore is None and labels is not None:
        ignore = labels.ignore
    if options.labels:
        labels = parse_label_set(options.labels, ignore)
    elif labels is not None:
        labels = LabelSet(labels.classes, ignore)
    if options.ref_labels and labels is None:
        raise ValueError(f"{OPTION} needs the values of PRED, too: name the classes with --labels")
    ref_values = None
    if options.ref_labels:
        # the ignore label of dataset.json is a value of the predictions'
        labels = LabelSet(labels.classes, options.ignore_label)
        ref_values = parse_reference_values(options.ref_labels, labels)
    folders = (
        [options.prediction] if options.compare is None else [options.prediction, options.compare]
    )
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise FileNotFoundError(f"{missing[0]} is not a folder")
    cases = None if options.splits is None else _cases_of_fold(options)
    _refuse_wrong_regex(options, cases)
    apart = options.ref_pattern != options.pred_pattern
    for doubt in doubts_of(folders, options.reference, apart):
        print(f"WARNING: {doubt}", file=sys.stderr)
    evaluations, problems = [], []
    for folder in folders:
        try:
            evaluation = evaluate_folders(
                folder,
                options.reference,
                labels,
                options.file_ending,
                options.num_processes,
                cases,
                options.tolerance_mm,
                options.keep_largest,
                ignore,
                options.ref_pattern,
                options.pred_pattern,
                ref_values,
            )
            evaluations.append(evaluation)
        except ValueError as error:
            problems.append(str(error))  # those of both folders at once
    if problems:
        raise ValueError("\n".join(problems))
    return evaluations, "--labels" if options.labels else str(dataset_json or options.reference)


def _print_notes(evaluation: Evaluation, title: str) -> None:
    for note, cases in evaluation.notes.items():
        more = f" and {len(cases) - 1} more" * (len(cases) > 1)
        print(f"{title}: {note}: {cases[0]}{more}")


def _ask_of_exchanged(evaluation: Evaluation, whose: str, options: Options) -> None:
    counts, labels = evaluation.confusion, evaluation.labels
    if question := exchanged_in_words(counts, labels, whose, not options.ref_labels):
        print(f"WARNING: {question}", file=sys.stderr)


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    if options.out is None:
        _evaluate(options, None)
        return 0
    written, obsolete = [*REPORTS, *(COMPARISON_REPORTS if options.compare else ())], []
    with written_into(options.out, "evaluation", obsolete) as work:
        if options.overwrite:
            obsolete += _obsolete_reports(options.out, written)
        else:
            _refuse_old_reports(options.out)
        _evaluate(options, work, written)
    print(f"wrote {', '.join(written)} to {options.out}")
    return 0


def _evaluate(options: Options, out: Path | None, files: Sequence[str] = ()) -> None:
    """Score, print, and write the reports into ``out`` if there is one."""
    (evaluation, *others), source = _score(options)
    cases = dict.fromkeys(score.case for score in evaluation.scores)
    patients = find_patients(cases, options.reference, options.patient_regex)
    summary = summarise(evaluation.scores, options.missing_hd95, patients)
    parts = list(parts_of(evaluation.labels))
    summary["confusion"] = summarise_confusion(evaluation.confusion, parts, patients)
    unit = evaluation.unit
    settings = {
        "prediction": str(options.prediction),
        "reference": str(options.reference),
        "labels_from": source,
        "reference_labels": list(options.ref_labels or ()),
        "missing_hd95": options.missing_hd95,
        "unit": unit,
        "tolerance_mm": options.tolerance_mm,
        "keep_largest": options.keep_largest,
        "hd95": f"95th percentile of both directions' surface distances together, in {unit}",
        "assd": f"mean of both directions' surface distances together, in {unit}",
        "surface_dice": "share of both surfaces' voxels within the tolerance of the other surface",
        "islands": "connected components beyond the largest, sharing a face, edge or corner",
    }
    _print_notes(evaluation, "note")
    print(f"classes from {source}, ignore label: {evaluation.labels.ignore}")
    if options.keep_largest:
        print("scored: the largest component of every class")
    print(f"surface Dice at {options.tolerance_mm:g} {unit}" + IN_PIXELS * (unit == PIXELS))
    print(f"\n{format_table(summary, options.missing_hd95, unit)}")
    print(f"\n{format_confusion(summary['confusion'], parts)}")
    _ask_of_exchanged(evaluation, "PRED", options)
    matrices, difference = {options.prediction.name: summary["confusion"]}, None
    if out is not None:
        write_report(evaluation, summary, settings, out, files)
    for other in others:
        _print_notes(other, "note on OTHER")
        _ask_of_exchanged(other, "OTHER", options)
        comparison = compare(evaluation.scores, other.scores, options.missing_hd95, patients)
        difference = compare_confusion(evaluation.confusion, other.confusion, parts, patients)
        comparison["confusion"] = difference
        names = distinct_names(options.prediction, options.compare)
        other_confusion = summarise_confusion(other.confusion, parts, patients)
        matrices = {
            f"PRED: {names[0]}": summary["confusion"],
            f"OTHER: {names[1]}": other_confusion,
        }
        print(
            f"\nPRED, {names[0]}, minus OTHER, {names[1]}:\n\n{format_comparison(comparison, unit)}"
        )
        if out is not None:
            settings["other"] = str(options.compare)
            write_comparison(evaluation, other, comparison, settings, names, out)
    if out is not None:
        write_confusion_picture(matrices, difference, parts, out / CONFUSION_PICTURE)
