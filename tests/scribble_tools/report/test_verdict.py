"""What a report says first."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scribble_tools.cli import main
from scribble_tools.evaluate.scores import METRICS
from scribble_tools.report.data import gather
from scribble_tools.report.tables import DISAGREEMENT
from scribble_tools.report.verdict import _worst_class, difference, title_of, verdict
from scribble_tools.text_tables import natural
from tests.scribble_tools.report.example import (
    CASES,
    dense,
    make_dataset,
    make_model,
    make_predictions,
    write,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("verdict")
    dataset = make_dataset(root)
    fold = make_model(root, "Ours", CASES)
    other = make_predictions(root / "other", CASES, offset=1)
    return gather(dataset, fold.parent, other=other, num_processes=1)


def test_the_title_says_what_was_segmented_by_what(data):
    assert title_of(data) == "Organs: 4 cases segmented by Ours, compared with the folder other"


def test_the_worst_case_is_first_and_the_median_in_the_middle(data):
    assert [data.cases[row] for row in data.worst_first] == ["p3_a", "p2_a", "p1_b", "p1_a"]
    assert data.typical[0] == data.cases[data.median] == "p1_b"
    assert data.typical[1][8:12] == b"WEBP"


def test_the_verdict_names_weakest_class_worst_case_faults_and_the_difference(data):
    sentences = verdict(data)
    dice = data.prediction.tables["dice"].statistics
    assert sentences[0] == f"Mean Dice over 4 cases is {dice[-1]['mean']:.3f}."
    assert sentences[1].startswith("Weakest is organ, ")
    assert sentences[2].startswith("The worst case is p3_a, 0.8")
    assert any("1.5 islands per case" in sentence for sentence in sentences)
    assert sentences[-1].startswith("Against the other, other: no clear difference in Dice (0.0")
    assert sentences[-1].endswith("better in 4, worse in 0 of 4 cases: too few cases to be sure.")


def test_a_class_of_a_wrong_size_is_said_to_be():
    rows = [{"mean": 25.0}, {"mean": -80.0}, {"mean": 3.0}, {"mean": 0.0}]
    calm = [{"mean": math.nan}] * 4
    tables = {
        "dice": SimpleNamespace(
            metric=SimpleNamespace(name="dice", title="Dice", better="higher", decimals=3),
            statistics=calm,
            overall=np.array([math.nan]),
        ),
        "volume_error_percent": SimpleNamespace(statistics=rows),
        "islands": SimpleNamespace(statistics=calm),
    }
    prediction = SimpleNamespace(tables=tables, scores=[SimpleNamespace(outcome="missed")])
    fake = SimpleNamespace(
        prediction=prediction,
        classes=("RV", "MYO", "LV"),
        cases=("a",),
        ranking=tables["dice"],
        compared=(),
        roles={},
    )
    assert verdict(fake) == [
        "Predicted too large on average: RV (+25 %).",
        "Predicted too small on average: MYO (-80 %).",
        "A class that is there was missed altogether 1 time.",
    ]


@pytest.mark.parametrize(
    ("name", "means", "classes", "said"),
    [
        ("dice", (0.5, 0.25), ("RV", "LV"), "Weakest is LV, 0.250."),
        ("dice", (0.0, 0.0), ("RV", "LV"), "Nothing of any class was found."),
        ("dice", (0.0, math.nan), ("RV", "LV"), "Nothing of it was found."),
        ("dice", (0.8, 0.8), ("RV", "LV"), ""),
        ("disagreement_percent", (0.0, 0.0, 0.0), ("RV", "LV", "background"), ""),
        (
            "disagreement_percent",
            (1.0, 2.0, 9.0),
            ("RV", "LV", "background"),
            "Weakest is LV, 2.00.",
        ),
    ],
)
def test_the_weakest_class(name, means, classes, said):
    metric = next(m for m in (*METRICS, DISAGREEMENT) if m.name == name)
    rows = [{"mean": mean} for mean in (*means, 0.0)]
    assert _worst_class(SimpleNamespace(metric=metric, statistics=rows), classes) == said


def test_a_difference_whose_interval_holds_0_is_none(data):
    title, numbers, _ = difference(data)
    assert title == "Dice"
    for low, said in ((-0.1, "no clear difference in Dice"), (0.01, "better by 0.0")):
        interval = {**numbers, "ci_low": low, "ci_high": 0.1}
        rows = [(None, data.ranking.metric, interval)]
        fake = SimpleNamespace(
            ranking=data.ranking,
            compared=rows,
            predictions=data.predictions,
            cases=data.cases,
            resampled=data.resampled,
        )
        sentence = difference(fake)[2]
        assert said in sentence and "too few" not in sentence


def test_names_sort_as_people_sort_them():
    names = ["case40", "case5", "Case10", "case3", "b", "a12b3", "a12b20", "7"]
    assert sorted(names, key=natural) == [
        *("7", "a12b3", "a12b20", "b"),
        *("case3", "case5", "Case10", "case40"),
    ]


def test_without_references_the_verdict_rests_on_the_strokes(tmp_path, capsys):
    dataset = make_dataset(tmp_path, reference=False)
    fold = make_model(tmp_path, "Ours", CASES)
    found = gather(dataset, fold.parent, num_processes=1)
    # without 1, 2 and 3 of the organ's 4 columns: of 16 voxels per slice 0, 0, 1 and 2 are wrong
    assert verdict(found)[:2] == [
        "On average 4.7 % of the strokes' voxels are predicted otherwise, most of organ: 19 % "
        "(4 cases).",
        "The worst case is p3_a, 12 %.",
    ]
    right = make_predictions(tmp_path / "right", CASES[:2])
    for path in right.glob("*.nii.gz"):
        write(path, dense())
    assert verdict(gather(dataset, predictions=right, num_processes=1))[1] == (
        "That is so in every case, so that their order here means nothing."
    )
    alone = gather(
        dataset, predictions=make_predictions(tmp_path / "alone", ["p1_a"], 2), num_processes=1
    )
    assert verdict(alone)[0] == (
        "6.2 % of the strokes' voxels in p1_a are predicted otherwise, most of organ: 25 %."
    )
    assert title_of(alone) == "Organs: 1 case of the folder alone"
    out = tmp_path / "report.html"
    words = ["report", "--dataset", str(dataset), "--model", str(fold.parent), "--out", str(out)]
    torch.save({"pclmix": {"num_epochs": 50}}, fold / "checkpoint_best.pth")
    assert main([*words, "-np", "1"]) == 0
    unfinished = "The training of fold 0 is not finished: 3 of 50 epochs are done."
    assert f"warning: {unfinished}" in capsys.readouterr().out
    assert "A typical case, the median" in out.read_text() and unfinished in out.read_text()
