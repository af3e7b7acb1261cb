"""Draw docs/pictures/stroke_support.png: what strokes say of a prediction, on a synthetic heart.

    python docs/pictures/stroke_support.py docs/pictures/stroke_support.png

The prediction is that of a pixel's brightness alone, compared with the brightness at the strokes of
each class: like a network early in a training, it finds the organs, and look-alikes far from them.
Strokes, support and implied background are the package's own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
from matplotlib import pyplot
from scipy import ndimage

from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
from nnunetv2_pclmix.method.stroke_support import stroke_support
from scribble_tools.demo.command import draw_patient
from scribble_tools.draw.contact_sheet import colour_of

CLASSES, IGNORE = 4, 4
FALSE, UNKNOWN = (0.86, 0.15, 0.15), (1.0, 0.85, 0.1)


def by_brightness(image: np.ndarray, scribble: np.ndarray) -> np.ndarray:
    """Logits (K, H, W): how much a pixel's smoothed brightness is like that at a class' strokes."""
    smooth = ndimage.gaussian_filter(image.astype(float), 1.5)
    logits = []
    for label in range(CLASSES):
        values = smooth[scribble == label]
        spread = max(values.std(), 0.03 * np.ptp(smooth))
        logits.append(-0.5 * ((smooth - values.mean()) / spread) ** 2 - np.log(spread))
    return np.stack(logits)


def painted(grey: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """An RGB picture with the foreground classes in their colours."""
    picture = np.repeat(grey[..., None], 3, 2)
    for label in range(1, CLASSES):
        picture[labels == label] = matplotlib.colors.to_rgb(colour_of(label))
    return picture


def main(out: Path) -> None:
    """Predict, ask the strokes, draw four panels."""
    volume = draw_patient(seed=0, patient=5)["ed"]
    image, scribble = volume.image[3], volume.scribble[3]
    logits = by_brightness(image, scribble)
    labels = ExclusiveLabels(CLASSES)
    said = stroke_support(
        labels,
        torch.from_numpy(logits)[None].float(),
        torch.from_numpy(scribble.astype(np.int64))[None, None],
    )
    background, unknown = (mask[0, 0].numpy() for mask in (said.background, said.unknown))
    low, high = np.percentile(image, (1, 99))
    grey = np.clip((image - low) / (high - low), 0, 1) * 0.8

    predicted = logits.argmax(0)
    strokes = painted(grey, np.where(scribble == IGNORE, 0, scribble))
    strokes[scribble == 0] = 1
    judged = painted(grey, np.where(background | unknown, 0, predicted))
    judged[background & (predicted > 0)] = FALSE
    judged[unknown & (predicted > 0)] = UNKNOWN
    implied = painted(grey, np.zeros_like(predicted))
    implied[background] = 0.35 * implied[background] + 0.65 * np.array([0.2, 0.45, 0.85])
    panels = {
        "strokes (white: background)": strokes,
        "prediction": painted(grey, predicted),
        "false (red), unknown (yellow)": judged,
        "implied background (blue)": implied,
    }
    figure, axes = pyplot.subplots(1, len(panels), figsize=(12, 3.5), layout="constrained")
    for axis, (title, picture) in zip(axes, panels.items(), strict=True):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title, fontsize=11)
        axis.axis("off")
    figure.savefig(out, dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
