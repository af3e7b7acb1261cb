"""The command line of `convert folder --update`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from scribble_tools.convert.case_patients import assign_patients
from scribble_tools.convert.pairing import IMAGE, SCRIBBLE, CaseFiles, Place
from scribble_tools.convert.stroke_changes import UpdateOptions
from scribble_tools.convert.update import in_words, update_dataset
from scribble_tools.dataset.writing import find_dataset, next_commands
from scribble_tools.images.label_files import GridRules, grid_remarks
from scribble_tools.images.segmentation_files import GREY, NAN_LABEL, LabelReading

NOT_WITH_UPDATE = ("labels", "dense", "dense_labels", "label_description", "mixed", "overwrite")


def add_update_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run_update` reads besides those of a first conversion."""
    later = parser.add_argument_group("more strokes for a data set that is there already")
    later.add_argument(
        "--update",
        action="store_true",
        help="take corrected and added strokes into the data set of --dataset-id. Folds, labels "
        "and earlier strokes stay; needs no --labels and --name, --images for new cases only",
    )
    later.add_argument(
        "--erase",
        action="store_true",
        help="with --update: take away strokes that the new files lack",
    )


def run_update(args: argparse.Namespace) -> int:
    """Bring strokes into a data set that is there already."""
    if wrong := [name for name in NOT_WITH_UPDATE if getattr(args, name)]:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise ValueError(f"--update keeps what the data set says: leave out {words}")
    dataset = find_dataset(args.out, str(args.dataset_id))
    images = [Place(IMAGE, args.images, p) for p in args.image_pattern or (None,) if args.images]
    rules = GridRules(args.geometry, args.resample, args.lose_strokes)
    reading = LabelReading(NAN_LABEL if args.nan else None, args.palette or GREY)
    options = UpdateOptions(
        args.unlabelled,
        args.erase,
        args.exclude,
        args.overlaps,
        rules,
        reading,
        args.num_processes,
    )

    def patients_of(cases: Mapping[str, CaseFiles]) -> dict[str, str]:
        return assign_patients(cases, args.images, args.patients, args.patient_regex)

    scribbles = Place(SCRIBBLE, args.scribbles, args.scribble_pattern)
    found = update_dataset(dataset, scribbles, images, patients_of, options)
    print(in_words(found))
    for remark in grid_remarks(rules, SCRIBBLE):
        print(f"note: {remark}")
    if found.new:
        print(f"folds were extended: scribble_tools install-splits {args.dataset_id} --overwrite")
    if found.changed or found.new:
        print(next_commands(dataset))
    return 0
