"""Of which data set a model or predictions are, as far as their folders say it."""

from __future__ import annotations

import re
from pathlib import Path

from scribble_tools.json_files import Record, Text, read_json

PREDICTION = "prediction.json"  # the record of `predict`
PLANS = "plans.json"  # that nnUNetv2_predict copies
ARGUMENTS = "predict_from_raw_data_args.json"  # that it writes beside its predictions


def is_dataset_name(name: str) -> bool:
    """Whether it is nnU-Net's ``DatasetNNN_name``."""
    return re.fullmatch(r"Dataset\d{3}_.+", name) is not None


def dataset_of_model(folder: Path) -> str:
    """``DatasetNNN_name`` of a model or fold in nnUNet_results; nothing of one elsewhere."""
    above = folder.absolute().parents[:2]
    return next((own.name for own in above if is_dataset_name(own.name)), "")


def predicted_by(folder: Path) -> str:
    """The command that wrote a folder of labels, by its own record; nothing if none did."""
    commands = {PREDICTION: "scribble_tools predict", ARGUMENTS: "nnUNetv2_predict"}
    return next((words for file, words in commands.items() if (folder / file).is_file()), "")


def dataset_of_predictions(folder: Path) -> str:
    """``DatasetNNN_name`` of the model that predicted a folder of labels; nothing if unknown."""
    for file, key in ((PREDICTION, "model"), (PLANS, "dataset_name")):
        try:
            said = read_json(folder / file, Record(required={key: Text()}))[key]
        except (OSError, ValueError):
            continue
        if key == "model":
            return dataset_of_model(Path(said))
        return said if is_dataset_name(said) else ""
    return ""
