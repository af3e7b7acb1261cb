"""Is what strokes imply true? A 2D model's training cases against dense labels it never saw.

Prints, for every class of the dense labels, which share of it stroke support calls background and
unknown with this model's prediction, and which share the model itself predicts as background; in
the last row, of the background, the share that is predicted to be foreground instead.

    python benchmarks/accuracy/implied.py MODEL_FOLDER --scribbles Dataset027_ACDC \
        --dense Dataset028_ACDCDense --data nnUNetPlans_coarse_2d

Both data sets are preprocessed with the same plans; only their labels differ.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from torch import Tensor

from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
from nnunetv2_pclmix.method.stroke_support import stroke_support


def slices(cases: object, case: str) -> tuple[Tensor, Tensor]:
    """Image (slices, channels, y, x) and labels (slices, 1, y, x) of a preprocessed case."""
    image, labels, *_ = cases.load_case(case)
    as_tensor = torch.from_numpy
    return as_tensor(np.array(image, np.float32)).movedim(0, 1), as_tensor(
        np.array(labels, np.int64)
    ).movedim(0, 1)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="TRAINER__PLANS__2d folder")
    parser.add_argument("--scribbles", required=True, help="DatasetNNN_NAME")
    parser.add_argument("--dense", required=True, help="DatasetNNN_NAME")
    parser.add_argument("--data", required=True, help="folder of both in nnUNet_preprocessed")
    parser.add_argument("--cases", type=int, default=40, help="training cases of fold 0")
    args = parser.parse_args()
    root = Path(os.environ["nnUNet_preprocessed"])
    scribbled, dense = (
        infer_dataset_class(str(folder))(str(folder))
        for folder in (root / name / args.data for name in (args.scribbles, args.dense))
    )
    predictor = nnUNetPredictor(
        use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False, verbose=False
    )
    predictor.initialize_from_trained_model_folder(str(args.model), (0,))
    network = predictor.network
    network.load_state_dict(predictor.list_of_parameters[0])
    network.eval()
    classes = predictor.label_manager.num_segmentation_heads
    strides = np.prod(predictor.configuration_manager.pool_op_kernel_sizes, axis=0)
    labels = ExclusiveLabels(classes)
    counts = np.zeros((classes, 4))
    split = json.loads((root / args.scribbles / "splits_final.json").read_text())[0]
    for case in split["train"][: args.cases]:
        (images, scribble), (_, reference) = slices(scribbled, case), slices(dense, case)
        scribble[scribble < 0] = classes  # outside the image: ignored
        padding = [n for size, s in zip(images.shape[:1:-1], strides[::-1], strict=True)
                   for n in (0, int(-size % s))]  # fmt: skip
        with torch.no_grad():
            logits = network(F.pad(images, padding))[..., : images.shape[2], : images.shape[3]]
        support = stroke_support(labels, logits, scribble)
        predicted = labels.predict(logits)
        for k in range(classes):
            at = reference == k
            missed = predicted == 0 if k else predicted > 0
            masks = (at, at & support.background, at & support.unknown, at & missed)
            counts[k] += [mask.sum().item() for mask in masks]
    print("class  called background  unknown  predicted background")
    for k in (*range(1, classes), 0):
        shares = counts[k, 1:] / max(counts[k, 0], 1)
        print(f"{k:5d}  {shares[0]:17.4f}  {shares[1]:7.4f}  {shares[2]:20.4f}")


if __name__ == "__main__":
    main()
