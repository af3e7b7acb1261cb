"""Why the voxel grids of a label file and its image differ, and which header is to blame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.images.image_io import TOLERANCE, geometry_difference, with_digits
from scribble_tools.images.nifti import NiftiHeader, read_header

LPS = np.diag([-1.0, -1.0, 1.0])  # from NIfTI's right and front to ITK's left and back


@dataclass(frozen=True)
class GridStory:
    """What tells two grids apart.

    Attributes:
        words: the difference, and what the headers say of it.
        header_only: the voxels are the same one by one: size and spacing agree, and a header that
            says nothing, or two things, explains the rest.
        reordered: the voxels are the same in another order, such as mirrored along an axis.
        same_size: the labels could be laid on the image as they are.
    """

    words: str
    header_only: bool = False
    reordered: bool = False
    same_size: bool = False


def matrix_of(image: sitk.Image) -> np.ndarray:
    """(n + 1, n + 1) from voxel (x, y, z) to mm, as ITK counts them."""
    n = image.GetDimension()
    matrix = np.eye(n + 1)
    matrix[:n, :n] = np.reshape(image.GetDirection(), (n, n)) * image.GetSpacing()
    matrix[:n, n] = image.GetOrigin()
    return matrix


def _reordered(label: sitk.Image, image: sitk.Image) -> str:
    """How the label's voxels are the image's in another order; empty when they are not."""
    n = image.GetDimension()
    between = np.linalg.solve(matrix_of(image), matrix_of(label))
    axes = np.round(between[:n, :n])
    if not np.allclose(between[:n, :n], axes, atol=1e-2) or (abs(axes).sum(axis=0) != 1).any():
        return ""
    if (abs(axes).sum(axis=1) != 1).any():
        return ""
    size, its = np.array(label.GetSize()), np.array(image.GetSize())
    corners = between[:n, n] + np.outer((0, 1), axes @ (size - 1))
    if not np.allclose(np.sort(corners, axis=0), np.outer((0, 1), its - 1), atol=0.05):
        return ""
    words = [] if np.array_equal(abs(axes), np.eye(n)) else ["axes exchanged"]
    if names := [name for name, sign in zip("xyz", axes.sum(axis=1), strict=False) if sign < 0]:
        words.append(f"{', '.join(names)} reversed")
    return " and ".join(words)


def _codes(header: NiftiHeader) -> str:
    return f"qform_code {header.qform_code}, sform_code {header.sform_code}"


def _forms(header: NiftiHeader, size: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The geometries that programs may take from a header, from voxel to mm as ITK counts."""
    forms = {}
    if header.qform_code > 0:
        forms["qform"] = header.qform
    if header.sform_code > 0:
        forms["sform"] = header.sform
    if not forms:
        # nibabel's: the middle of the image is 0, and x goes from right to left
        scale = np.array(header.spacing) * (-1, 1, 1)
        centred = np.eye(4)
        centred[:3, :3] = np.diag(scale)
        centred[:3, 3] = -scale * (np.array([*size, 1, 1, 1][:3]) - 1) / 2
        forms["geometry that nibabel makes up for it"] = centred
        plain = np.eye(4)
        plain[:3, :3] = np.diag(header.spacing)
        forms["geometry that ITK makes up for it"] = np.diag([*np.diag(LPS), 1]) @ plain
    turn = np.diag([*np.diag(LPS), 1.0])
    return {name: turn @ form for name, form in forms.items()}


def _is_default(image: sitk.Image) -> bool:
    """Whether the geometry is what a library writes that was told of none."""
    n = image.GetDimension()
    plain = np.allclose(image.GetSpacing(), 1) and np.allclose(image.GetOrigin(), 0)
    return plain and np.array_equal(abs(np.reshape(image.GetDirection(), (n, n))), np.eye(n))


def _what_a_header_says(
    whose: str, path: Path | None, own: sitk.Image, other_whose: str, other: sitk.Image
) -> tuple[str, bool]:
    """A sentence on one of the two files, and whether it explains the difference."""
    header = read_header(path) if path is not None else None
    if header is not None and own.GetDimension() == 3:
        target = matrix_of(other)
        agreeing = [
            name
            for name, form in _forms(header, own.GetSize()).items()
            if np.allclose(form, target, rtol=0, atol=TOLERANCE)
        ]
        if header.qform_code <= 0 and header.sform_code <= 0:
            also = f", and {other_whose} has the {agreeing[0]}" if agreeing else ""
            return (
                f"{whose} has neither a qform nor an sform ({_codes(header)}), so that every "
                f"program makes up its place{also}",
                True,
            )
        if agreeing:
            return (
                f"{whose} has a qform and an sform that disagree ({_codes(header)}); ITK and "
                f"nnU-Net take one of them, and {other_whose} agrees with the {agreeing[0]}",
                True,
            )
    if _is_default(own) and not _is_default(other):
        return f"{whose} has the geometry of a program that was told of none (1 mm from 0)", True
    return "", False


def headers_in_words(
    ours: tuple[str, Path | None, sitk.Image], other: tuple[str, Path | None, sitk.Image]
) -> list[tuple[str, bool]]:
    """What the headers of two files of one size tell of why their grids differ.

    Args:
        ours, other: what the file is called, itself, and what was read from it.

    Returns:
        Sentences, and whether each explains the difference.
    """
    told = []
    for (whose, path, own), (other_whose, _, against) in ((other, ours), (ours, other)):
        words, explains = _what_a_header_says(whose, path, own, other_whose, against)
        told += [(words, explains)] if words else []
    return told


def tell_grids(
    label: sitk.Image, path: Path, image: sitk.Image, image_path: Path | None = None
) -> GridStory:
    """Why two grids of the same number of axes differ.

    Args:
        path, image_path: the files that both come from, whose headers are looked into.
    """
    same_size = label.GetSize() == image.GetSize()
    differences = geometry_difference(label, image)
    if order := _reordered(label, image):
        return GridStory(
            f"its voxels are the image's in another order ({order}; {differences})",
            reordered=True,
            same_size=same_size,
        )
    if not same_size:
        a, b = with_digits(label.GetSpacing(), image.GetSpacing())
        c, d = with_digits(label.GetOrigin(), image.GetOrigin())
        turned = not np.allclose(label.GetDirection(), image.GetDirection(), atol=TOLERANCE)
        return GridStory(
            f"it has size {label.GetSize()}, spacing {a}, origin {c}; its image size "
            f"{image.GetSize()}, spacing {b}, origin {d}"
            + "; their axes have other directions"
            * turned
        )
    told = headers_in_words(("the label", path, label), ("the image", image_path, image))
    same_spacing = np.allclose(label.GetSpacing(), image.GetSpacing(), rtol=0, atol=TOLERANCE)
    words = f"size {'and spacing agree' if same_spacing else 'agrees'}, but {differences} (label "
    words += "against image)" + "".join(f"; {sentence}" for sentence, _ in told)
    return GridStory(words, any(explains for _, explains in told), same_size=True)
