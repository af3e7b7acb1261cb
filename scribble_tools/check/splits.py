"""Are the cross-validation splits usable, and do they keep patients apart?"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from scribble_tools.check.annotations import missing_classes
from scribble_tools.check.findings import Finding
from scribble_tools.dataset.case_names import alike
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.dataset.patients import common_ending, find_patients, perhaps_of_one
from scribble_tools.dataset.writing import RECORD, read_splits
from scribble_tools.images.file_kind import normal_form
from scribble_tools.wording import counted, some_of

FILE = "splits_final.json"
INSTALL = "Correct the splits and make them the data set's with scribble_tools install-splits"
FEW_PATIENTS = 10  # fewer leave one to validate on in each of five folds

# all of a name but what follows its last separator, if it has one, and what all names end in
BEFORE_LAST = ".+(?=[_-]{ending})|.+"


def patients_of(
    folder: Path, cases: Collection[str], regex: str | None = None
) -> tuple[dict[str, str], list[Finding]]:
    """Patient of every case, see `find_patients`, and notes on what is not known of them.

    Raises:
        ValueError: see `find_patients`; for ``regex`` only.
    """
    try:
        patients = find_patients(cases, folder, regex)
    except (OSError, ValueError, TypeError, AttributeError):
        if regex is not None:
            raise
        patients = None
    if patients is not None:
        return patients, _perhaps_mistaken(folder, patients)
    message = f"which cases are of one patient is not known ({RECORD} does not say it)"
    remedy = "Say how to find the patient in a case's name: --patient-regex '(.+)_frame'"
    return {}, [Finding("note", "patients-unknown", "data set", message, remedy)]


def _perhaps_mistaken(folder: Path, patients: Mapping[str, str]) -> list[Finding]:
    """Where names look otherwise: of cases that are a patient each, or of patients."""
    if not all(case == own for case, own in patients.items()):
        return [
            Finding(
                "warning",
                "patients-in-other-letters",
                "data set",
                f"patients {' and '.join(group)} differ in upper and lower case only: one patient? "
                "Then folds may validate on patients that they train on",
                "If so, write the name in one way, in the files' names or in a table (--patients), "
                "and convert again",
            )
            for group in alike(patients.values())
        ]
    if not (of_one := perhaps_of_one(patients)):
        return []
    message = (
        f"every case counts as a patient of its own: are {of_one[0]} and {of_one[1]} of one? Then "
        "folds may validate on patients that they train on"
    )
    remedy = "If so, convert again with a --patient-regex. The line below shows what one finds"
    ending = re.escape(common_ending(patients))
    found = shlex.quote(BEFORE_LAST.format(ending=f"[^_-]+{ending}$" if ending else ""))
    line = f"scribble_tools check {shlex.quote(str(folder))} --patient-regex {found}"
    return [Finding("note", "patients-alike", "data set", message, remedy, line)]


def few_patients(cases: Collection[str], patients: Mapping[str, str]) -> list[Finding]:
    """A note where validation cases are too few to tell anything; of cases without patients.

    Args:
        patients: see `patients_of`.
    """
    number = len({patients.get(case, case) for case in cases})
    if not 0 < number < FEW_PATIENTS:
        return []
    what = counted(number, "patient" if patients else "case")
    message = f"{what} in all: scores of so few on each side of a split tell little of other images"
    remedy = "Annotate more patients: a few strokes in each pay more than many in a few"
    return [Finding("note", "few-patients", "data set", message, remedy)]


def split_findings(
    raw: Path,
    preprocessed: Path | None,
    counts: Mapping[str, Mapping[int, int]],
    patients: Mapping[str, str],
    labels: LabelSet | None,
    voxels: Mapping[str, str],
    unscribbled: Collection[str] = (),
    names: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Judge the splits that a training would use.

    Args:
        raw, preprocessed: the data set's own folders; training reads the splits in the second.
        counts: voxels of every label value, by case; every case of the data set.
        patients: see `patients_of`.
        voxels: of every case's image, see `CaseFacts`.
        names: of files to the cases, where files write them in another Unicode form.
        unscribbled: cases that are there to be validated on, and have no strokes.
    """
    findings, splits, names = [], [], names or {}
    for folder in (preprocessed, raw):
        path = folder and folder / FILE
        if path and path.is_file():
            try:
                folds = read_splits(path)
                findings += _name_form_findings(path, folds, counts, names)
                splits.append(
                    [
                        {side: {names.get(case, case) for case in fold[side]} for side in fold}
                        for fold in folds
                    ]
                )
            except (OSError, ValueError, TypeError) as error:
                findings.append(Finding("error", "splits-unusable", FILE, str(error), INSTALL))
    if not splits:
        findings = findings or _without_splits(patients)
        return findings + _copy_findings(voxels, patients, [])
    folds, *others = splits
    if others and others[0] != folds:
        if _cases(others[0]) == counts.keys() != _cases(folds):
            message = (
                "that in nnUNet_preprocessed is of other cases than the data set now has, that in "
                "nnUNet_raw fits: nnU-Net's planner stops with a bare AssertionError, and training "
                "would use the old one"
            )
            line = f"scribble_tools install-splits {shlex.quote(raw.name)} --overwrite"
            remedy = f"{line}, then plan and preprocess"
            findings.append(Finding("error", "splits-outdated", FILE, message, remedy, line))
            folds = others[0]  # those of the remedy
        else:
            message = (
                "those in nnUNet_preprocessed and nnUNet_raw differ: training uses the former, and "
                "nnU-Net's planner refuses to replace it, with a bare AssertionError"
            )
            findings.append(Finding("warning", "splits-differ", FILE, message, INSTALL))
    for number, fold in enumerate(folds):
        where = f"{FILE}, fold {number}"
        findings += _fold_findings(where, fold, counts, patients, labels)
        if bare := sorted(fold["train"] & set(unscribbled)):
            message = (
                f"trains on {counted(len(bare), 'case')} that generate left without scribbles: "
                f"{some_of(bare)}"
            )
            remedy = "Move them to val, or generate without --keep-unscribbled"
            findings.append(Finding("error", "splits-unscribbled", where, message, remedy))
    findings += _copy_findings(voxels, patients, folds)
    named = _cases(folds)
    message = "is in no fold: it will neither be trained nor validated on"
    return findings + [
        Finding("warning", "case-in-no-fold", case, message, INSTALL)
        for case in counts
        if case not in named
    ]


