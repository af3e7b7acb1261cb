"""`scribble_tools check`: find everything that would spoil a training on a raw data set."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from scribble_tools.arguments import positive_int
from scribble_tools.check.annotations import (
    agreement_findings,
    annotation_findings,
    classes_of,
    coverage_table,
    dimension_findings,
    slice_findings,
)
from scribble_tools.check.case_facts import examine_case
from scribble_tools.check.case_files import TrainingCase, find_case_files
from scribble_tools.check.description import Description, read_description
from scribble_tools.check.findings import (
    Finding,
    Report,
    ResamplingLoss,
    format_coverage,
    format_findings,
    format_lines,
    format_resampling,
    sort_findings,
)
from scribble_tools.check.preprocessed import ct_findings, preprocessed_findings
from scribble_tools.check.resampling_loss import (
    UPDATE,
    add_up,
    loses_thin_lines,
    resample_case,
)
from scribble_tools.check.splits import few_patients, patients_of, split_findings
from scribble_tools.dataset import shapes
from scribble_tools.dataset.preprocessed_plans import plans_in
from scribble_tools.dataset.raw import read_record
from scribble_tools.dataset.writing import find_raw_dataset, write_json
from scribble_tools.json_files import ListOf, Record, read_json
from scribble_tools.parallel import parallel_map
from scribble_tools.wording import counted

RESAMPLED_CASES = 20
LITTLE_KEPT = 50  # per cent of volume, below which resampling is warned of
NOTHING_KEPT = 10  # per cent of volume, below which a class is as good as lost


def _not_computed(reason: str, remedy: str) -> list[Finding]:
    message = f"what resampling keeps of the scribbles was not computed: {reason}"
    return [Finding("note", "resampling-unknown", "data set", message, remedy)]


def _resampling(
    plans_file: Path | None,
    configurations: Sequence[str],
    about: Description,
    cases: Sequence[TrainingCase],
    max_cases: int,
    num_processes: int,
) -> tuple[list[ResamplingLoss], list[Finding]]:
    """What resampling to the planned spacings keeps, on cases spread evenly over the data set."""
    if about.labels is None or not cases or max_cases < 1:
        return [], []
    if plans_file is None or not plans_file.is_file():
        where = plans_file or "no preprocessed data set"
        remedy = "Run nnUNetv2_plan_and_preprocess, then check again"
        return [], _not_computed(f"not planned yet ({where})", remedy)
    if find_spec("nnunetv2") is None:
        return [], _not_computed("nnU-Net is not installed here", "pip install nnunetv2")
    step = max(1, -(-len(cases) // max_cases))
    items = [(files.images, files.label) for files in cases[::step]]
    classes = classes_of(about.labels)
    try:
        planned = read_json(plans_file, shapes.PLANS)["configurations"]
        if unknown := sorted(set(configurations) - set(planned)):
            raise ValueError(f"no configuration {', '.join(unknown)}, only {', '.join(planned)}")
        work = partial(
            resample_case, plans_file, configurations or [*planned], sorted(about.labels.values)
        )
        results = [*parallel_map(work, items, num_processes, "resampling")]
    except Exception as error:  # nnU-Net's own code, on plans and files of any origin
        reason = f"{plans_file.name}: {type(error).__name__}: {error}"
        return [], _not_computed(reason, "Correct --plans, --configuration or the plans file")
    losses = [
        ResamplingLoss(configuration, name, len(items), volume, place)
        for (configuration, name), (volume, place) in add_up(results, classes).items()
    ]
    others = [
        Finding(
            "note",
            "resampling-of-other-plans",
            plans,
            f"what resampling keeps was computed for {plans_file.stem}, not for these plans",
            f"If you train with them, check with --plans {shlex.quote(plans)}, too",
        )
        for plans in plans_in(plans_file.parent)
        if plans != plans_file.stem
    ]
    remedy = (
        "Draw thicker scribbles (two to three voxels), or plan a finer spacing "
        "(nnUNetv2_plan_experiment -overwrite_target_spacing; nnunetv2_pclmix small-plans "
        "--spacing where it made the plans)"
    )
    if loses_thin_lines():
        remedy = f"Update batchgenerators first ({UPDATE}): this one loses thin lines. {remedy}"
    return losses, others + [
        Finding(
            "error" if loss.volume_percent < NOTHING_KEPT else "warning",
            "resampling-loses-scribbles",
            f"{loss.configuration} of {plans_file.stem}",
            f"{loss.name}: after resampling to the planned spacing {loss.place_percent:.0f} % of "
            f"the annotated voxels lie under their own label, {loss.volume_percent:.0f} % of the "
            f"volume is left (computed on {len(items)} of {counted(len(cases), 'case')})",
            remedy,
        )
        for loss in losses
        # the place alone tells nothing: on a coarse grid a thin line lies half a voxel beside it
        if loss.volume_percent < LITTLE_KEPT
    ]


def _unscribbled(folder: Path, cases: Collection[str]) -> set[str]:
    """Cases that `generate` left without scribbles because it was told so."""
    try:
        return set(cases) - set(read_record(folder)["scribbled_cases"])
    except (OSError, ValueError, KeyError):
        return set()


def _is_bare(counts: Mapping[int, int], about: Description) -> bool:
    """Whether nothing of a case is annotated."""
    return about.labels is not None and counts.keys() <= {about.labels.ignore}


def _declared(folder: Path) -> set[str]:
    """Cases that were converted without a file of strokes, which needs --mixed."""
    try:
        cases = read_record(folder).get("cases", {})
    except (OSError, ValueError):
        return set()
    return {case for case, files in cases.items() if files.get("scribble", "") is None}


def check_dataset(
    folder: Path,
    preprocessed: Path | None = None,
    plans: str = "nnUNetPlans",
    configurations: Sequence[str] = (),
    patient_regex: str | None = None,
    resampled_cases: int = RESAMPLED_CASES,
    num_processes: int = 2,
) -> Report:
    """Check a raw data set; whatever is wrong with its files becomes a finding.

    Args:
        folder: ``DatasetNNN_name`` with dataset.json, imagesTr and labelsTr.
        preprocessed: the data set's own folder in nnUNet_preprocessed, if there is one.
        plans: name of the plans whose spacing the scribbles are resampled to.
        configurations: of the plans; default: all of them.
        patient_regex: finds the patient in a case's name (first group, or the whole match);
            default: ``patients`` of the conversion record.
        resampled_cases: resample at most so many cases; 0: none.
        num_processes: the report does not depend on it.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: ``patient_regex`` is no regular expression, or does not match every case.

    Example:
        Labels without any stroke on the background, which a training would refuse, too:

        >>> import json
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import SimpleITK as sitk
        >>> data = Path(tempfile.mkdtemp()) / "Dataset130_Hearts"
        >>> voxels = np.full((2, 16, 16), 2, np.uint8)
        >>> voxels[:, 7:9, 4:12] = 1
        >>> for name in ("imagesTr/anna_0000.nii.gz", "labelsTr/anna.nii.gz"):
        ...     (data / name).parent.mkdir(parents=True)
        ...     sitk.WriteImage(sitk.GetImageFromArray(voxels), str(data / name))
        >>> content = {
        ...     "labels": {"background": 0, "heart": 1, "ignore": 2},
        ...     "channel_names": {"0": "MR"},
        ...     "numTraining": 1,
        ...     "file_ending": ".nii.gz",
        ... }
        >>> _ = (data / "dataset.json").write_text(json.dumps(content))
        >>> report = check_dataset(data, num_processes=1)
        >>> [finding.code for finding in report.findings if finding.severity == "error"]
        ['no-background']
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    if preprocessed is not None and not preprocessed.is_dir():
        preprocessed = None

    about, findings = read_description(folder)
    cases, file_findings = find_case_files(folder, about)
    facts = [*parallel_map(partial(examine_case, about), cases, num_processes, "checking")]
    findings += file_findings + [finding for f in facts for finding in f.findings]
    findings += dimension_findings(facts)
    counts = {f.case: f.counts for f in facts}
    coverage, unscribbled = (), _unscribbled(folder, counts)
    if about.labels is not None:
        coverage = coverage_table(facts, about.labels)
        findings += annotation_findings(facts, about.labels, unscribbled, _declared(folder))
        findings += slice_findings(facts) + agreement_findings(facts)
    patients, patient_findings = patients_of(folder, [*counts], patient_regex)
    findings += patient_findings + few_patients([*counts], patients)
    voxels = {f.case: f.voxels for f in facts}
    bare = {case for case in unscribbled if _is_bare(counts[case], about)}
    names = {files.label.name.removesuffix(about.file_ending): files.case for files in cases}
    about_splits = (counts, patients, about.labels, voxels, bare, names)
    findings += split_findings(folder, preprocessed, *about_splits)
    findings += ct_findings(preprocessed, about)
    if preprocessed is not None:
        findings += preprocessed_findings(preprocessed, about.content, cases)
    broken = {f.case for f in facts if any(x.severity == "error" for x in f.findings)}
    losses, loss_findings = _resampling(
        preprocessed and preprocessed / f"{plans}.json",
        configurations,
        about,
        [files for files in cases if files.case not in broken],
        resampled_cases,
        num_processes,
    )
    return Report(
        folder.name,
        len(cases),
        sort_findings(findings + loss_findings),
        coverage,
        tuple(losses),
    )


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    dataset: str
    json: Path | None
    preprocessed: Path | None
    plans: str
    configuration: Sequence[str]
    resampled_cases: int
    patient_regex: str | None
    num_processes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Find everything that would spoil a training on a raw data set with scribbles, all at "
        "once: files, geometry, labels, background scribbles, coverage, splits, preprocessed data. "
        "Changes nothing. Exit code 1 when there are errors."
    )
    parser.epilog = (
        "example:\n  scribble_tools check 127 --json findings.json\n\n"
        "Uses the environment variables nnUNet_raw and, if it is set, nnUNet_preprocessed."
    )
    parser.add_argument(
        "dataset", help="id, full name, or the data set's folder, e.g. nnUNet_raw/Dataset127_Heart"
    )
    parser.add_argument("--json", type=Path, help="write every finding to this file, too")
    parser.add_argument(
        "--preprocessed",
        type=Path,
        default=os.environ.get("nnUNet_preprocessed") or None,
        help="nnU-Net's preprocessed folder (default: environment variable nnUNet_preprocessed)",
    )
    parser.add_argument(
        "--plans",
        default="nnUNetPlans",
        help="resample scribbles to the spacing of these plans (default: %(default)s)",
    )
    parser.add_argument(
        "--configuration",
        nargs="+",
        default=[],
        help="of the plans, such as 2d (default: all of them)",
    )
    parser.add_argument(
        "--resampled-cases",
        type=int,
        default=RESAMPLED_CASES,
        help="resample at most so many cases, 0: none (default: %(default)s)",
    )
    parser.add_argument(
        "--patient-regex",
        help="finds the patient in a case's name, such as '(.+)_frame' "
        "(default: as the conversion recorded)",
    )
    parser.add_argument("-np", type=positive_int, default=2, dest="num_processes", help="processes")


