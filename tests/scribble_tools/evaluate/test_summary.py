"""Means, counts and tables of scores that are known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from scribble_tools.dataset.label_set import LabelSet, parse_label_set
from scribble_tools.evaluate.scores import METRICS, evaluate_case
from scribble_tools.evaluate.summary import (
    Evaluation,
    format_markdown,
    format_table,
    summarise,
    value_table,
    write_report,
)
from scribble_tools.text_tables import markdown_table, number, text_table

ONE_CLASS = LabelSet({"organ": (1,)})


def four_cases():
    """One class in four cases: Dice 1, both empty, missed, invented."""
    scores = []
    for k, (predicted, expected) in enumerate([(1, 1), (0, 0), (0, 1), (1, 0)]):
        prediction, reference = np.zeros((1, 3, 4), np.uint8), np.zeros((1, 3, 4), np.uint8)
        prediction[0, 0, 0], reference[0, 0, 0] = predicted, expected
        scores += evaluate_case(f"c{k}", prediction, reference, (12, 1, 1), ONE_CLASS)
    return scores


def test_means_leave_out_what_is_undefined_and_count_it():
    organ = summarise(four_cases())["per_class"]["organ"]
    assert organ["dice"] == pytest.approx(1 / 3)  # 1, 0, 0; the empty pair is left out
    assert organ["hd95_mm"] == 0
    assert organ["hd95_cases"] == 1
    counts = [organ[k] for k in ("cases", "scored", "both_empty", "missed", "invented")]
    assert counts == [4, 1, 1, 1, 1]


def test_missing_hd95_can_enter_as_the_diagonal():
    organ = summarise(four_cases(), missing_hd95="diagonal")["per_class"]["organ"]
    assert organ["hd95_mm"] == pytest.approx((0 + 13 + 13) / 3)  # diagonal of 12, 3 and 4 mm
    assert organ["hd95_cases"] == 3
    with pytest.raises(ValueError, match="'zero'"):
        summarise(four_cases(), missing_hd95="zero")


def test_overall_means_classes_and_sums_islands():
    reference = np.array([[1, 1, 0, 2, 2, 0, 0]])
    prediction = np.array([[1, 0, 1, 2, 2, 0, 2]])
    scores = evaluate_case("c", prediction, reference, (1, 1), parse_label_set(["1", "2"]))
    overall = summarise(scores)["overall"]
    assert overall["dice"] == pytest.approx((2 / 4 + 4 / 5) / 2)
    assert overall["islands_per_case"] == 2


def test_every_score_has_its_statistics(two_are_enough):
    scores = four_cases()
    numbers = summarise(scores)["statistics"]["per_class"]["organ"]
    assert list(numbers) == [metric.name for metric in METRICS]
    dice = numbers["dice"]  # 1, none, 0, 0
    assert (dice["mean"], dice["median"], dice["n"]) == (pytest.approx(1 / 3), 0, 3)
    assert dice["sd"] == pytest.approx(math.sqrt(1 / 3))
    assert dice["ci_low"] == 0  # (2/3)^3 of all resamples of three hold no 1
    assert numbers["hd95_mm"]["n"] == numbers["assd_mm"]["n"] == 1
    assert numbers["surface_dice"]["mean"] == pytest.approx(1 / 3)
    assert numbers["volume_error_percent"]["mean"] == pytest.approx((0 - 100) / 2)  # scored, missed
    assert numbers["volume_error_ml"]["mean"] == pytest.approx(0)  # 0, -1 and 1 voxel
    assert numbers["volume_error_ml"]["n"] == 3
    assert numbers["islands"]["n"] == 4


def test_patients_are_drawn_with_all_their_cases(two_are_enough):
    scores = four_cases()
    by_case, by_patient = (
        summarise(scores, patients=patients)
        for patients in (None, {"c0": "a", "c1": "a", "c2": "b", "c3": "b"})
    )
    assert by_case["resampled"] == {"what": "cases", "n": 4}
    assert by_patient["resampled"] == {"what": "patients", "n": 2}
    assert by_case["overall"] == by_patient["overall"]
    dice = by_patient["statistics"]["overall"]["dice"]
    # a alone: 1; b alone: 0; both: 1/3
    assert (dice["ci_low"], dice["ci_high"]) == (0, 1)


def test_value_table_keeps_cases_and_classes_apart():
    scores = four_cases()
    scores += [replace(score, label="spot", dice=0.5) for score in scores[:2]]
    table = value_table(scores, "dice")
    assert table.shape == (4, 2)
    np.testing.assert_array_equal(table[:, 0], [1, math.nan, 0, 0])
    np.testing.assert_array_equal(table[:, 1], [0.5, 0.5, math.nan, math.nan])
    np.testing.assert_array_equal(
        value_table(scores[:4], "assd_mm", "diagonal")[:, 0], [0, math.nan, 13, 13]
    )


def test_the_table_shows_every_empty_case():
    table = format_table(summarise(four_cases()))
    _, counts, _ = table.split("\n\n")
    header, row, _ = counts.splitlines()
    assert header.split()[-5:] == ["cases", "missed", "invented", "both", "empty"]
    assert row.split()[-4:] == ["4", "1", "1", "1"]
    assert "missed or invented: 2, Dice and surface Dice 0, left out of the means of HD95" in table
    assert "both empty: 1, left out of all means" in table
    assert "95 % CI of the mean: none, 4 cases are too few (it takes 6)" in table
    with_diagonal = format_table(summarise(four_cases(), "diagonal"), "diagonal")
    assert "with the image's diagonal" in with_diagonal


def test_the_table_fits_into_100_columns():
    scores = [replace(s, label="a class of some length " * 3) for s in four_cases()]
    scores = [replace(s, volume_error_percent=-1e5 * (k + 1)) for k, s in enumerate(scores)]
    table = format_table(summarise(scores))
    assert max(map(len, table.splitlines())) <= 100
    assert "a class" in table
    assert ".." in table  # cut short
    assert "overall" in table


def parse_markdown(text):
    """The tables of a document: lists of {column: cell}."""
    tables, header = [], None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = None
        elif header is None:
            header = cells
            tables.append([])
        elif not set(line) <= set("|- :"):
            assert len(cells) == len(header)
            tables[-1].append(dict(zip(header, cells, strict=True)))
    return tables


def test_the_markdown_report_parses(tmp_path, two_are_enough):
    scores = four_cases()
    summary = summarise(scores)
    write_report(Evaluation(scores, {}, ONE_CLASS), summary, {"tolerance_mm": 2.0}, tmp_path, ())
    text = (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    assert "- tolerance mm: 2.0" in text
    statistics, counts = parse_markdown(text)
    assert len(statistics) == 2 * len(METRICS)
    assert [row["score"] for row in statistics[: len(METRICS)]] == [m.title for m in METRICS]
    first = statistics[0]
    assert (first["class"], first["n"], first["mean"], first["SD"]) == (
        "organ",
        "3",
        "0.333",
        "0.577",
    )
    assert first["95 % CI of the mean"] == "0.000 to 1.000"
    assert counts[0] == {
        "class": "organ", "cases": "4", "scored": "1", "both_empty": "1", "missed": "1",
        "invented": "1",
    }  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {
        "evaluation.csv",
        "evaluation.json",
        "evaluation.md",
    }


def test_a_class_called_overall_is_no_trouble():
    scores = [replace(score, label="overall") for score in four_cases()]
    summary = summarise(scores)
    assert list(summary["per_class"]) == ["overall"]
    assert format_markdown(summary, {}).count("| overall | Dice |") == 2


def test_settings_that_are_as_usual_are_left_out_of_the_document():
    usual = {"reference_labels": [], "keep_largest": False, "missing_hd95": "exclude"}
    usual |= {"ignore_label": None, "tolerance_mm": 0.0, "labels": {"RV": [1], "heart": [1, 2]}}
    text = format_markdown(summarise(four_cases()), usual)
    head = text.split("- confidence")[0]
    assert head == "# Evaluation\n\n- tolerance mm: 0.0\n- labels: RV=1, heart=1,2\n"
    set_ = {"reference_labels": ["RV=600"], "keep_largest": True, "missing_hd95": "diagonal"}
    text = format_markdown(summarise(four_cases()), set_)
    for line in ("reference labels: RV=600", "keep largest: True", "missing hd95: diagonal"):
        assert f"\n- {line}\n" in text


def test_numbers_and_tables():
    assert number(math.nan, 2) == "-"
    assert number(1.239, 2) == "1.24"
    assert number(-1234.5, 2, signed=True) == "-1234"
    assert number(3, 1, signed=True) == "+3.0"
    assert text_table(("a", "b"), [("xyz", 1), ("x", 22)]) == "a     b\nxyz   1\nx    22"
    beside = text_table(("a", "b" * 95), [("left ventricle", 1), ("left atrium", 22)])
    assert "left ventricle " in beside and "left atrium " in beside
    assert markdown_table(("a", "b"), [("x|y", 1)]).splitlines()[2] == "| x\\|y | 1 |"
