"""How the strokes of a data set were drawn: values or segment names, as its conversion recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scribble_tools.dataset.label_mapping import BACKGROUND, LabelMapping
from scribble_tools.dataset.raw import read_label_set
from scribble_tools.dataset.shapes import CONVERSION
from scribble_tools.dataset.writing import RECORD
from scribble_tools.json_files import read_json


@dataclass(frozen=True)
class DrawnLabels:
    """What the user's label files hold.

    Attributes:
        mapping: of their values to the data set's labels; of 3D Slicer's files, whose segments have
            no lasting values, each label for itself.
        files: the label files that were converted; none without a record.
        values_of_names: names that were given, and their values in ``mapping``: segments of 3D
            Slicer or labels of ITK-SNAP.
        pictures: how pictures of labels were read, see `LabelReading`.
    """

    mapping: LabelMapping
    files: tuple[Path, ...] = ()
    values_of_names: Mapping[str, int] = field(default_factory=dict)
    pictures: str = "grey"

    @property
    def by_name(self) -> bool:
        """Whether the user named segments or masks, so that the values of ``mapping`` are ours."""
        own = {name: (k,) for k, name in enumerate(self.mapping.names)}
        ours = LabelMapping(own, (len(own),))
        return bool(self.values_of_names) and self.mapping == ours

    @property
    def segment_of(self) -> dict[str, str]:
        """Class to the first name that was given for it, or its own."""
        label_of, names = self.mapping.labels, {}
        for name in self.mapping.names:
            own = [word for word, v in self.values_of_names.items() if v == label_of[name]]
            names[name] = own[0] if own else name
        return names


def read_drawn_labels(dataset: Path) -> DrawnLabels:
    """Read how the strokes of a raw data set were drawn.

    Without a record of the conversion they are taken to have the values of dataset.json.

    Raises:
        ValueError: the record, or dataset.json, cannot be used.
    """
    path = dataset / RECORD
    record = read_json(path, CONVERSION) if path.is_file() else {}
    if "scribble_labels" in record:
        cases = record.get("cases", {}).values()
        files = tuple(Path(c["scribble"]) for c in cases if isinstance(c.get("scribble"), str))
        values = record.get("values_of_names") or {}
        mapping = LabelMapping.from_json(record["scribble_labels"])
        return DrawnLabels(mapping, files, values, record.get("pictures") or "grey")
    labels = read_label_set(dataset / "dataset.json")
    # by value, as `LabelMapping` counts; a region's values get names of their own
    names = {own[0]: name for name, own in labels.classes.items() if len(own) == 1}
    classes = {names.get(v, f"label {v}"): (v,) for v in sorted(labels.values - {0})}
    unlabelled = () if labels.ignore is None else (labels.ignore,)
    return DrawnLabels(LabelMapping({BACKGROUND: (0,), **classes}, unlabelled))
