"""What one training step has seen, predicted and mixed, of some samples, as small host arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nnunetv2_pclmix.method.certainty_label import certainty_label, mean_probabilities
from nnunetv2_pclmix.method.dynamic_mix import Mix
from nnunetv2_pclmix.method.label_encoding import LabelEncoding
from nnunetv2_pclmix.method.network import TrainingOutput
from nnunetv2_pclmix.method.stroke_support import StrokeSupport

ROWS = 3  # samples


@dataclass(frozen=True)
class Column:
    """Maps (samples, rows, columns) over images of the same shape.

    Attributes:
        style: "image" and "uncertainty" show the map itself; "strokes" and "labels" its classes.
        hidden: class that is left transparent.
        outline: true where the mixed image shows its first source; None without a mix.
    """

    title: str
    style: str
    maps: np.ndarray
    images: np.ndarray
    hidden: int = 0
    outline: np.ndarray | None = None


def _host(x: Tensor) -> np.ndarray:
    return (x.float() if x.is_floating_point() else x).cpu().numpy()


class Snapshot:
    """Takes what is shown from a step's tensors; `snapshot_picture` draws it.

    Shown are the samples with most annotation, of a volume the slice with most annotation across
    the patch's first axis: nnU-Net puts the axis of the lowest resolution there.

    Attributes:
        columns: taken so far.
        rows: name of each sample, and the slice that is shown.
        threshold: entropy in nats up to which a voxel is certain; None without contrast.
        largest_uncertainty: entropy in nats where nothing is known.
    """

    def __init__(self, labels: LabelEncoding) -> None:
        self.labels = labels
        self.columns: list[Column] = []
        self.rows: list[str] = []
        self.threshold: float | None = None
        self.largest_uncertainty = 0.0

    def _cut(self, x: Tensor, samples: Sequence[int]) -> Tensor:
        """Of (B, C, *spatial) the pictures (samples, C, rows, columns)."""
        if x.ndim == 4:
            return x[samples].detach()
        places = zip(samples, self._slices, strict=True)
        return torch.stack([x[sample, :, at] for sample, at in places]).detach()

    @torch.no_grad()
    def take(
        self,
        images: Tensor,
        scribble: Tensor,
        output: TrainingOutput,
        threshold: float | None,
        cases: Sequence[str] | None = None,
        support: StrokeSupport | None = None,
    ) -> None:
        """Take the columns of the first pass.

        Args:
            images: (B, C, *spatial), of which the first channel is shown.
            scribble: (B, T, *spatial).
            output: of the network in training mode.
            threshold: entropy in nats up to which a voxel is certain; None without contrast, which
                alone asks for certainty.
            cases: names of the samples, where they are known.
            support: of the strokes, None without.
        """
        labels, nothing = self.labels, self.labels.num_classes
        annotated = labels.exclusive(scribble) != nothing
        most = annotated.flatten(1).sum(1).argsort(descending=True, stable=True)
        self._samples = most[:ROWS].tolist()
        self.rows = [str(cases[k]) if cases is not None else f"sample {k}" for k in self._samples]
        if images.ndim == 5:
            self._slices = annotated[self._samples].flatten(2).sum(2).argmax(1).tolist()
            self.rows = [
                f"{row}\nslice {at}" for row, at in zip(self.rows, self._slices, strict=True)
            ]
        if images.shape[1] > 1:
            self.rows = [f"{row}\nchannel 0 of {images.shape[1]}" for row in self.rows]
        picture = _host(self._cut(images, self._samples)[:, 0])

        def add(title: str, style: str, maps: Tensor, hidden: int = 0) -> None:
            self.columns.append(Column(title, style, _host(maps), picture, hidden))

        strokes = self._cut(scribble, self._samples)
        self.columns.append(Column("image", "image", picture, picture))
        add("scribble", "strokes", labels.exclusive(strokes), nothing)
        main, auxiliary = self._cut(output.main[0], self._samples), None
        alone = output.auxiliary is None
        name = "prediction" if alone else "main decoder"
        add(name, "labels", labels.exclusive(labels.predict(main)))
        if not alone:
            auxiliary = self._cut(output.auxiliary, self._samples)
            add("auxiliary decoder", "labels", labels.exclusive(labels.predict(auxiliary)))
        if support is not None:
            implied = labels.background(strokes, self._cut(support.background, self._samples))
            add("implied background", "labels", labels.exclusive(implied), nothing)
        probabilities = mean_probabilities(labels, main, auxiliary)
        add("uncertainty", "uncertainty", labels.uncertainty(probabilities))
        undecided = labels.probabilities(torch.zeros_like(main[:1, :, :1, :1]))
        self.largest_uncertainty = float(labels.uncertainty(undecided))
        if threshold is not None:
            self.threshold = threshold
            cut = support and support.cut(lambda mask: self._cut(mask, self._samples))
            certain = certainty_label(labels, probabilities, strokes, threshold, cut)
            add("certainty label", "labels", certain, nothing)

    @torch.no_grad()
    def take_mixed(
        self, mix: Mix, images: Tensor, scribble: Tensor, pseudo_label: Tensor | None
    ) -> None:
        """Take the columns of the second pass: the mixed samples whose first source was taken.

        Args:
            mix: what was mixed with what.
            images, scribble, pseudo_label: mixed; shapes as in `take`.
        """
        samples = self._samples
        picture = _host(self._cut(images, samples)[:, 0])
        outline = _host(self._cut(mix.from_first, samples)[:, 0])
        self.columns.append(Column("mixed image", "image", picture, picture, 0, outline))
        for title, style, target, hidden in (
            ("mixed scribble", "strokes", scribble, self.labels.num_classes),
            ("mixed pseudo label", "labels", pseudo_label, 0),
        ):
            if target is not None:
                maps = self.labels.exclusive(self._cut(target, samples))
                # what is ignored in a pseudo label is left transparent, too
                maps = _host(maps.masked_fill(maps == self.labels.num_classes, hidden))
                self.columns.append(Column(title, style, maps, picture, hidden, outline))
