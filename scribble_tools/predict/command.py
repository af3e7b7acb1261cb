"""`scribble_tools predict`: a trained model's labels for images as they are."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from scribble_tools.convert.labels_among import doubt_of_labels_only
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.dataset.raw import FILE, read_label_names, read_label_set, read_whole
from scribble_tools.dataset.writing import IGNORE, find_raw_dataset
from scribble_tools.draw.preview import preview_case
from scribble_tools.draw.shown_case import ShownFiles, title_of_channel
from scribble_tools.evaluate.origin import UNFINISHED
from scribble_tools.images.image_io import write_labels
from scribble_tools.predict.channels import channels_in_words, refuse_exchanged_channels
from scribble_tools.predict.chosen_model import (
    add_model_arguments,
    find_model_of,
    model_in_words,
    other_dataset_in_words,
)
from scribble_tools.predict.image_patterns import patterns_in_words
from scribble_tools.predict.label_writer import (
    LABEL_FORMATS,
    label_ending,
    names_as_drawn,
    names_of_regions,
    uncertainty_of,
    write_prediction,
    write_uncertainty,
)
from scribble_tools.predict.new_images import NewImage, find_new_images, read_new_images
from scribble_tools.predict.nnunet_model import NNUNetModel, TrainedModel
from scribble_tools.predict.record import (
    FILES_OF,
    RECORD,
    merged,
    read_earlier,
    refuse_to_replace,
)
from scribble_tools.predict.unfinished import unfinished_in_words
from scribble_tools.predict.verify import verify_model
from scribble_tools.problems import once_per_kind
from scribble_tools.storage.file_sets import write_json, written_into
from scribble_tools.storage.written_record import FILES
from scribble_tools.wording import counted

UNCERTAINTY, PICTURES = "uncertainty", "pictures"


@dataclass(frozen=True)
class PredictOptions:
    """How to predict, and what to write beside the labels.

    Attributes:
        label_format: one of `LABEL_FORMATS`; ``image``: that of the images.
        uncertainty: write a map of each case's uncertainty, too.
        pictures: draw a contact sheet of each case.
        image_patterns, exclude: see `find_new_images`.
        device: of torch; default: the fastest that there is.
        mirroring: average over mirrored images, as nnU-Net does; without it is four times faster
            in 2D and eight times in 3D, and a little worse.
        overwrite: replace what an earlier prediction of the same cases wrote.
    """

    label_format: str = "image"
    uncertainty: bool = False
    pictures: bool = True
    image_patterns: Sequence[str] = ()
    exclude: Sequence[str] = ()
    device: str | None = None
    mirroring: bool = True
    overwrite: bool = False


def predict_images(
    model: TrainedModel,
    images: Path,
    out: Path,
    options: PredictOptions | None = None,
    dataset: Path | None = None,
) -> dict[str, Path]:
    """Predict images as they are, and write labels in their geometry and format.

    The files of all cases appear together; those that an earlier run wrote of other cases stay.

    Args:
        model: see `find_model_of`.
        images: a folder or a single file.
        out: folder for the labels; `UNCERTAINTY` and `PICTURES` are folders in it.
        dataset: the raw data set of the training, whose record knows the names that segments had.

    Returns:
        Case to label file.

    Raises:
        FileExistsError: ``out`` holds such files, and ``overwrite`` is false or no earlier run has
            written them, as its record ``prediction.json`` says.
        FileNotFoundError, ValueError: no such images, or images that are unreadable or unlike the
            training's; all are named, and nothing is predicted. Or see `verify_model` and
            `NNUNetModel`.
    """
    options = options or PredictOptions()
    dataset_json = model.folder / FILE
    content = read_whole(dataset_json)
    channel_names = list(content["channel_names"].values())
    refuse_exchanged_channels(channel_names, options.image_patterns)
    cases = find_new_images(
        images, len(channel_names), options.image_patterns, options.exclude, channel_names
    )
    if words := channels_in_words(channel_names, options.image_patterns, cases):
        print(f"channels: {words}")
    files_of = {case.name: _files_of(case, options) for case in cases}
    new = [name for own in files_of.values() for name in own]
    inputs_of = {os.path.realpath(path) for case in cases for path in case.files}
    if over := [out / name for name in new if os.path.realpath(out / name) in inputs_of]:
        raise ValueError(f"{over[0]} is an image, and would be written over: take another --out")
    obsolete: list[str] = []
    labels = read_label_set(dataset_json)
    regions = any(len(values) > 1 for values in labels.classes.values())
    names = names_of_regions(labels) if regions else read_label_names(dataset_json)
    names = {value: name for value, name in names.items() if name != IGNORE}
    drawn = names_as_drawn(dataset, names)
    with (
        written_into(out, "prediction", obsolete) as work,
        tempfile.TemporaryDirectory(prefix=".inputs.", dir=work) as inputs,
    ):
        earlier = read_earlier(out)
        # an earlier run's files of these cases go with it, though they may be called otherwise
        of_cases = [name for case in files_of for name in earlier[FILES_OF].get(case, ())]
        new = [*dict.fromkeys([*new, *of_cases])]
        refuse_to_replace(out, new, earlier, options.overwrite)
        read, problems = read_new_images(
            cases, images, channel_names, content["file_ending"], Path(inputs)
        )
        if problems:  # said before the first hour
            number = f"{len(problems)} of {counted(len(cases), 'case')}"
            head = f"{number} cannot be predicted, nothing was:"
            remedy = _patterns_to_say(channel_names, images, cases)
            raise ValueError("\n".join(filter(None, [head, *once_per_kind(problems), remedy])))
        if doubt := doubt_of_labels_only({c.files[0]: read[c.name][0] for c in cases}):
            print(f"WARNING: {doubt}", file=sys.stderr)
        verify_model(model.folder)  # nnU-Net executes what stands in a checkpoint
        network = NNUNetModel(model, options.device, options.mirroring)
        for case in tqdm(cases, "predicting", unit="case"):
            image, files = read[case.name]
            found = network.predict(files)
            label, *others = (work / name for name in files_of[case.name])
            write_prediction(found.labels, image, label, drawn)
            if options.uncertainty:
                others[0].parent.mkdir(exist_ok=True)
                values = uncertainty_of(found.probabilities, regions)
                write_uncertainty(values, image, others[0])
            if options.pictures:
                labels = Path(inputs) / f"labels_of_{case.name}{content['file_ending']}"
                write_labels(found.labels.reshape(image.GetSize()[::-1]), image, labels)
                title = title_of_channel(channel_names)
                shown = ShownFiles(
                    case.name,
                    files[0],
                    predictions={"prediction": labels},
                    image_title=title,
                    uncertainty=others[0] if options.uncertainty else None,
                )
                preview_case(shown, others[-1], dataset_json)
        refuse_to_replace(out, new, earlier, options.overwrite)  # what has come meanwhile
        record = _record(model, images, options, cases, drawn)
        record |= merged(earlier, files_of)
        obsolete += [name for name in earlier[FILES] if name not in record[FILES]]
        endings = {files[0].removeprefix(case) for case, files in record[FILES_OF].items()}
        # what scores them reads the names of the classes here; of two endings none is the folder's
        others = {key: value for key, value in content.items() if key != "file_ending"}
        ending = {"file_ending": endings.pop()} if len(endings) == 1 else {}
        write_json({**others, **ending}, work / FILE)
        record[FILES].append(FILE)
        write_json(record, work / RECORD)
    return {case: out / files[0] for case, files in files_of.items()}


def _patterns_to_say(names: Sequence[str], images: Path, cases: Sequence[NewImage]) -> str:
    """Words for files that were taken for a case each; nothing where cases have several files."""
    files = [path for case in cases for path in case.files]
    root = images if images.is_dir() else images.parent
    return patterns_in_words(names, root, files) if len(files) == len(cases) else ""


def _files_of(case: NewImage, options: PredictOptions) -> list[str]:
    """Paths below the results' folder: the labels, then a map of uncertainty, then a picture."""
    files = [f"{case.name}{label_ending(case.files[0], options.label_format)}"]
    if options.uncertainty:
        files.append(f"{UNCERTAINTY}/{case.name}{label_ending(case.files[0])}")
    if options.pictures:
        files.append(f"{PICTURES}/{case.name}.png")
    return files


