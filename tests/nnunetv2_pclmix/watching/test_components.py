"""What is on and off in words, and only settings that decide something."""

from dataclasses import fields, replace

import pytest

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.term_weights import term_weights
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from nnunetv2_pclmix.watching.components import (
    ALWAYS,
    COMPONENTS,
    OF_SEVERAL,
    active_settings,
    components,
    describe,
)

WHOLE = PCLMixConfig()
BARE = PCLMixConfig(
    partial_dice=0.0,
    stroke_support=False,
    stroke_growth=0.0,
    auxiliary_decoder=False,
    dynamic_mix=False,
    contrast=False,
)


def test_every_setting_belongs_to_one_component_or_to_all():
    named = [n for c in COMPONENTS for n in (*c.switches, *c.settings)] + [*OF_SEVERAL, *ALWAYS]
    assert sorted(named) == sorted(field.name for field in fields(PCLMixConfig))


def test_all_on_and_all_off():
    words = [component.words for component in COMPONENTS]
    assert components(WHOLE) == (words, [])
    assert components(BARE) == ([], words)
    assert set(active_settings(BARE)) == set(ALWAYS)
    switches = {name for component in COMPONENTS for name in component.switches}
    assert set(active_settings(WHOLE)) == {f.name for f in fields(PCLMixConfig)} - switches


@pytest.mark.parametrize(
    "off",
    [
        {"stroke_support": False},
        {"stroke_growth": 0.0},
        {"dynamic_mix": False},
        {"contrast": False},
        {"auxiliary_decoder": False},
        {"lambda_pseudo": 0.0},
        {"lambda_heterogeneous": 0.0},
        {"partial_dice": 0.0},
    ],
)
def test_settings_of_what_is_off_are_not_listed_and_those_of_the_rest_are(off):
    """A setting is listed exactly where changing it may change a term or its weight."""
    config = replace(WHOLE, **off)
    listed = active_settings(config)
    for name in ("lambda_pseudo", "lambda_heterogeneous", "lambda_contrast", "lambda_background"):
        decides = term_weights(config, 0.5) != term_weights(replace(config, **{name: 7.0}), 0.5)
        assert (name in listed) == decides or getattr(config, name) == 0, name


def test_what_two_components_share_is_listed_while_one_needs_it():
    without = replace(WHOLE, contrast=False)
    assert active_settings(without)["certainty_low"] == WHOLE.certainty_low
    for off in ({"pseudo_certain": False}, {"lambda_pseudo": 0.0}, {"dynamic_mix": False}):
        assert "certainty_low" not in active_settings(replace(without, **off))
        assert "certainty_low" in active_settings(replace(WHOLE, **off))
    assert "pseudo_from" not in active_settings(replace(WHOLE, auxiliary_decoder=False))


def test_a_log_begins_with_words():
    first, second = describe("nnUNetTrainerX", "1.2", nnUNetTrainerPCLMix.config)
    assert first.startswith("nnUNetTrainerX (nnunetv2_pclmix 1.2) learns from the strokes")
    first, second = describe("T", "1", replace(WHOLE, contrast=False))
    assert "Off: pixel contrast." in first and "dynamic mix" in first.split("Off:")[0]
    assert "temperature" not in second and "mix_area 0.2" in second
    assert "Off: nothing." in describe("T", "1", WHOLE)[0]
    assert "On: nothing else." in describe("T", "1", BARE)[0]
