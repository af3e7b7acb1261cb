"""Every weight, size and schedule of PCLMix in one place, with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What is drawn beside the training changes nothing of it: it may be continued with others of these.
DISPLAY_SETTINGS = ("snapshot_every",)


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
    lambda_auxiliary: float = 0.4
    """lambda_t, weight of all of D_t's supervised terms (paper: best near 0.4)."""
    auxiliary_stride: int = 8
    """Finest encoder feature that D_t sees. The authors' 4 segmented no better and took about a
    fifth more time and memory, see docs/results.md."""
    auxiliary_max_width: int = 64
    """Channels of D_t's tokens are the encoder's, at most this. Ours: keeps D_t cheap beside the
    wide deep stages of nnU-Net's planned networks. 96 segmented no better, see docs/results.md."""
    auxiliary_window: int = 7
    """Largest attention window per axis in tokens (authors: 7)."""

    # Scribble supervision
    partial_dice: float = 1.0
    """Weight of nnU-Net's soft Dice over annotated voxels beside the partial cross-entropy of the
    main decoder on the image itself. The paper has none (0); nnU-Net's own scribble loss has it,
    and without it a network from scratch learned more slowly, see docs/results.md."""

    ignore_padding: bool = True
    """Voxels that augmentation pads or rotates in from outside the image are ignored; nnU-Net takes
    them as annotated background: .98 of what is annotated in ACDC at its planned size. See
    docs/results.md."""

    patches_anywhere: float = 0.0
    """Share of the patches, among those that nnU-Net would centre on any annotated voxel, that lie
    anywhere in the image instead. Brought nothing where it was tried, see docs/results.md."""

    # Stroke support
    stroke_support: bool = True
    """Background follows from strokes and prediction, see `stroke_support`: a target on the image
    itself, and a correction of the mixed pseudo label. Ours."""
    lambda_background: float = 0.5
    """Weight of the implied background's cross-entropy, a mean of its own, so that it does not
    outweigh the strokes. 0: it corrects pseudo labels only."""

    # Dynamic mix
    dynamic_mix: bool = True
    mix_area: float = 0.2
    """Share of the image (volume) that the box covers (authors)."""
    lambda_mixed_scribble: float = 1.0
    """Weight of partial cross-entropy on the mixed image (authors)."""

    # Dual consistency
    lambda_pseudo: float = 1.0
    """Weight of cross-entropy against the mixed pseudo label (authors); here on every deep
    supervision level of the main decoder."""
    pseudo_ramp: float = 0.0
    """Fraction over which lambda_pseudo rises. 0, at once, is the authors'; see
    docs/results.md for training from scratch."""
    lambda_heterogeneous: float = 1.0
    """lambda_het, weight of the squared difference of the decoders (authors)."""
    heterogeneous_ramp: float = 1.0
    """Fraction over which lambda_het rises. The authors mix epochs and iterations, which gives
    anything from a sixth to the whole; a network from scratch has nothing to agree on early."""
    heterogeneous_on: Literal["logits", "probabilities"] = "logits"
    """What is compared (authors: raw logits)."""

    # Uncertainty-guided pixel contrast
    contrast: bool = True
    lambda_contrast: float = 0.1
    """lambda_ctr (paper: best near 0.1 to 0.15); multiplied by progress ** contrast_power."""
    contrast_start: float = 1 / 60
    """Fraction before which the contrast has no weight (authors: 1000 of 60 000 iterations)."""
    contrast_power: float = 0.9
    temperature: float = 0.07
    embedding_dim: int = 256
    embedding_stride: int = 8
    """Stride of the encoder feature that is embedded (authors: 8)."""
    memory_size: int = 500
    """Queue entries per class (authors), where all classes have room; see `memory_per_class`."""
    memory_total: int = 10_000
    """Queue entries of all classes together, at most; ours. The loss holds anchors_total times
    this many float32 similarities, 41 MB. The authors' 500 per class are kept up to 20
    classes; with 100 classes and no bound it would be 205 MB."""
    anchors_per_class: int = 100
    """Anchors per image and class, half of them hard (authors)."""
    anchors_total: int = 1024
    """Anchors per batch (authors)."""
    anchor_min_pixels: int = 1
    """Certain pixels that a class needs in an image to give anchors. The authors ask for more than
    100; at stride 8 that is 6400 image pixels, which shuts out every small organ for good."""
    contrast_background: bool = True
    """Background takes part like a class of its own, in queue and anchors. The authors never
    enqueue it, which leaves its anchors without a meaningful positive."""
    certainty_low: float = 0.75
    """Certain is an entropy (nats) below (low + (1 - low) * ramp(progress)) * ln 2 (authors)."""

    # Pictures
    snapshot_every: int = 50
    """Epochs from one picture of training samples in ``pclmix_snapshots`` to the next; those of the
    first and of the last epoch are drawn in any case. 0: no such pictures."""

    def __post_init__(self) -> None:
        at_least_zero = (
            "lambda_auxiliary partial_dice lambda_background lambda_mixed_scribble lambda_pseudo "
            "pseudo_ramp lambda_heterogeneous heterogeneous_ramp lambda_contrast contrast_power "
            "snapshot_every"
        )
        positive = (
            "auxiliary_stride auxiliary_max_width auxiliary_window temperature embedding_dim "
            "embedding_stride memory_size memory_total anchors_per_class anchors_total "
            "anchor_min_pixels"
        )
        fractions = "patches_anywhere mix_area certainty_low contrast_start"
        wrong = [
            f"{name} = {getattr(self, name)} must be {rule}"
            for names, rule, ok in (
                (at_least_zero, "0 or more", lambda v: v >= 0),
                (positive, "above 0", lambda v: v > 0),
                (fractions, "between 0 and 1", lambda v: 0 <= v <= 1),
            )
            for name in names.split()
            if not ok(getattr(self, name))
        ]
        if not 0 < self.mix_area < 1:
            wrong.append(f"mix_area = {self.mix_area} must leave something to mix with")
        if self.heterogeneous_on not in ("logits", "probabilities"):
            wrong.append(f"heterogeneous_on = {self.heterogeneous_on!r}: logits or probabilities")
        if wrong:
            raise ValueError("; ".join(wrong))

    def memory_per_class(self, num_classes: int) -> int:
        """Queue entries per class: `memory_size`, less where `memory_total` is not enough."""
        return max(1, min(self.memory_size, self.memory_total // num_classes))


ONE_PASS = PCLMixConfig(dynamic_mix=False, auxiliary_decoder=False, contrast=False)
"""What `nnUNetTrainerPCLMix` trains with: the strokes, and the background that they imply. One pass
instead of two; the whole method is `PCLMixConfig()`. What was compared: docs/results.md."""
