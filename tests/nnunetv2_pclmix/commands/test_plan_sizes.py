"""Sizes for a data set, a machine and a time: chosen by rules, with a machine of the test's own."""

import json
import math

import pytest
import torch

from nnunetv2_pclmix.commands.machine import free_memory_gb, seconds_per_iteration
from nnunetv2_pclmix.commands.plan_sizes import (
    COVERED,
    choose_sizes,
    coverage_warning,
    covered_shares,
    fit_network,
    needed_gb,
    spacings,
    training_seconds,
)
from nnunetv2_pclmix.commands.small_plans import small_plans
from nnunetv2_pclmix.commands.trainers import trainers_by_length
from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from tests.conftest import DATASET

LENGTHS = (5, 20, 100, 250, 1000)
SLOW = 2e-6  # seconds per voxel of a batch


def configuration(shape, spacing, strides=None, features=32):
    """As nnU-Net's planner writes it, as far as sizes are concerned."""
    axes = len(spacing)
    strides = strides or [[1] * axes] + [[2] * axes] * 5
    features = [min(512, features * 2**k) for k in range(len(strides))]
    return {
        "spacing": list(spacing),
        "median_image_size_in_voxels": list(shape),
        "patch_size": [64] * axes,
        "architecture": {"arch_kwargs": {"strides": strides, "features_per_stage": features}},
    }


HEART = configuration((256, 216), (1.5, 1.5))
BODY = configuration((120, 400, 400), (2.5, 0.8, 0.8), [[1, 1, 1], [1, 2, 2], *[[2, 2, 2]] * 4])


def choose(wanted=HEART, minutes=30.0, given=None, slow=SLOW, memory_gb=math.inf, lengths=LENGTHS):
    return choose_sizes(
        wanted,
        given or {},
        minutes,
        memory_gb,
        lengths,
        lambda sizes: slow * sizes.batch * math.prod(sizes.patch),
        lambda sizes: needed_gb(200 * math.prod(sizes.patch), sizes.batch),
    )


@pytest.mark.parametrize("wanted", [HEART, BODY])
@pytest.mark.parametrize("minutes", [1, 10, 30, 120, 2000])
def test_the_patch_covers_the_image_and_the_training_fits_the_time(wanted, minutes):
    chosen = choose(wanted, minutes)
    sizes = chosen.sizes
    assert min(covered_shares(wanted, sizes.patch, sizes.spacing)) > 0.85
    assert coverage_warning(wanted, sizes.patch, sizes.spacing) is None
    assert chosen.fits == (training_seconds(chosen.seconds, chosen.epochs) <= 60 * minutes)
    assert chosen.fits or chosen.epochs == min(LENGTHS)


def test_more_time_gives_smaller_voxels_and_then_a_longer_training():
    chosen = [choose(minutes=minutes) for minutes in (5, 10, 20, 40, 80, 160, 2000, 10_000)]
    voxels = [math.prod(c.sizes.patch) for c in chosen]
    assert voxels == sorted(voxels) and len(set(voxels)) > 3
    assert chosen[-1].sizes.spacing == (1.5, 1.5)
    assert chosen[-1].epochs == 1000
    assert all(c.epochs >= 20 for c in chosen if c.sizes.spacing == (1.5, 1.5))


def test_a_faster_machine_is_given_more():
    fast, slow = choose(slow=SLOW / 10), choose(slow=SLOW * 5)
    assert math.prod(fast.sizes.patch) > math.prod(slow.sizes.patch)


def test_twenty_epochs_come_before_small_voxels_and_five_where_twenty_never_fit():
    assert choose(minutes=20).epochs == 20
    assert choose(minutes=20).sizes.spacing > (1.5, 1.5)
    short = choose(minutes=4)
    assert (short.epochs, short.fits) == (5, True)


def test_where_nothing_fits_the_time_the_shortest_and_coarsest_is_named():
    chosen = choose(minutes=0.1)
    assert (chosen.fits, chosen.epochs, chosen.sizes.batch) == (False, 5, 4)
    assert chosen.sizes.spacing == list(spacings(HEART))[-1]


