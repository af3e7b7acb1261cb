"""Pairs of scores: matched by case and class, counted, and drawn."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from scribble_tools.evaluate.comparison import (
    compare,
    distinct_names,
    format_comparison,
    format_comparison_markdown,
    paired_rows,
)
from scribble_tools.evaluate.comparison_picture import comparison_figure
from scribble_tools.evaluate.scores import METRICS, ClassScore


def score(case, label="organ", **values):
    best = {
        "dice": 1.0, "hd95_mm": 0.0, "islands": 0, "prediction_voxels": 9, "reference_voxels": 9,
        "diagonal_mm": 100.0, "assd_mm": 0.0, "surface_dice": 1.0, "volume_error_percent": 0.0,
        "volume_error_ml": 0.0, "islands_percent": 0.0,
    }  # fmt: skip
    return ClassScore(case=case, label=label, **(best | values))


def cases(dice, label="organ"):
    return [score(f"c{k}", label, dice=value) for k, value in enumerate(dice)]


def test_shuffled_cases_are_paired_by_name():
    ours, theirs = [0.9, 0.8, 0.7, 0.6], [0.5, 0.8, 0.8, 0.3]
    comparison = compare(cases(ours), [cases(theirs)[k] for k in (2, 0, 3, 1)])
    dice = comparison["per_class"]["organ"]["dice"]
    assert dice["mean"] == pytest.approx((0.4 + 0 - 0.1 + 0.3) / 4)
    assert (dice["better"], dice["worse"], dice["equal"], dice["n"]) == (2, 1, 1, 4)
    many = compare(cases([*ours, 0.5, 0.4]), cases([*theirs, 0.3, 0.5]))["overall"]["dice"]
    assert many["ci_low"] < many["mean"] < many["ci_high"]
    rows = [row for row in paired_rows(cases(ours), cases(theirs)[::-1]) if row["metric"] == "dice"]
    assert [row["case"] for row in rows] == ["c0", "c1", "c2", "c3"]
    assert [row["difference"] for row in rows] == pytest.approx([0.4, 0, -0.1, 0.3])
    assert [row["other"] for row in rows] == theirs


def test_cases_and_classes_on_one_side_only_are_all_listed():
    ours, theirs = cases([1, 1, 1]), cases([1, 1, 1])
    del theirs[1:]
    with pytest.raises(ValueError) as error:
        compare(ours, [*theirs, score("c0", "spot"), score("c9")])
    assert str(error.value).splitlines() == [
        "the same cases are needed on both sides:",
        "c1, class organ: only in the prediction",
        "c2, class organ: only in the prediction",
        "c0, class spot: only in the one it is compared with",
        "c9, class organ: only in the one it is compared with",
    ]


def test_lower_distances_and_fewer_islands_are_better():
    comparison = compare(
        [score("a", hd95_mm=3.0, islands=2), score("b", hd95_mm=9.0, islands=0)],
        [score("a", hd95_mm=5.0, islands=1), score("b", hd95_mm=9.0, islands=7)],
    )["per_class"]["organ"]
    hd95, islands = comparison["hd95_mm"], comparison["islands"]
    assert (hd95["mean"], hd95["better"], hd95["worse"], hd95["equal"]) == (-1, 1, 0, 1)
    assert (islands["mean"], islands["better"], islands["worse"]) == (-3, 1, 1)


def test_volume_errors_are_compared_without_their_signs():
    comparison = compare(
        [score("a", volume_error_ml=-2.0), score("b", volume_error_ml=1.0)],
        [score("a", volume_error_ml=5.0), score("b", volume_error_ml=-1.0)],
    )["per_class"]["organ"]["volume_error_ml"]
    assert comparison["mean"] == pytest.approx((2 - 5 + 0) / 2)
    assert (comparison["better"], comparison["worse"], comparison["equal"]) == (1, 0, 1)


MISSING = dict(hd95_mm=math.inf, assd_mm=math.inf)
ABSENT = dict(hd95_mm=math.nan, assd_mm=math.nan, dice=math.nan)


def test_pairs_that_lack_a_value_are_counted():
    ours = [
        score("a", hd95_mm=4.0),
        score("b", hd95_mm=6.0),
        score("c", **MISSING),
        score("d", **MISSING),
        score("e", **ABSENT),
    ]
    theirs = [
        score("a", hd95_mm=7.0),
        score("b", **MISSING),
        score("c", hd95_mm=1.0),
        score("d", **MISSING),
        score("e", **ABSENT),
    ]
    excluded, diagonal = (
        compare(ours, theirs, how)["per_class"]["organ"]["hd95_mm"]
        for how in ("exclude", "diagonal")
    )
    counted = ("only_prediction", "only_other", "neither", "n", "mean")
    assert [excluded[key] for key in counted] == [1, 1, 2, 1, -3]
    # with 100 mm: -3, -94, 99, 0
    assert [diagonal[key] for key in counted] == [0, 0, 1, 4, 0.5]
    assert [diagonal[key] for key in ("better", "worse", "equal")] == [2, 1, 1]
    text = format_comparison(compare(ours, theirs))
    assert "1 have a value only in PRED, 1 only in OTHER, 2 in neither" in text


def test_overall_is_each_cases_mean_over_classes():
    ours = cases([0.9, 0.8]) + cases([0.7, 0.6], "spot")
    theirs = cases([0.5, 0.8]) + cases([0.7, 0.8], "spot")
    overall = compare(ours, theirs)["overall"]["dice"]
    assert overall["mean"] == pytest.approx((0.2 - 0.1) / 2)
    assert (overall["better"], overall["worse"], overall["n"]) == (1, 1, 2)


def test_the_test_rests_on_patients():
    ours, theirs = cases([0.9, 0.8, 0.7, 0.9]), cases([0.5, 0.6, 0.6, 0.5])
    by_case, by_patient = (
        compare(ours, theirs, patients=patients)["overall"]["dice"]
        for patients in (None, dict(c0="p", c1="p", c2="q", c3="q"))
    )
    assert (by_case["wilcoxon_n"], by_patient["wilcoxon_n"]) == (4, 2)
    assert (by_case["wilcoxon_p"], by_patient["wilcoxon_p"]) == (2 / 2**4, 2 / 2**2)
    assert by_case["mean"] == by_patient["mean"]


def test_tables():
    comparison = compare(cases([0.9, 0.8]), cases([0.5, 0.8]))
    text = format_comparison(comparison)
    assert max(map(len, text.splitlines())) <= 100
    header, dice, *_ = text.splitlines()
    assert header.split()[:3] == ["class", "score", "pairs"]
    assert dice.split()[:4] == ["organ", "Dice", "2", "+0.200"]
    rows = format_comparison_markdown(comparison, ("ours", "theirs")).splitlines()
    rows = [row.strip("|").split("|") for row in rows if row.startswith("|")]
    assert len(rows) == 2 + 2 * len(METRICS)
    assert {len(row) for row in rows} == {12}


def test_distinct_names():
    a, b = Path("x/TrainerA/fold_0/validation"), Path("x/TrainerB/fold_0/validation")
    assert distinct_names(a, b) == ("TrainerA", "TrainerB")
    assert distinct_names(a / "v1", a / "v2") == ("v1", "v2")
    assert distinct_names(a, a) == ("validation", "validation")


def test_picture(tmp_path):
    rng = np.random.default_rng(0)
    names = [(f"c{k}", label) for k in range(6) for label in ("RV", "LV")]
    ours, theirs = (
        [score(*n, dice=rng.random(), hd95_mm=9 * rng.random()) for n in names] for _ in range(2)
    )
    theirs[0] = replace(theirs[0], **MISSING)
    figure = comparison_figure(ours, theirs, compare(ours, theirs), ("mine", "yours"))
    assert len(figure.axes) == 6
    assert "PRED: mine\nOTHER: yours\n6 cases" in "".join(t.get_text() for t in figure.texts)
    left, right = figure.axes[2:4]
    assert left.get_title().startswith("HD95 mm, lower is better (1 pair without a value")
    assert left.get_ylabel() == "HD95 mm"
    assert right.get_ylabel() == "difference of HD95 mm"
    assert right.get_title() == "PRED minus OTHER; mean and 95 % interval"
    few = [[own for own in side if own.case in ("c4", "c5")] for side in (ours, theirs)]
    of_few = comparison_figure(*few, compare(*few), ("mine", "yours"))
    assert of_few.axes[3].get_title() == "PRED minus OTHER; mean", "no interval is drawn"
    pairs, differences = of_few.axes[4:6]  # there are no islands at all
    assert pairs.get_ylim() == (-0.05, 1) and differences.get_ylim() == (-1, 1)
    for axis, labels in ((left, ["RV", "LV"]), (right, ["RV", "LV", "overall"])):
        assert [tick.get_text() for tick in axis.get_xticklabels()] == labels
    assert [len(c.get_segments()) for c in left.collections[::2]] == [5, 6]  # lines; dots between
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "PRED better", "PRED worse", "PRED equal", "mean",
    }  # fmt: skip
    figure.savefig(tmp_path / "comparison.png")
    assert imread(tmp_path / "comparison.png").std() > 0


def test_picture_without_a_single_pair(tmp_path):
    ours, theirs = [score("a"), score("b")], [score("a", **MISSING), score("b", **MISSING)]
    figure = comparison_figure(ours, theirs, compare(ours, theirs), ("mine", "yours"))
    figure.savefig(tmp_path / "comparison.png")
    assert "2 pairs without a value" in figure.axes[2].get_title()
