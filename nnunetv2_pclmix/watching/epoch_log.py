"""What is logged of an epoch: series in nnU-Net's logger, lines and warnings in the text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.term_weights import term_weights
from nnunetv2_pclmix.watching.early_warnings import find_warnings
from nnunetv2_pclmix.watching.step_diagnostics import series_names


class EpochLog:
    """Logs the terms, their weights and the shares of each epoch.

    Args:
        config: says which there are.
        logger: nnU-Net's.
        tell: takes lines for the log.
    """

    def __init__(self, config: PCLMixConfig, logger: Any, tell: Callable[[str], None]) -> None:
        self.config, self.logger, self.tell = config, logger, tell
        self.term_names = list(term_weights(config, 0.0))
        weights = [f"weight_{name}" for name in self.term_names]
        self._series_names = [*self.term_names, *weights, *series_names(config)]

    def announce(self, epoch: int) -> None:
        """nnU-Net's logger wants every series announced, with one value per epoch.

        That is NaN for epochs that were trained by a version that did not log it.
        """
        for name in self._series_names:
            series = self.logger.local_logger.my_fantastic_logging
            series.setdefault(f"pclmix_{name}", [math.nan] * epoch)

    def log(
        self, epoch: int, progress: float, means: Sequence[float], shares: Mapping[str, Any]
    ) -> None:
        """Log an epoch.

        Args:
            progress: at its end.
            means: of the terms over its iterations.
            shares: as `StepDiagnostics.summary` gives them.
        """
        weights = term_weights(self.config, progress)
        terms = {name: float(v) for name, v in zip(self.term_names, means, strict=True)}
        values = terms | {f"weight_{name}": weights[name] for name in terms} | dict(shares)
        for name in self._series_names:
            self.logger.log(f"pclmix_{name}", values[name], epoch)
        for line in epoch_lines(terms, weights, shares):
            self.tell(line)

    def warn(self, classes: Sequence[str], iterations: int, epochs: int) -> None:
        """Say what goes wrong in one of the known ways, see `find_warnings`."""
        for warning in find_warnings(self.logger.get_checkpoint(), classes, iterations, epochs):
            self.tell(warning)


def epoch_lines(
    terms: Mapping[str, float], weights: Mapping[str, float], shares: Mapping[str, object]
) -> list[str]:
    """The terms with their weights, and the shares that are single numbers.

    Args:
        terms: mean of each over the epoch.
        weights: of the terms, at the end of the epoch.
        shares: those by class are not among the lines.
    """
    with_weights = (f"{name} {value:.4f} x {weights[name]:.3g}" for name, value in terms.items())
    single = (f"{name} {share:.4f}" for name, share in shares.items() if isinstance(share, float))
    return [
        f"PCLMix terms (mean, x weight at the end of the epoch): {', '.join(with_weights)}",
        f"PCLMix shares: {', '.join(single)}",
    ]
