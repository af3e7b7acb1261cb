"""What all converters share: from pairs of image and label files to a checked nnU-Net data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.convert.source import TRAINING, Source, SourceCase
from scribble_tools.convert.target import Target
from scribble_tools.dataset.case_names import alike_patients, alike_problems
from scribble_tools.dataset.provenance import package_versions
from scribble_tools.dataset.replacing import replaceable_dataset, write_dataset_record
from scribble_tools.dataset.updates import refuse_lost_updates
from scribble_tools.dataset.writing import (
    IGNORE,
    dataset_folder_name,
    dataset_json,
    next_commands,
    patient_grouped_splits,
    write_dataset_atomically,
    write_json,
)
from scribble_tools.images.file_kind import NATURAL, ending_of_content
from scribble_tools.images.image_files import (
    dataset_file_ending,
    read_finite_channels,
    write_image,
)
from scribble_tools.images.image_io import geometry_difference, write_labels
from scribble_tools.images.mismatches import Mismatch
from scribble_tools.parallel import threaded_map
from scribble_tools.problems import refuse
from scribble_tools.storage.overlap import refuse_sources_in
from scribble_tools.wording import counted


@dataclass(frozen=True)
class _Channel:
    """One image to be written, and the file it comes from."""

    path: Path
    image: sitk.Image
    whole: bool


def _read_case_images(case: SourceCase, names: Sequence[str]) -> tuple[list[_Channel], list[str]]:
    """The images of a case, one per nnU-Net file, and what is wrong with them."""
    channels: list[_Channel] = []
    problems = []
    for path in case.images:
        try:
            images, whole = read_finite_channels(path)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
        else:
            channels += [_Channel(path, image, whole) for image in images]
    if problems:
        return [], problems
    first = channels[0]
    for other in channels[1:]:
        natural = ending_of_content(other.path) in NATURAL
        if difference := geometry_difference(other.image, first.image, size_only=natural):
            problems.append(f"{other.path} and {first.path} differ in {difference}")
    found = sum(channel.image.GetNumberOfComponentsPerPixel() for channel in channels)
    if found != len(names):
        problems.append(
            f"{first.path}: {counted(found, 'channel')}, expected {len(names)} "
            f"({', '.join(names)}). Every case needs the same ones, and a name for each (convert "
            "folder: --channel-names, and an --image-pattern for each that is a file of its own)"
        )
    return channels, problems


def _read_case_labels(
    case: SourceCase, source: Source, image: sitk.Image
) -> tuple[dict[str, np.ndarray], list[str]]:
    """nnU-Net's labels of a case, ``scribble`` and ``dense``, and what is wrong with them."""
    arrays, problems = {}, []
    for role, path, read, mapping in (
        ("scribble", case.scribble, source.read_labels, source.scribble_labels),
        ("dense", case.dense, source.read_dense or source.read_labels, source.mapping_of_dense),
    ):
        if path is None:
            continue
        try:
            arrays[role] = mapping.apply(read(path, image, case.images[0]))
        except Mismatch as error:
            problems.append(f"{path} (image: {case.images[0]}) {error}")
        except (FileNotFoundError, ValueError) as error:
            message, container = str(error), path.parent if path.parent.suffix == ".h5" else path
            named = str(container) in message
            if (problem := message if named else f"{path} {message}") not in problems:
                problems.append(problem)
    if problems or case.part != TRAINING:
        return arrays, problems
    ignore = source.scribble_labels.labels[IGNORE]
    if "scribble" not in arrays:
        shape = image.GetSize()[::-1]
        arrays["scribble"] = np.full(shape, ignore, np.uint8 if ignore < 256 else np.uint16)
    annotated = arrays["scribble"] != ignore
    where = case.scribble or case.images[0]
    remedy = "leave it out" + ", or say --mixed if that is meant" * (source.mixed is not None)
    if not source.mixed and not annotated.any():
        problems = [f"{where}: nothing is annotated; {remedy}"]
    elif not source.mixed and annotated.all():
        problems = [f"{where}: every voxel is annotated, as in dense labels; {remedy}"]
    return arrays, problems