def _record(
    model: TrainedModel,
    images: Path,
    options: PredictOptions,
    cases: Sequence[NewImage],
    names: dict[int, str],
) -> dict:
    return {
        "model": str(model.folder),
        "folds": list(model.folds),
        "checkpoint": model.checkpoint,
        **({UNFINISHED: unfinished} if (unfinished := unfinished_in_words(model)) else {}),
        "images": str(images),
        "cases": {case.name: [str(path) for path in case.files] for case in cases},
        "labels": {str(value): name for value, name in names.items()},
        "mirroring": options.mirroring,
        "versions": package_versions(),
    }


@dataclass(frozen=True, kw_only=True)
class Options(PredictOptions):
    """What the command line says, see ``-h``."""

    dataset: str | None
    model: Path | None
    folds: Sequence[str] | None
    images: Path
    out: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Labels for new images, by nnU-Net's own prediction. Images are taken as they are, in any\n"
        "format that convert reads and under any name; labels come in their geometry and format,\n"
        "with the values of dataset.json. A contact sheet of each case is drawn beside them."
    )
    parser.epilog = (
        "examples:\n"
        "  scribble_tools predict --dataset 130 --images new_images --out predictions\n"
        "  scribble_tools predict --dataset 130 --model "
        "nnUNetTrainerPCLMix_5epochs__nnUNetPlans_small__2d \\\n"
        "    --images scans --format .seg.nrrd --uncertainty --out predictions\n\n"
        "Several channels: CASE_0000, CASE_0001, ..., one file that holds all, or a pattern each:\n"
        "  --image-pattern '{case}/t1.nii.gz' '{case}/t2.nii.gz'\n\n"
        "Then score them, or bring back the label values of the original files:\n"
        "  scribble_tools evaluate predictions outlined\n"
        "  scribble_tools restore-labels predictions --dataset 130 --out restored"
    )
    parser.add_argument(
        "--dataset", help="that the model was trained on: id or full name, or folder of the raw one"
    )
    add_model_arguments(parser)
    parser.add_argument("--images", type=Path, required=True, help="folder, or one image")
    parser.add_argument(
        "--image-pattern",
        nargs="+",
        default=(),
        dest="image_patterns",
        metavar="PATTERN",
        help="names of the images, one pattern for each channel: see below",
    )
    parser.add_argument(
        "--exclude", nargs="+", default=(), metavar="GLOB", help="files to pass over, '*_old.*'"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--format",
        choices=LABEL_FORMATS,
        default=LABEL_FORMATS[0],
        dest="label_format",
        help="of the labels: the image's (default), or .seg.nrrd for 3D Slicer, with the names of "
        "the segments and colours",
    )
    parser.add_argument(
        "--uncertainty",
        action="store_true",
        help=f"write maps to {UNCERTAINTY}/: 0 is certain, 1 is not (of pictures 255), and show "
        "them in the contact sheets",
    )
    parser.add_argument(
        "--no-pictures", action="store_false", dest="pictures", help="draw no contact sheets"
    )
    parser.add_argument(
        "--no-mirroring",
        action="store_false",
        dest="mirroring",
        help="four times faster in 2D, eight times in 3D, and a little worse",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what an earlier run wrote"
    )


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    if options.model is None and options.dataset is None:
        raise ValueError("say which model: --dataset 130, or --model FOLDER")
    model = find_model_of(options.dataset, options.model, options.folds)
    try:
        dataset = find_raw_dataset(options.dataset or model.folder.parent.name)
    except (FileNotFoundError, ValueError):
        dataset = None  # only names of segments are asked of it
    print(model_in_words(model))
    if dataset and (doubt := other_dataset_in_words(model.folder, dataset)):
        print(f"warning: {doubt}")
    written = predict_images(model, options.images, options.out, options, dataset)
    print(f"wrote the labels of {counted(len(written), 'case')} to {options.out}")
    if options.pictures:
        print(f"contact sheets: {options.out / PICTURES}")
    return 0
