"""Are the files of every case there, and do their names pair up as nnU-Net wants them?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scribble_tools.check.description import Description
from scribble_tools.check.file_names import alike_findings, hidden_findings, same_form
from scribble_tools.check.findings import Finding
from scribble_tools.images.file_kind import normal_form
from scribble_tools.images.image_files import files_in
from scribble_tools.images.slicer_segmentation import value_conflicts
from scribble_tools.wording import counted

# what nnU-Net reads without regard to spacing, origin and direction in the file
WITHOUT_GEOMETRY = (".png", ".bmp", ".tif", ".tiff")

DENSE = "labelsTr_dense"


@dataclass(frozen=True)
class TrainingCase:
    """Where the files of a case are; ``dense`` only if it exists."""

    case: str
    images: tuple[Path, ...]
    label: Path
    dense: Path | None = None


def _listed_files(folder: Path, content: Mapping) -> tuple[dict, dict]:
    """Images and label by case where dataset.json lists them itself (``dataset``)."""

    def path(text: str) -> Path:
        # nnU-Net would put environment variables in; their values are nobody's business here
        return folder / text

    entries = content["dataset"].items()
    images = {case: tuple(map(path, entry["images"])) for case, entry in entries}
    return images, {case: path(entry["label"]) for case, entry in entries}


def find_case_files(folder: Path, about: Description) -> tuple[list[TrainingCase], list[Finding]]:
    """Pair images with labels as nnU-Net does; return the complete pairs, sorted by case."""
    findings = []
    ending = about.file_ending
    images, labels = {}, {}
    if "dataset" in about.content:
        try:
            images, labels = _listed_files(folder, about.content)
        except (TypeError, KeyError, AttributeError) as error:
            message = f"'dataset' is not as nnU-Net wants it ({type(error).__name__}: {error})"
            remedy = '"dataset": {"CASE": {"images": ["FILE", ...], "label": "FILE"}, ...}'
            findings.append(Finding("error", "files-listed", "dataset.json", message, remedy))
    else:
        for sub in ("imagesTr", "labelsTr"):
            if not (folder / sub).is_dir():
                message = f"there is no folder {sub}"
                remedy = "nnU-Net needs imagesTr and labelsTr: scribble_tools convert writes them"
                findings.append(Finding("error", "folder-missing", sub, message, remedy))
                continue
            strange = [p for p in files_in(folder / sub) if not p.name.endswith(ending)]
            findings += [
                Finding(
                    "warning",
                    "file-ignored",
                    f"{sub}/{p.name}",
                    f"does not end in {ending}: nnU-Net does not see it",
                    f"Convert it to {ending} or move it out of the data set",
                )
                for p in strange
                if not (ending in WITHOUT_GEOMETRY and p.suffix == ".json")  # spacing of a TIF
            ]
        findings += hidden_findings(folder, ending)
        findings += alike_findings(folder, ending)
        for path in files_in(folder / "imagesTr", ending):
            case, found, _ = path.name.removesuffix(ending).rpartition("_")
            if not found or not re.fullmatch(r".+_\d{4}", path.name.removesuffix(ending)):
                message = "has no channel number at the end of its name"
                remedy = f"Rename it to CASE_0000{ending} (first channel)"
                findings.append(
                    Finding("error", "image-name", f"imagesTr/{path.name}", message, remedy)
                )
                continue
            images[case] = (*images.get(case, ()), path)
        labels = {p.name.removesuffix(ending): p for p in files_in(folder / "labelsTr", ending)}
        images, labels, form_findings = same_form(folder, images, labels)
        findings += form_findings
    findings += [
        Finding(
            "error",
            "label-missing",
            case,
            f"has an image but no label file in labelsTr (CASE{ending})",
            "Add the label file, or move an image that nobody annotated to imagesTs",
        )
        for case in images
        if case not in labels
    ]
    findings += [
        Finding(
            "warning",
            "image-missing",
            case,
            "has a label but no image in imagesTr: nnU-Net leaves the case out without a word",
            f"Add the image as imagesTr/CASE_0000{ending}; check that the names are the same",
        )
        for case in labels
        if case not in images
    ]
    expected = about.content.get("numTraining")
    if about.content and expected != len(images):
        message = f"numTraining is {expected}, imagesTr holds {counted(len(images), 'case')}"
        remedy = f'Write "numTraining": {len(images)}, or add the missing cases'
        findings.append(Finding("error", "num-training", "dataset.json", message, remedy))
    dense = {normal_form(p.name.removesuffix(ending)): p for p in files_in(folder / DENSE, ending)}
    cases = [
        TrainingCase(case, images[case], labels[case], dense.get(case))
        for case in sorted(images.keys() & labels.keys())
    ]
    if not cases:
        message = "no case has both image and label"
        remedy = "Is it the right folder? nnU-Net needs imagesTr/CASE_0000 and labelsTr/CASE"
        findings.append(Finding("error", "no-cases", "data set", message, remedy))
    findings += [
        Finding(
            "error",
            "segments-renumbered",
            "labelsTr",
            line,
            "nnU-Net reads the values, whatever the names: convert again",
        )
        for line in value_conflicts(path for c in cases for path in (c.label, c.dense) if path)
    ]
    findings += [
        Finding(
            "note",
            "dense-missing",
            c.case,
            "has no dense reference in labelsTr_dense",
            "Nothing, unless you want to score this case",
        )
        for c in cases
        if (folder / DENSE).is_dir() and c.dense is None
    ]
    return cases, findings
