"""Files of one result appear together, wherever the process is killed."""

import json
import os
import shutil

import pytest

from scribble_tools.storage.file_sets import (
    finish_sets,
    write_json,
    written_atomically,
    written_into,
    written_together,
)
from tests.scribble_tools.storage.killing import kill_everywhere

NAMES = ("r.csv", "r.json", "r.md")


def write_set(folder, text="new", obsolete=("r.png",)):
    with written_together(folder, "result", obsolete) as work:
        for name in NAMES:
            (work / name).write_text(text)


def read(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_killed_anywhere_old_and_new_files_never_mix_and_the_next_run_ends_it(tmp_path, capsys):
    folder = tmp_path / "out"
    old = dict.fromkeys((*NAMES, "r.png"), "old")
    new, mine = dict.fromkeys(NAMES, "new"), {"notes": "mine"}
    states = []

    def before():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, text in (old | mine).items():
            (folder / name).write_text(text)

    def after(number):
        now = read(folder)
        del now["notes"]
        seen = {name: text for name, text in now.items() if not name.startswith(".")}
        assert len({*seen.values()}) < 2, number
        states.append((len(seen), next(iter(seen.values()), None)))
        finish_sets(folder, "result")
        assert read(folder) in (old | mine, new | mine), number
        assert sorted(os.listdir(folder)) == sorted(read(folder))

    assert kill_everywhere(lambda: write_set(folder), folder, before, after) > 10
    assert {(4, "old"), (3, "new")} <= {*states}
    words = capsys.readouterr().err
    assert "removed .result." in words
    assert "finished what a killed run was about to write" in words


def test_killed_anywhere_a_new_folder_is_there_with_all_files_or_not(tmp_path):
    place = tmp_path / "place"
    folder = place / "out"

    def write():
        with written_into(folder, "result") as work:
            for name in NAMES:
                (work / name).write_text("new")

    def before():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()

    def after(number):
        assert not folder.exists() or read(folder) == dict.fromkeys(NAMES, "new"), number
        write()
        assert read(folder) == dict.fromkeys(NAMES, "new")
        assert os.listdir(place) == ["out"]

    assert kill_everywhere(write, place, before, after) > 4


def test_an_error_leaves_everything_as_it_was(tmp_path):
    write_set(tmp_path, "old", ())
    with pytest.raises(RuntimeError), written_together(tmp_path, "result") as work:
        (work / "r.csv").write_text("half")
        raise RuntimeError
    assert read(tmp_path) == dict.fromkeys(NAMES, "old")


def test_a_folder_in_a_files_place_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "r.md").mkdir()
    with pytest.raises(IsADirectoryError, match="r.md is a folder: nothing written"):
        write_set(tmp_path)
    assert os.listdir(tmp_path) == ["r.md"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "x.json").symlink_to(victim)
    write_json({"a": 1}, tmp_path / "x.json")
    assert victim.read_text() == "precious"
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
    assert not (tmp_path / "x.json").is_symlink()


def test_temporary_names_cannot_be_guessed_and_no_other_user_gets_in(tmp_path):
    seen = set()
    for _ in range(3):
        with written_atomically(tmp_path / "x.txt") as temporary:
            private = temporary.parent.parent
            seen.add(private.name)
            assert private.parent == tmp_path
            assert private.stat().st_mode & 0o77 == 0
            temporary.write_text("x")
    assert len(seen) == 3
    assert os.listdir(tmp_path) == ["x.txt"]
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_sets_with_folders_below(tmp_path, capsys):
    """Files of an earlier run go with their folder, the user's stay, wherever a kill comes."""
    folder = tmp_path / "out"
    old = {"a.csv": "old", "sheets/a.png": "old", "maps/deep/a.nii": "old"}
    new = {"a.csv": "new", "sheets/b.png": "new", "more/c": "new"}
    mine = {"sheets/mine.png": "mine"}
    obsolete = ["sheets/a.png", "maps/deep/a.nii"]

    def fill(place, content):
        for name, text in content.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)

    def read_all():
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_text() for path in paths}

    def write():
        with written_together(folder, "result", obsolete) as work:
            fill(work, new)

    def before():
        shutil.rmtree(folder, ignore_errors=True)
        fill(folder, old | mine)

    def after(number):
        seen = {k: v for k, v in read_all().items() if not k.startswith(".")}
        assert seen.pop("sheets/mine.png") == "mine"
        assert len({*seen.values()}) < 2, number
        finish_sets(folder, "result")
        assert read_all() in (old | mine, new | mine), number

    assert kill_everywhere(write, folder, before, after) > 10
    before()
    write()
    assert read_all() == new | mine
    assert not (folder / "maps" / "deep").exists()
    assert "finished what a killed run was about to write" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["link", "file"])
def test_a_set_is_refused_whose_folder_is_a_link_or_a_file(tmp_path, place):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(NotADirectoryError, match=f"{place} is no folder of its own: nothing"),
        written_together(tmp_path, "result") as work,
    ):
        (work / place).mkdir()
        (work / place / "a").write_text("new")
        (work / "b").write_text("new")
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "file", "link"]
    assert not any((tmp_path / "elsewhere").iterdir())