def _name_form_findings(
    path: Path,
    folds: Sequence[Mapping[str, Sequence[str]]],
    counts: Collection[str],
    names: Mapping[str, str],
) -> list[Finding]:
    """Cases that a splits file writes in another Unicode form than their files have.

    Args:
        counts: every case of the data set.
        names: see `split_findings`.
    """
    of_files = (set(counts) - set(names.values())) | set(names)
    said = {case for fold in folds for side in ("train", "val") for case in fold[side]}
    wrong = sorted(c for c in said - of_files if normal_form(c) in counts)
    if not wrong:
        return []
    message = (
        f"{counted(len(wrong), 'case is', 'cases are')} written with other characters than the "
        f"{'file' if len(wrong) == 1 else 'files'} (an accent as a character of its own, as macOS "
        f"does it): {some_of(wrong)}. nnU-Net does not find them"
    )
    remedy = "Write all names in one form, such as with the program convmv (see the line below)"
    line = f"convmv -r -f utf8 -t utf8 --nfc --notest {shlex.quote(str(path.parent))}"
    return [Finding("error", "splits-name-form", FILE, message, remedy, line)]


def _cases(folds: Sequence[Mapping[str, set[str]]]) -> set[str]:
    return set().union(*(fold["train"] | fold["val"] for fold in folds))


