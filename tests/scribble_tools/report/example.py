"""A small data set, two models' predictions and a training's files, for the tests of the report."""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

CASES = ("p1_a", "p1_b", "p2_a", "p3_a")
IGNORE = 3
SHAPE = (3, 16, 20)
SPACING_XYZ = (1.0, 1.0, 5.0)  # 0.005 mL per voxel
LABELS = {"background": 0, "organ": 1, "other": 2, "ignore": IGNORE}
LOG = """
2026-01-01 00:00:00.000001: Epoch {epoch} 
2026-01-01 00:00:00.000002: Current learning rate: 0.01 
2026-01-01 00:00:00.000003: train_loss {loss} 
2026-01-01 00:00:00.000004: val_loss -0.5 
2026-01-01 00:00:00.000005: Pseudo dice [np.float32(0.5), np.float32({loss})] 
2026-01-01 00:00:00.000006: Epoch time: 12.5 s 
"""  # noqa: W291 (nnU-Net's lines end in a space)


def write(path, array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_XYZ[: array.ndim])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def dense():
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 2:8, 2:8] = 1
    labels[:, 10:14, 12:18] = 2
    return labels


def scribble():
    """Per slice 4 voxels of class 1, 2 of class 2 and 10 of background."""
    labels = np.full(SHAPE, IGNORE, np.uint8)
    labels[:, 4, 3:7] = 1
    labels[:, 12, 14:16] = 2
    labels[:, 15, 5:15] = 0
    return labels


def prediction(number):
    """The dense labels without ``number`` columns of class 1, and as many islands of class 2."""
    labels = dense()
    labels[:, 2:8, 2 : 2 + number] = 0
    for k in range(number):
        labels[0, 0, 4 * k + 1] = 2
    return labels


def make_dataset(root: Path, cases=CASES, labels=LABELS, reference=True) -> Path:
    """A raw data set; ``p2_a`` and ``p3_a`` are the validation cases of its only fold."""
    folder = root / "raw" / "Dataset007_Organs"
    for number, case in enumerate(cases):
        image = dense() * 100 + np.random.default_rng(number).normal(0, 10, SHAPE)
        write(folder / "imagesTr" / f"{case}_0000.nii.gz", image.astype(np.float32))
        write(folder / "labelsTr" / f"{case}.nii.gz", scribble())
        if reference:
            write(folder / "labelsTr_dense" / f"{case}.nii.gz", dense())
    content = {
        "labels": labels,
        "file_ending": ".nii.gz",
        "channel_names": {"0": "MRI"},
        "numTraining": len(cases),
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    splits = [{"train": [*cases[:2]], "val": [*cases[2:]]}]
    (folder / "splits_final.json").write_text(json.dumps(splits))
    return folder


def make_predictions(folder: Path, cases, offset=0) -> Path:
    """The first case as it should be, the others worse and worse."""
    for number, case in enumerate(cases):
        write(folder / f"{case}.nii.gz", prediction(number + offset))
    return folder


def make_model(root: Path, trainer: str, cases, offset=0) -> Path:
    """A model's folder as nnU-Net leaves it, without a checkpoint; returns its only fold."""
    fold = root / "results" / "Dataset007_Organs" / f"{trainer}__nnUNetPlans__2d" / "fold_0"
    make_predictions(fold / "validation", cases, offset)
    log = "".join(LOG.format(epoch=k, loss=round(1 - 0.1 * k, 2)) for k in range(3))
    log += "2026-01-01 00:00:00.000007: WARNING: all pixels are uncertain \n"
    (fold / "training_log_2026_1_1_00_00_00.txt").write_text(log)
    return fold
