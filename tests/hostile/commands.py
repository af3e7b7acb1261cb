"""Every command with the files it reads, and whether what it wrote is right."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tests.hostile import world
from tests.hostile.world import CASES, DATASET, MODEL

Check = Callable[[Path, str], str | None]
"""World and what was printed -> what is wrong with a result, None if nothing."""


@dataclass(frozen=True)
class Command:
    """A command line, run in the world's folder.

    Attributes:
        words: after ``scribble_tools`` or ``nnunetv2_pclmix``, which is the first.
        reads: files that it cannot do without, by kind (see `damage`): damage to them is noticed.
        writes: paths that did not exist before; nothing else in the world may change.
        check: of a result after exit status 0.
        always: what it writes may be there after a failure: pictures of the cases without one.
        slow: left out where time is short, and drawn less often than others.
        needs_network: reads what `network_world` makes.
        repeatable: takes its place again whatever a killed run has left there.
        blind: damage that nothing which it reads contradicts.
    """

    name: str
    words: tuple[str, ...]
    reads: dict[str, tuple[str, ...]]
    writes: tuple[str, ...] = ()
    check: Check = lambda root, printed: None
    always: bool = False
    slow: bool = False
    blind: tuple[str, ...] = ()
    needs_network: bool = False
    repeatable: bool = False


def equal(path: Path, expected: np.ndarray) -> str | None:
    """What is wrong with an image that is to have these voxels."""
    if not path.is_file():
        return f"{path.name} is missing"
    found = world.read(path)
    same = found.shape == expected.shape and np.array_equal(found, expected)
    return None if same else f"{path.name} has other voxels"


def first(*problems: str | None) -> str | None:
    """The first problem that there is."""
    return next((problem for problem in problems if problem), None)


def _converted(folder: str, ending: str = ".nii.gz") -> Check:
    def check(root: Path, printed: str) -> str | None:
        place = root / "out" / folder
        names = sorted(path.name for path in (place / "imagesTr").glob("*"))
        if names != [f"{case}_0000{ending}" for case in CASES]:
            return f"imagesTr holds {names}"
        for number, case in enumerate(CASES):
            problem = first(
                equal(place / "imagesTr" / f"{case}_0000{ending}", world.image(number)),
                equal(place / "labelsTr" / f"{case}{ending}", world.scribble()),
            )
            if problem:
                return problem
        content = json.loads((place / "dataset.json").read_text())
        return None if content["labels"] == world.LABELS else "dataset.json has other labels"

    return check


def _acdc(folder: str) -> Check:
    def check(root: Path, printed: str) -> str | None:
        strokes = np.where(world.scribble() == world.IGNORE, 4, world.scribble())
        files = sorted((root / "out" / folder / "labelsTr").glob("*.nii.gz"))
        if len(files) != 2:
            return f"{len(files)} label files"
        return first(*(equal(path, strokes) for path in files))

    return check


def _evaluated(root: Path, printed: str) -> str | None:
    content = json.loads((root / "scores" / "evaluation.json").read_text())
    text = json.dumps(content)
    wrong = [n for n in range(len(CASES)) if f"{world.dice(n):.4f}"[:6] not in _rounded(content)]
    return f"the Dice of {[CASES[n] for n in wrong]} is not in {text[:80]}" if wrong else None


def _rounded(content: object) -> set[str]:
    """All numbers of a JSON file, with four decimals."""
    if isinstance(content, dict):
        return set().union(*map(_rounded, content.values())) if content else set()
    if isinstance(content, list):
        return set().union(*map(_rounded, content)) if content else set()
    return {f"{content:.4f}"[:6]} if isinstance(content, float | int) else set()


def of_report(folder: str = ".") -> Check:
    """A report with the world's scores in it."""

    def check(root: Path, printed: str) -> str | None:
        page = (root / folder / "report.html").read_text()
        content = json.loads((root / folder / "report.json").read_text())
        missing = [case for case in CASES if case not in page]
        if missing or "</html>" not in page:
            return f"the page lacks {missing or 'its end'}"
        numbers = _rounded(content)
        wrong = [n for n in range(len(CASES)) if f"{world.dice(n):.4f}"[:6] not in numbers]
        return f"the Dice of {len(wrong)} cases is wrong" if wrong else None

    return check


def _restored(root: Path, printed: str) -> str | None:
    value = np.array([5, 1, 700])
    return first(
        *(
            equal(root / "restored" / f"{case}.nii.gz", value[world.prediction(number)])
            for number, case in enumerate(CASES)
        )
    )


