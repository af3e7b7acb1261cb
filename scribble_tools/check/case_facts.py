"""Are the files of a case readable and on one voxel grid, and what do they hold?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import binary_erosion

from scribble_tools.check.case_files import WITHOUT_GEOMETRY, TrainingCase
from scribble_tools.check.description import Description
from scribble_tools.check.findings import Finding
from scribble_tools.images.file_integrity import count_not_finite
from scribble_tools.images.image_io import geometry_difference, read_image
from scribble_tools.images.label_appearance import has_few_values
from scribble_tools.images.segmentation_files import labels_of
from scribble_tools.wording import counted

DAMAGED = "Copy or export the file again; take the case out if that does not help"


@dataclass(frozen=True)
class CaseFacts:
    """What the files of a case hold.

    Attributes:
        counts: voxels of every label value; empty when the labels cannot be read.
        voxels: a digest of all channels', the same for copies of them, whatever their header and
            type of numbers; empty when one cannot be read or its voxels are all alike.
        thin_on_zero: nearly everything is 0 and the rest is thin lines, so that 0 may well mean
            unlabelled.
        compared: annotated voxels that also have a dense label, ``contradicting`` of them another.
        slices: of a volume of which something is annotated, as nnU-Net's 2d configuration cuts it;
            ``bare_slices`` of them hold no annotation.
        dimension: of the labels; 0 when they cannot be read.
    """

    case: str
    findings: tuple[Finding, ...]
    counts: Mapping[int, int] = field(default_factory=dict)
    voxels: str = ""
    thin_on_zero: bool = False
    compared: int = 0
    contradicting: int = 0
    slices: int = 0
    bare_slices: int = 0
    dimension: int = 0


def _channels(image: sitk.Image) -> tuple[int, sitk.Image]:
    """Number of channels in a file, and the grid of one of them (4D files hold several)."""
    if image.GetDimension() == 4:
        return image.GetSize()[3], image[:, :, :, 0]
    return image.GetNumberOfComponentsPerPixel(), image


def _digest(array: np.ndarray) -> str:
    """The same for the same voxels, stored as integers or as floats."""
    digest = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array, np.float32))
    return digest.hexdigest()


def _is_thin(foreground: np.ndarray) -> bool:
    """Whether a mask (*spatial) consists of lines: most of it goes when its border is taken off.

    An organ that was cut by any plane leaves an area, a line of up to three voxels does not.
    """
    structure = np.ones((1,) * (foreground.ndim - 2) + (3, 3), bool)
    return binary_erosion(foreground, structure).sum() < 0.4 * foreground.sum()


def examine_case(about: Description, files: TrainingCase) -> CaseFacts:
    """Read all files of a case; what is wrong with them becomes findings."""
    findings: list[Finding] = []

    def add(severity: str, code: str, message: str, remedy: str) -> None:
        # messages of other modules hold whole paths, too long for the table
        message = message.replace(f"{files.label.parent.parent}{os.sep}", "")
        findings.append(Finding(severity, code, files.case, message, remedy))

    size_only = about.file_ending in WITHOUT_GEOMETRY
    num_images = num_channels = 0
    grid, digests, like_labels = None, [], []
    for path in files.images:
        try:
            image = read_image(path)
        except (OSError, ValueError) as error:
            add("error", "image-unreadable", str(error), DAMAGED)
            continue
        array = sitk.GetArrayViewFromImage(image)
        num_images += 1
        if n := count_not_finite(path, array):
            add(
                "error",
                "image-not-finite",
                f"{path.name}: "
                f"{counted(n, 'voxel is NaN', 'voxels are NaN')}"
                " or infinite; nnU-Net stops at them, or takes "
                "them for 0 (NIfTI)",
                "Replace them by a value that makes sense (often 0 or the lowest intensity)",
            )
        elif array.min() == array.max():
            add(
                "error",
                "image-constant",
                f"{path.name}: every voxel is {array.flat[0]:g}",
                "The file is empty or was exported wrongly: " + DAMAGED,
            )
        else:
            digests.append(_digest(array))
            like_labels += [path.name] * has_few_values(array)
        channels, own_grid = _channels(image)
        num_channels += channels
        grid = grid or own_grid
        if difference := geometry_difference(own_grid, grid, size_only=size_only):
            add(
                "error",
                "channel-geometry",
                f"{path.name} does not lie on the voxel grid of {files.images[0].name}: "
                f"{difference}",
                "Register and resample the channels onto the first one",
            )
    names = [path.name for path in files.images]
    if like_labels and like_labels == names:
        add(
            "note",  # drawn images have few values, too
            "image-like-labels",
            f"{', '.join(names)}: few whole values, as labels have",
            "Are these the images? A network trained on label maps segments nothing else",
        )
    voxels = " ".join(digests) if len(digests) == len(names) else ""
    if about.channels and num_images == len(names) and num_channels != len(about.channels):
        add(
            "error",
            "channels",
            f"{num_channels} channels ({', '.join(names)}); dataset.json names "
            f"{len(about.channels)} ({', '.join(about.channels)})",
            "Every case needs the same channels, _0000 to the last: add the missing file or "
            "correct channel_names",
        )
    try:
        label = read_image(files.label)
    except (OSError, ValueError) as error:
        add("error", "label-unreadable", str(error), DAMAGED)
        return CaseFacts(files.case, tuple(findings), voxels=voxels)
    if grid is not None and (difference := geometry_difference(label, grid, size_only=size_only)):
        add(
            "error",
            "label-geometry",
            f"{files.label.name} does not lie on its image's voxel grid: {difference}",
            "Is it the label of another image? If only the header differs, copy the image's; else "
            "resample with nearest neighbour (scribble_tools convert folder does it when asked)",
        )
    try:
        array = labels_of(label, files.label)
    except ValueError as error:
        add(
            "error",
            "label-not-integer",
            str(error),
            "Export an integer label map; resample labels with nearest neighbour only",
        )
        return CaseFacts(files.case, tuple(findings), voxels=voxels)
    values, numbers = np.unique(array, return_counts=True)
    counts = dict(zip(values.tolist(), numbers.tolist(), strict=True))
    _judge_values(add, counts, about)
    facts = {"counts": counts, "voxels": voxels, "dimension": array.ndim}
    if about.labels is not None:
        ignore = about.labels.ignore
        annotated = np.full(array.shape, True) if ignore is None else array != ignore
        foreground = annotated & (array > 0)
        mostly_zero = counts.get(0, 0) > array.size / 2 and annotated.mean() > 0.95
        facts["thin_on_zero"] = bool(
            mostly_zero and foreground.any() and array.ndim > 1 and _is_thin(foreground)
        )
        if array.ndim == 3 and annotated.any():
            across = int(np.argmax(np.round(label.GetSpacing()[::-1], 3)))
            held = annotated.any(axis=tuple({0, 1, 2} - {across}))
            facts |= {"slices": held.size, "bare_slices": int(np.count_nonzero(~held))}
        if files.dense is not None:
            facts |= _compare_with_dense(
                add, files.dense, label, array, annotated, ignore, size_only
            )
    return CaseFacts(files.case, tuple(findings), **facts)


def _judge_values(
    add: Callable[[str, str, str, str], None], counts: Mapping[int, int], about: Description
) -> None:
    if negative := [v for v in counts if v < 0]:
        add(
            "error",
            "label-negative",
            f"negative label values {negative}: nnU-Net takes -1 for background, "
            "and stops at others",
            "Map them to ignore or to a class (scribble_tools convert folder)",
        )
    if about.labels is None:
        return
    known = about.labels.values | {about.labels.ignore}
    if unknown := [v for v in counts if v >= 0 and v not in known]:
        seen = ", ".join(f"{v} ({counted(counts[v], 'voxel')})" for v in unknown[:5])
        add(
            "error",
            "label-unknown",
            f"values that dataset.json does not name: {seen}{' ...' if unknown[5:] else ''}",
            "Does one of them mean unlabelled (often 255, 4 or 0)? Map it to ignore; add a class "
            "to dataset.json, or convert again (some tools renumber labels on saving)",
        )


def _compare_with_dense(
    add: Callable[[str, str, str, str], None],
    path: Path,
    label: sitk.Image,
    array: np.ndarray,
    annotated: np.ndarray,
    ignore: int | None,
    size_only: bool,
) -> dict[str, int]:
    """Compare annotated voxels with the dense reference, where that is annotated too."""
    remedy = "The dense reference is for scoring only: replace it or take it away"
    try:
        reference = read_image(path)
        dense = labels_of(reference, path)
    except (OSError, ValueError) as error:
        add("warning", "dense-unreadable", str(error), remedy)
        return {}
    if difference := geometry_difference(reference, label, size_only=size_only):
        add("warning", "dense-geometry", f"dense reference on another grid: {difference}", remedy)
        return {}
    both = annotated if ignore is None else annotated & (dense != ignore)
    compared = int(np.count_nonzero(both))
    wrong = int(np.count_nonzero(both & (array != dense)))
    if compared and wrong > 0.01 * compared:
        add(
            "error" if wrong > 0.1 * compared else "warning",
            "contradicts-dense",
            f"{100 * wrong / compared:.1f} % of {compared} annotated voxels contradict "
            "labelsTr_dense",
            "Look at both with scribble_tools preview --scribble ... --ref ...: shifted, flipped "
            "or from another case? Were class values swapped?",
        )
    return {"compared": compared, "contradicting": wrong}
