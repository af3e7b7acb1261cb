"""Commands in processes of their own, forked from one that has imported everything.

Deaths, aborts and hangs are those of a real process; only the imports are not repeated.
"""

import contextlib
import ctypes
import hashlib
import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.hostile.damage import SECRET

MOST_SECONDS = 60
MOST_SECONDS_OF_DYING = 10
MOST_BYTES = 24 << 30  # of addresses: a runaway ends itself, not the machine


@dataclass
class Outcome:
    """How a run ended: its exit status, or ``signal N`` or ``hang``, and what it printed."""

    end: int | str
    printed: str
    seconds: float


@dataclass
class Running:
    """A process that runs."""

    process: int
    began: float
    output: Path

    def wait(self, seconds: float = MOST_SECONDS) -> Outcome:
        """Wait for its end, or end it after so many seconds."""
        end: int | str = "hang"
        while time.monotonic() - self.began < seconds:
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                end = code if code >= 0 else f"signal {-code}"
                break
            time.sleep(0.005)
        else:
            self.kill()
            os.waitpid(self.process, 0)
        self.kill()  # what it left running
        self._bury()
        text = self.output.read_bytes().decode("utf-8", "replace")
        return Outcome(end, text, time.monotonic() - self.began)

    def _bury(self) -> None:
        """Wait until all that it started is gone: the dying still write. See `adopt_orphans`."""
        deadline = time.monotonic() + MOST_SECONDS_OF_DYING
        with contextlib.suppress(ChildProcessError):  # nobody is left
            while time.monotonic() < deadline:
                if os.waitpid(-self.process, os.WNOHANG) == (0, 0):
                    time.sleep(0.005)

    def kill(self) -> None:
        """End it and all that it started, at once."""
        try:
            os.killpg(self.process, signal.SIGKILL)
        except ProcessLookupError:
            pass


def adopt_orphans() -> None:
    """Be the parent of whoever's parent dies, so that the end of all of them can be waited for."""
    if sys.platform == "linux":
        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def start(
    words: tuple[str, ...], root: Path, largest_file: int | None = None, log: str = "log"
) -> Running:
    """Start a command in the world's folder.

    Args:
        largest_file: bytes after which a file cannot grow, as on a full disk.
    """
    output = root.parent / log
    output.touch()  # a kill may come before the process is there
    sys.stdout.flush()
    began = time.monotonic()
    process = os.fork()
    if process == 0:
        try:
            _become(words, root, output, largest_file)
        finally:
            os._exit(70)
    try:
        os.setpgid(process, process)
    except (PermissionError, ProcessLookupError):  # it has done so itself, or is gone
        pass
    return Running(process, began, output)


def _become(words: tuple[str, ...], root: Path, output: Path, largest_file: int | None) -> None:
    """Be the command; never returns."""
    os.setpgid(0, 0)
    os.chdir(root)
    out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    if largest_file is not None:
        # the log is not part of the experiment
        read_end, write_end = os.pipe()
        if os.fork() == 0:
            os.close(write_end)
            while piece := os.read(read_end, 65536):
                os.write(out, piece)
            os._exit(0)
        os.close(read_end)
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        os.close(write_end)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # a test's are files of pytest's
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    folders = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "pre", "nnUNet_results": "results"}
    os.environ.update({name: str(root / folder) for name, folder in folders.items()})
    os.environ.update(SECRET_TOKEN=SECRET, COLUMNS="120", HOME=str(root / "home"))
    code = 1
    try:
        if words[0] == "scribble_tools":
            from scribble_tools.cli import main
        else:
            from nnunetv2_pclmix.cli import main
        code = main(list(words[1:]))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    os._exit(code or 0)


def files_of(root: Path) -> dict[str, str]:
    """Every file, link and folder below a folder with what it holds, without what vanishes."""
    found = {}
    for parent, folders, names in os.walk(os.fsencode(root)):
        for name in (*folders, *names):
            path = os.path.join(parent, name)
            place = os.fsdecode(os.path.relpath(path, os.fsencode(root)))
            with contextlib.suppress(FileNotFoundError):
                found[place] = _held_by(path)
    return found


def _held_by(path: bytes) -> str:
    if os.path.islink(path):
        return f"link to {os.fsdecode(os.readlink(path))}"
    if os.path.isfile(path):
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    if os.path.isdir(path):
        return "folder"
    os.lstat(path)  # raises where it is gone
    return "special"
