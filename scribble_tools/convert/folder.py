"""Any images and label files that SimpleITK reads, 3D Slicer's and ITK-SNAP's among them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from scribble_tools.convert.case_patients import assign_patients
from scribble_tools.convert.conversion import (
    Source,
    SourceCase,
    add_target_arguments,
    report,
    target_of,
    write_scribble_dataset,
)
from scribble_tools.convert.label_survey import survey_labels
from scribble_tools.convert.label_words import LabelFiles, interpret_labels
from scribble_tools.convert.pairing import DENSE, IMAGE, SCRIBBLE, CaseFiles, Place, pair_files
from scribble_tools.convert.swapped import refuse_swapped
from scribble_tools.convert.update_command import add_update_arguments, run_update
from scribble_tools.images.file_kind import NATURAL, ending_of_content
from scribble_tools.images.image_files import count_channels, read_channels
from scribble_tools.images.itksnap_labels import read_label_description
from scribble_tools.images.slicer_segmentation import OVERLAPS

COLOURS = ("R", "G", "B")
THICK = 3  # a slice is thick above so many times its voxels' size, as nnU-Net counts it


@dataclass(frozen=True)
class FolderOptions:
    """How the files of a folder are to be understood.

    Attributes:
        labels: ``NAME=VALUE[,VALUE]`` of the scribbles: see `LabelFiles`.
        unlabelled: values (or names) that mean unlabelled.
        dense_labels: the same as ``labels`` for dense files; default: ``labels``.
        label_description: ITK-SNAP's file that gives the values of names.
        channel_names: default: ``image``, or ``R G B`` for colour pictures.
        exclude: shell patterns of files to pass over.
        not_swapped: background and unlabelled are as said, though they look exchanged.
        mixed: accept cases that are dense or not annotated at all, and images without scribble.
        patient_regex: its first group, or its whole match, in the case name or else in the
            image's path below its folder, is the patient.
        patients: CSV table with the columns ``case`` and ``patient``.
        resample: bring label files on another grid to the image's (nearest neighbour).
        overlaps: what to do where segments of 3D Slicer overlap: `OVERLAPS`.
    """

    labels: Sequence[str] = ()
    unlabelled: Sequence[str] = ()
    dense_labels: Sequence[str] = ()
    label_description: Path | None = None
    channel_names: Sequence[str] = ()
    exclude: Sequence[str] = ()
    mixed: bool = False
    not_swapped: bool = False
    patient_regex: str | None = None
    patients: Path | None = None
    resample: bool = False
    overlaps: str = OVERLAPS[0]


def _channel_names(files: CaseFiles, names: Sequence[str]) -> dict[str, str]:
    """Channel index to name; without ``names``, only where the file leaves no choice."""
    if not names:
        channels = sum(map(count_channels, files.images))
        natural = len(files.images) == 1 and ending_of_content(files.images[0]) in NATURAL
        if channels != 1 and not (natural and channels == len(COLOURS)):
            raise ValueError(
                f"{files.images[0]}: the case has {channels} channels. If they are meant to be "
                "(not the frames of a film, nor a picture's transparency), name them all: "
                "--channel-names T1 T2 ..."
            )
        names = ("image",) if channels == 1 else COLOURS
    return {str(k): name for k, name in enumerate(names)}


def folder_source(
    images: Sequence[Place],
    scribbles: Place,
    dense: Place | None,
    options: FolderOptions,
    num_threads: int = 2,
) -> Source:
    """Everything that is to be converted: see `pair_files`, `interpret_labels` and `Source`.

    Raises:
        FileNotFoundError, ValueError: files do not pair up, labels are not explained in full,
            patients or channel names are missing. The message lists all cases concerned.
    """
    found = pair_files(images, scribbles, dense, options.exclude, options.mixed)
    patients = assign_patients(found, images[0].folder, options.patients, options.patient_regex)
    channel_names = _channel_names(next(iter(found.values())), options.channel_names)
    names = options.label_description and read_label_description(options.label_description)

    def interpreted(role: str, words: Sequence[str], order: Sequence[str] = ()) -> tuple:
        paths = [path for files in found.values() if (path := getattr(files, role))]
        label_files = LabelFiles(
            role,
            survey_labels(paths, num_threads, f"{role} files"),
            words,
            options.unlabelled if role == SCRIBBLE else (),
            names,
            options.resample,
            options.overlaps,
        )
        return interpret_labels(label_files, order)

    mapping, read_labels, values = interpreted(SCRIBBLE, options.labels)
    if not options.not_swapped:
        refuse_swapped(mapping, [files.scribble for files in found.values() if files.scribble])
    dense_labels, read_dense, dense_values = None, None, {}
    if dense is not None:
        dense_labels, read_dense, dense_values = interpreted(
            DENSE, options.dense_labels or options.labels, mapping.names
        )
    return Source(
        "folder",
        [
            SourceCase(case, patients[case], files.images, files.scribble, files.dense)
            for case, files in found.items()
        ],
        mapping,
        channel_names,
        dense_labels,
        read_labels,
        options.mixed,
        read_dense=read_dense,
        record={
            "values_of_names": values,
            "dense_values_of_names": dense_values,
            "resample": options.resample,
            "overlaps": options.overlaps,
        },
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Any images and label files that SimpleITK reads: NIfTI, NRRD, MHA, .seg.nrrd of 3D\n"
        "Slicer, label maps of ITK-SNAP, PNG, BMP, TIF (JPG images too). What the labels mean has\n"
        "to be said in full; without --labels the command shows what the files hold. One class\n"
        "must be called background: the scribble on what is no organ."
    )
    parser.epilog = """\
