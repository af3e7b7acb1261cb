"""Dense Dice and HD95 of the final validation, where dense labels of its cases exist.

nnU-Net scores its final validation on annotated voxels only. A few of the cases may have dense
labels in ``labelsTr_dense`` beside ``labelsTr``: nnU-Net never reads that folder. Here they judge
the finished model. Nothing is trained with them or selected by them.
"""

from __future__ import annotations

import os
from pathlib import Path

from scribble_tools.dataset.label_set import LabelSet, label_set_of
from scribble_tools.dataset.raw import read_dataset_json
from scribble_tools.dataset.writing import write_json
from scribble_tools.evaluate.command import evaluate_folders
from scribble_tools.evaluate.summary import finite_or_none, summarise
from scribble_tools.wording import counted

DENSE_LABELS = "labelsTr_dense"
SUMMARY = "summary_dense.json"
MEANING = (
    "nnU-Net's validation Dice (summary.json) covers annotated voxels only: it says how well the "
    "strokes are met and nothing about the voxels between them, where false islands lie"
)


def dense_labels_of(dataset_name: str) -> Path | None:
    """Where dense labels of a raw data set lie, if nnU-Net's folder is known."""
    raw = os.environ.get("nnUNet_raw")
    return Path(raw, dataset_name, DENSE_LABELS) if raw else None


def score_validation(
    validation: Path, dataset_json: Path, dense_labels: Path | None, num_processes: int = 1
) -> str:
    """Score the predictions of ``fold_X/validation`` densely and say what the printed Dice means.

    Writes ``validation/summary_dense.json``, or removes an old one, which was of other predictions.
    Whatever is wrong with the dense labels becomes part of the text: the training is over, and its
    result must not be lost over a file that it does not need.

    Args:
        validation: nnU-Net's folder of predictions.
        dataset_json: names the classes and the file ending.
        dense_labels: folder of dense labels, named as the cases are; None where there can be none.
        num_processes: to score cases in.

    Returns:
        Text for the log.
    """
    try:
        (validation / SUMMARY).unlink(missing_ok=True)
        summary = dense_summary(validation, dataset_json, dense_labels, num_processes)
        if summary is None:
            return (
                f"{MEANING}. For Dice and HD95 of whole images, put dense labels of some "
                f"validation cases into {dense_labels or f'{DENSE_LABELS} of the raw data set'}"
            )
        write_json(summary, validation / SUMMARY)
    # RuntimeError: SimpleITK, and worker processes that died
    except (OSError, ValueError, RuntimeError) as error:
        return f"{MEANING}. The dense labels in {dense_labels} could not be used: {error}"
    rows = [*summary["per_class"].items(), ("mean over classes", summary["overall"])]
    unit, cases = summary["unit"], counted(summary["validation_cases"], "case")
    scores = "; ".join(
        f"{name} Dice {_number(row['dice'], 4)}, HD95 {_number(row['hd95_mm'], 2)} {unit}"
        for name, row in rows
    )
    return (
        f"Dense validation, {len(summary['scored_cases'])} of {cases} (used for neither training "
        f"nor selection): {scores}. {MEANING}"
    )


def dense_summary(
    validation: Path, dataset_json: Path, dense_labels: Path | None, num_processes: int = 1
) -> dict | None:
    """Scores of the validation cases that have dense labels; None if none has.

    Returns:
        ``scored_cases``, ``validation_cases`` (number), ``unit`` of lengths, ``per_class``,
        ``overall``, ``statistics`` as in `scribble_tools.evaluate.summary.summarise`, ``cases``
        (one row per case and class) and ``notes``. What is not finite is None.

    Raises:
        OSError, RuntimeError, ValueError: a file cannot be read, or does not fit its prediction.
    """
    content = read_dataset_json(dataset_json)
    ending = content.get("file_ending", ".nii.gz")
    predicted = {path.name for path in validation.glob(f"*{ending}")}
    if dense_labels is None or not dense_labels.is_dir():
        return None
    available = predicted & {path.name for path in dense_labels.glob(f"*{ending}")}
    if not available:
        return None
    cases = sorted(name.removesuffix(ending) for name in available)
    # the ignore label is no class and, in a dense label map, no voxel has it; where one has, it is
    # left out of the scores
    labels: LabelSet = label_set_of(content["labels"])
    evaluation = evaluate_folders(validation, dense_labels, labels, ending, num_processes, cases)
    summary = summarise(evaluation.scores)
    return {
        "scored_cases": cases,
        "validation_cases": len(predicted),
        "reference": str(dense_labels),
        "unit": evaluation.unit,
        **finite_or_none(summary),
        "cases": [finite_or_none(score.as_row()) for score in evaluation.scores],
        "notes": {note: list(about) for note, about in evaluation.notes.items()},
    }


def _number(value: float | None, decimals: int) -> str:
    return "undefined" if value is None else f"{value:.{decimals}f}"
