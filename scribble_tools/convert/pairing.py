"""Which image, scribble and dense file make up a case: paired by name, never by guess."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scribble_tools.dataset.case_names import alike_problems
from scribble_tools.images.exclusion import exclusion_problems, is_excluded
from scribble_tools.images.file_kind import READABLE, FileKind, file_ending_of, kind_of, normal_form
from scribble_tools.images.image_files import files_below
from scribble_tools.images.name_patterns import PATIENT, PLACEHOLDER, case_of, compile_pattern
from scribble_tools.images.slicer_segmentation import ENDING, is_segmentation, stem_of
from scribble_tools.wording import some_of

CHANNEL = re.compile(r"(.+)_(\d{4})")
IMAGE, SCRIBBLE, DENSE = "image", "scribble", "dense"  # as in --image-pattern
LOOKED_INTO = 1000  # files of a folder that holds none with a known ending
ONE_FILE = "--update takes one file a case: join masks into one label map, or convert all anew"
LISTED = 5  # of the files with the same problem, so many are shown


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case: an image per channel, and its label files if it has them."""

    images: tuple[Path, ...]
    scribble: Path | None = None
    dense: Path | None = None


@dataclass(frozen=True)
class Place:
    """Where the files of one kind lie.

    Attributes:
        option: `IMAGE`, `SCRIBBLE` or `DENSE`.
        pattern: of the path below ``folder``, or of the name alone when it has no slash:
            ``{case}`` stands for the case's name, ``*`` for anything but a slash. None: every
            readable file, whose name without ending is the case's.
        found: the file of each case, where they were looked for already.
        taken: files that are nothing else, besides those in ``found``.
    """

    option: str
    folder: Path
    pattern: str | None = None
    found: Mapping[str, Path] | None = None
    taken: Collection[Path] = ()


def _tell_apart(labels: Place, images: Sequence[Place]) -> Place:
    """In a folder shared with the images, labels without pattern can only be ``.seg.nrrd``."""
    folders = {os.path.realpath(place.folder) for place in images}
    shared = os.path.realpath(labels.folder) in folders
    if labels.pattern or labels.found is not None or not shared:
        return labels
    if not any(path.name.lower().endswith(ENDING) for path in files_below(labels.folder)):
        raise ValueError(
            f"{labels.folder} holds images and {labels.option} files: tell these apart, such as "
            f"--{labels.option}-pattern '{PLACEHOLDER}_{labels.option}.nii.gz'"
        )
    return replace(labels, pattern=PLACEHOLDER + ENDING)


def _find(
    place: Place, exclude: Sequence[str], taken: Collection[Path], problems: list[str]
) -> dict[str, Path]:
    """Case (or stem) to file; cases with several files are added to ``problems``."""
    if place.found is not None:
        return dict(place.found)
    if not place.folder.is_dir():
        raise FileNotFoundError(f"{place.folder} is not a folder")
    pattern = compile_pattern(normal_form(place.pattern)) if place.pattern else None
    found: dict[str, Path] = {}
    twice: list[str] = []
    alike: dict[Path, None] = {}  # files that would be the same case's
    for path in files_below(place.folder):
        if path in taken or is_excluded(path.relative_to(place.folder), exclude):
            continue
        below = normal_form(path.relative_to(place.folder).as_posix())
        if pattern is None:
            if file_ending_of(path) not in READABLE:
                continue
            if place.option == IMAGE and is_segmentation(path):
                continue
            case = normal_form(stem_of(path))
        elif match := pattern.fullmatch(below):
            case = case_of(match)
        else:
            continue
        if case in found:
            twice.append(f"{found[case]} and {path} would both be the {place.option} of {case}")
            alike |= dict.fromkeys((found[case], path))
        found[case] = path
    if twice:
        remedy = f"Leave one out (--exclude) or tell them apart (--{place.option}-pattern)"
        folders = dict.fromkeys(path.parent for path in alike)
        names = [*dict.fromkeys(folder.name for folder in folders)]
        files = {path.name for path in alike}
        if len(files) < len(folders) and len(names) < len(folders):
            remedy += (
                ". In folders of patients with a folder for each visit, say "
                f"'{PATIENT}/{PLACEHOLDER}/{min(files)}'"
            )
        elif len(names) > 1 and place.option != IMAGE:
            option = "--dense-labels" if place.option == DENSE else "--labels"
            words = [f"NAME='{name}/{PLACEHOLDER}.*'" for name in names]
            remedy += f". If they are masks, say whose each is: {option} {' '.join(words[:LISTED])}"
        problems.append(_listed(f"{place.option} files too many", twice, remedy))
    if not found:
        if others := what_lies_in(place.folder):
            raise FileNotFoundError(f"no file below {place.folder} can be read: {others}")
        what = f"matches {place.pattern!r}" if place.pattern else "has an ending of an image format"
        left = " that --exclude leaves" if exclude else ""
        if pattern and (own := [p for p in taken if _fits(pattern, p, place.folder)]):
            raise FileNotFoundError(
                f"every file that --{place.option}-pattern {place.pattern!r} fits is another "
                f"pattern's already, such as {own[0]}: say that one more narrowly"
            )
        raise FileNotFoundError(f"no file below {place.folder}{left} {what}{_names_in(place)}")
    return found


