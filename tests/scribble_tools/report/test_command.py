"""`scribble_tools report`: what its page and its JSON say, and what is refused."""

import html
import json
import re
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from scribble_tools.cli import main
from scribble_tools.evaluate.command import evaluate_folders
from scribble_tools.predict.label_writer import write_prediction
from scribble_tools.report.pictures import encode, encode_figure, svg_uri
from tests.scribble_tools.report.example import (
    CASES,
    LABELS,
    dense,
    make_dataset,
    make_model,
    make_predictions,
    scribble,
    write,
)

pytestmark = pytest.mark.slow

VALIDATION = CASES[2:]


@pytest.fixture(autouse=True)
def without_nnunets_folders(monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        monkeypatch.delenv(name, raising=False)


def draw_by(monkeypatch, webp, svg):
    for module in ("page", "cases"):
        monkeypatch.setattr(f"scribble_tools.report.{module}.encode_figure", webp)
    monkeypatch.setattr("scribble_tools.report.page.svg_uri", svg)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """In the place of figures, whose drawing takes most of a report's time, one empty picture."""
    picture, uri = encode(Image.new("RGB", (8, 6))), "data:image/svg+xml;base64,PHN2Zy8+"
    draw_by(monkeypatch, lambda *_: picture, lambda figure: uri)


@pytest.fixture
def drawn(monkeypatch, undrawn):
    """With all figures: where some are not there, or show what is rare."""
    draw_by(monkeypatch, encode_figure, svg_uri)


@pytest.fixture
def root(tmp_path):
    make_dataset(tmp_path)
    make_model(tmp_path, "Ours", VALIDATION)
    make_model(tmp_path, "Stock", VALIDATION, offset=2)
    return tmp_path


def model(root, trainer="Ours"):
    return root / "results" / "Dataset007_Organs" / f"{trainer}__nnUNetPlans__2d"


def report(root, *words, out="out/report.html"):
    dataset = root / "raw" / "Dataset007_Organs"
    words = ["--dataset", dataset, *words, "--out", root / out, "-np", "1"]
    return main(["report", *map(str, words)])


def made(root):
    page = (root / "out" / "report.html").read_text(encoding="utf-8")
    return page, json.loads((root / "out" / "report.json").read_text())


def test_scores_are_those_of_evaluate(root, capsys):
    assert report(root, "--model", model(root)) == 0
    assert "report.html (open it in a browser)" in capsys.readouterr().out
    page, numbers = made(root)
    (found,) = numbers["predictions"]
    folder = root / "raw" / "Dataset007_Organs" / "labelsTr_dense"
    expected = evaluate_folders(
        model(root) / "fold_0" / "validation", folder, None, cases=VALIDATION, num_processes=1
    )
    assert [*found["cases"]] == [*VALIDATION]
    for score in expected.scores:
        name = {"1": "organ", "2": "other"}[score.label]
        of_case = found["cases"][score.case].items()
        values = {metric: numbers["per_class"][name] for metric, numbers in of_case}
        assert values["dice"] == pytest.approx(score.dice)
        assert values["hd95_mm"] == pytest.approx(score.hd95_mm)
        assert values["islands"] == score.islands
        assert values["volume_ml"] == pytest.approx(0.005 * score.prediction_voxels)
    assert found["statistics"]["dice"]["overall"]["mean"] == pytest.approx(
        np.mean([score.dice for score in expected.scores])
    )
    assert numbers["roles"] == dict.fromkeys(VALIDATION, "validation")
    assert numbers["training"]["series"]["train_losses"] == [1.0, 0.9, 0.8]
    assert numbers["check"]["num_cases"] == 4
    assert "Median and best</strong>: p2_a" in page and "Worst</strong>: p3_a" in page
    assert "WARNING: all pixels are uncertain" in page


def test_predictions_of_another_format_than_the_data_sets_are_reported_on(root):
    words = ["--pred", root / "given"]
    given = make_predictions(root / "given", VALIDATION, 1)
    assert report(root, *words) == 0
    before = made(root)[1]["predictions"][0]["cases"]
    path = given / f"{VALIDATION[0]}.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(path)), str(given / f"{VALIDATION[0]}.nrrd"))
    path.unlink()
    assert report(root, *words, "--overwrite") == 0
    assert made(root)[1]["predictions"][0]["cases"] == before and len(before) == 2


def test_models_are_named_as_predict_names_them(root, monkeypatch, capsys):
    words = ["--model", model(root).name, "--compare", model(root, "Stock").name]
    monkeypatch.delenv("nnUNet_results", raising=False)
    assert report(root, *words) == 1
    assert "nnUNet_results is not set: give the folder of the model" in capsys.readouterr().err
    monkeypatch.setenv("nnUNet_results", str(root / "results"))
    assert report(root, *words) == 0
    named = made(root)[1]
    paths = ["--model", model(root), "--compare", model(root, "Stock")]
    assert report(root, *paths, "--overwrite") == 0
    assert [own["cases"] for own in named["predictions"]] == [
        own["cases"] for own in made(root)[1]["predictions"]
    ]
    assert report(root, *words[:3], "Stokc", "--overwrite") == 1
    assert f"no model Stokc. There are:\n  --compare {words[1]}" in capsys.readouterr().err


def test_settings_of_parts_that_are_off_are_not_said_to_be_those_of_the_whole_method(root):
    ours = {"config": {"temperature": 1.0}, "components": {"on": ["strokes"], "off": ["mixing"]}}
    checkpoint = model(root) / "fold_0" / "checkpoint_final.pth"
    torch.save({"pclmix": {**ours, "defaults": ours["config"]}}, checkpoint)
    assert report(root, "--model", model(root)) == 0
    said = "Of the parts that are on; those that are off stand above. None of these is known"
    assert said in made(root)[0]
    del ours["components"]
    torch.save({"pclmix": {**ours, "defaults": ours["config"]}}, checkpoint)
    assert report(root, "--model", model(root), "--overwrite") == 0
    assert '<p class="note">None of these is known' in made(root)[0]


def test_predictions_for_slicer_are_those_in_other_formats(root):
    folder = model(root) / "fold_0" / "validation"
    assert report(root, "--pred", folder) == 0
    expected = made(root)[1]["predictions"][0]["cases"]
    for case in VALIDATION:
        image = sitk.ReadImage(str(folder / f"{case}.nii.gz"))
        path = root / "slicer" / f"{case}.seg.nrrd"
        path.parent.mkdir(exist_ok=True)
        write_prediction(sitk.GetArrayFromImage(image), image, path, {1: "Organ", 2: "Rest"})
    assert report(root, "--pred", root / "slicer", out="slicer.html") == 0
    found = json.loads((root / "slicer.json").read_text())["predictions"][0]["cases"]
    assert found == expected


def test_pictures_are_measured_in_pixels(tmp_path, drawn):
    dataset = tmp_path / "raw" / "Dataset007_Organs"
    for case, shift in (("a", 1), ("b", 2)):
        predicted = np.roll(dense()[0], shift, 1)
        for folder, name, array in (
            (dataset / "imagesTr", f"{case}_0000", dense()[0] * 100),
            (dataset / "labelsTr", case, scribble()[0]),
            (dataset / "labelsTr_dense", case, dense()[0]),
            (tmp_path / "predictions", case, predicted),
            (tmp_path / "other", case, dense()[0]),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{name}.png"))
    content = {"labels": LABELS, "file_ending": ".png", "channel_names": {"0": "grey"}}
    (dataset / "dataset.json").write_text(json.dumps({**content, "numTraining": 2}))
    predictions = tmp_path / "predictions"
    assert report(tmp_path, "--pred", predictions, "--compare", tmp_path / "other") == 0
    page, numbers = made(tmp_path)
    text = re.sub(r"data:[^\"]+|<(script|style)>.*?</\1>", "", page, flags=re.S)
    assert not re.search(r"\b(mm|mL)\b", text)
    for words in ("HD95 px", "area px²", "reference px²", "within 2 px", "size in pixels"):
        assert words in text
    (area,) = {own["volume_ml"]["per_class"]["organ"] for own in _cases(numbers)}
    assert area == 36  # pixels


def _cases(numbers):
    return numbers["predictions"][0]["cases"].values()


def test_nothing_is_loaded_from_elsewhere(root, drawn):
    report(root, "--model", model(root), "--compare", model(root, "Stock"))
    page, _ = made(root)
    sources = re.findall(r'\b(?:src|href)="([^"]{0,30})', page)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert "default-src &#39;none&#39;" in page


def test_two_models_are_compared_pair_by_pair(root):
    report(root, "--model", model(root), "--compare", model(root, "Stock"))
    page, numbers = made(root)
    rows = {(row["metric"], row["class"]): row for row in numbers["comparison"]}
    ours, stock = (p["cases"] for p in numbers["predictions"])
    organ = [[p[c]["dice"]["per_class"]["organ"] for c in VALIDATION] for p in (ours, stock)]
    differences = np.subtract(*organ)
    assert rows["dice", "organ"]["mean"] == pytest.approx(np.mean(differences))
    assert rows["dice", "organ"]["better"] == 2
    # the stock model's scribbled voxels of the organ: 4 per slice, of which it misses 1 and 2
    assert rows["disagreement_percent", "organ"]["mean"] == pytest.approx(-(25 + 50) / 2)
    ours, stock = (f"{trainer}, plans nnUNetPlans, 2d" for trainer in ("Ours", "Stock"))
    assert f"This model ({ours}) minus the other ({stock})" in page
    assert not re.search(r"\b(PRED|OTHER)\b", re.sub(r"data:[^\"]+", "", page))
    assert "2 validation cases segmented by Ours, compared with Stock</h1>" in page
    named = [(own["title"], own["name"]) for own in numbers["predictions"]]
    assert named == [("this model", ours), ("the other", stock)]


def test_confusion_of_classes_is_that_of_evaluate(root):
    report(root, "--model", model(root), "--compare", model(root, "Stock"))
    page, numbers = made(root)
    reference = root / "raw" / "Dataset007_Organs" / "labelsTr_dense"
    for trainer, title in (("Ours", "this model"), ("Stock", "the other")):
        predicted = model(root, trainer) / "fold_0" / "validation"
        counts = evaluate_folders(predicted, reference, None, cases=VALIDATION, num_processes=1)
        table = sum(counts.confusion.values())
        rows = numbers["confusion"][title]
        found = {(row["true"], row["predicted"]): row["percent"] for row in rows}
        expected = 100 * table[1] / table[1].sum()
        names = ("background", "organ", "other")
        values = [found.get(("organ", name), 0) for name in names]
        assert values == pytest.approx(expected.tolist())
        assert 0 < expected[1] < 100
    changes = {(r["true"], r["predicted"]): r for r in numbers["confusion"]["difference"]}
    assert changes["organ", "organ"]["better"] == 2
    section = page.split('<section id="confusion">')[1].split("</section>")[0]
    assert '<th scope="row">organ</th><td>background</td>' in section
    assert "the other, %" in section and section.count("data:image/webp") == 1


def test_without_references_it_shows_what_scribbles_tell(tmp_path, drawn):
    make_dataset(tmp_path, reference=False)
    make_model(tmp_path, "Ours", VALIDATION, offset=1)
    make_model(tmp_path, "Stock", VALIDATION, offset=2)
    assert report(tmp_path, "--model", model(tmp_path), "--compare", model(tmp_path, "Stock")) == 0
    page, numbers = made(tmp_path)
    values = numbers["predictions"][0]["cases"]["p3_a"]  # without the organ's columns 2 and 3
    assert values["disagreement_percent"] == {
        "per_class": {"organ": 25.0, "other": 0.0, "background": 0.0},
        "overall": pytest.approx(100 / 16),
    }
    islands = {"organ": 0, "other": 2, "background": None}
    assert values["islands"] == {"per_class": islands, "overall": 2}
    assert values["volume_ml"]["per_class"]["organ"] == pytest.approx(3 * 6 * 4 * 0.005)
    assert values["dice"] == {"per_class": dict.fromkeys(islands), "overall": None}
    assert "There are no dense references" in page
    assert 'id="confusion"' not in page and numbers["confusion"] is None
    assert "Dice</th>" not in page and "By scribble disagreement %" in page
    rows = {(row["metric"], row["class"]): row for row in numbers["comparison"]}
    assert rows["disagreement_percent", None]["better"] == 2
    assert rows["islands", "other"]["mean"] == -1


def test_cases_that_were_trained_on_are_pointed_out(root):
    folder = make_predictions(root / "predictions", CASES)
    report(root, "--model", model(root), "--pred", folder)
    page, numbers = made(root)
    assert numbers["roles"]["p1_a"] == "training"
    assert "2 of these cases were trained on in this fold (p1_a" in page


def test_names_are_text_and_no_markup(tmp_path, drawn):
    cases = ("<b>a&", "x$y$")
    labels = {"background": 0, "<script>alert(1)</script>": 1, "$\\frac{": 2, "ignore": 3}
    make_dataset(tmp_path, cases, labels)
    make_model(tmp_path, "Ours", cases)
    assert report(tmp_path, "--model", model(tmp_path)) == 0
    page, numbers = made(tmp_path)
    assert "<script>alert" not in page and "<b>a" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "&lt;b&gt;a&amp;" in page
    assert [*numbers["predictions"][0]["cases"]] == [*cases]


def test_regions_have_no_common_volume(tmp_path, drawn):
    labels = {"background": 0, "both": [1, 2], "inner": 2, "ignore": 3}
    make_dataset(tmp_path, labels=labels)
    make_model(tmp_path, "Ours", VALIDATION)
    report(tmp_path, "--model", model(tmp_path))
    values = made(tmp_path)[1]["predictions"][0]["cases"]["p2_a"]
    assert values["volume_ml"]["overall"] is None
    volumes = values["volume_ml"]["per_class"]
    assert volumes["both"] > volumes["inner"] > 0


@pytest.mark.parametrize("reference", [True, False])
def test_a_class_may_have_any_name(tmp_path, reference):
    make_dataset(tmp_path, labels=LABELS, reference=reference)
    make_model(tmp_path, "Ours", VALIDATION, offset=1)
    make_model(tmp_path, "Stock", VALIDATION, offset=2)
    words = ["--model", model(tmp_path), "--compare", model(tmp_path, "Stock")]
    assert report(tmp_path, *words) == 0
    _, plain = made(tmp_path)
    named = {"background": 0, "overall": 1, "all classes": 2, "ignore": 3}
    (tmp_path / "raw" / "Dataset007_Organs" / "dataset.json").write_text(
        json.dumps({"labels": named, "file_ending": ".nii.gz", "channel_names": {"0": "MRI"}})
    )
    assert report(tmp_path, *words, out="named/report.html") == 0
    numbers = json.loads((tmp_path / "named" / "report.json").read_text())
    new = {"organ": "overall", "other": "all classes"}

    def renamed(content):
        if isinstance(content, dict):
            return {new.get(key, key): renamed(value) for key, value in content.items()}
        if isinstance(content, list):
            return [renamed(value) for value in content]
        return new.get(content, content) if isinstance(content, str) else content

    for part in ("predictions", "comparison"):
        assert numbers[part] == renamed(plain[part])
    page = (tmp_path / "named" / "report.html").read_text(encoding="utf-8")
    assert page.count('<tr class="total"><th scope="row">islands') == 1


def test_a_class_that_is_missed_everywhere_has_no_distance(root, drawn):
    empty = dense()
    empty[empty == 2] = 0
    for case in VALIDATION:
        write(root / "predictions" / f"{case}.nii.gz", empty)
    report(root, "--pred", root / "predictions")
    page, numbers = made(root)
    (found,) = numbers["predictions"]
    assert found["cases"]["p2_a"]["hd95_mm"]["per_class"]["other"] is None
    assert found["outcomes"]["p2_a"] == {"other": "missed"}
    assert "other missed" in page and numbers["training"] is None


def test_patients_are_resampled_where_the_names_tell_them(root):
    folder = make_predictions(root / "predictions", CASES)
    report(root, "--pred", folder, "--patient-regex", "(.+)_")
    assert made(root)[1]["resampled"] == {"what": "patients", "n": 3}


def test_references_may_cover_some_cases_only(root, drawn):
    (root / "raw" / "Dataset007_Organs" / "labelsTr_dense" / "p3_a.nii.gz").unlink()
    report(root, "--model", model(root))
    page, numbers = made(root)
    assert "Without reference, and not scored: 1 of 2 cases." in page
    cases = numbers["predictions"][0]["cases"]
    assert [cases[c]["dice"]["per_class"]["organ"] for c in ("p2_a", "p3_a")] == [1, None]


@pytest.mark.parametrize("old", ["report.html", "report.json"])
def test_an_earlier_report_is_kept_unless_told(root, old, capsys):
    (root / "out").mkdir()
    (root / "out" / old).write_text("mine")
    assert report(root, "--model", model(root)) == 1
    assert f"{old} exists: choose another --out or say --overwrite" in capsys.readouterr().err
    assert (root / "out" / old).read_text() == "mine"
    assert report(root, "--model", model(root), "--overwrite") == 1
    assert "scribble_tools report did not write this" in capsys.readouterr().err
    assert (root / "out" / old).read_text() == "mine"
    (root / "out" / old).unlink()
    for more in ([], ["--overwrite"]):
        assert report(root, "--model", model(root), *more) == 0
        assert made(root)[1]["classes"] == ["organ", "other", "background"]
    (root / "out" / "report.json").unlink()  # the page alone says what it is
    assert report(root, "--model", model(root), "--overwrite") == 0
    assert sorted(path.name for path in (root / "out").iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize(
    ("words", "out", "message"),
    [
        ([], "out/report.html", "give --model, --pred or both"),
        (["--model", "{root}/nowhere"], "out/report.html", "nowhere is not a folder"),
        (["--pred", "{root}/raw"], "out/report.html", "no label files in"),
        (["--model", "{root}/raw"], "out/report.html", "has no fold_X: give the folder that"),
        (["--model", "{model}", "--fold", "3"], "out/report.html", "has no fold_3"),
        (["--model", "{model}", "--patient-regex", "("], "out/report.html", "is no regular expr"),
        (["--model", "{model}"], "out/report.htm", "name it so (report.html)"),
    ],
)
def test_wrong_arguments_are_explained(root, words, out, message, capsys):
    words = [word.format(root=root, model=model(root)) for word in words]
    assert report(root, *words, out=out) == 1
    assert message in capsys.readouterr().err
    assert not (root / "out").exists()


def test_predictions_of_other_images_than_the_data_sets_are_explained(root, capsys):
    make_predictions(root / "new", ["new_1"])
    assert report(root, "--pred", root / "new") == 1
    error = capsys.readouterr().err
    assert "1 file is missing (a report shows the data set's own images; scribble_tools" in error
    assert "no image new_1_0000.nii.gz" in error and "--cases" not in error


def test_images_in_the_place_of_predictions_are_refused_before_anything_is_drawn(
    root, capsys, monkeypatch
):
    for case in VALIDATION:
        values = np.arange(dense().size, dtype=np.int16).reshape(dense().shape)
        write(root / "images" / f"{case}.nii.gz", values)
    monkeypatch.setattr("scribble_tools.report.data.look_at", None)
    assert report(root, "--pred", root / "images") == 1
    error = capsys.readouterr().err
    assert "2 problems, nothing drawn:\n" in error
    assert "p2_a.nii.gz holds more than 250 values that are no class: is it an image?" in error
    assert not (root / "out").exists()


def test_a_model_of_another_data_set_is_named(root, capsys):
    other = root / "results" / "Dataset008_Other" / model(root).name
    shutil.copytree(model(root), other)
    assert report(root, "--model", other) == 0, "of the same cases"
    shutil.rmtree(other / "fold_0" / "validation")
    assert report(root, "--model", model(root), "--compare", other, "--overwrite") == 1
    error = capsys.readouterr().err
    said = f"the model {other} is of Dataset008_Other, but --dataset is Dataset007_Organs\n"
    assert said in error and "--val" not in error


def test_all_problems_are_told_at_once(root, capsys):
    write(model(root) / "fold_0" / "validation" / "p2_a.nii.gz", np.zeros((3, 4, 5), np.uint8))
    (model(root) / "fold_0" / "validation" / "p3_a.nii.gz").write_bytes(b"no image")
    assert report(root, "--model", model(root)) == 1
    message = capsys.readouterr().err
    assert "p2_a.nii.gz does not fit" in message and "p3_a.nii.gz cannot be read" in message
    assert not (root / "out").exists()


def test_splits_that_cannot_be_read_are_a_finding(root):
    (root / "raw" / "Dataset007_Organs" / "splits_final.json").write_text("[")
    assert report(root, "--model", model(root)) == 0
    numbers = made(root)[1]
    assert numbers["roles"] == {}
    assert "splits-unusable" in [finding["code"] for finding in numbers["check"]["findings"]]


def test_the_line_that_mends_a_finding_is_below_the_findings(root):
    assert report(root, "--model", model(root)) == 0
    assert "Lines to paste" not in made(root)[0]
    (root / "raw" / "Dataset007_Organs" / "labelsTr" / "._p1_a.nii.gz").write_bytes(b"macOS")
    assert report(root, "--model", model(root), "--overwrite") == 0
    page, numbers = made(root)
    (line,) = (f["line"] for f in numbers["check"]["findings"] if f["code"] == "hidden-files")
    assert line.endswith(" -name '._*' -delete")
    table, below = page.split("<p>Lines to paste:</p>\n")
    assert "(see the line below)" in table
    assert html.unescape(below).startswith(f"<pre>{line}</pre>")


def test_how_the_data_set_was_made_is_told_without_its_cases(root):
    record = {"format": "folder", "seed": 3, "versions": {"numpy": "1"}}
    path = root / "raw" / "Dataset007_Organs" / "conversion.json"
    patients = dict(zip(CASES, "1123", strict=True))
    path.write_text(json.dumps({**record, "cases": {}, "patients": patients}))
    report(root, "--model", model(root))
    page, numbers = made(root)
    assert numbers["made"]["data set"] == record and "<dd>numpy 1</dd>" in page
    assert numbers["resampled"] == {"what": "patients", "n": 2}


def test_pictures_of_the_training_are_shown_few_of_many(root):
    fold = model(root) / "fold_0"
    (fold / "pclmix_snapshots").mkdir()
    names = ["pclmix_losses.png", *(f"pclmix_snapshots/epoch_{k:04d}.png" for k in range(20))]
    for name in names:
        Image.new("RGB", (40, 30)).save(fold / name)
    (fold / "progress.png").write_bytes(b"cut off")
    report(root, "--model", model(root))
    page, _ = made(root)
    assert re.findall(r"<figcaption>pclmix_snapshots/epoch_(\d+)", page) == [
        "0000", "0004", "0008", "0011", "0015", "0019"
    ]  # fmt: skip
    assert "6 of 20" in page and "<figcaption>pclmix_losses.png" in page
    assert "progress.png cannot be read as a picture" in page


def test_a_model_that_tells_nothing_of_its_training_says_so(root):
    said = "folder has no log of the training and no picture of it."
    fold = model(root) / "fold_0"
    report(root, "--model", model(root))
    assert said not in made(root)[0]
    for path in (p for p in fold.iterdir() if p.is_file()):
        path.unlink()
    report(root, "--model", model(root), out="again/report.html")
    page = (root / "again" / "report.html").read_text(encoding="utf-8")
    assert said in page


def test_several_folds_need_a_choice(root, capsys):
    (model(root) / "fold_1").mkdir()
    assert report(root, "--model", model(root)) == 1
    assert "has the folds 0, 1: choose one with --fold" in capsys.readouterr().err
    assert report(root, "--model", model(root), "--fold", "0") == 0
