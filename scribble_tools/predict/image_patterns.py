"""Patterns of file names, one per channel: the cases that they find, and those to propose."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from scribble_tools.images.channel_patterns import channel_named
from scribble_tools.images.file_kind import NATURAL, file_ending_of
from scribble_tools.images.name_patterns import PATIENT, PLACEHOLDER, case_of, compile_pattern
from scribble_tools.images.slicer_segmentation import stem_of


def by_patterns(
    files: Sequence[Path], root: Path, patterns: Sequence[str], problems: list[str]
) -> dict[str, tuple[Path, ...]]:
    """Case to its file of each pattern.

    Args:
        files: below ``root``.
        patterns: as in `compile_pattern`, one per channel.
        problems: gets what two files of one name, and missing ones, are to be told.
    """
    channels: dict[str, dict[str, Path]] = {}
    taken: set[Path] = set()
    # the longest pattern first: '{case}.nii.gz' also fits what '{case}_t2.nii.gz' is meant for
    for pattern in sorted(patterns, key=len, reverse=True):
        regex = compile_pattern(pattern)
        for path in files:
            match = regex.fullmatch(path.relative_to(root).as_posix())
            if match is None or path in taken:
                continue
            taken.add(path)
            own = channels.setdefault(case := case_of(match), {})
            if pattern in own:
                problems.append(f"{own[pattern]} and {path} would both be {case}")
            own[pattern] = path
    for case, own in channels.items():
        if missing := [pattern for pattern in patterns if pattern not in own]:
            problems.append(f"{case}: nothing fits {' '.join(missing)}")
    return {
        case: tuple(own[pattern] for pattern in patterns)
        for case, own in channels.items()
        if len(own) == len(patterns)
    }


def folders_in_words(root: Path, files: Sequence[Path]) -> str:
    """What to type where files are called alike in folders of cases, or of patients' visits.

    Returns:
        Nothing where no two files have the same name, or their folders say no case either.
    """
    by_stem: dict[str, list[tuple[str, ...]]] = {}
    for path in files:
        by_stem.setdefault(stem_of(path), []).append(path.relative_to(root).parts[:-1])
    stem, folders = max(by_stem.items(), key=lambda own: len(own[1]), default=("", []))
    if len(folders) < 2:
        return ""
    depth = min(map(len, folders))
    for names in range(1, min(depth, 2) + 1):
        if len({own[-names:] for own in folders}) == len(folders):
            heads = [PATIENT, PLACEHOLDER][-names:]
            above = ["*"] * (depth - names)
            pattern = "/".join([*above, *heads, f"{stem}.*"])
            return f"The folders say the case: --image-pattern {shlex.quote(pattern)}"
    return ""


def patterns_in_words(names: Sequence[str], root: Path, files: Sequence[Path]) -> str:
    """What to type where each channel has a file of its own, and each was taken for a case.

    Args:
        names: the channels', of the model.
        root: the folder that patterns are of.
        files: below it.

    Returns:
        Nothing where there is one channel, or a picture.
    """
    if len(names) < 2 or not files or file_ending_of(files[0]) in NATURAL:
        return ""
    in_order = f"{', '.join(names)} in this order"
    for patterns in _proposals(names, [PurePosixPath(path.relative_to(root)) for path in files]):
        problems: list[str] = []
        found = by_patterns(files, root, patterns, problems)
        if not problems and len(found) * len(names) == len(files):
            return (
                f"If each channel is a file of its own, say how they are called, {in_order}: "
                f"--image-pattern {shlex.join(patterns)}"
            )
    return (
        "If each channel is a file of its own, say --image-pattern once with one pattern per "
        f"channel, {in_order}; {PLACEHOLDER} stands for the case's name in each"
    )


def _proposals(names: Sequence[str], paths: Sequence[PurePosixPath]) -> Iterator[list[str]]:
    """Patterns of all channels, for each place in a path where the case may stand."""
    for place in range(-3, max(len(path.parts) for path in paths) - 1):
        found: dict[int | None, set[str]] = {}
        for path in paths:
            pattern = _with_placeholder(path, place)
            channel = channel_named(pattern, names) if PLACEHOLDER in pattern else None
            found.setdefault(channel, set()).add(pattern)
        if found.keys() == {*range(len(names))} and all(len(own) == 1 for own in found.values()):
            yield [found[k].pop() for k in range(len(names))]


def _with_placeholder(path: PurePosixPath, place: int) -> str:
    """A path as pattern: the case is all but the name's end, or beginning, the name, or a folder.

    Args:
        place: -3, -2, -1, or the folder's number.
    """
    if place >= 0:
        folders = [*path.parts[:-1]]
        folders[place : place + 1] = [PLACEHOLDER]
        return "/".join([*folders, path.name])
    stem, ending = stem_of(Path(path)), file_ending_of(Path(path))
    if place == -1:
        return path.with_name(PLACEHOLDER + ending).as_posix()
    part = r"^.*(?=[\W_])" if place == -3 else r"(?<=[\W_]).*$"
    return re.sub(part, PLACEHOLDER, stem, count=1) + ending
