"""MSCMRseg (late gadolinium enhancement) with the scribbles of CycleMix as an nnU-Net data set.

``train/labels`` holds scribbles: 0 background scribble, 1 RV, 2 myocardium, 3 LV, 4 unlabelled.
``val`` and ``TestSet`` (or ``test``) hold dense labels, which are for scoring and stay out of
training.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.convert.conversion import report, write_scribble_dataset
from scribble_tools.convert.formats import Advice, Row, Seen, quote, target
from scribble_tools.convert.source import TRAINING, Source, SourceCase
from scribble_tools.convert.target import Target, add_target_arguments
from scribble_tools.dataset.label_mapping import LabelMapping
from scribble_tools.images.image_files import files_below
from scribble_tools.images.label_appearance import DENSE
from scribble_tools.images.label_files import read_on_grid
from scribble_tools.images.mismatches import GridMismatch
from scribble_tools.wording import counted

CLASSES = {"background": (0,), "RV": (1,), "MYO": (2,), "LV": (3,)}
SCRIBBLE_LABELS = LabelMapping(CLASSES, unlabelled=(4,))
DENSE_LABELS = {
    "cyclemix": LabelMapping(CLASSES),
    "challenge": LabelMapping({"background": (0,), "RV": (600,), "MYO": (200,), "LV": (500,)}),
}
ROWS = (Row("[MSCMRseg](#mscmrseg) in CycleMix's layout", "`mscmr`", "4", "0"),)
PARTS = {"train": TRAINING, "val": "Val", "test": "Ts", "TestSet": "Ts"}
FILE = re.compile(r"((subject\d+)_DE)(_scribble|_manual)?\.nii(\.gz)?")


def _files(folders: Iterable[Path], role: str, problems: list[str]) -> dict[str, Path]:
    """Case name to the file whose stem ends with ``role``; doubles are added to ``problems``."""
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in files_below(folder, "subject*")):
        match = FILE.fullmatch(path.name)
        if match is None or (match.group(3) or "") != role:
            continue
        case = match.group(1)
        if case in found:
            problems.append(f"{found[case]} and {path} are of one case: keep one")
        found[case] = path
    return found


def _without_scribbles(folder: Path) -> str:
    """What is wrong with a folder of scribbles that holds none."""
    names = sorted(path.name for path in files_below(folder) if FILE.fullmatch(path.name))
    seen = f", but files such as {names[0]}" if names else ""
    what = ": are these images?" if names and not FILE.fullmatch(names[0]).group(3) else ""
    return f"{folder} holds no *_DE_scribble.nii.gz{seen}{what or '.'} Say --scribbles FOLDER"


def _read(path: Path, image: sitk.Image, image_path: Path) -> np.ndarray:
    """`read_on_grid`, with the way out in its message.

    Resampling is no way out here: from two headers that disagree nobody can tell whether the
    label's voxels or its header are wrong, and a wrong reference spoils every score unnoticed.
    """
    try:
        return read_on_grid(path, image, image_path)
    except GridMismatch as error:
        case = FILE.fullmatch(path.name).group(1)
        raise GridMismatch(f"{error}. Mend it or leave it out: --leave-out {case}") from None


def mscmr_source(
    root: Path,
    scribbles: Sequence[Path] = (),
    dense_values: str = "cyclemix",
    leave_out: Collection[str] = (),
) -> Source:
    """Find scribbled training cases and densely labelled cases to predict.

    Args:
        root: holds ``train``, and perhaps ``val`` and ``TestSet``, with ``images`` and ``labels``.
        scribbles: folders of ``*_DE_scribble.nii.gz``; default: ``root/train/labels``.
        dense_values: ``cyclemix`` (1 RV, 2 MYO, 3 LV) or ``challenge`` (600, 200, 500).
        leave_out: cases, such as ``subject14_DE``, that are skipped.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: files are missing or stand twice; the message lists all of them.
    """
    root = Path(root)
    scribbles = [Path(folder) for folder in scribbles] or [root / "train" / "labels"]
    for folder in (root / "train" / "images", *scribbles):
        if not folder.is_dir():
            hint = ": give the folders of the scribbles with --scribbles" * (folder in scribbles)
            raise FileNotFoundError(f"{folder} is not a folder{hint}")
    problems = [_without_scribbles(f) for f in scribbles if not _files([f], "_scribble", [])]
    scribble_of = _files(scribbles, "_scribble", problems)
    cases: list[SourceCase] = []
    unknown = {*leave_out}
    for name, part in PARTS.items():
        image_of = _files([root / name / "images"], "", problems)
        dense_of = _files([root / name / "labels"], "_manual", problems)
        scribbled = scribble_of if part == TRAINING else {}
        found = {*image_of, *dense_of, *scribbled}
        unknown -= found
        for case in sorted(found - {*leave_out}):
            image, scribble, dense = (d.get(case) for d in (image_of, scribbled, dense_of))
            if image is None:
                problems.append(f"{scribble or dense} has no image in {root / name / 'images'}")
                continue
            if part == TRAINING and scribble is None and scribble_of:
                problems.append(
                    f"{image} has no scribble: --scribbles FOLDER or --leave-out {case}"
                )
            if twice := [str(other.images[0]) for other in cases if other.name == case]:
                problems.append(f"{image} and {twice[0]} are of one subject: keep one")
            patient = FILE.fullmatch(image.name).group(2)
            cases.append(SourceCase(case, patient, (image,), scribble, dense, part))
    problems += [f"--leave-out {case}: there is no such case" for case in sorted(unknown)]
    if problems:
        raise ValueError(
            f"{counted(len(problems), 'problem')}, nothing written:\n" + "\n".join(problems)
        )
    return Source(
        "mscmr",
        cases,
        SCRIBBLE_LABELS,
        {"0": "lgeMRI"},
        DENSE_LABELS[dense_values],
        _read,
        extra={"reference": "MSCMRseg (Zhuang 2019), scribbles by CycleMix (Zhang & Zhuang 2022)"},
    )


def recognise(seen: Seen) -> Advice | None:
    """By the names of files and folders; the challenge's values by the dense labels.

    Images that lie otherwise are anybody's files, for `convert folder`.
    """
    matches = {f: m for f in seen.files if (m := FILE.fullmatch(f.name))}
    if not matches:
        return None
    roots = {f.parent.parent.parent for f in matches if f.parent.parent.name in PARTS}
    roots = {root for root in roots if (root / "train" / "images").is_dir()}
    if not roots and not all(m.group(3) for m in matches.values()):
        return None
    scribbled = sorted({f.parent for f, m in matches.items() if m.group(3) == "_scribble"})
    words = ["convert mscmr", quote(min(roots)) if roots else "ROOT"]
    if [str(s) for s in scribbled] != [str(r / "train" / "labels") for r in roots]:
        words.append("--scribbles " + (" ".join(map(quote, scribbled)) or "SCRIBBLES"))
    challenge = any(
        {200, 500, 600} & {row["value"] for row in group.get("values", ())}
        for group in seen.groups
        if group["kind"] == DENSE
    )
    words += ["--dense-values challenge"] * challenge
    if not roots:
        where = "ROOT is the folder with the images, in train/images"
        return Advice("labels that are called like MSCMRseg's", where, (*words, target()))
    advice = Advice("MSCMRseg as CycleMix lays it out", "", (*words, target()))
    if scribbled and (refused := _refused(min(roots), scribbled)):
        told = f"as it stands, this line would be refused:\n  {advice.command}\n{refused}"
        return Advice(advice.layout, told)
    return advice


def _refused(root: Path, scribbles: Sequence[Path]) -> str:
    """Why the command would refuse the files; nothing where it takes them."""
    try:
        mscmr_source(root, scribbles)
    except (FileNotFoundError, ValueError) as error:
        return str(error)
    return ""


@dataclass(frozen=True, kw_only=True)
class Options(Target):
    """What the command line says, see ``-h``."""

    root: Path
    scribbles: Sequence[Path]
    dense_values: str
    leave_out: Sequence[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "MSCMRseg's late gadolinium enhancement images in the layout of CycleMix. train/labels are "
        "scribbles, 4 (unlabelled) becomes the ignore label. val and TestSet are dense: they go to "
        "imagesVal and imagesTs with labelsVal_dense and labelsTs_dense, for scoring only."
    )
    parser.epilog = (
        "example:\n  scribble_tools convert mscmr CycleMix/MSCMR_dataset --dataset-id 128 "
        '--out "$nnUNet_raw" \\\n    --scribbles CycleMix/MSCMR_dataset/train/labels '
        "CycleMix/MSCMR_scribbles\n\n"
        "A dense label that does not lie on its image's voxel grid is refused, not resampled:\n"
        "nobody can tell from the files whether its voxels or its header are wrong, and a wrong\n"
        "reference spoils the scores unnoticed. Mend it, or leave the case out (--leave-out)."
    )
    parser.add_argument("root", metavar="ROOT", type=Path, help="holds train, val and TestSet")
    parser.add_argument(
        "--scribbles",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="folders of *_DE_scribble.nii.gz (default: ROOT/train/labels)",
    )
    parser.add_argument(
        "--dense-values",
        choices=DENSE_LABELS,
        default="cyclemix",
        help="of *_DE_manual.nii.gz: 1 RV, 2 MYO, 3 LV as in CycleMix, or the challenge's 600 RV, "
        "200 MYO, 500 LV (default: cyclemix)",
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="CASE", help="such as subject14_DE"
    )
    add_target_arguments(parser, "MSCMRScribbles")


def source_of(options: Options) -> Source:
    """The source that the options describe."""
    return mscmr_source(options.root, options.scribbles, options.dense_values, options.leave_out)


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    source = source_of(options)
    report(write_scribble_dataset(source, options), source, "2d")
    return 0
