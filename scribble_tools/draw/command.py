"""`scribble_tools preview`: contact sheets of a data set, or of one case's files, as PNG."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scribble_tools.arguments import positive_int
from scribble_tools.dataset.raw import (
    find_dataset_json,
    is_nnunets,
)
from scribble_tools.dataset.writing import find_raw_dataset
from scribble_tools.draw.preview import INDEX, distinct_titles, preview_case, preview_dataset
from scribble_tools.draw.shown_case import ShownFiles
from scribble_tools.images.slicer_segmentation import stem_of
from scribble_tools.wording import counted


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    dataset: str | None
    pred: Sequence[Path]
    ref: Path | None
    out: Path
    cases: Sequence[str] | None
    channel: int | None
    max_slices: int | None
    crop: bool
    num_processes: int
    overwrite: bool
    image: Path | None
    scribble: Path | None
    slice: Sequence[int] | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "One picture per case: rows are slices that have scribbles, columns are the image, the "
        "scribble over it, predictions and the reference, in colours that everyone can tell apart. "
        "Slices are cut across the axis of the largest voxel size and shown in radiological "
        "orientation (patient's right on the left, anterior or superior up), with letters at the "
        "edges, where the file says how it lies."
    )
    parser.epilog = (
        "examples:\n  scribble_tools preview 127 --out pictures\n"
        "  scribble_tools preview 127 --pred MODEL_A/fold_0/validation \\\n"
        "    MODEL_B/fold_0/validation --ref labelsTr_dense --out pictures\n"
        "  scribble_tools preview --image imagesTr/demo001_ed_0000.nii.gz \\\n"
        "    --scribble labelsTr/demo001_ed.nii.gz --ref labelsTr_dense/demo001_ed.nii.gz \\\n"
        "    --out demo001_ed.png\n\n"
        "An id or name is looked for in the folder of the environment variable nnUNet_raw.\n"
        "Slices are numbered from 0, as in 3D Slicer; ITK-SNAP counts from 1.\n"
        "preview.json, beside the pictures of a data set, lists slices and files of every case."
    )
    parser.add_argument(
        "dataset",
        nargs="?",
        help="id, full name or folder of a raw data set; none: one case's files",
    )
    parser.add_argument(
        "--pred",
        type=Path,
        nargs="+",
        default=[],
        help="folders of predictions, or one case's files",
    )
    parser.add_argument(
        "--ref",
        type=Path,
        help="folder of dense references, also relative to the data set (default with --pred: "
        "labelsTr_dense and labelsTs_dense of the data set), or one case's file",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the pictures, or one case's PNG file"
    )
    parser.add_argument(
        "--cases", nargs="+", help="default: all with a prediction; without --pred, all in labelsTr"
    )
    parser.add_argument("--channel", type=int, help="channel of the image to show (default: 0)")
    parser.add_argument(
        "--max-slices", type=int, default=3, help="rows per picture, at most (default: 3)"
    )
    parser.add_argument(
        "--all-slices",
        action="store_const",
        const=None,
        dest="max_slices",
        help="a row for every slice that has scribbles",
    )
    parser.add_argument(
        "--crop",
        action="store_true",
        help="show only the surroundings of strokes and reference",
    )
    parser.add_argument(
        "-np", type=positive_int, default=2, dest="num_processes", help="processes (default: 2)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing pictures")
    one_case = parser.add_argument_group("one case, without a data set")
    one_case.add_argument("--image", type=Path, help="one channel of the image")
    one_case.add_argument("--scribble", type=Path, help="its scribble")
    one_case.add_argument(
        "--slice",
        type=int,
        nargs="+",
        help="slices to show, from 0 (default: some that have scribbles)",
    )


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    for_the_other = (
        ("cases", "channel") if options.dataset is None else ("image", "scribble", "slice")
    )
    if wrong := [f"--{name}" for name in for_the_other if getattr(options, name) is not None]:
        form = "without" if options.dataset is None else "with"
        raise ValueError(f"{', '.join(wrong)} cannot be used {form} a data set, see preview -h")
    if options.dataset is not None:
        drawn = preview_dataset(
            find_raw_dataset(options.dataset),
            options.out,
            options.pred,
            options.ref,
            options.cases,
            options.channel or 0,
            options.max_slices,
            options.num_processes,
            options.overwrite,
            options.crop,
        )
        print(f"wrote {counted(len(drawn), 'picture')} and {INDEX} to {options.out}")
        return 0
    if options.image is None:
        raise ValueError("give a data set (preview 127 --out pictures) or one case's --image")
    predictions = dict(zip(distinct_titles(options.pred), options.pred, strict=True))
    name = re.sub(r"_\d{4}$", "", stem_of(options.image))  # without nnU-Net's channel
    files = ShownFiles(name, options.image, options.scribble, predictions, options.ref)
    folders = [path.parent for path in (options.scribble, options.ref) if path is not None]
    dataset_json = find_dataset_json(folders)
    if dataset_json is not None and not is_nnunets(dataset_json):
        dataset_json = None
    preview_case(
        files,
        options.out,
        dataset_json,
        options.slice,
        options.max_slices,
        options.overwrite,
        options.crop,
    )
    print(f"wrote {options.out}")
    return 0
