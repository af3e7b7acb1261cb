"""Of which data set a model or predictions are, as far as their folders say it."""

from __future__ import annotations

import re
from pathlib import Path

from scribble_tools.json_files import Record, Text, read_json

PREDICTION = "prediction.json"  # the record of `predict`
PLANS = "plans.json"  # that nnUNetv2_predict copies


def is_dataset_name(name: str) -> bool:
    """Whether it is nnU-Net's ``DatasetNNN_name``."""
    return re.fullmatch(r"Dataset\d{3}_.+", name) is not None


def dataset_of_model(folder: Path) -> str:
    """``DatasetNNN_name`` of a model or fold in nnUNet_results; nothing of one elsewhere."""
    above = folder.absolute().parents[:2]
    return next((own.name for own in above if is_dataset_name(own.name)), "")


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
