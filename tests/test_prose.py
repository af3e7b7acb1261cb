"""Documents are plain to read: short lines, also in tables, and sentences of at most 25 words.

Of a sentence, code in backticks counts as one word, a link as its text; a table's cell, a list's
item and a paragraph end sentences. What stands in code blocks is no prose.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("*.md", "docs/**/*.md", "benchmarks/**/*.md")
DOCUMENTS = sorted(path for place in PLACES for path in ROOT.glob(place))
IDS = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
LONGEST_LINE = 120
WORDS = 25


def without_code(text: str) -> str:
    """A document without its blocks of code, fenced or indented after an empty line."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    return re.sub(r"(?<=\n)\n(?: {4,}\S.*\n| *\n)+", "\n\n", text)


def pieces(text: str) -> list[str]:
    """Paragraphs, items of lists, headings and cells of tables, each on one line."""
    text = re.sub(r"^\|?[-:| ]+\|$", "", text, flags=re.M)
    text = re.sub(r"^\|(.*)\|$", lambda row: "\n" + row[1].replace("|", "\n\n"), text, flags=re.M)
    text = re.sub(r"^(#+ .*|!\[.*)$", r"\n\1\n", text, flags=re.M)
    text = re.sub(r"^\s*(?:[-*]|\d+\.) ", "\n", text, flags=re.M)
    text = re.sub(r"\\$", "\n", text, flags=re.M)
    return [" ".join(piece.split()) for piece in re.split(r"\n\s*\n", text) if piece.strip()]


def sentences(piece: str) -> list[str]:
    """A full stop, a question or an exclamation mark before a space ends one, and the piece."""
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "CODE", piece))
    plain = re.sub(r"[*_]", "", plain)
    # of small letters, names alone begin a sentence
    return re.split(r"(?<=[.?!])[)\"]?\s+(?=[^a-z.,]|nnU-Net|\w+\.py)", plain)


def words(sentence: str) -> int:
    return len(re.findall(r"[^\s]*\w[^\s]*", sentence))


def too_long(text: str) -> list[str]:
    found = [s for piece in pieces(without_code(text)) for s in sentences(piece)]
    return [f"{words(s)} words: {s}" for s in found if words(s) > WORDS]


def test_the_check_sees_what_it_should():
    many = "one " * 13
    assert too_long(f"{many}\n{many}") and not too_long(f"{many}\n\n{many}")
    assert too_long(f"- a list\n- {many}\n  {many}") and not too_long(f"- {many}\n- {many}")
    assert too_long(f"| a | {many}{many} |\n|---|---|") and not too_long(f"| {many} | {many} |")
    assert not too_long(f"{many}. Then {many}") and too_long(f"{many} .83 {many}")
    assert not too_long(f"{'one ' * 24}`{many}{many}`") and not too_long(f"a\n\n    {many}{many}\n")
    assert not too_long(f"```\n{many}{many}\n```\n") and not too_long(f"[{many}](x y {many})")


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_lines_are_short(path):
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    assert not [f"{n}: {line}" for n, line in lines if len(line) > LONGEST_LINE]


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_sentences_are_short(path):
    assert not too_long(path.read_text(encoding="utf-8"))
