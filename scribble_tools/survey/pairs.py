"""Which folders and patterns pair images with labels: proposed from names, tried by pairing them.

What `inspect` prints is to work when it is pasted. So a proposal is not printed before
`pair_files`, which `convert folder` uses, has accepted the very same words.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from scribble_tools.convert.pairing import DENSE, IMAGE, SCRIBBLE, Place, pair_files
from scribble_tools.images.image_files import files_below
from scribble_tools.images.name_patterns import PLACEHOLDER, compile_pattern
from scribble_tools.images.slicer_segmentation import is_segmentation, stem_of

MOST_TRIED = 60  # combinations of folders
MOST_CHANNELS = 8  # names that differ in a number


@dataclass(frozen=True)
class Pairing:
    """Words that pair images with labels.

    Attributes:
        images, labels: folders.
        image_pattern, label_pattern: see `Place`; None: the names do it.
        mixed: some images have no label file.
        dense: folder of dense references that pair, too.
        dense_pattern: as the others.
        cases: how many have labels.
        without: cases that have none.
        names: of all cases.
        taken: all their files.
    """

    images: Path
    labels: Path
    image_pattern: str | None = None
    label_pattern: str | None = None
    mixed: bool = False
    dense: Path | None = None
    dense_pattern: str | None = None
    cases: int = 0
    without: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    taken: frozenset[Path] = frozenset()

    @property
    def words(self) -> list[str]:
        """The arguments of `convert folder`."""
        words = ["--images", shlex.quote(str(self.images))]
        words += ["--scribbles", shlex.quote(str(self.labels))]
        for option, pattern in (("image", self.image_pattern), ("scribble", self.label_pattern)):
            words += [f"--{option}-pattern", shlex.quote(pattern)] if pattern else []
        if self.dense:
            words += ["--dense", shlex.quote(str(self.dense))]
            words += ["--dense-pattern", shlex.quote(self.dense_pattern)] * bool(self.dense_pattern)
        return words + ["--mixed"] * self.mixed


NAMES_ALONE = (None, None)  # pair images and labels


def patterns_of(image: Mapping, labels: Mapping) -> list[tuple[str | None, str | None]]:
    """Patterns for two groups of files by what their names share, the likeliest first.

    Returns:
        `NAMES_ALONE` where the names pair them as they are; nothing where nothing is known.
    """
    a, b = Path(image["pattern"]), Path(labels["pattern"])
    apart = a.parent != b.parent or is_segmentation(b) != is_segmentation(a)
    if apart and stem_of(a) in (stem_of(b), f"{stem_of(b)}_#"):
        below = _below_common(image), _below_common(labels)
        return [NAMES_ALONE, below] if all(below) else [NAMES_ALONE]
    common = os.path.commonprefix([a.name, b.name]).rstrip("_-. ")
    if "#" in common or "*" in common:
        # 01_img and 01_img_mask are of case 01, of which there may be 01_dense, too
        starts = dict.fromkeys([re.sub(r"(?<=[#*\w])[_-][A-Za-z]+$", "", common), common])
        return [
            tuple("{case}" + path.name[len(start) :].replace("#", "*") for path in (a, b))
            for start in starts
            if "#" in start or "*" in start
        ]
    if "#" in a.parent.name and "#" in b.parent.name:
        names = [path.name.replace("#", "*") for path in (a, b)]
        of_visits = "#" in a.parent.parent.name and "#" in b.parent.parent.name
        heads = ["{case}/", *["{patient}/{case}/"] * of_visits]
        return [tuple(head + name for name in names) for head in heads]
    for mark in "#*":
        if a.name.count(mark) == b.name.count(mark) == 1:
            return [tuple(path.name.replace(mark, PLACEHOLDER) for path in (a, b))]
    return []


def _below_common(group: Mapping) -> str | None:
    """Pattern below the folder above all files of a group, where they lie in several.

    The case is what differs last: ``*/img/{case}.nrrd`` of ``site#/img/*.nrrd``, and
    ``{case}/img/scan.nrrd`` of ``#/img/scan.nrrd``.
    """
    depth = len(Path(group["folders"][0]).parts) - len(Path(group["folder"]).parts)
    *folders, name = Path(group["pattern"]).parts[-1 - depth :]
    differs = [k for k, folder in enumerate(folders) if "#" in folder or folder == "*"]
    if not differs:
        return None
    shown = [folder.replace("#", "*") for folder in folders]
    stem, ending = stem_of(Path(name)), name[len(stem_of(Path(name))) :]
    if "#" in stem or "*" in stem:
        channel = "_*" * stem.endswith("#_#")
        return "/".join([*shown, PLACEHOLDER + channel + ending])
    shown[differs[-1]] = PLACEHOLDER
    return "/".join([*shown, name])


def _folders(group: Mapping) -> list[Path]:
    """Where a group's files lie: the folder above them all, then each of its own."""
    own = [Path(folder) for folder in group["folders"]]
    return list(dict.fromkeys([Path(group["folder"]), *own]))


