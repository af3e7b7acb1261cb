"""The commands that run a network, read CT, or convert public data sets; with `commands` all."""

import json
from pathlib import Path

import numpy as np

from tests.hostile import formats_world, world
from tests.hostile.commands import (
    CASES,
    RAW,
    Check,
    Command,
    each,
    equal,
    first,
    of_report,
    pictures_in,
    said,
)
from tests.hostile.formats_world import BENCH, CT, FINGERPRINT
from tests.hostile.network_world import NEW, TINY, TRAINED

CPU = ("--device", "cpu", "--no-mirroring")
PREDICT = ("scribble_tools", "predict", "--model", TRAINED, "--images", "new", *CPU)
NETWORK = {
    "image": tuple(f"new/{case}.nii.gz" for case in NEW),
    "checkpoint": tuple(f"{TRAINED}/fold_{fold}/checkpoint_final.pth" for fold in (0, 1)),
    "plans.json": (f"{TRAINED}/plans.json",),
    "dataset.json": (f"{TRAINED}/dataset.json",),
}


def _mscmr(root: Path, printed: str) -> str | None:
    folder = root / "out" / "Dataset034_MSCMRScribbles"
    strokes = np.where(world.scribble() == world.IGNORE, 4, world.scribble())
    *trained, val = formats_world.SUBJECTS
    return first(
        *(equal(folder / "labelsTr" / f"{case}_DE.nii.gz", strokes) for case in trained),
        equal(folder / "labelsVal_dense" / f"{val}_DE.nii.gz", world.dense()),
        *(
            equal(folder / "imagesTr" / f"{case}_DE_0000.nii.gz", formats_world.mscmr_image(k))
            for k, case in enumerate(trained)
        ),
    )


def _bench(root: Path, printed: str) -> str | None:
    folder = root / "out" / "Dataset035_ScribbleBench"
    return first(
        *(equal(folder / "labelsTr" / f"{case}.nii.gz", world.scribble()) for case in CASES),
        *(equal(folder / "labelsTr_dense" / f"{case}.nii.gz", world.dense()) for case in CASES),
    )


def _generated_set(root: Path, printed: str) -> str | None:
    folder = root / "out" / "Dataset036_BenchScribbles"
    for number, case in enumerate(CASES):
        strokes = world.read(folder / "labelsTr" / f"{case}.nii.gz")
        drawn = strokes != world.IGNORE
        if not drawn.any() or (strokes[drawn] != world.dense()[drawn]).any():
            return f"{case}: strokes on other labels"
        image = folder / "imagesTr" / f"{case}_0000.nii.gz"
        if problem := equal(image, world.image(number)):
            return problem
    return None


def _ct(root: Path, printed: str) -> str | None:
    folder = root / "pre" / CT
    own = json.loads((folder / FINGERPRINT).read_text())
    found = own["foreground_intensity_properties_per_channel"]["0"]
    values = formats_world.scribbled_intensities()
    if abs(found["max"] - values[-1]) > 1e-3 or abs(found["min"] - values[0]) > 1e-3:
        return f"the strokes' intensities are from {values[0]} to {values[-1]}, not {found}"
    kept = json.loads((folder / "dataset_fingerprint_stock.json").read_text())
    stock = kept["foreground_intensity_properties_per_channel"]["0"]
    return None if stock["mean"] == 1.0 else "nnU-Net's own statistics are lost"


_seen: dict[str, np.ndarray] = {}


def _as_at_first(folder: str, ending: str, more: tuple[str, ...] = ()) -> Check:
    """The network's labels, which the rehearsal has shown; and that other files are there."""

    def check(root: Path, printed: str) -> str | None:
        for case in NEW:
            path = root / folder / f"{case}{ending}"
            found = world.read(path)
            expected = _seen.setdefault(str(path.relative_to(root)), found)
            if found.shape != expected.shape or (found != expected).any():
                return f"{path.name} has other voxels"
        record = json.loads((root / folder / "prediction.json").read_text())
        missing = [n for n in (*record["files"], *more) if not (root / folder / n).is_file()]
        return f"{missing} is missing" if missing else None

    return check


def _suggested(root: Path, printed: str) -> str | None:
    folder = root / "next"
    places = json.loads((folder / "suggestions.json").read_text())["places"]
    rows = (folder / "suggestions.csv").read_text().splitlines()
    if len(rows) != len(places) + 1:
        return f"{len(rows)} rows of {len(places)} places"
    for case in {place["case"] for place in places}:
        values = world.read(folder / "labels" / f"{case}.nii.gz")
        strokes = world.read(root / "raw" / TINY / "labelsTr" / f"{case}.nii.gz")
        for label, value in ((0, 100), (1, 1), (2, 2)):  # 0 draws nothing
            if ((values == value) != (strokes == label)).any():
                return f"{case}: the strokes are others"
    return None if (folder / "overview.png").is_file() else "no picture"


def _trained(root: Path, printed: str) -> str | None:
    from scribble_tools.trust.checkpoint import load_checkpoint

    folder = root / TRAINED / "fold_2"
    content = load_checkpoint(folder / "checkpoint_final.pth")
    if content["pclmix"]["iteration"] != 4:
        return f"{content['pclmix']['iteration']} iterations"
    return None if (folder / "validation" / "summary.json").is_file() else "no validation"


