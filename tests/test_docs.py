"""What README and docs say is true: commands run as written, options, links, names and defaults.

Every line of a fenced ``bash`` block of README and tutorial is run, on a small copy of the demo
data, by the function that the installed command calls. What cannot be run here is in `NOT_RUN`,
with the reason; those lines are still parsed, and their options compared with the command's help.
"""

import ast
import copy
import functools
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import types
from contextlib import redirect_stdout
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
    DatasetFingerprintExtractor,
)
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

import nnunetv2_pclmix.cli
import nnunetv2_pclmix.train
import scribble_tools.cli
from nnunetv2_pclmix import discovery, variants
from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from scribble_tools.demo.command import make_demo_data
from tests.conftest import shrink
from tests.scribble_tools.images.test_slicer_segmentation import write_seg

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
IDS = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
NOTES = sorted((ROOT / "benchmarks").glob("**/*.md"))

NOT_RUN = {
    "make demo": "makes an environment and trains for minutes; scripts/demo.sh is parsed below",
    "make test": "this test is part of it",
    "make test-fast": "the same",
    "pip install .": "tests/test_install.py installs the package",
    "pip install '.[dev]'": "the same",
    "bash scripts/demo.sh": "trains for minutes",
    "bash scripts/readme_picture.sh": "trains for minutes",
    "python -m pytest": "this test is part of it",
    "python benchmarks/step.py --out step.json": "takes minutes",
    "python -m pytest tests/nnunetv2_pclmix/method/test_dynamic_mix.py": "runs other tests",
}


# ---------------------------------------------------------------- reading documents


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)


def blocks(path: Path, language: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.S | re.M)


def lines_of(block: str) -> list[list[str]]:
    """The command lines of a block as words; quotes, continuations and comments as in a shell."""
    words = [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in words if line]


def commands_of(path: Path) -> list[list[str]]:
    return [line for block in blocks(path, "bash") for line in lines_of(block)]


def inline_commands(path: Path) -> list[list[str]]:
    """Commands with options in the running text: `scribble_tools convert ... --mixed`."""
    spans = re.findall(r"`([^`\n]+)`", prose(path))
    found = [shlex.split(s) for s in spans if s.split()[0] in (*COMMANDS, "torchrun")]
    return [words for words in found if any(word.startswith("-") for word in words)]


# ---------------------------------------------------------------- commands

COMMANDS = {
    **{e.name: e.load for e in entry_points(group="console_scripts") if e.name[:6] == "nnUNet"},
    "scribble_tools": lambda: scribble_tools.cli.main,
    "nnunetv2_pclmix": lambda: nnunetv2_pclmix.cli.main,
}


def call(words: list[str]) -> str:
    """Run a command line in this process; returns what it printed."""
    printed = io.StringIO()
    argv, sys.argv = sys.argv, words
    try:
        with redirect_stdout(printed):
            status = COMMANDS[words[0]]()()
    except SystemExit as stop:
        status = stop.code
    finally:
        sys.argv = argv
    assert not status, f"{shlex.join(words)}\nstatus {status}\n{printed.getvalue()}"
    return printed.getvalue()


@functools.cache
def help_of(command: str, *subcommand: str) -> str:
    if command == "torchrun":
        from torch.distributed.run import get_args_parser

        ours = nnunetv2_pclmix.train.build_parser()
        return get_args_parser().format_help() + ours.format_help()
    return call([command, *subcommand, "-h"])


def subcommand_of(words: list[str]) -> list[str]:
    """Of ours: the words that name the sub-command."""
    if words[0] == "scribble_tools":
        for length in (2, 1):
            if tuple(words[1 : 1 + length]) in scribble_tools.cli.COMMANDS:
                return words[1 : 1 + length]
    if words[0] == "nnunetv2_pclmix" and len(words) > 1 and not words[1].startswith("-"):
        return words[1:2]
    return []


