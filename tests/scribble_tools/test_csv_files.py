"""No cell of a table is a formula, numbers are numbers, and names are read back as they were."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

import scribble_tools
from scribble_tools import cli
from scribble_tools.convert.case_patients import read_patients
from scribble_tools.csv_files import plain_cell, safe_cell, write_csv
from scribble_tools.images.colour_tables import read_colour_table

FORMULAS = [
    '=HYPERLINK("http://a.b","c")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "＝1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_a_text(text):
    assert safe_cell(text) == f"'{text}" and plain_cell(safe_cell(text)) == text


@pytest.mark.parametrize(
    "value", [-1.5, -3, 0, float("-inf"), None, "", "-1.5", "+3", "CASE", "a=b"]
)
def test_numbers_and_names_stay(value):
    assert safe_cell(value) is value
    assert not isinstance(value, str) or plain_cell(value) == value


@given(st.text(alphabet="'=+-@\t1aＡ＝", max_size=6))
def test_what_was_written_is_read(text):
    written = safe_cell(text)
    assert plain_cell(written) == text
    assert not written.startswith(("=", "@", "\t")) and (
        written[:1] not in ("+", "-") or re.fullmatch(r"[+-]\d+", written)
    )


def test_tables_of_patients_and_colours_read_it_back(tmp_path):
    rows = [{"case": f"{text}", "patient": f"-p{k}"} for k, text in enumerate(FORMULAS[:4])]
    write_csv(rows, tmp_path / "p.csv", ("case", "patient"))
    assert read_patients(tmp_path / "p.csv") == {row["case"]: row["patient"] for row in rows}
    (tmp_path / "p.csv").write_text("case,patient\na,anna\nb,anna \nc , anna\nd,  \n")
    assert read_patients(tmp_path / "p.csv") == {"a": "anna", "b": "anna", "c": "anna", "d": ""}
    write_csv([{"colour": "#ff0000", "name": "=x"}], tmp_path / "c.csv", ("colour", "name"))
    assert "'=x" in (tmp_path / "c.csv").read_text()
    assert read_colour_table(tmp_path / "c.csv") == {"=x": 0xFF0000}


def test_evaluate_writes_no_formula(tmp_path):
    name = "=HYPERLINK(A1)"
    for folder, level in (("a", 1), ("b", 1), ("ref", 0)):
        (tmp_path / folder).mkdir()
        labels = np.ones((3, 8, 8), np.uint8)
        labels[:, level:4] = 2
        for case in (name, "-case"):
            path = tmp_path / folder / f"{case}.nii.gz"
            sitk.WriteImage(sitk.GetImageFromArray(labels), str(path))
    line = ["evaluate", str(tmp_path / "a"), str(tmp_path / "ref"), "--labels", "+organ=1", "@b=2"]
    line += ["--compare", str(tmp_path / "b"), "--out", str(tmp_path / "out"), "-np", "1"]
    assert cli.main(line) == 0
    tables = sorted((tmp_path / "out").glob("*.csv"))
    assert {table.name for table in tables} >= {"evaluation.csv", "comparison.csv"}
    for table in tables:
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {plain_cell(row["case"]) for row in rows} == {name, "-case"}
        for row in rows:
            for cell in row.values():
                assert cell[:1] not in ("=", "+", "@") and not cell.startswith("-c")
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        differences = [float(row["difference"]) for row in csv.DictReader(file)]
    assert len(differences) >= 4 and set(differences) == {0.0}


def test_all_tables_are_written_in_one_place():
    root = Path(scribble_tools.__file__).parents[1]
    for package in ("scribble_tools", "nnunetv2_pclmix"):
        for path in (root / package).rglob("*.py"):
            if path.name != "csv_files.py":
                assert not re.search(r"csv\.(writer|DictWriter)|to_csv", path.read_text()), path
