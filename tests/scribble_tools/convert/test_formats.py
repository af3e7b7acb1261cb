"""One tuple of formats: command line, advice and the table of the documents come from it."""

import inspect
from pathlib import Path

import pytest

from scribble_tools import cli
from scribble_tools.convert.formats import FORMATS, Advice, Row, Seen, recognise, table
from scribble_tools.convert.source import Source
from scribble_tools.convert.target import Target

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_a_format_has_all_that_is_asked_of_it(known):
    assert issubclass(known.module.Options, Target)
    assert inspect.signature(known.module.source_of).return_annotation == Source.__name__
    assert known.documentation and all(isinstance(row, Row) for row in known.documentation)
    assert cli.COMMANDS["convert", known.name] == (known.module_name, known.summary)


def test_the_table_of_the_documents_is_that_of_the_formats():
    """If not: python -m scribble_tools.convert.formats prints it."""
    assert f"\n{table()}\n" in PAGE.read_text(encoding="utf-8")


def test_nothing_known_is_recognised_as_nothing(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    assert recognise(Seen(tmp_path, [tmp_path / "a.nii.gz"], [])) == []


def test_a_published_set_with_other_labels_is_not_that_set(tmp_path):
    scribble = tmp_path / "patient001_frame01_scribble.nii.gz"
    seen = Seen(tmp_path, [scribble], [])
    (advice,) = recognise(seen)
    assert advice.layout == "ACDC, scribbles as Valvano et al. name them"
    assert advice.command.startswith("scribble_tools convert acdc --images IMAGES --scribbles ")
    assert recognise(seen, drawn_anew=True) == []


def test_without_words_there_is_no_command():
    assert Advice("images").command == ""
