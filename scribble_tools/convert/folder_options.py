"""What a user says to `convert folder`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scribble_tools.convert.pairing import DENSE, IMAGE, SCRIBBLE
from scribble_tools.convert.target import Target, add_target_arguments
from scribble_tools.images.label_files import FILE
from scribble_tools.images.label_files import IMAGE as ON_IMAGE
from scribble_tools.images.segmentation_files import INDEX
from scribble_tools.images.slicer_segmentation import OVERLAPS


@dataclass(frozen=True)
class FolderOptions:
    """How the files of a folder are to be understood.

    Attributes:
        labels: ``NAME=VALUE[,VALUE]`` of the scribbles, or a pattern of masks: see `LabelFiles`.
        unlabelled: values (or names) that mean unlabelled.
        dense_labels: the same as ``labels`` for dense files; default: ``labels``.
        label_description: ITK-SNAP's file that gives the values of names, or a table of colours.
        channel_names: default: ``image``, or ``R G B`` for colour pictures.
        exclude: shell patterns of files to pass over.
        not_swapped: background is as said, though it looks exchanged with unlabelled or a class.
        mixed: accept cases that are dense or not annotated at all, and images without scribble.
        patient_regex: its first group, or its whole match, in the case name or else in the
            image's path below its folder, is the patient.
        patients: CSV table with the columns ``case`` and ``patient``.
        resample: bring label files on another grid to the image's (nearest neighbour).
        lose_strokes: even where that loses a class, or more than a tenth of a file's strokes.
        geometry: take the labels' place in space from their own ``file`` or from their ``image``.
        nan: ``unlabelled``: NaN in scribbles means unlabelled; None: it is refused.
        palette: ``index``: labels are the indices in a picture's palette; None: its colours.
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
    lose_strokes: bool = False
    geometry: str = FILE
    nan: str | None = None
    palette: str | None = None
    overlaps: str = OVERLAPS[0]


# what `inspect` prints for the user to fill in
UNEDITED = re.compile(r"NAME\d*|NAME\d*=.*|.*=(VALUE|SEGMENT|PATTERN)")


@dataclass(frozen=True, kw_only=True)
class Options(FolderOptions, Target):
    """What the command line says, see ``-h``."""

    images: Path | None
    image_pattern: Sequence[str] | None
    scribbles: Path
    scribble_pattern: str | None
    dense: Path | None
    dense_pattern: str | None
    update: bool
    erase: bool
    not_mixed_up: bool


def refuse_unedited(options: Options) -> None:
    """Refuse the words in capitals of a line that `inspect` printed, and nobody has filled in.

    Raises:
        ValueError: there are some; all are named.
    """
    words = [*options.labels, *options.dense_labels]
    left = [word for word in words if UNEDITED.fullmatch(word)]
    channels = [word for word in options.channel_names if UNEDITED.fullmatch(word)]
    left += [f"--channel-names {' '.join(channels)}"] if channels else []
    left += ["--name NAME"] if UNEDITED.fullmatch(options.name or "") else []
    if left:
        of_channels = ", and of the channels, such as T1 T2" if channels else ""
        raise ValueError(
            f"words in capitals are for you to fill in: {', '.join(dict.fromkeys(left))}. Put the "
            "names of your classes and of the data set there, such as liver=1 and --name Livers"
            f"{of_channels}"
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
  PNG: labels as colours
    ... --labels background='#0000ff' cell='#ff0000' --unlabelled '#000000'
  several masks for each case, one or more for each class; what lies in no mask is unlabelled
    ... --labels background='{case}-Background-*.png' cell='{case}-Cell-*.png'

  more strokes, such as those drawn into what `suggest` wrote
    scribble_tools convert folder --update --scribbles next/labels --dataset-id 130 \\
      --out "$nnUNet_raw"

pairing: an image and its label file have the same name without ending; nnU-Net's _0000, _0001 for
the channels may follow the image's. Where names differ, say a pattern: {case} stands for the
case's name, * for anything within a name. A pattern with a slash is the path below the folder,
one without is the name in any sub-folder. Images and labels may lie in one folder. Folders of
patients with a folder for each visit: '{patient}/{case}/t1.nii.gz'. The case is then called
PATIENT_VISIT, and all visits of a patient stay together.
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
        help="classes of the scribbles, background among them; for .seg.nrrd NAME=SEGMENT, for "
        "pictures in colours NAME='#ff0000', for masks NAME='{case}_cell.png'",
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
        "--label-description",
        type=Path,
        metavar="FILE",
        help="of ITK-SNAP: names may be used. Or a table of colours: CVAT's labelmap.txt, or CSV "
        "with the columns name,colour (#ff0000)",
    )
    labels.add_argument(
        "--palette",
        choices=(INDEX,),
        help="pictures with a palette: labels are the indices in it, not the colours",
    )
    labels.add_argument(
        "--nan",
        choices=("unlabelled",),
        help="scribbles of floats: NaN means unlabelled (default: it is refused)",
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
        "--lose-strokes",
        action="store_true",
        help="with --resample: even where a class, or more than a tenth of a file's strokes, is "
        "lost (default: such files are refused)",
    )
    labels.add_argument(
        "--geometry",
        choices=(FILE, ON_IMAGE),
        default=FILE,
        help="image: lay labels of their image's size on it voxel by voxel, whatever their own "
        "header says (default: file, where both must agree)",
    )
    labels.add_argument(
        "--mixed",
        action="store_true",
        help="some cases are annotated wholly or not at all, or have no scribble file",
    )
    labels.add_argument(
        "--not-swapped",
        action="store_true",
        help="background is as said, though it looks exchanged with unlabelled or a class",
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
    later = parser.add_argument_group("more strokes for a data set that is there already")
    later.add_argument(
        "--update",
        action="store_true",
        help="take corrected and added strokes into the data set of --dataset-id. Folds, labels "
        "and earlier strokes stay; needs no --name, --images for new cases only, --labels for "
        "label maps only, where the first files were segments or masks",
    )
    later.add_argument(
        "--erase",
        action="store_true",
        help="with --update: take away strokes that the new files lack",
    )
    later.add_argument(
        "--not-mixed-up",
        action="store_true",
        help="with --update: files are of the cases that they are called after, and their values "
        "as said, though they hold another case's strokes or contradict most of the earlier ones",
    )
    add_target_arguments(parser, needs_name=False)
