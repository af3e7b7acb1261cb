"""The parts of the small world that public data sets and CT need, all of it right."""

import json
from pathlib import Path

import numpy as np

from tests.hostile import world

SUBJECTS = ("subject1", "subject2", "subject3")
BENCH = "Dataset020_Bench"
CT = "Dataset021_CT"
CT_STATISTICS = ("mean", "median", "std", "min", "max", "percentile_99_5", "percentile_00_5")
FINGERPRINT = "dataset_fingerprint.json"


def build(root: Path) -> None:
    """Add to a world that `world.build` has begun."""
    _mscmr(root / "mscmr")
    _bench(root)
    _ct(root)


def _mscmr(folder: Path) -> None:
    """CycleMix's layout: scribbles to train on, dense labels of validation and test."""
    strokes = np.where(world.scribble() == world.IGNORE, 4, world.scribble()).astype(np.uint8)
    for number, (part, subject) in enumerate(zip(("train", "train", "val"), SUBJECTS, strict=True)):
        images, labels = folder / part / "images", folder / part / "labels"
        world.write(images / f"{subject}_DE.nii.gz", mscmr_image(number))
        if part == "train":
            world.write(labels / f"{subject}_DE_scribble.nii.gz", strokes)
        else:
            world.write(labels / f"{subject}_DE_manual.nii.gz", world.dense())


def mscmr_image(number: int) -> np.ndarray:
    """Of one subject."""
    return np.rint(world.image(number) + 50).astype(np.int16)


def _bench(root: Path) -> None:
    """A dense data set of nnU-Net's, and scribbles in which its number of labels is unlabelled."""
    folder = root / "dense_raw" / BENCH
    for number, case in enumerate(world.CASES):
        world.write(folder / "imagesTr" / f"{case}_0000.nii.gz", world.image(number))
        world.write(folder / "labelsTr" / f"{case}.nii.gz", world.dense())
        world.write(root / "bench_strokes" / f"{case}.nii.gz", world.scribble())
    labels = {name: value for name, value in world.LABELS.items() if name != "ignore"}
    write_json(folder / "dataset.json", {**world.dataset_json(), "labels": labels})


def _ct(root: Path) -> None:
    """A scribbled CT data set whose fingerprint nnU-Net has extracted."""
    folder = root / "raw" / CT
    for number, case in enumerate(world.CASES):
        world.write(folder / "imagesTr" / f"{case}_0000.nii.gz", world.image(number))
        world.write(folder / "labelsTr" / f"{case}.nii.gz", world.scribble())
    content = {**world.dataset_json(), "channel_names": {"0": "CT"}}
    write_json(folder / "dataset.json", content)
    fingerprint = {
        "spacings": [[5.0, 1.0, 1.0]] * len(world.CASES),
        "shapes_after_crop": [[*world.SHAPE]] * len(world.CASES),
        "foreground_intensity_properties_per_channel": {"0": dict.fromkeys(CT_STATISTICS, 1.0)},
        "median_relative_size_after_cropping": 1.0,
    }
    write_json(root / "pre" / CT / FINGERPRINT, fingerprint)


def scribbled_intensities() -> np.ndarray:
    """Of all strokes of organs in the CT data set, sorted; every case has as many."""
    foreground = np.isin(world.scribble(), (1, 2))
    return np.sort(np.concatenate([world.image(k)[foreground] for k in range(len(world.CASES))]))


def write_json(path: Path, content: object) -> None:
    """Write JSON as a user's program would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
