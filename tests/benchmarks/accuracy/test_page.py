"""The tables of README, results and log are those of the committed rows, under today's names."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.accuracy.test_table import row

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks" / "accuracy"
ONE_PASS = dict.fromkeys(("dynamic_mix", "auxiliary_decoder", "contrast"), False)


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import page

    return page


@pytest.fixture(scope="module")
def tables():
    """Of the committed rows, once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        import page

        return page.tables()


@pytest.fixture
def rows(page, monkeypatch, tmp_path):
    """Stock and ours on two cases, seeds 0 and 1, the latter under its earlier name."""
    (tmp_path / "results").mkdir()
    stock = [row("nnUNetTrainer", seed, {"a": 0.5, "b": 0.6}) for seed in (0, 1)]
    ours = [row("nnUNetTrainerPCLMix", seed, {"a": 0.8, "b": 0.7}) for seed in (0, 1)]
    ours = [{**one, "config": ONE_PASS, "commit": "abc (then def)"} for one in ours]
    lines = "\n".join(json.dumps({"config": None, **one}) for one in stock + ours)
    (tmp_path / "results" / "rows.jsonl").write_text(lines)
    monkeypatch.setattr(page, "HERE", tmp_path)
    page._rows_of.cache_clear()
    yield
    page._rows_of.cache_clear()


def of(name, **more):
    return {"file": "rows.jsonl", "where": {"today": name, **more}}


def test_the_tables_in_the_pages_are_those_of_the_rows(page, tables):
    """If not: python benchmarks/accuracy/page.py writes them."""
    found, shown = tables, []
    for path in page.PAGES:
        text = path.read_text(encoding="utf-8")
        assert page.with_tables(text, found) == text, path
        shown += [name for name in found if f"<!-- table: {name} -->" in text]
    assert sorted(shown) == sorted(found), "a table that no page shows, or two do"


def test_a_cell_of_a_table_has_one_number_at_most(tables):
    for name, text in tables.items():
        for line in text.splitlines()[2:]:
            cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
            numbers = [cell.split() for cell in cells]
            many = [words for words in numbers if len(words) > 1]
            assert not many or name in ("components", "commits"), line  # of several seeds


def test_closed_forms(page, rows):
    line = {
        "name": "ours",
        **of("nnUNetTrainerStrokeSupport"),
        "against": {"where": {"today": "nnUNetTrainer"}},
        "bound": {"where": {"today": "nnUNetTrainer"}},
    }
    values = [
        "seeds",
        "iterations",
        "Dice",
        "their Dice",
        "difference",
        "better",
        "share",
        "commit",
    ]
    assert page.cells(line, values) == [
        "2", "1000", ".750", ".550", "+.200", "2", "136.4", "abc",
    ]  # fmt: skip


def test_theirs_are_of_the_same_seeds(page, rows):
    ours, stock = (
        page.select(of(name)) for name in ("nnUNetTrainerStrokeSupport", "nnUNetTrainer")
    )
    assert page.of_same_seeds(ours[1:], stock) == stock[1:]
    assert page.of_same_seeds(ours, stock[1:]) == stock[1:]


def test_a_line_without_rows_is_an_error_unless_it_may_be_absent(page, rows):
    with pytest.raises(ValueError, match="nobody"):
        page.select(of("nobody"))
    assert page.cells({"name": "later", "if_any": True, **of("nobody")}, ["Dice"]) is None
    with pytest.raises(ValueError, match=r"seeds \[0, 0, 1, 1\]"):
        page.select(of(None))


def test_a_table_is_put_below_its_name_and_replaced_there(page):
    once = page.with_tables("a\n\n<!-- table: x -->\n\nb\n", {"x": "| 1 |"})
    assert once == "a\n\n<!-- table: x -->\n\n| 1 |\n\nb\n"
    twice = page.with_tables(once, {"x": "| 2 |\n| 3 |"})
    assert twice == "a\n\n<!-- table: x -->\n\n| 2 |\n| 3 |\n\nb\n"


@pytest.mark.parametrize(
    ("value", "digits", "signed", "text"),
    [(0.8331, 3, False, ".833"), (-0.0193, 3, True, "-.019"), (12.44, 1, False, "12.4")],
)
def test_numbers_without_the_zero(page, value, digits, signed, text):
    assert page.short(value, digits, signed) == text


def test_cropped_rows_are_brought_into_the_same_form(page, tmp_path):
    own = {
        "name": "support",
        "seed": 0,
        "iterations": 3000,
        "iterations_done": 2500,
        "settings": ONE_PASS,
        "dice": 0.8,
        "dice_rv_myo_lv": [0.7, 0.8, 0.9],
        "hd95_mm": 7.0,
        "islands_per_case": 2.0,
        "dice_largest": 0.81,
        "cases": [["a", 0.7, 0.8, 0.9]],
    }
    (tmp_path / "crop.jsonl").write_text(json.dumps(own))
    (row,) = page.read_rows(tmp_path / "crop.jsonl")
    assert row["iterations"] == 2500 and row["today"] == "nnUNetTrainerStrokeSupport"
    assert [page.SCORES[name]([row]) for name in ("Dice", "MYO", "Dice, largest")] == [
        ".800", ".800", ".810",
    ]  # fmt: skip
    assert page.MEAN_DICE[page.RAW].of_row(row)["a"] == (pytest.approx(0.8), 1.0)


def test_the_plots_are_those_of_the_rows(page, tmp_path, monkeypatch, capsys):
    import budget_plot
    import curves

    rows = str(FOLDER / "results" / "acdc_whole.jsonl")
    names = ["--trainers", "nnUNetTrainer", "nnUNetTrainerStrokeSupport"]
    for script, words in ((budget_plot, []), (curves, [rows, *names])):
        out = tmp_path / f"{script.__name__}.png"
        monkeypatch.setattr("sys.argv", [script.__name__, *words, "--out", str(out)])
        script.main()
        assert out.stat().st_size > 10_000 and str(out) in capsys.readouterr().out
