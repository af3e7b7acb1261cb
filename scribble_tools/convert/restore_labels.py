"""`scribble_tools restore-labels`: predictions back to the label values of the original files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scribble_tools.arguments import positive_int
from scribble_tools.dataset.label_mapping import LabelMapping
from scribble_tools.dataset.origin import dataset_of_predictions
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.dataset.raw import FILE, read_dataset_json
from scribble_tools.dataset.shapes import MAPPING
from scribble_tools.dataset.writing import IGNORE, RECORD, find_raw_dataset
from scribble_tools.images.file_kind import NATURAL, VOLUMES, file_ending_of, writable_name
from scribble_tools.images.image_files import files_in
from scribble_tools.images.image_io import save_image, write_labels
from scribble_tools.images.picture_labels import picture_of, word_of
from scribble_tools.images.segmentation_files import COLOUR, read_labels
from scribble_tools.images.slicer_segmentation import is_segmentation
from scribble_tools.json_files import Record, read_json
from scribble_tools.parallel import threaded_map
from scribble_tools.problems import refuse
from scribble_tools.storage.file_sets import write_json, written_into
from scribble_tools.storage.written_record import FILES, refuse_foreign, written_by_record
from scribble_tools.wording import counted

RESTORED = "restored.json"  # the record: which files of a folder are restored labels


def read_mapping(dataset: Path, values: str = "scribble") -> LabelMapping:
    """Read which original values the labels of a data set stand for.

    Args:
        dataset: a data set's folder, or its conversion.json.
        values: ``scribble`` or ``dense``: whose files' values.

    Raises:
        FileNotFoundError: there is no conversion.json.
        ValueError: it is no such record.
    """
    path = dataset / RECORD if dataset.is_dir() else dataset
    key = f"{values}_labels"
    try:
        return LabelMapping.from_json(read_json(path, Record(required={key: MAPPING}))[key])
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: no such file. scribble_tools convert writes it into the data set's folder"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is no record of scribble_tools convert ({error})") from None


def read_in_colours(dataset: Path, values: str = "scribble") -> bool:
    """Whether the values of a data set's scribble or dense files are numbers of colours."""
    path = dataset / RECORD if dataset.is_dir() else dataset
    key = "pictures" if values == "scribble" else f"{values}_pictures"
    return read_json(path, Record()).get(key) == COLOUR


def _word(dataset: Path, values: str) -> Callable[[int], str]:
    """How a value of a data set's files is written."""
    return word_of if read_in_colours(dataset, values) else str


def _refuse_other_dataset(
    predictions: Path, dataset: Path, mapping: LabelMapping, values: str
) -> None:
    """Refuse predictions of another data set's model, as far as their folder says whose they are.

    Raises:
        ValueError: their classes are others, or the values that these had.
    """
    folder = dataset if dataset.is_dir() else dataset.absolute().parent
    theirs = dataset_of_predictions(predictions)
    remedy = f"Say --dataset {theirs or 'NAME, of which the model is'}"
    try:
        labels = read_dataset_json(predictions / FILE)["labels"]
    except (OSError, ValueError):
        labels = {}
    classes = {name: value for name, value in labels.items() if name != IGNORE}
    own = {name: value for name, value in mapping.labels.items() if name != IGNORE}
    regions = any(isinstance(value, list) for value in classes.values())
    if classes and not regions and classes != own:
        raise ValueError(
            f"{predictions / FILE} has the classes {_listed(classes)}, {folder.name} has "
            f"{_listed(own)}: the predictions are of another data set. {remedy}"
        )
    try:
        other = read_mapping(folder.parent / theirs, values) if theirs else mapping
    except (FileNotFoundError, ValueError):
        return  # it is not here, perhaps under another number
    if other.classes != mapping.classes:
        theirs_in_words = other.describe(_word(folder.parent / theirs, values))
        raise ValueError(
            f"the predictions in {predictions} are of a model of {theirs}, whose files had other "
            f"values ({theirs_in_words}) than those of {folder.name} "
            f"({mapping.describe(_word(dataset, values))}). {remedy}"
        )


def _listed(classes: Mapping[str, int]) -> str:
    return " ".join(f"{name}={value}" for name, value in classes.items())


def _restore(
    mapping: LabelMapping, colours: bool, predicted: bool, folder: Path, path: Path
) -> str:
    """Write one restored file; return its problem instead of raising, to report all at once."""
    try:
        array, image = read_labels(path)
        ignore = mapping.labels.get(IGNORE) if predicted else None
        if ignore is not None and (array == ignore).any():
            return (
                f"{path} holds {ignore}, the ignore label of this data set, which no prediction "
                "has: is --dataset that of the model?"
            )
        own = mapping.restore(array)
        if colours and own.ndim == 2:
            save_image(picture_of(own), folder / writable_name(path))
        else:
            write_labels(own, image, folder / writable_name(path))
    except (FileNotFoundError, ValueError) as error:
        message = str(error)
        return message if str(path) in message else f"{path} {message}"
    return ""


