"""`scribble_tools demo-data`: synthetic short-axis hearts with scribbles as an nnU-Net data set.

Scribbles cover about what ACDC's hand-drawn ones cover (`COVERAGE`), run through every slice in
which their class occurs and always agree with the dense labels, which are kept apart for scoring.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.dataset.ids import dataset_number
from scribble_tools.dataset.label_mapping import LabelMapping
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.dataset.replacing import replaceable_dataset, write_dataset_record
from scribble_tools.dataset.writing import (
    IGNORE,
    dataset_folder_name,
    dataset_json,
    next_commands,
    patient_grouped_splits,
    write_dataset_atomically,
    write_json,
)
from scribble_tools.demo.heart import LABELS, Heart, HeartSlice
from scribble_tools.demo.image import Scene, render
from scribble_tools.images.image_io import save_image

# Share of a volume's voxels that a class's scribble takes, as on average in ACDC; each volume is up
# to 15 % off, and a small class has less when its whole line is shorter than that.
COVERAGE = {"background": 0.0064, "RV": 0.0014, "MYO": 0.0017, "LV": 0.0014}
SLICE_DISTANCE_MM = 10.0
FOLDERS = ("imagesTr", "labelsTr", "labelsTr_dense", "imagesTs", "labelsTs_dense")
PHASES = ("ed", "es")  # end-diastole, end-systole


@dataclass(frozen=True)
class Volume:
    """One frame of one patient: arrays (slices, rows, columns) and voxel size in that order."""

    image: np.ndarray
    dense: np.ndarray
    scribble: np.ndarray
    spacing_mm: tuple[float, float, float]


def _pixels_along(points_mm: np.ndarray, shape: tuple[int, int], spacing_mm: float) -> np.ndarray:
    """Pixels (N, 2) that a dense line of points crosses, each once, in the line's order."""
    pixels = np.round(points_mm / spacing_mm + (np.array(shape) - 1) / 2).astype(int)
    pixels = pixels[np.all((pixels >= 0) & (pixels < shape), axis=1)]
    _, first = np.unique(pixels, axis=0, return_index=True)
    return pixels[np.sort(first)]


