"""A folder appears or replaces an earlier one in one step, wherever the process is killed."""

import json
import os
import shutil
from pathlib import Path, PurePosixPath

import pytest

from scribble_tools.storage import folders
from scribble_tools.storage.folders import list_entries, made_folder, written_folder
from tests.scribble_tools.storage.killing import kill_everywhere

OLD = {"images/a": "old a", "images/b": "old b", "record": "old"}
USERS = {"notes": "mine", "images/.hidden": "mine", "scans/deep/c": "mine", "splits": "mine"}
NEW = {"images/a": "new a", "labels/a": "new a", "record": "new", "splits": "new"}
WRITTEN = {PurePosixPath(name) for name in OLD}


def fill(folder, content):
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def read(folder):
    return {str(path): (folder / path).read_text() for path in list_entries(folder)}


def write_new(target, replaceable=lambda folder: WRITTEN):
    with written_folder(target, replaceable, ("splits",)) as new:
        fill(new, NEW)


@pytest.mark.parametrize("without_exchange", [False, True])
def test_replaced_whole_with_what_is_the_users(tmp_path, monkeypatch, without_exchange):
    if without_exchange:
        monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    target = tmp_path / "data"
    fill(target, OLD | USERS)
    (target / "link").symlink_to("notes")
    (target / "empty").mkdir()
    inode = (target / "scans/deep/c").stat().st_ino
    write_new(target)
    assert os.readlink(target / "link") == "notes"
    assert (target / "empty").is_dir()
    (target / "link").unlink()
    (target / "empty").rmdir()
    assert read(target) == NEW | USERS
    assert (target / "scans/deep/c").stat().st_ino == inode
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize("without_exchange", [False, True])
def test_killed_anywhere_the_folder_is_old_or_new_and_the_next_run_ends_it(
    tmp_path, monkeypatch, without_exchange, capsys
):
    if without_exchange:
        monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    place = tmp_path / "place"
    target = place / "data"
    states = set()

    def before():
        shutil.rmtree(place, ignore_errors=True)
        fill(target, OLD | USERS)

    def after(number):
        if target.exists():
            now = read(target)
            assert now in (OLD | USERS, NEW | USERS), number
            states.add("new" if now["record"] == "new" else "old")
        else:
            assert without_exchange, number
            states.add("gone for a moment")
        assert {"mine"} <= {p.read_text() for p in place.rglob("notes")}, number
        content = {"again": "newest"}
        with written_folder(target, lambda folder: set(map(PurePosixPath, NEW | OLD))) as new:
            fill(new, content)
        kept = {name: text for name, text in USERS.items() if name != "splits"}
        assert read(target) == content | kept  # the splits are in the list of what may go
        assert os.listdir(place) == ["data"]

    changes = kill_everywhere(lambda: write_new(target), place, before, after)
    assert changes > 10
    assert {"old", "new"} <= states
    assert ("gone for a moment" in states) == without_exchange
    assert "killed run" in capsys.readouterr().err


def test_new_folder_appears_in_one_step(tmp_path):
    target = tmp_path / "deep" / "data"
    with pytest.raises(RuntimeError), written_folder(target) as new:
        fill(new, NEW)
        assert not target.exists()
        raise RuntimeError
    assert not any(tmp_path.iterdir())
    with written_folder(target) as new:
        fill(new, NEW)
    assert read(target) == NEW
    with pytest.raises(FileExistsError, match="data exists already"), written_folder(target):
        raise AssertionError("not reached")


def test_a_link_to_a_folder_stays_one(tmp_path):
    real, link = tmp_path / "disk" / "real", tmp_path / "raw" / "data"
    fill(real, OLD | USERS)
    link.parent.mkdir()
    link.symlink_to(real)
    write_new(link)
    assert link.is_symlink()
    assert read(real) == NEW | USERS
    assert os.listdir(tmp_path / "raw") == ["data"]
    assert os.listdir(tmp_path / "disk") == ["real"]


def test_what_came_while_the_new_one_was_made_stays(tmp_path):
    target = tmp_path / "data"
    fill(target, OLD)
    with written_folder(target, lambda folder: WRITTEN) as new:
        fill(new, NEW)
        (target / "late").write_text("mine")
    assert read(target) == NEW | {"late": "mine"}


