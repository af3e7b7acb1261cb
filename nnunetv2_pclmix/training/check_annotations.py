"""What has to be in the training cases' annotations, checked before hours are spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunetv2_pclmix.training.patch_sampling import OUTSIDE
from nnunetv2_pclmix.training.requirements import CannotTrain
from scribble_tools.dataset.preprocessed_plans import lacking_in_words

BACKGROUND = frozenset([0])


def _words(key: Sequence[int]) -> str:
    """The labels in a key of nnU-Net's for all that is annotated."""
    return ", ".join(str(value) for value in key if value != OUTSIDE)


def _values(label: int | Sequence[int]) -> frozenset[int]:
    """The values that a label, or a region, consists of."""
    return frozenset(label if isinstance(label, (tuple, list)) else [label])


def check_annotations(
    dataset_class: type,
    folder: str,
    cases: Sequence[str],
    labels: Mapping[str, int | Sequence[int]],
    others: Sequence[str] = (),
) -> None:
    """Refuse to train when a class, a region or the background is annotated in no case.

    Or when cases were added, or ``dataset.json`` was changed, since preprocessing: nnU-Net's
    loader looks for annotated voxels under the labels that there are now.

    Args:
        dataset_class: nnU-Net's class for reading preprocessed cases.
        folder: preprocessed data of one configuration.
        cases: training cases.
        labels: of ``dataset.json``, name to value or, for a region, values.
        others: cases to validate on.

    Raises:
        CannotTrain: names every case or class that is missing, or both lists of labels, and the
            remedy.
    """
    if lacking := lacking_in_words(Path(folder), [*cases, *others]):
        raise CannotTrain(lacking)
    dataset = dataset_class(folder, list(cases))
    names = {_values(value): name for name, value in labels.items() if name != "ignore"}
    missing = set(names)
    then = now = (OUTSIDE, *sorted(set().union(*names)))
    for case in cases:
        if not missing:
            break
        _, labels_of_case, _, properties = dataset.load_case(case)
        # nnU-Net noted where it saw each foreground class or region; only the background needs a
        # look at the labels themselves. -1 is background that lies on zero intensity (outside the
        # body in cropped images); augmentation turns it back into 0.
        locations = properties["class_locations"]
        then = next((k for k in locations if isinstance(k, tuple) and OUTSIDE in k), ())
        seen = {_values(k) for k, v in locations.items() if len(v)}
        if BACKGROUND in missing and bool((labels_of_case[:] <= 0).any()):
            seen.add(BACKGROUND)
        missing -= seen
    if not missing:
        if then == now:
            return
        had = f"with the labels {_words(then)}" if then else "without an 'ignore' label"
        raise CannotTrain(
            f"{Path(folder).name} was preprocessed {had}, dataset.json now has {_words(now)} and "
            "'ignore'. Put the old ones back, or run nnUNetv2_plan_and_preprocess again"
        )
    what = ", ".join(
        f"{names[values]} (label{'s' * (len(values) > 1)} {', '.join(map(str, sorted(values)))})"
        for values in sorted(missing, key=sorted)
    )
    message = f"no voxel of {what} is annotated in any of the {len(cases)} training cases"
    if BACKGROUND in missing:
        message += (
            ". Draw background scribbles too: without them nothing tells the network what is not "
            "an organ. If 0 means 'unlabelled' in your files, convert it to the ignore label"
        )
    if missing - {BACKGROUND}:
        message += (
            ". Scribble every class in some training cases (of this fold's split), or convert "
            "again without the class"
        )
    message += (
        ". If the files do have it, the strokes are too thin for the voxels of "
        f"{Path(folder).name}, so that nnU-Net's resampling lost them: widen them, or train a "
        "configuration of finer spacing"
    )
    raise CannotTrain(message + ". Then run nnUNetv2_plan_and_preprocess again")
