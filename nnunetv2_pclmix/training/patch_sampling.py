"""Training patches from anywhere in the image, not only from around the annotations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform

OUTSIDE = -1
"""nnU-Net's label for what is padded, and for annotated background where the image is zero."""
ANNOTATED_OUTSIDE = -2
"""Our label for the second of the two; negative, too, as nnU-Net's masking asks for."""


class TellsPadding:
    """Labels of a case, lazily read, in which `OUTSIDE` reads as `ANNOTATED_OUTSIDE`.

    nnU-Net's preprocessing writes -1 where the image is zero (outside a skull-stripped brain) and
    the annotation is background, and its loader and augmentation pad with the same -1. Only before
    that can the two be told apart: one is annotated, the other is not.
    """

    def __init__(self, labels: Any) -> None:
        self.labels = labels
        self.shape = labels.shape

    def __getitem__(self, place: Any) -> np.ndarray:
        """The labels in ``place``, as an array."""
        labels = np.asarray(self.labels[place])
        return np.where(labels == OUTSIDE, labels.dtype.type(ANNOTATED_OUTSIDE), labels)


class PatchesAnywhere:
    """A training data set of nnU-Net's whose patches lie anywhere, for a share of the draws.

    With an ignore label nnU-Net's loader centres every patch on an annotated voxel, which it finds
    in a case's ``class_locations``. What lies further from all annotations than half a patch is
    then never seen in training, though it is predicted later: most false islands lie there. Here
    the list of annotated voxels is replaced by a random place, for ``share`` of the draws, and for
    every draw from a case without any annotation. Patches that nnU-Net centres on a foreground
    class stay as they are. Everything else is the wrapped data set's.

    The labels tell padding from annotation, see `TellsPadding`.

    Args:
        dataset: nnU-Net's training data set.
        annotated_key: the loader's key in ``class_locations`` for all annotated voxels.
        patch_size: of the configuration, in voxels; 2D patches lie in any slice.
        share: of the draws, in [0, 1].
    """

    def __init__(
        self, dataset: Any, annotated_key: tuple, patch_size: Sequence[int], share: float
    ) -> None:
        self.dataset = dataset
        self.identifiers = dataset.identifiers
        self.annotated_key = annotated_key
        self.patch_size = tuple(patch_size)
        self.share = share

    def load_case(self, identifier: str) -> tuple:
        """Data, labels, previous stage's labels and properties of a case."""
        data, labels, previous, properties = self.dataset.load_case(identifier)
        locations = properties["class_locations"]
        if np.random.uniform() < self.share or not len(locations.get(self.annotated_key, ())):
            place = self.random_centre(data.shape[1:])
            locations = {**locations, self.annotated_key: np.array([[0, *place]])}
            properties = {**properties, "class_locations": locations}
        return data, TellsPadding(labels), previous, properties

    def random_centre(self, shape: Sequence[int]) -> list[int]:
        """Centre of a random patch that does not leave an image of this shape where it can."""
        patch = (1,) * (len(shape) - len(self.patch_size)) + self.patch_size
        low = [p // 2 for p in patch]
        high = [n - p + p // 2 for n, p in zip(shape, patch, strict=True)]
        return [
            np.random.randint(a, b + 1) if a <= b else n // 2
            for a, b, n in zip(low, high, shape, strict=True)
        ]


def telling_padding(
    get_transforms: Callable[..., ComposeTransforms], padded_as: int | None
) -> Callable[..., ComposeTransforms]:
    """nnU-Net's or a variant's ``get_training_transforms``, in which padding (-1) has a label.

    nnU-Net makes it background: right for dense labels, but with scribbles it would be most of
    what is annotated in a batch, and would outweigh the strokes in the partial cross-entropy.

    Args:
        padded_as: the ignore label; None leaves it to nnU-Net.
    """

    @functools.wraps(get_transforms)
    def get_training_transforms(*args: Any, **kwargs: Any) -> ComposeTransforms:
        transforms = get_transforms(*args, **kwargs)
        steps = transforms.transforms
        at = next(i for i, step in enumerate(steps) if isinstance(step, RemoveLabelTansform))
        if padded_as is not None:
            steps[at].set_to = padded_as
        steps.insert(at, RemoveLabelTansform(ANNOTATED_OUTSIDE, 0))
        return transforms

    return get_training_transforms
