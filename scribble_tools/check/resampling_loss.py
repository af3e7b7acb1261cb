"""How much of the scribbles nnU-Net's resampling to the planned spacing keeps, by doing it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import scribble_tools.images.image_io  # noqa: F401  nnU-Net's readers then pass on no ITK warnings

KEEPS_LINES = "0.25.4"  # the first batchgenerators that does; older ones lose nearly all thin ones
UPDATE = f"pip install 'batchgenerators>={KEEPS_LINES}'"


def loses_thin_lines() -> bool:
    """Whether the batchgenerators that is installed is too old to keep thin lines."""
    try:
        installed = version("batchgenerators")
    except PackageNotFoundError:
        return False
    own, first = (tuple(map(int, re.findall(r"\d+", v)[:3])) for v in (installed, KEEPS_LINES))
    return own < first


def count_kept(
    before: np.ndarray, after: np.ndarray, values: Sequence[int]
) -> dict[int, tuple[int, float, int]]:
    """Count what is left of every label value on another grid of the same extent.

    Args:
        before, after: label maps (*spatial) of different shapes that cover the same space.

    Returns:
        value to: voxels before; voxels after, in units of voxels before; voxels that lie under
        their own label afterwards.
    """
    nearest = [
        np.minimum(((np.arange(old) + 0.5) * new / old).astype(int), new - 1)
        for old, new in zip(before.shape, after.shape, strict=True)
    ]
    seen = after[np.ix_(*nearest)]
    size = before.size / after.size
    return {
        value: (
            np.count_nonzero(before == value),
            np.count_nonzero(after == value) * size,
            np.count_nonzero((before == value) & (seen == value)),
        )
        for value in values
    }


def resample_case(
    plans_file: Path,
    configurations: Sequence[str],
    values: Sequence[int],
    files: tuple[Sequence[Path], Path],
) -> dict[str, dict[int, tuple[int, float, int]]]:
    """Bring the labels of one case to the planned spacing as nnU-Net's preprocessor does.

    Args:
        values: label values to count.
        files: the case's images (nnU-Net crops to where they are not zero) and its labels.

    Returns:
        configuration to `count_kept`'s result.

    Raises:
        Exception: whatever nnU-Net raises on files or plans that it cannot use.
    """
    from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
    from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(str(plans_file))
    reader = plans.image_reader_writer_class()
    images, properties = reader.read_images([str(path) for path in files[0]])
    labels, _ = reader.read_seg(str(files[1]))
    axes = plans.transpose_forward
    spacing = [properties["spacing"][axis] for axis in axes]
    images, labels = (a.transpose(0, *(axis + 1 for axis in axes)) for a in (images, labels))
    labels = crop_to_nonzero(images, labels.copy())[1]
    result = {}
    for name in configurations:
        configuration = plans.get_configuration(name)
        target = [*configuration.spacing]
        if len(target) < labels.ndim - 1:  # 2d: slices stay as they are
            target = [spacing[0], *target]
        shape = compute_new_shape(labels.shape[1:], spacing, target)
        after = configuration.resampling_fn_seg(labels, shape, spacing, target)
        # -1 marks background outside the body; nnU-Net's augmentation turns it into 0
        result[name] = count_kept(np.maximum(labels[0], 0), np.maximum(after[0], 0), values)
    return result


def add_up(
    cases: Sequence[Mapping[str, Mapping[int, tuple[int, float, int]]]],
    classes: Mapping[str, Sequence[int]],
) -> dict[tuple[str, str], tuple[float, float]]:
    """Per cent of volume and of voxels in place, over all cases.

    Returns:
        (configuration, class name) to (volume, place); classes without a voxel are left out.
    """
    result = {}
    for configuration in cases[0] if cases else ():
        for name, values in classes.items():
            triples = [case[configuration][value] for case in cases for value in values]
            before, volume, place = map(sum, zip(*triples, strict=True))
            if before:
                result[configuration, name] = (100 * volume / before, 100 * place / before)
    return result
