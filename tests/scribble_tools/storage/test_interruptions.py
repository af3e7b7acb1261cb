"""What ends a command: SIGTERM, for it and for what it forked; an error as one message."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from scribble_tools.storage.interruptions import (
    Terminated,
    error_in_words,
    run_command,
    sigterm_raises,
)


def test_sigterm_is_raised_and_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), sigterm_raises():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_forked_process_has_no_handler_that_python_would_have_to_run():
    """One that waits for a lock for ever would not end by it, nor would its parent."""
    with sigterm_raises():
        child = os.fork()
        if child == 0:
            os._exit(0 if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL


EARLY = """
import os, signal, time
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
from scribble_tools.storage.interruptions import sigterm_raises
with sigterm_raises():
    if (child := os.fork()) == 0:
        time.sleep(60)  # as one of a pool waits for work
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WTERMSIG(status) == signal.SIGTERM, status
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""


def test_sigterm_ends_a_process_that_has_just_been_forked():
    """Before it has a handler of its own: it would be forgotten, and the process wait for ever."""
    subprocess.run([sys.executable, "-c", EARLY], check=True, timeout=30)


@pytest.mark.parametrize("below", ["out", "out/Dataset130_X", "out/e/.evaluation.lock"])
def test_a_file_where_a_folder_is_needed(tmp_path, capsys, below):
    (tmp_path / "out").write_text("mine")
    assert run_command("program", lambda: (tmp_path / below).mkdir()) == 1
    message = f"{tmp_path / 'out'} is a file where a folder is needed: give another path"
    assert capsys.readouterr().err == f"program: error: {message}\n"
    assert (tmp_path / "out").read_text() == "mine"


def test_errors_in_words(tmp_path):
    full = OSError(errno.ENOSPC, "No space", "a", None, "b")
    assert error_in_words(full).startswith("the disk is full (b could not be written). Nothing was")
    own = FileExistsError(f"{tmp_path} exists: say --overwrite")
    assert error_in_words(own) == str(own)
    assert error_in_words(ValueError("wrong")) == "wrong"


def test_a_reader_who_has_seen_enough_is_no_error():
    program = """if True:
        import sys
        from scribble_tools.storage.interruptions import run_command
        def run():
            for number in range(100_000):
                print(number)
            return 0
        sys.exit(run_command("program", run))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 128 + signal.SIGPIPE


def test_another_pipe_that_broke_is_one():
    def run():
        raise BrokenPipeError("a worker's")

    assert run_command("program", run) == 1
