"""Names of files that nnU-Net or a disk takes otherwise than people do: hidden, accents, case."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from scribble_tools.check.findings import Finding
from scribble_tools.dataset.case_names import alike
from scribble_tools.images.file_kind import is_hidden, normal_form
from scribble_tools.images.image_files import files_in
from scribble_tools.wording import counted

Files = TypeVar("Files")
COUNTED = ("imagesTr", "labelsTr", "imagesTs")  # folders in which nnU-Net takes every file


def hidden_findings(folder: Path, ending: str) -> list[Finding]:
    """One finding for the hidden files that nnU-Net would count as cases."""
    hidden = [
        path
        for sub in COUNTED
        for path in sorted((folder / sub).glob(f"*{ending}"))
        if is_hidden(Path(path.name))
    ]
    if not hidden:
        return []
    places = [*dict.fromkeys(path.parent.name for path in hidden)]
    remedies, line = [], ""
    if of_macos := [path for path in hidden if path.name.startswith("._")]:
        line = f"find {shlex.quote(str(folder))} -name '._*' -delete"
        remedies.append("Delete those of macOS (see the line below)")
    if others := [path for path in hidden if path not in of_macos]:
        remedies.append(f"Move out of the data set: {', '.join(path.name for path in others[:3])}")
    return [
        Finding(
            "error",
            "hidden-files",
            ", ".join(places),
            f"{counted(len(hidden), 'hidden file')}"
            f", such as {places[0]}/{hidden[0].name}, which nnU-Net "
            "takes for cases (macOS writes ._* beside each file on foreign disks and in archives)",
            "; ".join(remedies),
            line,
        )
    ]


def alike_findings(folder: Path, ending: str) -> list[Finding]:
    """A finding for all cases whose names differ in upper and lower case only."""
    pairs: dict[tuple[str, ...], list[str]] = {}
    for sub in COUNTED:
        stems = [path.name.removesuffix(ending) for path in files_in(folder / sub, ending)]
        if sub.startswith("images"):
            stems = [re.sub(r"_\d{4}$", "", stem) for stem in stems]
        for group in alike(stems):
            pairs.setdefault(group, []).append(sub)
    return [
        Finding(
            "error",
            "names-alike",
            " and ".join(group),
            f"the names in {', '.join(where)} differ in upper and lower case only: on macOS and "
            "Windows one case overwrites the other",
            "Rename one of them in all folders and in splits_final.json",
        )
        for group, where in sorted(pairs.items())
    ]


def same_form(
    folder: Path, images: Mapping[str, Files], labels: Mapping[str, Path]
) -> tuple[dict[str, Files], dict[str, Path], list[Finding]]:
    """Images and labels by names in Unicode's form C, and a finding where the forms differ.

    nnU-Net compares the bytes of names. A letter with an accent may be one character or two; on
    screen both look alike.
    """
    differ = [
        case
        for case in images
        if case not in labels and normal_form(case) in map(normal_form, labels)
    ]
    findings = []
    if differ:
        remedy = "Write all names in one form, such as with the program convmv (see the line below)"
        line = f"convmv -r -f utf8 -t utf8 --nfc --notest {shlex.quote(str(folder))}"
        message = (
            "the name is written with other characters in imagesTr than in labelsTr (an accent as "
            "a character of its own, as macOS does it): nnU-Net does not find the label"
        )
        findings = [Finding("error", "name-form", case, message, remedy, line) for case in differ]
    return (
        {normal_form(case): files for case, files in images.items()},
        {normal_form(case): path for case, path in labels.items()},
        findings,
    )