def _generated(root: Path, printed: str) -> str | None:
    files = sorted((root / "drawn").glob("*.nii.gz"))
    if [path.name for path in files] != [f"{case}.nii.gz" for case in CASES]:
        return f"{len(files)} files"
    for path in files:
        strokes, labels = world.read(path), world.dense()
        unlabelled = json.loads((root / "drawn" / "generated.json").read_text())["unlabelled"]
        drawn = strokes != unlabelled
        if not drawn.any() or (strokes[drawn] != labels[drawn]).any():
            return f"{path.name}: strokes on other labels"
    return None


def pictures_in(folder: str, number: int = len(CASES)) -> Check:
    """So many whole pictures."""

    def check(root: Path, printed: str) -> str | None:
        from PIL import Image

        files = sorted((root / folder).glob("*.png"))
        if len(files) < number:
            return f"{len(files)} pictures"
        for path in files:
            with Image.open(path) as picture:
                picture.load()
        return None

    return check


def _drawn(root: Path, printed: str) -> str | None:
    folder = next((root / "out").glob("Dataset*"))
    images = sorted(folder.glob("images*/*"))
    if len(images) != json.loads((folder / "dataset.json").read_text())["numTraining"] + 2:
        return f"{len(images)} images"
    try:
        return None if all(world.read(path).any() for path in images) else "an empty image"
    except RuntimeError:
        return "an image cannot be read"


def _installed(root: Path, printed: str) -> str | None:
    path = root / "pre" / DATASET / "splits_final.json"
    return None if json.loads(path.read_text()) == world.splits() else "other splits"


def _exported(root: Path, printed: str) -> str | None:
    (path,) = (root / "exported").glob("*/*/fold_0/checkpoint_final.pth")
    content = torch.load(path, weights_only=True)
    own = content["network_weights"]
    same = all(torch.equal(own[key], value) for key, value in world.weights().items())
    return None if same else "other weights"


def _zipped(root: Path, printed: str) -> str | None:
    with zipfile.ZipFile(root / "model.zip") as archive:
        damaged = archive.testzip()
        names = archive.namelist()
    whole = damaged is None and any(name.endswith("checkpoint_final.pth") for name in names)
    return None if whole else "the zip is not whole"


def said(*words: str) -> Check:
    """Each of the words was printed."""

    def check(root: Path, printed: str) -> str | None:
        return next((f"{word!r} was not said" for word in words if word not in printed), None)

    return check


def _small(root: Path, printed: str) -> str | None:
    path = root / "pre" / DATASET / "nnUNetPlans_small.json"
    own = json.loads(path.read_text())["configurations"]["2d"]
    return None if own["patch_size"] == [8, 8] and own["batch_size"] == 2 else "other plans"


def each(folder: str, pattern: str) -> tuple[str, ...]:
    """A path for each of the world's cases."""
    return tuple(f"{folder}/{pattern.format(case)}" for case in CASES)


RAW = f"raw/{DATASET}"
CONVERT = ("--labels", "background=0", "organ=1", "other=2", "--unlabelled", "3", "-np", "1")
FINAL = f"{MODEL}/fold_0/checkpoint_final.pth"
REPORT = ("report", "--dataset", "7", "--pred", "pred", "--out", "report.html", "-np", "1")

