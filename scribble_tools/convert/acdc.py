"""ACDC images with the scribbles of Valvano et al. (IEEE TMI 2021) as an nnU-Net data set.

Images lie in the challenge's own layout, ``patientNNN/patientNNN_frameMM.nii.gz``, with or without
the dense ``_gt`` files. Scribbles are ``patientNNN_frameMM_scribble.nii.gz``: 0 background
scribble, 1 RV, 2 myocardium, 3 LV, 4 unlabelled. 4 becomes nnU-Net's ignore label.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scribble_tools.convert.conversion import report, write_scribble_dataset
from scribble_tools.convert.formats import Advice, Row, Seen, quote, target
from scribble_tools.convert.source import Source, SourceCase
from scribble_tools.convert.target import Target, add_target_arguments
from scribble_tools.dataset.label_mapping import LabelMapping
from scribble_tools.images.file_kind import file_ending_of
from scribble_tools.images.image_files import files_below
from scribble_tools.images.label_appearance import IMAGE, SCRIBBLES, SLICES
from scribble_tools.images.slicer_segmentation import stem_of
from scribble_tools.wording import counted

LABELS = LabelMapping({"background": (0,), "RV": (1,), "MYO": (2,), "LV": (3,)}, unlabelled=(4,))
ROWS = (Row("[ACDC](#acdc) with the scribbles of Valvano et al.", "`acdc`", "4", "0"),)
NIFTI = (".nii", ".nii.gz")
CASE = re.compile(r"(patient\d{3})_frame\d{2}")
IMAGE_OR_DENSE = re.compile(CASE.pattern + "(_gt)?")
SCRIBBLE = re.compile(CASE.pattern + "_scribble")
LISTED = 5  # of the files with the same names


def _by_stem(folder: Path, form: re.Pattern[str], option: str) -> dict[str, Path]:
    """File name without ``.nii`` or ``.nii.gz`` to file, of the files below ``folder``.

    Args:
        form: of the names that are looked for.
        option: that said ``folder``.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    paths = [p for p in files_below(folder) if file_ending_of(p) in NIFTI]
    paths = [path for path in paths if form.fullmatch(stem_of(path))]
    found, twice = {}, []
    for path in paths:
        if (stem := stem_of(path)) in found:
            twice.append(f"{found[stem]} and {path}")
        found[stem] = path
    if twice:
        more = f"\nand {len(twice) - LISTED} more" * (len(twice) > LISTED)
        apart = folders_apart(paths)
        one = f"give one of the folders: {option} {quote(apart[0])}" if apart else ""
        raise ValueError(
            f"files of the same name, {one or 'keep one of each'}:\n"
            + "\n".join(twice[:LISTED])
            + more
        )
    return found


