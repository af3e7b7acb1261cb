"""Say where, on which side and why the outlines of predictions are off: of any model, any organ.

    python benchmarks/accuracy/band.py PREDICTIONS --dataset "$nnUNet_raw/Dataset031_Crop"
    python benchmarks/accuracy/band.py ours=FOLDER stock=FOLDER --ref DENSE --images IMAGES \
        --scribbles SCRIBBLES --pair LV MYO --pair RV background --out band.json

Cases are the files of the first folder that have a dense reference. For each pair "A as B" (true A,
predicted B; default: the largest confusions) it measures

confusion         of the voxels of A, per cent predicted as B, also in the first, middle and last
                  third of the slices that have A (as the file counts them)
alike to B        per cent of these voxels whose intensity is nearer to B's mean in this case than
                  to A's; and of all voxels of A, and of the strokes of A, for comparison
outline           where the predicted outline of A lies against the true one, on A's border with B:
                  negative is inside, A too small; in mm and in voxels (edges of the slice's voxels)
strokes           how far the true outline is from the nearest stroke of A and of B, and where an
                  outline half way between the two would lie
oracle            Dice if A were replaced by its convex hull, by one voxel more, by both, or closed

in slices (2D) and in the volume (3D). Each value is over all cases together: all voxels, all of the
border; Dice and volume errors are means of cases. The interval is the bootstrap 95 % one over
patients, as far as the data set or --patient-regex tells them, else over cases. What cannot be
measured (no such voxel, no stroke in the slice) is left out, and shown as ``-``. The JSON file has
each value's mean of cases, too, and every case.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from band_cases import RING_MM, Case, Key, Options, confuse, measure
from band_tables import (
    interval,
    mean_without_nan,
    print_confusion,
    print_oracles,
    print_pair,
    rounded,
    summarise,
    volume_errors,
)

from scribble_tools.arguments import positive_int
from scribble_tools.dataset.patients import find_patients
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.dataset.raw import find_dataset_json, read_label_set
from scribble_tools.dataset.shapes import WITH_LABELS
from scribble_tools.dataset.writing import find_raw_dataset, written_atomically
from scribble_tools.evaluate.confusion import parts_of, percent_of_true
from scribble_tools.evaluate.statistics import bootstrap_weights
from scribble_tools.json_files import read_json
from scribble_tools.parallel import parallel_map


def find_cases(
    predictions: Mapping[str, Path],
    reference: Path,
    images: Path | None,
    scribbles: Path | None,
    ending: str,
    channel: int,
) -> list[Case]:
    """The cases that the first model predicted and that have a reference.

    Raises:
        FileNotFoundError: a folder or a file is missing; all are named.
    """
    folders = [*predictions.values(), reference, *filter(None, (images, scribbles))]
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise FileNotFoundError(f"no such folder: {', '.join(missing)}")
    first = next(iter(predictions.values()))
    names = sorted(
        path.name.removesuffix(ending)
        for path in first.glob(f"*{ending}")
        if (reference / path.name).is_file()
    )
    if not names:
        raise FileNotFoundError(f"no *{ending} in {first} has a file of that name in {reference}")
    cases = [
        Case(
            name,
            {model: folder / f"{name}{ending}" for model, folder in predictions.items()},
            reference / f"{name}{ending}",
            images and images / f"{name}_{channel:04d}{ending}",
            scribbles and scribbles / f"{name}{ending}",
        )
        for name in names
    ]
    files = [
        file
        for case in cases
        for file in (*case.predictions.values(), case.image, case.scribble)
        if file is not None
    ]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise FileNotFoundError("\n".join([f"{len(missing)} files are missing:", *missing]))
    return cases


def choose_pairs(counts: np.ndarray, top: int) -> tuple[tuple[int, int], ...]:
    """The ``top`` largest confusions of true classes (not of the background), largest first.

    Args:
        counts: over all cases, (parts, parts).
    """
    rates = np.nan_to_num(percent_of_true(counts))
    np.fill_diagonal(rates, 0)
    rates[0] = 0
    order = np.argsort(-rates, axis=None, kind="stable")[:top]
    return tuple(divmod(int(k), len(rates)) for k in order if rates.flat[k] > 0)


def as_json(
    cases: Sequence[Case],
    names: Sequence[str],
    counts: Mapping[str, np.ndarray],
    summaries: Mapping[str, Mapping[Key, dict]],
    settings: Mapping[str, object],
) -> list[dict]:
    """The file's lines: one of the run, then one per model's confusion and per measure."""
    lines = [
        {
            "settings": settings,
            "classes": list(names),
            "cases": [case.name for case in cases],
            "versions": package_versions(),
        }
    ]
    for model, table in counts.items():
        lines.append(
            {
                "model": model,
                "confusion_percent": percent_of_true(table.sum(axis=0)).tolist(),
                "volume_error_percent": [mean_without_nan(e) for e in volume_errors(table).T],
                "counts": table.tolist(),
            }
        )
        lines += [
            {
                "model": model,
                "topic": key[0],
                "what": key[1],
                "unit": key[2],
                "dimension": key[3] or None,
                "value": row["value"],
                "ci95": interval(row["resampled"]),
                "mean_of_cases": mean_without_nan(row["cases"]),
                "by_case": row["cases"].tolist(),
            }
            for key, row in summaries[model].items()
        ]
    return rounded(lines)


def parse_predictions(words: Sequence[str]) -> dict[str, Path]:
    """Name to folder, of ``NAME=FOLDER`` or ``FOLDER``.

    Raises:
        ValueError: two have the same name.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, _, folder = word.rpartition("=")
        folder = Path(word if not name else folder)
        name = name or folder.absolute().name
        if name in found:
            raise ValueError(f"{found[name]} and {folder}: name them, NAME={folder}")
        found[name] = folder
    return found


