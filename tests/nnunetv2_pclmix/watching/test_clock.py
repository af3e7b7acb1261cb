"""How long a training takes, told by a clock of the test's own."""

import io

import pytest
import torch

from nnunetv2_pclmix.watching.clock import (
    ADVICE,
    EVERY_SECONDS,
    FIRST,
    FIRST_SECONDS,
    SLOW_START,
    TrainingClock,
)
from nnunetv2_pclmix.watching.durations import in_words
from nnunetv2_pclmix.watching.memory_use import peak_gb


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Run:
    """A training of which every iteration takes what it is told to."""

    def __init__(self, iterations=250, validation=60, epochs=20, screen=None, memory=None):
        self.time, self.log, self.screen = 0.0, [], screen or io.StringIO()
        now = lambda: self.time  # noqa: E731
        args = (iterations, validation, epochs, self.log.append, lambda: memory, self.screen, now)
        self.clock = TrainingClock(*args)
        self.iterations = iterations

    def epoch(self, number, seconds, after=0.0):
        self.clock.begin_epoch(number)
        for k in range(self.iterations):
            self.time += seconds(k) if callable(seconds) else seconds
            self.clock.iteration_done()
        self.time += after
        self.clock.end_epoch()


def test_the_first_fifty_iterations_tell_how_long_it_will_take():
    run = Run()
    slow_start = lambda k: 30.0 if k < SLOW_START else 0.4  # noqa: E731
    run.epoch(0, slow_start, after=8.0)
    first = run.log[0]
    assert "0.4 s per iteration" in first
    assert "An epoch will take about 1.8 min" in first  # 250 + 60 / 3 iterations of .4 s
    assert "the 20 epochs that are left about 36 min" in first
    assert ADVICE not in run.log


def test_memory_is_told_where_it_is_known():
    run = Run(memory=3.21)
    run.epoch(0, 0.4)
    assert "0.4 s per iteration and 3.2 GB of memory. An epoch" in run.log[0]
    assert 0.01 < peak_gb(torch.device("cpu")) < 1e4


def test_it_is_told_after_fifty_and_once():
    run = Run(iterations=FIRST - 1, epochs=3)
    run.clock.begin_epoch(0)
    for _ in range(FIRST - 1):
        run.time += 1
        run.clock.iteration_done()
    assert run.log == []
    run.clock.begin_epoch(1)
    for _ in range(FIRST - 1):
        run.time += 1
        run.clock.iteration_done()
    assert len(run.log) == 1 and "the 2 epochs that are left" in run.log[0]


def test_slow_iterations_are_not_silent_and_the_estimate_comes_earlier():
    run = Run(epochs=2)
    run.clock.begin_epoch(0)
    for _ in range(SLOW_START + 5):
        assert run.log == []
        run.time += 20.0
        run.clock.iteration_done()
    assert "20 s per iteration" in run.log[0]
    shown = run.screen.getvalue().splitlines()
    assert shown[0] == "epoch 1 of 2, iteration 1 of 250"


@pytest.mark.parametrize(("seconds", "advised"), [(1.0, False), (10.0, True)])
def test_weeks_come_with_advice(seconds, advised):
    run = Run(epochs=1000)
    run.epoch(0, seconds)
    assert (ADVICE in run.log) == advised
    assert "small-plans" in ADVICE and "--c" in ADVICE


def test_after_every_epoch_the_time_left_follows_from_it():
    run = Run(epochs=3)
    run.epoch(0, 0.1, after=5.0)
    run.epoch(1, 1.0, after=50.0)
    run.epoch(2, 1.0)
    left = [line for line in run.log if line.startswith("Time left")]
    assert left == ["Time left: about 60 s, 2 epochs", "Time left: about 5.0 min, 1 epoch"]


def test_progress_within_an_epoch_is_a_line_now_and_then_or_stays_in_place():
    for screen in (io.StringIO(), Terminal()):
        run = Run(epochs=2, screen=screen)
        run.epoch(0, 1.0, after=20.0)
        shown = screen.getvalue()
        if screen.isatty():
            assert "\n" not in shown and shown.count("\r") > 100
            assert shown.endswith(" \r")  # nothing stays behind
        else:
            first, *lines = shown.splitlines()
            assert first == f"epoch 1 of 2, iteration {FIRST_SECONDS:.0f} of 250"
            assert len(lines) == int((250 - FIRST_SECONDS) / EVERY_SECONDS)
            line = "epoch 1 of 2, iteration 130 of 250, 2.3 min left in the epoch"
            assert lines[1].startswith(line)
        assert not any("iteration 1" in line for line in run.log)  # the log is not filled with it


def test_an_epoch_that_goes_on_later_counts_from_there():
    run = Run(epochs=20)
    run.epoch(18, 0.4)
    assert "the 2 epochs that are left" in run.log[0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (65, "65 s"),
        (125, "2.1 min"),
        (90 * 60, "90 min"),
        (3 * 3600, "3.0 hours"),
        (5 * 86400, "5.0 days"),
        (35 * 86400, "5 weeks"),
    ],
)
def test_durations_in_words(seconds, words):
    assert in_words(seconds) == words
