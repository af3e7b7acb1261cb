"""Checkpoints of strangers: what passes is what torch would have read, and nothing is executed."""

import os
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from scribble_tools.trust.checkpoint import load_checkpoint, read_checkpoint
from scribble_tools.trust.plain_pickle import NotPlain, StoredTensor, read_plain_pickle


def training_state() -> dict:
    """As nnU-Net saves it: weights, optimiser, and a log with numpy's numbers."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, nesterov=True)
    network(torch.ones(1, 1, 5, 5)).sum().backward()
    optimizer.step()
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "logging": {"dice": [np.float64(0.25), np.float32(0.5), np.int64(3)], "lrs": [0.01]},
        "init_args": {"fold": 0, "device": torch.device("cuda", 0), "sizes": (1, (2, None))},
        "half": torch.zeros(3, dtype=torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "seeds": torch.get_rng_state(),
        "names": {"a", "b"},
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
        "size": torch.Size([4, 5]),
        "seed": 2**64 - 1,
    }


def replace_pickle(path: Path, data: bytes) -> Path:
    """The checkpoint with another pickle in it, with the right checksum."""
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, data if name.endswith("/data.pkl") else content)
    return path


def pickle_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"{path.stem}/data.pkl")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint_final.pth"
    torch.save(training_state(), path)
    return path


def assert_same(found: object, expected: object) -> None:
    """Both are the same, where ``found`` has a placeholder for every tensor."""
    if isinstance(expected, torch.Tensor):
        assert isinstance(found, StoredTensor)
        assert found.shape == tuple(expected.shape)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, torch.device):
        assert found == str(expected)
    else:
        assert found == expected


def test_what_nnunet_saves_is_read_as_it_is(saved):
    checkpoint = read_checkpoint(saved)
    array = checkpoint.content.pop("array").value
    expected = training_state()
    assert (array == expected.pop("array")).all()
    assert_same(checkpoint.content, expected)
    stored = sum(
        t.untyped_storage().nbytes()
        for t in (
            *expected["network_weights"].values(),
            *(s["momentum_buffer"] for s in expected["optimizer_state"]["state"].values()),
            *(expected[name] for name in ("half", "flags", "seeds")),
        )
    )
    assert checkpoint.tensor_bytes == stored


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "content",
    [
        Evil(os.system, "touch PWNED"),
        {"network_weights": {}, "x": [Evil(eval, "open('PWNED', 'w')")]},
        {"x": Evil(torch.load, "PWNED")},
        {"x": Path("PWNED")},
        {"x": os.system},
    ],
)
def test_nothing_else_than_data_passes(saved, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    for protocol in (2, 3, 4, 5):
        replace_pickle(saved, pickle.dumps(content, protocol))
        with pytest.raises(ValueError, match=r"checkpoint_final.pth holds more than plain data"):
            read_checkpoint(saved)
        with pytest.raises(ValueError, match="holds more than plain data"):
            load_checkpoint(saved)
    torch.save(content, saved)
    with pytest.raises(ValueError, match="holds more than plain data"):
        read_checkpoint(saved)
    assert not (tmp_path / "PWNED").exists()


def test_a_pickle_that_is_no_archive_is_not_read(tmp_path):
    path = tmp_path / "checkpoint_final.pth"
    path.write_bytes(pickle.dumps({"network_weights": {}}))
    with pytest.raises(ValueError, match="not in the format of torch.save"):
        read_checkpoint(path)
    torch.save({"a": 1}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="not in the format of torch.save"):
        read_checkpoint(path)


def billion_laughs() -> object:
    laughs: object = "ha"
    for _ in range(40):
        laughs = [laughs] * 10
    return laughs


def contains_itself() -> object:
    entry: dict = {"a": []}
    entry["a"].append(entry)
    return entry


def nested(depth: int) -> object:
    entry: object = 1
    for _ in range(depth):
        entry = (entry,)
    return entry


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (billion_laughs(), "would have no end"),
        ([["x" * 100_000] * 1000] * 1000, "would have no end"),
        (contains_itself(), "contains itself"),
        (nested(100), "nested more than"),
        ({(1, 2): 3}, "a key is a tuple"),
        ({1.5: 3}, "a key is a float"),
        ({2**40: 3}, "a key is a int"),
        ([10**400], "a number has 1329 bits"),
    ],
)
def test_what_has_no_bounds_is_refused(content, reason):
    with pytest.raises(NotPlain, match=reason):
        read_plain_pickle(pickle.dumps(content, 2))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x02]K\x01K\x02s.", "puts entries into a list"),  # SETITEM on a list
        (b"\x80\x02K\x05(K\x01K\x02u.", "puts entries into a int"),
        (b"\x80\x02]r\xff\xff\xff\xff.", "numbers its parts"),  # 34 GB of memory in Python
        (b"\x80\x02h\x07.", "damaged"),
        (b"\x80\x02K\x01K\x02.", "damaged"),
        (b"\x80\x02", "damaged"),
        (b"", "damaged"),
        (b"\x80\x02(q\x00.", "damaged|puts entries"),
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n.", None),
        (b"\x80\x02ccollections\nOrderedDict\n]R.", "a call without arguments"),
    ],
)
def test_opcodes_that_do_not_fit_are_refused(data, reason):
    if reason is None:
        read_plain_pickle(data)  # a name that is not called
        return
    with pytest.raises(NotPlain, match=reason):
        read_plain_pickle(data)


def test_too_many_steps(monkeypatch):
    monkeypatch.setattr("scribble_tools.trust.plain_pickle.MOST_STEPS", 10)
    with pytest.raises(NotPlain, match="more than 10 steps"):
        read_plain_pickle(pickle.dumps([1] * 100, 2))


def test_a_tensor_larger_than_what_is_stored_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"x": torch.zeros(1).expand(1 << 40)}, path)  # 4 TB when it is used
    with pytest.raises(ValueError, match="shows more than the 1 stored"):
        read_checkpoint(path)
    torch.save({"x": torch.zeros(10)}, path)
    data = pickle_of(path)
    assert data.count(b"K\x0a") == 2  # the storage's length and the tensor's
    replace_pickle(path, data.replace(b"K\x0a", b"K\x0b"))
    with pytest.raises(ValueError, match="tensor data 0 is missing or of another size"):
        read_checkpoint(path)


def test_damaged_weights_are_noticed(saved):
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        info = archive.getinfo("checkpoint_final/data/0")
    lengths = struct.unpack_from("<2H", content, info.header_offset + 26)
    place = info.header_offset + 30 + sum(lengths)
    content[place] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ValueError, match="checksum of checkpoint_final/data/0"):
        read_checkpoint(saved)
    assert read_checkpoint(saved, checksums=False).content["seed"] == 2**64 - 1


def test_archives_that_two_readers_see_differently_are_refused(saved, tmp_path):
    whole = saved.read_bytes()
    other = tmp_path / "other.pth"
    evil = pickle.dumps(Evil(os.system, "true"), 2)
    saved.write_bytes(whole + b"x")
    with pytest.raises(ValueError, match="after its end"):
        read_checkpoint(saved)
    saved.write_bytes(whole + whole)
    with pytest.raises(ValueError, match="not where it should be"):
        read_checkpoint(saved)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.writestr("a/DATA.pkl", evil)  # torch takes upper and lower case for the same
    with pytest.raises(ValueError, match="which no checkpoint has"):
        read_checkpoint(other)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.writestr("b/data.pkl", evil)
    with pytest.raises(ValueError, match="two parts of one name"):
        read_checkpoint(other)
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.writestr("a/data/0", bytes(1 << 20))
    with pytest.raises(ValueError, match="packed"):
        read_checkpoint(other)


def test_large_archives_with_their_longer_directory(saved, monkeypatch):
    with zipfile.ZipFile(saved) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert b"PK\x06\x06" in saved.read_bytes()
    assert read_checkpoint(saved).content["seed"] == 2**64 - 1


def test_places_that_are_no_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_checkpoint(tmp_path / "none.pth")
    os.mkfifo(tmp_path / "pipe.pth")
    for path in (tmp_path, tmp_path / "pipe.pth", Path("/dev/zero")):
        with pytest.raises(ValueError, match="is no file"):
            read_checkpoint(path)


def test_damaged_checkpoints_give_one_error_or_what_torch_reads(tmp_path):
    """Of files with changed bytes those that pass are read by torch too, with the same content."""
    path = tmp_path / "checkpoint_final.pth"
    state = training_state()
    for name in ("array", "logging", "names"):  # torch's reader of plain data refuses numpy's
        del state[name]
    torch.save(state, path)
    whole, rng = path.read_bytes(), random.Random(0)
    data = pickle_of(path)
    passed = 0
    for number in range(400):
        if number % 2:
            content = bytearray(whole)
            places = range(len(whole))
        else:
            content, places = bytearray(data), range(len(data))
        for place in rng.sample(places, rng.randint(1, 3)):
            content[place] = rng.randrange(256)
        if number % 2:
            path.write_bytes(content)
        else:
            path.write_bytes(whole)
            replace_pickle(path, bytes(content))
        try:
            found = read_checkpoint(path, checksums=bool(number % 4)).content
        except ValueError as error:
            assert str(path) in str(error)
            continue
        try:
            expected = torch.load(path, map_location="cpu", weights_only=True)
        except RuntimeError as error:
            assert number % 2 and "zip archive" in str(error)
            continue
        passed += 1
        assert_same(found, expected)
    assert 20 < passed < 380


def test_the_weights_come_as_torch_saved_them(tmp_path):
    path = tmp_path / "a.pth"
    state = OrderedDict(a=torch.arange(4.0), b=torch.zeros(2, 3))
    torch.save(state, path)
    found = load_checkpoint(path)
    assert all(torch.equal(found[key], state[key]) for key in state)
    numbers = {"logging": [np.float64(1), np.float32(0.5), np.int64(3)]}
    torch.save(numbers, path)
    assert load_checkpoint(path) == numbers
    torch.save({"array": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="no checkpoint that torch reads as data"):
        load_checkpoint(path)
