"""Label files on their image's voxel grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.file_kind import NATURAL, ending_of_content
from scribble_tools.images.flat_images import flattened, is_flat
from scribble_tools.images.grids import GridStory, tell_grids
from scribble_tools.images.image_io import geometry_difference
from scribble_tools.images.mismatches import GridMismatch
from scribble_tools.images.resampling import MOST_LOST, Kept, resample_array
from scribble_tools.images.segmentation_files import AS_THEY_ARE, LabelReading, read_labels

FILE, IMAGE = "file", "image"


@dataclass(frozen=True)
class GridRules:
    """What may be done with labels that lie on another voxel grid than their image.

    Attributes:
        geometry: take the labels' place from their own ``file``, or from their ``image``, where
            the sizes agree.
        resample: bring labels to the image's grid (nearest neighbour).
        lose_strokes: even where this loses a class or more than `MOST_LOST` of a file's strokes.
        most_lost: this share; 1 for dense references, of which borders are lost anyway.
        kept: what resampling kept, file by file; filled while files are read.
        laid: files whose place was taken from the image; filled while files are read.
    """

    geometry: str = FILE
    resample: bool = False
    lose_strokes: bool = False
    most_lost: float = MOST_LOST
    kept: list[Kept] = field(default_factory=list)
    laid: list[Path] = field(default_factory=list)


def read_on_grid(
    path: Path,
    image: sitk.Image,
    image_path: Path | None = None,
    rules: GridRules | None = None,
    outside: int = 0,
    reading: LabelReading = AS_THEY_ARE,
) -> np.ndarray:
    """Read a label file (*spatial) that lies on the voxel grid of ``image``.

    Args:
        image_path: the file that ``image`` comes from, for messages about its header.
        rules: default: a file on another grid is refused.
        outside: what is not annotated, and the value of voxels that a resampled file lacks.

    Raises:
        FileNotFoundError, ValueError: no such file, or no labels.
        Mismatch: another dimension.
        GridMismatch: another voxel grid.
    """
    array, label = read_labels(path, reading)
    return fit_to_grid(array, label, path, image, image_path, rules or GridRules(), outside)


def fit_to_grid(
    array: np.ndarray,
    label: sitk.Image,
    path: Path,
    image: sitk.Image,
    image_path: Path | None,
    rules: GridRules,
    outside: int,
) -> np.ndarray:
    """Labels (*spatial) that were read from ``path``, on the grid of ``image``; see `read_on_grid`.

    Args:
        label: has the geometry of ``array``.
    """
    natural = ending_of_content(path) in NATURAL or (
        image_path is not None and ending_of_content(image_path) in NATURAL
    )
    if label.GetDimension() != image.GetDimension() or (natural and is_flat(label)):
        array, label = flattened(array, label, image, natural, rules.geometry == IMAGE)
    if not (difference := geometry_difference(label, image, size_only=natural)):
        return array
    if rules.geometry == IMAGE and label.GetSize() == image.GetSize():
        rules.laid.append(path)
        return array
    if natural:
        raise GridMismatch(f"does not lie on its image's voxel grid: {difference}")
    story = tell_grids(label, path, image, image_path)
    if not rules.resample or story.header_only:
        option = "--geometry image" if story.header_only else "--resample" * story.reordered
        raise GridMismatch(
            f"does not lie on its image's voxel grid: {story.words}", _remedy(story, rules), option
        )
    result, kept = resample_array(array, label, image, outside, path)
    _refuse_losses(kept, rules, story)
    rules.kept.append(kept)
    return result


def _remedy(story: GridStory, rules: GridRules) -> str:
    """What `convert folder` offers."""
    if story.header_only:
        return (
            "The voxels are the same, and only a header is wrong: --geometry image lays the labels "
            "on their image voxel by voxel (look at it then: scribble_tools preview)"
            + ". --resample would move the strokes, and is not done"
            * rules.resample
        )
    if story.reordered:
        return (
            "--resample brings every voxel to its place and loses none"
            + "; --geometry image if the header is wrong and the order is not" * story.same_size
        )
    if story.same_size:
        return (
            "Are they a pair? If the voxels are the same one by one and only a header is wrong, "
            "say --geometry image; if the strokes were really drawn on another grid of the same "
            "scan, --resample"
        )
    return (
        "Are they a pair? Only if the strokes were drawn on another grid of the same scan, say "
        "--resample to bring them to the image's"
    )


def _refuse_losses(kept: Kept, rules: GridRules, story: GridStory) -> None:
    if rules.lose_strokes or (not kept.lost and 1 - kept.share <= rules.most_lost):
        return
    counts = ", ".join(f"{kept} of {before} of {v}" for v, (before, kept) in kept.voxels.items())
    remedy = "--lose-strokes if that is meant"
    if story.same_size:
        remedy += "; --geometry image if the voxels are the same and only a header is wrong"
    raise GridMismatch(
        f"would lose strokes by --resample: of its labelled voxels {100 * kept.share:.3g} % stay "
        f"in their place ({counts}); {story.words}",
        f"Are they a pair? Draw wider strokes, or on the image's own grid. {remedy}",
    )


def grid_remarks(rules: GridRules, role: str) -> list[str]:
    """What became of the files of one role that lay on another grid, to be said to the user."""
    remarks = []
    if laid := rules.laid:
        remarks.append(
            f"{len(laid)} {role} files were laid on their images voxel by voxel, such as "
            f"{min(laid)}: look at them (scribble_tools preview)"
        )
    if kept := rules.kept:
        worst = min(kept, key=lambda one: (one.share, one.path))
        before = sum(voxels for one in kept for voxels, _ in one.voxels.values())
        after = sum(voxels for one in kept for _, voxels in one.voxels.values())
        remarks.append(
            f"{len(kept)} {role} files were resampled: {after} of {before} labelled voxels are in "
            f"their place, {100 * worst.share:.3g} % of those in {worst.path}"
        )
        remarks += [
            f"{one.path}: nothing is left of the label {', '.join(map(str, one.lost))}"
            for one in kept
            if one.lost
        ]
    return remarks
