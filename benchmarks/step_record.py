"""What is kept of a run of `step.py`, however it ends."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import torch
from machine import provenance
from synthetic_task import PLANS

from scribble_tools.dataset.writing import write_json


class Record:
    """All that was measured so far: in the JSON file from then on, with a line for the log."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.begin = args, time.monotonic()
        keys = ("size", "trainers", "rounds", "starts", "threads", "clock")
        each = [section for section in args.sections if section != "startup"]
        missing = {name: list(each) for name in args.plans}
        if "startup" in args.sections:
            missing[args.plans[0]].append("startup")
        self.content: dict[str, Any] = {
            "plans": {name: vars(PLANS[args.size][name]) for name in args.plans},
            "results": {name: {} for name in args.plans},
            "startup": {},
            "missing": missing,
            "failed": {},
            "settings": {key: getattr(args, key) for key in keys},
            "minutes": 0.0,
            **provenance(torch.device(args.device)),
        }
        self.say("begins")
        self.save()

    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.begin

    def say(self, text: str) -> None:
        """With the time, so that a log tells what takes long from what hangs."""
        stamp = time.strftime("%H:%M:%S")
        print(f"{stamp}, {self.seconds():.1f} s: {text}", file=sys.stderr, flush=True)

    def save(self) -> None:
        """Write the file: the old one stays until the new one is complete."""
        self.content["minutes"] = round(self.seconds() / 60, 1)
        if self.args.out:
            write_json(self.content, self.args.out)

    @contextlib.contextmanager
    def attempt(self, plan: str, what: str) -> Iterator[None]:
        """A section, or the warm-up of a trainer: what fails is noted, and the rest goes on."""
        self.say(f"{plan}: {what} begins")
        try:
            yield
        except (Exception, TooLate) as error:
            if isinstance(error, Exception):
                traceback.print_exc()
            why = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            self.content["failed"].setdefault(plan, {})[what] = why
            self.say(f"{plan}: {what} failed")
        else:
            if what in self.content["missing"][plan]:
                self.content["missing"][plan].remove(what)
            self.say(f"{plan}: {what} ends")
        self.save()


class TooLate(BaseException):
    """No Exception: those are caught inside of torch.compile."""


@contextlib.contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Raise `TooLate` in what takes longer; again later where it was lost, as in a destructor."""

    def give_up(*_: Any) -> None:
        raise TooLate(f"not ready within {limit:.0f} s")

    if seconds is None:
        yield
        return
    limit = max(seconds, 0.001)
    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, limit, 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
