"""Early warnings: what the logged series say when a training goes wrong in one of the known ways.

A warning follows from the series alone, so that a training that is continued warns as one that was
not interrupted.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

# All that is warned of is normal for a while: a network begins uncertain, labels everything as one
# class, and finds the rare classes last. A thousand iterations are four of nnU-Net's epochs; data
# sets with many or rare classes need longer and are trained longer, hence the share.
LONG_ITERATIONS = 1000
LONG_SHARE = 0.02
# Said again while it stays true, because few read the beginning of a long log.
REPEAT_EPOCHS = 50
# Background alone is most of an image, and certain after a few hundred iterations.
NOTHING_CERTAIN = 0.01
# Borders are uncertain to whoever has seen strokes alone, and more than this even of patches with a
# small lesion. Late in a training the threshold nears ln 2, under which all is where a voxel is of
# two classes, or in a region or not.
ALL_CERTAIN, ALL_CERTAIN_UNTIL = 0.99999, 0.5
# A dense prediction covers its strokes: a class is predicted in more voxels than it is annotated
# in, however rare it is. One predicted in a twentieth of them is as good as lost.
LOST = 0.05
# Trust rises within a few hundred iterations where training goes well. Below this the background
# that strokes imply has next to no weight, and stays untaught.
LITTLE_TRUST = 0.1
TRUST_ITERATIONS = 500

WEIGHT = "pclmix_weight_"
DECODERS = {"main": "main decoder", "auxiliary": "auxiliary decoder"}
LOOK = "Look at pclmix_snapshots, or at pclmix_losses.png since when."
LATER = ", or let the pseudo labels, which repeat the mistake, begin later (pseudo_ramp)"

Series = Mapping[str, Sequence]
Condition = Callable[[int], bool]


def find_warnings(
    series: Series, classes: Sequence[str], iterations_per_epoch: int, planned_epochs: int
) -> list[str]:
    """What has to be said after the latest epoch; mostly nothing.

    Args:
        series: one entry per epoch, by the names of ``StepDiagnostics`` with ``pclmix_`` before.
        classes: names, the background first.
    """
    epochs = len(series["pclmix_annotated"])

    def as_epochs(iterations: int) -> int:
        share = LONG_SHARE * planned_epochs * iterations_per_epoch
        return max(2, math.ceil(max(iterations, share) / iterations_per_epoch))

    long_epochs, trust_epochs = as_epochs(LONG_ITERATIONS), as_epochs(TRUST_ITERATIONS)

    def due(wrong: Condition, least: int = long_epochs) -> bool:
        """Whether an epoch has been wrong for long, and it is time to say so (again)."""
        held = 0
        while held < epochs and wrong(epochs - 1 - held):
            held += 1
        return held >= least and (held - least) % REPEAT_EPOCHS == 0

    found = []
    certain = series.get("pclmix_certain_share", [math.nan] * epochs)
    if due(lambda epoch: certain[epoch] < NOTHING_CERTAIN):
        found.append(
            f"fewer than {NOTHING_CERTAIN:.0%} of the voxels are certain, so that the contrast "
            f"learns from the scribbles alone. {LOOK} If the scribble terms hardly fall either, "
            "the network does not learn: do scribbles and images fit (scribble_tools check)?"
        )
    trust = series.get("pclmix_stroke_trust", [math.nan] * epochs)
    distrust = []
    if due(lambda epoch: trust[epoch] < LITTLE_TRUST, trust_epochs):
        distrust.append(
            f"for {trust_epochs} epochs or longer the trust in strokes (stroke_trust) has been "
            f"below {LITTLE_TRUST:g}: the network does not recognise the classes at their own "
            "strokes, so that nothing is learned of the background that they imply. "
            f"{LOOK} Does a patch show most of the image (nnunetv2_pclmix small-plans chooses one "
            "that does)? Do strokes and images fit (scribble_tools check)? Is the training long "
            "enough?"
        )
    later = LATER if "pclmix_pseudo_main" in series else ""  # the default trainer has none
    early = epochs <= ALL_CERTAIN_UNTIL * planned_epochs
    if early and due(lambda epoch: certain[epoch] > ALL_CERTAIN):
        found.append(
            f"every voxel is certain, as if there were no borders. {LOOK} Draw more strokes where "
            f"what is predicted is wrong{later}"
        )
    for decoder, title in DECODERS.items():
        if f"pclmix_predicted_{decoder}" in series:
            found += _of_decoder(_Classes(series, decoder), title, classes, due, later)
    found = distrust + [f"for {long_epochs} epochs or longer {text}" for text in found]
    terms = [f"pclmix_{name.removeprefix(WEIGHT)}" for name in series if name.startswith(WEIGHT)]

    def not_finite(epoch: int) -> list[str]:
        return [name for name in terms if not math.isfinite(series[name][epoch])]

    recent = range(max(0, epochs - REPEAT_EPOCHS), epochs - 1)
    if (now := not_finite(epochs - 1)) and not any(map(not_finite, recent)):
        found.append(
            f"the loss was not finite at least once in this epoch ({', '.join(now)}). Mixed "
            "precision skips such a step; many in a row stop the training"
        )
    return [f"WARNING: {text}" for text in found]


class _Classes:
    """What was annotated in an epoch, and what of it a decoder did not predict, or hardly."""

    def __init__(self, series: Series, decoder: str) -> None:
        names = ("annotated_share", "annotated", f"predicted_{decoder}")
        self._series = [series[f"pclmix_{name}"] for name in names]
        self.of = functools.cache(self.of)  # asked for every class anew

    def of(self, epoch: int) -> tuple[frozenset[int], frozenset[int]]:
        """Classes annotated, and those of them that are lost; none where nothing is known."""
        share, annotated, predicted = (values[epoch] for values in self._series)
        if math.isnan(share):
            return frozenset(), frozenset()
        # the background's is what the others leave
        annotated = [share - sum(annotated), *annotated]
        predicted = [1 - sum(predicted), *predicted]
        present = frozenset(k for k, share in enumerate(annotated) if share > 1e-9)  # rounding
        return present, frozenset(k for k in present if predicted[k] < LOST * annotated[k])

    def collapsed(self, epoch: int) -> bool:
        """Whether all annotated classes but one are lost."""
        present, lost = self.of(epoch)
        return len(present) > 1 and len(present - lost) == 1

    def lost(self, number: int, epoch: int) -> bool:
        """Whether a class is lost, and others are not."""
        return number in self.of(epoch)[1] and not self.collapsed(epoch)


def _of_decoder(
    seen: _Classes,
    title: str,
    classes: Sequence[str],
    due: Callable[[Condition], bool],
    later: str,
) -> list[str]:
    if due(seen.collapsed):
        present, lost = seen.of(-1)
        (kept,) = present - lost
        return [
            f"the {title} labels everything as {classes[kept]}. {LOOK} Are the other classes, and "
            "the background, annotated in enough cases (scribble_tools check)? If it began at "
            "once, try a lower learning rate"
        ]
    names = [name for k, name in enumerate(classes) if due(functools.partial(seen.lost, k))]
    if not names:
        return []
    return [
        f"the {title} has lost {', '.join(names)}: predicted in fewer voxels than are annotated "
        f"so. {LOOK} Draw more strokes of it, also where it is mistaken for something else{later}"
    ]
