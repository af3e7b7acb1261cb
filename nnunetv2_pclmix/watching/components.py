"""What a training does, in words: which components are on, which are off, and their settings.

A setting of a component that is off decides nothing, so it is not listed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnunetv2_pclmix.config import PCLMixConfig


@dataclass(frozen=True)
class Component:
    """A part of the method that can be switched off.

    Attributes:
        words: what it is called in a log.
        switches: settings that switch it, which the words stand for.
        settings: further ones, which mean something only while it is on.
        is_on: whether settings switch it on.
    """

    words: str
    switches: tuple[str, ...]
    settings: tuple[str, ...]
    is_on: Callable[[PCLMixConfig], bool]


def _has_pseudo_labels(config: PCLMixConfig) -> bool:
    return config.dynamic_mix and config.lambda_pseudo > 0


COMPONENTS = (
    Component(
        "partial Dice on the strokes", (), ("partial_dice",), lambda config: config.partial_dice > 0
    ),
    Component(
        "stroke support (background that the strokes imply)",
        ("stroke_support",),
        ("lambda_background",),
        lambda config: config.stroke_support,
    ),
    Component(
        "growing strokes",
        (),
        ("stroke_growth",),
        lambda config: config.stroke_growth > 0,
    ),
    Component(
        "auxiliary decoder",
        ("auxiliary_decoder",),
        (
            "lambda_auxiliary",
            "auxiliary_stride",
            "auxiliary_levels",
            "auxiliary_max_width",
            "auxiliary_window",
        ),
        lambda config: config.auxiliary_decoder,
    ),
    Component(
        "dynamic mix (a second pass on mixed images)",
        ("dynamic_mix",),
        ("mix_area", "lambda_mixed_scribble", "mixed_dice", "mix_fade"),
        lambda config: config.dynamic_mix,
    ),
    Component(
        "pseudo labels on mixed images",
        (),
        ("lambda_pseudo", "pseudo_dice", "pseudo_certain", "pseudo_ramp"),
        _has_pseudo_labels,
    ),
    Component(
        "agreement of the decoders",
        (),
        ("lambda_heterogeneous", "heterogeneous_ramp", "heterogeneous_on"),
        lambda config: config.auxiliary_decoder and config.lambda_heterogeneous > 0,
    ),
    Component(
        "pixel contrast",
        ("contrast",),
        (
            "lambda_contrast",
            "contrast_start",
            "contrast_power",
            "temperature",
            "embedding_dim",
            "embedding_stride",
            "memory_size",
            "memory_total",
            "anchors_per_class",
            "anchors_total",
            "anchor_min_pixels",
            "contrast_background",
        ),
        lambda config: config.contrast,
    ),
)
OF_SEVERAL: dict[str, Callable[[PCLMixConfig], bool]] = {
    "pseudo_from": lambda config: config.auxiliary_decoder and _has_pseudo_labels(config),
    "certainty_low": lambda config: (
        config.contrast or (config.pseudo_certain and _has_pseudo_labels(config))
    ),
}
"""Settings that mean something to more than one component, or only with two; and when they do."""
ALWAYS = ("ignore_padding", "patches_anywhere", "snapshot_every")
"""Settings that mean something whatever is on."""


def components(config: PCLMixConfig) -> tuple[list[str], list[str]]:
    """What is on, and what is off, in words."""
    on = [component.words for component in COMPONENTS if component.is_on(config)]
    return on, [component.words for component in COMPONENTS if component.words not in on]


def active_settings(config: PCLMixConfig) -> dict[str, object]:
    """The settings that decide something, by name; switches are what `components` says."""
    own = [component.settings for component in COMPONENTS if component.is_on(config)]
    shared = [name for name, decides in OF_SEVERAL.items() if decides(config)]
    return {name: getattr(config, name) for name in (*_flat(own), *shared, *ALWAYS)}


def _flat(names: Sequence[Sequence[str]]) -> list[str]:
    return [name for group in names for name in group]


def describe(trainer: str, version: str, config: PCLMixConfig) -> list[str]:
    """Lines for the beginning of a log: what is on and off, and the settings that matter."""
    on, off = components(config)
    settings = ", ".join(f"{name} {value}" for name, value in active_settings(config).items())
    return [
        f"{trainer} (nnunetv2_pclmix {version}) learns from the strokes (partial cross-entropy). "
        f"On: {'; '.join(on) or 'nothing else'}. Off: {'; '.join(off) or 'nothing'}.",
        f"Settings: {settings}",
    ]
