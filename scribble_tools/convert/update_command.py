"""`convert folder --update`."""

from __future__ import annotations

from collections.abc import Mapping

from scribble_tools.convert.case_patients import assign_patients
from scribble_tools.convert.folder_options import Options
from scribble_tools.convert.pairing import IMAGE, SCRIBBLE, CaseFiles, Place
from scribble_tools.convert.stroke_changes import UpdateOptions
from scribble_tools.convert.update import in_words, update_dataset
from scribble_tools.dataset.writing import find_dataset, next_commands
from scribble_tools.images.label_files import GridRules, grid_remarks
from scribble_tools.images.segmentation_files import GREY, NAN_LABEL, LabelReading

NOT_WITH_UPDATE = ("labels", "dense", "dense_labels", "label_description", "mixed", "overwrite")


def run_update(options: Options) -> int:
    """Bring strokes into a data set that is there already."""
    if wrong := [name for name in NOT_WITH_UPDATE if getattr(options, name)]:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise ValueError(f"--update keeps what the data set says: leave out {words}")
    dataset = find_dataset(options.out, str(options.dataset_id))
    patterns = (options.image_pattern or (None,)) if options.images else ()
    images = [Place(IMAGE, options.images, pattern) for pattern in patterns]
    rules = GridRules(options.geometry, options.resample, options.lose_strokes)
    reading = LabelReading(NAN_LABEL if options.nan else None, options.palette or GREY)
    update = UpdateOptions(
        options.unlabelled,
        options.erase,
        options.exclude,
        options.overlaps,
        rules,
        reading,
        options.num_processes,
    )

    def patients_of(cases: Mapping[str, CaseFiles]) -> dict[str, str]:
        return assign_patients(cases, options.images, options.patients, options.patient_regex)

    scribbles = Place(SCRIBBLE, options.scribbles, options.scribble_pattern)
    found = update_dataset(dataset, scribbles, images, patients_of, update)
    print(in_words(found))
    for remark in grid_remarks(rules, SCRIBBLE):
        print(f"note: {remark}")
    if found.new:
        number = options.dataset_id
        print(f"folds were extended: scribble_tools install-splits {number} --overwrite")
    if found.changed or found.new:
        print(next_commands(dataset))
    return 0
