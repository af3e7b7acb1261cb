"""Contact sheets of a data set, or of one case's files, as PNG; and the files that they show."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from scribble_tools.dataset.raw import FILE, RawDataset, files_by_case
from scribble_tools.draw.contact_sheet import choose_slices, save_png
from scribble_tools.draw.shown_case import ShownFiles, read_case, title_of_channel
from scribble_tools.evaluate.label_files import label_files_like
from scribble_tools.images.file_kind import normal_form
from scribble_tools.images.slicer_segmentation import value_conflicts
from scribble_tools.json_files import Record, read_json
from scribble_tools.parallel import parallel_map
from scribble_tools.storage.file_sets import write_json, written_into
from scribble_tools.storage.folders import made_folder
from scribble_tools.storage.overlap import refuse_same_file
from scribble_tools.storage.written_record import refuse_foreign
from scribble_tools.wording import counted

INDEX = "preview.json"


def preview_case(
    files: ShownFiles,
    out: Path,
    dataset_json: Path | None = None,
    slices: Sequence[int] | None = None,
    max_slices: int | None = 3,
    overwrite: bool = False,
    crop: bool = False,
) -> dict:
    """Write the contact sheet of one case as PNG.

    Args:
        dataset_json: see `read_case`.
        slices: to show, as numbered in the file; default: up to ``max_slices`` (None: all) that
            have scribbles (``contact_sheet.choose_slices``).
        crop: show only the surroundings of strokes and reference.

    Returns:
        ``picture`` (file name), ``slices``, ``slice_axis`` (``"x"``, ``"y"`` or ``"z"`` of the
        file; None in 2D), ``left`` and ``up`` of the picture in the patient (None when the file
        does not say) and the files used.

    Raises:
        FileExistsError: there is such a picture and ``overwrite`` is false.
        FileNotFoundError, ValueError: see `read_case`.
    """
    out = Path(out)
    if out.suffix != ".png":
        raise ValueError(f"{out}: the picture is a PNG, name it so")
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already: choose another name or say --overwrite")
    sources = [files.image, *(path for _, path in files.label_maps)]
    refuse_same_file(out, [path for path in sources if path is not None])
    _refuse_no_slices(max_slices)
    shown = read_case(files, dataset_json)
    max_slices = len(shown.image) if max_slices is None else max_slices
    shown = shown.cropped() if crop else shown
    if slices is None:
        slices = choose_slices(shown.panels[0], max_slices)
        shown = shown.with_part(slices)
    slices = list(slices)
    sheet = shown.sheet(slices, files.name)
    with made_folder(out.parent):
        save_png(sheet, out)
    plane = shown.plane
    return {
        "picture": out.name,
        "slices": slices,
        "slice_axis": "zyx"[plane.axes[0]] if plane.dimension == 3 else None,
        "left": plane.edges[0] if plane.edges else None,
        "up": plane.edges[2] if plane.edges else None,
        "image": str(files.image),
        "scribble": str(files.scribble) if files.scribble else None,
        "predictions": {title: str(path) for title, path in files.predictions.items()},
        "reference": str(files.reference) if files.reference else None,
    }


def _refuse_no_slices(max_slices: int | None) -> None:
    if max_slices is not None and max_slices < 1:
        raise ValueError(f"{max_slices} slices: at least 1 must be shown")


OWN_TITLES = ("image", "scribble", "reference")


def distinct_titles(paths: Sequence[Path]) -> list[str]:
    """Short titles that tell paths apart: what differs of ``MODEL/fold_0/validation`` is MODEL.

    Raises:
        ValueError: a path is given twice.
    """
    parts = [path.absolute().parts for path in paths]
    if len(parts) == 1:
        return ["prediction"]
    if len(set(parts)) < len(parts):
        raise ValueError(f"predictions given twice: {', '.join(map(str, paths))}")
    while len({p[-1] for p in parts}) == 1:
        parts = [p[:-1] for p in parts]
    depth = 1
    while len({p[-depth:] for p in parts}) < len(parts):
        depth += 1
    titles = ["/".join(p[-depth:]) for p in parts]
    # beside them there are columns of these titles
    return [f"{title} (prediction)" if title in OWN_TITLES else title for title in titles]


def find_case_files(
    dataset: Path,
    predictions: Sequence[Path] = (),
    reference: Path | None = None,
    cases: Sequence[str] | None = None,
    channel: int = 0,
    remedy: str = "choose other cases with --cases?",
    titles: Sequence[str] | None = None,
) -> list[ShownFiles]:
    """Gather the files of the cases of a raw data set.

    Args:
        dataset: folder with dataset.json, imagesTr, labelsTr and perhaps imagesTs.
        predictions: folders.
        reference: folder, as it is or below ``dataset``. Default with predictions: labelsTr_dense
            and labelsTs_dense of the data set, for the cases that have one there.
        cases: default: all that have a prediction; without predictions, all in labelsTr.
        channel: of the image.
        remedy: what to say where files are missing.
        titles: of the predictions' columns; default: `distinct_titles`.

    Raises:
        FileNotFoundError: a folder, or an image, prediction or reference is missing; the message
            lists all of them.
        ValueError: dataset.json cannot be used, or predictions for 3D Slicer number their segments
            each in another way.
    """
    raw = RawDataset.read(dataset, tolerate=("splits", "record"))  # of no use here
    ending = raw.file_ending
    references = [dataset / "labelsTr_dense", dataset / "labelsTs_dense"] if predictions else []
    if reference is not None:
        references = [reference if reference.is_dir() else dataset / reference]
    for folder in (*predictions, *(references if reference is not None else ())):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is not a folder")
    scribbles = raw.files("labelsTr")
    dense = {
        case: path
        for folder in references
        for case, path in label_files_like(folder, ending).items()
    }
    titles = distinct_titles(predictions) if titles is None else titles
    predicted = {
        title: label_files_like(folder, ending)
        for title, folder in zip(titles, predictions, strict=True)
    }
    if cases is None:
        cases = sorted(set().union(*predicted.values()) if predictions else scribbles)
    if not cases:
        folders = " or ".join(map(str, predictions)) or dataset / "labelsTr"
        raise FileNotFoundError(f"no label files in {folders}: nothing to show")
    if not 0 <= channel < len(raw.channels):
        named = ", ".join(f"{k} {name}" for k, name in enumerate(raw.channels))
        raise ValueError(f"--channel {channel}: {dataset.name} has {named}")
    found, problems = [], []
    suffix, title = f"_{channel:04d}{ending}", title_of_channel(raw.channels, channel)
    images = {
        case: path
        for sub in ("imagesTs", "imagesTr")
        for case, path in files_by_case(dataset / sub, suffix).items()
    }
    for case in dict.fromkeys(map(normal_form, cases)):
        file_name = f"{case}{suffix}"
        image = images.get(case)
        if image is None:
            problems.append(f"no image {file_name} in imagesTr or imagesTs of {dataset}")
        for folder, having in zip(predictions, predicted.values(), strict=True):
            if case not in having:
                problems.append(f"no prediction of {case} in {folder}")
        if reference is not None and case not in dense:
            problems.append(f"no reference of {case} in {references[0]}")
        if not predictions and case not in scribbles:
            problems.append(f"no scribble {dataset / 'labelsTr' / (case + ending)}")
        shown = {title: having[case] for title, having in predicted.items() if case in having}
        found.append(ShownFiles(case, image, scribbles.get(case), shown, dense.get(case), title))
    if problems:
        head = f"{counted(len(problems), 'file is missing', 'files are missing')} ({remedy}):"
        raise FileNotFoundError("\n".join([head, *problems]))
    if conflicts := value_conflicts(path for own in found for path in own.predictions.values()):
        raise ValueError("\n".join(conflicts))
    return found


def _draw(
    out: Path, dataset_json: Path, max_slices: int | None, crop: bool, files: ShownFiles
) -> dict | str:
    """The entry of one case, or what is wrong with it, to report all at once."""
    picture = out / f"{files.name}.png"
    try:
        return preview_case(files, picture, dataset_json, None, max_slices, crop=crop)
    except (ValueError, OSError) as error:
        return str(error)


def _read_index(path: Path) -> dict[str, dict]:
    """The entries of earlier pictures.

    Raises:
        ValueError: the file holds something else.
    """
    if not path.exists():
        return {}
    try:
        return read_json(path, Record(others=Record()))
    except ValueError as error:
        raise ValueError(f"no list of pictures, take it away: {error}") from None


def preview_dataset(
    dataset: Path,
    out: Path,
    predictions: Sequence[Path] = (),
    reference: Path | None = None,
    cases: Sequence[str] | None = None,
    channel: int = 0,
    max_slices: int | None = 3,
    num_processes: int = 2,
    overwrite: bool = False,
    crop: bool = False,
) -> dict[str, dict]:
    """Write one contact sheet per case to the folder ``out``, and preview.json beside them.

    preview.json has ``preview_case``'s entry of every case; an earlier one is extended. Arguments
    as in ``find_case_files`` and ``preview_case``.

    Returns:
        case to entry, of this call.

    Raises:
        FileExistsError: some of the pictures exist, and ``overwrite`` is false or they are not in
            preview.json; nothing was written.
        FileNotFoundError: files are missing; nothing was written.
        ValueError: files are unusable; the message lists all of them, other cases were drawn.
    """
    found = find_case_files(dataset, predictions, reference, cases, channel)
    _refuse_no_slices(max_slices)
    drawn, problems = {}, []
    with written_into(out, "preview") as work:
        pictures = [out / f"{files.name}.png" for files in found]
        names = [picture.stem for picture in pictures if picture.exists()]
        if names and not overwrite:
            raise FileExistsError(
                f"{out} has {len(names)} of these pictures already ({', '.join(names)}): "
                "choose another folder or say --overwrite"
            )
        entries = _read_index(out / INDEX)
        refuse_foreign(pictures, {f"{name}.png" for name in entries}, "scribble_tools preview")
        draw = partial(_draw, work, dataset / FILE, max_slices, crop)
        results = parallel_map(draw, found, num_processes, "drawing")
        for files, result in zip(found, results, strict=True):
            if isinstance(result, str):
                problems.append(f"{files.name}: {result}")
            else:
                drawn[files.name] = result
        head = f"{len(problems)} of {counted(len(found), 'case')} could not be drawn:"
        if not drawn:
            raise ValueError("\n".join([head, *problems]))
        write_json({**entries, **drawn}, work / INDEX)
    if problems:
        raise ValueError("\n".join([head, *problems]))
    return drawn
