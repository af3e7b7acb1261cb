"""From the words of a command line to a command's options."""

from __future__ import annotations

import argparse
import math
from dataclasses import fields
from typing import TypeVar

T = TypeVar("T")


def positive_int(text: str) -> int:
    """A number of things of which there must be one.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no integer, or below 1.
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return value


def positive_float(text: str) -> float:
    """A size or a time.

    Raises:
        argparse.ArgumentTypeError: ``text`` is no number, not above 0, or not finite.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def options_of(kind: type[T], arguments: argparse.Namespace) -> T:
    """A command's options: each field of the dataclass is the argument of that name.

    Args:
        kind: the dataclass.
        arguments: parsed; there may be others.
    """
    return kind(**{field.name: getattr(arguments, field.name) for field in fields(kind)})
