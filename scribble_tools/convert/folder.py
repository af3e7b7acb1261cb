"""Any images and label files that SimpleITK reads, 3D Slicer's and ITK-SNAP's among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import SimpleITK as sitk

from scribble_tools.convert.case_patients import (
    OWN_PATIENTS,
    REGEX,
    assign_patients,
    regex_of_patterns,
)
from scribble_tools.convert.conversion import report, write_scribble_dataset
from scribble_tools.convert.exchanged import exchanged_folders
from scribble_tools.convert.folder_labels import LabelRole
from scribble_tools.convert.folder_options import (
    FolderOptions,
    Options,
    add_arguments,
    refuse_unedited,
)
from scribble_tools.convert.formats import Advice, Row, Seen
from scribble_tools.convert.labels_among import excluding_words, labels_among_cases
from scribble_tools.convert.pairing import DENSE, IMAGE, SCRIBBLE, CaseFiles, Place, pair_files
from scribble_tools.convert.source import Source, SourceCase
from scribble_tools.convert.update_command import run_update
from scribble_tools.dataset.patients import perhaps_of_one
from scribble_tools.images.channel_patterns import exchanged_channels
from scribble_tools.images.file_kind import NATURAL, ending_of_content
from scribble_tools.images.image_files import channel_problems, count_channels, read_channels
from scribble_tools.problems import refuse
from scribble_tools.wording import counted

__all__ = ["FolderOptions", "Options", "add_arguments", "folder_source", "run"]

COLOURS = ("R", "G", "B")
THICK = 3  # a slice is thick above so many times its voxels' size, as nnU-Net counts it


AS_SAID = ("as said", "as said")
ROWS = (
    Row(
        "[3D Slicer](#3d-slicer) `.seg.nrrd`",
        "`folder --labels NAME=SEGMENT`",
        "in no segment",
        "a segment of its own",
    ),
    Row(
        "[ITK-SNAP, MITK](#itk-snap-and-mitk)",
        "`folder --label-description FILE`",
        '0, "Clear Label"',
        "a label of its own",
    ),
    Row(
        "[label maps](#label-maps): NIfTI, NRRD, MHA",
        "`folder --labels NAME=VALUE --unlabelled VALUE`",
        *AS_SAID,
    ),
    Row("[pictures](#pictures): PNG, BMP, TIF", "`folder`", *AS_SAID),
    Row(
        "[pictures in colours](#colours-and-palettes)",
        "`folder --labels NAME='#ff0000'`",
        *AS_SAID,
    ),
    Row(
        "[masks per class](#masks-per-class)",
        "`folder --labels NAME='{case}-NAME.png'`",
        "in no mask",
        "a mask of its own",
    ),
)


def _channel_names(cases: Iterable[CaseFiles], names: Sequence[str]) -> dict[str, str] | None:
    """Channel index to name; without ``names``, only where the first case leaves no choice.

    None: no case can be opened, and whoever reads them says why.
    """
    if not names:
        if (first := first_channels(cases)) is None:
            return None
        path, channels, names = first
        if not names:
            raise ValueError(
                f"{path}: the case has {channels} channels. If they are meant to be "
                "(not the frames of a film, nor a picture's transparency), name them all: "
                "--channel-names T1 T2 ..."
            )
    return {str(k): name for k, name in enumerate(names)}


def first_channels(cases: Iterable[CaseFiles]) -> tuple[Path, int, Sequence[str]] | None:
    """First image of the first case that can be opened, the case's channels, and their names.

    Returns:
        No names where the user has to say them. None: no case can be opened.
    """
    for files in cases:
        try:
            channels = sum(map(count_channels, files.images))
        except (FileNotFoundError, ValueError):
            continue  # said when the cases are converted, all at once
        natural = len(files.images) == 1 and ending_of_content(files.images[0]) in NATURAL
        coloured = COLOURS if natural and channels == len(COLOURS) else ()
        return files.images[0], channels, ("image",) if channels == 1 else coloured
    return None


def _file_problems(
    cases: Mapping[str, CaseFiles], roles: Sequence[LabelRole], num_threads: int
) -> list[str]:
    """What is wrong with images themselves, and which labels lie on another grid; of all cases."""

    def of_case(files: CaseFiles) -> list[str]:
        if problems := [problem for path in files.images for problem in channel_problems(path)]:
            return problems
        image = read_channels(files.images[0])[0][0]
        return [problem for role in roles for problem in role.grid_problems(files, image)]

    with ThreadPoolExecutor(num_threads) as pool:
        return [problem for own in pool.map(of_case, cases.values()) for problem in own]


def _label_problems(cases: Mapping[str, CaseFiles], folder: Path, num_threads: int) -> list[str]:
    """What is no image but labels of one: with ``--mixed`` nothing else would tell."""
    labels = labels_among_cases(cases, num_threads)
    if not labels:
        return []
    paths = [p for own in cases.values() for p in (*own.images, own.scribble, own.dense) if p]
    kept = [path for path in paths if folder in path.parents and path not in labels]
    remedy = (
        f"Pass over such files: --exclude {excluding_words(labels, folder, kept)}. If it is an "
        "image, give it a name that no other image's begins"
    )
    return [f"{path} looks like labels of an image beside it. {remedy}" for path in labels]


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
    patterns = [place.pattern for place in images if place.pattern]
    if found := exchanged_channels(options.channel_names, patterns):
        raise ValueError(
            f"channels exchanged: {found[0]}. For these --channel-names say --image-pattern "
            f"{found[1]}"
        )
    roles = [LabelRole.of(SCRIBBLE, scribbles, options)]
    if dense is not None:
        roles.append(LabelRole.of(DENSE, dense, options))
    places = {role.name: role.place for role in roles}
    scribbles, dense = places[SCRIBBLE], places.get(DENSE)
    try:
        found = pair_files(images, scribbles, dense, options.exclude, options.mixed)
    except FileNotFoundError as error:
        question = exchanged_folders([*places.values(), *images])
        raise FileNotFoundError(f"{error}{question}") from None
    patients = assign_patients(found, images[0].folder, options.patients, options.patient_regex)
    channel_names = _channel_names(found.values(), options.channel_names)
    used = {path for files in found.values() for path in (*files.images, files.dense) if path}
    problems = _label_problems(found, images[0].folder, num_threads) if options.mixed else []
    problems += [problem for role in roles for problem in role.unused_masks(used)]
    problems += [problem for role in roles for problem in role.look(found, num_threads)]
    problems += roles[0].exchanged(found)
    if problems or channel_names is None:
        # whatever is wrong with the images is said along
        refuse(problems + _file_problems(found, roles, num_threads))
    dense_labels, read_dense, dense_values = None, None, {}
    questions: list[str] = []
    try:
        mapping, read_labels, values = roles[0].interpret()
        if not options.not_swapped:
            questions = roles[0].refuse_swapped(mapping, found)
        if dense is not None:
            dense_labels, read_dense, dense_values = roles[1].interpret(mapping.names)
    except ValueError as error:
        # the same here, but for who only asks what the files hold
        if options.labels and (more := _file_problems(found, roles, num_threads)):
            refuse([*more, str(error)])
        raise
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
            "geometry": options.geometry,
            "nan": options.nan,
            "pictures": roles[0].reading.pictures,
            **{f"{role.name}_pictures": role.reading.pictures for role in roles[1:]},
            **({REGEX: options.patient_regex} if options.patient_regex else {}),
            **{f"{role.name}_masks": masks for role in roles if (masks := role.masks_as_json())},
        },
        remarks=lambda: [*questions, *(remark for role in roles for remark in role.remarks())],
        more_files=[path for role in roles for path in role.more_files()],
    )


def _configuration(image: sitk.Image) -> str:
    """Of nnU-Net, to begin with: ``2d`` for pictures and for stacks of thick slices."""
    *_, second, largest = sorted(image.GetSpacing())
    flat = image.GetDimension() == 2 or largest > THICK * second
    return "2d" if flat else "3d_fullres"


def source_of(options: Options) -> Source:
    """The source that the options describe.

    Raises:
        ValueError: see `folder_source` and `refuse_unedited`.
    """
    refuse_unedited(options)
    images = [Place(IMAGE, options.images, pattern) for pattern in options.image_pattern or (None,)]
    scribbles = Place(SCRIBBLE, options.scribbles, options.scribble_pattern)
    dense = options.dense and Place(DENSE, options.dense, options.dense_pattern)
    if options.dense_pattern and not dense:
        raise ValueError("--dense-pattern without --dense: say the folder, too")
    if options.dense_labels and not dense:
        raise ValueError("--dense-labels without --dense: say the folder, too, or leave it out")
    return folder_source(images, scribbles, dense, options, options.num_processes)


def recognise(seen: Seen) -> Advice | None:
    """Nothing is this by its names: `inspect` guesses when no other format knows the files."""
    return None


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    if not (options.patients or options.patient_regex):
        by_folders = regex_of_patterns(options.image_pattern or ())
        options = replace(options, patient_regex=by_folders)
    if options.update:
        return run_update(options)
    if wrong := [name for name in ("erase", "not_mixed_up") if getattr(options, name)]:
        raise ValueError(f"--{wrong[0].replace('_', '-')} is for --update only")
    if missing := [f"--{name}" for name in ("images", "name") if not getattr(options, name)]:
        raise ValueError(f"say {' and '.join(missing)} (only --update does without)")
    source = source_of(options)
    folder = write_scribble_dataset(source, options)
    image = read_channels(source.cases[0].images[0])[0][0]
    with_dense = sum(case.dense is not None for case in source.cases)
    if options.dense:
        print(f"with a dense reference: {with_dense} of {counted(len(source.cases), 'case')}")
    if not (options.patients or options.patient_regex):
        alike = perhaps_of_one([case.name for case in source.cases])
        print(OWN_PATIENTS + (f" ({alike[0]} and {alike[1]}, for example?)" if alike else ""))
    report(folder, source, _configuration(image))
    return 0
