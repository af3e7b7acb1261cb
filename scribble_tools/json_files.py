"""Reading JSON files of any origin: what is in them is compared with what has to be in them.

nnU-Net's and our own files are edited by hand, cut off by full disks and sent by strangers. One
error names the file, each wrong key, what is there and what is expected; whoever reads a file
through `read_json` need not guard against other shapes. What each file has to hold is a *shape*,
see `scribble_tools.dataset.shapes`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

LARGEST = 64_000_000  # bytes; the record of 100 000 cases has a half of it
LARGEST_NUMBER = 1 << 63
DEEPEST = 50  # levels; nnU-Net's plans have 8, and Python's own limit is a crash
BYTE_ORDER_MARK = "\ufeff"
SAVE = "Save it as UTF-8 without byte order mark, as nnU-Net reads it"
SHOWN = 8  # problems of one file; a list of wrong entries is wrong in one way


_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")  # line breaks, what a terminal would obey


class Shape(Protocol):
    """What a value has to be."""

    words: str
    """The value in words, after "expected"."""

    def problems(self, value: object, where: str) -> Iterator[str]:
        """Yield a sentence for all that is wrong with ``value``, which lies at ``where``."""


def shown(value: object, length: int = 60) -> str:
    """A value as JSON on one line, cut off; whatever a terminal would obey is escaped."""
    text = json.dumps(value)
    return text if len(text) <= length else f"{text[: length - 4]} ..."


def below(where: str, key: str | int) -> str:
    """The place of a key below another: ``labels.tumour``, ``[3].train``, ``labels["a b"]``."""
    if isinstance(key, int):
        return f"{where}[{key}]"
    plain = re.fullmatch(r"[\w-]+", key, re.ASCII)
    return f"{where}.{key}".lstrip(".") if plain else f"{where}[{shown(key)}]"


def _unlike(value: object, where: str, words: str) -> str:
    return f"{where or 'the content'} is {shown(value)}; expected {words}"


@dataclass(frozen=True)
class Text:
    """Text on one line that is not empty, and follows ``pattern`` if there is one."""

    words: str = "text"
    pattern: str = ""

    def problems(self, value: object, where: str) -> Iterator[str]:
        """See `Shape`."""
        right = isinstance(value, str) and value and not _CONTROL.search(value)
        if not right or self.pattern and not re.fullmatch(self.pattern, value):
            yield _unlike(value, where, self.words)


@dataclass(frozen=True)
class Whole:
    """A whole number from ``least`` on; 3.0 and true are none."""

    least: int | None = None

    @property
    def words(self) -> str:
        """See `Shape`."""
        return "a whole number" + ("" if self.least is None else f" from {self.least} on")

    def problems(self, value: object, where: str) -> Iterator[str]:
        """See `Shape`."""
        right = isinstance(value, int) and not isinstance(value, bool)
        if not right or self.least is not None and value < self.least:
            yield _unlike(value, where, self.words)


@dataclass(frozen=True)
class Number:
    """A number."""

    words: str = "a number"

    def problems(self, value: object, where: str) -> Iterator[str]:
        """See `Shape`."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            yield _unlike(value, where, self.words)


@dataclass(frozen=True)
class Truth:
    """True or false."""

    words: str = "true or false"

    def problems(self, value: object, where: str) -> Iterator[str]:
        """See `Shape`."""
        if not isinstance(value, bool):
            yield _unlike(value, where, self.words)


@dataclass(frozen=True)
class Anything:
    """Whatever JSON can say."""

    words: str = "anything"

    def problems(self, value: object, where: str) -> Iterator[str]:
        """See `Shape`."""
        yield from ()


@dataclass(frozen=True)
class Either:
    """What fits one of two shapes or more."""

    shapes: tuple[Shape, ...]
    what: str = ""
    """What the value is, where "ONE or OTHER" would not say it."""

    @property
    def words(self) -> str:
        """See `Shape`."""
        return self.what or " or ".join(shape.words for shape in self.shapes)

    def problems(self, value: object, where: str) -> Iterator[str]:
        """See `Shape`."""
        if not any(next(shape.problems(value, where), None) is None for shape in self.shapes):
            yield _unlike(value, where, self.words)