def unknown_options(words: list[str]) -> list[str]:
    text = help_of(words[0], *subcommand_of(words))
    known = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", text))
    options = [word.split("=")[0] for word in words[1:] if re.match(r"--?[A-Za-z]", word)]
    return [option for option in options if option not in known]


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "scripts/demo.sh"], ids=[*IDS, "demo.sh"])
def test_every_option_exists(path):
    if path.suffix == ".sh":
        lines = lines_of(
            "\n".join(re.findall(r"^set -x.*?^\{ set \+x", path.read_text(), re.S | re.M))
        )
    else:
        lines = commands_of(path) + inline_commands(path)
    known = [line for line in lines if line[0] in (*COMMANDS, "torchrun")]
    wrong = {shlex.join(line): odd for line in known if (odd := unknown_options(line))}
    assert not wrong


def test_what_is_not_run_is_still_there_and_means_something():
    written = {shlex.join(line) for path in DOCUMENTS for line in commands_of(path)}
    assert set(NOT_RUN) <= written, "no longer written: strike it off the list"
    targets = (ROOT / "Makefile").read_text()
    for line in map(shlex.split, NOT_RUN):
        if line[0] == "make":
            assert re.search(rf"^{line[1]}:", targets, re.M)
        elif line[0] == "bash":
            assert (ROOT / line[1]).is_file()
        elif line[0] == "python" and line[-1] != "pytest":
            file = next(word for word in line if word.endswith(".py"))
            source = (ROOT / file).read_text()
            assert all(f'"{word}"' in source for word in line if word.startswith("--"))
        elif line[0] == "pip" and "[" in line[2]:
            assert f'extras_require={{"{line[2][2:-1]}"' in (ROOT / "setup.py").read_text()


@pytest.mark.slow
def test_variable_set_by_hand():
    (block,) = (b for b in blocks(DOCS / "troubleshooting.md", "bash") if "extTrainer" in b)
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("there is no bash")
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for before, after in (("", discovery.FOLDER), ("/mine", f"/mine:{discovery.FOLDER}")):
        result = subprocess.run(
            [shell, "-c", f'{block}\nprintf %s "$nnUNet_extTrainer"'],
            env={"PATH": path, "PYTHONPATH": str(ROOT), "nnUNet_extTrainer": before},
            capture_output=True,
            text=True,
        )
        # where the package is installed, its start-up file has been there first
        assert result.stdout.split(":")[-1] == discovery.FOLDER or result.stdout == after


# ---------------------------------------------------------------- running what is written