def _fits(pattern: re.Pattern[str], path: Path, folder: Path) -> bool:
    inside = path.is_relative_to(folder)
    return inside and bool(pattern.fullmatch(normal_form(path.relative_to(folder).as_posix())))


def _names_in(place: Place) -> str:
    """Names that a pattern could fit, where it fits none."""
    if not place.pattern:
        return ""
    below = [path.relative_to(place.folder).as_posix() for path in files_below(place.folder)]
    return f"; there are {some_of(below)}" * bool(below)


def what_lies_in(folder: Path, known: Collection[Path] = ()) -> str:
    """What the files of a folder are, where they are of a kind that is not read, and the remedy.

    ``known``: files that are passed over.
    """
    kinds: dict[FileKind, list[Path]] = {}
    known = set(known)
    for path in [path for path in files_below(folder) if path not in known][:LOOKED_INTO]:
        try:
            kinds.setdefault(kind_of(path), []).append(path)
        except (OSError, ValueError):
            continue
    return "; ".join(
        f"{len(paths)} {'files are' if len(paths) > 1 else 'file is'} {kind.name}, such as "
        f"{paths[0]}: {kind.remedy}"
        for kind, paths in kinds.items()
        if kind.remedy
    )


def _group_channels(
    stems: Mapping[str, Path], labelled: Collection[str], problems: list[str]
) -> dict[str, tuple[Path, ...]]:
    """Case to its images, by stems that are the case's name or end with nnU-Net's ``_0000``."""
    channels: dict[str, dict[int, str]] = {}
    for stem in stems:
        if match := CHANNEL.fullmatch(stem):
            channels.setdefault(match.group(1), {})[int(match.group(2))] = stem
    images: dict[str, tuple[Path, ...]] = {}
    with_suffix = {case for case in labelled if case in channels}
    plain = {case for case in labelled if case in stems}
    for case in sorted(with_suffix & plain):
        problems.append(f"{case}: both {stems[case]} and {case}_0000 and so on: --image-pattern?")
    for case in plain:
        images[case] = (stems[case],)
    if not plain and not with_suffix and _numbered_alike(channels, labelled):
        channels = {}
    used = set(plain)
    # images without label file follow the convention of the others
    for case in channels if not plain else with_suffix - plain:
        numbers = sorted(channels[case])
        if numbers != list(range(len(numbers))):
            problems.append(f"{case}: channels {numbers}, expected 0, 1, ...: is a file missing?")
        images[case] = tuple(stems[channels[case][k]] for k in numbers)
        used |= set(channels[case].values())
    rest = [stem for stem in stems if stem not in used]
    return images | {stem: (stems[stem],) for stem in rest}


def _numbered_alike(channels: Mapping[str, Mapping[int, str]], labelled: Collection[str]) -> bool:
    """Whether labels are called as single images with an addition: a camera numbered these.

    So ``IMG_0001`` and ``IMG_0002`` are no channels where there is ``IMG_0002_layer``.
    """
    held = {
        (case, stem)
        for case, own in channels.items()
        for stem in own.values()
        if any(stem in name for name in labelled)
    }
    return len(held) > len({case for case, _ in held})


