"""What nnU-Net's JSON files and our own have to hold, for `scribble_tools.json_files.read_json`.

What is optional may be missing, but must be right where it is there. Keys that nobody reads may be
anything: nnU-Net keeps them, and so do we.
"""

from scribble_tools.json_files import Either, ListOf, Number, Record, Shape, Text, Whole

LABEL = Either((Whole(0), ListOf(Whole(0), least=1)), "a whole number from 0 on, or a list of such")
"""A class' value, or a region's values."""
LABELS = Record(
    optional={"ignore": Whole(0)},
    others=LABEL,
    words='names with values, such as {"background": 0, "RV": 1, "ignore": 2}',
    most=10_000,  # nnU-Net would need terabytes for the scores of so many
)
CHANNELS = Record(others=Text(), words='a name for each channel, such as {"0": "MRI"}')

ENDING = Text("the ending of its files, such as .nii.gz", pattern=r"\.[^/\\]+")

WITH_LABELS = Record(required={"labels": LABELS}, optional={"file_ending": ENDING})
"""A dataset.json of which only the labels are asked for, as beside predictions."""
DATASET_JSON = Record(
    required={"labels": LABELS, "channel_names": CHANNELS, "file_ending": ENDING},
    optional={"numTraining": Whole(0), "regions_class_order": ListOf(Whole(0))},
)
"""A raw data set's dataset.json."""

_CASES = ListOf(Text("the name of a case"), what="a list of cases")
SPLITS = ListOf(
    Record(
        required={"train": _CASES, "val": _CASES},
        words='a fold, such as {"train": [cases], "val": [cases]}',
    ),
    least=1,
    what='a list of folds, such as {"train": [cases], "val": [cases]}',
)
"""splits_final.json, nnU-Net's format."""

_STRIDE = Either((Whole(1), ListOf(Whole(1), least=1)), "a whole number, or one for each axis")
_LAYERS = Either((Whole(1), ListOf(Whole(1))), "a whole number, or one for each stage")
NETWORK = Record(
    optional={
        "n_stages": Whole(1),
        "features_per_stage": ListOf(Whole(1), least=1),
        "kernel_sizes": ListOf(_STRIDE, least=1),
        "strides": ListOf(_STRIDE, least=1),
        "n_conv_per_stage": _LAYERS,
        "n_blocks_per_stage": _LAYERS,
        "n_conv_per_stage_decoder": _LAYERS,
    },
    words="the settings of a network",
)
_CONFIGURATION: dict[str, Shape] = {
    "batch_size": Whole(1),
    "patch_size": ListOf(Whole(1), least=1),
    "spacing": ListOf(Number(), least=1),
    "median_image_size_in_voxels": ListOf(Number(), least=1),
    "architecture": Record(
        optional={
            "network_class_name": Text("the name of a network's class"),
            "arch_kwargs": NETWORK,
            "_kw_requires_import": ListOf(Text()),
        },
        words="a network's class and settings",
    ),
}
PLANS = Record(
    required={
        "configurations": Record(
            others=Record(
                optional={
                    **_CONFIGURATION,
                    "inherits_from": Text("the name of another configuration"),
                },
                words="a configuration",
            ),
            words="configurations by name",
        )
    },
    optional={
        "plans_name": Text(),
        "dataset_name": Text(),
        "foreground_intensity_properties_per_channel": Record(others=Record()),
    },
)
"""nnU-Net's plans, and those that `small-plans` makes of them."""
PLANNED = Record(
    required={
        **_CONFIGURATION,
        "architecture": Record(
            required={
                "network_class_name": Text("the name of a network's class"),
                "arch_kwargs": Record(
                    required={
                        key: NETWORK.optional[key]
                        for key in ("n_stages", "features_per_stage", "kernel_sizes", "strides")
                    },
                    optional=NETWORK.optional,
                    words=NETWORK.words,
                ),
            },
            words="a network's class and settings",
        ),
    },
    words="a configuration",
)
"""A configuration of plans that inherits from no other: everything is in it."""

FINGERPRINT = Record(
    required={
        "foreground_intensity_properties_per_channel": Record(
            others=Record(others=Number(), words="statistics by name"), words="channels by number"
        )
    },
    optional={
        "shapes_after_crop": ListOf(ListOf(Whole(1))),
        "spacings": ListOf(ListOf(Number())),
    },
)
"""dataset_fingerprint.json."""
CT_MARK = "foreground_intensity_properties_from"
"""The key in it that `nnunetv2_pclmix ct-fingerprint` leaves where it has corrected it."""

MAPPING = Record(
    required={
        "classes": Record(others=ListOf(Whole(), least=1), words="values by class name"),
        "unlabelled": ListOf(Whole()),
    },
    words="a label mapping",
)
_PATIENTS = Record(others=Text("the name of a patient"), words="a patient for each case")
CONVERSION = Record(
    optional={
        "patients": _PATIENTS,
        "patient_regex": Text(),
        "format": Text(),
        "scribble_labels": MAPPING,
        "dense_labels": MAPPING,
        "cases": Record(others=Record(optional={"part": Text()}), words="files by case"),
        "scribbled_cases": _CASES,
        "num_folds": Whole(0),
        "seed": Whole(),
        "values_of_names": Record(others=Whole(), words="a value for each name"),
        "updates": ListOf(Record(), what="a list of updates"),
    },
)
"""conversion.json, the record beside a converted, generated or drawn data set."""

GENERATED = Record(required={"unlabelled": Whole(0)}, optional={"values": ListOf(Whole(0))})
"""generated.json, the record of `generate` beside a folder of labels."""