def convert_case(
    folder: Path, ending: str, source: Source, case: SourceCase
) -> tuple[int, list[str]]:
    """Write one case; return its dimension, and its problems instead of raising the first."""
    channels, problems = _read_case_images(case, list(source.channel_names.values()))
    if problems:
        return 0, problems
    image = channels[0].image
    arrays, problems = _read_case_labels(case, source, image)
    if problems:
        return image.GetDimension(), problems
    for role, sub_folder in (("scribble", "labelsTr"), ("dense", f"labels{case.part}_dense")):
        if role in arrays and (role == "dense" or case.part == TRAINING):
            write_labels(arrays[role], image, folder / sub_folder / f"{case.name}{ending}")
    try:
        for k, channel in enumerate(channels):
            target = folder / f"images{case.part}" / f"{case.name}_{k:04d}{ending}"
            write_image(channel.path, channel.image, channel.whole, target)
    except ValueError as error:
        problems.append(str(error))
    return image.GetDimension(), problems


def _dimension_problems(cases: Sequence[SourceCase], dimensions: Sequence[int]) -> list[str]:
    """One line when some images are 2D and others 3D, between which no network is shared."""
    first = {d: c for c, d in zip(cases[::-1], dimensions[::-1], strict=True) if d}
    if len(first) < 2:
        return []
    examples = " and ".join(f"{d} ({first[d].images[0]})" for d in sorted(first))
    return [f"the images have different dimensions: {examples}. Convert them apart"]


def _splits(target: Target, patients: Mapping[str, str]) -> list[dict] | None:
    """Folds by patient; None when there is a single patient and nobody asked for folds."""
    count = len(set(patients.values()))
    if target.num_folds is None and count < 2:
        return None
    num_folds = min(5, count) if target.num_folds is None else target.num_folds
    return patient_grouped_splits(patients, num_folds, target.seed)


