"""How long a training will take, measured while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from nnunetv2_pclmix.watching.durations import in_words

FIRST = 50  # iterations after which the first estimate is given at the latest
SLOW_START = 10  # of them, in which caches fill and networks are compiled
ENOUGH_SECONDS, LEAST = 60.0, 5  # or after so long, and so many iterations, beyond the slow start
VALIDATION = 1 / 3  # of an iteration's time takes one without gradients
EVERY_SECONDS = 60.0  # between lines of progress where there is no terminal
FIRST_SECONDS = 10.0  # until the first of them: a training that is silent looks dead
TERMINAL_SECONDS = 1.0
WEEKS_SECONDS = 4 * 86400.0  # from here on something had better be done
ADVICE = (
    "That is long. What helps: a GPU (-device cuda); without one, smaller plans made for the time "
    "that you have (nnunetv2_pclmix small-plans DATASET --minutes 60); a shorter trainer "
    "(-tr NAME_20epochs, _100epochs, _250epochs). The training may be stopped now, and goes on "
    "later with --c from its last checkpoint"
)


class TrainingClock:
    """Tells the time left of an epoch and of a training.

    The first estimate is measured over the iterations from the `SLOW_START`-th to the `FIRST`-th,
    or over a minute where they are slow; later ones over whole epochs, with validation and
    pictures. Progress within an epoch goes to the screen only, the rest to the log.

    Args:
        iterations: training iterations of an epoch.
        validation: validation iterations of an epoch, which are faster.
        epochs: of the whole training.
        log: writes a line to the training's log and to the screen.
        memory_gb: the memory that is used, in 10^9 bytes; None where nothing tells.
        screen: for progress within an epoch.
        now: a clock, in seconds.
    """

    def __init__(
        self,
        iterations: int,
        validation: int,
        epochs: int,
        log: Callable[[str], None],
        memory_gb: Callable[[], float | None] = lambda: None,
        screen: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._iterations, self._validation, self._epochs = iterations, validation, epochs
        self._log, self._memory_gb, self._now = log, memory_gb, now
        self._screen = sys.stdout if screen is None else screen
        self._is_terminal = self._screen.isatty()
        self._epoch = self._done = self._seen = 0
        self._started = self._measured_from = self._last_line = self._now()
        self._spoken = False
        self._drawn = 0  # letters of the line that the terminal shows
        self._told = False

    def begin_epoch(self, epoch: int) -> None:
        """An epoch begins, counted from 0."""
        self._epoch, self._done = epoch, 0
        self._started = self._last_line = self._now()

    def iteration_done(self) -> None:
        """A training iteration has ended."""
        self._done += 1
        self._seen += 1
        now = self._now()
        if self._seen == min(SLOW_START, FIRST - 1):
            self._measured_from = now
        measured, seconds = self._seen - SLOW_START, now - self._measured_from
        slow = measured >= LEAST and seconds >= ENOUGH_SECONDS
        if not self._told and (self._seen == FIRST or slow):
            self._tell(seconds / measured)
        else:
            self._progress(now)

    def end_epoch(self) -> None:
        """An epoch has ended, with validation and all that belongs to it."""
        self._clear()
        seconds = self._now() - self._started
        left = self._epochs - self._epoch - 1
        if left > 0:
            self._told = True
            self._log(
                f"Time left: about {in_words(left * seconds)}, {left} epoch" + "s" * (left > 1)
            )

    def _tell(self, seconds: float) -> None:
        self._told = True
        epoch_seconds = seconds * (self._iterations + VALIDATION * self._validation)
        left = (self._epochs - self._epoch) * epoch_seconds
        used = self._memory_gb()
        memory = "" if used is None else f" and {used:.1f} GB of memory"
        rest = self._epochs - self._epoch
        self._log(
            f"Measured on this machine: {seconds:.2g} s per iteration{memory}. An epoch will take "
            f"about {in_words(epoch_seconds)}, the {rest} epochs that are left about "
            f"{in_words(left)}"
        )
        if left > WEEKS_SECONDS:
            self._log(ADVICE)

    def _progress(self, now: float) -> None:
        """Say within an epoch where it is: in place on a terminal, else a line now and then."""
        pause = EVERY_SECONDS if self._spoken else FIRST_SECONDS
        if now - self._last_line < (TERMINAL_SECONDS if self._is_terminal else pause):
            return
        self._last_line, self._spoken = now, True
        pace = (now - self._started) / self._done
        validation = VALIDATION * self._validation
        left = pace * (self._iterations - self._done + validation)
        # at today's pace: what was measured before says nothing of a machine that is busy since
        later = (self._epochs - self._epoch - 1) * pace * (self._iterations + validation)
        text = (
            f"epoch {self._epoch + 1} of {self._epochs}, iteration {self._done} of "
            f"{self._iterations}"
        )
        if self._told:
            times = in_words(left), in_words(left + later)
            text += f", {times[0]} left in the epoch, {times[1]} in the training"
        if self._is_terminal:
            self._screen.write("\r" + text.ljust(self._drawn))
            self._drawn = len(text)
        else:
            self._screen.write(text + "\n")
        self._screen.flush()

    def _clear(self) -> None:
        if self._drawn:
            self._screen.write("\r" + " " * self._drawn + "\r")
            self._drawn = 0
