"""Every weight, size and schedule of PCLMix in one place, with where it comes from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

# What is drawn beside the training changes nothing of it: it may be continued with others of these.
DISPLAY_SETTINGS = ("snapshot_every",)


@dataclass(frozen=True)
class Range:
    """Which values a setting takes: ``words`` say it, ``holds`` tells it. NaN is in no range."""

    words: str
    holds: Callable[[float], bool]


# What a setting may be stands in its type. A new kind of range is a line here.
NotNegative = Annotated[float, Range("0 or more", lambda v: 0 <= v < math.inf)]
Positive = Annotated[float, Range("above 0", lambda v: 0 < v < math.inf)]
Fraction = Annotated[float, Range("between 0 and 1", lambda v: 0 <= v <= 1)]
Between = Annotated[float, Range("above 0 and below 1", lambda v: 0 < v < 1)]
Count = Annotated[int, Range("above 0", lambda v: v > 0)]
CountOrNone = Annotated[int, Range("0 or more", lambda v: v >= 0)]


@dataclass(frozen=True)
class PCLMixConfig:
    """Settings of one training; logged when it starts and stored in its checkpoints.

    "Paper" is arXiv 2405.06288, "authors" is what their public code does where the paper is
    silent. Fractions are of the planned training length, so that a training of 5 epochs and one of
    1000 pass through the same schedule.

    Raises:
        ValueError: a value is outside its range; the message names it.
    """

    # Auxiliary decoder D_t
    auxiliary_decoder: bool = True
    lambda_auxiliary: NotNegative = 0.4
    """lambda_t, weight of all of D_t's supervised terms (paper: best near 0.4)."""
    auxiliary_stride: Count = 8
    """Finest encoder feature that D_t sees, unless it has too few levels with it. The authors' 4
    takes about a fifth more time and memory."""
    auxiliary_levels: Count = 3
    """Encoder features that D_t sees at least. In a shallow network it begins at a finer stride
    than ``auxiliary_stride`` for it: with one level it would merge no skip feature at all."""
    auxiliary_max_width: Count = 64
    """Channels of D_t's tokens are the encoder's, at most this. Ours: keeps D_t cheap beside the
    wide deep stages of nnU-Net's planned networks. 96 segmented no better, see
    benchmarks/accuracy/LOG.md."""
    auxiliary_window: Count = 7
    """Largest attention window per axis in tokens (authors: 7)."""

    # Scribble supervision
    partial_dice: NotNegative = 1.0
    """Weight of nnU-Net's soft Dice over annotated voxels beside the partial cross-entropy of the
    main decoder on the image itself. The paper has none (0); nnU-Net's own scribble loss has it,
    and without it a network from scratch learned more slowly, see
    benchmarks/accuracy/LOG.md."""

    ignore_padding: bool = True
    """Voxels that augmentation pads or rotates in from outside the image are ignored; nnU-Net takes
    them as annotated background: .98 of what is annotated in ACDC at its planned size. See
    benchmarks/accuracy/LOG.md."""

    patches_anywhere: Fraction = 0.0
    """Share of the patches, among those that nnU-Net would centre on any annotated voxel, that lie
    anywhere in the image instead. Brought nothing where it was tried, see
    benchmarks/accuracy/LOG.md."""

    # Stroke support
    stroke_support: bool = True
    """Background follows from strokes and prediction, see `stroke_support`: a target on the image
    and on the mixed image, and a correction of pseudo labels and of the contrast's labels, which
    are trusted as far as it is. Ours."""
    lambda_background: NotNegative = 0.5
    """Weight of the implied background's cross-entropy, a mean of its own, so that it does not
    outweigh the strokes. 0: it corrects predicted labels only."""
    stroke_growth: NotNegative = 2 / 3
    """Strokes grow by this share of the half thickness of their class in the image, see
    `stroke_growth`; at most by a few voxels. 0: they stay as drawn. Ours."""

    # Dynamic mix
    dynamic_mix: bool = True
    mix_area: Between = 0.2
    """Share of the image (volume) that the box covers (authors)."""
    lambda_mixed_scribble: NotNegative = 1.0
    """Weight of all that the strokes say of the mixed image; the authors have their partial
    cross-entropy alone, with 1."""
    mixed_dice: bool = True
    """The mixed image's strokes have a Dice, too (with ``partial_dice``). Ours."""
    mix_fade: Fraction = 1.0
    """Fraction of the training over which the weights of all that is asked of the mixed image fall
    to 0, in a line; 0: they stay (authors). Once they are 0 a step has one pass. Ours: boxes cut
    outlines anywhere; with such images to the end the complete method was behind one pass, see
    docs/results.md."""

    # Dual consistency
    lambda_pseudo: NotNegative = 0.3
    """Weight of cross-entropy against the mixed pseudo label, on every deep supervision level of
    the main decoder. The authors have 1; beside stroke support it cost Dice, see
    benchmarks/accuracy/LOG.md."""
    pseudo_dice: NotNegative = 0.0
    """Weight of the Dice against the mixed pseudo label, as a share of lambda_pseudo. Ours."""
    pseudo_from: Literal["decoders", "mean"] = "decoders"
    """Whose prediction is mixed: that of D_c with that of D_t (authors), or the mean of both."""
    pseudo_certain: bool = True
    """Only what is certain is a pseudo label, by the threshold of the contrast: between strokes a
    label of one's own would only keep an outline where it is. Ours."""
    pseudo_ramp: NotNegative = 0.0
    """Fraction over which lambda_pseudo rises. 0, at once, is the authors'; see
    benchmarks/accuracy/LOG.md for training from scratch."""
    lambda_heterogeneous: NotNegative = 1.0
    """lambda_het, weight of the squared difference of the decoders."""
    heterogeneous_ramp: NotNegative = 1.0
    """Fraction over which lambda_het rises. The authors mix epochs and iterations, which gives
    anything from a sixth to the whole; a network from scratch has nothing to agree on early."""
    heterogeneous_on: Literal["logits", "probabilities"] = "probabilities"
    """What is compared. The authors take raw logits, whose gradient is some 17 times that of
    cross-entropy, half of it a shift of all classes that softmax does not see."""

    # Uncertainty-guided pixel contrast
    contrast: bool = True
    lambda_contrast: NotNegative = 0.1
    """lambda_ctr (paper: best near 0.1 to 0.15); multiplied by progress ** contrast_power."""
    contrast_start: Fraction = 1 / 60
    """Fraction before which the contrast has no weight (authors: 1000 of 60 000 iterations)."""
    contrast_power: NotNegative = 0.9
    temperature: Positive = 0.07
    embedding_dim: Count = 256
    embedding_stride: Count = 4
    """Stride of the encoder feature that is embedded. The authors have 8, at which a cell of a thin
    organ is mostly something else, see docs/method.md."""
    memory_size: Count = 500
    """Queue entries per class (authors), where all classes have room; see `memory_per_class`."""
    memory_total: Count = 10_000
    """Queue entries of all classes together, at most; ours. The loss holds anchors_total times
    this many float32 similarities, 41 MB. The authors' 500 per class are kept up to 20
    classes; with 100 classes and no bound it would be 205 MB."""
    anchors_per_class: Count = 100
    """Anchors per image and class, half of them hard (authors)."""
    anchors_total: Count = 1024
    """Anchors per batch (authors)."""
    anchor_min_pixels: Count = 1
    """Certain cells that a class needs in an image to give anchors. The authors ask for more than
    100; at stride 8 that is 6400 image pixels, which shuts out every small organ for good."""
    contrast_background: bool = True
    """Background takes part like a class of its own, in queue and anchors. The authors never
    enqueue it, which leaves its anchors without a meaningful positive."""
    certainty_low: Fraction = 0.75
    """Certain is an entropy (nats) below (low + (1 - low) * ramp(progress)) * ln 2 (authors)."""

    # Pictures
    snapshot_every: CountOrNone = 50
    """Epochs from one picture of training samples in ``pclmix_snapshots`` to the next; those of the
    first and of the last epoch are drawn in any case. 0: no such pictures."""

    def __post_init__(self) -> None:
        if wrong := wrong_settings(self):
            raise ValueError("; ".join(wrong))

    def memory_per_class(self, num_classes: int) -> int:
        """Queue entries per class: `memory_size`, less where `memory_total` is not enough."""
        return max(1, min(self.memory_size, self.memory_total // num_classes))


def wrong_settings(config: Any) -> list[str]:
    """Say of every field of a dataclass whose value is not of its type or outside its range."""
    hints = get_type_hints(type(config), include_extras=True)
    return [
        f"{field.name} = {value!r} must be {expected}"
        for field in fields(config)
        if (expected := _refusal(hints[field.name], value := getattr(config, field.name)))
    ]


def _refusal(hint: Any, value: object) -> str:
    """What the value should have been, or nothing where it is right."""
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return "" if value in choices else " or ".join(map(repr, choices))
    kind, ranges = (
        (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())
    )
    # True is an int to Python, and 1 is as good as 1.0
    right = isinstance(value, kind if kind is not float else (int, float))
    if not right or isinstance(value, bool) != (kind is bool):
        return {bool: "True or False", int: "a whole number", float: "a number"}[kind]
    return next((r.words for r in ranges if not r.holds(value)), "")


COMPLETE = PCLMixConfig()
"""What `nnUNetTrainerPCLMix` trains with: every component of PCLMix, and stroke support."""
STROKE_SUPPORT = PCLMixConfig(dynamic_mix=False, auxiliary_decoder=False, contrast=False)
"""What `nnUNetTrainerStrokeSupport` trains with: the strokes, and the background that they imply,
in one pass with one decoder. None of it is PCLMix'."""
PUBLISHED = PCLMixConfig(
    auxiliary_stride=4,
    auxiliary_levels=1,
    auxiliary_max_width=96,
    partial_dice=0.0,
    stroke_support=False,
    stroke_growth=0.0,
    mix_fade=0.0,
    lambda_pseudo=1.0,
    pseudo_certain=False,
    heterogeneous_on="logits",
    embedding_stride=8,
)
"""What `nnUNetTrainerPCLMix_published` trains with: the paper's terms alone; what of the authors'
code is not repeated stands in docs/method.md."""
