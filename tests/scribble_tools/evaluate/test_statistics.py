"""Bootstrap and Wilcoxon's test against what is known, with and without patients."""

import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from scribble_tools.evaluate.statistics import (
    LEAST_GROUPS,
    bootstrap_weights,
    describe,
    over_classes,
    weighted_means,
    wilcoxon_p,
)

NAN = math.nan


def describe_one(values, groups=None, resamples=500, seed=0):
    groups = groups or [str(k) for k in range(len(values))]
    weights = bootstrap_weights(groups, resamples, seed)
    return describe(np.asarray(values, float)[:, None], groups, weights, summed=False)[0]


def test_weights_draw_whole_groups():
    weights = bootstrap_weights(["b", "a", "b", "c"], resamples=200)
    assert weights.shape == (200, 4)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    assert set((weights[:, :2].sum(axis=1) + weights[:, 3]).tolist()) == {3}
    np.testing.assert_array_equal(weights, bootstrap_weights(["b", "a", "b", "c"], resamples=200))
    assert (weights != bootstrap_weights(["b", "a", "b", "c"], resamples=200, seed=1)).any()


def test_mean_spread_and_median():
    numbers = describe_one([1, 2, 3, NAN, 10])
    assert math.isnan(numbers["ci_low"])
    assert (numbers["mean"], numbers["median"], numbers["n"]) == (4, 2.5, 4)
    assert numbers["sd"] == pytest.approx(math.sqrt((9 + 4 + 1 + 36) / 3))


def test_interval_is_deterministic_and_covers_a_known_mean():
    rng = np.random.default_rng(0)
    samples = [rng.normal(5, 2, 40) for _ in range(300)]
    assert describe_one(samples[0]) == describe_one(samples[0])
    assert describe_one(samples[0]) != describe_one(samples[0], seed=1)
    intervals = [describe_one(sample, seed=k) for k, sample in enumerate(samples)]
    covered = np.mean([n["ci_low"] <= 5 <= n["ci_high"] for n in intervals])
    assert 0.90 <= covered <= 0.98  # 95 %, a little less for 40 values; +- 2.5 % by chance


def test_two_copies_of_each_patient_are_no_more_certain_than_one():
    values = np.random.default_rng(1).normal(size=20)
    patients = [f"p{k:02d}" for k in range(20)]
    once = describe_one(values, patients)
    twice = describe_one(np.repeat(values, 2), [p for p in patients for _ in range(2)])
    assert (twice["ci_low"], twice["ci_high"]) == pytest.approx((once["ci_low"], once["ci_high"]))
    naive = describe_one(np.repeat(values, 2))
    width, naive_width = (n["ci_high"] - n["ci_low"] for n in (once, naive))
    assert naive_width == pytest.approx(width / math.sqrt(2), rel=0.2)


def test_too_few_values_have_no_interval():
    none, one, five, six = (
        describe_one(v) for v in ([NAN, NAN], [NAN, 3], [1, 2, 3, 4, 5, NAN], [1, 2, 3, 4, 5, 6])
    )
    assert none["n"] == 0
    assert all(math.isnan(none[key]) for key in ("mean", "sd", "median", "ci_low", "ci_high"))
    assert (one["mean"], one["median"], one["n"]) == (3, 3, 1)
    assert all(math.isnan(one[key]) for key in ("sd", "ci_low", "ci_high"))
    assert all(math.isnan(five[key]) for key in ("ci_low", "ci_high")) and five["mean"] == 3
    assert 1 < six["ci_low"] < 3.5 < six["ci_high"] < 6
    five_patients = describe_one([1, 3, 2, 3, 4, 5], list("aabcde"))
    assert five_patients["n"] == 6 and math.isnan(five_patients["ci_low"])


def test_the_range_of_fewer_values_could_not_hold_its_promise():
    """Of LEAST_GROUPS values and no fewer it covers the centre in 95 % of all samples."""
    rng = np.random.default_rng(0)
    for number, enough in ((LEAST_GROUPS - 1, False), (LEAST_GROUPS, True)):
        samples = rng.normal(size=(20_000, number))
        covered = np.mean((samples.min(axis=1) < 0) & (samples.max(axis=1) > 0))
        assert (covered >= 0.95) == enough


def test_all_classes_together_are_the_mean_or_the_sum_of_the_classes():
    values = np.array([[1, 4], [3, NAN]])
    weights = bootstrap_weights(["a", "b"])
    *_, mean = describe(values, ["a", "b"], weights, summed=False)
    assert (mean["mean"], mean["n"]) == ((2 + 4) / 2, 2)
    assert mean["median"] == (2.5 + 3) / 2
    *_, total = describe(values, ["a", "b"], weights, summed=True)
    assert (total["mean"], total["median"]) == (2 + 4, (5 + 3) / 2)


def test_means_without_values():
    values = np.array([[1, NAN], [3, NAN]])
    means = weighted_means(values, np.array([[1, 1], [0, 2], [0, 0]]))
    np.testing.assert_array_equal(means, [[2, NAN], [3, NAN], [NAN, NAN]])
    np.testing.assert_array_equal(over_classes(means, summed=False), [2, 3, NAN])
    np.testing.assert_array_equal(over_classes(means, summed=True), [2, 3, NAN])


def test_wilcoxon_sees_one_difference_per_patient():
    differences = np.array([0.1, 0.3, -0.4, NAN, 0.7, 0.9, 0.5, 0.6])
    groups = ["a", "a", "b", "b", "c", "d", "e", "e"]
    p, count = wilcoxon_p(differences, groups)
    assert count == 5
    assert p == pytest.approx(wilcoxon([0.2, -0.4, 0.7, 0.9, 0.55]).pvalue)
    assert wilcoxon_p(np.zeros(3), list("abc")) == (1, 3)
    p, count = wilcoxon_p(np.array([NAN]), ["a"])
    assert math.isnan(p)
    assert count == 0
