"""Does the preprocessed data still belong to the raw data?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from scribble_tools.check.case_files import TrainingCase
from scribble_tools.check.description import Description
from scribble_tools.check.findings import Finding
from scribble_tools.dataset import shapes
from scribble_tools.dataset.preprocessed_plans import (
    cases_in,
    is_older,
    plan_command,
    preprocess_command,
)
from scribble_tools.dataset.raw import FILE, read_dataset_json
from scribble_tools.images.file_kind import normal_form
from scribble_tools.json_files import Record, read_json

AGAIN = "Preprocess again (see the line below)"


def ct_findings(preprocessed: Path | None, about: Description) -> list[Finding]:
    """nnU-Net's intensity statistics for CT count every label above 0 as foreground, ignore too."""
    channels = [name for name in about.channels if name.casefold() == "ct"]
    if not channels or about.labels is None or about.labels.ignore is None:
        return []
    try:
        if shapes.CT_MARK in read_json(preprocessed / "dataset_fingerprint.json", Record()):
            return []  # corrected already
    except (OSError, ValueError, TypeError):
        pass  # not extracted yet
    message = (
        f"there is a channel called {channels[0]}: nnU-Net normalises CT by the foreground's "
        "intensities and takes every voxel with a label above 0 for foreground, unlabelled ones "
        "too, so that table and air widen the window"
    )
    remedy = (
        "Run nnUNetv2_extract_fingerprint, nnunetv2_pclmix ct-fingerprint, then plan and "
        "preprocess (nnunetv2_pclmix ct-fingerprint -h); or call the channel otherwise, such as "
        '"zscore": every image is then normalised by itself'
    )
    return [Finding("warning", "ct-statistics", "dataset.json", message, remedy)]


def _is_newer(path: Path, old: Path) -> bool:
    return path.is_file() and is_older(old, path)


def _channel_findings(planned: Mapping, content: Mapping, preprocessed: Path) -> list[Finding]:
    """Channels that have other names since: their names decide how nnU-Net normalises them."""
    old, new = (own.get("channel_names") for own in (planned, content))
    if old is None or new is None or old == new:
        return []
    message = (
        f"channels were {json.dumps(old)} when the data set was preprocessed, now they are "
        f"{json.dumps(new)}: nnU-Net normalises channels by their names, and training would go on "
        "with what was made by the old ones"
    )
    where = ("warning", "channels-changed", "dataset.json")
    return [Finding(*where, message, AGAIN, plan_command(preprocessed))]


def preprocessed_findings(
    preprocessed: Path, content: Mapping, cases: Sequence[TrainingCase]
) -> list[Finding]:
    """Compare a data set's preprocessed folder with its raw files.

    Args:
        content: of the raw dataset.json.
    """
    findings = []
    try:
        planned = read_dataset_json(preprocessed / FILE)
        findings += _channel_findings(planned, content, preprocessed)
        labels = planned["labels"]
        if content and labels != content.get("labels"):
            message = (
                f"labels were {json.dumps(labels)} when the data set was preprocessed, now they "
                f"are {json.dumps(content.get('labels'))}: training would use the old ones, or "
                "stop with a KeyError in a worker"
            )
            where = ("error", "labels-changed", "dataset.json")
            findings.append(Finding(*where, message, AGAIN, plan_command(preprocessed)))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # planned only in part: nnU-Net writes this file when it preprocesses
    folders = sorted({path.parent for path in preprocessed.glob("*/*.pkl")})
    found = {folder.name: _folder_findings(folder, content, cases) for folder in folders}
    ready = next((name for name, own in found.items() if not own), None)
    for own in found.values():
        # other plans, left behind: nobody need preprocess for them
        findings += own if ready is None else [_left_behind(finding, ready) for finding in own]
    return findings


def _left_behind(finding: Finding, ready: str) -> Finding:
    remedy = f"Nothing, unless you train with these plans: {ready} is up to date"
    return replace(finding, severity="note", remedy=remedy, line="")


def _folder_findings(
    folder: Path, content: Mapping, cases: Sequence[TrainingCase]
) -> list[Finding]:
    """Compare the preprocessed data of one configuration with the raw files."""
    findings = []
    done = cases_in(folder)
    line = preprocess_command(folder.parent, folder.name)
    for files in cases:
        where = f"{folder.name}/{files.case}"
        # as the files write it: nnU-Net compares bytes
        name = files.label.name.removesuffix(content.get("file_ending", ""))
        old = done.pop(name if normal_form(name) == files.case else files.case, None)
        if old is None:
            message = "the case is not preprocessed: it cannot be trained on"
            findings.append(Finding("warning", "not-preprocessed", where, message, AGAIN, line))
        elif newer := [p for p in (files.label, *files.images) if _is_newer(p, old)]:
            of_label = newer[0] == files.label  # the same words for many cases
            file, what = ("the label file", "scribbles") if of_label else ("an image", "image")
            message = (
                f"{file} is newer than the preprocessed case (by modification time): training "
                f"would use the old {what}"
            )
            remedy = f"{AGAIN}, unless the files were only copied"
            kind = ("warning", "preprocessed-old", where)
            findings.append(Finding(*kind, message, remedy, line))
    message = "preprocessed, but not in the data set: fold 'all' would train on it"
    return findings + [
        Finding("warning", "preprocessed-extra", f"{folder.name}/{case}", message, AGAIN, line)
        for case in done
    ]
