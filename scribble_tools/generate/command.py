"""`scribble_tools generate`: scribbles from dense labels, for a data set or a folder of labels."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scribble_tools.arguments import positive_int
from scribble_tools.convert.formats import target
from scribble_tools.dataset import shapes
from scribble_tools.dataset.ids import dataset_number
from scribble_tools.dataset.raw import FILE, RawDataset, read_label_names
from scribble_tools.dataset.writing import find_raw_dataset, next_commands
from scribble_tools.generate.label_folder import (
    FOLDER_RECORD,
    find_label_files,
    generate_folder,
    look_like_scribbles,
    target_name,
)
from scribble_tools.generate.plan import DEFAULT_PRESET, MODES, PRESETS, ScribblePlan
from scribble_tools.generate.scribble_dataset import generate_dataset
from scribble_tools.generate.strokes import BACKGROUND, STYLES, StrokeSettings
from scribble_tools.images.file_kind import READABLE, file_ending_of
from scribble_tools.images.image_files import files_below
from scribble_tools.images.slicer_segmentation import is_segmentation
from scribble_tools.json_files import read_json
from scribble_tools.wording import counted


def parse_class_settings(
    words: Sequence[str],
    names: Mapping[str, int],
    settings_of: Callable[[int], StrokeSettings],
) -> dict[int, StrokeSettings]:
    """Settings of single classes from words such as ``background:length=1.5-3,thickness=2``.

    Args:
        names: class names to label values; label values may be written themselves, too.
        settings_of: what a label value has when nothing is said.

    Raises:
        ValueError: a word cannot be understood; the message shows how to write it.
    """
    result = {}
    for word in words:
        name, _, pairs = word.rpartition(":")
        value = names.get(name, int(name) if name.isdecimal() else None)
        if value is None:
            known = ", ".join(names) or "label values such as 1"
            raise ValueError(f"--class {word!r}: no class {name!r}; there are {known}")
        changes = {}
        for pair in pairs.split(","):
            key, _, text = pair.partition("=")
            try:
                changes |= CLASS_KEYS[key](text)
            except (KeyError, ValueError):
                raise ValueError(
                    f"--class {word!r}: cannot read {pair!r}. Write NAME:KEY=VALUE,... with "
                    "style=interior|border|both, length=0.5 or 0.5-2, strokes=3, thickness=2, "
                    "components=all|one, distance=0.05-0.14 (background)"
                ) from None
        try:
            result[value] = replace(result.get(value, settings_of(value)), **changes)
        except ValueError as error:
            raise ValueError(f"--class {word!r}: {error}") from None
    return result


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition("-")
    return float(low), float(high or low)


def _styles(text: str) -> tuple[str, ...]:
    return STYLES if text == "both" else (text,)


# KEY of --class -> from its text to fields of StrokeSettings
CLASS_KEYS = {
    "style": lambda text: {"styles": _styles(text)},
    "length": lambda text: {"length": _range(text)},
    "strokes": lambda text: {"strokes": int(text)},
    "thickness": lambda text: {"thickness": int(text)},
    "components": lambda text: {"every_component": {"all": True, "one": False}[text]},
    "distance": lambda text: {"distance": _range(text)},
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says, see ``-h``."""

    source: Path
    pattern: str | None
    out: Path
    dataset_id: int | None
    name: str | None
    preset: str | None
    style: str | None
    mode: str | None
    thickness: int | None
    length: tuple[float, float] | None
    slices: float | None
    by_class: Sequence[str] | None
    every_nth: int | None
    cases: float
    keep_unscribbled: bool
    patient_regex: str | None
    unlabelled: int | None
    seed: int
    overwrite: bool
    num_processes: int