def _refuse_other_file(path: Path) -> None:
    """Only findings are replaced by findings."""
    try:
        if path.exists():
            read_json(path, Record(required={"findings": ListOf(Record())}))
    except (ValueError, OSError):
        raise FileExistsError(
            f"{path} exists and is no earlier --json of this command: choose another name"
        ) from None


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    folder = find_raw_dataset(options.dataset)
    if options.json is not None:
        _refuse_other_file(options.json)
    report = check_dataset(
        folder,
        options.preprocessed and Path(options.preprocessed) / folder.name,
        options.plans,
        options.configuration,
        options.patient_regex,
        options.resampled_cases,
        options.num_processes,
    )
    width = min(shutil.get_terminal_size((120, 24)).columns, 160)
    if report.findings:
        print(format_findings(report.findings, width))
        if lines := format_lines(report.findings):
            print(f"\nlines to paste:\n{lines}")
    if report.coverage:
        print(f"\n{format_coverage(report.coverage)}")
    if report.resampling:
        number = report.resampling[0].cases
        print(f"\nkept by resampling to {options.plans}, {counted(number, 'case:', 'cases:')}")
        print(format_resampling(report.resampling))
    print(f"\n{report.verdict}")
    if options.json is not None:
        write_json(report.as_json(), options.json)
        print(f"wrote {options.json}")
    return report.exit_code