def draw_scribble(
    dense: np.ndarray, cuts: list[HeartSlice], spacing_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Scribbles (slices, rows, columns), uint8, for dense labels of that shape.

    Every class gets one line in each slice where it occurs, cut to the same share of its length in
    all slices, so that the volume's coverage is close to `COVERAGE`.
    """
    scribble = np.full_like(dense, LABELS["ignore"])
    for label, share in COVERAGE.items():
        value, strokes = LABELS[label], []
        for z, cut in enumerate(cuts):
            pixels = _pixels_along(cut.stroke_mm(label, rng), dense.shape[1:], spacing_mm)
            pixels = pixels[dense[z][tuple(pixels.T)] == value]  # a scribble is never wrong
            if not len(pixels):  # a class of a few pixels that the line has missed
                pixels = np.argwhere(dense[z] == value)[:1]
            strokes.append(pixels)
        wanted = share * dense.size * rng.uniform(0.85, 1.15)
        kept = min(1.0, wanted / sum(map(len, strokes)))
        for z, pixels in enumerate(strokes):
            scribble[z][tuple(pixels[: int(np.ceil(kept * len(pixels)))].T)] = value
    return scribble


def draw_patient(seed: int, patient: int) -> dict[str, Volume]:
    """Draw both phases of one patient; the same for the same two numbers.

    Patients do not depend on how many others there are.
    """
    rng = np.random.default_rng((seed, patient))
    slices, rows, columns = (
        int(rng.choice(n)) for n in ((6, 7, 8), (112, 120, 128), (104, 112, 120))
    )
    spacing_mm = round(rng.uniform(1.75, 2.0), 2)
    y, x = (spacing_mm * (np.arange(n) - (n - 1) / 2) for n in (rows, columns))
    grid_mm = np.meshgrid(y, x, indexing="ij")
    diastole = Heart.draw(rng)
    scene = Scene.draw(rng, (float(y[-1]), float(x[-1])), diastole)
    volumes = {}
    for phase, heart in zip(PHASES, (diastole, diastole.contracted(rng)), strict=True):
        cuts = [HeartSlice(heart, position) for position in np.linspace(0, 1, slices)]
        dense = np.stack([cut.labels(*grid_mm) for cut in cuts])
        volumes[phase] = Volume(
            image=render(scene, heart, grid_mm, slices, rng),
            dense=dense,
            scribble=draw_scribble(dense, cuts, spacing_mm, rng),
            spacing_mm=(SLICE_DISTANCE_MM, spacing_mm, spacing_mm),
        )
    return volumes


def _write(array: np.ndarray, spacing_mm: tuple[float, ...], path: Path) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    path.parent.mkdir(exist_ok=True)
    save_image(image, path)


def _patient(number: int) -> str:
    return f"demo{number + 1:03d}"


def make_demo_data(
    out: Path,
    dataset_id: int = 999,
    patients: int = 12,
    test_patients: int = 4,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write ``out/DatasetNNN_DemoHearts`` and return that folder.

    ``labelsTr`` holds the scribbles; dense labels lie in ``labelsTr_dense`` and
    ``labelsTs_dense``, which nnU-Net does not read. ``conversion.json`` says what it would after a
    conversion: patients, labels, seed and versions.

    Raises:
        ValueError: an unusable number.
        FileExistsError: the data set is there and ``overwrite`` is false, or no earlier run says
            in its record that it wrote it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> data = make_demo_data(Path(tempfile.mkdtemp()), patients=2, test_patients=0)
        >>> sorted(path.name for path in (data / "labelsTr").iterdir())[:2]
        ['demo001_ed.nii.gz', 'demo001_es.nii.gz']
    """
    if patients < 2 or test_patients < 0 or seed < 0:
        raise ValueError(
            f"{patients} patients, {test_patients} test patients, seed {seed}: at least 2 patients "
            "are needed to split them, and nothing may be negative"
        )
    name = dataset_folder_name(out, dataset_id, "DemoHearts")
    case_to_patient, tested = {}, {}
    training = [f"{_patient(k)}_{phase}" for k in range(patients) for phase in PHASES]
    replaceable = replaceable_dataset(training, FOLDERS) if overwrite else None
    with write_dataset_atomically(Path(out), name, replaceable) as folder:
        for number in range(patients + test_patients):
            patient = _patient(number)
            subset = "Tr" if number < patients else "Ts"
            for phase, volume in draw_patient(seed, number).items():
                case, spacing = f"{patient}_{phase}", volume.spacing_mm
                _write(volume.image, spacing, folder / f"images{subset}" / f"{case}_0000.nii.gz")
                _write(volume.dense, spacing, folder / f"labels{subset}_dense" / f"{case}.nii.gz")
                if subset == "Tr":
                    _write(volume.scribble, spacing, folder / "labelsTr" / f"{case}.nii.gz")
                (case_to_patient if subset == "Tr" else tested)[case] = patient
        content = dataset_json(
            LABELS,
            len(case_to_patient),
            {"0": "cineMRI"},
            overwrite_image_reader_writer="SimpleITKIO",
            description=f"synthetic short-axis hearts with scribbles, seed {seed}",
        )
        write_json(content, folder / "dataset.json")
        splits = patient_grouped_splits(case_to_patient, min(5, patients), seed)
        write_json(splits, folder / "splits_final.json")
        classes = {name: (value,) for name, value in LABELS.items() if name != IGNORE}
        record = {
            "format": "demo-data",
            "versions": package_versions(),
            "scribble_labels": LabelMapping(classes, (LABELS[IGNORE],)).as_json(),
            "dense_labels": LabelMapping(classes).as_json(),
            "seed": seed,
            "num_folds": len(splits),
            "patients": case_to_patient | tested,
        }
        write_dataset_record(record, folder)
    return Path(out) / name


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    out: Path
    dataset_id: int
    patients: int
    test_patients: int
    seed: int
    overwrite: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Draw synthetic short-axis hearts with scribbles: a small data set on which training and "
        "scoring can be tried in minutes, without downloading anything."
    )
    parser.epilog = (
        'example:\n  scribble_tools demo-data --out "$nnUNet_raw"\n\n'
        "Scribbles are in labelsTr; dense labels, for scoring only, in labelsTr_dense and\n"
        "labelsTs_dense. splits_final.json keeps both volumes of a patient on one side."
    )
    parser.add_argument("--out", type=Path, required=True, help="your nnUNet_raw folder")
    parser.add_argument(
        "--dataset-id", type=dataset_number, default=999, help="1-999 (default: 999)"
    )
    parser.add_argument(
        "--patients", type=int, default=12, help="for training, 2 volumes each (default: 12)"
    )
    parser.add_argument(
        "--test-patients", type=int, default=4, help="for testing, 2 volumes each (default: 4)"
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same data (default: 0)")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what an earlier run wrote; other files stay",
    )


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    folder = make_demo_data(
        options.out,
        options.dataset_id,
        options.patients,
        options.test_patients,
        options.seed,
        options.overwrite,
    )
    volumes = f"{2 * options.patients} training and {2 * options.test_patients} test volumes"
    print(f"wrote {volumes}: {folder}")
    print(next_commands(folder, "2d"))
    return 0
