"""How weights and thresholds change with progress, the fraction of the training that is done."""

from __future__ import annotations

import math


def sigmoid_ramp(progress: float, length: float = 1.0) -> float:
    """exp(-5 (1 - s)^2) with s = progress / length, held at 1 afterwards; 1 for ``length`` 0.

    The ramp of Laine and Aila (ICLR 2017), used in PCLMix for lambda_het and the threshold h.
    """
    if length == 0 or progress >= length:
        return 1.0
    return math.exp(-5.0 * (1.0 - max(progress, 0.0) / length) ** 2)


def linear_fall(progress: float, length: float) -> float:
    """1 - progress / length, 0 afterwards; 1 throughout for ``length`` 0."""
    return max(0.0, 1.0 - progress / length) if length else 1.0


def certainty_threshold(progress: float, low: float = 0.75) -> float:
    """h(t) = (low + (1 - low) r(t/T)) ln 2, in nats: entropies up to it count as certain."""
    return (low + (1.0 - low) * sigmoid_ramp(progress)) * math.log(2.0)


def delayed_power(progress: float, start: float, power: float) -> float:
    """0 before ``start``, then progress ** power: the schedule of lambda_ctr."""
    return progress**power if progress >= start else 0.0