def _pattern_hint(
    place: Place, lost: Iterable[str], cases: Collection[str], update: bool = False
) -> str:
    """A pattern that would pair the files, when their stems only have a common addition.

    Args:
        update: of a data set, whose cases have their names, and one file each.
    """
    if place.pattern or place.found is not None:
        return ""
    case_of = {stem: max((c for c in cases if c in stem), key=len, default="") for stem in lost}
    additions = Counter(
        (stem[: stem.index(case)], stem[stem.index(case) + len(case) :])
        for stem, case in case_of.items()
        if case
    )
    if not additions:
        if update:
            return f" Say how they are called with --{place.option}-pattern"
        return f" Say how both are called with --image-pattern and --{place.option}-pattern"
    if len({case for case in case_of.values() if case}) < additions.total():
        if update:
            return f" Several files belong to one case. {ONE_FILE}, or keep one (--exclude)"
        words = dict.fromkeys(
            f"NAME='{before}{PLACEHOLDER}{re.sub(r'[0-9]+', '*', after)}.*'"
            for before, after in additions
        )
        option = "--dense-labels" if place.option == DENSE else "--labels"
        return (
            " Several files belong to one case. If they are masks, one or more for each class, say "
            f"whose each is: {option} {' '.join([*words][:LISTED])}"
        )
    (before, after), _ = additions.most_common(1)[0]
    return f" Perhaps --{place.option}-pattern '{before}{PLACEHOLDER}{after}.*'"


def _listed(what: str, items: Sequence[Path | str], remedy: str) -> str:
    lines = [f"{len(items)} {what}:", *map(str, items[:LISTED])]
    if len(items) > LISTED:
        lines.append(f"and {len(items) - LISTED} more")
    return "\n  ".join(lines) + f"\n {remedy}"


def _images_of(
    images: Sequence[Place],
    labelled: Collection[str],
    exclude: Sequence[str],
    taken: set[Path],
    problems: list[str],
) -> dict[str, tuple[Path, ...]]:
    """Case to its images, see `pair_files`; files in ``taken`` are something else."""
    if len(images) == 1 and images[0].pattern is None:
        stems = _find(images[0], exclude, taken, problems)
        return _group_channels(stems, labelled, problems)
    patterns = [place.pattern for place in images]
    if twice := [pattern for pattern in dict.fromkeys(patterns) if patterns.count(pattern) > 1]:
        raise ValueError(f"--image-pattern {twice[0]!r} stands twice: say one for each channel")
    found: dict[Place, dict[str, Path]] = {}
    # the longest pattern first: '{case}.nii.gz' also fits what '{case}_t2.nii.gz' is meant for
    for place in sorted(images, key=lambda place: -len(place.pattern)):
        found[place] = _find(place, exclude, taken, problems)
        taken |= set(found[place].values())
    per_channel = [found[place] for place in images]
    cases = {case for channel in per_channel for case in channel}
    for place, channel in zip(images, per_channel, strict=True):
        if missing := sorted(cases - set(channel)):
            problems.append(
                f"no {place.pattern!r} for the cases {', '.join(missing)}: add the files, or leave "
                "these cases out with all their files (--exclude)"
            )
    return {
        case: tuple(channel[case] for channel in per_channel if case in channel) for case in cases
    }


def _not_taken_beside(
    images: Sequence[Path],
    scribbles: Place,
    taken: Collection[Path],
    images_of: Mapping[str, Sequence[Path]],
) -> list[Path]:
    """Files in the folders of some images that are neither images, nor labels by their pattern."""
    if scribbles.pattern is None:
        return []
    known = {*taken, *(path for own in images_of.values() for path in own)}
    folders = {path.parent for path in images}
    there = [
        path
        for path in files_below(scribbles.folder)
        if path.parent in folders - {scribbles.folder}
    ]
    return [p for p in there if p not in known and file_ending_of(p) in READABLE]