examples:
  3D Slicer: by segment name; what lies in no segment is unlabelled
    scribble_tools convert folder --images ct --scribbles segmentations \\
      --labels background=Background RV="Right ventricle" --channel-names CT \\
      --dataset-id 130 --name MyHearts --out "$nnUNet_raw"
  ITK-SNAP: values, or names of its label descriptions; two channels; dense references
    scribble_tools convert folder --images mri --scribbles labels --dense full \\
      --image-pattern '{case}/t1.nii.gz' '{case}/t2.nii.gz' --channel-names T1 T2 \\
      --scribble-pattern '{case}_scribble.nii.gz' --label-description labels.txt \\
      --labels background=Outside RV=1 LV=2,3 --unlabelled "Clear Label" \\
      --dense-labels background=0 RV=1 LV=2,3 \\
      --dataset-id 131 --name MyBrains --out "$nnUNet_raw"
  PNG: pictures, grey or RGB, with labels as grey PNG
    scribble_tools convert folder --images photos --scribbles masks \\
      --labels background=1 cell=2 --unlabelled 0 255 --patient-regex '(dish\\d+)' \\
      --dataset-id 132 --name MyCells --out "$nnUNet_raw"

  more strokes, such as those drawn into what `suggest` wrote
    scribble_tools convert folder --update --scribbles next/labels --dataset-id 130 \\
      --out "$nnUNet_raw"