@dataclass(frozen=True)
class ListOf:
    """A list of at least ``least`` values of one shape."""

    item: Shape
    least: int = 0
    what: str = ""
    """What the list is, where "a list of ITEM" would not say it."""

    @property
    def words(self) -> str:
        """See `Shape`."""
        least = f" ({self.least} or more)" if self.least else ""
        return (self.what or f"a list, each {self.item.words}") + least

    def problems(self, value: object, where: str) -> Iterator[str]:
        """See `Shape`."""
        if not isinstance(value, list) or len(value) < self.least:
            yield _unlike(value, where, self.words)
            return
        for number, item in enumerate(value):
            yield from self.item.problems(item, below(where, number))


@dataclass(frozen=True)
class Record:
    """Keys and values: some required, some of a known shape if they are there, others as said."""

    required: Mapping[str, Shape] = field(default_factory=dict)
    optional: Mapping[str, Shape] = field(default_factory=dict)
    others: Shape = Anything()
    words: str = "keys and values in braces"
    most: int | None = None
    """So many keys there may be."""

    def problems(self, value: object, where: str) -> Iterator[str]:
        """See `Shape`."""
        if not isinstance(value, dict):
            yield _unlike(value, where, self.words)
            return
        if self.most is not None and len(value) > self.most:
            yield f"{where or 'the content'} has {len(value)} entries; expected at most {self.most}"
            return
        for key, shape in self.required.items():
            if key not in value:
                yield f"{below(where, key)} is missing; expected {shape.words}"
        known = {**self.optional, **self.required}
        for key, entry in value.items():
            yield from known.get(key, self.others).problems(entry, below(where, key))


def read_json(path: Path, shape: Shape | None = None) -> Any:
    """Read a JSON file whose content has the given shape (default: any).

    Numbers are finite, no key stands twice, and no level lies deeper than `DEEPEST`.

    Raises:
        OSError: there is no such file, or it cannot be opened.
        ValueError: it is no JSON, or not of this shape; the message names file, keys, what is there
            and what is expected.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file")  # a pipe would make us wait for ever
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"{path} has {size} bytes, which no such file has: is it another file?")
    try:
        text = path.read_text(encoding="utf-8")
        if text.startswith(BYTE_ORDER_MARK):
            raise ValueError(f"it begins with a byte order mark. {SAVE}")
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}. {SAVE}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested more than {DEEPEST} levels deep") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from None
    if problems := problems_of(content, shape):
        raise ValueError(in_words(path, problems))
    return content


def problems_of(content: object, shape: Shape | None = None) -> list[str]:
    """All that is wrong with the content of a JSON file, a sentence each; none if it is right."""
    return [*_unusual(content)] or [*(shape.problems(content, "") if shape else ())]


def in_words(path: Path, problems: list[str]) -> str:
    """The problems of a file as one message."""
    if len(problems) == 1:
        return f"{path}: {problems[0]}"
    lines = problems[:SHOWN]
    if hidden := len(problems) - len(lines):
        lines = [*lines, f"and {hidden} more"]
    return "\n  ".join([f"{path}:", *lines])


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; Python's own reader would take the last of two equal keys."""
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {shown(twice)} stands twice in one pair of braces")
    return content


def _unusual(content: object) -> Iterator[str]:
    """What no file of ours or nnU-Net's holds, and what would surprise code further on."""
    todo = [(content, "", 0)]
    while todo:  # no recursion: the depth is what is to be found out
        value, where, depth = todo.pop()
        if depth > DEEPEST:
            yield f"{where[:40]}... is nested more than {DEEPEST} levels deep"
            return
        if isinstance(value, dict):
            todo += [(entry, below(where, key), depth + 1) for key, entry in value.items()]
            yield from (_broken(key, where) for key in value if _is_broken(key))
            yield from (
                f"{where or 'the content'} has the key {shown(key)}, which is no text on one line"
                for key in value
                if _CONTROL.search(key)
            )
        elif isinstance(value, list):
            todo += [(entry, below(where, i), depth + 1) for i, entry in enumerate(value)]
        elif isinstance(value, float) and not math.isfinite(value):
            yield _unlike(value, where, "a finite number")
        elif isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
            yield _unlike(value, where, "a number below 2^63")
        elif isinstance(value, str) and _is_broken(value):
            yield _broken(value, where)


def _is_broken(text: str) -> bool:
    """Whether half of a character stands in the text, which cannot be printed or written."""
    return not text.isascii() and re.search("[\ud800-\udfff]", text) is not None


def _broken(text: str, where: str) -> str:
    return f"{where or 'the content'} holds {shown(text)}, which is no text"
