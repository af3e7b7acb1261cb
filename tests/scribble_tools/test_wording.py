"""Numbers with their nouns."""

import re
from pathlib import Path

from scribble_tools.wording import counted, some_of

PACKAGE = Path(__file__).resolve().parents[2] / "scribble_tools"
# printed for any number from 1 on; what stands behind "of" is mostly more
PLURAL = re.compile(r"(?<! of )\{len\([^{}]*\)\} (cases|patients|files|problems|places|folds)\b")


def test_one_is_singular():
    assert [counted(n, "case") for n in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]
    assert [counted(n, "file is", "files are") for n in (1, 3)] == ["1 file is", "3 files are"]


def test_the_first_of_many_are_named():
    assert [some_of(names) for names in ("", "ab", "abcde")] == ["", "a, b", "a, b, c and 2 more"]


def test_lengths_are_not_written_with_a_plural_of_their_own():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if PLURAL.search(line):
                wrong.append(f"{path.name}:{number}: {line.strip()}")
    assert not wrong