def write_scribble_dataset(source: Source, target: Target) -> Path:
    """Write ``out/DatasetNNN_name`` from what a converter found, and return that folder.

    It holds imagesTr and labelsTr, dense references in labelsTr_dense (nnU-Net never reads them),
    cases of other parts in imagesVal/Ts and labelsVal/Ts_dense, dataset.json, splits by patient
    and ``conversion.json`` with sources, label mapping, patients, seed and versions. What else a
    data set held that is replaced stays.

    Raises:
        FileExistsError: see `write_dataset_atomically` and `written_entries`.
        ValueError: files are not what they should be; the message lists all of them, and nothing
            is written. Or see `refuse_sources_in`, `written_entries`.

    Example:
        Two images and their strokes, in which 0 means that nothing is drawn:

        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import SimpleITK as sitk
        >>> from scribble_tools.convert.folder import FolderOptions, folder_source
        >>> from scribble_tools.convert.pairing import IMAGE, SCRIBBLE, Place
        >>> hearts = Path(tempfile.mkdtemp())
        >>> strokes = np.zeros((2, 16, 16), np.uint8)
        >>> strokes[:, 7:9, 4:12], strokes[:, 1:3, 2:14] = 1, 2
        >>> for case in ("anna", "bert"):
        ...     for part, voxels in {"images": 50 * strokes, "scribbles": strokes}.items():
        ...         (hearts / part).mkdir(exist_ok=True)
        ...         image = sitk.GetImageFromArray(voxels)
        ...         sitk.WriteImage(image, str(hearts / part / f"{case}.nii.gz"))
        >>> source = folder_source(
        ...     [Place(IMAGE, hearts / "images")],
        ...     Place(SCRIBBLE, hearts / "scribbles"),
        ...     None,
        ...     FolderOptions(labels=["background=2", "heart=1"], unlabelled=["0"]),
        ... )
        >>> written = write_scribble_dataset(source, Target(hearts / "raw", 130, "Hearts"))
        >>> written.name, sorted(path.name for path in (written / "labelsTr").iterdir())
        ('Dataset130_Hearts', ['anna.nii.gz', 'bert.nii.gz'])
        >>> image = sitk.ReadImage(str(written / "labelsTr" / "anna.nii.gz"))
        >>> source.scribble_labels.labels, np.unique(sitk.GetArrayFromImage(image)).tolist()
        ({'background': 0, 'heart': 1, 'ignore': 2}, [0, 1, 2])
    """
    training = [case for case in source.cases if case.part == TRAINING]
    if not training:
        raise ValueError("no case to train on: none has a scribble")
    names = [(case.part, case.name) for case in source.cases]
    if twice := sorted({name for part, name in names if names.count((part, name)) > 1}):
        raise ValueError(f"several files would become the case {', '.join(twice)}: rename them")
    for own in {part: [n for p, n in names if p == part] for part, _ in names}.values():
        refuse(alike_problems(own))
    refuse(alike_patients(case.patient for case in source.cases))
    if not source.scribble_labels.unlabelled:
        raise ValueError("say which value means unlabelled, such as --unlabelled 0")
    if source.mapping_of_dense.names != source.scribble_labels.names:
        raise ValueError(
            f"dense labels {source.mapping_of_dense.names} must be the scribbles' in their order, "
            f"{source.scribble_labels.names}"
        )
    dataset = dataset_folder_name(target.out, target.dataset_id, target.name)
    ending = dataset_file_ending([path for case in source.cases for path in case.images])
    splits = _splits(target, {case.name: case.patient for case in training})
    files = [path for c in source.cases for path in (*c.images, c.scribble, c.dense) if path]
    files += source.more_files
    refuse_sources_in(target.out / dataset, files, "take another --dataset-id or --name")
    replaceable = None
    if target.overwrite:
        new = {f"images{case.part}" for case in source.cases}
        new |= {f"labels{case.part}_dense" for case in source.cases if case.dense}
        replaceable = replaceable_dataset([case.name for case in training], {*new, "labelsTr"})
        if (target.out / dataset).exists():
            replaceable(target.out / dataset)  # is it a conversion's?
            refuse_lost_updates(target.out / dataset)
    with write_dataset_atomically(target.out, dataset, replaceable) as folder:
        (folder / "labelsTr").mkdir()
        for case in source.cases:
            (folder / f"images{case.part}").mkdir(exist_ok=True)
            if case.dense:
                (folder / f"labels{case.part}_dense").mkdir(exist_ok=True)
        convert = partial(convert_case, folder, ending, source)
        outcomes = [*threaded_map(convert, source.cases, target.num_processes, "converting")]
        problems = [problem for _, own in outcomes for problem in own]
        problems += _dimension_problems(source.cases, [dimension for dimension, _ in outcomes])
        refuse(problems)
        reader = "NaturalImage2DIO" if ending in NATURAL else "SimpleITKIO"
        content = dataset_json(
            source.scribble_labels.labels,
            len(training),
            source.channel_names,
            ending,
            overwrite_image_reader_writer=reader,
            **source.extra,
        )
        write_json(content, folder / "dataset.json")
        if splits:
            write_json(splits, folder / "splits_final.json")
        write_dataset_record(_record(source, target, splits), folder)
    return target.out / dataset


def _record(source: Source, target: Target, splits: Sequence | None) -> dict:
    return {
        "format": source.format,
        "versions": package_versions(),
        "scribble_labels": source.scribble_labels.as_json(),
        "dense_labels": source.mapping_of_dense.as_json(),
        "seed": target.seed,
        "num_folds": len(splits or ()),
        "patients": {case.name: case.patient for case in source.cases},
        "cases": {
            case.name: {
                "part": case.part,
                "images": [str(path) for path in case.images],
                "scribble": None if case.scribble is None else str(case.scribble),
                "dense": None if case.dense is None else str(case.dense),
            }
            for case in source.cases
        },
        **source.record,
        "remarks": [*source.remarks()],
    }


def report(folder: Path, source: Source, configuration: str) -> None:
    """Print what was written and which command comes next."""
    patients = [case.patient for case in source.cases if case.part == TRAINING]
    others = len(source.cases) - len(patients)
    print(
        f"wrote "
        f"{counted(len(patients), 'training case')}"
        f" of {counted(len(set(patients)), 'patient')}"
        + f" and {counted(others, 'case to predict', 'cases to predict')}" * bool(others)
        + f" to {folder}\nlabels: {source.scribble_labels.labels}"
    )
    for remark in source.remarks():
        print(f"note: {remark}")
    if not (folder / "splits_final.json").exists():
        print("one patient only: no splits were made, train with fold 'all'")
    print(next_commands(folder, configuration))
