"""Tables of score.py's rows: closed forms of means, paired differences and shares of a bound."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks" / "accuracy"
PARTS = ["background", "wall", "cavity"]


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import table

    return table


def scored(dice, missed, volume):
    """Both kinds of a row's scores.

    Args:
        dice: by case, of both classes.
        missed: by case, of 10 voxels of the cavity those that are called wall.
        volume: by case, of the cavity, in per cent; the wall's is 0.
    """
    mean = float(np.mean([value for value in dice.values() if value is not None] or [0]))
    overall = {"dice": mean, "hd95_mm": 2.0, "islands_per_case": 1.0, "missed": 0, "invented": 0}
    cases = [
        [case, name, value, 2.0, 0, volume[case] if name == "cavity" else 0.0]
        for case, value in dice.items()
        for name in PARTS[1:]
    ]
    counts = {c: [[90, 0, 0], [0, 20, 0], [0, m, 10 - m]] for c, m in missed.items()}
    return {
        "summary": {"overall": overall},
        "cases": cases,
        "confusion": {"parts": PARTS, "cases": counts},
    }


def row(trainer, seed, dice, missed=None, volume=None, dataset="Dataset031_Crop", epochs=10):
    missed = missed or dict.fromkeys(dice, 0)
    volume = volume or dict.fromkeys(dice, 0.0)
    kinds = {kind: scored(dice, missed, volume) for kind in ("raw", "largest_component")}
    return {
        "dataset": dataset,
        "fold": 0,
        "trainer": trainer,
        "plans": "nnUNetPlans_crop",
        "seed": seed,
        "epochs": epochs,
        "iterations_per_epoch": 100,
        "seconds_of_the_last_run": 120,
        "settings": [],
        **kinds,
    }


def write(rows, path):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def printed_tables(text):
    """Every table as lists of cells."""
    blocks = [block for block in text.split("\n\n") if block.strip()]
    return [
        [line.strip("|").split("|") for line in block.strip().splitlines() if "---" not in line]
        for block in blocks
    ]


OURS = [
    row("Ours", 0, {"p1_a": 0.9, "p1_b": 0.9, "p2_a": 0.8}, {"p1_a": 1, "p1_b": 1, "p2_a": 1}),
    row("Ours", 1, {"p1_a": 0.7, "p1_b": 0.7, "p2_a": 0.8}, {"p1_a": 3, "p1_b": 3, "p2_a": 1}),
]
STOCK = [
    row(
        "Stock",
        0,
        {"p1_a": 0.7, "p1_b": 0.7, "p2_a": 0.8},
        {"p1_a": 4, "p1_b": 4, "p2_a": 1},
        {"p1_a": -40.0, "p1_b": -40.0, "p2_a": 20.0},
    )
]
DENSE = [row("Stock", 0, {"p1_a": 1.0, "p1_b": 1.0, "p2_a": 0.8}, dataset="Dataset032_Dense")]


def test_means_over_seeds_and_the_band(table, tmp_path, capsys):
    table.main([write(OURS + STOCK, tmp_path / "rows.jsonl")])
    means, band = printed_tables(capsys.readouterr().out)
    # of the seeds, .8667 and .7333
    assert means[1][:7] == ["Crop", "crop", "Ours", "1000", "0 1", "2.0", "0.800 ± 0.094"]
    assert band[0][4:] == ["cavity as wall, %", "volume error wall, %", "volume error cavity, %"]
    # 3 and 7 of 30 voxels
    assert band[1][4] == "16.7 ± 9.4"
    assert band[2][4:] == ["30.0", "+0.0", "-20.0"]


def test_differences_average_seeds_first_and_resample_patients(table, tmp_path, capsys):
    file = write(OURS + STOCK, tmp_path / "rows.jsonl")
    table.main([file, "--against", "Stock", "--patient-regex", "(.*)_"])
    found = printed_tables(capsys.readouterr().out)[-1]
    cells = {line[0]: line[1] for line in found}
    # +.1 in both volumes of the first patient, 0 in the second one's; resamples hold one or both
    assert cells["Dice"] == "+0.067 [+0.000, +0.100], 2 of 3 better"
    # 10 of 60 voxels (two seeds) and 9 of 30; of the patients alone 10 % and 10 %, 20 % and 40 %
    assert cells["cavity as wall, %"] == "-13.3 [-20.0, +0.0], 2 of 3 better"
    # -40, -40 and 20: by absolute values, or these would cancel
    assert cells["absolute volume error cavity, %"] == "-33.3 [-40.0, -20.0], 3 of 3 better"
    assert found[0] == ["Crop, crop: difference to Stock 1000", "Ours 1000"]


def test_share_of_the_bound(table, tmp_path, capsys):
    files = [write(OURS + STOCK, tmp_path / "a.jsonl"), write(DENSE, tmp_path / "b.jsonl")]
    table.main([*files, "--bound", "Dense:Stock", "--patient-regex", "(.*)_"])
    means, band = printed_tables(capsys.readouterr().out)
    shares = {(line[0], line[2]): line[-1] for line in means}
    # (.8 + .8 + .8) / 2.8; of the patients 80 % and 100 %
    assert shares["Crop", "Ours"] == "85.7 [80.0, 100.0]"
    assert shares["Dense", "Stock"] == "100.0 [100.0, 100.0]"
    assert [line[0] for line in band] == ["data", "Crop", "Crop", "Dense"]  # in one table


def test_a_bound_of_another_length_is_said(table, tmp_path, capsys):
    longer = [{**DENSE[0], "epochs": epochs} for epochs in (20, 30)]
    file = write(OURS + longer, tmp_path / "rows.jsonl")
    table.main([file, "--bound", "Dense:Stock"])
    assert "85.7 [80.0, 100.0] of 3000" in capsys.readouterr().out


def test_a_bound_that_is_not_one_line(table, tmp_path):
    file = write(OURS + STOCK + DENSE, tmp_path / "rows.jsonl")
    with pytest.raises(SystemExit, match="--bound Stock stands in several"):
        table.main([file, "--bound", "Stock"])
    with pytest.raises(SystemExit, match="--bound Mine is not there; there are Crop:Ours"):
        table.main([file, "--bound", "Mine"])


def test_rows_from_before_the_confusion(table, tmp_path, capsys):
    old = json.loads(json.dumps(OURS + STOCK))
    for entry in old:
        for kind in ("raw", "largest_component"):
            del entry[kind]["confusion"]
            entry[kind]["cases"] = [case[:5] for case in entry[kind]["cases"]]
    table.main([write(old, tmp_path / "old.jsonl"), "--against", "Stock"])
    means, differences = printed_tables(capsys.readouterr().out)
    assert len(means) == 3
    assert [line[0] for line in differences[1:]] == [measure.title for measure in table.SCORES]


def test_cases_without_a_value_are_left_out(table):
    ours = [row("Ours", 0, {"a": 0.9, "b": 0.5})]
    theirs = [row("Stock", 0, {"a": 0.8, "b": None, "c": 0.1})]
    paired = table.difference(ours, theirs, table.MEAN_DICE, "(?!)")
    assert paired.value == pytest.approx(0.1) and paired.cases == 1
    nothing = [row("Stock", 0, {"b": None})]
    assert table.difference(ours, nothing, table.MEAN_DICE, "(?!)") is None


def test_score_writes_what_the_tables_read(table, tmp_path):
    pytest.importorskip("torch")
    import score

    truth = np.zeros((1, 8, 8), np.uint8)
    truth[0, 1:7, 1:7], truth[0, 2:6, 2:6] = 1, 2
    predicted = truth.copy()
    predicted[0, 2, 2:6] = 1
    for folder, array in (("pred", predicted), ("ref", truth)):
        (tmp_path / folder).mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / folder / "a.nii.gz"))
    content = {
        "labels": {"background": 0, "wall": 1, "cavity": 2},
        "channel_names": {"0": "MR"},
        "file_ending": ".nii.gz",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    folders = tmp_path / "pred", tmp_path / "ref", tmp_path / "dataset.json"
    written = json.loads(json.dumps(score.scores(*folders, ["a"], False)))
    assert written["confusion"] == {
        "parts": PARTS,
        "cases": {"a": [[28, 0, 0], [0, 20, 0], [0, 4, 12]]},
    }
    assert [case[-1] for case in written["cases"]] == [20, -25]  # of the wall and the cavity
    summary = {(r["true"], r["predicted"]): r for r in written["summary"]["confusion"]}
    assert summary["cavity", "wall"]["percent"] == 25
    measure = table.Measure("", 1, -1, table.confusion("raw", "cavity", "wall"))
    assert measure.of_row({"raw": written}) == {"a": (400, 16)}
