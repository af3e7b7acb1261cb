"""Which label values make up which class, and which one means "unlabelled"."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scribble_tools.dataset.writing import IGNORE


@dataclass(frozen=True)
class LabelSet:
    """Foreground classes by name, each with the label values it consists of, and the ignore value.

    More than one value per class is nnU-Net's region: ``{"whole_tumour": (1, 2, 3)}``.
    """

    classes: Mapping[str, tuple[int, ...]]
    ignore: int | None = None

    @property
    def values(self) -> set[int]:
        """Every value that may stand in a prediction: background and the classes'."""
        return {0}.union(*self.classes.values())


def find_dataset_json(folders: Iterable[Path]) -> Path | None:
    """The first dataset.json in the folders or one level above (``labelsTr`` lies below one)."""
    for folder in folders:
        for candidate in (folder / "dataset.json", folder.absolute().parent / "dataset.json"):
            if candidate.is_file():
                return candidate
    return None


def is_nnunets(dataset_json: Path) -> bool:
    """Whether a dataset.json says which value a name has, as nnU-Net's does.

    The Medical Segmentation Decathlon's says the reverse, ``{"0": "background", "1": "liver"}``. A
    file that cannot be read may have been nnU-Net's: its reader is to say what is wrong with it.
    """
    try:
        labels = json.loads(dataset_json.read_text())["labels"]
        return not all(name.isdigit() and isinstance(v, str) for name, v in labels.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return True


def _read_labels_entry(dataset_json: Path) -> dict[str, tuple[int, ...]]:
    try:
        labels = json.loads(dataset_json.read_text())["labels"]
        return {
            name: tuple(value) if isinstance(value, list) else (int(value),)
            for name, value in labels.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{dataset_json} has no usable 'labels' ({type(error).__name__}: {error}); "
            'expected {"labels": {"background": 0, "name": 1, ...}}'
        ) from None


def read_label_set(dataset_json: Path) -> LabelSet:
    """Read classes and ignore value from nnU-Net's dataset.json.

    Raises:
        ValueError: the file is no JSON or has no usable ``labels``.
    """
    values = _read_labels_entry(dataset_json)
    ignore = values.pop(IGNORE, (None,))[0]
    return LabelSet({n: v for n, v in values.items() if v != (0,)}, ignore)


def read_label_names(dataset_json: Path) -> dict[int, str]:
    """Read the name of every single label value (background too, regions not), for legends.

    Raises:
        ValueError: the file is no JSON or has no usable ``labels``.
    """
    return {v[0]: n for n, v in _read_labels_entry(dataset_json).items() if len(v) == 1}


def parse_label_set(words: Sequence[str], ignore: int | None = None) -> LabelSet:
    """Build a label set from words as a user types them: ``2``, ``RV=1`` or ``heart=1,2,3``.

    Raises:
        ValueError: a word is none of these, names the background or a class once more.
    """
    classes = {}
    for word in words:
        name, _, values = word.rpartition("=")
        if (name or word) in classes:
            raise ValueError(f"label {word!r}: {name or word} stands twice, write NAME=1,2")
        try:
            classes[name or word] = tuple(int(value) for value in values.split(","))
        except ValueError:
            raise ValueError(f"label {word!r}: write 2, RV=1 or heart=1,2,3") from None
        if 0 in classes[name or word]:
            raise ValueError(f"label {word!r}: 0 is background, which is not scored")
    return LabelSet(classes, ignore)