@pytest.fixture
def small(monkeypatch, tmp_path):
    """An empty folder to work in, and everything that makes nnU-Net's commands take seconds."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("nnUNet_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "PWD": str(tmp_path),
        "nnUNet_def_n_proc": "1",
        "nnUNet_n_proc_DA": "0",
        "nnUNet_npp": "0",
        "nnUNet_nps": "0",
        "nnUNet_compile": "f",
    }.items():
        monkeypatch.setenv(name, value)
    discovery.register()
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(torch, "set_num_interop_threads", lambda _: None)

    extractor = DatasetFingerprintExtractor.__init__

    def few_voxels(self, *args, **options):
        extractor(self, *args, **options)
        self.num_foreground_voxels_for_intensitystats = 1e4  # nnU-Net's 1e8 take half a minute

    begin = nnUNetTrainerPCLMix.__init__

    @functools.wraps(begin)  # nnU-Net looks at the signature
    def init(self, plans, configuration, fold, dataset_json, device=torch.device("cpu")):  # noqa: B008
        plans = shrink(copy.deepcopy(plans))
        plans["configurations"]["2d"]["patch_size"] = [64, 64]  # fewer tiles to predict
        begin(self, plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.save_every = 1
        self.num_iterations_per_epoch = self.num_val_iterations_per_epoch = 1

    slow = lambda plans, name, *_: plans["configurations"][name]["batch_size"] / 5  # noqa: E731
    monkeypatch.setattr("nnunetv2_pclmix.commands.machine.seconds_per_iteration", slow)
    monkeypatch.setattr(DatasetFingerprintExtractor, "__init__", few_voxels)
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda self, folder: None)
    monkeypatch.setattr(nnUNetTrainer, "plot_network_architecture", lambda self: None)
    monkeypatch.setattr(nnUNetTrainerPCLMix, "__init__", init)
    return tmp_path


def run_line(words: list[str], monkeypatch) -> str:
    """Run one line of a block; of the shell it knows variables and `mkdir -p`."""
    words = [os.path.expandvars(word) for word in words]
    unset = [word for word in words if "$" in word]
    assert not unset, f"a variable is not set: {unset}"
    assignments = words[1:] if words[0] == "export" else words
    if all(re.match(r"\w+=", word) for word in assignments):
        for word in assignments:
            monkeypatch.setenv(*word.split("=", 1))
        return ""
    if words[:2] == ["mkdir", "-p"]:
        for folder in words[2:]:
            Path(folder).mkdir(parents=True, exist_ok=True)
        return ""
    if words[0] in ("nnUNetv2_train", "nnUNetv2_predict") and "-device" not in words:
        words = [*words, "-device", "cpu"]
    return call(words)


def run_blocks(path: Path, monkeypatch, before: str = "") -> dict[str, str]:
    """Run all blocks of a document in order; command line to what it printed."""
    printed = {}
    for line in lines_of(before) + commands_of(path):
        if shlex.join(line) not in NOT_RUN:
            printed[shlex.join(line)] = run_line(line, monkeypatch)
    return printed


FOLDERS = """
mkdir -p raw preprocessed results
export nnUNet_raw="$PWD/raw" nnUNet_preprocessed="$PWD/preprocessed" nnUNet_results="$PWD/results"
"""
SEGMENTS = {0: "Background", 1: "Right ventricle", 2: "Myocardium", 3: "Left ventricle"}


def demo_data(out: Path, dataset_id: int = 999, test_patients: int = 0) -> Path:
    """Two patients of the demo data, two slices of each volume."""
    demo = make_demo_data(out, dataset_id, 2, test_patients)
    for path in demo.glob("*/*.nii.gz"):
        sitk.WriteImage(sitk.ReadImage(str(path))[:, :, 2:4], str(path))
    return demo


def files_of_a_user(folder: Path, scribbles: str) -> None:
    """The demo data as a user's files: images, strokes with 0 for unlabelled, outlines."""
    demo = demo_data(folder / "demo", test_patients=1)
    for part in ("images", scribbles):
        (folder / "hearts" / part).mkdir(parents=True, exist_ok=True)
    for path in sorted((demo / "imagesTr").glob("*.nii.gz")):
        demo_case = path.name.removesuffix("_0000.nii.gz")
        case = demo_case.replace("demo0", "patient")
        case = f"{case[:-2]}{'a' if case.endswith('ed') else 'b'}"
        shutil.copy(path, folder / "hearts/images" / f"{case}.nii.gz")
        image = sitk.ReadImage(str(demo / "labelsTr" / f"{demo_case}.nii.gz"))
        strokes = sitk.GetArrayFromImage(image)
        mine = np.array([4, 1, 2, 3, 0], np.uint8)[strokes]
        label = sitk.GetImageFromArray(mine)
        label.CopyInformation(image)
        sitk.WriteImage(label, str(folder / "hearts" / scribbles / f"{case}.nii.gz"))
        if scribbles != "scribbles":
            write_seg(
                folder / "hearts/scribbles" / f"{case}.seg.nrrd",
                image,
                mine,
                [(name, value or 4, 0) for value, name in SEGMENTS.items()],
            )
    for part, mine in (("imagesTs", "new_images"), ("labelsTs_dense", "outlined")):
        (folder / mine).mkdir()
        for path in (demo / part).iterdir():
            shutil.copy(path, folder / mine / path.name.replace("demo0", "patient"))


def assert_predicted(folder: Path, values: set[int]) -> None:
    expected = {path.name.replace("_0000", "") for path in Path("new_images").iterdir()}
    assert {path.name for path in folder.glob("*.nii.gz")} == expected
    for name in expected:
        assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name))))) <= values


@pytest.mark.slow
def test_readme(small, monkeypatch):
    files_of_a_user(small, "scribbles")
    printed = run_blocks(ROOT / "README.md", monkeypatch, FOLDERS)
    assert len(printed) == 7
    assert_predicted(small / "predictions", {0, 1, 2, 3})


