"""An nnU-Net raw data set with dense labels, and scribbles that ScribbleBench drew from them.

With N labels (background included) its generator writes one of two conventions, which share the
values 0 to N: ``highest``, where N is unlabelled and 0 the background scribble, and ``zero``
(``--disable_ignore``), where 0 is unlabelled and N the background scribble.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from scribble_tools.convert.conversion import report, write_scribble_dataset
from scribble_tools.convert.formats import Advice, Row, Seen, quote, target
from scribble_tools.convert.source import Source, SourceCase
from scribble_tools.convert.target import Target, add_target_arguments
from scribble_tools.dataset.label_mapping import BACKGROUND, LabelMapping
from scribble_tools.dataset.origin import predicted_by
from scribble_tools.dataset.patients import patient_in
from scribble_tools.dataset.raw import (
    FILE,
    RawDataset,
    find_dataset_json,
    read_label_names,
)
from scribble_tools.dataset.writing import IGNORE
from scribble_tools.images.image_files import cases_in
from scribble_tools.images.label_appearance import SCRIBBLES, SLICES
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.wording import counted

ROWS = (
    Row(
        "[ScribbleBench](#scribblebench)'s output",
        "`scribblebench`",
        "the number of labels, or 0",
        "0, or the number of labels",
    ),
)
DENSE_DATASET = "an nnU-Net data set with dense labels"
CONVENTIONS = ("highest", "zero")


def _read_dense_dataset(folder: Path) -> tuple[dict[str, int], dict[str, str], str]:
    """Labels, channel names and file ending of a dense nnU-Net data set."""
    raw = RawDataset.read(folder, tolerate=("splits", "record"))  # the new set gets its own
    labels = dict(raw.content["labels"])
    if regions := [name for name, own in labels.items() if isinstance(own, list)]:
        raise ValueError(
            f"{folder / FILE}: one value per label is needed, but {', '.join(regions)} are regions"
        )
    if IGNORE in labels or sorted(labels.values()) != [*range(len(labels))]:
        raise ValueError(
            f"{folder / FILE}: labels must be consecutive, dense and start with 0, got {labels}"
        )
    labels = dict(sorted(labels.items(), key=lambda item: item[1]))
    return labels, dict(raw.content["channel_names"]), raw.file_ending


def _find_cases(
    folder: Path, scribbles: Path, channels: Sequence[str], ending: str, patient_regex: str
) -> list[SourceCase]:
    """Training and test cases; raises with all that is missing."""
    for sub in (folder / "imagesTr", folder / "labelsTr", scribbles):
        if not sub.is_dir():
            raise FileNotFoundError(f"{sub} is not a folder")
    option = f"--patient-regex {shlex.quote(patient_regex)}"
    try:
        patient = re.compile(patient_regex)
    except re.error as error:
        raise ValueError(f"{option}: {error}") from None
    scribbled = cases_in(scribbles, ending)
    cases, problems, imaged = [], [], set()
    for part in ("Tr", "Ts"):
        images = folder / f"images{part}"
        labels = cases_in(folder / f"labels{part}", ending)
        for name, first in cases_in(images, f"_0000{ending}").items():
            stem = first.name.removesuffix(f"_0000{ending}")
            files = tuple(images / f"{stem}_{int(k):04d}{ending}" for k in channels)
            dense = labels.get(name, folder / f"labels{part}" / f"{name}{ending}")
            missing = scribbles / f"{name}{ending}"
            scribble = scribbled.get(name, missing) if part == "Tr" else None
            imaged |= {name} if scribble else set()
            if scribble and name not in scribbled:
                problems.append(f"{first} has no scribble {scribble}: add it, or move the image")
            if not (own := patient_in(name, patient)):
                problems.append(f"{name}: {option} does not occur in it")
                continue
            cases.append(
                SourceCase(
                    name, own, files, scribble, dense if os.path.lexists(dense) else None, part
                )
            )
    problems += [
        f"{scribbles / (name + ending)} has no image in {folder / 'imagesTr'}"
        for name in sorted(set(scribbled) - imaged)
    ]
    if problems:
        raise ValueError(
            f"{counted(len(problems), 'problem')}, nothing written:\n" + "\n".join(problems)
        )
    return cases


@dataclass(frozen=True)
class Evidence:
    """What the scribbles and dense labels of a data set say about the convention.

    Attributes:
        shares: scribble value to its share of all voxels.
        organ_shares: convention to the share of the dense foreground that it would call
            background scribble: about 0 in the right one. Empty where there is no foreground.
    """

    shares: Mapping[int, float]
    organ_shares: Mapping[str, float]

    def fits(self, convention: str) -> bool:
        """Whether the background scribble stays outside of the organs."""
        return self.organ_shares.get(convention, 1) < 0.05

    def __str__(self) -> str:
        seen = ", ".join(f"{value}: {share:.2%}" for value, share in self.shares.items())
        organs = "; ".join(
            f"'{convention}' would call {share:.2%} of the organs' voxels background"
            for convention, share in self.organ_shares.items()
        )
        return f"values seen in the scribbles: {seen}. {organs or 'No dense labels to compare'}"


def _count(case: SourceCase) -> tuple[Counter, Counter]:
    """Voxels of each scribble value, everywhere and on the dense foreground."""
    try:
        scribble = read_labels(case.scribble)[0]
        dense = read_labels(case.dense)[0] if case.dense else np.zeros_like(scribble)
    except (FileNotFoundError, ValueError):
        return Counter(), Counter()  # reported when the case is converted
    organs = scribble[dense > 0] if dense.shape == scribble.shape else scribble[:0]
    everywhere, on_organs = (np.unique(a, return_counts=True) for a in (scribble, organs))
    return tuple(
        Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        for values, counts in (everywhere, on_organs)
    )


def gather_evidence(
    cases: Sequence[SourceCase], num_labels: int, num_processes: int = 2
) -> Evidence:
    """Compare all scribbles with their dense labels (``num_labels``: with the background)."""
    scribbled = [case for case in cases if case.scribble]
    everywhere, on_organs = Counter(), Counter()
    with ThreadPoolExecutor(num_processes) as pool:
        for case_everywhere, case_on_organs in tqdm(
            pool.map(_count, scribbled), "comparing", len(scribbled), unit="case"
        ):
            everywhere += case_everywhere
            on_organs += case_on_organs
    voxels, organ_voxels = everywhere.total(), on_organs.total()
    background = {"highest": 0, "zero": num_labels}
    return Evidence(
        {value: everywhere[value] / voxels for value in sorted(everywhere)},
        {c: on_organs[v] / organ_voxels for c, v in background.items() if organ_voxels},
    )


def choose_convention(stated: str | None, evidence: Evidence) -> str:
    """The stated convention, or the only one that the data allow.

    Raises:
        ValueError: nothing is stated and the data do not say, or they say the opposite.
    """
    fitting = [convention for convention in CONVENTIONS if evidence.fits(convention)]
    if stated is None and len(fitting) != 1:
        raise ValueError(
            "say --unlabelled highest (N unlabelled, 0 background scribble) or --unlabelled zero "
            f"(0 unlabelled, N background scribble): the data do not tell. {evidence}"
        )
    if stated is not None and fitting and stated not in fitting:
        raise ValueError(f"--unlabelled {stated} contradicts the dense labels: {evidence}")
    return stated or fitting[0]


def scribblebench_source(
    folder: Path,
    scribbles: Path,
    unlabelled: str | None = None,
    patient_regex: str = ".+",
    mixed: bool = False,
    num_processes: int = 2,
) -> Source:
    """Pair a dense nnU-Net data set with its scribbles, in the right convention.

    Args:
        folder: nnU-Net raw data set with dense ``labelsTr``.
        scribbles: folder of scribbles named like the files of ``labelsTr``.
        unlabelled: ``highest`` or ``zero``; None: as the dense labels prove.
        patient_regex: what it (or its first group) matches in a case name is the patient.
        mixed: accept cases that are annotated wholly or not at all.

    Raises:
        FileNotFoundError: a folder or dataset.json is missing.
        ValueError: see `choose_convention`, or files are missing; the message lists all of them.
    """
    folder = Path(folder)
    labels, channels, ending = _read_dense_dataset(folder)
    cases = _find_cases(folder, Path(scribbles), list(channels), ending, patient_regex)
    evidence = gather_evidence(cases, len(labels), num_processes)
    convention = choose_convention(unlabelled, evidence)
    dense = {name: (value,) for name, value in labels.items()}
    if convention == "highest":
        mapping = LabelMapping(dense, (len(labels),))
    else:
        mapping = LabelMapping({**dense, BACKGROUND: (len(labels),)}, (0,))
    return Source(
        "scribblebench",
        cases,
        mapping,
        channels,
        LabelMapping(dense),
        mixed=mixed,
        record={
            "convention": convention,
            "convention_stated": unlabelled is not None,
            "evidence": str(evidence),
        },
    )


def recognise(seen: Seen) -> Advice | None:
    """A data set of nnU-Net's with dense labels, and scribbles among its files."""
    found = find_dataset(seen.folder)
    scribbles = [g["folder"] for g in seen.groups if g["kind"] in (SCRIBBLES, SLICES)]
    if found is None or found[1] or not scribbles:
        return None
    words = ("convert scribblebench", quote(found[0]), "--scribbles", quote(Path(scribbles[0])))
    return Advice(DENSE_DATASET, "", (*words, target()))