def parse_pairs(
    pairs: Sequence[Sequence[str]], names: Sequence[str]
) -> tuple[tuple[int, int], ...]:
    """Indices of pairs of names.

    Raises:
        ValueError: a name is unknown, or twice the same.
    """
    if unknown := sorted({name for pair in pairs for name in pair} - set(names)):
        raise ValueError(f"--pair {unknown[0]}: there are {', '.join(names)}")
    if same := [a for a, b in pairs if a == b]:
        raise ValueError(f"--pair {same[0]} {same[0]}: give two different classes")
    return tuple((names.index(a), names.index(b)) for a, b in pairs)


def run(args: argparse.Namespace) -> None:
    """Measure, print and write.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: see `find_cases`, `load`, `parse_pairs`.
    """
    if args.out and args.out.exists() and not args.overwrite:
        raise FileExistsError(f"{args.out} exists: give another --out or say --overwrite")
    dataset = find_raw_dataset(args.dataset) if args.dataset else None
    reference, images, scribbles = (
        given or (dataset / folder if dataset and (dataset / folder).is_dir() else None)
        for given, folder in (
            (args.ref, "labelsTr_dense"),
            (args.images, "imagesTr"),
            (args.scribbles, "labelsTr"),
        )
    )
    if reference is None:
        raise ValueError("give --dataset with labelsTr_dense, or --ref")
    predictions = parse_predictions(args.predictions)
    json_file = args.dataset_json or find_dataset_json((reference, *predictions.values()))
    if json_file is None:
        raise FileNotFoundError(f"no dataset.json in or above {reference}: give --dataset-json")
    labels, content = read_label_set(json_file), read_json(json_file, WITH_LABELS)
    if labels.ignore is None:
        scribbles = None  # dense labels are no strokes
    ending = content.get("file_ending", ".nii.gz")
    cases = find_cases(predictions, reference, images, scribbles, ending, args.channel)
    patients = find_patients([case.name for case in cases], reference, args.patient_regex)
    groups = [patients[case.name] if patients else case.name for case in cases]

    counted = list(parallel_map(partial(confuse, labels), cases, args.num_processes, "confusion"))
    if problems := [found for found in counted if isinstance(found, str)]:
        raise ValueError("\n".join(problems))
    counts = {model: np.array([found[model] for found in counted]) for model in predictions}
    names = list(parts_of(labels))
    if args.pair:
        pairs = parse_pairs(args.pair, names)
    else:
        pairs = choose_pairs(counts[next(iter(predictions))].sum(axis=0), args.top)
    options = Options(labels, pairs, tuple(args.dimensions), args.ring_mm)
    measured = list(parallel_map(partial(measure, options), cases, args.num_processes, "measuring"))
    weights = bootstrap_weights(groups)
    if len(set(groups)) == 1:
        weights[:] = math.nan  # one patient says nothing of others
    summaries = {m: summarise([case[m] for case in measured], weights) for m in predictions}

    unit = "patients" if patients else "cases"
    print(f"{len(cases)} cases, intervals over {len(set(groups))} {unit}; labels of {json_file}")
    for model, table in counts.items():
        print(f"\n{model}: {predictions[model]}")
        print_confusion(names, table)
    for a, b in pairs:
        print_pair(f"{names[a]} as {names[b]}", summaries)
    for model, summary in summaries.items():
        print(f"\n{model}:")
        print_oracles(names, summary, options.dimensions)
    if args.out:
        settings = {
            "predictions": {model: str(folder) for model, folder in predictions.items()},
            "reference": str(reference),
            "images": images and str(images),
            "scribbles": scribbles and str(scribbles),
            "channel": args.channel,
            "ring_mm": args.ring_mm,
            "patients": len(set(groups)) if patients else None,
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        lines = as_json(cases, names, counts, summaries, settings)
        with written_atomically(args.out) as temporary:
            temporary.write_text("[\n" + ",\n".join(map(json.dumps, lines)) + "\n]\n")
        print(f"\nwrote {args.out}")


def main(words: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("predictions", nargs="+", metavar="[NAME=]FOLDER")
    parser.add_argument("--dataset", help="id, name or folder of the raw data set")
    parser.add_argument("--ref", type=Path, help="default: its labelsTr_dense")
    parser.add_argument("--images", type=Path, help="default: its imagesTr")
    parser.add_argument("--scribbles", type=Path, help="default: its labelsTr")
    parser.add_argument("--dataset-json", type=Path, help="default: in or above the references")
    parser.add_argument(
        "--pair", nargs=2, action="append", metavar=("TRUE", "PREDICTED"), help="may be repeated"
    )
    parser.add_argument("--top", type=positive_int, default=4, help="pairs, if none is given")
    parser.add_argument("--dimensions", nargs="+", type=int, choices=(2, 3), default=(2, 3))
    parser.add_argument("--channel", type=int, default=0, help="of the images (default: 0)")
    parser.add_argument(
        "--ring-mm",
        type=float,
        default=RING_MM,
        help="the background counts this far around a class (default: %(default)s)",
    )
    parser.add_argument("--patient-regex", help="finds the patient in a case's name")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("-np", type=positive_int, default=2, dest="num_processes")
    args = parser.parse_args(words)
    try:
        run(args)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