def _joined(groups: Sequence[Mapping]) -> list[Mapping]:
    """One group for all whose folders differ in one name only, such as two sites'."""
    alike: dict[tuple, list[Mapping]] = {}
    for group in groups:
        parts = Path(group["pattern"]).parts
        alike.setdefault((len(parts), parts[-1]), []).append(group)
    joined = []
    for own in alike.values():
        columns = [*zip(*(Path(group["pattern"]).parts for group in own), strict=True)]
        differ = [k for k, names in enumerate(columns) if len({*names}) > 1]
        if len(differ) == 1:
            pattern = "/".join("*" if k in differ else names[0] for k, names in enumerate(columns))
            above = os.path.commonpath([group["folder"] for group in own])
            # one of the folders tells how deep they lie; alone each is tried in its own group
            joined.append({"pattern": pattern, "folder": above, "folders": own[0]["folders"][:1]})
    return joined


def _proposals(images: Sequence[Mapping], labels: Sequence[Mapping]) -> Iterator[Pairing]:
    for label_group, image_group in product(labels, images):
        patterns = patterns_of(image_group, label_group)
        tried = [*dict.fromkeys([*patterns, NAMES_ALONE])]
        folders = product(_folders(image_group), _folders(label_group))
        for (image_folder, label_folder), (first, second) in product(folders, tried):
            for spelled in _spelled_out(image_folder, first):
                yield Pairing(image_folder, label_folder, spelled, second)


def _spelled_out(folder: Path, pattern: str | None) -> list[str | None]:
    """A pattern, and where it fits few endings of names, such as T1 and T2, one for each."""
    if not pattern or "*" not in pattern:
        return [pattern]
    form = compile_pattern(pattern)
    fits = [form.fullmatch(path.relative_to(folder).as_posix()) for path in files_below(folder)]
    head = pattern[: pattern.index(PLACEHOLDER)] + PLACEHOLDER
    own = sorted({head + m.string[m.end("case") :] for m in fits if m})
    if len(own) == 1:
        return own
    return [pattern, *own] if len(own) <= MOST_CHANNELS else [pattern]


def is_of(path: Path, group: Mapping) -> bool:
    """Whether a file is one of a group."""
    name = re.escape(Path(group["pattern"]).name).replace(r"\#", r"\d+").replace(r"\*", ".*")
    return str(path.parent) in group["folders"] and re.fullmatch(name, path.name) is not None


