"""Every command: what is the user's stays, a cut file is an error, a second writer is kept out."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.cli import main
from scribble_tools.dataset.label_mapping import LabelMapping
from tests.scribble_tools.convert.test_conversion import convert, make_cases, source_of
from tests.scribble_tools.storage.test_locks import end, hold_in_child

SHAPE = (5, 20, 24)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path), True)
    return path


def dense_labels():
    dense = np.zeros(SHAPE, np.uint8)
    dense[:, 5:14, 6:16] = 1
    return dense


def contents(folder):
    """Every file, link and folder below, with what it holds."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def dense(tmp_path):
    for name in "ab":
        write(tmp_path / "dense" / f"{name}.nii.gz", dense_labels())
    return tmp_path / "dense"


@pytest.fixture
def dataset(tmp_path):
    """A data set with dense labels only."""
    folder = tmp_path / "raw" / "Dataset101_T"
    for name in ("a", "b", "c"):
        write(folder / "labelsTr" / f"{name}.nii.gz", dense_labels())
        write(folder / "imagesTr" / f"{name}_0000.nii.gz", np.ones(SHAPE, np.int16))
    content = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "RV": 1},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def fails(words, capsys, *messages):
    assert main([*map(str, words)]) == 1
    error = capsys.readouterr().err
    for message in messages:
        assert message in error
    assert "Traceback" not in error


# --- source and target -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["itself", "parent", "inside", "link", "link to the parent"])
@pytest.mark.parametrize("record", [None, "{}", "[]", "{", '{"files": ["a.nii.gz"]}'])
def test_generate_never_replaces_what_it_reads(tmp_path, dense, capsys, how, record):
    out = {
        "itself": dense,
        "parent": tmp_path,
        "inside": dense / "scribbles",
        "link": tmp_path / "link",
        "link to the parent": tmp_path / "link",
    }[how]
    if how.startswith("link"):
        out.symlink_to(dense if how == "link" else tmp_path)
    if record is not None and out.is_dir():
        (out / "generated.json").write_text(record)
    before = contents(tmp_path)
    fails(["generate", dense, "--out", out, "--overwrite"], capsys, "which is read")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "record",
    ["{}", "[]", "{", "null", '{"files": "a"}', '{"files": ["../dense/a.nii.gz"]}', "[" * 9999],
)
def test_a_record_that_names_no_files_makes_nothing_replaceable(tmp_path, dense, capsys, record):
    out = tmp_path / "out"
    out.mkdir()
    (out / "generated.json").write_text(record)
    (out / "a.nii.gz").write_text("mine")
    before = contents(tmp_path)
    fails(["generate", dense, "--out", out, "--overwrite"], capsys, "not replaced")
    assert contents(tmp_path) == before


def test_generate_replaces_its_own_files_only(tmp_path, dense, capsys):
    out = tmp_path / "out"
    words = ["generate", str(dense), "--out", str(out), "-np", "1"]
    assert main(words) == 0
    (out / "notes.txt").write_text("mine")
    (out / "more").mkdir()
    (out / "more" / "a.nii.gz").write_text("mine")
    (dense / "b.nii.gz").unlink()
    assert main([*words, "--overwrite", "--seed", "1"]) == 0
    names = ["a.nii.gz", "generated.json", "more", "notes.txt"]
    assert sorted(path.name for path in out.iterdir()) == names
    write(dense / "notes.nii.gz", dense_labels())
    (out / "notes.nii.gz").write_text("mine")
    before = contents(tmp_path)
    fails([*words, "--overwrite"], capsys, "notes.nii.gz is not what an earlier run wrote")
    assert contents(tmp_path) == before


def test_a_data_set_is_not_generated_into_or_over_its_source(tmp_path, dataset, capsys):
    before = contents(tmp_path)
    number = ["--dataset-id", "101", "--name", "T", "--overwrite"]
    fails(["generate", dataset, "--out", dataset.parent, *number], capsys, "which is read")
    inside = ["generate", dataset, "--out", dataset, "--dataset-id", "102"]
    fails(inside, capsys, "would be written into")
    link = tmp_path / "elsewhere"
    link.symlink_to(dataset.parent)
    fails(["generate", dataset, "--out", link, *number], capsys, "which is read")
    link.unlink()
    assert contents(tmp_path) == before


def test_a_data_set_that_is_a_link_keeps_the_users_files(tmp_path):
    folder = convert(tmp_path, source_of(make_cases(tmp_path)))
    real = tmp_path / "disk" / "hearts"
    real.parent.mkdir()
    folder.rename(real)
    folder.symlink_to(real)
    (real / "imagesTs").mkdir()
    (real / "imagesTs" / "new_0000.nii.gz").write_text("mine")
    (real / "splits_final.json").write_text('[{"train": ["c0"], "val": ["c1"]}]')
    convert(tmp_path, source_of(make_cases(tmp_path)), overwrite=True)
    assert folder.is_symlink()
    assert (real / "imagesTs" / "new_0000.nii.gz").read_text() == "mine"
    assert json.loads((real / "splits_final.json").read_text())[0]["val"] == ["c1"]
    assert os.listdir(real.parent) == ["hearts"]
    assert os.listdir(folder.parent) == [folder.name]


