"""Cut a data set down to a box around its strokes: a small task in which the outlines decide.

Most of an image is easy background. Cropped to the organ a training takes minutes at full
resolution, and what scribbles lack against dense labels shows sooner. Nothing is resampled: each
case keeps its spacing, and its place in space. Written are two data sets with the same images and
the same splits, one with the scribbles and one with the dense labels, which is the upper bound.

    python benchmarks/accuracy/crop_task.py "$nnUNet_raw/Dataset027_ACDC" --ids 31 32 --size-mm 150

The source must hold dense references in ``labelsTr_dense`` for every training case. The box has the
same size in mm in all cases, as far as the image reaches, and its middle is that of the strokes of
all classes, to a voxel, so that it needs no dense label. What it cuts off is printed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.arguments import positive_int
from scribble_tools.dataset.patients import find_patients
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.dataset.raw import read_label_set
from scribble_tools.dataset.replacing import replaceable_dataset, write_dataset_record
from scribble_tools.dataset.shapes import DATASET_JSON
from scribble_tools.dataset.writing import (
    IGNORE,
    dataset_folder_name,
    find_raw_dataset,
    patient_grouped_splits,
    read_splits,
    write_dataset_atomically,
    write_json,
)
from scribble_tools.draw.display_plane import display_plane
from scribble_tools.images.image_files import NATURAL
from scribble_tools.images.image_io import geometry_difference, read_image, save_image
from scribble_tools.images.segmentation_files import labels_of
from scribble_tools.json_files import read_json
from scribble_tools.parallel import parallel_map

SPLITS, DENSE = "splits_final.json", "labelsTr_dense"


@dataclass(frozen=True)
class Files:
    """One case: its images (one per channel), scribble and dense labels."""

    case: str
    images: tuple[Path, ...]
    scribble: Path
    dense: Path


@dataclass(frozen=True)
class Cut:
    """What became of one case: voxels of the classes outside of the box, and problems."""

    case: str
    strokes: int = 0
    strokes_lost: int = 0
    dense: int = 0
    dense_lost: int = 0
    dense_ignored: bool = False
    problems: tuple[str, ...] = ()


def find_cases(dataset: Path, ending: str) -> list[Files]:
    """The training cases of a raw data set.

    Raises:
        FileNotFoundError: there is none, or some lack images or dense labels; all are named.
    """
    channel = re.compile(rf"(.+)_\d{{4}}{re.escape(ending)}")
    images: dict[str, list[Path]] = {}
    for path in sorted((dataset / "imagesTr").glob(f"*{ending}")):
        if match := channel.fullmatch(path.name):
            images.setdefault(match[1], []).append(path)
    cases, missing = [], []
    for scribble in sorted((dataset / "labelsTr").glob(f"*{ending}")):
        case, dense = scribble.name.removesuffix(ending), dataset / DENSE / scribble.name
        if case not in images:
            missing.append(f"{dataset / 'imagesTr' / case}_0000{ending}")
        if not dense.is_file():
            missing.append(str(dense))
        cases.append(Files(case, tuple(images.get(case, ())), scribble, dense))
    if not cases:
        raise FileNotFoundError(f"no labelsTr/*{ending} in {dataset}: is it a raw data set?")
    if missing:
        raise FileNotFoundError("\n".join([f"{len(missing)} files are missing:", *missing]))
    return cases


def box_around(
    foreground: np.ndarray, size_mm: Sequence[float], spacing_mm: Sequence[float]
) -> tuple[slice, ...]:
    """The box of a size in mm around the middle of a mask, inside of the image.

    Args:
        foreground: boolean (*spatial); without any voxel the box lies in the image's middle.
        size_mm: per array axis; 0 keeps the axis whole.
        spacing_mm: per array axis.
    """
    box = []
    for axis, (size, spacing) in enumerate(zip(size_mm, spacing_mm, strict=True)):
        length = foreground.shape[axis]
        width = min(length, max(1, round(size / spacing))) if size else length
        hits = np.flatnonzero(foreground.any(tuple(a for a in range(foreground.ndim) if a != axis)))
        first, last = (hits[0], hits[-1]) if hits.size else (0, length - 1)
        start = int(np.clip(round((first + last - width) / 2), 0, length - width))
        box.append(slice(start, start + width))
    return tuple(box)


def size_per_axis(size_mm: Sequence[float], image: sitk.Image, path: Path) -> tuple[float, ...]:
    """Size in mm per array axis, 0 for whole, from one size in plane or one per axis (x, y, z).

    Raises:
        ValueError: there are more or fewer sizes than axes.
    """
    dimension = image.GetDimension()
    if len(size_mm) == 1:
        sizes = [size_mm[0]] * dimension
        if dimension == 3:
            sizes[display_plane(image, path).axes[0]] = 0
        return tuple(sizes)
    if len(size_mm) != dimension:
        raise ValueError(f"{path} has {dimension} axes: give --size-mm one size or {dimension}")
    return tuple(size_mm[::-1])


def crop_case(
    values: Sequence[int],
    ignore: int,
    size_mm: Sequence[float],
    scribbled: Path,
    dense: Path,
    files: Files,
) -> Cut:
    """Write one case into both data sets.

    Args:
        values: of the classes.
        scribbled, dense: folders of the two.
    """
    problems, read = [], {}
    for path in (files.scribble, files.dense, *files.images):
        try:
            read[path] = read_image(path)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
    if problems:
        return Cut(files.case, problems=tuple(problems))
    first = read[files.images[0]]
    natural = "".join(files.scribble.suffixes[-1:]).lower() in NATURAL
    for path, image in read.items():
        if difference := geometry_difference(image, first, size_only=natural):
            problems.append(f"{path} does not lie on the grid of {files.images[0]}: {difference}")
    try:
        strokes, labels = (labels_of(read[path], path) for path in (files.scribble, files.dense))
        sizes = size_per_axis(size_mm, first, files.images[0])
    except ValueError as error:
        problems.append(str(error))
    if problems:
        return Cut(files.case, problems=tuple(problems))
    box = box_around(np.isin(strokes, values), sizes, first.GetSpacing()[::-1])
    start = [part.start for part in box][::-1]
    width = [part.stop - part.start for part in box][::-1]
    targets = [(path, f"imagesTr/{path.name}", (scribbled, dense)) for path in files.images]
    targets.append((files.scribble, f"labelsTr/{files.scribble.name}", (scribbled,)))
    targets.append((files.dense, f"labelsTr/{files.dense.name}", (dense,)))
    targets.append((files.dense, f"{DENSE}/{files.dense.name}", (scribbled, dense)))
    for path, name, folders in targets:
        image = sitk.RegionOfInterest(read[path], width, start)
        for folder in folders:
            save_image(image, folder / name)
    counts = [
        int(np.isin(part, values).sum()) for part in (strokes, strokes[box], labels, labels[box])
    ]
    return Cut(
        files.case,
        strokes=counts[0],
        strokes_lost=counts[0] - counts[1],
        dense=counts[2],
        dense_lost=counts[2] - counts[3],
        dense_ignored=bool((labels[box] == ignore).any()),
    )


def crop_task(
    dataset: Path,
    out: Path,
    ids: tuple[int, int],
    name: str,
    size_mm: Sequence[float],
    patient_regex: str | None = None,
    overwrite: bool = False,
    num_processes: int = 2,
) -> tuple[tuple[Path, Path], list[Cut]]:
    """Write both data sets below ``out``; return their folders, and what became of each case.

    Args:
        ids: of the scribbled and the dense data set, ``DatasetNNN_name`` and ``..._nameDense``.
        size_mm: one size for the axes in plane, or one per axis of the files (x, y, z; 0: whole).
        patient_regex: finds the patient in a case's name; default: the conversion's record. Used
            where the source has no splits of its own.

    Raises:
        FileExistsError: one of the two exists, and ``overwrite`` is false.
        FileNotFoundError, ValueError: the source is no scribbled data set with dense references,
            or its files are unreadable or do not fit each other; all of them are named.
    """
    content = read_json(dataset / "dataset.json", DATASET_JSON)
    labels, ending = read_label_set(dataset / "dataset.json"), content["file_ending"]
    if labels.ignore is None:
        raise ValueError(f"{dataset} has no label '{IGNORE}': it is not scribbled")
    if ids[0] == ids[1]:
        raise ValueError(f"--ids {ids[0]} {ids[1]}: give two different ones")
    cases = find_cases(dataset, ending)
    names = [
        dataset_folder_name(out, number, title)
        for number, title in zip(ids, (name, f"{name}Dense"), strict=True)
    ]
    if dataset.resolve() in {(out / folder).resolve() for folder in names}:
        raise ValueError(f"{dataset} is the source itself: choose other --ids")
    patients = find_patients([c.case for c in cases], dataset / "labelsTr", patient_regex)
    patients = patients or {c.case: c.case for c in cases}
    if (dataset / SPLITS).is_file():
        splits = read_splits(dataset / SPLITS)
    else:
        splits = patient_grouped_splits(patients, min(5, len(set(patients.values()))))
    record = {
        "format": "crop_task",
        "source": dataset.name,
        "size_mm": list(size_mm),
        "patients": patients,
        "versions": package_versions(),
    }
    parts = ("imagesTr", "labelsTr", DENSE)
    # an old one goes as far as its record says that it was made; what is the user's stays
    replaceable = replaceable_dataset([c.case for c in cases], parts) if overwrite else None
    with ExitStack() as stack:
        folders = [
            stack.enter_context(write_dataset_atomically(out, folder, replaceable))
            for folder in names
        ]
        for folder in folders:
            for part in parts:
                (folder / part).mkdir()
        values = sorted(labels.values - {0})
        crop = partial(crop_case, values, labels.ignore, size_mm, *folders)
        cuts = list(parallel_map(crop, cases, num_processes, "cropping"))
        if problems := [problem for cut in cuts for problem in cut.problems]:
            raise ValueError("\n".join([f"{len(problems)} problems, nothing written:", *problems]))
        for folder, scribbled in zip(folders, (True, False), strict=True):
            named = dict(content["labels"])
            if not scribbled and not any(cut.dense_ignored for cut in cuts):
                named.pop(IGNORE)
            write_json({**content, "labels": named}, folder / "dataset.json")
            write_json(splits, folder / SPLITS)
            write_dataset_record(record, folder)
    return (out / names[0], out / names[1]), cuts


def main(words: Sequence[str] | None = None) -> None:
    """Crop, and say what was cut off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", help="folder, id or name of the scribbled raw data set")
    parser.add_argument(
        "--ids", nargs=2, type=int, required=True, metavar=("SCRIBBLED", "DENSE"), help="new ids"
    )
    parser.add_argument("--name", help="of the new data sets (default: the source's with Crop)")
    parser.add_argument(
        "--size-mm",
        nargs="+",
        type=float,
        required=True,
        metavar="MM",
        help="one size, of both axes in plane, or one for each axis of the files: x y z (0: whole)",
    )
    parser.add_argument("--out", type=Path, help="default: the folder that holds the source")
    parser.add_argument("--patient-regex", help="for new splits, where the source has none")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier ones")
    parser.add_argument("-np", type=positive_int, default=2, dest="num_processes")
    args = parser.parse_args(words)
    if min(args.size_mm) < 0 or not any(args.size_mm):
        parser.error(f"--size-mm {args.size_mm}: give sizes above 0 (0 keeps an axis whole)")
    try:
        dataset = find_raw_dataset(args.dataset)
        folders, cuts = crop_task(
            dataset,
            args.out or dataset.parent,
            tuple(args.ids),
            args.name or f"{dataset.name.split('_', 1)[-1]}Crop",
            args.size_mm,
            args.patient_regex,
            args.overwrite,
            args.num_processes,
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    for kind, total, lost in (
        ("of the strokes", "strokes", "strokes_lost"),
        ("of the dense classes", "dense", "dense_lost"),
    ):
        outside = {cut.case: getattr(cut, lost) for cut in cuts if getattr(cut, lost)}
        share = 100 * sum(outside.values()) / max(1, sum(getattr(cut, total) for cut in cuts))
        most = f", most in {max(outside, key=outside.get)}" if outside else ""
        print(f"outside of the box: {share:.2f} % {kind}, in {len(outside)} cases{most}")
    if empty := [cut.case for cut in cuts if not cut.strokes]:
        print(f"no stroke of a class, cropped in the middle: {', '.join(empty)}")
    print(f"wrote {len(cuts)} cases to {folders[0]} (scribbled) and {folders[1]} (dense)")


if __name__ == "__main__":
    main()
