"""A small world of the user's files: what every command of both packages reads, all of it right.

Labels and images are known as arrays, so that whoever damages a file knows the right answer.
"""

import json
from collections import OrderedDict
from pathlib import Path

import h5py
import numpy as np
import SimpleITK as sitk
import torch

CASES = ("p1_a", "p1_b", "p2_a", "p3_a")
SHAPE = (3, 16, 20)
SPACING = (1.0, 1.0, 5.0)
IGNORE = 3
LABELS = {"background": 0, "organ": 1, "other": 2, "ignore": IGNORE}
DATASET = "Dataset007_Organs"
MODEL = f"results/{DATASET}/nnUNetTrainerPCLMix__nnUNetPlans__2d"
NETWORK = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
LOG = """
2026-01-01 00:00:00.000001: Epoch {epoch}
2026-01-01 00:00:00.000002: Current learning rate: 0.01
2026-01-01 00:00:00.000003: train_loss {loss}
2026-01-01 00:00:00.000006: Epoch time: 12.5 s
"""


def write(path: Path, array: np.ndarray) -> None:
    """An image with the world's geometry, packed where the format allows it."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[: array.ndim])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)


def read(path: Path) -> np.ndarray:
    """The voxels of an image."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def dense() -> np.ndarray:
    """Two boxes of different size."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 2:8, 2:8] = 1
    labels[:, 10:14, 12:18] = 2
    return labels


def scribble() -> np.ndarray:
    """A stroke in each box, and one outside of them."""
    labels = np.full(SHAPE, IGNORE, np.uint8)
    labels[:, 4, 3:7] = 1
    labels[:, 12, 14:16] = 2
    labels[:, 15, 5:15] = 0
    return labels


def image(number: int) -> np.ndarray:
    """Both boxes, bright, with noise of this case's own."""
    noise = np.random.default_rng(number).normal(0, 10, SHAPE)
    return (dense() * 100 + noise).astype(np.float32)


def prediction(number: int) -> np.ndarray:
    """The dense labels, of which ``number`` columns are missing."""
    labels = dense()
    labels[:, 2:8, 2 : 2 + number] = 0
    return labels


def dice(number: int) -> float:
    """Of class 1 in `prediction`."""
    whole, left = 36, 36 - 6 * number
    return 2 * left / (whole + left)


def build(root: Path) -> None:
    """Write the world into an empty folder."""
    for number, case in enumerate(CASES):
        write(root / "hearts" / "images" / f"{case}.nii.gz", image(number))
        write(root / "hearts" / "strokes" / f"{case}.nii.gz", scribble())
        write(root / "nrrd" / "images" / f"{case}.nrrd", image(number))
        write(root / "nrrd" / "strokes" / f"{case}.mha", scribble())
        write(root / "dense" / f"{case}.nii.gz", dense())
        write(root / "pred" / f"{case}.nii.gz", prediction(number))
        write(root / "other" / f"{case}.nii.gz", prediction(number + 1))
        _raw_case(root / "raw" / DATASET, case, number)
    _raw_files(root / "raw" / DATASET)
    _acdc(root)
    _model(root / MODEL)
    _write_json(root / "my_splits.json", splits())
    plans = _plans()
    _write_json(root / "pre" / DATASET / "nnUNetPlans.json", plans)
    _write_json(root / "pre" / DATASET / "dataset.json", dataset_json())
    (root / "notes.txt").write_text("the user's own")


def dataset_json() -> dict:
    """The raw data set's."""
    return {
        "labels": LABELS,
        "file_ending": ".nii.gz",
        "channel_names": {"0": "MRI"},
        "numTraining": len(CASES),
    }


def splits() -> list[dict]:
    """Two folds that keep patients apart."""
    first, last = [*CASES[:2]], [*CASES[2:]]
    return [{"train": first, "val": last}, {"train": last, "val": first}]


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def _raw_case(folder: Path, case: str, number: int) -> None:
    write(folder / "imagesTr" / f"{case}_0000.nii.gz", image(number))
    write(folder / "labelsTr" / f"{case}.nii.gz", scribble())
    write(folder / "labelsTr_dense" / f"{case}.nii.gz", dense())


def _raw_files(folder: Path) -> None:
    _write_json(folder / "dataset.json", dataset_json())
    _write_json(folder / "splits_final.json", splits())
    mapping = {
        "classes": {"background": [5], "organ": [1], "other": [700]},
        "unlabelled": [0],
    }
    record = {
        "format": "folder",
        "scribble_labels": mapping,
        "patients": {case: case[:2] for case in CASES},
        "scribbled_cases": [*CASES],
        "seed": 0,
    }
    _write_json(folder / "conversion.json", record)


def _acdc(root: Path) -> None:
    for number in (1, 2):
        case = f"patient{number:03d}_frame01"
        folder = root / "acdc" / case[:10]
        volume = np.rint(image(number) + 50).astype(np.int16)
        write(folder / f"{case}.nii.gz", volume)
        strokes = np.where(scribble() == IGNORE, 4, scribble()).astype(np.uint8)
        write(root / "acdc_strokes" / f"{case}_scribble.nii.gz", strokes)
        path = root / "h5" / f"{case}.h5"
        path.parent.mkdir(exist_ok=True)
        with h5py.File(path, "w") as file:
            scaled = (volume / volume.max()).astype(np.float32)
            arrays = (("image", scaled), ("scribble", strokes), ("label", dense()))
            for name, array in arrays:
                # checksums, as no published file has: what is damaged is noticed
                file.create_dataset(name, data=array, compression="gzip", fletcher32=True)


def _plans() -> dict:
    network = {
        "network_class_name": NETWORK,
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "conv_op": "torch.nn.modules.conv.Conv2d",
            "kernel_sizes": [[3, 3]] * 3,
            "strides": [[1, 1], [2, 2], [2, 2]],
            "n_conv_per_stage": [2, 2, 2],
            "n_conv_per_stage_decoder": [2, 2],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "nnUNetPlans_2d",
        "batch_size": 4,
        "patch_size": [16, 16],
        "spacing": [1.0, 1.0],
        "median_image_size_in_voxels": [16.0, 20.0],
        "architecture": network,
    }
    return {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "configurations": {"2d": configuration},
    }


def weights() -> OrderedDict:
    """What the model's checkpoint holds as its network's."""
    values = torch.arange(12.0)
    return OrderedDict({"encoder.a.weight": values.reshape(3, 4), "encoder.a.bias": values[:3] + 1})


def checkpoint() -> dict:
    """As the trainer of this package saves it, small."""
    ours = {
        "trainer_name": "nnUNetTrainerPCLMix",
        "version": "0.1.0",
        "config": {"temperature": 0.1},
        "iteration": 500,
        "num_epochs": 2,
        "torch_seed": 5,
    }
    return {
        "network_weights": weights(),
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(3)}}},
        "logging": {"train_losses": [1.0, 0.5], "lrs": [0.01, 0.005]},
        "init_args": {"configuration": "2d", "fold": 0, "plans": _plans()},
        "inference_allowed_mirroring_axes": (0, 1),
        "trainer_name": "nnUNetTrainerPCLMix",
        "pclmix": ours,
    }


def _model(folder: Path) -> None:
    fold = folder / "fold_0"
    fold.mkdir(parents=True)
    torch.save(checkpoint(), fold / "checkpoint_final.pth")
    log = "".join(LOG.format(epoch=k, loss=1 - k / 10) for k in range(3))
    (fold / "training_log_2026_1_1_00_00_00.txt").write_text(log)
    _write_json(folder / "plans.json", _plans())
    _write_json(folder / "dataset.json", dataset_json())
