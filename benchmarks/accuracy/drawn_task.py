"""Draw a data set that does not look like a heart: paired organs, many small lesions, look-alikes.

Every slice of a volume shows a body with two organs of one class (a left and a right one), none to
seven lesions of another class in and around them, and outside as well as inside of the body bright
spots of the lesions' brightness but another texture, which are background. Scribbles that mark one
component per class and slice leave true objects without a stroke, as ScribbleBench's do:

    python benchmarks/accuracy/drawn_task.py --out "$nnUNet_raw" --dataset-id 201 --cases 60
    scribble_tools generate "$nnUNet_raw/Dataset201_Drawn" --dataset-id 202 --name DrawnOne \
        --out "$nnUNet_raw" --preset scribblebench --thickness 1
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

SHAPE = (8, 96, 96)
SPACING_MM = (6.0, 2.0, 2.0)
ORGAN, LESION = 1, 2


def ellipse(centre: np.ndarray, radii: np.ndarray, angle: float, wobble: np.ndarray) -> np.ndarray:
    """(rows, columns) mask of an ellipse whose outline wavers."""
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]] - centre[:, None, None]
    a = x * np.cos(angle) + y * np.sin(angle)
    b = y * np.cos(angle) - x * np.sin(angle)
    phase = np.arctan2(b, a)
    edge = 1 + sum(w * np.cos((k + 2) * phase + k) for k, w in enumerate(wobble))
    return np.hypot(a / radii[0], b / radii[1]) < edge


def draw_case(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Image (slices, rows, columns) float32 and labels uint8 of that shape."""
    image, labels = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.uint8)
    middle = np.array(SHAPE[1:]) / 2 + rng.uniform(-4, 4, 2)
    body_radii = rng.uniform(34, 42, 2)
    offset = rng.uniform(15, 20)
    organ_radii, tilt = rng.uniform((7, 10), (10, 14)), rng.uniform(-0.4, 0.4)
    for z in range(SHAPE[0]):
        grow = 1 - 0.5 * abs(z / (SHAPE[0] - 1) - 0.5)
        body = ellipse(middle, body_radii * grow**0.5, 0, rng.normal(0, 0.02, 3))
        plane = 0.15 * gaussian_filter(rng.normal(0, 4, SHAPE[1:]), 3)
        plane += np.where(body, 1.0 + 0.4 * gaussian_filter(rng.normal(0, 6, SHAPE[1:]), 4), 0.0)
        for side in (-1, 1):
            centre = middle + (rng.uniform(-2, 2), side * offset)
            shape = ellipse(centre, organ_radii * grow, side * tilt, rng.normal(0, 0.06, 3))
            plane[shape] = 1.9 + 0.15 * rng.normal()
            labels[z][shape] = ORGAN
        fine = rng.normal(0, 0.35, SHAPE[1:])
        for _ in range(rng.integers(0, 8)):
            radii = rng.uniform(2.2, 4.5, 2)
            centre = middle + rng.uniform(-0.6, 0.6, 2) * body_radii * grow
            shape = ellipse(centre, radii, rng.uniform(0, 3), rng.normal(0, 0.08, 2)) & body
            plane[shape] = 2.8 + 0.2 * rng.normal()
            labels[z][shape] = LESION
        for _ in range(rng.integers(2, 7)):  # look-alikes: as bright, but grained
            radii = rng.uniform(2.2, 5.5, 2)
            centre = rng.uniform(6, 90, 2)
            shape = ellipse(centre, radii, rng.uniform(0, 3), rng.normal(0, 0.08, 2))
            shape &= labels[z] == 0
            plane[shape] = 2.6 + 2.5 * fine[shape]
        image[z] = gaussian_filter(plane, 0.7) + rng.normal(0, 0.12, SHAPE[1:])
    bias = gaussian_filter(rng.normal(0, 30, SHAPE[1:]), 25)
    return image * (1 + 0.3 * np.tanh(bias)), labels


def main() -> None:
    """Write the data set, dense."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="nnUNet_raw folder")
    parser.add_argument("--dataset-id", type=int, required=True)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = args.out / f"Dataset{args.dataset_id:03d}_Drawn"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number in range(args.cases):
        rng = np.random.default_rng([args.seed, number])
        for array, file in zip(
            draw_case(rng),
            (f"imagesTr/case{number:03d}_0000.nii.gz", f"labelsTr/case{number:03d}.nii.gz"),
            strict=True,
        ):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing(SPACING_MM[::-1])
            sitk.WriteImage(volume, str(folder / file), useCompression=True)
    content = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "organ": ORGAN, "lesion": LESION},
        "numTraining": args.cases,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