def _try(pairing: Pairing, num_labels: int, no_images: Sequence[Mapping] = ()) -> Pairing | None:
    """The pairing with what it pairs, if it pairs anything.

    Args:
        no_images: groups of labels, which may be called as images are.
    """
    images = [Place(IMAGE, pairing.images, pairing.image_pattern)]
    labels = Place(SCRIBBLE, pairing.labels, pairing.label_pattern)
    dense = pairing.dense and Place(DENSE, pairing.dense, pairing.dense_pattern)
    try:
        found = pair_files(images, labels, dense, mixed=pairing.mixed)
    except (FileNotFoundError, ValueError):
        return None
    paths = [path for files in found.values() for path in files.images]
    if any(is_of(path, group) for group in no_images for path in paths):
        return None
    cases = sum(files.scribble is not None for files in found.values())
    # far fewer label files than there are: another folder is meant, or a case is taken for all
    if not 0 < cases or 2 * cases < num_labels:
        return None
    with_dense = sum(files.dense is not None for files in found.values())
    if dense and not with_dense:
        return None
    without = tuple(case for case, files in found.items() if files.scribble is None)
    taken = [p for own in found.values() for p in (*own.images, own.scribble, own.dense) if p]
    told = {"cases": cases, "without": without, "names": tuple(found), "taken": frozenset(taken)}
    return Pairing(**{**pairing.__dict__, **told})


def _num_labels(groups: Sequence[Mapping]) -> int:
    """How many cases have labels, at least: some folders may hold the same cases once more."""
    by_name: dict[str, int] = {}
    for group in groups:
        name = Path(group["pattern"]).name
        by_name[name] = max(by_name.get(name, 0), group["names"])
    # in folders of cases all files have the same names
    folders = {folder for group in groups for folder in group["folders"]}
    return max(sum(by_name.values()), len(folders))


def find_pairing(
    images: Sequence[Mapping], labels: Sequence[Mapping], dense: Sequence[Mapping] = ()
) -> tuple[Pairing | None, list[Pairing]]:
    """The pairing that works, and others that do with other label files.

    Args:
        images, labels, dense: groups of files as `inspect` found them; the likeliest first.

    Returns:
        None where nothing pairs, as it stands. The most cases with strokes win; of as many,
        those without ``mixed``, and those of one folder.
    """
    proposals = list(_proposals(images, labels))[:MOST_TRIED]
    proposals += _proposals(_joined(images), _joined(labels))
    numbers = _num_labels(labels)

    def working(proposals: Sequence[Pairing]) -> list[Pairing]:
        tried = (
            _try(Pairing(**{**p.__dict__, "mixed": mixed}), numbers, [*labels, *dense])
            for mixed in (False, True)
            for p in proposals
        )
        return [pairing for pairing in tried if pairing]

    if not (works := working(proposals)):
        # dense labels beside the images would be taken for images unless they are named
        named = [_having(p, *place) for p in proposals for place in _places(images, dense)]
        works = working(named[:MOST_TRIED])
    if not works:
        return None, []
    # an image without strokes is no reason to leave other folders' strokes out
    best = max(works, key=lambda pairing: pairing.cases)
    works = [pairing for pairing in works if pairing.mixed == best.mixed]
    # a folder within that of the labels is one case's
    outside = [p for p in works if best.labels not in (p.labels, *p.labels.parents)]
    others = {p.labels: p for p in reversed(outside)}
    return _with_dense(best, images, dense), list(others.values())


def _with_dense(pairing: Pairing, images: Sequence[Mapping], dense: Sequence[Mapping]) -> Pairing:
    """The pairing with dense references, where some pair."""
    if pairing.dense:
        return pairing
    found = (_try(_having(pairing, *place), 0) for place in _places(images, dense))
    return next(filter(None, found), pairing)


def _places(
    images: Sequence[Mapping], dense: Sequence[Mapping]
) -> Iterator[tuple[Path, str | None]]:
    """Folders and patterns that dense labels may be told by."""
    images = [*_joined(images), *images]
    for group in [*_joined(dense), *dense]:
        patterns = {None, *(p for image in images for _, p in patterns_of(image, group))}
        yield from product(_folders(group), sorted(patterns, key=str))


def _having(pairing: Pairing, dense: Path, pattern: str | None) -> Pairing:
    return Pairing(**{**pairing.__dict__, "dense": dense, "dense_pattern": pattern})