@pytest.mark.slow
def test_tutorial(small, monkeypatch):
    files_of_a_user(small, "scribbles_itksnap")
    printed = run_blocks(DOCS / "tutorial.md", monkeypatch)
    assert "scribble_tools convert folder" in printed["scribble_tools inspect hearts"]
    assert "ready for nnU-Net" in printed["scribble_tools check 130"]
    (updated,) = [text for line, text in printed.items() if "--update" in line]
    assert "0 cases changed" in updated, "what suggest wrote is no stroke"
    assert [*(small / "next/labels").glob("*.seg.nrrd")] and (small / "next/overview.png").is_file()
    assert_predicted(small / "predictions", {0, 1, 2, 3})
    assert_predicted(small / "restored", {0, 1, 2, 3, 4})
    record = json.loads((small / "nnunet/raw/Dataset130_Hearts/conversion.json").read_text())
    assert len(set(record["patients"].values())) == 2
    model = small / "nnunet/results/Dataset130_Hearts"
    assert len([*model.glob("*/fold_0/checkpoint_final.pth")]) == 3
    assert {path.suffix for path in (small / "scores").iterdir()} == {
        ".csv",
        ".json",
        ".md",
        ".png",
    }
    assert (small / "hearts_model.zip").is_file()
    assert "<html" in (small / "report.html").read_text()
    fold = next(model.glob("nnUNetTrainerStrokeSupport__nnUNetPlans__2d/fold_0"))
    assert (fold / "pclmix_losses.png").is_file()
    assert [*fold.glob("pclmix_snapshots/epoch_*.png")]


@pytest.mark.slow
def test_ct_in_troubleshooting(small, monkeypatch):
    demo = demo_data(small / "raw", dataset_id=130)
    path = demo / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "channel_names": {"0": "CT"}}))
    for line in lines_of(FOLDERS):
        run_line(line, monkeypatch)
    (block,) = (b for b in blocks(DOCS / "troubleshooting.md", "bash") if "ct-finger" in b)
    for line in lines_of(block):
        run_line(line, monkeypatch)
    assert "scribbled" in (small / f"preprocessed/{demo.name}/dataset_fingerprint.json").read_text()


def test_napari_lines_keep_the_geometry(small, monkeypatch):
    files_of_a_user(small, "scribbles")
    layer = types.SimpleNamespace(data=None)

    class Viewer:
        def add_image(self, voxels, scale):
            assert len(scale) == voxels.ndim

        def add_labels(self, data, scale):
            layer.data = data
            return layer

    def paint():
        layer.data[1, 30:40, 50] = 7

    napari = types.SimpleNamespace(Viewer=Viewer, run=paint)
    monkeypatch.setitem(sys.modules, "napari", napari)
    (block,) = blocks(DOCS / "tutorial.md", "python")
    exec(block, {})
    image, strokes = (
        sitk.ReadImage(f"hearts/{part}/patient01_a.nii.gz") for part in ("images", "scribbles")
    )
    assert strokes.GetSpacing() == image.GetSpacing()
    assert np.count_nonzero(sitk.GetArrayFromImage(strokes) == 7) == 10


def test_variant_in_developing():
    (block,) = blocks(DOCS / "developing.md", "python")
    names = {}
    exec(block, names)
    trainer = names["nnUNetTrainerPCLMix_weakContrast"]
    assert trainer.config.lambda_contrast == PCLMixConfig.lambda_contrast / 2
    assert trainer.epochs == 500


def test_a_variant_is_found_in_its_folder(tmp_path, monkeypatch):
    (block,) = blocks(DOCS / "developing.md", "python")
    (tmp_path / "my_variants.py").write_text(block)
    monkeypatch.setenv(discovery.VARIABLE, str(tmp_path))
    discovery.register()
    trainer, folder = discovery.find_trainer("nnUNetTrainerPCLMix_weakContrast")
    assert (trainer.epochs, folder) == (500, str(tmp_path))


# ---------------------------------------------------------------- links, names, defaults


