"""A training that is killed leaves no worker behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunetv2_pclmix.training import worker_end
from nnunetv2_pclmix.training.worker_end import EndsWithParent, end_with_parent

pytestmark = pytest.mark.slow

TRAINING = """
import multiprocessing, os, sys, time
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from nnunetv2_pclmix.training.worker_end import EndsWithParent

class Cases:
    identifiers = ["a"]
    def load_case(self, identifier):
        return os.getpid()

class Loader:
    def __init__(self):
        self.cases = EndsWithParent(Cases())
    def set_thread_id(self, number):
        pass
    def __iter__(self):
        return self
    def __next__(self):
        return {"pid": self.cases.load_case("a")}

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    batches = NonDetMultiThreadedAugmenter(Loader(), None, 2, 2, wait_time=0.01)
    seen = set()
    while len(seen) < 2:
        seen.add(next(batches)["pid"])
    time.sleep(3)  # longer than a worker waits before it looks for its training
    assert next(batches)["pid"] in seen
    print(*seen, flush=True)
    sys.stdin.read()  # trains on, until it is killed
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # of a container without init, the dead are not waited for


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize("start", ["fork", "forkserver"])
def test_workers_of_a_killed_training_end(start, tmp_path):
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    training = subprocess.Popen(
        [sys.executable, script, start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    workers = [int(word) for word in training.stdout.readline().split()]
    try:
        assert len(workers) == 2 and all(map(is_running, workers))
        training.send_signal(signal.SIGKILL)
        training.wait()
        for _ in range(600):  # at most a minute, mostly two seconds
            if not any(map(is_running, workers)):
                break
            time.sleep(0.1)
        assert not any(map(is_running, workers))
    finally:
        training.kill()
        for pid in filter(is_running, workers):
            os.kill(pid, signal.SIGKILL)


def test_a_process_of_its_own_is_left_alone(monkeypatch):
    monkeypatch.setattr(worker_end, "_watched_by", None)
    end_with_parent()
    assert worker_end._watched_by is None


def test_the_data_set_is_passed_on():
    class Cases:
        identifiers = ["a", "b"]

        def load_case(self, identifier):
            return f"case {identifier}"

    watched = EndsWithParent(Cases())
    assert watched.identifiers == ["a", "b"] and watched.load_case("b") == "case b"
