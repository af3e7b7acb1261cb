"""Scribbles for the dense labels of a folder, as files of the same names in another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from scribble_tools.dataset.case_names import alike_problems
from scribble_tools.dataset.label_set import MOST_LABELS
from scribble_tools.generate.drawing import (
    Item,
    Job,
    record_of,
    refuse_other_classes,
    scribble_files,
    values_in,
)
from scribble_tools.generate.plan import ScribblePlan, slice_axis
from scribble_tools.generate.strokes import BACKGROUND
from scribble_tools.images.file_kind import (
    READABLE,
    file_ending_of,
    normal_form,
    writable_name,
)
from scribble_tools.images.image_files import files_below, files_in
from scribble_tools.images.image_io import largest_label
from scribble_tools.images.label_appearance import SCRIBBLES, look_at_labels
from scribble_tools.images.name_patterns import compile_pattern
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.images.slicer_segmentation import ENDING, stem_of, value_conflicts
from scribble_tools.parallel import parallel_map
from scribble_tools.problems import refuse
from scribble_tools.storage.folders import written_folder
from scribble_tools.storage.overlap import refuse_overlap
from scribble_tools.storage.written_record import write_record, written_by_record
from scribble_tools.wording import some_of

FOLDER_RECORD = "generated.json"
LOOKED_AT = 3  # files


def find_label_files(folder: Path, pattern: str | None = None) -> list[Path]:
    """The label files directly in a folder, sorted; hidden files are passed over.

    Args:
        pattern: those of this pattern alone, in folders below, too: see `compile_pattern`.

    Raises:
        FileNotFoundError: there is no such folder, or none in it.
        ValueError: the pattern is none.
    """
    form = compile_pattern(normal_form(pattern)) if pattern else None
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    files = files_below(folder) if form else files_in(folder)
    files = [path for path in files if file_ending_of(path) in READABLE]
    if not files:
        raise FileNotFoundError(f"no label files ({' '.join(sorted(READABLE))}) in {folder}")
    if form is None:
        return files
    names = {path: path.relative_to(folder).as_posix() for path in files}
    fitting = [path for path in files if form.fullmatch(normal_form(names[path]))]
    if not fitting:
        raise FileNotFoundError(
            f"no file in {folder} is called as --pattern {pattern!r} says; there are "
            f"{some_of(list(names.values()))}"
        )
    return fitting


def look_like_scribbles(files: Sequence[Path]) -> bool:
    """Whether the first files hold thin strokes in a value above 0 that fills most of them.

    Where 0 does, dense labels of thin structures look the same.
    """
    found = []
    for path in files[:LOOKED_AT]:
        array, image = read_labels(path)
        axis = slice_axis(array.shape, image.GetSpacing()[::-1]) if array.ndim == 3 else 0
        seen = look_at_labels(array, axis)
        found.append(seen.looks_like == SCRIBBLES and seen.unlabelled > 0)
    return all(found)


def target_name(path: Path) -> str:
    """Of the scribble file: scribbles of 3D Slicer's segments are label values, without segments.

    >>> target_name(Path("anna.seg.nrrd")), target_name(Path("anna/Labels.NII.GZ"))
    ('anna.nrrd', 'anna/Labels.nii.gz')
    """
    is_named_so = path.name.lower().endswith(ENDING)
    name = f"{stem_of(path)}.nrrd" if is_named_so else writable_name(path)
    return path.with_name(name).as_posix()


def generate_folder(
    source: Path,
    out: Path,
    plan: ScribblePlan,
    unlabelled: int | None = None,
    overwrite: bool = False,
    num_processes: int = 2,
    pattern: str | None = None,
) -> Counter:
    """Draw scribbles for every label file of a folder into files of the same names in ``out``.

    Args:
        pattern: see `find_label_files`.
        unlabelled: value of unlabelled voxels; default: the highest label of the folder + 1, or
            the highest free value where the format holds no more.

    Returns:
        number of voxels of each label value in all files together.

    Raises:
        FileNotFoundError, FileExistsError: see `find_label_files`, `written_folder`; an earlier
            run's files are replaced if ``overwrite``, others never.
        ValueError: files are no dense labels, or ``unlabelled`` is one of their labels; the
            message lists all of them, and nothing is written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import SimpleITK as sitk
        >>> here = Path(tempfile.mkdtemp())
        >>> (here / "dense").mkdir()
        >>> dense = np.zeros((1, 64, 64), np.uint8)
        >>> dense[:, 20:44, 20:44] = 1
        >>> sitk.WriteImage(sitk.GetImageFromArray(dense), str(here / "dense" / "anna.nii.gz"))
        >>> voxels = generate_folder(here / "dense", here / "strokes", ScribblePlan())
        >>> sorted(voxels), [path.name for path in (here / "strokes").glob("*.nii.gz")]
        ([0, 1, 2], ['anna.nii.gz'])
    """
    source = Path(source)
    files = find_label_files(source, pattern)
    out = Path(out)
    refuse_overlap(out, source, "take another --out")
    if out.exists() and not overwrite and not (out / FOLDER_RECORD).is_file():
        raise FileExistsError(
            f"{out} exists and holds no {FOLDER_RECORD}: not replaced, take another --out"
        )
    found, problems, no_labels = set(), [], []
    for path, (values, own, like_none) in zip(
        files, parallel_map(values_in, files, num_processes, "reading"), strict=True
    ):
        found |= values
        no_labels.append(like_none)
        problems += own
        if min(values, default=0) < 0:
            problems.append(f"{path} holds the negative label {min(values)}")
    if not problems:
        problems = value_conflicts(files)
    if not problems and BACKGROUND not in found:
        problems.append(f"no background (0) in {source}: are these dense labels?")
    if len(found) > MOST_LABELS:
        problems = [f"{source} holds {len(found)} different values: are these images?"]
    if any(no_labels) and not pattern:
        odd = [path for path, own in zip(files, no_labels, strict=True) if own]
        problems = problems or [f"{path} looks like an image, not like labels" for path in odd]
        problems[-1] += ". Where images lie beside labels, --pattern tells which are labels"
    names = [target_name(path.relative_to(source)) for path in files]
    problems += [f"{name}: of two files" for name, n in Counter(names).items() if n > 1]
    refuse([*problems, *alike_problems(names)])
    highest = min(2**16 - 1, *map(largest_label, files))
    if unlabelled is None:
        unlabelled = max(found) + 1
        if unlabelled > highest:  # a BMP of 0 and 255, say
            unlabelled = max(set(range(highest + 1)) - found, default=unlabelled)
    if unlabelled in found or not 0 <= unlabelled <= highest:
        raise ValueError(
            f"unlabelled {unlabelled}: take a value up to {highest}, which the format holds, that "
            f"is no label in {source} (--unlabelled); it holds {sorted(found)}"
        )
    refuse_other_classes(plan, found, source)
    job = Job(tuple(sorted(found)), unlabelled, False, plan)
    with written_folder(out, _written_before if overwrite else None) as folder:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        items = [
            # files of folders may all have the same name
            Item(Path(name).with_name(stem_of(path)).as_posix(), path, folder / name)
            for path, name in zip(files, names, strict=True)
        ]
        counts = scribble_files(job, items, num_processes)
        record = record_of(source, plan, {str(value): value for value in job.classes})
        values = {"values": sorted(found), "unlabelled": unlabelled}
        write_record({**record, **values}, folder / FOLDER_RECORD)
    return counts


def _written_before(folder: Path) -> set[PurePosixPath]:
    """What an earlier run wrote into ``folder``: nothing else may be replaced."""
    return written_by_record(folder, FOLDER_RECORD, "generate", ("unlabelled", "source"))
