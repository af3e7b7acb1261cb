"""The h5 files of WSL4MIS (ACDC with Valvano's scribbles) as an nnU-Net data set.

``patientNNN_frameMM.h5`` are volumes, ``patientNNN_frameMM_slice_K.h5`` their slices; both hold
``image``, ``scribble`` and perhaps ``label`` (dense), but no voxel size and no orientation. So
images and geometry come from the original ACDC files, once the h5's image is seen to be the same.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.convert.acdc import find_images
from scribble_tools.convert.conversion import report, write_scribble_dataset
from scribble_tools.convert.formats import Advice, Row, Seen, quote, target
from scribble_tools.convert.source import Source, SourceCase
from scribble_tools.convert.target import Target, add_target_arguments
from scribble_tools.dataset.label_mapping import LabelMapping
from scribble_tools.images.h5_files import opened_h5, read_dataset
from scribble_tools.images.image_files import files_below
from scribble_tools.wording import counted

ROWS = (Row("[WSL4MIS](#wsl4mis) h5 files", "`wsl4mis`", "4, or 255", "0"),)
FILE = re.compile(r"((patient\d{3})_frame\d{2})(?:_slice_(\d+))?\.h5")
CLASSES = {"background": (0,), "RV": (1,), "MYO": (2,), "LV": (3,)}
SAME = 0.99  # correlation of images that are the same but for their intensity scale
VIEWS = {
    "as it is": lambda volume: volume,
    "with rows reversed": lambda volume: volume[:, ::-1],
    "with columns reversed": lambda volume: volume[:, :, ::-1],
    "turned by 180 degrees": lambda volume: volume[:, ::-1, ::-1],
    "with rows and columns exchanged": lambda volume: volume.swapaxes(1, 2),
    "turned by 90 degrees": lambda volume: np.rot90(volume, 1, (1, 2)),
    "turned by 270 degrees": lambda volume: np.rot90(volume, 3, (1, 2)),
    "with slices reversed": lambda volume: volume[::-1],
}


def _similarity(image: np.ndarray, volume: np.ndarray) -> float:
    """Correlation of an ACDC image with an h5's, which were cut at the 99th percentile; or nan."""
    if image.shape != volume.shape:
        return float("nan")
    image = np.minimum(image, np.percentile(image, 99))
    with np.errstate(invalid="ignore"):  # a constant image correlates with nothing
        return float(np.corrcoef(image.ravel(), volume.ravel())[0, 1])


def _refuse_other_image(image: np.ndarray, volume: np.ndarray) -> None:
    """Refuse a volume that is not the image voxel by voxel, and say in which view it would be."""
    found = _similarity(image, volume)
    if found >= SAME:
        return
    seen = {name: _similarity(image, view(volume)) for name, view in VIEWS.items()}
    fitting = [f"{name} ({value:.3f})" for name, value in seen.items() if value >= SAME]
    difference = (
        f"correlation {found:.3f}"
        if image.shape == volume.shape
        else f"shape {volume.shape} against {image.shape}"
    )
    remedy = (
        f"The h5 would fit {' or '.join(fitting)}: rewrite the h5 files that way"
        if fitting
        else "Is it another patient, frame or release?"
    )
    raise ValueError(f"is not its ACDC image voxel by voxel: {difference}. {remedy}")


def _read_key(path: Path, key: str) -> np.ndarray:
    with opened_h5(path) as file:
        return read_dataset(file, key)


def _has_dense(path: Path) -> bool:
    """Whether an h5 file holds dense labels; a broken file is reported when it is converted."""
    try:
        with opened_h5(path) as file:
            return "label" in file
    except (OSError, ValueError):
        return False


def _slice_number(path: Path) -> int:
    return int(FILE.fullmatch(path.name).group(3))


def read_h5(path: Path, image: sitk.Image, image_path: Path | None = None) -> np.ndarray:
    """Read labels (z, y, x) after a look at whether the h5's image is ``image``.

    Args:
        path: ``FOLDER/FILE.h5/KEY``; of slices, FILE is ``CASE_slice_*.h5``.
        image: the original image, whose voxels the labels are to lie on.
        image_path: its file, which needs no look.

    Raises:
        ValueError: a key or slice is missing, the labels are no integers, or the h5's image is
            another one.
    """
    key, pattern = path.name, path.parent
    original = sitk.GetArrayFromImage(image)
    if "*" not in pattern.name:
        volume, labels = _read_key(pattern, "image"), _read_key(pattern, key)
    else:
        files = sorted(pattern.parent.glob(pattern.name), key=_slice_number)
        wanted, found = {*range(len(original))}, {*map(_slice_number, files)}
        # WSL4MIS writes every slice, so that a gap is a broken copy and no lack of scribbles
        if wanted != found:
            raise ValueError(
                f"slices missing: {sorted(wanted - found)}, not in the ACDC image, which has "
                f"{len(original)}: {sorted(found - wanted)}. Get the whole case again"
            )
        slices = [(_read_key(file, "image"), _read_key(file, key)) for file in files]
        if len(shapes := {array.shape for pair in slices for array in pair}) > 1:
            raise ValueError(f"slices of different shapes: {sorted(shapes)}")
        volume, labels = map(np.stack, zip(*slices, strict=True))
    if labels.shape != volume.shape:
        raise ValueError(f"shape {labels.shape}, but 'image' in the same file has {volume.shape}")
    _refuse_other_image(original, volume)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"holds {labels.dtype} values: labels must be integers")
    return labels