def find_dataset(folder: Path) -> tuple[Path, bool] | None:
    """nnU-Net's data set in or just below a folder, and whether it has an ignore label.

    Predictions lie beside a dataset.json, too, and are none.
    """
    below = sorted(p for p in folder.iterdir() if p.is_dir() and not predicted_by(p))
    dataset_json = find_dataset_json((folder, *below))
    if dataset_json and predicted_by(dataset_json.parent):
        return None
    try:
        names = read_label_names(dataset_json).values() if dataset_json else ()
    except (OSError, ValueError):
        # of another program, such as the Medical Segmentation Decathlon's
        return None
    return (dataset_json.parent, IGNORE in names) if names else None


@dataclass(frozen=True, kw_only=True)
class Options(Target):
    """What the command line says, see ``-h``."""

    folder: Path
    scribbles: Path
    unlabelled: str | None
    patient_regex: str
    mixed: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "An nnU-Net raw data set with dense labels, and the folder of scribbles that ScribbleBench "
        "drew from them. The dense labels go to labelsTr_dense, for scoring only; label names and "
        "channels are kept. imagesTs and labelsTs come along."
    )
    parser.epilog = (
        "example:\n  scribble_tools convert scribblebench nnUNet_raw/Dataset004_Hippocampus \\\n"
        '    --scribbles scribbles --unlabelled highest --dataset-id 130 --out "$nnUNet_raw"\n\n'
        "With N labels (background included), ScribbleBench writes N for unlabelled voxels and 0\n"
        "for the background scribble (highest), or with --disable_ignore 0 for unlabelled voxels\n"
        "and N for the background scribble (zero). Both use the same values. Without --unlabelled\n"
        "the convention is taken only if the dense labels prove it: a background scribble does\n"
        "not run over organs."
    )
    parser.add_argument("folder", metavar="DATASET_FOLDER", type=Path, help="with dataset.json")
    parser.add_argument("--scribbles", type=Path, required=True, help="folder of the scribbles")
    parser.add_argument("--unlabelled", choices=CONVENTIONS, help="the convention, see below")
    parser.add_argument(
        "--patient-regex",
        default=".+",
        metavar="REGEX",
        help="what it or its first group matches in a case name is the patient, whose cases stay "
        r"on one side of every split, such as 'patient\d+' (default: every case is a patient)",
    )
    parser.add_argument(
        "--mixed", action="store_true", help="some cases are annotated wholly or not at all"
    )
    add_target_arguments(parser, "ScribbleBench")


def source_of(options: Options) -> Source:
    """The source that the options describe."""
    return scribblebench_source(
        options.folder,
        options.scribbles,
        options.unlabelled,
        options.patient_regex,
        options.mixed,
        options.num_processes,
    )


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    source = source_of(options)
    folder = write_scribble_dataset(source, options)
    print(f"convention: {source.record['convention']}. {source.record['evidence']}")
    report(folder, source, "3d_fullres")
    return 0
