"""Scoring a folder of predicted label maps against a folder of dense references."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.evaluate.confusion import (
    confusion_of_case,
)
from scribble_tools.evaluate.label_files import addition_hint, find_label_files
from scribble_tools.evaluate.occurring import (
    image_problem,
    occurring,
    refuse_unreadable,
    values_in,
)
from scribble_tools.evaluate.origin import unfinished_notes
from scribble_tools.evaluate.reference_values import as_predicted
from scribble_tools.evaluate.scores import TOLERANCE_MM, ClassScore, evaluate_case
from scribble_tools.evaluate.segment_names import numbered_otherwise
from scribble_tools.evaluate.summary import (
    Evaluation,
)
from scribble_tools.images.file_kind import NATURAL, file_ending_of, normal_form
from scribble_tools.images.flat_images import flattened, is_flat
from scribble_tools.images.grids import headers_in_words
from scribble_tools.images.image_io import geometry_difference
from scribble_tools.images.mismatches import Mismatch
from scribble_tools.images.segmentation_files import read_labels
from scribble_tools.images.slicer_segmentation import (
    aligned_offset,
    is_segmentation,
    value_conflicts,
)
from scribble_tools.images.units import MILLIMETRES, PIXELS, unit_of
from scribble_tools.parallel import parallel_map
from scribble_tools.problems import list_problems
from scribble_tools.wording import counted

SOME_CASES = (
    ", or score a fold's validation cases only: --splits splits_final.json --fold FOLD; or give a "
    "folder with the references of the predicted cases alone"
)
NOT_SCORED = "predicted values"
AS_BACKGROUND = "count as background"
MANY_VALUES = 12  # unknown ones; more are no labels, as a rule


def _listed(values: Sequence[int]) -> str:
    """The values; of many the first ones, and what they may mean."""
    if len(values) <= MANY_VALUES:
        return str(values)
    return f"{values[:3]} and {len(values) - 3} more (are these images?)"


def _whole(
    array: np.ndarray, segmentation: sitk.Image, image: sitk.Image
) -> tuple[np.ndarray, sitk.Image]:
    """A segmentation on the grid of ``image``: 3D Slicer saves the box around its segments alone.

    One that lies otherwise stays as it is.
    """
    if segmentation.GetDimension() != 3 or image.GetDimension() != 3:
        return array, segmentation
    offset = aligned_offset(segmentation, image)
    whole = np.zeros(image.GetSize()[::-1], array.dtype)
    if offset is None:
        return array, segmentation
    box = tuple(slice(o, o + n) for o, n in zip(offset[::-1], array.shape, strict=True))
    if any(part.start < 0 or part.stop > n for part, n in zip(box, whole.shape, strict=True)):
        return array, segmentation
    whole[box] = array
    return whole, image


def _grid_problem(
    predicted_file: Path,
    reference_file: Path,
    predicted: sitk.Image,
    reference: sitk.Image,
    difference: str,
) -> str:
    """What differs, why as far as the headers tell, and what to do."""
    problem = f"{predicted_file} does not lie on its reference's voxel grid: {difference}"
    if predicted.GetSize() != reference.GetSize():
        return f"{problem}. Are they of one case?"
    told = headers_in_words(
        ("the prediction", predicted_file, predicted), ("the reference", reference_file, reference)
    )
    said = "".join(f"; {words}" for words, _ in told)
    return f"{problem}{said}. If they are of one case, save the reference with its image's header"


def _evaluate_files(
    labels: LabelSet,
    tolerance_mm: float,
    keep_largest: bool,
    ref_values: Mapping[int, int] | None,
    files: tuple[str, Path, Path],
) -> tuple[list[ClassScore], np.ndarray | None, list[str], list[str], str]:
    """Scores, confusion, remarks, problems and unit of one case; problems to report all at once."""
    case, predicted_file, reference_file = files
    problems, arrays, images = [], [], []
    for path in (predicted_file, reference_file):
        try:
            array, image = read_labels(path)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
            continue
        arrays.append(array)
        images.append(image)
    if problems:
        return [], None, [], problems, ""
    natural = file_ending_of(reference_file) in NATURAL  # nnU-Net writes pictures without spacing
    size_only = natural
    if images[0].GetDimension() != images[1].GetDimension() and all(map(is_flat, images)):
        picture = size_only = natural or file_ending_of(predicted_file) in NATURAL
        volume = 0 if images[0].GetDimension() == 3 else 1
        flat = images[1 - volume]
        try:
            arrays[volume], images[volume] = flattened(
                arrays[volume], images[volume], flat, picture, as_stored=False
            )
        except Mismatch as error:
            return [], None, [], [f"{files[1 + volume]} {error}"], ""
    if is_segmentation(reference_file):
        arrays[1], images[1] = _whole(arrays[1], *images[::-1])
    if difference := geometry_difference(*images, size_only=size_only):
        files = (predicted_file, reference_file)
        return [], None, [], [_grid_problem(*files, *images, difference)], ""
    (prediction, reference), spacing_r = arrays, images[1].GetSpacing()[::-1]
    remarks = []
    if ref_values:
        reference, remarks = as_predicted(reference, ref_values, labels.ignore)
    unit = unit_of(reference_file, spacing_r)
    if natural and unit == MILLIMETRES:
        remarks.append("mm by the resolution that the picture states: is it that of the object?")
    unknown = sorted(set(np.unique(prediction).tolist()) - labels.values)
    if problems := image_problem(predicted_file, unknown):
        return [], None, [], problems, ""
    if unknown:
        remarks.append(f"{NOT_SCORED} {_listed(unknown)} are not scored")
    if unknown := sorted(set(np.unique(reference).tolist()) - labels.values - {labels.ignore}):
        remarks.append(f"reference values {_listed(unknown)} {AS_BACKGROUND}")
    if labels.ignore is not None and (reference == labels.ignore).mean() > 0.5:
        remarks.append(
            "most of the reference is unlabelled (scribbles?), the scores cover the rest only"
        )
    scores = evaluate_case(
        case, prediction, reference, spacing_r, labels, tolerance_mm, keep_largest
    )
    confusion = confusion_of_case(prediction, reference, labels, keep_largest)
    return scores, confusion, remarks, [], unit


def _doubtful_values(confusion: np.ndarray, notes: Iterable[str]) -> list[str]:
    """What to ask where the references seem to have other values than the predictions.

    Args:
        confusion: of all cases, (parts true, parts predicted); the first part is background.
        notes: on all cases.
    """
    doubts = []
    if not confusion[0].any():
        doubts.append(
            "no voxel of the references is 0, which is background: has it another value there, or "
            "are these images? Then the scores are wrong; write it as 0"
        )
    if not confusion[1:].any() and any(note.endswith(AS_BACKGROUND) for note in notes):
        doubts.append(
            "no value of the references is a class of the predictions: do both mean the same by "
            "their values? If not, the scores mean nothing; say the references' with --ref-labels"
        )
    if not confusion[:, 1:].any() and any(note.startswith(NOT_SCORED) for note in notes):
        doubts.append(
            "no value that was predicted is a class of the references: do both mean the same by "
            "their values? If not, the scores mean nothing; say the references' with --ref-labels"
        )
    return doubts


def evaluate_folders(
    prediction: Path,
    reference: Path,
    labels: LabelSet | None = None,
    file_ending: str | None = None,
    num_processes: int = 2,
    cases: Collection[str] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    keep_largest: bool = False,
    ignore: int | None = None,
    ref_pattern: str | None = None,
    pred_pattern: str | None = None,
    ref_values: Mapping[int, int] | None = None,
) -> Evaluation:
    """Score every case of the folder ``reference`` against the file of that name in ``prediction``.

    Args:
        cases: score these only, such as the validation cases of a fold.
        labels: default: the labels found in the references, without 0 and ``ignore``.
        tolerance_mm: of the surface Dice.
        keep_largest: score every class's largest component in place of the whole prediction.
        ignore: the value to leave out of the scores, where ``labels`` is not given.
        file_ending: score the files with this ending alone; default: those of every format.
        ref_pattern, pred_pattern: names of the files, where they are not the same: see
            `find_label_files`.
        ref_values: the references' values to the predictions', of `parse_reference_values`, which
            needs ``labels``.

    Raises:
        FileNotFoundError: a folder is missing or holds no reference.
        ValueError: the tolerance is negative, or files are missing, unreadable, of another shape
            or spacing, or hold no integers; the message lists all of them.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import SimpleITK as sitk
        >>> from scribble_tools.evaluate.summary import summarise
        >>> here = Path(tempfile.mkdtemp())
        >>> for part, columns in {"predictions": 3, "outlined": 4}.items():
        ...     (here / part).mkdir()
        ...     labels = np.zeros((1, 8, 8), np.uint8)
        ...     labels[:, 2:6, 2 : 2 + columns] = 1
        ...     sitk.WriteImage(sitk.GetImageFromArray(labels), str(here / part / "anna.nii.gz"))
        >>> found = evaluate_folders(here / "predictions", here / "outlined", num_processes=1)
        >>> round(summarise(found.scores)["overall"]["dice"], 3)
        0.857
    """
    if not tolerance_mm >= 0:
        raise ValueError(f"tolerance {tolerance_mm} mm: give 0 or more")
    wanted = find_label_files(reference, file_ending, ref_pattern, prediction)
    given = find_label_files(prediction, file_ending, pred_pattern, reference)
    if cases is not None:
        cases = [*map(normal_form, cases)]
        if unknown := sorted(set(cases) - set(wanted)):
            raise FileNotFoundError(f"no reference in {reference} for {', '.join(unknown)}")
        wanted = {case: path for case, path in wanted.items() if case in cases}
    lost = {case: path for case, path in wanted.items() if case not in given}
    if hint := addition_hint(lost, {c: path for c, path in given.items() if c not in wanted}):
        raise ValueError(
            f"{counted(len(lost), 'reference has no prediction', 'references have no prediction')}"
            f" of their name, but {hint}"
        )
    near = {c.casefold(): f", only of {c}: rename it" for c in given if c not in wanted}
    problems = [
        f"{path}: no prediction of {case} in {prediction}{near.get(case.casefold(), '')}"
        for case, path in lost.items()
    ]
    unpredicted = any(case.casefold() not in near for case in lost)
    remedy = ["predict these cases too" + SOME_CASES * (cases is None)] * unpredicted
    notes: dict[str, list[str]] = {}
    if extra := [case for case in given if case not in wanted]:
        why = "no reference" if cases is None else "not among the cases asked for"
        notes[f"{why}, not scored"] = extra
    notes |= unfinished_notes(prediction, [case for case in wanted if case in given])
    if labels is None:
        found = set().union(*parallel_map(values_in, [*wanted.values()], num_processes, "labels"))
        labels = LabelSet({str(value): (value,) for value in sorted(found - {0, ignore})}, ignore)
    if not labels.classes:
        refuse_unreadable(wanted.values())
        raise ValueError(f"no class to score in {reference}: name some with --labels")
    files = [(case, given[case], path) for case, path in wanted.items() if case in given]
    problems += value_conflicts(path for _, *pair in files for path in pair)
    references = None if ref_values else [path for *_, path in files]
    problems += numbered_otherwise([path for _, path, _ in files], references, labels)
    left_out = ""
    if not ref_values:
        paths = (path for _, *pair in files for path in pair)
        labels, left_out = occurring(labels, paths, num_processes)
    if left_out:
        notes[left_out] = ["all cases"]
    scores, confusion, units = [], {}, {}
    score = partial(_evaluate_files, labels, tolerance_mm, keep_largest, ref_values)
    results = parallel_map(score, files, num_processes, "scoring")
    for (case, *_), result in zip(files, results, strict=True):
        case_scores, confusion[case], remarks, case_problems, units[case] = result
        scores += case_scores
        problems += case_problems
        for remark in remarks:
            notes.setdefault(remark, []).append(case)
    if problems:
        head = f"{counted(len(problems), 'problem')}, nothing scored:"
        raise ValueError("\n".join([head, list_problems(problems), *remedy]))
    notes |= {doubt: ["all cases"] for doubt in _doubtful_values(sum(confusion.values()), notes)}
    unit = PIXELS if {*units.values()} == {PIXELS} else MILLIMETRES
    if unit == PIXELS:
        scores = [replace(own, volume_error_ml=1000 * own.volume_error_ml) for own in scores]
    elif without := [case for case, own in units.items() if own == PIXELS]:
        notes["a picture that states no resolution, a pixel counts as 1 mm"] = without
    return Evaluation(scores, notes, labels, confusion, unit)