def restore_labels(
    predictions: Path,
    mapping: LabelMapping,
    out: Path,
    overwrite: bool = False,
    num_processes: int = 2,
    colours: bool = False,
    predicted: bool = False,
) -> list[Path]:
    """Write every label map of a folder with its original values, and return the new files.

    Name, format and geometry stay. Of a class with several original values the first is written.

    Args:
        colours: the mapping's values are numbers of colours; pictures are written in these.
        predicted: refuse the ignore label, which strokes have and predictions have not.

    Raises:
        FileNotFoundError: there is no such folder, or no label map in it.
        FileExistsError: ``out`` holds files of these names, and ``overwrite`` is false or no
            earlier run has written them, as its record ``restored.json`` says.
        ValueError: ``out`` is the folder of the predictions, or files hold other values than the
            mapping's; the message lists all of them, and nothing is written.

    Example:
        Of class 1 the files had the value 600 once:

        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import SimpleITK as sitk
        >>> from scribble_tools.dataset.label_mapping import LabelMapping
        >>> here = Path(tempfile.mkdtemp())
        >>> (here / "predictions").mkdir()
        >>> image = sitk.GetImageFromArray(np.array([[[0, 1]]], np.uint8))
        >>> sitk.WriteImage(image, str(here / "predictions" / "anna.nii.gz"))
        >>> mapping = LabelMapping({"background": (0,), "heart": (600,)})
        >>> (path,) = restore_labels(here / "predictions", mapping, here / "restored")
        >>> sitk.GetArrayFromImage(sitk.ReadImage(str(path))).tolist()
        [[[0, 600]]]
    """
    if not predictions.is_dir():
        raise FileNotFoundError(f"{predictions} is not a folder")
    if out.exists() and out.samefile(predictions):
        raise ValueError(f"{out} holds the predictions themselves: give another --out")
    endings = NATURAL | VOLUMES | {".nii"}
    files = [p for p in files_in(predictions) if file_ending_of(p) in endings]
    if named := [path for path in files if is_segmentation(path)]:
        raise ValueError(
            f"{named[0]} is a segmentation of 3D Slicer, which has the names of its segments: "
            "there is nothing to restore"
        )
    if not files:
        raise FileNotFoundError(f"no label map in {predictions}: is it nnU-Net's output folder?")
    with written_into(out, "restored labels") as work:
        earlier = _files_of_earlier_run(out)
        targets = [out / writable_name(path) for path in files]
        if not overwrite and (there := [path for path in targets if path.exists()]):
            raise FileExistsError(
                f"{counted(len(there), 'file exists', 'files exist')}"
                f", such as {there[0]}: say --overwrite"
            )
        refuse_foreign([*targets, out / RESTORED], earlier, "scribble_tools restore-labels")
        restore = partial(_restore, mapping, colours, predicted, work)
        refuse([p for p in threaded_map(restore, files, num_processes, "restoring") if p])
        names = {*earlier, RESTORED, *(target.name for target in targets)}
        write_json({"versions": package_versions(), FILES: sorted(names)}, work / RESTORED)
    return targets


def _files_of_earlier_run(out: Path) -> set[str]:
    """What an earlier run recorded that it wrote into ``out``.

    Raises:
        FileExistsError: there is a file of the record's name that is no such record.
    """
    if not os.path.lexists(out / RESTORED):
        return set()
    return {str(name) for name in written_by_record(out, RESTORED, "restore-labels")}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    predictions: Path
    dataset: str
    out: Path
    values: str
    overwrite: bool
    num_processes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Write predictions with the label values that the original files had before conversion, "
        "as recorded in the data set's conversion.json. Names, format and geometry stay."
    )
    parser.epilog = (
        "example:\n  scribble_tools restore-labels predictions --out restored \\\n"
        "    --dataset 127\n\n"
        "Where several original values became one class, the first of them is written.\n"
        "Segments of 3D Slicer have names, not values: classes are numbered in their\n"
        "order in --labels of convert."
    )
    parser.add_argument(
        "predictions", metavar="PREDICTIONS", type=Path, help="folder with nnU-Net's label maps"
    )
    parser.add_argument(
        "--dataset",
        required=True,
        help="the data set that the model was trained on: its folder, its conversion.json, or its "
        "id or full name in the folder of the environment variable nnUNet_raw",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--values",
        choices=("scribble", "dense"),
        default="scribble",
        help="the values of the scribble files or of the dense files (default: scribble)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what an earlier run wrote"
    )
    parser.add_argument(
        "-np", type=positive_int, default=2, dest="num_processes", help="parallel readers"
    )


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    path = Path(options.dataset)
    path = path if path.exists() else find_raw_dataset(options.dataset)
    mapping = read_mapping(path, options.values)
    _refuse_other_dataset(options.predictions, path, mapping, options.values)
    word = _word(path, options.values)
    written = restore_labels(
        options.predictions,
        mapping,
        options.out,
        options.overwrite,
        options.num_processes,
        word is word_of,
        predicted=not options.predictions.absolute().is_relative_to(path.absolute()),
    )
    values = mapping.describe(word)
    print(f"wrote {counted(len(written), 'label map')} to {options.out}: {values}")
    return 0