COMMANDS = (
    Command(
        "inspect",
        ("scribble_tools", "inspect", "hearts", "--json"),
        {},
        check=said('"groups"', "--scribbles"),
    ),
    Command(
        "convert folder",
        ("scribble_tools", "convert", "folder", "--images", "hearts/images", "--scribbles")
        + ("hearts/strokes", *CONVERT, "--dataset-id", "30", "--name", "A", "--out", "out"),
        {
            "image": each("hearts/images", "{}.nii.gz"),
            "label": each("hearts/strokes", "{}.nii.gz"),
        },
        ("out",),
        _converted("Dataset030_A"),
    ),
    Command(
        "convert folder, NRRD and MHA",
        ("scribble_tools", "convert", "folder", "--images", "nrrd/images", "--scribbles")
        + ("nrrd/strokes", *CONVERT, "--dataset-id", "31", "--name", "B", "--out", "out"),
        {"image": each("nrrd/images", "{}.nrrd"), "label": each("nrrd/strokes", "{}.mha")},
        ("out",),
        _converted("Dataset031_B", ".nrrd"),
    ),
    Command(
        "convert acdc",
        ("scribble_tools", "convert", "acdc", "--images", "acdc", "--scribbles", "acdc_strokes")
        + ("--dataset-id", "32", "--out", "out", "--folds", "2", "-np", "1"),
        {
            "image": ("acdc/patient001/patient001_frame01.nii.gz",),
            "label": ("acdc_strokes/patient002_frame01_scribble.nii.gz",),
        },
        ("out",),
        _acdc("Dataset032_ACDCScribbles"),
    ),
    Command(
        "convert wsl4mis",
        ("scribble_tools", "convert", "wsl4mis", "h5", "--images", "acdc")
        + ("--dataset-id", "33", "--out", "out", "--folds", "2", "-np", "1"),
        {
            "h5": ("h5/patient001_frame01.h5",),
            "image": ("acdc/patient002/patient002_frame01.nii.gz",),
        },
        ("out",),
        _acdc("Dataset033_WSL4MISScribbles"),
    ),
    Command(
        "generate",
        ("scribble_tools", "generate", "dense", "--out", "drawn", "-np", "1"),
        {"label": each("dense", "{}.nii.gz")},
        ("drawn",),
        _generated,
        blind=("larger",),
    ),
    Command(
        "check",
        ("scribble_tools", "check", "7", "-np", "1"),
        {
            "image": each(f"{RAW}/imagesTr", "{}_0000.nii.gz"),
            "label": each(f"{RAW}/labelsTr", "{}.nii.gz"),
            "dataset.json": (f"{RAW}/dataset.json",),
        },
    ),
    Command(
        "preview",
        ("scribble_tools", "preview", "7", "--out", "pictures", "--max-slices", "1", "-np", "1"),
        {"label": each(f"{RAW}/labelsTr", "{}.nii.gz"), "dataset.json": (f"{RAW}/dataset.json",)},
        ("pictures",),
        pictures_in("pictures"),
        always=True,
        slow=True,
    ),
    Command(
        "evaluate",
        ("scribble_tools", "evaluate", "pred", f"{RAW}/labelsTr_dense", "--out", "scores")
        + ("-np", "1"),
        {
            "label": (
                *each("pred", "{}.nii.gz"),
                *each(f"{RAW}/labelsTr_dense", "{}.nii.gz"),
            ),
            "dataset.json": (f"{RAW}/dataset.json",),
        },
        ("scores",),
        _evaluated,
    ),
    Command(
        "evaluate --splits",
        ("scribble_tools", "evaluate", "pred", f"{RAW}/labelsTr_dense", "--out", "scores")
        + ("--splits", "my_splits.json", "--compare", "other", "-np", "1"),
        {"splits": ("my_splits.json",), "label": ("other/p2_a.nii.gz", "other/p3_a.nii.gz")},
        ("scores",),
        slow=True,
    ),
    Command(
        "report",
        ("scribble_tools", *REPORT),
        {"label": each("pred", "{}.nii.gz"), "dataset.json": (f"{RAW}/dataset.json",)},
        ("report.html", "report.json"),
        of_report(),
        slow=True,
    ),
    Command(
        "report --model",
        ("scribble_tools", *REPORT, "--model", MODEL),
        {"dataset.json": (f"{RAW}/dataset.json",)},
        ("report.html", "report.json"),
        of_report(),
        slow=True,
    ),
    Command(
        "restore-labels",
        ("scribble_tools", "restore-labels", "pred", "--dataset", "7", "--out", "restored")
        + ("-np", "1"),
        {"label": each("pred", "{}.nii.gz"), "conversion.json": (f"{RAW}/conversion.json",)},
        ("restored",),
        _restored,
        blind=("larger",),  # it sees no image
    ),
    Command(
        "install-splits",
        ("scribble_tools", "install-splits", "7", "--splits", "my_splits.json"),
        {"splits": ("my_splits.json",), "dataset.json": (f"{RAW}/dataset.json",)},
        (f"pre/{DATASET}/splits_final.json",),
        _installed,
    ),
    Command(
        "demo-data",
        ("scribble_tools", "demo-data", "--out", "out", "--patients", "5", "--test-patients", "1"),
        {},
        ("out",),
        _drawn,
        slow=True,
    ),
    Command(
        "export",
        ("nnunetv2_pclmix", "export", MODEL, "exported"),
        {"checkpoint": (FINAL,), "plans.json": (f"{MODEL}/plans.json",)},
        ("exported",),
        _exported,
    ),
    Command(
        "export --zip",
        ("nnunetv2_pclmix", "export", MODEL, "model.zip"),
        {"checkpoint": (FINAL,)},
        ("model.zip",),
        _zipped,
    ),
    Command(
        "verify",
        ("nnunetv2_pclmix", "verify", MODEL),
        {"checkpoint": (FINAL,), "plans.json": (f"{MODEL}/plans.json",)},
        check=said("is plain data"),
    ),
    Command(
        "small-plans",
        ("nnunetv2_pclmix", "small-plans", "7", "--patch", "8", "8", "--batch", "2")
        + ("--features", "2", "4", "4"),
        {"plans.json": (f"pre/{DATASET}/nnUNetPlans.json",)},
        (f"pre/{DATASET}/nnUNetPlans_small.json",),
        _small,
        slow=True,
    ),
)