def test_a_users_file_in_the_place_of_a_new_one_is_refused(tmp_path):
    target = tmp_path / "data"
    fill(target, OLD | {"labels": "mine"})  # where the new one has a folder
    before = read(target)
    with pytest.raises(FileExistsError, match="labels is not what an earlier run wrote"):
        write_new(target)
    assert read(target) == before
    (target / "labels").unlink()
    fill(target, {"labels/a": "mine"})
    with pytest.raises(FileExistsError, match="labels/a is not what an earlier run wrote"):
        write_new(target)
    assert (target / "labels/a").read_text() == "mine"
    assert os.listdir(tmp_path) == ["data"]


def test_without_hard_links_the_users_files_are_copied(tmp_path, monkeypatch):
    def no_link(*arguments, **options):
        raise OSError("this file system has none")

    monkeypatch.setattr(os, "link", no_link)
    target = tmp_path / "data"
    fill(target, OLD | USERS)
    write_new(target)
    assert read(target) == NEW | USERS
    assert os.listdir(tmp_path) == ["data"]


def test_a_folder_that_cannot_be_moved_is_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    target = tmp_path / "data"
    fill(target, OLD | USERS)
    rename = Path.rename

    def fails(self, other):
        if self.name == "new":
            raise OSError("no")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="no"):
        write_new(target)
    assert read(target) == OLD | USERS
    monkeypatch.undo()
    write_new(target)
    assert read(target) == NEW | USERS
    assert os.listdir(tmp_path) == ["data"]


def test_notes_of_a_stranger_remove_nothing(tmp_path):
    """A lock file may come with somebody's data: only our own private folder is touched."""
    victim = tmp_path / "victim"
    fill(victim, {"x": "mine"})
    target = tmp_path / "data"
    for work in ("victim", "../victim", "", ".data.0123456789abcdef", 7, ["victim"]):
        link = tmp_path / ".data.0123456789abcdef"
        link.unlink(missing_ok=True)
        link.symlink_to(victim)
        note = {"work": work, "target": "victim", "inode": 1}
        (tmp_path / ".data.lock").write_text(json.dumps(note) + "\n")
        with written_folder(target, lambda folder: set(map(PurePosixPath, NEW))) as new:
            fill(new, NEW)
        assert read(victim) == {"x": "mine"}
    for broken in ("{", "[]", "[" * 100_000, "\0", ""):
        (tmp_path / ".data.lock").write_text(broken)
        with written_folder(target, lambda folder: set(map(PurePosixPath, NEW))) as new:
            fill(new, NEW)


def test_folders_above_come_and_go_with_it(tmp_path):
    """Killed or failed anywhere, nothing visible is there but the whole."""
    place = tmp_path / "place"
    target = place / "a" / "b" / "data"

    def before():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()

    def after(number):
        seen = [path for path in place.iterdir() if not path.name.startswith(".")]
        assert seen in ([], [place / "a"]), number
        assert not seen or read(target) == NEW, number
        write_new(target, lambda folder: set(map(PurePosixPath, NEW)))
        assert read(target) == NEW
        assert os.listdir(place) == ["a"]

    assert kill_everywhere(lambda: write_new(target), place, before, after) > 10
    before()
    with pytest.raises(RuntimeError), written_folder(target) as new:
        fill(new, NEW)
        raise RuntimeError
    assert not any(place.iterdir())


def test_a_folder_above_that_came_meanwhile_is_left_alone(tmp_path):
    with pytest.raises(OSError), written_folder(tmp_path / "a" / "data") as new:
        fill(new, NEW)
        fill(tmp_path / "a", {"mine": "mine"})
    assert read(tmp_path) == {"a/mine": "mine"}


def test_made_folders_go_again_where_they_stay_empty(tmp_path):
    with pytest.raises(RuntimeError), made_folder(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
        raise RuntimeError
    assert not any(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    with pytest.raises(RuntimeError), made_folder(tmp_path / "there" / "a" / "b"):
        (tmp_path / "there" / "a" / "mine").write_text("mine")
        raise RuntimeError
    assert read(tmp_path) == {"there/a/mine": "mine"}
    with made_folder(tmp_path / "c"), made_folder(tmp_path / "there"):
        pass
    assert (tmp_path / "c").is_dir()
