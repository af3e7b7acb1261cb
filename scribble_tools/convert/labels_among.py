"""Label files among images: a network would be trained on them, or segment them, without a word.

A look at the voxels alone would also find images of few values, a black slice among them. So
a file is taken for labels only beside an image whose name says that it is of the same case.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import SimpleITK as sitk

from scribble_tools.convert.pairing import CHANNEL, CaseFiles
from scribble_tools.images.exclusion import is_excluded
from scribble_tools.images.image_files import read_channels
from scribble_tools.images.label_appearance import is_label_map
from scribble_tools.images.picture_labels import codes_of_labels
from scribble_tools.images.slicer_segmentation import stem_of


def labels_among(images: Mapping[Path, sitk.Image]) -> list[Path]:
    """The files that look like labels and lie beside an image of their case, on its grid."""
    others = {path: own for path, own in images.items() if not _looks_like_labels(own, path)}
    words = {path: _words(stem_of(path)) for path in images}
    return [
        path
        for path, image in images.items()
        if path not in others
        and any(
            _of_one_case(words[path], words[other]) and own.GetSize() == image.GetSize()
            for other, own in others.items()
        )
    ]


def labels_among_cases(cases: Mapping[str, CaseFiles], num_threads: int) -> list[Path]:
    """The images without a scribble that look like labels, beside an image of their case.

    Of the other images only those are read that are called alike.
    """

    @cache
    def look(case: str) -> tuple[bool, tuple[int, ...]] | None:
        """Whether it looks like labels, and its size; None: whoever converts it says why."""
        path = cases[case].images[0]
        try:
            image = read_channels(path)[0][0]
        except (FileNotFoundError, ValueError):
            return None
        return _looks_like_labels(image, path), image.GetSize()

    alone = [case for case, files in cases.items() if files.scribble is None]
    with ThreadPoolExecutor(num_threads) as pool:
        looks = dict(zip(alone, pool.map(look, alone), strict=True))
    words = {case: _words(case) for case in cases}
    return [
        cases[case].images[0]
        for case, own in looks.items()
        if own is not None
        and own[0]
        and any(
            look(other) == (False, own[1])
            for other in words
            if other != case and _of_one_case(words[case], words[other])
        )
    ]


def doubt_of_labels_only(images: Mapping[Path, sitk.Image]) -> str:
    """A question where all files look like labels; images of few values may be right."""
    if not images or not all(_looks_like_labels(own, path) for path, own in images.items()):
        return ""
    return (
        f"{next(iter(images))} and all others hold few whole values, as labels do. Are these the "
        "images to predict?"
    )


def _looks_like_labels(image: sitk.Image, path: Path) -> bool:
    if image.GetNumberOfComponentsPerPixel() > 1:
        return codes_of_labels(image, path) is not None
    return is_label_map(sitk.GetArrayViewFromImage(image))


def _words(stem: str) -> set[str]:
    stem = CHANNEL.sub(r"\1", stem)
    return {word for word in re.split(r"[\W_]+", stem.lower()) if word}


def _of_one_case(one: set[str], other: set[str]) -> bool:
    """``case1_label`` and ``case1_t2``, ``volume-0`` and ``label-0``; not ``slice_1``, ``_2``."""
    numbers, others = ({word for word in own if re.search(r"\d", word)} for own in (one, other))
    return bool(one & other) and (numbers <= others or others <= numbers)


def excluding_words(files: Sequence[Path], root: Path, kept: Iterable[Path]) -> str:
    """What to say after ``--exclude`` to pass over files below ``root``, and over none of ``kept``.

    One pattern where the names share something that no other has, else all of them.
    """
    names = [path.relative_to(root).as_posix() for path in files]
    before = os.path.commonprefix(names).rstrip("0123456789")
    after = os.path.commonprefix([name[::-1] for name in names])[::-1].lstrip("0123456789")
    others = [path.relative_to(root) for path in kept]
    for start in ("", before) if len(names) > 1 else ():
        pattern = f"{glob.escape(start)}*{glob.escape(after)}"
        if not any(is_excluded(other, [pattern]) for other in others):
            return shlex.quote(pattern)
    return shlex.join(map(glob.escape, names))
