"""What the log says of an epoch, beside nnU-Net's own lines."""

from __future__ import annotations

from collections.abc import Mapping


def epoch_lines(
    terms: Mapping[str, float], weights: Mapping[str, float], shares: Mapping[str, object]
) -> list[str]:
    """The terms with their weights, and the shares that are single numbers.

    Args:
        terms: mean of each over the epoch.
        weights: of the terms, at the end of the epoch.
        shares: as `StepDiagnostics.summary` gives them; those by class are not among the lines.
    """
    with_weights = (f"{name} {value:.4f} x {weights[name]:.3g}" for name, value in terms.items())
    single = (f"{name} {share:.4f}" for name, share in shares.items() if isinstance(share, float))
    return [
        f"PCLMix terms (mean, x weight at the end of the epoch): {', '.join(with_weights)}",
        f"PCLMix shares: {', '.join(single)}",
    ]
