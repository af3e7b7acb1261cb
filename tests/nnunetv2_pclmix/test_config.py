"""Settings: what their types allow, and that all that is wrong is said at once."""

from dataclasses import fields
from typing import get_type_hints

import pytest

from nnunetv2_pclmix.config import PCLMixConfig


def test_config_refuses_impossible_values_all_at_once():
    with pytest.raises(ValueError) as error:
        PCLMixConfig(mix_area=1.0, temperature=0.0, lambda_pseudo=-1, heterogeneous_on="labels")
    for name in ("mix_area = 1.0", "temperature = 0.0", "lambda_pseudo = -1", "'labels'"):
        assert name in str(error.value)


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("lambda_contrast", float("nan"), "0 or more"),
        ("lambda_contrast", float("inf"), "0 or more"),
        ("temperature", 0, "above 0"),
        ("certainty_low", 1.01, "between 0 and 1"),
        ("partial_dice", "1", "a number"),
        ("partial_dice", True, "a number"),
        ("anchors_total", 2.5, "a whole number"),
        ("anchors_total", True, "a whole number"),
        ("memory_size", 0, "above 0"),
        ("snapshot_every", -1, "0 or more"),
        ("contrast", 1, "True or False"),
        ("heterogeneous_on", None, "'logits' or 'probabilities'"),
    ],
)
def test_a_value_that_is_refused(name, value, expected):
    with pytest.raises(ValueError) as error:
        PCLMixConfig(**{name: value})
    assert str(error.value) == f"{name} = {value!r} must be {expected}"


@pytest.mark.parametrize("value", [0, 0.0, 1, 1e9])
def test_limits_are_taken_and_whole_numbers_are_numbers(value):
    assert PCLMixConfig(lambda_contrast=value).lambda_contrast == value


def test_every_number_says_its_range():
    hints = get_type_hints(PCLMixConfig, include_extras=True)
    bare = [field.name for field in fields(PCLMixConfig) if hints[field.name] in (int, float)]
    assert not bare