def _copy_findings(
    voxels: Mapping[str, str],
    patients: Mapping[str, str],
    folds: Sequence[Mapping[str, set[str]]],
) -> list[Finding]:
    """Cases that hold one and the same image: worst of all where a fold trains on its copy."""
    groups: dict[str, list[str]] = {}
    for case, own in voxels.items():
        if own:
            groups.setdefault(own, []).append(case)
    findings = []
    for cases in groups.values():
        if len(cases) == 1:
            continue
        message = f"{some_of(cases)} hold the same image, voxel by voxel"
        if len({patients.get(case, case) for case in cases}) == 1:
            remedy = "Nothing, if it was annotated twice; else take one out (convert: --exclude)"
            findings.append(Finding("note", "image-twice", cases[0], message, remedy))
            continue
        leaking = [
            number
            for number, fold in enumerate(folds)
            if all({*cases} & side for side in (fold["train"] - fold["val"], fold["val"]))
        ]
        severity = "warning"
        message += ", and do not count as one patient" if patients else ", of one patient or not"
        if leaking:
            severity = "error"
            message += (
                f": fold {leaking[0]} trains and validates on it, so the validation is too good"
            )
        remedy = (
            "Is one a copy by mistake? Take it out (convert: --exclude). If it is one patient's, "
            "convert again and say so (--patients or --patient-regex; check has the latter, too)"
        )
        findings.append(Finding(severity, "image-of-two-patients", cases[0], message, remedy))
    return findings


def _without_splits(patients: Mapping[str, str]) -> list[Finding]:
    several = [patient for patient, n in Counter(patients.values()).items() if n > 1]
    if several:
        message = (
            f"there is none, and "
            f"{counted(len(several), 'patient has several cases', 'patients have several cases')}"
            f" ({several[0]}, for "
            "example): nnU-Net will split by case and validate on patients it has trained on"
        )
        remedy = "Make splits by patient (scribble_tools convert does) and install-splits"
        if len(set(patients.values())) == 1:
            remedy = "Train with fold 'all': there is no other patient to validate on"
        return [Finding("warning", "splits-missing", FILE, message, remedy)]
    message = "there is none: nnU-Net will split the cases at random into 5 folds"
    remedy = "Nothing, unless several cases are of one patient"
    return [Finding("note", "splits-missing", FILE, message, remedy)]


def _fold_findings(
    where: str,
    fold: Mapping[str, set[str]],
    counts: Mapping[str, Mapping[int, int]],
    patients: Mapping[str, str],
    labels: LabelSet | None,
) -> list[Finding]:
    findings = []
    train, val = fold["train"], fold["val"]
    for side, cases in (("train", train), ("val", val)):
        if not cases:
            message = f"has no case under {side!r}"
            findings.append(Finding("error", "splits-empty", where, message, INSTALL))
    if unknown := sorted((train | val) - set(counts)):
        message = f"names cases that the data set does not have: {some_of(unknown)}"
        findings.append(Finding("error", "splits-unknown-case", where, message, INSTALL))
    if both := sorted(train & val):
        message = f"trains and validates on {some_of(both)}"
        findings.append(Finding("error", "splits-overlap", where, message, INSTALL))
    sides = [{patients[case] for case in side if case in patients} for side in (train, val)]
    if leaked := sorted(sides[0] & sides[1] - {patients.get(case) for case in both}):
        message = (
            f"patients on both sides: {some_of(leaked)}. Two images of one patient are much alike, "
            "so the validation is too good"
        )
        findings.append(Finding("error", "splits-patient", where, message, INSTALL))
    if labels is not None and train:
        absent = missing_classes(counts, train, labels)
        everywhere = missing_classes(counts, counts, labels)
        findings += [
            Finding(
                "error",
                "class-never-annotated-in-fold",
                where,
                f"{name} is annotated in none of the {counted(len(train), 'training case')}",
                "Scribble it in more cases, or make other splits",
            )
            for name in absent
            if name not in everywhere
        ]
    return findings