pairing: an image and its label file have the same name without ending; nnU-Net's _0000, _0001 for
the channels may follow the image's. Where names differ, say a pattern: {case} stands for the
case's name, * for anything within a name. A pattern with a slash is the path below the folder,
one without is the name in any sub-folder. Images and labels may lie in one folder.
"""
    files = parser.add_argument_group("files")
    for role, what in ((IMAGE, "images"), (SCRIBBLE, "scribbles"), (DENSE, "dense references")):
        option = "dense" if role == DENSE else f"{role}s"
        note = ", for scoring only, never trained on" * (role == DENSE)
        files.add_argument(
            f"--{option}", type=Path, required=role == SCRIBBLE, help=f"folder of the {what}{note}"
        )
        files.add_argument(
            f"--{role}-pattern",
            nargs="+" if role == IMAGE else None,
            metavar="PATTERN",
            help=f"names of the {what}, such as '{{case}}_{role}.nii.gz'"
            + "; one pattern per channel" * (role == IMAGE),
        )
    files.add_argument(
        "--exclude", nargs="+", default=(), metavar="GLOB", help="files to pass over, '*_old.*'"
    )
    files.add_argument(
        "--channel-names",
        nargs="+",
        default=(),
        metavar="NAME",
        help="default: image, or R G B. nnU-Net normalises a channel called CT by the intensities "
        "of the whole data set, any other by each image's own mean and deviation: CT must be said",
    )
    labels = parser.add_argument_group("labels")
    labels.add_argument(
        "--labels",
        nargs="+",
        default=(),
        metavar="NAME=VALUE[,VALUE]",
        help="classes of the scribbles, background among them; for .seg.nrrd NAME=SEGMENT",
    )
    labels.add_argument(
        "--unlabelled",
        nargs="+",
        default=(),
        metavar="VALUE",
        help="values that mean unlabelled: they become nnU-Net's ignore label",
    )
    labels.add_argument(
        "--dense-labels",
        nargs="+",
        default=(),
        metavar="NAME=VALUE[,VALUE]",
        help="the same classes in the dense references (default: as in --labels)",
    )
    labels.add_argument(
        "--label-description", type=Path, metavar="FILE", help="of ITK-SNAP: names may be used"
    )
    labels.add_argument(
        "--overlaps",
        choices=OVERLAPS,
        default=OVERLAPS[0],
        help="voxels in two segments of a .seg.nrrd: refuse them (default), ignore: leave them "
        "unlabelled, first: the class that stands first in --labels wins",
    )
    labels.add_argument(
        "--resample",
        action="store_true",
        help="bring label files on another grid to their image's (nearest neighbour). Not needed "
        "for a .seg.nrrd that covers a part of its image",
    )
    labels.add_argument(
        "--mixed",
        action="store_true",
        help="some cases are annotated wholly or not at all, or have no scribble file",
    )
    labels.add_argument(
        "--not-swapped",
        action="store_true",
        help="background and unlabelled are as said, though the files look as if exchanged",
    )
    patients = parser.add_argument_group("patients, kept on one side of every split")
    choice = patients.add_mutually_exclusive_group()
    choice.add_argument(
        "--patient-regex",
        metavar="REGEX",
        help="its first group in the case's name, or else in the image's path, is the patient, "
        r"such as '(patient\d+)'. Default: every case is a patient of its own",
    )
    choice.add_argument(
        "--patients", type=Path, metavar="CSV", help="table with the columns case,patient"
    )
    add_update_arguments(parser)
    add_target_arguments(parser, needs_name=False)


def _configuration(image: sitk.Image) -> str:
    """Of nnU-Net, to begin with: ``2d`` for pictures and for stacks of thick slices."""
    *_, second, largest = sorted(image.GetSpacing())
    flat = image.GetDimension() == 2 or largest > THICK * second
    return "2d" if flat else "3d_fullres"


def run(args: argparse.Namespace) -> int:
    """Run the sub-command and return its exit code."""
    if args.update:
        return run_update(args)
    if missing := [f"--{name}" for name in ("images", "name") if not getattr(args, name)]:
        raise ValueError(f"say {' and '.join(missing)} (only --update does without)")
    if args.erase:
        raise ValueError("--erase is for --update only")
    options = FolderOptions(
        **{name: getattr(args, name) for name in FolderOptions.__dataclass_fields__}
    )
    images = [Place(IMAGE, args.images, pattern) for pattern in args.image_pattern or (None,)]
    scribbles = Place(SCRIBBLE, args.scribbles, args.scribble_pattern)
    dense = args.dense and Place(DENSE, args.dense, args.dense_pattern)
    if args.dense_pattern and not dense:
        raise ValueError("--dense-pattern without --dense: say the folder, too")
    source = folder_source(images, scribbles, dense, options, args.num_processes)
    target = target_of(args)
    folder = write_scribble_dataset(source, target)
    image = read_channels(source.cases[0].images[0])[0][0]
    with_dense = sum(case.dense is not None for case in source.cases)
    if dense:
        print(f"{with_dense} of {len(source.cases)} cases have a dense reference")
    if not (options.patients or options.patient_regex):
        print("every case counts as a patient of its own: --patient-regex or --patients if not so")
    report(folder, source, target, _configuration(image))
    return 0
