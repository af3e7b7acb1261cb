"""HDF5 files of any origin: what lies in them is read, what they point to is not, nothing hangs."""

import os
import random

import h5py
import numpy as np
import pytest

from scribble_tools.images.h5_files import dataset_names, opened_h5, read_dataset
from scribble_tools.survey.command import examine

LABELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.fixture
def path(tmp_path):
    """Arrays, and whatever an entry can be besides."""
    (tmp_path / "secret").write_bytes(b"hunter2!" * 3)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = LABELS
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["labels"] = LABELS
        file["group/image"] = np.float32(LABELS)
        file["group/again"] = file["group"]  # contains itself
        file["soft"] = h5py.SoftLink("/labels")
        file["loop"] = h5py.SoftLink("/loop")
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/secret")
        file["text"] = "hello"
        file["words"] = np.array([b"a", b"b"])
        file["pairs"] = np.zeros(3, [("a", "u1"), ("b", "u1")])
        file["none"] = h5py.Empty("u1")
        file.create_dataset("huge", (1 << 23, 1 << 23), "f4", chunks=True)
        file.create_dataset(
            "raw", (24,), "u1", external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)]
        )
        layout = h5py.VirtualLayout(LABELS.shape, "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", LABELS.shape)
        file.create_virtual_dataset("virtual", layout)
    return path


def test_arrays_in_the_file_itself(path):
    with opened_h5(path) as file:
        names = dataset_names(file)
        assert names == sorted(
            ["group/image", "huge", "labels", "none", "pairs", "raw", "text", "virtual", "words"]
        )
        assert (read_dataset(file, "labels") == LABELS).all()
        assert (read_dataset(file, "group/image") == LABELS).all()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing", "there is no 'nothing' in it"),
        ("group", "is no array"),
        ("soft", "is a link"),
        ("loop", "is a link"),
        ("elsewhere", "is a link"),
        ("elsewhere/x", "there is no|is a link"),
        ("raw", "lie in another file"),
        ("virtual", "lie in another file"),
        ("text", "no numbers"),
        ("words", "no numbers"),
        ("pairs", "no numbers"),
        ("none", "no numbers"),
        ("huge", "was never written"),
    ],
)
def test_everything_else_is_refused(path, name, reason):
    with pytest.raises(ValueError, match=rf"^{path}: .*({reason})"):
        with opened_h5(path) as file:
            read_dataset(file, name)


def test_inspect_names_what_it_did_not_read(path):
    facts = examine(path)
    assert facts["labels"]["shape"] == [2, 3, 4]
    assert "was never written" in facts["huge"]["problem"]
    assert "another file" in facts["raw"]["problem"]


def test_what_is_no_file_of_hdf5(tmp_path):
    with pytest.raises(FileNotFoundError), opened_h5(tmp_path / "none.h5"):
        pass
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "text.h5").write_text("no")
    (tmp_path / "loop.h5").symlink_to(tmp_path / "loop.h5")
    with pytest.raises(ValueError, match="is no file"), opened_h5(tmp_path / "pipe.h5"):
        pass
    with pytest.raises(ValueError, match="no HDF5 file"), opened_h5(tmp_path / "text.h5"):
        pass
    with pytest.raises(FileNotFoundError), opened_h5(tmp_path / "loop.h5"):
        pass


def test_damaged_files_give_one_error(path, tmp_path):
    whole, rng = path.read_bytes(), random.Random(0)
    damaged = tmp_path / "damaged.h5"
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        damaged.write_bytes(content)
        try:
            with opened_h5(damaged) as file:
                for name in dataset_names(file):
                    try:
                        read_dataset(file, name)
                    except ValueError:
                        continue
        except ValueError as error:
            assert str(error).startswith(str(damaged))