def pair_with_dataset(
    known: Collection[str],
    images: Sequence[Place],
    scribbles: Place,
    exclude: Sequence[str] = (),
) -> tuple[dict[str, Path], dict[str, CaseFiles]]:
    """Pair scribble files with the cases of a data set, and with new images.

    Args:
        known: the data set's cases.
        images: of cases that it has not; none: there are no new ones.

    Returns:
        Case to scribble file, of known cases; and the files of new cases that have a scribble.

    Raises:
        FileNotFoundError, ValueError: see `pair_files`; scribble files that are of no known case
            and of no new image. All are named.
    """
    problems: list[str] = []
    if images:
        scribbles = _tell_apart(scribbles, images)
    found = _find(scribbles, exclude, (), problems)
    new = {case: path for case, path in found.items() if case not in known}
    images_of: dict[str, tuple[Path, ...]] = {}
    if images and new:
        images_of = _images_of(images, new, exclude, set(found.values()), problems)
    if lost := sorted(set(new) - set(images_of)):
        paths = [new[case] for case in lost]
        some = ", ".join(sorted(known)[:LISTED])
        some += f" and {len(known) - LISTED} more" * (len(known) > LISTED)
        files = [path for place in images for path in files_below(place.folder)]
        stems = [normal_form(stem_of(path)) for path in files if file_ending_of(path) in READABLE]
        named = [*known, *(stem for stem in stems if stem not in lost)]
        remedies = (
            f"Of which case are they? Cases of the data set: {some}",
            _pattern_hint(scribbles, lost, named, update=True).strip(),
            f"{images[0].folder} has no images that are called so"
            if images
            else "If they are of new images, say --images FOLDER, too",
        )
        remedy = ". ".join(filter(None, remedies))
        problems.append(_listed("scribble files of no case", paths, remedy))
    problems += alike_problems({*known, *new}, new)
    problems += exclusion_problems((place.folder for place in (scribbles, *images)), exclude)
    if problems:
        raise ValueError("files that do not pair up:\n" + "\n".join(problems))
    paired = {case: CaseFiles(images_of[case], new[case]) for case in sorted(new)}
    return {case: path for case, path in sorted(found.items()) if case in known}, paired


def pair_files(
    images: Sequence[Place],
    scribbles: Place,
    dense: Place | None = None,
    exclude: Sequence[str] = (),
    mixed: bool = False,
) -> dict[str, CaseFiles]:
    """Pair files by case name, sorted by it.

    A file that is taken as dense reference is no scribble, and none that is taken as either is an
    image, so that all may lie in one folder when patterns tell the labels.

    Args:
        images: one place, or one per channel, all with patterns.
        exclude: files to pass over, as shell patterns of the name or the path.
        mixed: accept images without scribble. Cases without dense reference are always accepted.

    Raises:
        FileNotFoundError: a folder is missing, or nothing in it fits.
        ValueError: files stand alone or could belong to several cases; the message names all
            problems, with at most `LISTED` files of each.
    """
    problems: list[str] = []
    # what has a pattern is found first: a file without one might be anything
    taken: set[Path] = set()
    dense_of: dict[str, Path] = {}
    if dense is not None:
        dense = _tell_apart(dense, images)
        dense_of = _find(dense, exclude, (), problems)
        taken |= {*dense_of.values(), *dense.taken} if dense.pattern or dense.found else set()
    scribbles = _tell_apart(scribbles, images)
    scribble_of = _find(scribbles, exclude, taken, problems)
    if scribbles.pattern or scribbles.found:
        taken |= {*scribble_of.values(), *scribbles.taken}
    images_of = _images_of(images, scribble_of, exclude, taken, problems)
    free = set(images_of) - set(scribble_of)
    for place, files in ((scribbles, scribble_of), (dense, dense_of)):
        if lost := sorted(set(files) - set(images_of)):
            paths = [files[case] for case in lost]
            hint = _pattern_hint(place, lost, images_of)
            if len(lost) < len(files):  # the others are called as their images
                hint += " If they are only extra, pass them over: --exclude 'GLOB'"
            problems.append(_listed(f"{place.option} files without image", paths, hint.strip()))
    if twice := sorted(set(scribble_of.values()) & set(dense_of.values())):
        problems.append(_listed("files are both scribble and dense reference", twice, "Which?"))
    if free and not mixed:
        paths = [images_of[case][0] for case in sorted(free)]
        remedy = "Leave them out (--exclude), or say --mixed to train on them without annotation"
        if beside := _not_taken_beside(paths, scribbles, taken, images_of):
            remedy += (
                f". Beside them lie files that --{SCRIBBLE}-pattern {scribbles.pattern!r} does not "
                f"fit, such as {beside[0]}: are these their scribbles? Call them as the others"
            )
        problems.append(_listed("images without scribble", paths, remedy))
    problems += alike_problems(images_of)
    places = (*images, scribbles, *([dense] if dense else ()))
    problems += exclusion_problems((place.folder for place in places), exclude)
    if problems:
        raise ValueError("files that do not pair up:\n" + "\n".join(problems))
    return {
        case: CaseFiles(images_of[case], scribble_of.get(case), dense_of.get(case))
        for case in sorted(images_of)
    }
