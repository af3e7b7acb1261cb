"""Dual consistency: agreement of the decoders, and agreement with the mixed pseudo label."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_pclmix.method.certainty_label import mean_probabilities, predicted_target
from nnunetv2_pclmix.method.global_mean import Mean
from nnunetv2_pclmix.method.label_encoding import LabelEncoding
from nnunetv2_pclmix.method.stroke_support import StrokeSupport


def squared_difference(
    main_logits: Tensor,
    auxiliary_logits: Tensor,
    probabilities: Callable[[Tensor], Tensor] | None = None,
) -> Mean:
    """Squared difference of the decoders' (B, C, *spatial) probabilities, or of their logits.

    Of probabilities the sum over the channels, averaged over the voxels, which is at most 2 for a
    softmax. Of logits the mean over channels and voxels, as the authors take it; it is unbounded,
    and half of its gradient is a shift of all channels that softmax does not see.

    Args:
        probabilities: softmax over the channels, or sigmoid, in float32; without it the logits are
            compared.
    """
    count = main_logits.numel()
    if probabilities is None:
        one, two = main_logits.float(), auxiliary_logits.float()
    else:
        one, two = probabilities(main_logits), probabilities(auxiliary_logits)
        count //= one.shape[1]
    total = F.mse_loss(one, two, reduction="sum")
    # filled on the device: a number copied there would make the host wait
    return Mean(total, total.new_full((), count, dtype=torch.int64))


def heterogeneous_consistency(
    main_logits: Tensor,
    auxiliary_logits: Tensor,
    probabilities: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The value of `squared_difference`, a scalar.

    Example:
        Decoders that are sure of opposite classes differ by 2, the most there is:

        >>> import torch
        >>> main = torch.tensor([[[20.0], [-20.0]]])
        >>> softmax = lambda logits: logits.softmax(1)
        >>> heterogeneous_consistency(main, -main, softmax).item()
        2.0
        >>> heterogeneous_consistency(main, main + 3, softmax).item()
        0.0
    """
    return squared_difference(main_logits, auxiliary_logits, probabilities).value()


@torch.no_grad()
def pseudo_labels(
    labels: LabelEncoding,
    main_logits: Tensor,
    auxiliary_logits: Tensor | None,
    scribble: Tensor,
    support: StrokeSupport | None = None,
    of_mean: bool = False,
    threshold: float | Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Labels (B, T, *spatial) of both decoders, which dynamic mix makes the mixed pseudo label of.

    PCLMix mixes the softmax of D_c on the first source with that of D_t on the second and takes the
    argmax. Mixing copies and never blends, so mixing their argmax gives the same label; and so for
    the sigmoid of regions and its threshold.

    Args:
        main_logits: (B, C, *spatial) of D_c.
        auxiliary_logits: of D_t; None without, and both labels are D_c's.
        scribble: (B, T, *spatial), which the labels keep where it is annotated.
        support: what the strokes say of the prediction, which corrects it.
        of_mean: both labels are those of the decoders' mean probabilities.
        threshold: entropy in nats above which a voxel is ignored; none is without it.

    Example:
        Each decoder's label, but a scribbled voxel keeps its scribble; 2 is "not annotated":

        >>> import torch
        >>> from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
        >>> main = torch.tensor([[[3.0, 0.0, 0.0], [0.0, 3.0, 3.0]]])
        >>> scribble = torch.tensor([[[2, 2, 0]]])
        >>> of_main, of_auxiliary = pseudo_labels(ExclusiveLabels(2), main, -main, scribble)
        >>> of_main[0, 0].tolist(), of_auxiliary[0, 0].tolist()
        ([0, 1, 0], [1, 0, 0])
    """
    scores = [logits for logits in (main_logits, auxiliary_logits) if logits is not None]
    present = 0.0
    if of_mean:
        scores, present = [mean_probabilities(labels, main_logits, auxiliary_logits)], 0.5
    elif threshold is not None:
        scores, present = [labels.probabilities(logits) for logits in scores], 0.5
    targets = [
        predicted_target(labels, score, scribble, threshold, support, present) for score in scores
    ]
    return targets[0], targets[-1]
