"""`convert folder --update`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from scribble_tools.convert.case_patients import OWN_PATIENTS, REGEX, assign_new_patients
from scribble_tools.convert.folder_options import Options
from scribble_tools.convert.masks import is_mask_pattern
from scribble_tools.convert.mixed_up import FEWEST, MOST
from scribble_tools.convert.pairing import IMAGE, ONE_FILE, SCRIBBLE, CaseFiles, Place
from scribble_tools.convert.stroke_changes import UpdateOptions
from scribble_tools.convert.update import Update, update_dataset
from scribble_tools.dataset.drawn_labels import read_drawn_labels
from scribble_tools.dataset.not_strokes import NOT_STROKES, read_not_strokes
from scribble_tools.dataset.preprocessed_plans import plans_in, preprocess_command
from scribble_tools.dataset.raw import RawDataset
from scribble_tools.dataset.writing import RECORD, THEN, find_dataset, next_commands
from scribble_tools.images.channel_patterns import exchanged_channels, order_of_files
from scribble_tools.images.label_files import GridRules, grid_remarks
from scribble_tools.images.segmentation_files import GREY, NAN_LABEL, LabelReading
from scribble_tools.text_tables import text_table
from scribble_tools.wording import counted

NOT_WITH_UPDATE = (
    *("dense", "dense_labels", "label_description", "mixed", "overwrite"),
    *("channel_names", "num_folds", "seed"),
)


def run_update(options: Options) -> int:
    """Bring strokes into a data set that is there already."""
    if wrong := [name for name in NOT_WITH_UPDATE if getattr(options, name)]:
        words = ", ".join(f"--{name.removeprefix('num_').replace('_', '-')}" for name in wrong)
        raise ValueError(f"--update keeps what the data set says: leave out {words}")
    if any(is_mask_pattern(word.partition("=")[2]) for word in options.labels):
        raise ValueError(f"--labels names masks. {ONE_FILE}")
    _refuse_folder_above(options.scribbles)
    dataset = find_dataset(options.out, str(options.dataset_id))
    patterns = (options.image_pattern or (None,)) if options.images else ()
    images = [Place(IMAGE, options.images, pattern) for pattern in patterns]
    rules = GridRules(options.geometry, options.resample, options.lose_strokes)
    reading = LabelReading(NAN_LABEL if options.nan else None, options.palette or GREY)
    update = UpdateOptions(
        options.unlabelled,
        options.labels,
        options.erase,
        options.exclude,
        options.overlaps,
        rules,
        reading,
        options.not_swapped,
        options.not_mixed_up,
        options.num_processes,
    )

    raw = RawDataset.read(dataset, tolerate=("splits",))
    record = raw.record
    if exchanged := exchanged_channels(raw.channels, options.image_pattern or ()):
        raise ValueError(
            f"channels exchanged: {exchanged[0]}. The data set has "
            f"{', '.join(raw.channels)} in this order: --image-pattern {exchanged[1]}"
        )
    first = next(iter(record.get("cases", {}).values()), {}).get("images", ())
    names = [Path(path).name for path in first]
    if len(names) > 1 and (ordered := order_of_files(names, options.image_pattern or ())):
        raise ValueError(
            f"channels exchanged: {', '.join(raw.channels)} of the data set are "
            f"{', '.join(names)} in this order: --image-pattern {shlex.join(ordered)}"
        )
    said = options.patients, options.patient_regex

    def patients_of(cases: Mapping[str, CaseFiles]) -> dict[str, str]:
        return assign_new_patients(cases, options.images, *said, record)

    scribbles = Place(SCRIBBLE, options.scribbles, options.scribble_pattern)
    found = update_dataset(dataset, scribbles, images, patients_of, update)
    print(_in_words(found))
    if not options.not_mixed_up and (doubt := _doubt_in_words(found)):
        print(f"WARNING: {doubt}", file=sys.stderr)
    if note := _whose_cases(options, record, found):
        print(f"note: {note}")
    if note := _what_zero_is(dataset, options.scribbles, found):
        print(f"note: {note}")
    for path, drawn in sorted(found.passed_over.items()):
        print(f"note: {path.name}: {drawn}. Predictions and marks are never trained on")
    for remark in grid_remarks(rules, SCRIBBLE):
        print(f"note: {remark}")
    if found.new:
        number = options.dataset_id
        print(f"folds were extended: scribble_tools install-splits {number} --overwrite")
    if found.changed or found.new:
        print(_next(dataset))
    return 0


def _in_words(found: Update, most_rows: int = 60) -> str:
    """What an update did, for the terminal."""
    lines = []
    if found.changes:
        rows = [
            (c.case, c.name, c.before, f"+{c.added}", c.recoloured, c.gone, c.after)
            for c in found.changes[:most_rows]
        ]
        header = ("case", "class", "before", "added", "from others", "gone", "after")
        lines.append(text_table(header, rows))
        if len(found.changes) > most_rows:
            lines.append(f"and {len(found.changes) - most_rows} more, all in {RECORD}")
    lines.append(
        f"{counted(len(found.changed), 'case changed', 'cases changed')}, {len(found.new)} new, "
        f"{len(found.same)} with nothing new"
    )
    if found.kept:
        lines.append(
            f"kept: {counted(found.kept, 'voxel')} of earlier strokes that the new files lack "
            "(--erase takes them away)"
        )
    if found.earlier is not None:
        lines.append(
            f"the labels as they were before: {found.earlier}. To undo the update, copy them back "
            f"into {found.earlier.parent / 'labelsTr'}"
        )
    if found.new:
        lines.append("new cases stay; for a data set without them convert to another --dataset-id")
    return "\n".join(lines)


def _doubt_in_words(found: Update) -> str:
    """Where the new strokes contradict most of the earlier ones that they meet; else nothing."""
    other = sum(change.recoloured for change in found.changes)
    if found.met < FEWEST or other <= MOST * found.met:
        return ""
    return (
        f"of {found.met} voxels that had a stroke and have one in the new files, {other} are of "
        "another class now. Are these files of this data set, and their values those of its first "
        "files? The labels as they were are kept, see above"
    )


def _refuse_folder_above(scribbles: Path) -> None:
    """Refuse the folder that `suggest` wrote, which has pictures besides the label files.

    Raises:
        ValueError: it is that folder; the message says the right one.
    """
    lists = [] if (scribbles / NOT_STROKES).exists() else [*scribbles.glob(f"*/{NOT_STROKES}")]
    if lists:
        raise ValueError(
            f"--scribbles {scribbles}: `suggest` put the label files into a folder in it. Say "
            f"--scribbles {quote(str(lists[0].parent))}"
        )


def _whose_cases(options: Options, record: Mapping, found: Update) -> str:
    """What nobody said of the patients of new cases, or said where there are none."""
    said = options.patients or options.patient_regex
    if found.new:
        return "" if said or REGEX in record else OWN_PATIENTS
    if not said or said == record.get(REGEX):
        return ""
    option = "--patients" if options.patients else "--patient-regex"
    return f"{option} is for new cases, and none is new: the patients in {RECORD} stay as they are"


def _what_zero_is(dataset: Path, scribbles: Path, found: Update) -> str:
    """Where 0 is a class of the user's but nothing in files of `suggest`, and none was drawn."""
    value_of = {own: value for value, own in read_not_strokes(scribbles).aliases.items()}
    drawn = {change.name for change in found.changes if change.added or change.recoloured}
    for name, own in read_drawn_labels(dataset).mapping.classes.items():
        if 0 in own and 0 in value_of and name not in drawn:
            return f"no {name} was drawn: its value in files of `suggest` is {value_of[0]}, not 0"
    return ""


def _next(dataset: Path) -> str:
    """What to type then: what was preprocessed before is preprocessed again, by the same plans."""
    folder = Path(os.environ.get("nnUNet_preprocessed") or os.devnull) / dataset.name
    known = [own for plans in plans_in(folder).values() for own in plans.values()]
    planned = [own.get("data_identifier") for own in known]
    done = [path.name for path in sorted(folder.glob("*")) if path.is_dir()]
    done = [name for name in done if name in planned]
    lines = next_commands(dataset).splitlines()
    if done:
        lines = [line for line in lines if not line.startswith(THEN)]
        lines += [f"{THEN}{preprocess_command(folder, name)}" for name in done]
    return "\n".join(lines)
