"""`scribble_tools preview`: contact sheets of a data set, or of one case's files, as PNG."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure

from scribble_tools.arguments import positive_int
from scribble_tools.convert.pairing import stem_of
from scribble_tools.dataset.raw import (
    FILE,
    RawDataset,
    files_by_case,
    find_dataset_json,
    is_nnunets,
    read_label_names,
    read_label_set,
)
from scribble_tools.dataset.writing import find_raw_dataset
from scribble_tools.draw.contact_sheet import Panel, choose_slices, contact_sheet, save_png
from scribble_tools.draw.display_plane import DisplayPlane, display_plane
from scribble_tools.draw.surroundings import outside_in_words, surroundings
from scribble_tools.images.file_integrity import count_not_finite
from scribble_tools.images.file_kind import NATURAL, ending_of_content, normal_form
from scribble_tools.images.flat_images import flattened
from scribble_tools.images.image_io import geometry_difference, read_image
from scribble_tools.images.mismatches import Mismatch
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.images.slicer_segmentation import is_segmentation
from scribble_tools.json_files import Record, read_json
from scribble_tools.parallel import parallel_map
from scribble_tools.storage.file_sets import write_json, written_into
from scribble_tools.storage.folders import made_folder
from scribble_tools.storage.overlap import refuse_same_file
from scribble_tools.storage.written_record import refuse_foreign

INDEX = "preview.json"


@dataclass(frozen=True)
class ShownFiles:
    """The files shown of one case; predictions by the title of their column."""

    name: str
    image: Path
    scribble: Path | None = None
    predictions: Mapping[str, Path] = field(default_factory=dict)
    reference: Path | None = None

    @property
    def label_maps(self) -> list[tuple[str, Path]]:
        """The columns beside the image: title and file."""
        given = (
            ("scribble", self.scribble),
            *self.predictions.items(),
            ("reference", self.reference),
        )
        return [(title, path) for title, path in given if path is not None]


def _most_frequent(labels: np.ndarray) -> int:
    values, counts = np.unique(labels, return_counts=True)
    return int(values[np.argmax(counts)])


def _grey_or_colours(image: sitk.Image) -> np.ndarray:
    """(*spatial), or (*spatial, 3) of RGB; an alpha channel is left out."""
    array = sitk.GetArrayFromImage(image)
    channels = image.GetNumberOfComponentsPerPixel()
    if channels == 1:
        return array
    return array[..., :3] if channels >= 3 else array[..., 0]


@dataclass(frozen=True)
class ShownCase:
    """One case ready to be drawn: image and label maps cut into slices, and what to say of them."""

    image: np.ndarray
    panels: Sequence[Panel]
    plane: DisplayPlane
    label_names: Mapping[int, str]
    notes: Sequence[str]

    def cropped(self) -> ShownCase:
        """The surroundings of strokes and reference alone, see `surroundings`."""
        window = surroundings(self.panels, self.plane.spacing_mm)
        if window is None:
            return self
        part = (slice(None), *window)
        return replace(
            self,
            image=self.image[part],
            panels=[replace(panel, labels=panel.labels[part]) for panel in self.panels],
            notes=[*self.notes, outside_in_words(self.panels, window)],
        )

    def sheet(self, slices: Sequence[int], title: str, sheet_inches: float | None = None) -> Figure:
        """The contact sheet with these slices as rows, see `contact_sheet`."""
        return contact_sheet(
            self.image,
            self.panels,
            self.plane.spacing_mm,
            slices,
            self.label_names,
            title,
            self.plane.edges,
            self.notes,
            sheet_inches,
        )


def read_case(files: ShownFiles, dataset_json: Path | None = None) -> ShownCase:
    """Read the files of one case.

    Args:
        dataset_json: with label names and the ignore label. Without an ignore label, the scribble's
            most frequent value is taken as unlabelled, and the notes say so.

    Raises:
        FileNotFoundError, ValueError: files are missing, unusable or of another size; the message
            lists all of them.
    """
    if not files.label_maps:
        raise ValueError(f"{files.name}: nothing to show over the image, no scribble or prediction")
    if slicer := [path for _, path in files.label_maps if is_segmentation(path)]:
        raise ValueError(f"{slicer[0]} is of 3D Slicer: convert it (convert folder) to preview it")
    image = read_image(files.image)
    plane = display_plane(image, files.image)
    names = read_label_names(dataset_json) if dataset_json else {}
    unlabelled = read_label_set(dataset_json).ignore if dataset_json else None
    notes, problems, panels = [plane.description], [], []
    if number := count_not_finite(files.image, sitk.GetArrayViewFromImage(image)):
        notes.append(f"{number} voxels of the image are NaN or infinite.")
    for title, path in files.label_maps:
        try:
            labels, source = read_labels(path)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
            continue
        natural = ending_of_content(files.image) in NATURAL
        if source.GetDimension() != image.GetDimension():
            try:
                labels, source = flattened(labels, source, image, natural, as_stored=False)
            except Mismatch as error:
                problems.append(f"{path} {error}")
                continue
        difference = geometry_difference(image, source, size_only=natural)
        if image.GetSize() != source.GetSize():
            problems.append(f"{path} does not fit {files.image}: {difference}")
            continue
        if difference:
            notes.append(f"The header of the {title} is unlike the image's: {difference}.")
        hidden = 0
        if path == files.scribble:
            hidden = _most_frequent(labels) if unlabelled is None else unlabelled
            if unlabelled is None:
                notes.append(f"Taken as unlabelled: {hidden}, the scribble's most frequent value.")
        panels.append(Panel(title, plane.cut(labels), hidden, strokes=path == files.scribble))
    if problems:
        raise ValueError("\n".join(problems))
    held = set().union(*(np.unique(panel.labels).tolist() for panel in panels))
    names = {value: name for value, name in names.items() if value in held}
    return ShownCase(plane.cut(_grey_or_colours(image)), panels, plane, names, notes)


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
        crop: show, and scale the greys to, the surroundings of strokes and reference.

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
    slices = choose_slices(shown.panels[0], max_slices) if slices is None else list(slices)
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
    return ["/".join(p[-depth:]) for p in parts]


def find_case_files(
    dataset: Path,
    predictions: Sequence[Path] = (),
    reference: Path | None = None,
    cases: Sequence[str] | None = None,
    channel: int = 0,
) -> list[ShownFiles]:
    """Gather the files of the cases of a raw data set.

    Args:
        dataset: folder with dataset.json, imagesTr, labelsTr and perhaps imagesTs.
        predictions: folders.
        reference: folder, as it is or below ``dataset``. Default with predictions: labelsTr_dense
            and labelsTs_dense of the data set, for the cases that have one there.
        cases: default: all that have a prediction; without predictions, all in labelsTr.
        channel: of the image.

    Raises:
        FileNotFoundError: a folder, or an image, prediction or reference is missing; the message
            lists all of them.
        ValueError: dataset.json cannot be used.
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
        case: path for folder in references for case, path in files_by_case(folder, ending).items()
    }
    predicted = {
        title: files_by_case(folder, ending)
        for title, folder in zip(distinct_titles(predictions), predictions, strict=True)
    }
    if cases is None:
        cases = sorted(set().union(*predicted.values()) if predictions else scribbles)
    if not cases:
        folders = " or ".join(map(str, predictions)) or dataset / "labelsTr"
        raise FileNotFoundError(f"no *{ending} in {folders}: nothing to show")
    found, problems = [], []
    suffix = f"_{channel:04d}{ending}"
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
                problems.append(f"no prediction {folder / (case + ending)}")
        if reference is not None and case not in dense:
            problems.append(f"no reference {references[0] / (case + ending)}")
        if not predictions and case not in scribbles:
            problems.append(f"no scribble {dataset / 'labelsTr' / (case + ending)}")
        shown = {title: having[case] for title, having in predicted.items() if case in having}
        found.append(ShownFiles(case, image, scribbles.get(case), shown, dense.get(case)))
    if problems:
        head = f"{len(problems)} files are missing (choose other cases with --cases?):"
        raise FileNotFoundError("\n".join([head, *problems]))
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
        head = f"{len(problems)} of {len(found)} cases could not be drawn:"
        if not drawn:
            raise ValueError("\n".join([head, *problems]))
        write_json({**entries, **drawn}, work / INDEX)
    if problems:
        raise ValueError("\n".join([head, *problems]))
    return drawn


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
        help="show only the surroundings of strokes and reference, with greys for them",
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
        print(f"wrote {len(drawn)} pictures and {INDEX} to {options.out}")
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
