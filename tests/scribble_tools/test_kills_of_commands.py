"""Commands that replace an earlier result, killed at every change that they make on the disk."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import nnunetv2_pclmix.cli
import scribble_tools.cli
from tests.hostile import world
from tests.hostile.running import start
from tests.scribble_tools.storage.killing import kill_everywhere

pytestmark = pytest.mark.slow

CONVERT = ("scribble_tools", "convert", "folder", "--images", "hearts/images", "--scribbles")
CONVERT += ("hearts/strokes", "--labels", "background=0", "organ=1", "other=2", "--unlabelled", "3")
CONVERT += ("--dataset-id", "30", "--name", "A", "--out", "out", "-np", "1")
RAW = f"raw/{world.DATASET}"
EVALUATE = (f"{RAW}/labelsTr_dense", "--out", "out", "-np", "1")
SMALL = ("nnunetv2_pclmix", "small-plans", "7", "--patch", "8", "8", "--features", "2", "4", "4")
# a first run, and a second one that replaces its result with another
PAIRS = {
    "convert": (CONVERT, (*CONVERT, "--seed", "5", "--overwrite"), "out/Dataset030_A"),
    "generate": (
        ("scribble_tools", "generate", "dense", "--out", "out", "-np", "1"),
        ("scribble_tools", "generate", "dense", "--out", "out", "-np", "1")
        + ("--seed", "5", "--overwrite"),
        "out",
    ),
    "evaluate": (
        ("scribble_tools", "evaluate", "pred", *EVALUATE, "--compare", "other"),
        ("scribble_tools", "evaluate", "other", *EVALUATE, "--overwrite"),
        "out",
    ),
    "restore-labels": (
        ("scribble_tools", "restore-labels", "pred", "--dataset", "7", "--out", "out"),
        ("scribble_tools", "restore-labels", "other", "--dataset", "7", "--out", "out")
        + ("--overwrite",),
        "out",
    ),
    "export": (
        ("nnunetv2_pclmix", "export", world.MODEL, "out"),
        ("nnunetv2_pclmix", "export", "other_model", "out", "--overwrite"),
        f"out/{world.DATASET}/nnUNetTrainer__nnUNetPlans__2d",
    ),
    "small-plans": (
        (*SMALL, "--batch", "2"),
        (*SMALL, "--batch", "3", "--overwrite"),
        f"pre/{world.DATASET}",
    ),
}
USERS = {"notes of mine.txt": "mine", "my folder/a": "mine"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The world, of two cases, and a second model, in the current folder; nothing is drawn."""
    world.build(tmp_path)
    for case in world.CASES[2:]:  # commands run twice for each change that they make
        for folder in ("hearts", "dense", "pred", "other", f"{RAW}/labelsTr_dense"):
            for path in (tmp_path / folder).rglob(f"{case}.*"):
                path.unlink()
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: write_picture(file))
    shutil.copytree(tmp_path / world.MODEL, tmp_path / "other_model")
    content = world.checkpoint()
    for value in content["network_weights"].values():
        value += 1
    torch.save(content, tmp_path / "other_model" / "fold_0" / "checkpoint_final.pth")
    monkeypatch.chdir(tmp_path)
    for name, folder in (("raw", "raw"), ("preprocessed", "pre"), ("results", "results")):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / folder))
    return tmp_path


def write_picture(file):
    picture = Image.new("RGB", (1, 1))
    picture.save(file, "PNG")


def run(words):
    package = {"scribble_tools": scribble_tools, "nnunetv2_pclmix": nnunetv2_pclmix}[words[0]]
    return package.cli.main(list(words[1:]))


def read(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def visible(files):
    return {n: c for n, c in files.items() if not any(p.startswith(".") for p in Path(n).parts)}


@pytest.mark.parametrize("name", PAIRS)
def test_killed_anywhere_the_result_is_the_old_or_the_new_one(root, name, capfd):
    first, second, place = PAIRS[name]
    top, result, kept = root / place.split("/")[0], root / place, root / "kept"
    assert run(first) == 0
    for own, text in USERS.items():
        (result / own).parent.mkdir(exist_ok=True)
        (result / own).write_text(text)
    shutil.copytree(top, kept)
    old = read(result)
    assert run(second) == 0
    new = read(result)
    differing = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    assert differing and not differing & {*USERS}
    states = set()

    def before():
        shutil.rmtree(top)
        shutil.copytree(kept, top)

    def after(number):
        seen = visible(read(result))
        assert {key: seen[key].decode() for key in USERS} == USERS, number
        kinds = {"old" if seen[key] == old.get(key) else "new" for key in differing & {*seen}}
        assert len(kinds) < 2, (number, kinds)
        if name in ("convert", "generate", "export"):  # a folder: whole at any moment
            assert seen == (new if kinds == {"new"} else old), number
        states.update(kinds)
        assert run(second) == 0
        assert read(result) == new, number
        assert {*read(top)} == {str(path) for path in _below(new, place)} | _beside(kept, place)

    assert kill_everywhere(lambda: _ended(second), root, before, after) > 5
    assert states == {"old", "new"}
    assert "killed run" in capfd.readouterr().err


def _ended(words):
    assert run(words) == 0


def _below(files, place):
    inside = Path(*Path(place).parts[1:])
    return [inside / name for name in files]


def _beside(kept, place):
    """What lies in the top folder beside the result."""
    inside = Path(*Path(place).parts[1:])
    return {name for name in read(kept) if not Path(name).is_relative_to(inside)}


@pytest.mark.parametrize("name", PAIRS)
def test_two_at_once_one_is_told_of_the_other_or_comes_after_it(root, name):
    first, second, place = PAIRS[name]
    for words in (first, second):
        pairs = [start(words, root, log=log) for log in ("one", "two")]
        ends = [pair.wait() for pair in pairs]
        assert 0 in [own.end for own in ends], ends
        for own in ends:
            if own.end != 0:
                assert own.end == 1
                told = ("is writing there", "exist", "has just come into being")
                assert any(word in own.printed for word in told), own.printed
        hidden = [p for p in (root / place.split("/")[0]).rglob(".*")]
        assert hidden == []
        assert read(root / place), "the result is there"
        json_files = [p for p in (root / place).rglob("*.json")]
        assert json_files and all(json.loads(path.read_text()) for path in json_files)
    assert not [name for name in os.listdir(root) if name.startswith(".")]
