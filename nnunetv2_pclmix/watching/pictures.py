"""When a training draws which picture, and that it goes on where one cannot be drawn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2_pclmix.method.label_encoding import LabelEncoding
from nnunetv2_pclmix.watching.curves import draw_training_curves
from nnunetv2_pclmix.watching.snapshot_picture import draw_snapshot
from nnunetv2_pclmix.watching.snapshots import Snapshot


class TrainingPictures:
    """Draws the curves after every epoch, and now and then the samples of its last iteration.

    Args:
        folder: of the training.
        labels: of the data set.
        classes: names, the background first.
        spacing: of the patches, in mm.
        warn: takes what goes wrong, at most once.
    """

    def __init__(
        self,
        folder: Path,
        labels: LabelEncoding,
        classes: Sequence[str],
        spacing: Sequence[float],
        warn: Callable[[str], None],
    ) -> None:
        self.folder, self.labels, self.classes = folder, labels, classes
        self.spacing = tuple(spacing)[-2:]
        self._warn = warn
        self._warned = False
        self._snapshot: Snapshot | None = None

    @staticmethod
    def are_due(epoch: int, last_epoch: int, every: int) -> bool:
        """Whether the samples of an epoch's last iteration are drawn; ``every`` 0: never."""
        return every > 0 and (epoch % every == 0 or epoch == last_epoch)

    @contextlib.contextmanager
    def _training_goes_on(self) -> Iterator[None]:
        """A full disk or another release of matplotlib is no reason to lose a training."""
        try:
            yield
        except Exception as error:
            if not self._warned:
                self._warn(f"WARNING: a picture cannot be drawn ({type(error).__name__}: {error})")
            self._warned = True
            self._snapshot = None

    def take(self, *args: Any) -> None:
        """Take the first pass of an iteration that is to be drawn, see `Snapshot.take`."""
        with self._training_goes_on():
            self._snapshot = Snapshot(self.labels)
            self._snapshot.take(*args)

    def take_mixed(self, *args: Any) -> None:
        """Take its second pass, see `Snapshot.take_mixed`."""
        with self._training_goes_on():
            if self._snapshot is not None:
                self._snapshot.take_mixed(*args)

    def draw(self, epoch: int, series: Mapping[str, Sequence]) -> None:
        """Draw the logged series, and what was taken."""
        with self._training_goes_on():
            draw_training_curves(series, self.classes, self.folder)
        with self._training_goes_on():
            if self._snapshot is not None:
                draw_snapshot(self._snapshot, epoch, self.classes, self.spacing, self.folder)
                self._snapshot = None
