"""Is dataset.json what nnU-Net can work with?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scribble_tools.check.findings import Finding
from scribble_tools.dataset.label_set import LabelSet, label_set_of
from scribble_tools.dataset.raw import FILE, read_dataset_json
from scribble_tools.dataset.writing import IGNORE
from scribble_tools.images.file_kind import file_ending_of
from scribble_tools.images.image_files import files_in
from scribble_tools.json_files import Record

EXAMPLE = '{"background": 0, "RV": 1, "ignore": 2}'


@dataclass(frozen=True)
class Description:
    """What dataset.json says, as far as it can be used.

    Attributes:
        labels: None when they are unusable.
        channels: channel names in order; empty when unknown.
        file_ending: where dataset.json is wrong, the ending that the label files have.
    """

    labels: LabelSet | None
    channels: tuple[str, ...]
    file_ending: str
    content: Mapping = field(default_factory=dict)


def _error(code: str, message: str, remedy: str) -> Finding:
    return Finding("error", code, FILE, message, remedy)


def _listed(values: object) -> str:
    return ", ".join(map(str, values))


def _is_label(own: object) -> bool:
    """Whether a label is an integer, or a region: a list of integers."""
    return type(own) is int or (
        isinstance(own, list) and bool(own) and all(type(value) is int for value in own)
    )


def _read_labels(content: Mapping) -> tuple[LabelSet | None, list[Finding]]:
    raw = content.get("labels")
    if isinstance(raw, dict) and raw and all(str(name).isdigit() for name in raw):
        return None, [
            _error(
                "labels-swapped",
                f"labels go from value to name ({json.dumps(raw)}): nnU-Net version 1's format",
                f'Swap them, with values as numbers: "labels": {EXAMPLE}',
            )
        ]
    if not isinstance(raw, dict) or not raw or not all(map(_is_label, raw.values())):
        message = f"labels is {json.dumps(raw)}"
        remedy = f'Write names with integer values: "labels": {EXAMPLE}'
        return None, [_error("labels-unusable", message, remedy)]
    labels = label_set_of(raw)
    return labels, _judge_labels(raw, labels, content)


def _judge_labels(raw: Mapping, labels: LabelSet, content: Mapping) -> list[Finding]:
    findings = []
    if raw.get("background") != 0:
        findings.append(
            _error(
                "background-not-zero",
                f"background is {raw.get('background', 'missing')}, it must be 0",
                "Convert the labels so that the background scribble has the value 0 (scribble_tools"
                " convert folder --labels background=OLD_VALUE ...)",
            )
        )
    names: dict[tuple[int, ...], list[str]] = {}
    for name, own in raw.items():
        names.setdefault(tuple(own) if isinstance(own, list) else (own,), []).append(name)
    findings += [
        _error(
            "labels-alike",
            f"{' and '.join(alike)} are both {_listed(own)}: nnU-Net takes them for one class",
            "Give each class a value of its own, in the label files too; or keep one of the names",
        )
        for own, alike in names.items()
        if len(alike) > 1
    ]
    values = sorted(labels.values)
    if values != list(range(len(values))):
        findings.append(
            _error(
                "labels-not-consecutive",
                f"the values are {_listed(values)}; nnU-Net takes 0, 1, 2, ... without gaps only",
                "Convert the label files and dataset.json to consecutive values: scribble_tools "
                "convert folder --labels NAME=OLD_VALUE ... renumbers; restore-labels maps "
                "predictions back",
            )
        )
    if isinstance(raw.get(IGNORE), list):
        findings.append(
            _error(
                "ignore-is-a-list",
                f"ignore is {raw[IGNORE]}; nnU-Net takes one single value",
                "Map all values that mean unlabelled to one (scribble_tools convert folder "
                "--unlabelled takes several)",
            )
        )
    elif labels.ignore is None:
        findings.append(
            _error(
                "ignore-missing",
                "labels has no 'ignore': nnU-Net will learn from every voxel as if annotated",
                f'Add "ignore": {values[-1] + 1} as the last label and give this value to every '
                "unlabelled voxel (scribble_tools convert folder --unlabelled ...)",
            )
        )
    elif labels.ignore != values[-1] + 1:
        findings.append(
            _error(
                "ignore-not-last",
                f"ignore is {labels.ignore}; it must be the highest label, {values[-1] + 1}",
                "Renumber the labels so that ignore comes last (scribble_tools convert folder)",
            )
        )
    if any(isinstance(own, list) and len(own) > 1 for own in raw.values()):
        order = content.get("regions_class_order")
        if not isinstance(order, list) or len(order) != len(labels.classes):
            findings.append(
                _error(
                    "regions-class-order",
                    f"regions_class_order is {json.dumps(order)}, there are {len(labels.classes)} "
                    "regions",
                    '"regions_class_order": one label value per region, in the order of "labels", '
                    "large regions first",
                )
            )
    return findings


def _usable_ending(folder: Path, content: Mapping) -> tuple[str, list[Finding]]:
    ending = content.get("file_ending")
    files = files_in(folder / "labelsTr")
    if isinstance(ending, str) and ending.startswith("."):
        if not files or any(p.name.endswith(ending) for p in files):
            return ending, []
    endings = Counter(map(file_ending_of, files))
    found = endings.most_common(1)[0][0] if endings else ".nii.gz"
    return found, [
        _error(
            "file-ending",
            f"file_ending is {json.dumps(ending)}, the files in labelsTr end in "
            f"{_listed(sorted(endings)) or '(there are none)'}",
            f'Write "file_ending": "{found}"; images and labels need the same',
        )
    ]


def read_description(folder: Path) -> tuple[Description, list[Finding]]:
    """Read the dataset.json of a raw data set and judge it; nothing is raised for bad content."""
    path = folder / FILE
    findings = []
    try:
        content = read_dataset_json(path, Record())
    except (OSError, ValueError) as error:
        said = str(error).removeprefix(f"{path}").removeprefix(":").strip()
        reason = "is missing" if not path.exists() else f"cannot be read ({said})"
        findings.append(
            _error(
                "dataset-json",
                f"{FILE} {reason}: nnU-Net needs labels, channel_names, numTraining, file_ending",
                "Convert with scribble_tools convert, which writes it; or correct it by hand: "
                f'{{"channel_names": {{"0": "MRI"}}, "labels": {EXAMPLE}, "numTraining": 20, '
                '"file_ending": ".nii.gz"}',
            )
        )
        return Description(None, (), _usable_ending(folder, {})[0]), findings
    labels, label_findings = _read_labels(content)
    ending, ending_findings = _usable_ending(folder, content)
    findings += label_findings + ending_findings
    channels = content.get("channel_names", content.get("modality"))
    if not isinstance(channels, dict) or not channels:
        findings.append(
            _error(
                "channel-names",
                f"channel_names is {json.dumps(channels)}",
                'Name every channel: "channel_names": {"0": "MRI"}; CT is normalised otherwise '
                "than any other name",
            )
        )
        channels = {}
    return Description(labels, tuple(map(str, channels.values())), ending, content), findings