def test_dense_labels_that_the_user_added_stay(tmp_path):
    folder = convert(tmp_path, source_of(make_cases(tmp_path)))
    (folder / "labelsTr_dense").mkdir()
    (folder / "labelsTr_dense" / "c0.nii.gz").write_text("mine")
    convert(tmp_path, source_of(make_cases(tmp_path)), overwrite=True)
    assert (folder / "labelsTr_dense" / "c0.nii.gz").read_text() == "mine"


def test_cases_that_the_user_added_are_not_mixed_with_new_ones(tmp_path):
    folder = convert(tmp_path, source_of(make_cases(tmp_path)))
    (folder / "labelsTr" / ".DS_Store").write_text("a desktop's")
    mine = folder / "labelsTr" / "mine.nii.gz"
    mine.write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="mine.nii.gz is not what a conversion made"):
        convert(tmp_path, source_of(make_cases(tmp_path)), overwrite=True)
    assert contents(tmp_path) == before
    mine.unlink()
    convert(tmp_path, source_of(make_cases(tmp_path)), overwrite=True)
    assert (folder / "labelsTr" / ".DS_Store").read_text() == "a desktop's"


def test_a_record_of_an_earlier_version_lists_no_files_but_names_its_cases(tmp_path):
    folder = convert(tmp_path, source_of(make_cases(tmp_path, (".nii.gz",) * 3)))
    record = json.loads((folder / "conversion.json").read_text())
    del record["files"], record["splits_sha256"]
    (folder / "conversion.json").write_text(json.dumps(record))
    (folder / "notes.txt").write_text("mine")
    convert(tmp_path, source_of(make_cases(tmp_path)), overwrite=True)
    assert sorted(path.name for path in (folder / "labelsTr").iterdir()) == [
        "c0.nii.gz",
        "c1.nii.gz",
    ]
    assert (folder / "notes.txt").read_text() == "mine"


# --- second writers --------------------------------------------------------------------------


def test_a_second_conversion_of_one_id_is_kept_out(tmp_path):
    cases = make_cases(tmp_path)
    (tmp_path / "raw").mkdir()
    child = hold_in_child(tmp_path / "raw" / ".Dataset007.lock")
    try:
        with pytest.raises(OSError, match=f"process {child} on .* is writing there. Wait"):
            convert(tmp_path, source_of(cases))
    finally:
        end(child)
    folder = convert(tmp_path, source_of(cases))
    assert os.listdir(folder.parent) == [folder.name]


def test_an_id_that_came_to_be_used_meanwhile_is_refused(tmp_path, monkeypatch):
    from scribble_tools.convert import conversion

    write_record = conversion.write_dataset_record

    def late(record, folder):
        (tmp_path / "raw" / "Dataset007_Other").mkdir()
        write_record(record, folder)

    monkeypatch.setattr(conversion, "write_dataset_record", late)
    with pytest.raises(ValueError, match="holds Dataset007_Other: choose .* 7, such as 8"):
        convert(tmp_path, source_of(make_cases(tmp_path)))
    assert os.listdir(tmp_path / "raw") == ["Dataset007_Other"]


# --- what is written, and what is copied -----------------------------------------------------


def cut_to(count):
    """A writer of images that says nothing of a full disk."""
    write_image = sitk.WriteImage

    def write(image, path, useCompression=True):
        write_image(image, path, useCompression)
        with open(path, "r+b") as file:
            file.truncate(count)

    return write


@pytest.mark.parametrize("count", [0, 60])
@pytest.mark.parametrize("ending", ".nii.gz .mha .nrrd .gipl .png .tif .bmp".split())
def test_restored_labels_that_are_cut_off_are_an_error(
    tmp_path, capsys, monkeypatch, ending, count
):
    labels = dense_labels()
    write(tmp_path / "pred" / f"a{ending}", labels if ending[1] in "nmg" else labels[0])
    mapping = LabelMapping({"background": (3,), "RV": (1,)}, (0,)).as_json()
    (tmp_path / "conversion.json").write_text(json.dumps({"scribble_labels": mapping}))
    words = ["restore-labels", tmp_path / "pred", "--dataset", tmp_path / "conversion.json"]
    before = contents(tmp_path)
    monkeypatch.setattr(sitk, "WriteImage", cut_to(count))
    fails([*words, "--out", tmp_path / "out"], capsys, f"a{ending} cannot be written")
    assert contents(tmp_path) == before


