"""A folder or a pipe where a label should be is named, and no case is left out without a word."""

import os

import pytest

from scribble_tools.cli import main
from scribble_tools.images.image_files import files_below
from tests.hostile import formats_world, world

BENCH = f"dense_raw/{formats_world.BENCH}"
WORDS = {
    "mscmr": ("mscmr", "mscmr"),
    "scribblebench": ("scribblebench", BENCH, "--scribbles", "bench_strokes"),
}
PLACES = [
    ("mscmr", "mscmr/val/labels/subject3_DE_manual.nii.gz"),
    ("mscmr", "mscmr/train/labels/subject1_DE_scribble.nii.gz"),
    ("mscmr", "mscmr/train/images/subject1_DE.nii.gz"),
    ("scribblebench", f"{BENCH}/labelsTr/p1_b.nii.gz"),
    ("scribblebench", f"{BENCH}/imagesTr/p1_b_0000.nii.gz"),
    ("scribblebench", "bench_strokes/p1_b.nii.gz"),
]


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def folder(path):
    path.unlink()
    path.mkdir()
    (path / "notes.txt").write_text("no image")


def broken_link(path):
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize("damage", [pipe, folder, broken_link])
@pytest.mark.parametrize(("name", "place"), PLACES)
def test_what_is_no_file_is_named(tmp_path, monkeypatch, capsys, name, place, damage):
    world.build(tmp_path)
    formats_world.build(tmp_path)
    monkeypatch.chdir(tmp_path)
    damage(tmp_path / place)
    words = ["convert", *WORDS[name], "--dataset-id", "34", "--out", "out", "--folds", "2"]
    assert main([*words, "-np", "1"]) == 1
    assert place.rsplit("/", 1)[1] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_is_listed_where_it_is_called_like_an_image_and_holds_none(tmp_path):
    """What some unpackers make, a folder ``a.nii`` around the file ``a.nii``, holds one."""
    for name in ("a.nii/a.nii", "b.nii.gz/notes.txt", "c/d.nii", ".e.nii/x"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in files_below(tmp_path, "*.nii*")]
    assert found == ["a.nii/a.nii", "b.nii.gz", "c/d.nii"]
