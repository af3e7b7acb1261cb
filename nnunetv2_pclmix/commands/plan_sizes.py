"""Which spacing, patch, batch and features fit a data set, a machine and the time that there is.

What matters, in this order, as measured on hearts (docs/results.md): that the patch shows nearly
the whole image, so that the network knows where it is; a few thousand iterations; and only then
small voxels. Twice the voxel size cost less than a hundredth of Dice there, a third of the
iterations a fifth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

ENOUGH_EPOCHS = 20
COARSER = 1.25  # from one spacing that is tried to the next
LONGEST_AXIS = {2: 96, 3: 48}  # voxels of a patch, below which the spacing is not made coarser
BATCHES = {2: (8, 4), 3: (4, 2)}
FIRST_FEATURES, MOST_FEATURES = 16, 128
FEWEST_STAGES = 3  # nnU-Net's deep supervision gives the coarsest level no weight
SMALLEST_MAP = 4  # voxels per axis in the coarsest stage, as nnU-Net's planner has it
COVERED = 0.75  # of the image, along an axis: from here on a patch shows most of it
ITERATIONS, VALIDATION_ITERATIONS = 250, 50  # of one epoch of nnU-Net
PASS_OF_VALIDATION = 1 / 3  # of an iteration's time: no gradients
BYTES_PER_VOXEL = 16  # of a feature map in float32: itself, its norm, and the gradients of both
FIXED_GB = 1.5  # torch, nnU-Net and its workers


@dataclass(frozen=True)
class Sizes:
    """What reduced plans have of their own.

    Attributes:
        spacing: mm per axis of the configuration, two or three.
        patch: voxels per axis.
        batch: samples per iteration.
        features: channels per stage.
    """

    spacing: tuple[float, ...]
    patch: tuple[int, ...]
    batch: int
    features: tuple[int, ...]


@dataclass(frozen=True)
class Choice:
    """Sizes, and what a training with them takes.

    Attributes:
        sizes: what was chosen.
        seconds: per iteration.
        memory_gb: of the training.
        epochs: of the longest training that fits the time.
        fits: whether it does; otherwise this is the shortest training there is.
    """

    sizes: Sizes
    seconds: float
    memory_gb: float
    epochs: int
    fits: bool


def unit_of_plans(plans: Mapping) -> str:
    """``px`` for plans of pictures, whose spacing nnU-Net takes for 1, else ``mm``."""
    return "px" if plans.get("image_reader_writer") == "NaturalImage2DIO" else "mm"


def image_mm(configuration: Mapping) -> tuple[float, ...]:
    """Extent in mm of the image of median size, per axis of a configuration of nnU-Net's plans."""
    shape = configuration["median_image_size_in_voxels"]
    spacing = configuration["spacing"]
    return tuple(n * mm for n, mm in zip(shape[-len(spacing) :], spacing, strict=True))


def covered_shares(configuration: Mapping, patch: Sequence[int], spacing: Sequence[float]) -> list:
    """Share of the median image that a patch covers, per axis, at most 1."""
    extents = image_mm(configuration)
    return [min(1.0, n * mm / e) for n, mm, e in zip(patch, spacing, extents, strict=True)]


def training_seconds(seconds: float, epochs: int) -> float:
    """Time of a training of so many epochs with so many seconds per iteration."""
    return epochs * seconds * (ITERATIONS + PASS_OF_VALIDATION * VALIDATION_ITERATIONS)


def spacings(configuration: Mapping) -> Iterator[tuple[float, ...]]:
    """The planned spacing, and coarser ones as long as enough voxels are left.

    Thick slices stay as they are until the other axes are as coarse.
    """
    planned, extents = configuration["spacing"], image_mm(configuration)
    fewest = LONGEST_AXIS[len(planned)]
    step = 0
    while True:
        least = min(planned) * COARSER**step
        spacing = tuple(float(f"{max(mm, least):.3g}") if step else mm for mm in planned)
        if step and max(e / mm for e, mm in zip(extents, spacing, strict=True)) < fewest:
            return
        yield spacing
        step += 1


