"""A lock keeps a second writer out, names its holder, and ends with the process."""

import errno
import os
import signal
import sys

import pytest

from scribble_tools.storage.file_sets import written_together
from scribble_tools.storage.locks import Busy, locked


def hold_in_child(path):
    """A child that holds the lock until it is killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        sys.argv = ["scribble_tools", "convert", "my folder\x1b[31m"]
        with locked(path):
            os.write(write, b"x")
            signal.pause()
        os._exit(0)
    assert os.read(read, 1) == b"x"
    return child


def end(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_the_second_is_told_who_holds_it_and_a_kill_frees_it(tmp_path):
    path = tmp_path / ".x.lock"
    child = hold_in_child(path)
    try:
        with pytest.raises(Busy) as error, locked(path):
            raise AssertionError("not reached")
        message = str(error.value)
        assert f"process {child} on" in message
        assert "scribble_tools convert" in message
        assert "\x1b" not in message
        assert str(tmp_path) in message
    finally:
        end(child)
    assert path.exists()
    with locked(path) as lock:
        assert lock.left["pid"] == child
    assert not path.exists()


def test_a_forked_worker_does_not_hold_its_dead_parents_lock(tmp_path):
    path = tmp_path / ".x.lock"
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with locked(path):
            worker = os.fork()
            if worker == 0:
                signal.pause()
            os.write(write, str(worker).encode())
            signal.pause()
        os._exit(0)
    worker = int(os.read(read, 20))
    end(child)
    try:
        with locked(path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_within_a_process_a_lock_is_held_once(tmp_path):
    path = tmp_path / ".x.lock"
    with locked(path):
        with pytest.raises(Busy, match="this process is writing there already"), locked(path):
            raise AssertionError("not reached")
        with pytest.raises(Busy), locked(tmp_path / "." / ".x.lock"):
            raise AssertionError("not reached")
    with locked(path):
        pass


def test_a_link_device_pipe_or_folder_in_the_place_of_the_lock_is_not_touched(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / ".x.lock"
    for make in (
        lambda: path.symlink_to(victim),
        lambda: os.link(victim, path),
        lambda: os.mkfifo(path),
        lambda: path.mkdir(),
        lambda: path.symlink_to("/dev/null"),
    ):
        make()
        with pytest.raises(Busy, match="take it away"), locked(path):
            raise AssertionError("not reached")
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert victim.read_text() == "precious"


def test_a_second_writer_of_a_set_is_kept_out(tmp_path):
    child = hold_in_child(tmp_path / ".result.lock")
    try:
        with pytest.raises(Busy), written_together(tmp_path, "result"):
            raise AssertionError("not reached")
        with written_together(tmp_path, "another") as work:
            (work / "x").write_text("x")
    finally:
        end(child)
    assert (tmp_path / "x").read_text() == "x"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_in_is_named_and_no_hidden_file(
    tmp_path, monkeypatch, number
):
    def refused(path, *_):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(OSError) as error, locked(tmp_path / ".Dataset130.lock"):
        pass
    assert str(error.value) == f"cannot write in {tmp_path}: {os.strerror(number)}"
    assert isinstance(error.value, PermissionError) == (number == errno.EACCES)


def test_where_the_file_system_has_no_locks_writing_goes_on(tmp_path, monkeypatch):
    import fcntl

    def none(*arguments):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "lockf", none)
    with locked(tmp_path / ".x.lock"):
        pass
    assert os.listdir(tmp_path) == []