def folders_apart(paths: Sequence[Path]) -> list[Path]:
    """Folders without files of the same name, where several folders hold such.

    Returns:
        Those that hold most of the names, the fullest first; nothing where no names are alike.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in paths:
        by_stem.setdefault(stem_of(path), []).append(path)
    folders: dict[Path, int] = {}
    for own in (own for own in by_stem.values() if len(own) > 1):
        common = Path(os.path.commonpath([path.parent for path in own]))
        for path in own:
            if path.parent != common:
                folders[common / path.relative_to(common).parts[0]] = 0
    for folder in folders:
        stems = [stem_of(path) for path in paths if folder in path.parents]
        folders[folder] = len(stems) if len(set(stems)) == len(stems) else 0
    full = [folder for folder, number in folders.items() if 2 * number >= len(by_stem)]
    return sorted(full, key=lambda folder: (-folders[folder], folder))


def find_images(images: Path) -> dict[str, Path]:
    """Case name to ACDC image, of the images below a folder.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a file name occurs twice.
    """
    return _by_stem(images, CASE, "--images")


def find_cases(images: Path, scribbles: Path) -> dict[str, dict[str, Path]]:
    """Pair every scribble with its image and, where it exists, its dense reference.

    Returns:
        case name to ``{"image": ..., "scribble": ..., "dense": ...}`` (``dense`` may be missing),
        sorted by case name.

    Raises:
        FileNotFoundError: a folder is missing, there is no scribble, or scribbles lack an image.
        ValueError: a file name occurs twice.
    """
    files = _by_stem(images, IMAGE_OR_DENSE, "--images")
    cases, lost = {}, []
    for name, path in _by_stem(scribbles, SCRIBBLE, "--scribbles").items():
        case = name.removesuffix("_scribble")
        if case not in files:
            lost.append(case)
            continue
        cases[case] = {"image": files[case], "scribble": path}
        if f"{case}_gt" in files:
            cases[case]["dense"] = files[f"{case}_gt"]
    if lost:
        raise FileNotFoundError(
            f"{counted(len(lost), 'scribble has no', 'scribbles have no')}"
            f" image below {images}: {', '.join(lost[:10])}"
            f"{' ...' if len(lost) > 10 else ''}. Give the folder that holds patientNNN/, "
            "or take these scribbles away"
        )
    if not cases:
        raise FileNotFoundError(
            f"no patientNNN_frameMM_scribble.nii.gz below {scribbles}: is it the right folder?"
        )
    return dict(sorted(cases.items()))


def acdc_source(images: Path, scribbles: Path) -> Source:
    """Everything that is to be converted: see `find_cases`, `Source`.

    Raises:
        FileNotFoundError, ValueError: see `find_cases`.
    """
    cases = [
        SourceCase(
            case, CASE.fullmatch(case).group(1), (f["image"],), f["scribble"], f.get("dense")
        )
        for case, f in find_cases(Path(images), Path(scribbles)).items()
    ]
    return Source(
        "acdc",
        cases,
        LABELS,
        {"0": "cineMRI"},
        extra={
            "reference": "ACDC (Bernard et al. 2018), scribbles by Valvano et al. 2021",
            "licence": "images CC BY-NC-SA 4.0",
        },
    )


def recognise(seen: Seen) -> Advice | None:
    """By the names of images and scribbles."""
    stems = {file: file.name.removesuffix(".nii.gz") for file in seen.files}
    images = [file for file, stem in stems.items() if CASE.fullmatch(stem)]
    scribbles = [
        file
        for file, stem in stems.items()
        if stem.endswith("_scribble") and CASE.fullmatch(stem.removesuffix("_scribble"))
    ]
    kinds = {group["kind"] for group in seen.groups}
    if not images and not scribbles:
        return None
    # label maps that are called as the images, such as predictions, or other people's strokes
    if not scribbles and (IMAGE not in kinds or kinds & {SCRIBBLES, SLICES}):
        return None
    here = quote(seen.folder)
    strokes, *others = folders_apart(scribbles) or [seen.folder]
    folders = ", or ".join(map(quote, others))
    advice = [
        "IMAGES is the folder that holds patientNNN/" * (not images),
        "SCRIBBLES is the folder of patientNNN_frameMM_scribble.nii.gz" * (not scribbles),
        f"scribbles of the same names lie elsewhere, too: --scribbles {folders}" * bool(others),
    ]
    return Advice(
        "ACDC" + ", scribbles as Valvano et al. name them" * bool(scribbles),
        "; ".join(filter(None, advice)),
        (
            *("convert acdc --images", here if images else "IMAGES"),
            *("--scribbles", quote(strokes) if scribbles else "SCRIBBLES", target()),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Options(Target):
    """What the command line says, see ``-h``."""

    images: Path
    scribbles: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "ACDC's images (patientNNN/patientNNN_frameMM.nii.gz) with the scribbles of Valvano et al. "
        "(patientNNN_frameMM_scribble.nii.gz): 4, unlabelled, becomes the ignore label. Dense _gt "
        "files beside the images go to labelsTr_dense, for scoring only."
    )
    parser.epilog = (
        "example:\n  scribble_tools convert acdc --images ACDC/training --scribbles scribbles "
        '--dataset-id 127 --out "$nnUNet_raw"'
    )
    parser.add_argument("--images", type=Path, required=True, help="folder that holds patientNNN/")
    parser.add_argument("--scribbles", type=Path, required=True, help="folder of *_scribble.nii.gz")
    add_target_arguments(parser, "ACDCScribbles")


def source_of(options: Options) -> Source:
    """The source that the options describe."""
    return acdc_source(options.images, options.scribbles)


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    source = source_of(options)
    report(write_scribble_dataset(source, options), source, "2d")
    return 0