def anchors(path: Path) -> set[str]:
    """The anchors that a Markdown page gives its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", prose(path), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", [*DOCUMENTS, *NOTES], ids=[*IDS, *(path.name for path in NOTES)])
def test_links(path):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        place = (path.parent / file).resolve() if file else path
        inside = place == ROOT or ROOT in place.parents
        if not inside or not place.exists() or anchor and anchor not in anchors(place):
            broken.append(target)
    assert not broken


def test_paths_in_developing_exist():
    """The answers to "where is ...?", which are no links."""
    text = (DOCS / "developing.md").read_text()
    paths = re.findall(r"`((?:scribble_tools|nnunetv2_pclmix|tests|benchmarks)/[\w/.]+)`", text)
    assert len(paths) > 10
    # NAME stands for a name of one's own
    assert not [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]


def test_settings_in_method_are_those_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", (DOCS / "method.md").read_text(), re.M)
    written = {name: eval(value, {"__builtins__": {}}) for name, value in rows}
    assert len(rows) == len(written)
    assert written == {field.name: field.default for field in fields(PCLMixConfig)}


def test_every_trainer_and_command_is_described():
    method = (DOCS / "method.md").read_text()
    # `_5epochs` and the like stand without the name that is before them
    names = [name.removeprefix("nnUNetTrainerPCLMix") for name in variants.__all__]
    lengths = [name for name in names if name.startswith("nnUNetTrainerStrokeSupport_")]
    assert all(f"{name}`" in method for name in names if name not in lengths)
    assert all(f"_{name.split('_')[1]}`" in method for name in lengths)
    everything = "\n".join(path.read_text() for path in DOCUMENTS)
    commands = {" ".join(words) for words in scribble_tools.cli.COMMANDS}
    commands |= set(re.findall(r"^    {?(\S+?)}? ", help_of("nnunetv2_pclmix"), re.M))
    missing = [name for name in commands if not re.search(rf"\b{name}\b", everything)]
    assert commands and not missing


def strings_in_code() -> list[str]:
    """Every string constant of both packages; of f-strings, the pieces."""
    files = [*ROOT.glob("nnunetv2_pclmix/**/*.py"), *ROOT.glob("scribble_tools/**/*.py")]
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [node.value for node in nodes if isinstance(node.value, str)]


NNUNETS = {
    "Could not find requested nnunet trainer nnUNetTrainerPCLMix",
    "Trainer 'nnUNetTrainerPCLMix' not found in nnunetv2.training.nnUNetTrainer",
    "nnUNet_raw is not defined",
    "No annotated pixels in image",
    "KeyError",
    "loss",
}


def test_messages_in_troubleshooting_are_those_of_the_code():
    """What is shown as a message, up to its variable parts, and the codes of `check`, exist."""
    text = (DOCS / "troubleshooting.md").read_text()
    shown = re.findall(r"^- `([^`]+)`", text, re.M) + re.findall(r"`check` says `([\w-]+)`", text)
    assert len(shown) > 20
    constants = strings_in_code()
    missing = []
    for message in shown:
        pieces = re.split(r"\[?\.\.\.\]?|nnUNetTrainerPCLMix|checkpoint_\w+\.pth", message)
        pieces = [] if message in NNUNETS else [p.strip() for p in pieces if len(p.strip()) > 3]
        missing += [p for p in pieces if not any(p in constant for constant in constants)]
    assert not missing


def test_version_to_cite():
    written = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert written.group(1) == nnunetv2_pclmix.__version__


def test_pictures_are_small():
    pictures = [*(DOCS / "pictures").glob("*.png")]
    assert pictures
    for path in pictures:
        assert path.stat().st_size < 150_000, path
        assert matplotlib.image.imread(path).ndim == 3
    linked = "\n".join(path.read_text() for path in [*DOCUMENTS, *NOTES])
    assert all(path.name in linked for path in pictures), "a picture that nothing shows"


@pytest.mark.parametrize("script", sorted((DOCS / "pictures").glob("*.py")), ids=lambda p: p.stem)
def test_script_draws_the_picture_beside_it(script, tmp_path):
    out = tmp_path / "drawn.png"
    runpy.run_path(str(script))["main"](out)
    ours, shown = (matplotlib.image.imread(path) for path in (out, script.with_suffix(".png")))
    assert ours.shape == pytest.approx(shown.shape, abs=2)  # of one pixel, fonts decide


def test_first_command_is_within_a_screen():
    before, found, _ = (ROOT / "README.md").read_text().partition("```bash")
    lines = before.splitlines()
    assert found and len(lines) <= 25 and max(map(len, lines)) <= 100
