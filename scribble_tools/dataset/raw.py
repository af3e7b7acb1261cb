"""nnU-Net's raw data sets as they lie on disk: what dataset.json, splits and record say, and files.

This is the only file that reads a dataset.json. Commands that work on a whole data set begin with
`RawDataset.read`; those that only look for the labels of loose files use the functions below it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scribble_tools.dataset.label_set import LabelSet, label_names_of, label_set_of
from scribble_tools.dataset.shapes import CONVERSION, DATASET_JSON, WITH_LABELS
from scribble_tools.dataset.writing import RECORD, read_splits
from scribble_tools.images.image_files import cases_in
from scribble_tools.json_files import Record, Shape, in_words, problems_of, read_json

FILE = "dataset.json"
SPLITS = "splits_final.json"
IMAGE = re.compile(r"(.+)_(\d{4})")  # CASE_0000, without the ending


@dataclass(frozen=True)
class RawDataset:
    """A raw data set of nnU-Net.

    Attributes:
        folder: ``DatasetNNN_name``.
        content: of dataset.json, with whatever else stands there.
        labels: classes and ignore value.
        channels: names, in order.
        file_ending: of images and labels, such as ``.nii.gz``.
        splits: per fold the cases to train on (``train``) and to validate on (``val``); None where
            there is no splits_final.json.
        record: conversion.json; empty where there is none.

    Example:
        >>> import json
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> content = {
        ...     "labels": {"background": 0, "heart": 1, "ignore": 2},
        ...     "channel_names": {"0": "MR"},
        ...     "numTraining": 1,
        ...     "file_ending": ".nii.gz",
        ... }
        >>> _ = (folder / "dataset.json").write_text(json.dumps(content))
        >>> raw = RawDataset.read(folder)
        >>> raw.labels.classes, raw.labels.ignore, raw.channels
        ({'heart': (1,)}, 2, ('MR',))
    """

    folder: Path
    content: Mapping[str, Any]
    labels: LabelSet
    channels: tuple[str, ...]
    file_ending: str
    splits: Sequence[Mapping[str, Sequence[str]]] | None
    record: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path, tolerate: Collection[str] = ()) -> RawDataset:
        """Read what is said of the data set in ``folder``; its images and labels stay unopened.

        Args:
            tolerate: ``splits`` or ``record``, where the caller mends or judges it: counts as not
                there if it cannot be used.

        Raises:
            FileNotFoundError: there is no dataset.json.
            ValueError: dataset.json, splits or record cannot be used; the message lists all that is
                wrong with any of them.
        """
        folder, problems = Path(folder), []
        if not (folder / FILE).exists():
            raise FileNotFoundError(f"{folder / FILE}: no such file: is it a raw data set?")

        def part(name: str, read: Callable[[], Any], otherwise: Any) -> Any:
            try:
                return read()
            except FileNotFoundError:
                return otherwise
            except (OSError, ValueError) as error:
                if name not in tolerate:
                    problems.append(str(error))
                return otherwise

        content = part(FILE, lambda: read_whole(folder / FILE), None)
        splits = part("splits", lambda: read_splits(folder / SPLITS), None)
        record = part("record", lambda: read_record(folder), {})
        if problems:
            raise ValueError("\n".join(problems))
        labels = label_set_of(content["labels"])
        channels = tuple(content["channel_names"].values())
        return cls(folder, content, labels, channels, content["file_ending"], splits, record)

    def files(self, sub: str) -> dict[str, Path]:
        """The file of each case in a folder of label maps, such as ``labelsTr``, sorted by case."""
        return files_by_case(self.folder / sub, self.file_ending)

    def images(self, sub: str = "imagesTr") -> dict[str, tuple[Path, ...]]:
        """The channels of each case in a folder of images, sorted by case and channel."""
        images: dict[str, tuple[Path, ...]] = {}
        for name, path in self.files(sub).items():
            if match := IMAGE.fullmatch(name):
                images[match[1]] = (*images.get(match[1], ()), path)
        return images


def files_by_case(folder: Path, ending: str) -> dict[str, Path]:
    """The files of a folder by name without their ending, see `cases_in`."""
    return cases_in(folder, ending)


def read_record(folder: Path) -> dict[str, Any]:
    """Read what a conversion has left in a data set's folder, conversion.json.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no such record; the message says why.
    """
    return read_json(Path(folder) / RECORD, CONVERSION)


def read_dataset_json(path: Path, shape: Shape = WITH_LABELS) -> dict[str, Any]:
    """Read a dataset.json that has the given shape (default: its labels are usable).

    Raises:
        OSError: there is none.
        ValueError: it is not of this shape; the message says what is wrong.
    """
    return read_json(path, shape)


def read_whole(path: Path) -> dict[str, Any]:
    """Read a data set's whole dataset.json; ``channel_names`` is there under its old word, too.

    Raises:
        OSError: there is none.
        ValueError: it does not say what nnU-Net needs; the message says what is missing.
    """
    content = read_dataset_json(path, Record())
    if "modality" in content:  # nnU-Net still takes the old word
        content.setdefault("channel_names", content["modality"])
    if problems := problems_of(content, DATASET_JSON):
        raise ValueError(in_words(path, problems))
    return content


def read_label_set(dataset_json: Path) -> LabelSet:
    """Read classes and ignore value; raises what `read_dataset_json` does."""
    return label_set_of(read_dataset_json(dataset_json)["labels"])


def read_label_names(dataset_json: Path) -> dict[int, str]:
    """Read names for a legend, see `label_names_of`; raises what `read_dataset_json` does."""
    return label_names_of(read_dataset_json(dataset_json)["labels"])


def find_dataset_json(folders: Iterable[Path]) -> Path | None:
    """The first dataset.json in the folders or one level above (``labelsTr`` lies below one).

    It may be no file but a pipe or a link that leads nowhere: its reader says so.
    """
    for folder in folders:
        for candidate in (folder / FILE, folder.absolute().parent / FILE):
            if os.path.lexists(candidate):
                return candidate
    return None


def is_nnunets(dataset_json: Path) -> bool:
    """Whether a dataset.json says which value a name has, as nnU-Net's does.

    The Medical Segmentation Decathlon's says the reverse, ``{"0": "background", "1": "liver"}``. A
    file that cannot be read may have been nnU-Net's: its reader is to say what is wrong with it.
    """
    try:
        labels = read_json(dataset_json)["labels"]
        return not all(name.isdigit() and isinstance(v, str) for name, v in labels.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True
