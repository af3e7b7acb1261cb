"""docs/api.md names functions that exist, and the example of each runs as it is written."""

import doctest
import importlib
import re
import tempfile
from pathlib import Path

import pytest

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "api.md").read_text(encoding="utf-8")


def names_in(section: str) -> list[str]:
    """The names in a section's table, in full: its head may have the first part of all of them."""
    _, _, text = TEXT.partition(f"## {section}\n")
    rows = re.findall(r"^\| `([\w.]+)` \|", text.partition("\n## ")[0], re.M)
    front = rows.pop(0) if rows and rows[0].endswith(".") else ""
    return [front + row for row in rows]


WITH_EXAMPLE = names_in("Data") + names_in("The method")


def test_the_page_is_read():
    assert len(WITH_EXAMPLE) > 20 and len(names_in("With a trained model")) > 4
    assert WITH_EXAMPLE[0] == "scribble_tools.demo.command.make_demo_data"
    assert len(set(WITH_EXAMPLE)) == len(WITH_EXAMPLE)


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_example(name, monkeypatch, tmp_path):
    module_name, _, function = name.rpartition(".")
    module = importlib.import_module(module_name)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = doctest.DocTestFinder(recurse=False).find(
        getattr(module, function), function, module, globs=dict(vars(module))
    )
    (test,) = [test for test in found if test.examples]
    printed = []
    result = doctest.DocTestRunner().run(test, out=printed.append)
    assert result.attempted and not result.failed, "".join(printed)


@pytest.mark.parametrize("name", names_in("With a trained model"))
def test_name_exists_and_is_described(name):
    module_name, _, function = name.rpartition(".")
    assert getattr(importlib.import_module(module_name), function).__doc__
