"""What has to be in the training cases' annotations, checked before hours are spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def check_annotations(
    dataset_class: type, folder: str, cases: Sequence[str], names: Mapping[int, str]
) -> None:
    """Refuse to train when a class, or the background, has no annotated voxel in any case.

    Args:
        dataset_class: nnU-Net's class for reading preprocessed cases.
        folder: preprocessed data of one configuration.
        cases: training cases.
        names: label value to name, without the ignore label.

    Raises:
        RuntimeError: names every class that is missing, and the remedy.
    """
    dataset = dataset_class(folder, list(cases))
    missing = set(names)
    for case in cases:
        if not missing:
            break
        _, labels, _, properties = dataset.load_case(case)
        # nnU-Net noted where it saw each foreground class; only the background needs a look at
        # the labels themselves. -1 is background that lies on zero intensity (outside the body in
        # cropped images); nnU-Net's augmentation turns it back into 0.
        seen = {k for k, v in properties["class_locations"].items() if len(v)}
        if 0 in missing and bool((labels[:] <= 0).any()):
            seen.add(0)
        missing -= seen
    if not missing:
        return
    what = ", ".join(f"{names[value]} (label {value})" for value in sorted(missing))
    message = f"no voxel of {what} is annotated in any of the {len(cases)} training cases"
    if 0 in missing:
        message += (
            ". Draw background scribbles too: without them nothing tells the network what is not "
            "an organ. If 0 means 'unlabelled' in your files, convert it to the ignore label"
        )
    if missing - {0}:
        message += (
            ". Scribble every class in some training cases (of this fold's split), or take the "
            "class out of dataset.json"
        )
    raise RuntimeError(message + ". Then run nnUNetv2_plan_and_preprocess again")
