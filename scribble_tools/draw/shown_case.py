"""One case ready to be drawn: its files, read and cut into slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure

from scribble_tools.dataset.raw import (
    read_label_names,
    read_label_set,
)
from scribble_tools.draw.contact_sheet import (
    IMAGE,
    Panel,
    Shades,
    contact_sheet,
    labelled_slices,
)
from scribble_tools.draw.display_plane import DisplayPlane, display_plane
from scribble_tools.draw.surroundings import outside_in_words, surroundings
from scribble_tools.images.file_integrity import count_not_finite
from scribble_tools.images.file_kind import NATURAL, ending_of_content
from scribble_tools.images.flat_images import flattened
from scribble_tools.images.image_io import geometry_difference, read_image
from scribble_tools.images.mismatches import Mismatch
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.images.slicer_segmentation import is_segmentation
from scribble_tools.wording import counted


@dataclass(frozen=True)
class ShownFiles:
    """The files shown of one case; predictions by the title of their column.

    Attributes:
        image_title: of the image's column, see `title_of_channel`.
        uncertainty: a map from 0 to 1, in pictures to 255.
    """

    name: str
    image: Path
    scribble: Path | None = None
    predictions: Mapping[str, Path] = field(default_factory=dict)
    reference: Path | None = None
    image_title: str = IMAGE
    uncertainty: Path | None = None

    @property
    def label_maps(self) -> list[tuple[str, Path]]:
        """The columns beside the image: title and file."""
        given = (
            ("scribble", self.scribble),
            *self.predictions.items(),
            ("reference", self.reference),
        )
        return [(title, path) for title, path in given if path is not None]


def title_of_channel(names: Sequence[str], channel: int = 0) -> str:
    """Which of an image's channels is shown, where it has several and a file holds one."""
    if len(names) == 1 or not 0 <= channel < len(names):
        return IMAGE
    return f"{names[channel]} (channel {channel} of {len(names)})"


def _most_frequent(labels: np.ndarray) -> int:
    values, counts = np.unique(labels, return_counts=True)
    return int(values[np.argmax(counts)])


def grey_or_colours(image: sitk.Image) -> np.ndarray:
    """(*spatial), or (*spatial, 3) of RGB; an alpha channel is left out."""
    array = sitk.GetArrayFromImage(image)
    channels = image.GetNumberOfComponentsPerPixel()
    if channels == 1:
        return array
    return array[..., :3] if channels >= 3 else array[..., 0]


@dataclass(frozen=True)
class ShownCase:
    """One case ready to be drawn: image and label maps cut into slices, and what to say of them."""

    image: np.ndarray
    panels: Sequence[Panel]
    plane: DisplayPlane
    label_names: Mapping[int, str]
    notes: Sequence[str]
    image_title: str = IMAGE
    shades: Sequence[Shades] = ()

    def cropped(self) -> ShownCase:
        """The surroundings of strokes and reference alone, see `surroundings`."""
        window = surroundings(self.panels, self.plane.spacing_mm)
        if window is None:
            return self
        part = (slice(None), *window)
        return replace(
            self,
            image=self.image[part],
            panels=[replace(panel, labels=panel.labels[part]) for panel in self.panels],
            notes=[*self.notes, outside_in_words(self.panels, window)],
            shades=[replace(own, values=own.values[part]) for own in self.shades],
        )

    def with_part(self, slices: Sequence[int]) -> ShownCase:
        """With a note of how many there are, if these are not all slices that have labels."""
        number = len(labelled_slices(self.panels[0]))
        what = "annotated" if self.panels[0].strokes else "labelled"
        if not number:
            return replace(self, notes=[*self.notes, f"Nothing is {what} in this case."])
        if number <= len(slices):
            return self
        return replace(self, notes=[*self.notes, f"{len(slices)} of {number} {what} slices."])

    def sheet(self, slices: Sequence[int], title: str, sheet_inches: float | None = None) -> Figure:
        """The contact sheet with these slices as rows, see `contact_sheet`."""
        return contact_sheet(
            self.image,
            self.panels,
            self.plane.spacing_mm,
            slices,
            self.label_names,
            title,
            self.plane.edges,
            self.notes,
            sheet_inches,
            self.image_title,
            self.shades,
        )


def read_case(files: ShownFiles, dataset_json: Path | None = None) -> ShownCase:
    """Read the files of one case.

    Args:
        dataset_json: with label names and the ignore label. Without an ignore label, the scribble's
            most frequent value is taken as unlabelled, and the notes say so.

    Raises:
        FileNotFoundError, ValueError: files are missing, unusable or of another size; the message
            lists all of them.
    """
    if not files.label_maps:
        raise ValueError(f"{files.name}: nothing to show over the image, no scribble or prediction")
    # of predictions the values are dataset.json's, as `predict` writes them
    drawn = [path for path in (files.scribble, files.reference) if path is not None]
    if slicer := [path for path in drawn if is_segmentation(path)]:
        raise ValueError(f"{slicer[0]} is of 3D Slicer: convert it (convert folder) to preview it")
    image = read_image(files.image)
    plane = display_plane(image, files.image)
    names = read_label_names(dataset_json) if dataset_json else {}
    unlabelled = read_label_set(dataset_json).ignore if dataset_json else None
    notes, problems, panels = [plane.description], [], []
    if number := count_not_finite(files.image, sitk.GetArrayViewFromImage(image)):
        notes.append(
            f"{counted(number, 'voxel of the image is NaN', 'voxels of the image are NaN')}"
            " or infinite."
        )
    for title, path in files.label_maps:
        try:
            labels, source = read_labels(path)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
            continue
        natural = ending_of_content(files.image) in NATURAL
        if source.GetDimension() != image.GetDimension():
            try:
                labels, source = flattened(labels, source, image, natural, as_stored=False)
            except Mismatch as error:
                problems.append(f"{path} {error}")
                continue
        difference = geometry_difference(source, image, size_only=natural)
        if image.GetSize() != source.GetSize():
            problems.append(f"{path} does not fit {files.image}: {difference}")
            continue
        if difference:
            notes.append(f"The header of the {title} is unlike the image's: {difference}.")
        hidden = 0
        if path == files.scribble:
            hidden = _most_frequent(labels) if unlabelled is None else unlabelled
            if unlabelled is None:
                notes.append(f"Taken as unlabelled: {hidden}, the scribble's most frequent value.")
        panels.append(Panel(title, plane.cut(labels), hidden, strokes=path == files.scribble))
    if problems:
        raise ValueError("\n".join(problems))
    held = set().union(*(np.unique(panel.labels).tolist() for panel in panels))
    names = {value: name for value, name in names.items() if value in held}
    picture = plane.cut(grey_or_colours(image))
    title = IMAGE if image.GetNumberOfComponentsPerPixel() > 1 else files.image_title
    shades = []
    if files.uncertainty is not None:
        values = sitk.GetArrayFromImage(read_image(files.uncertainty))
        values = values / np.float32(255 if values.dtype == np.uint8 else 1)
        shades = [Shades("uncertainty", plane.cut(values))]
        notes.append("Uncertainty: black is certain, white is not.")
    return ShownCase(picture, panels, plane, names, notes, title, shades)