NETWORK_COMMANDS = (
    Command(
        "convert mscmr",
        ("scribble_tools", "convert", "mscmr", "mscmr", "--dataset-id", "34", "--out", "out")
        + ("--folds", "2", "-np", "1"),
        {
            "image": ("mscmr/train/images/subject1_DE.nii.gz",),
            "label": (
                "mscmr/train/labels/subject2_DE_scribble.nii.gz",
                "mscmr/val/labels/subject3_DE_manual.nii.gz",
            ),
        },
        ("out",),
        _mscmr,
    ),
    Command(
        "convert scribblebench",
        ("scribble_tools", "convert", "scribblebench", f"dense_raw/{BENCH}", "--scribbles")
        + ("bench_strokes", "--dataset-id", "35", "--out", "out", "--folds", "2", "-np", "1"),
        {
            "image": each(f"dense_raw/{BENCH}/imagesTr", "{}_0000.nii.gz"),
            "label": (
                *each(f"dense_raw/{BENCH}/labelsTr", "{}.nii.gz"),
                *each("bench_strokes", "{}.nii.gz"),
            ),
            "dataset.json": (f"dense_raw/{BENCH}/dataset.json",),
        },
        ("out",),
        _bench,
    ),
    Command(
        "generate, data set",
        ("scribble_tools", "generate", f"dense_raw/{BENCH}", "--dataset-id", "36", "--out", "out")
        + ("-np", "1"),
        {
            "image": each(f"dense_raw/{BENCH}/imagesTr", "{}_0000.nii.gz"),
            "label": each(f"dense_raw/{BENCH}/labelsTr", "{}.nii.gz"),
            "dataset.json": (f"dense_raw/{BENCH}/dataset.json",),
        },
        ("out",),
        _generated_set,
    ),
    Command(
        "preview of predictions",
        ("scribble_tools", "preview", "7", "--pred", "pred", "other", "--ref", "labelsTr_dense")
        + ("--out", "sheets", "--all-slices", "--crop", "-np", "1"),
        {
            "label": (*each("pred", "{}.nii.gz"), *each(f"{RAW}/labelsTr_dense", "{}.nii.gz")),
            "image": each(f"{RAW}/imagesTr", "{}_0000.nii.gz"),
        },
        ("sheets",),
        pictures_in("sheets"),
        always=True,
        slow=True,
        blind=("not_finite",),
    ),
    Command(
        "preview of one case",
        ("scribble_tools", "preview", "--image", f"{RAW}/imagesTr/p1_a_0000.nii.gz")
        + ("--scribble", f"{RAW}/labelsTr/p1_a.nii.gz", "--out", "deep/one/p1_a.png"),
        {"label": (f"{RAW}/labelsTr/p1_a.nii.gz",)},
        ("deep",),
        pictures_in("deep/one", 1),
        slow=True,
    ),
    Command(
        "report --compare",
        ("scribble_tools", "report", "--dataset", "7", "--pred", "pred", "--compare", "other")
        + ("--ref", "labelsTr_dense", "--out", "deep/two/report.html", "-np", "1"),
        {
            "label": (*each("other", "{}.nii.gz"), *each(f"{RAW}/labelsTr_dense", "{}.nii.gz")),
            "dataset.json": (f"{RAW}/dataset.json",),
        },
        ("deep",),
        of_report("deep/two"),
        slow=True,
    ),
    Command(
        "ct-fingerprint",
        ("nnunetv2_pclmix", "ct-fingerprint", "21", "-np", "1"),
        {
            "dataset.json": (f"raw/{CT}/dataset.json",),
            "label": each(f"raw/{CT}/labelsTr", "{}.nii.gz"),
            "image": each(f"raw/{CT}/imagesTr", "{}_0000.nii.gz"),
            "fingerprint": (f"pre/{CT}/{FINGERPRINT}",),
        },
        (f"pre/{CT}/dataset_fingerprint",),
        _ct,
        slow=True,
        blind=("larger",),  # nnU-Net compares no grids here; check does
    ),
    Command("doctor", ("nnunetv2_pclmix", "doctor", "--json"), {}, check=said('"'), slow=True),
    Command(
        "predict",
        (*PREDICT, "--out", "deep/predicted", "--no-pictures"),
        NETWORK,
        ("deep",),
        _as_at_first("deep/predicted", ".nii.gz", ("dataset.json",)),
        slow=True,
        needs_network=True,
    ),
    Command(
        "predict for 3D Slicer",
        (*PREDICT, "--out", "slicer", "--format", ".seg.nrrd", "--uncertainty", "--fold", "0"),
        {**NETWORK, "checkpoint": NETWORK["checkpoint"][:1]},
        ("slicer",),
        _as_at_first("slicer", ".seg.nrrd", ("pictures/anna.png", "uncertainty/ben.nii.gz")),
        slow=True,
        needs_network=True,
    ),
    Command(
        "suggest",
        ("scribble_tools", "suggest", "--dataset", "901", "--model", TRAINED, "--out", "next")
        + ("--places", "4", *CPU),
        {
            "image": tuple(f"raw/{TINY}/imagesTr/case{k}_0000.nii.gz" for k in range(5)),
            "label": tuple(f"raw/{TINY}/labelsTr/case{k}.nii.gz" for k in range(5)),
            "checkpoint": NETWORK["checkpoint"],
            "dataset.json": (f"raw/{TINY}/dataset.json", f"{TRAINED}/dataset.json"),
        },
        ("next",),
        _suggested,
        slow=True,
        needs_network=True,
    ),
    Command(
        "train",
        ("nnunetv2_pclmix", "train", "901", "2d", "2", "-device", "cpu"),
        {
            "plans.json": (f"pre/{TINY}/nnUNetPlans.json",),
            "dataset.json": (f"pre/{TINY}/dataset.json",),
        },
        (f"{TRAINED}/fold_2", f"{TRAINED}/plans.json", f"{TRAINED}/dataset.json"),
        _trained,
        always=True,
        slow=True,
        needs_network=True,
        repeatable=True,
    ),
)