def fit_network(
    configuration: Mapping, spacing: Sequence[float], patch: Sequence[int] | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Patch and features for images of the median size at a spacing.

    The patch is the one that is given, or the whole image. As many stages as leave `SMALLEST_MAP`
    voxels in the last, at most those of the plans.
    """
    network = configuration["architecture"]["arch_kwargs"]
    wanted = patch or [e / mm for e, mm in zip(image_mm(configuration), spacing, strict=True)]
    strides = [1] * len(wanted)
    stages = 0
    for stride in network["strides"]:
        following = [a * b for a, b in zip(strides, stride, strict=True)]
        small = any(
            s > 1 and (n / f < SMALLEST_MAP or (patch and n % f))
            for s, n, f in zip(stride, wanted, following, strict=True)
        )
        if small and stages >= FEWEST_STAGES:
            break
        strides, stages = following, stages + 1
    if patch is None:
        patch = [max(1, int(n / s + 0.5)) * s for n, s in zip(wanted, strides, strict=True)]
    base = min(FIRST_FEATURES, network["features_per_stage"][0])
    most = min(MOST_FEATURES, max(network["features_per_stage"]))
    return tuple(patch), tuple(min(most, base * 2**k) for k in range(stages))


def choose_sizes(
    configuration: Mapping,
    given: Mapping[str, tuple | int],
    minutes: float,
    memory_gb: float,
    lengths: Sequence[int],
    seconds_of: Callable[[Sizes], float],
    gb_of: Callable[[Sizes], float],
) -> Choice:
    """Choose what is not ``given``, so that a training fits into ``minutes`` and ``memory_gb``.

    Args:
        configuration: of nnU-Net's plans.
        given: some of ``spacing``, ``patch``, ``batch``, ``features``, which stay as they are.
        lengths: numbers of epochs that there are trainers for.
        seconds_of: measures an iteration.
        gb_of: the memory that a training needs.

    Returns:
        The finest spacing at which a training of `ENOUGH_EPOCHS` fits; where there is none, the
        finest for the shortest training; where that does not fit either, the coarsest.

    Raises:
        ValueError: nothing fits the memory.
    """
    lengths = sorted(lengths)
    enough = min((n for n in lengths if n >= ENOUGH_EPOCHS), default=lengths[-1])
    measured: dict[Sizes, float] = {}

    def seconds(sizes: Sizes) -> float:
        if sizes not in measured:
            measured[sizes] = seconds_of(sizes)
        return measured[sizes]

    def fits(sizes: Sizes, epochs: int) -> bool:
        return training_seconds(seconds(sizes), epochs) <= 60 * minutes

    axes = len(configuration["spacing"])
    batches = [given["batch"]] if "batch" in given else list(BATCHES[axes])
    by_batch = {batch: list(_candidates(configuration, given, batch)) for batch in batches}
    by_batch = {
        batch: [s for s in all_ if gb_of(s) <= memory_gb] for batch, all_ in by_batch.items()
    }
    by_batch = {batch: sizes for batch, sizes in by_batch.items() if sizes}
    if not by_batch:
        raise ValueError("no sizes fit the memory: give more with --memory, or a smaller --patch")
    for epochs in dict.fromkeys((enough, lengths[0])):
        for sizes in by_batch.values():
            if not fits(sizes[-1], epochs):
                continue
            low, high = 0, len(sizes) - 1  # the coarsest, sizes[high], fits
            while low < high:
                middle = (low + high) // 2
                if fits(sizes[middle], epochs):
                    high = middle
                else:
                    low = middle + 1
            found = sizes[high]
            longest = max(n for n in lengths if n <= epochs or fits(found, n))
            return Choice(found, seconds(found), gb_of(found), longest, True)
    smallest = by_batch[min(by_batch)][-1]
    return Choice(smallest, seconds(smallest), gb_of(smallest), lengths[0], False)


def _candidates(configuration: Mapping, given: Mapping, batch: int) -> Iterator[Sizes]:
    """Sizes from the finest spacing to the coarsest."""
    for spacing in [given["spacing"]] if "spacing" in given else spacings(configuration):
        patch, features = fit_network(configuration, spacing, given.get("patch"))
        features = given.get("features", features)
        yield Sizes(tuple(spacing), tuple(patch), batch, tuple(features))
        if "patch" in given:  # at which spacing such a patch is meant nobody but the user knows
            return


def needed_gb(feature_map_voxels: float, batch: int) -> float:
    """Memory of a training, from the voxels of all feature maps of one sample."""
    return FIXED_GB + feature_map_voxels * batch * BYTES_PER_VOXEL / 1e9


def coverage_warning(
    configuration: Mapping, patch: Sequence[int], spacing: Sequence[float], unit: str = "mm"
) -> str | None:
    """What to say where a patch shows the network less than most of the image; None where not."""
    shares = covered_shares(configuration, patch, spacing)
    if min(shares) >= COVERED:
        return None

    def in_mm(numbers: Sequence[float]) -> str:
        return " x ".join(f"{number:.0f}" for number in numbers) + f" {unit}"

    size = in_mm([n * mm for n, mm in zip(patch, spacing, strict=True)])
    part = math.prod(shares)
    return (
        f"a patch of {size} shows {part:.0%} of an image of {in_mm(image_mm(configuration))}. "
        "The network does not see where in the body it is: it learns slowly, and predicting takes "
        "many tiles. Larger voxels (--spacing) are the cheaper way to a patch that covers most of "
        "the image; without sizes this command chooses them"
    )


def describe(reduced: dict, sizes: Sizes, unit: str) -> str:
    """Sizes on one line: how much of the image of median size a patch shows, and the network."""

    def x(numbers: Sequence[float]) -> str:
        return " x ".join(f"{number:.4g}" for number in numbers)

    part = min(covered_shares(reduced, sizes.patch, sizes.spacing))
    extent = x([round(n * mm) for n, mm in zip(sizes.patch, sizes.spacing, strict=True)])
    image = x([round(mm) for mm in image_mm(reduced)])
    covered = "all" if part > 0.97 else f"at least {part:.0%} of each axis"
    return (
        f"spacing {x(sizes.spacing)} {unit}, patch {x(sizes.patch)} voxels ({extent} {unit}: "
        f"{covered} of an image of {image} {unit}), batch {sizes.batch}, features "
        + " ".join(map(str, sizes.features))
    )
