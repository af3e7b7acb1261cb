"""Is what a training reads as new as the raw data? Only a look at times, names and folds."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from scribble_tools.dataset.preprocessed_plans import cases_in, is_older, preprocess_command
from scribble_tools.dataset.raw import files_by_case
from scribble_tools.dataset.writing import SPLITS, read_splits
from scribble_tools.wording import counted, some_of


def age_warnings(folder: Path, content: Mapping, fold: Collection[str]) -> list[str]:
    """What to say where labels are newer than the preprocessed data, or cases in no data or fold.

    Nothing where the raw data set is not here: a training does not need it.

    Args:
        folder: preprocessed data of one configuration, in the folder of the data set.
        content: of the data set's dataset.json.
        fold: cases to train on and to validate on.
    """
    raw = os.environ.get("nnUNet_raw")
    if not raw or "dataset" in content:  # lists files that lie anywhere
        return []
    try:
        return _warnings(folder, Path(raw, folder.parent.name), content["file_ending"], fold)
    except (OSError, ValueError):
        return []  # whatever it is, `check` says it, and the training can do without


def _warnings(folder: Path, raw: Path, ending: str, fold: Collection[str]) -> list[str]:
    done = cases_in(folder)
    labels = files_by_case(raw / "labelsTr", ending)
    first = {case: raw / f"imagesTr/{case}_0000{ending}" for case in labels}

    def is_old(case: str) -> bool:
        files = (labels[case], first[case])
        return any(path.is_file() and is_older(done[case], path) for path in files)

    old = [case for case in labels if case in done and case in fold and is_old(case)]
    # nnU-Net leaves out a label without an image
    new = [case for case in labels if case not in done and first[case].exists()]
    command = preprocess_command(folder.parent, folder.name) if old or new else ""
    lines = []
    if old:
        lines.append(
            f"WARNING: labels or images of {counted(len(old), 'case')} are newer than the "
            f"preprocessed data (by modification time): {some_of(old)}. This training uses the old "
            f"ones. Unless the files were only copied, run: {command}"
        )
    if new:
        lines.append(
            f"WARNING: {counted(len(new), 'case')} of the raw data set "
            f"{'is' if len(new) == 1 else 'are'} not preprocessed: {some_of(new)}. This training "
            f"does without. Whether the folds have all cases says scribble_tools check "
            f"{raw.name[7:10]}. To preprocess again, run: {command}"
        )
    of_folds = _in_folds(folder.parent / SPLITS)
    if of_folds and (apart := [case for case in labels if case in done and case not in of_folds]):
        lines.append(
            f"WARNING: {counted(len(apart), 'case')} of the raw data set "
            f"{'is' if len(apart) == 1 else 'are'} in no fold of {SPLITS}: {some_of(apart)}. No "
            "training uses them. To take the data set's folds, run: "
            f"scribble_tools install-splits {raw.name[7:10]} --overwrite"
        )
    return lines


def _in_folds(splits: Path) -> set[str]:
    """The cases of all folds; none where there is no such file, and nnU-Net makes folds."""
    folds = read_splits(splits) if splits.is_file() else []
    return {case for fold in folds for side in ("train", "val") for case in fold[side]}
