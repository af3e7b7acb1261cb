"""Images that a model is to look at, of any format that `convert` reads: found, read, handed over.

A model wants its training's file ending and channels in files called ``CASE_0000``; here images
keep their names and formats, and what nnU-Net reads is made from them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from scribble_tools.convert.labels_among import excluding_words, labels_among
from scribble_tools.convert.pairing import CHANNEL, READABLE
from scribble_tools.images.exclusion import exclusion_problems, is_excluded
from scribble_tools.images.image_files import (
    NATURAL,
    count_channels,
    file_ending_of,
    files_below,
    read_finite_channels,
    write_image,
)
from scribble_tools.images.image_io import geometry_difference
from scribble_tools.images.slicer_segmentation import is_segmentation, stem_of
from scribble_tools.predict.image_patterns import by_patterns, folders_in_words, patterns_in_words
from scribble_tools.wording import counted

OF_PICTURES = {  # what so many channels are
    1: "grey",
    2: "grey with an alpha channel",
    3: "RGB",
    4: "RGB with an alpha channel",
}


@dataclass(frozen=True)
class NewImage:
    """One case to predict.

    Attributes:
        name: the case's.
        files: one per channel, or one that holds all of them.
    """

    name: str
    files: tuple[Path, ...]


def find_new_images(
    place: Path,
    channels: int,
    patterns: Sequence[str] = (),
    exclude: Sequence[str] = (),
    channel_names: Sequence[str] = (),
) -> list[NewImage]:
    """The images in a folder and below it, or a single file, sorted by name.

    Args:
        place: a folder, or one image. Segmentations of 3D Slicer beside the images are left alone.
        channels: what the model wants. Files called ``CASE_0000``, ``CASE_0001`` and so on are one
            case if they are as many; so is a picture ``CASE_0000`` alone, which nnU-Net takes
            for all of them. Files that hold all channels, or whose numbers lack 0000, are a case
            each.
        patterns: as in `compile_pattern`, one per channel; names are the cases' own without.
        exclude: files to pass over, as shell patterns of the name or the path.
        channel_names: the model's, where the user can say ``patterns``: files of one name in
            several folders are answered with those to say.

    Raises:
        FileNotFoundError: no such place, or no image in it.
        ValueError: files are two of the same case, channels are missing, or a pattern of
            ``exclude`` fits nothing; all are named.
    """
    if place.is_file():
        return [NewImage(_without_channel(place, channels), (place,))]
    if not place.is_dir():
        raise FileNotFoundError(f"{place}: no such file or folder")
    files = [path for path in files_below(place) if _is_wanted(path, place, exclude)]
    problems = exclusion_problems([place], exclude)
    if patterns:
        found = by_patterns(files, place, patterns, problems)
    else:
        hint = patterns_in_words(channel_names, place, files)
        if channels == 1:
            hint = folders_in_words(place, files)
        found = _by_names(files, channels, problems, hint)
    if problems:
        raise ValueError(f"{place}:\n" + "\n".join(problems))
    if not found:
        what = f"that fits {' '.join(patterns)}" if patterns else "of a format that is read"
        raise FileNotFoundError(f"{place} holds no image {what}")
    return [NewImage(name, found[name]) for name in sorted(found)]


def _is_wanted(path: Path, root: Path, exclude: Sequence[str]) -> bool:
    readable = file_ending_of(path) in READABLE and not is_segmentation(path)
    return readable and not is_excluded(path.relative_to(root), exclude)


def _without_channel(path: Path, channels: int) -> str:
    whole = channels == 1 or file_ending_of(path) in NATURAL
    return re.sub(r"_0000$", "", stem_of(path)) if whole else stem_of(path)


def _by_names(
    files: Sequence[Path], channels: int, problems: list[str], hint: str
) -> dict[str, tuple[Path, ...]]:
    by_stem: dict[str, Path] = {}
    hints = []
    for path in files:
        if (stem := stem_of(path)) in by_stem:
            other = by_stem[stem]
            one = "one" if path.name == other.name else shlex.quote(path.name)
            # channels of several cases, or visits of several patients
            of_folders = hint and path.parent != other.parent
            remedy = "" if of_folders else f": --exclude {one}"
            problems.append(f"{other} and {path} would both be {stem}{remedy}")
            hints = [hint] if of_folders else hints
        by_stem[stem] = path
    problems += hints
    numbered: dict[str, dict[int, Path]] = {}
    for stem, path in by_stem.items():
        if match := CHANNEL.fullmatch(stem):
            numbered.setdefault(match[1], {})[int(match[2])] = path
    found: dict[str, tuple[Path, ...]] = {}
    for case, of_number in numbered.items():
        if case in by_stem or 0 not in of_number:
            continue  # a camera's numbers, or years: each file is a case
        whole = _is_whole(of_number[0], channels, alone=len(of_number) == 1)
        if whole and len(of_number) > 1:
            continue
        if whole:
            found[case] = (of_number[0],)
        elif sorted(of_number) == list(range(channels)):
            found[case] = tuple(of_number[k] for k in range(channels))
        elif channels > 1:
            numbers = ", ".join(f"{number:04d}" for number in sorted(of_number))
            problems.append(f"{case}: channels {numbers}, but the model wants {channels}")
    grouped = {path for own in found.values() for path in own}
    return found | {stem: (path,) for stem, path in by_stem.items() if path not in grouped}


def _is_whole(path: Path, channels: int, alone: bool) -> bool:
    """Whether a file ``CASE_0000`` holds all channels, as data sets of pictures have it.

    Args:
        channels: what the model wants.
        alone: there is no ``CASE_0001``: a picture is taken for whole without a look.
    """
    if alone and file_ending_of(path) in NATURAL:
        return True
    try:
        return channels > 1 and count_channels(path) == channels
    except (FileNotFoundError, ValueError):  # said when the cases are read, all at once
        return False


def write_model_input(
    image: NewImage, channel_names: Sequence[str], ending: str, folder: Path
) -> tuple[sitk.Image, list[Path]]:
    """Write a case's channels as nnU-Net reads them, ``CASE_0000`` and so on.

    Args:
        channel_names: of the model.
        ending: of the model's training, in its dataset.json.

    Returns:
        The first channel, which has the geometry that labels are to have, and the files.

    Raises:
        FileNotFoundError, ValueError: unreadable, or not what the model was trained on; the message
            names the file.
    """
    channels = []
    for path in image.files:
        images, whole = read_finite_channels(path)
        channels += [(path, channel, whole) for channel in images]
    (path, first, _), *others = channels
    for other_path, other, _ in others:
        natural = file_ending_of(other_path) in NATURAL
        if difference := geometry_difference(other, first, size_only=natural):
            raise ValueError(f"{other_path} and {path} differ in {difference}")
    found = sum(channel.GetNumberOfComponentsPerPixel() for _, channel, _ in channels)
    if found != len(channel_names):
        raise ValueError(
            f"{path}: {counted(found, 'channel')}, but the model was trained on "
            f"{len(channel_names)} ({', '.join(channel_names)})"
            + _how_to_save(path, found, len(channel_names))
            * (len(image.files) == 1)
        )
    if ending in NATURAL and first.GetDimension() != 2:
        raise ValueError(f"{path} is a volume, but the model was trained on pictures ({ending})")
    if ending not in NATURAL and file_ending_of(path) in NATURAL:
        raise ValueError(f"{path} is a picture, but the model was trained on {ending} files")
    files = []
    for k, (source, channel, whole) in enumerate(channels):
        files.append(folder / f"{image.name}_{k:04d}{ending}")
        write_image(source, channel, whole, files[-1])
    return first, files


def _how_to_save(path: Path, found: int, wanted: int) -> str:
    if file_ending_of(path) not in NATURAL or found not in OF_PICTURES or wanted not in (1, 3):
        return ""
    return f". It is {OF_PICTURES[found]}: save it as {OF_PICTURES[wanted]}"


def read_new_images(
    cases: Sequence[NewImage],
    place: Path,
    channel_names: Sequence[str],
    ending: str,
    folder: Path,
) -> tuple[dict[str, tuple[sitk.Image, list[Path]]], list[tuple[Path, str]]]:
    """All cases as `write_model_input` hands them over, by name, and what is wrong with which file.

    Among the problems are files that seem to be labels of an image beside them.

    Args:
        place: where `find_new_images` found them.
    """
    read, problems = {}, []
    for case in cases:
        try:
            read[case.name] = write_model_input(case, channel_names, ending, folder)
        except (FileNotFoundError, ValueError) as error:
            problems.append((case.files[0], str(error)))
    images = {case.files[0]: read[case.name][0] for case in cases if case.name in read}
    if labels := labels_among(images):
        words = excluding_words(labels, place, images.keys() - labels)
        remedy = f"Pass over such files: --exclude {words}. If it is an image, give it by itself"
        problems += [
            (path, f"{path} looks like labels of an image beside it. {remedy}") for path in labels
        ]
    return read, problems