def test_memory_bounds_the_sizes():
    free = choose(minutes=10_000)
    bound = choose(minutes=10_000, memory_gb=2.0)
    assert math.prod(bound.sizes.patch) < math.prod(free.sizes.patch)
    assert bound.memory_gb <= 2.0 < free.memory_gb
    with pytest.raises(ValueError, match="--memory"):
        choose(memory_gb=1.0)


@pytest.mark.parametrize(
    "given",
    [
        {"spacing": (4.0, 4.0)},
        {"patch": (80, 96)},
        {"batch": 3},
        {"features": (8, 16, 32)},
        {"patch": (88, 88), "spacing": (4.0, 4.0), "batch": 6},
    ],
)
def test_what_is_given_stays(given):
    sizes = choose(given=given).sizes
    assert {name: getattr(sizes, name) for name in given} == given


def test_a_given_patch_gets_stages_that_divide_it():
    patch, features = fit_network(HEART, (1.5, 1.5), (88, 80))
    assert (patch, features) == ((88, 80), (16, 32, 64, 128))
    assert fit_network(HEART, (1.5, 1.5), (36, 36))[1] == (16, 32, 64)


def test_spacings_keep_thick_slices_until_the_rest_is_as_coarse():
    tried = list(spacings(BODY))
    assert tried[0] == (2.5, 0.8, 0.8)
    assert tried[1] == (2.5, 1.0, 1.0)
    assert all(a[0] >= max(a) for a in tried)
    longest = [max(120 * 2.5 / a[0], 400 * 0.8 / a[1]) for a in tried]
    assert longest == sorted(longest, reverse=True) and longest[-1] >= 48


def test_small_images_stay_as_they_are():
    small = configuration((50, 36, 36), (1.0, 1.0, 1.0))
    assert list(spacings(small)) == [(1.0, 1.0, 1.0)]
    patch, features = fit_network(small, (1.0, 1.0, 1.0))
    assert patch == (48, 40, 40) and len(features) == 4


def test_a_patch_that_covers_little_is_warned_of():
    heart = configuration((256, 256), (1.0, 1.0))
    text = coverage_warning(heart, (80, 80), (1.0, 1.0))
    assert "80 x 80 mm shows 10% of an image of 256 x 256 mm" in text
    assert "--spacing" in text
    assert coverage_warning(heart, (80, 80), (3.0, 3.0)) is None
    edge = math.ceil(COVERED * 256)
    assert coverage_warning(heart, (edge, 256), (1.0, 1.0)) is None
    assert coverage_warning(heart, (edge - 1, 256), (1.0, 1.0)) is not None


def test_only_lengths_of_the_same_trainer_are_suggested():
    lengths = trainers_by_length()
    assert lengths[1000] == "nnUNetTrainerPCLMix"
    assert lengths[5] == "nnUNetTrainerPCLMix_5epochs"
    assert sorted(lengths) == list(LENGTHS)
    assert trainers_by_length("nnUNetTrainerPCLMix_20epochs") == {
        20: "nnUNetTrainerPCLMix_20epochs"
    }
    for name in ("PCLMix", "replace", "nnUNetTrainer"):
        with pytest.raises(ValueError, match="no such trainer"):
            trainers_by_length(name)


def test_iterations_are_measured_with_the_trainers_network(preprocessed):
    """What is measured is a training's network: the whole method is built, and runs backwards."""
    file = preprocessed / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json"
    plans = small_plans(json.loads(file.read_text()), "", "2d", (16, 16), 2, (4, 8, 8))
    device = torch.device("cpu")
    for config in (PCLMixConfig(), nnUNetTrainerPCLMix.config):
        assert seconds_per_iteration(plans, "2d", 1, 3, config, device) > 0


def test_memory_is_found():
    assert 0 < free_memory_gb(torch.device("cpu")) < 1e5