def test_demo_data_that_is_cut_off_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sitk, "WriteImage", cut_to(200))
    fails(["demo-data", "--out", tmp_path, "--patients", "2"], capsys, "cannot be written")
    assert os.listdir(tmp_path) == []


def test_images_that_do_not_fit_or_are_none_are_not_copied(tmp_path, dataset, capsys):
    write(dataset / "imagesTr" / "a_0000.nii.gz", np.ones((5, 20, 48), np.int16))
    (dataset / "imagesTr" / "b_0000.nii.gz").write_text("")
    (dataset / "imagesTr" / "c_0000.nii.gz").unlink()
    (dataset / "imagesTr" / "c_0000.nii.gz").symlink_to("/dev/zero")
    words = ["generate", dataset, "--dataset-id", "102", "--out", tmp_path / "out", "-np", "1"]
    fails(
        words,
        capsys,
        "a_0000.nii.gz does not lie on the voxel grid of",
        "b_0000.nii.gz",
        "c_0000.nii.gz",
        "3 problems, nothing written",
    )
    image = np.ones(SHAPE, np.float32)
    image[0, 0, :7] = np.nan
    write(dataset / "imagesTr" / "a_0000.nii.gz", image)
    fails(words, capsys, "a_0000.nii.gz holds 7 voxels that are NaN or infinite")
    assert not (tmp_path / "out").exists()


# --- results ---------------------------------------------------------------------------------


def test_evaluations_replace_their_own_files_only(tmp_path, dense, capsys):
    out = tmp_path / "out"
    words = ["evaluate", dense, dense, "--labels", "RV=1", "--out", out, "-np", "1"]
    out.mkdir()
    for name in ("evaluation.csv", "comparison.png"):
        (out / name).write_text("mine")
        fails(words, capsys, f"{name} exists")
        if name == "evaluation.csv":
            fails([*words, "--overwrite"], capsys, "did not write this")
            (out / name).unlink()
    assert main([*map(str, words), "--overwrite"]) == 0
    assert (out / "comparison.png").read_text() == "mine"
    (out / "comparison.png").unlink()
    names = {f"evaluation.{kind}" for kind in ("csv", "json", "md")}
    names |= {"confusion.csv", "confusion.png"}
    more = {f"comparison.{kind}" for kind in ("csv", "json", "md", "png")}
    other = tmp_path / "other"
    shutil.copytree(dense, other)
    assert main([*map(str, words), "--overwrite", "--compare", str(other)]) == 0
    assert {*os.listdir(out)} == names | more
    assert main([*map(str, words), "--overwrite"]) == 0
    assert {*os.listdir(out)} == names


def test_no_temporary_file_follows_a_link(tmp_path, dense):
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("precious")
    out.mkdir()
    for name in ("evaluation.csv", "evaluation.json", "evaluation.md"):
        for temporary in (f".{os.getpid()}.{name}", f".{name}.{os.getpid()}", f".{name}"):
            (out / temporary).symlink_to(victim)
    words = ["evaluate", dense, dense, "--labels", "RV=1", "--out", out, "-np", "1"]
    assert main([*map(str, words)]) == 0
    assert victim.read_text() == "precious"


# --- interruptions ---------------------------------------------------------------------------

SLOW = """
import sys, time
from scribble_tools.generate import drawing
from scribble_tools.cli import main
from scribble_tools.dataset.label_mapping import LabelMapping
def slow(*arguments):
    print("begun", flush=True)
    time.sleep(600)
drawing._scribble_file = slow
sys.exit(main({words!r}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")]
)
def test_a_command_that_is_stopped_says_so_once_and_leaves_nothing(tmp_path, dense, number, word):
    out = tmp_path / "out"
    words = ["generate", str(dense), "--out", str(out), "-np", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW.format(words=words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    error = process.communicate()[1]
    assert process.returncode == 128 + number
    assert "Traceback" not in error
    assert f"stopped by {word}. Nothing was written or changed" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense"]


PARENT = """
import os, sys, time
from scribble_tools.parallel import parallel_map
def work(number):
    print(os.getpid(), flush=True)
    time.sleep(600)
if __name__ == "__main__":
    list(parallel_map(work, [1, 2], 2, "x"))
"""


def is_alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_command_that_was_killed(tmp_path, number):
    (tmp_path / "parent.py").write_text(PARENT)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    workers = [int(process.stdout.readline()) for _ in range(2)]
    assert all(map(is_alive, workers))
    process.send_signal(number)
    process.wait()
    try:
        for _ in range(600):
            if not any(map(is_alive, workers)):
                break
            time.sleep(0.1)
        assert not any(map(is_alive, workers))
    finally:
        for worker in filter(is_alive, workers):
            os.kill(worker, signal.SIGKILL)
