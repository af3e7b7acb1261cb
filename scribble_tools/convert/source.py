"""What a converter finds: the files of each case, and how they are to be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.dataset.label_mapping import LabelMapping
from scribble_tools.images.label_files import read_on_grid

TRAINING = "Tr"


@dataclass(frozen=True)
class SourceCase:
    """The files of one case.

    Attributes:
        name: case name in the data set.
        patient: cases of one patient stay on one side of every split.
        images: one file per channel (or one colour image).
        scribble: label file for training; without one, nothing of the case is annotated.
        dense: dense reference; never trained on.
        part: ``Tr``; ``Val`` or ``Ts`` for cases to predict, whose ``dense`` is for scoring only.
    """

    name: str
    patient: str
    images: tuple[Path, ...]
    scribble: Path | None = None
    dense: Path | None = None
    part: str = TRAINING


@dataclass(frozen=True)
class Source:
    """What a converter found, and how its files are to be read.

    Attributes:
        format: the sub-command, for the record.
        cases: at least one of them with ``part`` ``Tr``.
        scribble_labels: values of the scribble files.
        dense_labels: values of the dense files; default: the scribbles' classes.
        channel_names: channel index to name; nnU-Net derives the normalisation from it.
        read_labels: ``(path, image, the image's file) -> labels (*spatial)`` on the image's grid.
        mixed: accept cases that are annotated wholly or not at all; None: no, and the sub-command
            has no option ``--mixed`` to allow it.
        extra: further entries of dataset.json.
        read_dense: the same as ``read_labels`` for dense files; default: ``read_labels``.
        record: further entries of the conversion record.
        remarks: what is to be said after the conversion, and recorded.
        more_files: that are read besides those of the cases.
    """

    format: str
    cases: Sequence[SourceCase]
    scribble_labels: LabelMapping
    channel_names: Mapping[str, str]
    dense_labels: LabelMapping | None = None
    read_labels: Callable[[Path, sitk.Image, Path], np.ndarray] = read_on_grid
    mixed: bool | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    read_dense: Callable[[Path, sitk.Image, Path], np.ndarray] | None = None
    record: Mapping[str, object] = field(default_factory=dict)
    remarks: Callable[[], Sequence[str]] = tuple
    more_files: Sequence[Path] = ()

    @property
    def mapping_of_dense(self) -> LabelMapping:
        """``dense_labels``, or its default."""
        return self.dense_labels or LabelMapping(self.scribble_labels.classes)
