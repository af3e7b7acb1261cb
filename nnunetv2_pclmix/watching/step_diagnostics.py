"""What a training step tells of itself beside its losses, computed without waiting for the device.

A step measures counts in one vector, which travels with the losses. Means of it over iterations and
processes give the shares of an epoch, because every count keeps the number it is a share of.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.certainty_label import mean_probabilities
from nnunetv2_pclmix.method.label_encoding import LabelEncoding
from nnunetv2_pclmix.method.network import TrainingOutput
from nnunetv2_pclmix.method.pixel_memory import PixelMemory
from nnunetv2_pclmix.method.stroke_support import StrokeSupport

# Every fourth voxel along each axis is looked at: a sixteenth in 2D, a 64th in 3D. Over the
# iterations of an epoch that is a sample of hundreds of thousands, for next to no time.
SAMPLE_STRIDE = 4

CLIPPED_NORM = 12.0
"""The norm of the gradient above which nnU-Net clips it."""

Summary = dict[str, float | list[float]]


def series_names(config: PCLMixConfig) -> list[str]:
    """Names of the series that `StepDiagnostics.summary` gives with these settings."""
    names = ["annotated_share", "annotated", "predicted_main"]
    names += ["predicted_auxiliary", "decoder_agreement"] * config.auxiliary_decoder
    names += ["certain_share", "queue_fill"] * config.contrast
    names += ["stroke_trust", "implied_share", "unknown_share"] * config.stroke_support
    return [*names, "gradient_norm", "clipped_share"]


@torch.no_grad()
def gradient_counts(norm: Tensor) -> Tensor:
    """What `StepDiagnostics.summary` wants to know of the gradient of a step, (3,) float32.

    Args:
        norm: before clipping; not finite where mixed precision skips the step.
    """
    norm = norm.detach().float()
    finite = norm.nan_to_num(nan=0.0, posinf=0.0)
    return torch.stack((finite, norm < torch.inf, finite > CLIPPED_NORM))


class StepDiagnostics:
    """The measured vector and its meaning, a share by name.

    ========================================= =====================================================
    annotated_share                           voxels that are annotated
    annotated                                 ... as each foreground class
    predicted_main, predicted_auxiliary       voxels that each decoder labels as each foreground
                                              class: what dynamic mix makes pseudo labels of
    decoder_agreement                         voxels on whose label the decoders agree
    certain_share                             voxels whose mean prediction is certain
    queue_fill                                entries in the contrast's memory, of those that fit
    stroke_trust                              how far what the strokes imply is trusted, from 0 to 1
    implied_share                             voxels that are background by implication
    unknown_share                             predicted foreground that no stroke reaches
    gradient_norm                             mean norm of the gradient of both passes together
    clipped_share                             steps whose gradient was clipped
    ========================================= =====================================================

    What is said of each foreground class is a list, the n-th entry of which nnU-Net's loggers call
    ``class_n``.
    """

    def __init__(self, config: PCLMixConfig, labels: LabelEncoding) -> None:
        self.names = series_names(config)
        self.labels = labels

    @torch.no_grad()
    def measure(
        self,
        output: TrainingOutput,
        scribble: Tensor,
        threshold: float,
        memory: PixelMemory | None,
        support: StrokeSupport | None,
    ) -> Tensor:
        """Counts of one step, (n,) float32 on the device.

        Args:
            output: of the first pass.
            scribble: (B, T, *spatial).
            threshold: entropy in nats up to which a voxel is certain.
            memory: of the contrast, None without.
            support: what the strokes say of the output, None without.
        """
        labels = self.labels
        every = (..., *[slice(None, None, SAMPLE_STRIDE)] * (scribble.ndim - 2))
        main = output.main[0][every]
        maps = [labels.exclusive(scribble[every]), labels.exclusive(labels.predict(main))]
        auxiliary = None
        if output.auxiliary is not None:
            auxiliary = output.auxiliary[every]
            maps.append(labels.exclusive(labels.predict(auxiliary)))
        flat = torch.stack(maps).flatten(1)  # (maps, voxels)
        classes = torch.arange(labels.num_classes, device=flat.device)
        parts = [flat.new_full((1,), flat.shape[1])]
        parts.append((flat[:, None] == classes[:, None]).sum(2).flatten())
        if auxiliary is not None:
            parts.append((flat[1] == flat[2]).sum(0, keepdim=True))
        if memory is not None:
            uncertainty = labels.uncertainty(mean_probabilities(labels, main, auxiliary))
            parts.append((uncertainty <= threshold).sum().view(1))
            parts.append(memory.filled.sum(0, keepdim=True))
        if support is not None:
            parts.append(support.trust.view(1) * flat.shape[1])
            parts += [mask[every].sum().view(1) for mask in (support.background, support.unknown)]
        return torch.cat(parts).float()

    def summary(self, counts: Sequence[float], memory: PixelMemory | None) -> Summary:
        """The shares behind counts, or means of counts: those of `measure`, `gradient_counts`."""
        number = self.labels.num_classes
        voxels, *counts, norm, steps, clipped = (float(count) for count in counts)
        rest = iter([count / voxels for count in counts])

        def per_class() -> list[float]:
            return [next(rest) for _ in range(number)]

        annotated = per_class()
        result: Summary = {
            "annotated_share": sum(annotated),
            "annotated": annotated[1:],
            "predicted_main": per_class()[1:],
        }
        if "decoder_agreement" in self.names:
            result["predicted_auxiliary"] = per_class()[1:]
            result["decoder_agreement"] = next(rest)
        if memory is not None:
            result["certain_share"] = next(rest)
            result["queue_fill"] = next(rest) * voxels / (number * memory.size)
        # the last in the vector and among the names
        result |= zip(self.names[len(result) : -2], rest, strict=True)
        steps = max(steps, 1e-9)  # none was finite
        return result | {"gradient_norm": norm / steps, "clipped_share": clipped / steps}