def plan_of(options: Options) -> ScribblePlan:
    """The plan that the options describe.

    Raises:
        ValueError: options contradict each other or have impossible values.
    """
    drawing = ("preset", "style", "length", "thickness", "mode", "slices", "by_class")
    if options.every_nth is not None:
        if given := [name for name in drawing if getattr(options, name) is not None]:
            names = " ".join("--class" if name == "by_class" else f"--{name}" for name in given)
            raise ValueError(f"--every-nth-slice draws no strokes: leave out {names}")
        return ScribblePlan(every_nth=options.every_nth, seed=options.seed)
    foreground, background = PRESETS[options.preset or DEFAULT_PRESET]
    common = {}
    if options.style is not None:
        common["styles"] = _styles(options.style)
    if options.thickness is not None:
        common["thickness"] = options.thickness
    foreground, background = replace(foreground, **common), replace(background, **common)
    if options.length is not None:
        foreground = replace(foreground, length=options.length)
    slices = 1.0 if options.slices is None else options.slices
    plan = ScribblePlan(
        foreground, background, mode=options.mode or "2d", slices=slices, seed=options.seed
    )
    by_class = options.by_class or []
    dataset_json = options.source / FILE
    names = read_label_names(dataset_json) if dataset_json.is_file() else {}
    names = {name: value for value, name in names.items()}
    return replace(plan, by_class=parse_class_settings(by_class, names, plan.settings_of))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this sub-command's arguments and help."""
    parser.description = (
        "Draw scribbles from dense labels. SOURCE is either an nnU-Net raw data set, of which a "
        "new one with scribbles is made, or any folder of label files, for which a folder of "
        "scribble files is made. Every scribbled voxel has its dense label."
    )
    parser.epilog = """\
examples:
  scribble_tools generate Dataset027_ACDC --dataset-id 104 --out "$nnUNet_raw"
  scribble_tools generate labels --out scribbles --preset scribblebench
  scribble_tools generate hearts --pattern '{case}_gt.nii.gz' --out scribbles
  scribble_tools generate Dataset004_Hippocampus --dataset-id 105 --out "$nnUNet_raw" \\
    --mode 3d --class background:length=2-4 Anterior:style=both,thickness=2
  scribble_tools generate labels --out every5th --every-nth-slice 5

Preset acdc (default): measured on the scribbles that people drew into ACDC. In every slice one
curve of one voxel's width inside every component, up to three in thin ones such as the myocardium,
and a loop of background around the objects. The default because it asks of a network what
hand-drawn scribbles ask.

Preset scribblebench: after the annotation protocol of ScribbleBench (arXiv 2403.12834). An interior
and a border stroke of three voxels' width in one component per class and slice. Two to three times
the voxels of a class that people drew in ACDC.

Lengths are shares of a component's extent (the diagonal of its bounding box), so that they suit
organs of any size; strokes of one style end at about a quarter of a component's voxels. For the
background, the extent is that of all objects with the margin at which the stroke goes round.

--cases leaves the other cases out, by patient, in a seeded order: 25 % of the cases are part of
50 %. With --keep-unscribbled they stay with nothing but the ignore label, in the validation
lists of the folds, never in the training lists; so the folds of all budgets are validated on the
same cases (against labelsTr_dense). Do not train fold 'all' on such a data set: nnU-Net would
spend its patches on cases without annotation."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=Path,
        help="data set (folder, or id or full name below nnUNet_raw), or folder of labels",
    )
    parser.add_argument(
        "--pattern",
        help="which files of a folder are labels, such as '{case}_gt.nii.gz', or "
        "'{case}/labels.nrrd' in folders of cases (default: all directly in it)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="nnUNet_raw folder, or the new folder of scribbles"
    )
    parser.add_argument("--dataset-id", type=dataset_number, help="of the new data set, 1-999")
    parser.add_argument(
        "--name", help="gives DatasetNNN_NAME (default: the source's with Scribbles appended)"
    )
    parser.add_argument("--preset", choices=PRESETS, help=f"see below (default: {DEFAULT_PRESET})")
    parser.add_argument(
        "--style", choices=(*STYLES, "both"), help="curves inside, arcs along the border, or both"
    )
    parser.add_argument(
        "--mode",
        type=str.lower,
        choices=MODES,
        help="slice by slice across the largest spacing, or strokes that run through the volume "
        "(default: 2d)",
    )
    parser.add_argument(
        "--thickness", type=int, help="width of a stroke in voxels of the finest axis"
    )
    parser.add_argument(
        "--length",
        type=_range,
        metavar="LOW-HIGH",
        help="of a component's strokes of one style, as a share of its extent; not for background",
    )
    parser.add_argument(
        "--slices", type=float, metavar="SHARE", help="share of the slices to scribble (default: 1)"
    )
    parser.add_argument(
        "--class",
        nargs="+",
        dest="by_class",
        metavar="NAME:KEY=VALUE,...",
        help="settings of single classes, by name or label value; keys: style, length, strokes, "
        "thickness, components (all or one), distance (of the background)",
    )
    parser.add_argument(
        "--every-nth-slice",
        type=int,
        dest="every_nth",
        metavar="N",
        help="no strokes: dense labels on every Nth slice, the middle one among them",
    )
    parser.add_argument(
        "--cases",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of the cases to scribble, by patient; of data sets only",
    )
    parser.add_argument(
        "--keep-unscribbled",
        action="store_true",
        help="keep the other cases, wholly unlabelled, for validation",
    )
    parser.add_argument(
        "--patient-regex",
        help="its group in a case name is the patient, such as '(patient\\d+)_' "
        "(default: as in the conversion.json of SOURCE, else each case is a patient)",
    )
    parser.add_argument(
        "--unlabelled",
        type=int,
        help="value of unlabelled voxels, for a folder of labels (default: highest label + 1)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of strokes, cases and folds (default: 0)"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what an earlier run wrote; other files stay",
    )
    parser.add_argument(
        "-np", type=positive_int, default=2, dest="num_processes", help="processes (default: 2)"
    )


def format_coverage(counts: Mapping[int, int], names: Mapping[int, str]) -> str:
    """One line per label value: its share of all voxels."""
    total = sum(counts.values())
    return "\n".join(
        f"  {names.get(value, value)}: {100 * count / total:.3f} % of the voxels"
        for value, count in sorted(counts.items())
    )


def find_source(source: Path) -> Path:
    """The folder of a data set or of labels: a path, or else an id or a name below nnUNet_raw.

    Raises:
        FileNotFoundError, ValueError: there is none, see `find_raw_dataset`.
    """
    if source.exists():
        return source
    try:
        return find_raw_dataset(str(source))
    except FileNotFoundError as error:
        if source.name != str(source):  # a path, of which the error says all
            raise
        raise FileNotFoundError(f"{source} is no folder here, and {error}") from None


def next_command(options: Options) -> str:
    """How to make a data set of the scribbles of a folder; names are for the user to fill in."""
    record = read_json(options.out / FOLDER_RECORD, shapes.GENERATED)
    classes = [value for value in record["values"] if value != BACKGROUND]
    names = (f"NAME{k}={value}" for k, value in enumerate(classes, 1))
    images = "IMAGES"
    scribbles, dense = (shlex.quote(str(path)) for path in (options.out, options.source))
    if options.pattern:
        # 3D Slicer's segments became label values, in files of another ending
        own = shlex.quote(target_name(Path(options.pattern)))
        scribbles += f" --scribble-pattern {own}"
        labels = find_label_files(options.source, options.pattern)
        if any(file_ending_of(p) in READABLE for p in {*files_below(options.source)} - {*labels}):
            images += " --image-pattern IMAGE_PATTERN"  # they may lie there, too
        dense += f" --dense-pattern {shlex.quote(options.pattern)}"
    return (
        f"scribble_tools convert folder --images {images} --scribbles {scribbles} --dense {dense} "
        f"--labels background={BACKGROUND} {' '.join(names)} "
        f"--unlabelled {record['unlabelled']} --name NAME {target()}"
    )


def run(options: Options) -> int:
    """Run the sub-command; return its exit code."""
    options = replace(options, source=find_source(options.source))
    is_dataset = (options.source / FILE).is_file()
    for_datasets = ("dataset_id", "name", "patient_regex", "keep_unscribbled")
    given = [name for name in for_datasets if getattr(options, name)]
    given += ["cases"] * (options.cases != 1)
    if is_dataset:
        if options.dataset_id is None:
            raise ValueError(f"{options.source} is a data set: give the new one a --dataset-id")
        if options.unlabelled is not None:
            raise ValueError("--unlabelled is for folders of labels; a data set gets 'ignore'")
        if options.pattern is not None:
            raise ValueError("--pattern is for folders of labels; a data set knows its files")
    elif given:
        words = " ".join("--" + name.replace("_", "-") for name in given)
        raise ValueError(
            f"{options.source} has no dataset.json: a folder of labels takes no {words}"
        )
    plan = plan_of(options)
    if not is_dataset:
        counts = generate_folder(
            options.source,
            options.out,
            plan,
            options.unlabelled,
            options.overwrite,
            options.num_processes,
            options.pattern,
        )
        unlabelled = read_json(options.out / FOLDER_RECORD, shapes.GENERATED)["unlabelled"]
        print(f"wrote scribbles to {options.out}; unlabelled voxels have the value {unlabelled}")
        print(format_coverage(counts, {unlabelled: "unlabelled"}))
        print(f"next: {next_command(options)}")
        files = find_label_files(options.source, options.pattern)
        if look_like_scribbles(files):
            print(
                f"WARNING: {files[0]} looks like scribbles already: thin strokes in what fills "
                "most of it. Strokes are to be drawn on dense labels",
                file=sys.stderr,
            )
        if any(map(is_segmentation, files)):
            print(
                "3D Slicer saves the box around its segments alone. Where that is a part of the "
                "image, strokes lie in the box only, and the line above needs --resample. To draw "
                "everywhere, export label maps with the image as reference volume"
            )
        return 0
    folder, counts = generate_dataset(
        options.source,
        options.dataset_id,
        options.out,
        plan,
        options.name,
        options.cases,
        options.keep_unscribbled,
        options.patient_regex,
        {"preset": options.preset or DEFAULT_PRESET} if options.every_nth is None else None,
        options.overwrite,
        options.num_processes,
    )
    print(f"wrote {counted(len(RawDataset.read(folder).files('labelsTr')), 'case')} to {folder}")
    print(format_coverage(counts, read_label_names(folder / FILE)))
    print(next_commands(folder))
    return 0
