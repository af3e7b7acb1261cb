"""The benchmark of `suggest`: strokes are taken away and given back, and all of it runs."""

import contextlib
import json
import types
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from scribble_tools.suggest.places import Place
from tests.conftest import DATASET

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks" / "suggest"
IGNORE = 3


@pytest.fixture
def bench(benchmarks, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_def_n_proc", "1")


def drawn():
    labels = np.full((2, 20, 20), IGNORE, np.uint8)
    labels[0, 2, 2:8], labels[0, 10, 2:8], labels[0, 15, 2:18] = 1, 1, 0
    labels[1, 2, 2:8], labels[1, 12, 2:8] = 1, 2
    labels[1, 18, 18] = 2  # a slip
    return labels


def place(case, number, row, column):
    return Place(case, number, (number, row, column), "far", {}, "", "", 0, 0, 1, 1, 1)


def test_strokes_are_found_one_by_one_and_drawn_again(bench):
    from hand_drawn import draw, strokes_of

    strokes = strokes_of("a", drawn(), IGNORE)
    assert [(s.slice, s.value, len(s.voxels)) for s in strokes] == [
        *((0, 0, 16), (0, 1, 6), (0, 1, 6)),
        *((1, 1, 6), (1, 2, 6)),
    ]
    again = draw(strokes, {"a": (2, 20, 20), "b": (1, 5, 5)}, IGNORE)
    expected = drawn()
    expected[1, 18, 18] = IGNORE
    np.testing.assert_array_equal(again["a"], expected)
    assert (again["b"] == IGNORE).all()


def test_a_beginning_has_every_class_and_is_the_seeds(bench):
    from hand_drawn import begin, strokes_of

    strokes = [s for case in "abcdefgh" for s in strokes_of(case, drawn(), IGNORE)]
    for seed in range(5):
        chosen = begin(strokes, 4, seed)
        assert len({s.key for s in chosen}) == 4 and {s.value for s in chosen} == {0, 1, 2}
        assert [s.key for s in chosen] == [s.key for s in begin(strokes, 4, seed)]
    assert len({tuple(s.key for s in begin(strokes, 4, seed)) for seed in range(5)}) > 1


def test_added_strokes_are_the_nearest_in_the_slice_then_the_next_then_random_ones(bench):
    from hand_drawn import add_as_suggested, add_at_random, strokes_of

    strokes = [s for case in "ab" for s in strokes_of(case, drawn(), IGNORE)]
    having = [s for s in strokes if s.case == "a" and s.slice == 0 and s.value == 0]
    places = [place("a", 0, 9, 4), place("b", 1, 11, 4)]
    spacing = {"a": (10.0, 1.0, 1.0), "b": (10.0, 1.0, 1.0)}

    def add(number):
        more, fillers = add_as_suggested(strokes, having, places, spacing, number, 0)
        return [(s.case, s.slice, s.value, int(s.voxels[0, 0])) for s in more], fillers

    nearest = [("a", 0, 1, 10), ("b", 1, 2, 12)]
    assert add(2) == (nearest, 0)
    assert add(4) == ([*nearest, ("a", 0, 1, 2), ("b", 1, 1, 2)], 0)
    more, fillers = add(9)
    assert len(set(more)) == 9 and fillers == 5
    assert add(20)[1] == 5, "there are no more"
    assert len(add_at_random(strokes, having, 3, 0)) == 3


def test_differences_are_of_one_seed_and_one_patient(bench):
    from run import differences

    def row(arm, seed, strokes, dice):
        return {"arm": arm, "seed": seed, "strokes": strokes, "dice_of_case": dice}

    patients = {"a1": "a", "a2": "a", "b1": "b"}
    rows = [row("start", 0, 5, dict.fromkeys(patients, 0.1))]
    for seed in (0, 1):
        rows.append(row("random", seed, 10, {"a1": 0.2, "a2": 0.4, "b1": 0.5}))
        gain = 0.1 * (seed + 1)
        rows.append(row("suggest", seed, 10, {"a1": 0.2 + gain, "a2": 0.4 + gain, "b1": 0.5}))
    rows.append(row("suggest", 0, 15, dict.fromkeys(patients, 0.9)))  # its pair has failed
    (line,) = differences(rows, patients)
    # of a .1 and .2, of b nothing: a counts once, though it has two cases
    assert line.startswith("10 strokes, suggest less random: +0.075 [+0.000, +0.200]")
    assert line.endswith("of the seeds +0.050, +0.100")


@pytest.mark.parametrize("going_on", [False, True])
def test_all_of_it_runs(bench, preprocessed, tmp_path, monkeypatch, capsys, going_on):
    import run
    import stage

    before = []

    def in_process(folder, workers):
        before.append(json.loads((folder / "stage.json").read_text())["goes_on_from"])
        with (folder / "log.txt").open("w") as log, contextlib.redirect_stdout(log):
            stage.main(folder)
        return types.SimpleNamespace(poll=lambda: 0, returncode=0)

    monkeypatch.setattr(run, "start_stage", in_process)
    words = "--seeds 1 --rounds 1 --share 0.3 --epochs 1 --iterations 2 --patch 32 32 --batch 2"
    out = tmp_path / "out"
    dataset = preprocessed / "nnUNet_raw" / DATASET
    words += " --features 8 16 32" + " --go-on 1" * going_on
    run.main([str(dataset), "--out", str(out), *words.split()])
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert [(row["arm"], row["round"]) for row in rows] == [
        *(("start", 0), ("suggest", 1), ("random", 1)),
    ]
    first, *second = rows
    assert first["strokes"] == round(0.3 * first["of"])
    assert {row["strokes"] for row in second} == {2 * first["strokes"]}
    assert all(0 <= row["dice"] <= 1 and set(row["dice_of"]) == {"left", "right"} for row in rows)
    assert first["fillers"].keys() == {"suggest", "random"}
    assert matplotlib.image.imread(out / "dice.png").shape[0] > 300
    assert not (out / "work").exists()
    start = str(out / "work" / "start_0_0" / "weights.pth")
    assert before == [None, *[start if going_on else None] * 2]
    assert "suggest less random" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="rows.jsonl exists"):
        run.main([str(dataset), "--out", str(out)])
