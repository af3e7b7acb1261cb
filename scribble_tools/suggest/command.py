"""`scribble_tools suggest`: where a stroke would teach most, and files to draw it into."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from scribble_tools.arguments import positive_int
from scribble_tools.check.splits import patients_of
from scribble_tools.convert.update_line import PATIENTS, update_command
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.dataset.raw import FILE, RawDataset, read_label_names, read_label_set
from scribble_tools.dataset.writing import find_raw_dataset
from scribble_tools.draw.contact_sheet import save_png
from scribble_tools.draw.display_plane import display_plane
from scribble_tools.draw.greys import largest_pieces, scaled
from scribble_tools.draw.shown_case import grey_or_colours, title_of_channel
from scribble_tools.evaluate.origin import UNFINISHED
from scribble_tools.images.file_kind import normal_form
from scribble_tools.images.image_files import channel_problems
from scribble_tools.images.image_io import read_image
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.images.slicer_segmentation import ENDING
from scribble_tools.predict.chosen_model import (
    add_model_arguments,
    find_model_of,
    model_in_words,
    refuse_other_classes,
)
from scribble_tools.predict.nnunet_model import NNUNetModel, TrainedModel
from scribble_tools.predict.unfinished import unfinished_in_words
from scribble_tools.problems import refuse
from scribble_tools.suggest.listing import in_words, row_of, table_of, write_list
from scribble_tools.suggest.new_cases import new_cases
from scribble_tools.suggest.new_folder import new_folder
from scribble_tools.suggest.new_patients import own_patients_in_words, write_new_patients
from scribble_tools.suggest.overview import ShownPlace, overview_figure
from scribble_tools.suggest.places import Place
from scribble_tools.suggest.search import (
    CaseToDraw,
    Judged,
    describe_annotated,
    judge,
    rank_cases,
)
from scribble_tools.suggest.starting_layers import (
    LabelStyle,
    style_of,
    write_legends,
    write_starting_layer,
)
from scribble_tools.wording import counted

LABELS, OVERVIEW = "labels", "overview.png"
FORMATS = {"slicer": ENDING, "nifti": ".nii.gz", "png": ".png"}
ON_OVERVIEW = 12
PRINTED = 10


@dataclass(frozen=True)
class SuggestOptions:
    """How many places are wanted, and in which form.

    Attributes:
        places: at most so many.
        per_case: at most so many of one case.
        label_format: one of `FORMATS`; None: the format that the strokes were drawn in.
        device: of torch.
        mirroring: compare mirrored images, too.
    """

    places: int = 40
    per_case: int = 5
    label_format: str | None = None
    device: str | None = None
    mirroring: bool = True


@dataclass(frozen=True)
class Suggestions:
    """What was found: places, best first, and every case as it was judged."""

    places: Sequence[Place]
    judged: dict[str, Judged]


def training_cases(dataset: Path, cases: Sequence[str] | None = None) -> list[CaseToDraw]:
    """The cases of a raw data set, annotated or not.

    Raises:
        FileNotFoundError: no such cases, or images without labels; all are named.
        ValueError: dataset.json cannot be used.
    """
    raw = RawDataset.read(dataset, tolerate=("splits", "record"))  # of no use here
    ending, there, drawn = raw.file_ending, raw.images(), raw.files("labelsTr")
    files = max(map(len, there.values()), default=1)  # per case; a colour picture has its channels
    found, missing = [], []
    for name in there if cases is None else dict.fromkeys(cases):
        known = {normal_form(path.name): path for path in there.get(name, ())}
        wanted = [f"{name}_{k:04d}{ending}" for k in range(files)]
        images = tuple(known.get(own, dataset / "imagesTr" / own) for own in wanted)
        strokes = drawn.get(name, dataset / "labelsTr" / f"{name}{ending}")
        missing += [str(path) for path in (*images, strokes) if not path.is_file()]
        found.append(CaseToDraw(name, images, strokes))
    if missing:
        raise FileNotFoundError(
            f"{counted(len(missing), 'file is missing', 'files are missing')}:\n"
            + "\n".join(missing)
        )
    if not found:
        raise FileNotFoundError(f"no *_0000{ending} in {dataset / 'imagesTr'}: nothing to look at")
    return found


def suggest(
    cases: Sequence[CaseToDraw],
    dataset: Path,
    model: TrainedModel,
    out: Path,
    options: SuggestOptions | None = None,
    annotated: Sequence[CaseToDraw] = (),
) -> Suggestions:
    """Look for the places where a stroke would teach most, and write the folder ``out``.

    It gets ``suggestions.csv`` and ``suggestions.json``, `OVERVIEW`, and in `LABELS` a label file
    of every case that has a place.

    Args:
        cases: with images as nnU-Net reads them for this model.
        dataset: raw data set of the model, which tells names and formats.
        annotated: of cases without annotation: those that the model was trained on.

    Raises:
        FileExistsError: there is such a folder, which may hold strokes.
        FileNotFoundError, ValueError: see `NNUNetModel` and `judge`.
    """
    with new_folder(out) as work:
        return _suggest(cases, dataset, model, work, options or SuggestOptions(), annotated)


def _suggest(
    cases: Sequence[CaseToDraw],
    dataset: Path,
    model: TrainedModel,
    out: Path,
    options: SuggestOptions,
    annotated: Sequence[CaseToDraw],
    source: Mapping[str, object] | None = None,
) -> Suggestions:
    # before the first hour: of NaN the network makes NaN everywhere
    refuse([problem for c in cases for path in c.images for problem in channel_problems(path)])
    # the model's: of regions the order is that of its channels
    labels = read_label_set(model.folder / FILE)
    style = style_of(dataset, options.label_format and FORMATS[options.label_format])
    network = NNUNetModel(model, options.device, options.mirroring)
    with tempfile.TemporaryDirectory(prefix=".predicted.", dir=out) as folder:
        predicted, judged = Path(folder), {}
        known = {case.name: describe_annotated(case, labels) for case in annotated}
        for case in tqdm(cases, "predicting", unit="case"):
            members = (own.probabilities for own in network.predict_members(case.images))
            judged[case.name], own = judge(
                case, members, labels, network.region_values, with_areas=not annotated
            )
            np.savez_compressed(predicted / f"{case.name}.npz", labels=own)
        patients, _ = patients_of(dataset, [*judged], None)
        places = rank_cases(judged, options.places, options.per_case, patients, known)
        if not places:
            raise ValueError(
                "nothing speaks for a stroke anywhere: all is predicted with certainty. Draw in "
                "some ordinary slices, or look at other images with --images FOLDER"
            )
        (out / LABELS).mkdir()
        found = Suggestions(places, judged)
        record = {
            "dataset": dataset.name,
            "model": str(model.folder),
            "folds": list(model.folds),
            "checkpoint": model.checkpoint,
            **({UNFINISHED: unfinished} if (unfinished := unfinished_in_words(model)) else {}),
            **(source or {}),
            "mirroring": options.mirroring,
            "cases": len(judged),
            "predictions_per_case": max(own.members for own in judged.values()),
        }
        _write(found, labels, style, dataset, predicted, record, out)
    return found


def _write(
    found, labels: LabelSet, style, dataset: Path, predicted: Path, record: Mapping, out: Path
) -> None:
    ranked = list(enumerate(found.places, 1))
    rows: dict[int, dict] = {}
    shown: dict[int, ShownPlace] = {}
    legend, files = {}, []
    for name in dict.fromkeys(place.case for place in found.places):
        case = found.judged[name].case
        own = [(rank, place) for rank, place in ranked if place.case == name]
        image = read_image(case.images[0])
        plane = display_plane(image, case.images[0])
        strokes = read_labels(case.strokes)[0] if case.strokes else None
        with np.load(predicted / f"{name}.npz") as content:
            prediction = content["labels"]
        target = out / LABELS / name
        file, of_case = write_starting_layer(
            style, labels, image, plane, strokes, prediction, own, target
        )
        legend |= of_case
        files.append(file)
        drawn = None if strokes is None else np.isin(strokes, [*labels.values - {0}])
        organs = largest_pieces(prediction) if drawn is None or not drawn.any() else drawn
        organs = plane.cut(organs)
        picture = scaled(plane.cut(grey_or_colours(image)), organs, plane.spacing_mm)
        for rank, place in own:
            rows[rank] = row_of(rank, place, image, plane)
            if rank <= ON_OVERVIEW:
                at = [
                    size - 1 - k if flip else k
                    for k, size, flip in zip(
                        place.index[1:], picture.shape[1:3], plane.flips, strict=True
                    )
                ]
                shown[rank] = ShownPlace(
                    rank,
                    place,
                    picture[place.slice],
                    None if strokes is None else plane.cut(strokes)[place.slice],
                    labels.ignore,
                    plane.cut(prediction)[place.slice],
                    (at[0], at[1]),
                    plane.spacing_mm,
                )
    write_legends(legend, style, files, out / LABELS)
    write_list([rows[rank] for rank, _ in ranked], record, out)
    first = [shown[rank] for rank in sorted(shown)]
    titles = [
        f"{own.rank}   {own.place.case}"
        + f", slice {own.place.slice}" * (not own.place.flat)
        + f"\n{in_words(own.place)}"
        for own in first
    ]
    names = names_to_draw(read_label_names(dataset / FILE), style)
    head = f"Where to draw next: the first {len(first)} of {counted(len(ranked), 'place')}"
    head += channel_shown(found.judged[first[0].place.case].case, dataset)
    save_png(overview_figure(first, names, titles, head), out / OVERVIEW)


def names_to_draw(names: Mapping[int, str], style: LabelStyle) -> dict[int, str]:
    """Classes for the legend, with the colours to draw in: those of the picture are others."""
    if not style.colours:
        return dict(names)
    colours = style.to_draw
    return {
        value: f"{name} = {colours[name]}" if name in colours else name
        for value, name in names.items()
    }


def channel_shown(case: CaseToDraw, dataset: Path) -> str:
    """A line on the channel that is shown, of images that have a file for each; else nothing."""
    if len(case.images) == 1:
        return ""
    raw = RawDataset.read(dataset, tolerate=("splits", "record"))
    return f"\nShown is {title_of_channel(raw.channels)}"


@dataclass(frozen=True, kw_only=True)
class Options(SuggestOptions):
    """What the command line says, see ``-h``."""

    dataset: str
    model: Path | None
    folds: Sequence[str] | None
    out: Path
    cases: Sequence[str] | None
    images: Path | None
    exclude: Sequence[str] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Where to draw next: slices and places in which a stroke would teach most, as a ranked\n"
        "list, a picture, and label files to draw into. They open in the program that the strokes\n"
        "were drawn with, and show strokes, prediction and marks where to look."
    )
    parser.epilog = (
        "examples:\n"
        '  scribble_tools suggest --dataset 130 --model "$model" --out next\n'
        '  scribble_tools suggest --dataset 130 --model "$model" --images new_images --out next\n\n'
        "reasons: a predicted piece that no stroke touches (unsupported); folds or mirrored\n"
        "images disagree; uncertain; far from any stroke of the class; against a stroke\n"
        "(contradiction); a slice unlike all annotated ones.\n\n"
        "Draw into next/labels: only strokes of your own classes count. What is called prediction\n"
        "or look stays where it is and is never trained on. Then\n"
        "  scribble_tools convert folder --update --dataset-id 130 --scribbles next/labels \\\n"
        '    --out "$nnUNet_raw"'
    )
    parser.add_argument("--dataset", required=True, help="id, full name or folder of the raw data")
    add_model_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--cases", nargs="+", help="default: all training cases")
    choice.add_argument(
        "--images",
        type=Path,
        help="folder of images without annotation, as they are, to look at instead: which of them "
        "to annotate, and where",
    )
    parser.add_argument(
        "--exclude", nargs="+", default=(), metavar="GLOB", help="of --images: files to pass over"
    )
    parser.add_argument(
        "--places", type=positive_int, default=40, help="of the list, at most (default: 40)"
    )
    parser.add_argument(
        "--per-case", type=positive_int, default=5, help="of one case, at most (default: 5)"
    )
    parser.add_argument(
        "--format",
        choices=sorted(FORMATS),
        dest="label_format",
        help="of the label files (default: the one that the strokes were drawn in)",
    )
    parser.add_argument(
        "--no-mirroring",
        action="store_false",
        dest="mirroring",
        help="do not compare mirrored images: three times faster in 2D, four times in 3D",
    )


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    if options.exclude and options.images is None:
        raise ValueError(
            "--exclude passes over files of --images: say which of the --cases instead"
        )
    dataset = find_raw_dataset(options.dataset)
    model = find_model_of(dataset.name, options.model, options.folds)
    refuse_other_classes(model.folder, dataset)
    print(model_in_words(model))
    alone: list[str] = []
    if options.images is None:
        cases = training_cases(dataset, options.cases)
        found = suggest(cases, dataset, model, options.out, options)
    else:
        with (
            new_folder(options.out) as work,
            tempfile.TemporaryDirectory(prefix=".inputs.", dir=work) as inputs,
        ):
            cases = new_cases(options.images, dataset, Path(inputs), options.exclude)
            known = training_cases(dataset)
            source = {"images": str(options.images), "exclude": list(options.exclude)}
            found = _suggest(cases, dataset, model, work, options, known, source)
            alone = write_new_patients(options.images, dataset, work, options.exclude)
    style = style_of(dataset, options.label_format and FORMATS[options.label_format])
    print(_summary(found, options.out, style.to_draw))
    table = options.out / PATIENTS
    new = options.images, options.exclude, table if alone else None
    print(f"  {update_command(dataset, options.out / LABELS, *new)}")
    if alone:
        print(own_patients_in_words(alone, table))
    return 0


def _summary(found: Suggestions, out: Path, values: Mapping[str, str]) -> str:
    members = max(own.members for own in found.judged.values())
    lines = [table_of(found.places[:PRINTED])]
    if members == 1:
        lines.append("one fold, not mirrored: nothing to disagree. More folds would tell more")
    lines.append(
        f"{counted(len(found.places), 'place')} in {len({p.case for p in found.places})} of "
        f"{counted(len(found.judged), 'case')}"
        f": {out / 'suggestions.csv'}, picture: {out / OVERVIEW}\n"
        f"draw into the files in {out / LABELS}: strokes of your classes only"
        + (", with " + ", ".join(f"{v} for {n}" for n, v in values.items())) * bool(values)
        + ". Then:"
    )
    return "\n".join(lines)