def wsl4mis_source(folder: Path, images: Path, unlabelled: int = 4) -> Source:
    """Pair the h5 files of every case with its original ACDC image.

    Args:
        folder: holds volumes or slices, at any depth.
        images: folder of ACDC's ``patientNNN_frameMM.nii.gz``, at any depth.
        unlabelled: value of the scribbles' unlabelled voxels.

    Raises:
        FileNotFoundError: a folder is missing, or there is no such h5 file.
        ValueError: a case has no image or stands twice; the message lists all of them.
    """
    folder, image_of = Path(folder), find_images(Path(images))
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    places: dict[str, set[Path]] = {}
    for path in files_below(folder, "*.h5"):
        if match := FILE.fullmatch(path.name):
            case, _, slice_number = match.groups()
            name = path.name if slice_number is None else f"{case}_slice_*.h5"
            places.setdefault(case, set()).add(path.parent / name)
    if not places:
        raise FileNotFoundError(f"no patientNNN_frameMM.h5 or ..._slice_K.h5 below {folder}")
    if twice := [case for case, own in places.items() if len(own) > 1]:
        seen = " and ".join(map(str, sorted(places[twice[0]])))
        raise ValueError(
            f"{counted(len(twice), 'case stands twice', 'cases stand twice')}"
            f", such as {seen}: give the folder of the volumes or "
            "that of the slices"
        )
    if lost := [case for case in places if case not in image_of]:
        raise ValueError(
            f"{counted(len(lost), 'case has no', 'cases have no')}"
            f" ACDC image below {images}: {', '.join(lost[:10])}"
            f"{' ...' if len(lost) > 10 else ''}. Voxel size and orientation come from there"
        )
    cases = []
    for case, (place,) in sorted(places.items()):
        first = next(place.parent.glob(place.name), place)  # none: a link that leads nowhere
        dense = place / "label" if _has_dense(first) else None
        patient = case.split("_")[0]
        cases.append(SourceCase(case, patient, (image_of[case],), place / "scribble", dense))
    return Source(
        "wsl4mis",
        cases,
        LabelMapping(CLASSES, (unlabelled,)),
        {"0": "cineMRI"},
        read_labels=read_h5,
        extra={
            "reference": "ACDC (Bernard et al. 2018), scribbles by Valvano et al. 2021, "
            "as distributed with WSL4MIS (Luo et al. 2022)",
            "licence": "images CC BY-NC-SA 4.0",
        },
    )


def recognise(seen: Seen) -> Advice | None:
    """By the names of the h5 files."""
    matches = {file: FILE.fullmatch(file.name) for file in seen.files}
    folders = sorted({file.parent for file, match in matches.items() if match})
    if not folders:
        return None
    scribbles = [g for g in seen.groups if g["key"] == "scribble"]
    unlabelled = " --unlabelled 255" if any(g.get("unlabelled") == 255 for g in scribbles) else ""
    volumes = [file.parent for file, match in matches.items() if match and match.group(3) is None]
    return Advice(
        "WSL4MIS (ACDC)",
        "the h5 files hold no geometry: IMAGES is the folder of the original ACDC images",
        (
            *("convert wsl4mis", quote((volumes or folders)[0])),
            *("--images IMAGES" + unlabelled, target()),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Options(Target):
    """What the command line says, see ``-h``."""

    folder: Path
    images: Path | None
    unlabelled: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "WSL4MIS's h5 files: patientNNN_frameMM.h5 (volumes) or patientNNN_frameMM_slice_K.h5. "
        "They hold neither voxel size nor orientation, so images and geometry are taken from the "
        "original ACDC files, after a check that both are the same voxel by voxel."
    )
    parser.epilog = (
        "example:\n  scribble_tools convert wsl4mis WSL4MIS/data/ACDC/ACDC_training_volumes \\\n"
        '    --images ACDC/training --dataset-id 129 --out "$nnUNet_raw"\n\n'
        "Every slice of a case is expected. An h5 that is turned or mirrored against its ACDC\n"
        "image is refused, with the view in which it would fit."
    )
    parser.add_argument("folder", metavar="H5_FOLDER", type=Path, help="of the h5 files")
    parser.add_argument(
        "--images", type=Path, help="folder that holds ACDC's patientNNN/ (must be given)"
    )
    parser.add_argument(
        "--unlabelled",
        type=int,
        choices=(4, 255),
        default=4,
        help="4 in the published files; 255 in those of WSL4MIS's scribble generator, where 0 is "
        "the background scribble too (default: 4)",
    )
    add_target_arguments(parser, "WSL4MISScribbles")


def source_of(options: Options) -> Source:
    """The source that the options describe.

    Raises:
        ValueError: the folder of the ACDC images is missing; or see `wsl4mis_source`.
    """
    if options.images is None:
        raise ValueError(
            "the h5 files hold neither voxel size nor orientation: give the folder of the original "
            "ACDC images with --images"
        )
    return wsl4mis_source(options.folder, options.images, options.unlabelled)


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    source = source_of(options)
    report(write_scribble_dataset(source, options), source, "2d")
    return 0
