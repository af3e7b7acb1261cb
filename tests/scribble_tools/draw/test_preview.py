"""`scribble_tools preview`: which files and slices of a data set are shown, and what is refused."""

import json
import os
import shutil

import matplotlib
import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from scribble_tools.cli import main
from scribble_tools.draw.contact_sheet import COLOURS
from scribble_tools.draw.preview import distinct_titles, find_case_files, preview_dataset
from scribble_tools.draw.shown_case import ShownFiles, read_case, title_of_channel
from scribble_tools.predict.label_writer import write_prediction

DATASET = "Dataset007_Organs"
CASES = ("a", "b")


def write(path, array, spacing_xyz=(1, 1, 8)):
    image = sitk.GetImageFromArray(array, isVector=array.ndim > len(spacing_xyz))
    image.SetSpacing(spacing_xyz)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def dense(label=1):
    labels = np.zeros((5, 10, 12), np.uint8)
    labels[1:4, 2:6, 2:8] = label
    return labels


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A raw data set of two cases and one test case, with predictions of two models."""
    folder = tmp_path / "raw" / DATASET
    image = np.arange(600, dtype=np.float32).reshape(5, 10, 12)
    scribble = np.full((5, 10, 12), 3, np.uint8)
    scribble[1, 2, 2:8], scribble[3, 5, 5] = 1, 0
    for case in CASES:
        write(folder / "imagesTr" / f"{case}_0000.nii.gz", image)
        write(folder / "labelsTr" / f"{case}.nii.gz", scribble)
        write(folder / "labelsTr_dense" / f"{case}.nii.gz", dense())
    write(folder / "imagesTs" / "t_0000.nii.gz", image)
    write(folder / "labelsTs_dense" / "t.nii.gz", dense())
    labels = {"background": 0, "organ": 1, "other": 2, "ignore": 3}
    content = {"labels": labels, "file_ending": ".nii.gz", "channel_names": {"0": "MRI", "1": "T2"}}
    (folder / "dataset.json").write_text(json.dumps(content))
    for model, cases in {"one": ("a", "b", "t"), "two": ("a", "t")}.items():
        for case in cases:
            write(tmp_path / model / "validation" / f"{case}.nii.gz", dense(2))
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    return tmp_path


def preview(root, *words, out="pictures"):
    words = [root / word if str(word).startswith(("one", "two", "raw")) else word for word in words]
    return main(["preview", *map(str, words), "--out", str(root / out), "-np", "1"])


def index(root, out="pictures"):
    return json.loads((root / out / "preview.json").read_text())


def has_colour(picture, value):
    return bool((np.abs(picture[..., :3] - to_rgb(COLOURS[value])).max(axis=-1) < 0.01).any())


@pytest.mark.parametrize("dataset", ["7", DATASET, f"raw/{DATASET}"])
def test_a_data_set_gives_a_picture_per_case_and_an_index(root, dataset, capsys):
    assert preview(root, dataset) == 0
    assert "wrote 2 pictures and preview.json" in capsys.readouterr().out
    names = sorted(path.name for path in (root / "pictures").iterdir())
    assert names == ["a.png", "b.png", "preview.json"]
    folder = root / "raw" / DATASET
    assert index(root)["a"] == {
        "picture": "a.png",
        "slices": [1, 3],
        "slice_axis": "z",
        "left": "R",
        "up": "A",
        "image": str(folder / "imagesTr" / "a_0000.nii.gz"),
        "scribble": str(folder / "labelsTr" / "a.nii.gz"),
        "predictions": {},
        "reference": None,
    }
    picture = imread(root / "pictures" / "a.png")
    assert has_colour(picture, 0)
    assert has_colour(picture, 1)
    assert not has_colour(picture, 3)  # the ignore label is transparent


def test_predictions_bring_their_cases_titles_and_references(root):
    words = ("--pred", "one/validation", "two/validation", "--cases", "a", "t")
    assert preview(root, "7", *words) == 0
    entries = index(root)
    assert list(entries) == ["a", "t"]
    assert list(entries["a"]["predictions"]) == ["one", "two"]
    assert entries["a"]["reference"].endswith(os.path.join("labelsTr_dense", "a.nii.gz"))
    assert entries["t"]["reference"].endswith(os.path.join("labelsTs_dense", "t.nii.gz"))
    assert entries["t"]["image"].endswith(os.path.join("imagesTs", "t_0000.nii.gz"))
    assert entries["t"]["scribble"] is None
    assert entries["t"]["slices"] == [1, 2, 3]  # those of the prediction


def test_predictions_for_slicer_are_shown_by_their_values(root, capsys):
    folder = root / "one" / "validation"
    image = sitk.ReadImage(str(root / "raw" / DATASET / "imagesTr" / "a_0000.nii.gz"))
    assert preview(root, "7", "--pred", "one/validation", out="before") == 0
    for path in folder.iterdir():
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        path.unlink()
        write_prediction(labels, image, folder / f"{path.name[0]}.seg.nrrd", {1: "A", 2: "B"})
    assert preview(root, "7", "--pred", "one/validation") == 0
    assert index(root)["a"]["predictions"] == {"prediction": str(folder / "a.seg.nrrd")}
    for case in ("a", "b", "t"):
        now, before = (imread(root / out / f"{case}.png") for out in ("pictures", "before"))
        assert (now == before).all()
    write_prediction(dense(), image, folder / "b.seg.nrrd", {1: "B"})
    capsys.readouterr()
    assert preview(root, "7", "--pred", "one/validation", "--overwrite") == 1
    assert "the value 1 is 'A' in" in capsys.readouterr().err


def test_predictions_and_references_of_mixed_formats_are_shown(root, capsys):
    folder, reference = root / "one" / "validation", root / "truth"
    (folder / "b.nii.gz").unlink()
    for path in (
        folder / "b.nrrd",
        reference / "a.mha",
        reference / "b.nrrd",
        reference / "t.nrrd",
    ):
        write(path, dense(2))
    write(folder / "b.png", dense()[0], (1, 1))  # a picture beside volumes is none of them
    assert preview(root, "7", "--pred", "one/validation", "--ref", str(reference)) == 0
    assert index(root)["b"]["predictions"] == {"prediction": str(folder / "b.nrrd")}
    assert index(root)["a"]["reference"] == str(reference / "a.mha")
    write(folder / "b.mha", dense(2))
    assert preview(root, "7", "--pred", "one/validation", "--overwrite") == 1
    assert "b.nrrd are both of b" in capsys.readouterr().err


def test_cases_default_to_those_with_a_prediction(root):
    assert preview(root, "7", "--pred", "one/validation", "--max-slices", 1) == 0
    assert list(index(root)) == ["a", "b", "t"]
    assert [len(entry["slices"]) for entry in index(root).values()] == [1, 1, 1]


def test_a_case_without_its_default_reference_goes_without(root):
    (root / "raw" / DATASET / "labelsTr_dense" / "b.nii.gz").unlink()
    assert preview(root, "7", "--pred", "one/validation", "--cases", "b") == 0
    assert index(root)["b"]["reference"] is None


@pytest.mark.parametrize("reference", ["labelsTr_dense", f"raw/{DATASET}/labelsTr_dense"])
def test_a_reference_folder_is_looked_for_in_the_data_set_too(root, reference):
    assert preview(root, "7", "--ref", reference) == 0
    assert index(root)["b"]["reference"].endswith(os.path.join("labelsTr_dense", "b.nii.gz"))


def test_another_channel(root):
    folder = root / "raw" / DATASET / "imagesTr"
    write(folder / "a_0001.nii.gz", np.zeros((5, 10, 12), np.float32))
    assert preview(root, "7", "--cases", "a", "--channel", 1) == 0
    assert index(root)["a"]["image"].endswith("a_0001.nii.gz")
    for channel, title in ((0, "MRI (channel 0 of 2)"), (1, "T2 (channel 1 of 2)")):
        (files,) = find_case_files(folder.parent, cases=["a"], channel=channel)
        texts = read_case(files).sheet([0], "a").axes[0].texts
        assert title in [text.get_text().replace("\n", " ") for text in texts]
    with pytest.raises(ValueError, match="--channel 2: Dataset.* has 0 MRI, 1 T2$"):
        find_case_files(folder.parent, cases=["a"], channel=2)
    assert title_of_channel(["MRI"]) == title_of_channel(["MRI", "T2"], 2) == "image"


def test_any_number_of_processes_gives_the_same(root, processes):
    matplotlib.rcdefaults()  # nnU-Net's plots, in other tests, change how this process draws
    folder = root / "raw" / DATASET
    entries = [preview_dataset(folder, root / f"by_{n}", num_processes=n) for n in (1, 2)]
    assert entries[0] == entries[1]
    for name in ("a.png", "b.png", "preview.json"):
        assert (root / "by_1" / name).read_bytes() == (root / "by_2" / name).read_bytes()


def test_all_missing_files_are_listed_at_once(root, capsys):
    words = ("--pred", "one/validation", "two/validation", "--ref", "labelsTr_dense")
    (root / "raw" / DATASET / "imagesTr" / "a_0000.nii.gz").unlink()
    assert preview(root, "7", *words) == 1
    message = capsys.readouterr().err
    assert "3 files are missing (choose other cases with --cases?):" in message
    assert "no image a_0000.nii.gz in imagesTr or imagesTs of" in message
    assert f"no prediction of b in {root / 'two' / 'validation'}" in message
    assert "no reference of t in" in message
    assert not (root / "pictures").exists()


def test_a_case_without_scribble_and_prediction_is_missing(root):
    with pytest.raises(FileNotFoundError, match="no scribble .*nowhere.nii.gz") as caught:
        find_case_files(root / "raw" / DATASET, cases=["nowhere"])
    assert "no image nowhere_0000.nii.gz" in str(caught.value)


def test_nothing_is_overwritten_unasked(root, capsys):
    assert preview(root, "7", "--cases", "a") == 0
    (root / "pictures" / "a.png").write_bytes(b"precious")
    assert preview(root, "7") == 1
    assert "1 of these pictures already (a)" in capsys.readouterr().err
    assert (root / "pictures" / "a.png").read_bytes() == b"precious"
    assert not (root / "pictures" / "b.png").exists()
    assert preview(root, "7", "--cases", "b") == 0  # another case of the same folder
    assert sorted(index(root)) == ["a", "b"]
    assert preview(root, "7", "--overwrite") == 0
    assert (root / "pictures" / "a.png").read_bytes() != b"precious"


def test_unusable_cases_are_listed_and_the_others_drawn(root, capsys):
    folder = root / "raw" / DATASET
    write(folder / "labelsTr" / "b.nii.gz", np.zeros((2, 2, 2), np.uint8))
    write(folder / "labelsTr_dense" / "b.nii.gz", np.full((5, 10, 12), 0.5, np.float32))
    assert preview(root, "7", "--ref", "labelsTr_dense") == 1
    message = capsys.readouterr().err
    assert "1 of 2 cases could not be drawn:\nb: " in message
    assert "does not fit" in message
    assert "size (2, 2, 2) against (12, 10, 5)" in message
    assert "600 values that are no integers, such as 0.5" in message
    assert sorted(path.name for path in (root / "pictures").iterdir()) == ["a.png", "preview.json"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["7", "--pred", "three"], "three is not a folder"),
        (["7", "--ref", "three"], "three is not a folder"),
        (["7", "--pred", "one"], "nothing to show"),
        (["7", "--pred", "one/validation", "one/validation"], "predictions given twice"),
        (["7", "--max-slices", "0"], "0 slices: at least 1 must be shown"),
        (["7", "--image", "x", "--slice", "1"], "--image, --slice cannot be used with a data set"),
        (["--cases", "a"], "--cases cannot be used without a data set"),
        ([], "give a data set (preview 127 --out pictures) or one case's --image"),
        (["8"], "data set 8 in"),
        (["raw"], "raw has no dataset.json: is it a raw data set?"),
    ],
)
def test_unusable_arguments(root, words, message, capsys):
    assert preview(root, *words) == 1
    assert message in capsys.readouterr().err


def test_nnunet_raw_must_be_set_for_an_id(root, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw")
    assert preview(root, "7") == 1
    assert "7 is no folder, and nnUNet_raw is not set: export" in capsys.readouterr().err


def test_dataset_json_that_lacks_all(root, capsys):
    (root / "raw" / DATASET / "dataset.json").write_text("{}")
    assert preview(root, "7") == 1
    error = capsys.readouterr().err
    assert all(f"{key} is missing" in error for key in ("labels", "file_ending", "channel_names"))


def test_natural_images(root):
    folder = root / "raw" / "Dataset008_Cats"
    image = np.zeros((20, 30, 3), np.uint8)
    image[..., 1] = 200
    scribble = np.full((20, 30), 2, np.uint8)
    scribble[10, 3:20] = 1
    write(folder / "imagesTr" / "cat_0000.png", image, (1, 1))
    write(folder / "labelsTr" / "cat.png", scribble, (1, 1))
    labels = {"background": 0, "cat": 1, "ignore": 2}
    content = {"labels": labels, "file_ending": ".png", "channel_names": dict(enumerate("RGB"))}
    (folder / "dataset.json").write_text(json.dumps(content))
    assert read_case(find_case_files(folder)[0]).image_title == "image", "all channels are shown"
    assert preview(root, "8") == 0
    entry = index(root)["cat"]
    assert (entry["slices"], entry["slice_axis"], entry["left"]) == ([0], None, None)
    picture = imread(root / "pictures" / "cat.png")
    assert (np.abs(picture[..., :3] - (0, 200 / 255, 0)).max(axis=-1) < 0.01).any()


@pytest.mark.parametrize(
    ("paths", "titles"),
    [
        ([], []),
        (["model/validation"], ["prediction"]),
        (["a/fold_0/validation", "b/fold_0/validation"], ["a", "b"]),
        (["a/fold_0", "a/fold_1", "b/fold_0"], ["a/fold_0", "a/fold_1", "b/fold_0"]),
        (["x", "x/x"], None),
    ],
)
def test_titles_are_short_and_distinct(tmp_path, paths, titles):
    found = distinct_titles([tmp_path / path for path in paths])
    assert len(set(found)) == len(paths)
    assert titles is None or found == titles


# One case by its files


def single(root, **other):
    folder = root / "raw" / DATASET
    named = {
        "image": folder / "imagesTr" / "a_0000.nii.gz",
        "scribble": folder / "labelsTr" / "a.nii.gz",
        "pred": root / "one" / "validation" / "a.nii.gz",
        "ref": folder / "labelsTr_dense" / "a.nii.gz",
        "out": root / "one_case" / "c.png",
        **other,
    }
    given = {name: value for name, value in named.items() if value is not None}
    return main(
        ["preview", *(str(word) for name, value in given.items() for word in (f"--{name}", value))]
    )


def test_titles_of_the_sheets_own_columns_are_no_titles_of_predictions(tmp_path):
    folders = [tmp_path / name for name in ("scribble", "reference", "dense")]
    titles = ["scribble (prediction)", "reference (prediction)", "dense"]
    assert distinct_titles(folders) == titles


def test_one_case_with_the_ignore_label_of_dataset_json(root, capsys):
    assert single(root) == 0
    assert "c.png" in capsys.readouterr().out
    picture = imread(root / "one_case" / "c.png")
    assert has_colour(picture, 0)
    assert has_colour(picture, 1)
    assert not has_colour(picture, 3)


def test_without_dataset_json_the_most_frequent_value_is_unlabelled(root):
    (root / "raw" / DATASET / "dataset.json").unlink()
    assert single(root) == 0
    picture = imread(root / "one_case" / "c.png")
    assert has_colour(picture, 0)
    assert not has_colour(picture, 3)


def test_one_case_beside_another_programs_dataset_json(root):
    path = root / "raw" / DATASET / "dataset.json"
    path.write_text('{"labels": {"0": "background", "1": "liver"}}')
    assert single(root) == 0


@pytest.mark.parametrize("content", ["{", "[]", "3"])
def test_an_index_of_something_else_is_named_before_anything_is_drawn(root, capsys, content):
    (root / "pictures").mkdir()
    (root / "pictures" / "preview.json").write_text(content)
    assert preview(root, "7", "--overwrite") == 1
    assert "no list of pictures, take it away: " in capsys.readouterr().err
    assert [p.name for p in (root / "pictures").iterdir()] == ["preview.json"]


def test_one_case_with_chosen_slices_across_the_thickest_axis(root):
    for folder in ("imagesTr/a_0000", "labelsTr/a", "labelsTr_dense/a"):
        path = root / "raw" / DATASET / f"{folder}.nii.gz"
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        write(path, np.moveaxis(array, 0, 2), (8, 1, 1))
    assert single(root, pred=None, slice=4) == 0
    assert single(root, pred=None, slice=5, out=root / "d.png") == 1  # x has five


@pytest.mark.parametrize(
    ("file", "title"),
    [("a_0000.nii.gz", "a"), ("Heart.1.NII.GZ", "Heart.1"), ("x_01.nrrd", "x_01")],
)
def test_one_case_is_titled_by_its_image(root, monkeypatch, file, title):
    image = root / file
    shutil.copy(root / "raw" / DATASET / "imagesTr" / "a_0000.nii.gz", image)
    titles = []
    monkeypatch.setattr(
        "scribble_tools.draw.command.preview_case", lambda files, *_: titles.append(files.name)
    )
    assert single(root, image=image) == 0
    assert titles == [title]


def test_one_case_in_two_dimensions(root):
    for name in ("image", "scribble"):
        write(root / f"{name}.nii.gz", np.eye(6, 7, dtype=np.uint8), (1, 2))
    files = {name: root / f"{name}.nii.gz" for name in ("image", "scribble")}
    assert single(root, **files, pred=None, ref=None) == 0


def test_one_case_is_not_overwritten_unasked(root, capsys):
    assert single(root) == 0
    assert single(root) == 1
    assert "c.png exists already: choose another name or say --overwrite" in capsys.readouterr().err


def test_one_cases_bad_input(root, capsys):
    for other, message in (
        ({"ref": root / "lost.nii.gz", "pred": root / "too.nii.gz"}, "lost.nii.gz: no such file"),
        ({"ref": root / "lost.nii.gz", "pred": root / "too.nii.gz"}, "too.nii.gz: no such file"),
        ({"image": root / "lost.nii.gz"}, "lost.nii.gz: no such file"),
        ({"scribble": root / "s.seg.nrrd"}, "s.seg.nrrd is of 3D Slicer: convert it"),
        ({"scribble": None, "pred": None, "ref": None}, "a: nothing to show over the image"),
        ({"out": root / "c.jpg"}, "c.jpg: the picture is a PNG, name it so"),
        ({"slice": 5}, "no slice 5: the image has slices 0 to 4"),
    ):
        assert single(root, **other) == 1
        assert message in capsys.readouterr().err
    assert not (root / "one_case").exists()


def test_a_label_map_with_another_header_is_shown_with_a_remark(root, monkeypatch):
    scribble = root / "raw" / DATASET / "labelsTr" / "a.nii.gz"
    write(scribble, np.ones((5, 10, 12), np.uint8), (2, 2, 8))
    figures = []
    monkeypatch.setattr(
        "scribble_tools.draw.preview.save_png", lambda figure, path: figures.append(figure)
    )
    assert single(root) == 0
    text = " ".join(text.get_text() for text in figures[0].axes[0].texts).replace("\n", " ")
    assert (
        "The header of the scribble is unlike the image's: spacing [2.0, 2.0, 8.0] against" in text
    )


def test_a_picture_of_some_annotated_slices_says_of_how_many(root, monkeypatch):
    figures = []
    monkeypatch.setattr(
        "scribble_tools.draw.preview.save_png", lambda figure, path: figures.append(figure)
    )
    for number, more in enumerate(({"max-slices": 1}, {"max-slices": 2}, {"slice": 1})):
        assert single(root, out=root / f"{number}.png", **more) == 0
    first, *others = [" ".join(text.get_text() for text in f.axes[0].texts) for f in figures]
    assert "1 of 2 annotated slices." in first.replace("\n", " ")
    assert not any("annotated" in text for text in others)


def test_all_slices_and_the_strokes_surroundings_on_request(tmp_path):
    shape = (5, 60, 64)
    scribble = np.full(shape, 3, np.uint8)
    for k in range(4):
        scribble[k, 20:24, 30:36] = 1
    image = np.random.default_rng(0).random(shape)
    for array, name in ((image, "image"), (scribble, "scribble")):
        written = sitk.GetImageFromArray(array)
        written.SetSpacing((1.0, 1.0, 5.0))
        sitk.WriteImage(written, str(tmp_path / f"{name}.nii.gz"))
    words = ["--image", tmp_path / "image.nii.gz", "--scribble", tmp_path / "scribble.nii.gz"]
    heights = []
    for name, more in (("few", []), ("all", ["--all-slices"]), ("crop", ["--crop"])):
        out = tmp_path / f"{name}.png"
        assert main(["preview", *map(str, words), "--out", str(out), *more]) == 0
        heights.append(imread(out).shape[0])
    assert heights[1] > 1.2 * heights[0]
    files = ShownFiles("case", tmp_path / "image.nii.gz", tmp_path / "scribble.nii.gz")
    shown = read_case(files)
    near = shown.cropped()
    assert near.image.shape[1] < 40 and near.panels[0].labels.shape == near.image.shape
    np.testing.assert_array_equal((near.panels[0].labels == 1).sum(), (scribble == 1).sum())
    assert "Cropped to the surroundings" in near.notes[-1]


def test_a_case_without_strokes_is_said_to_have_none(root, monkeypatch):
    figures = []
    monkeypatch.setattr(
        "scribble_tools.draw.preview.save_png", lambda figure, path: figures.append(figure)
    )
    path = root / "raw" / DATASET / "labelsTr" / "a.nii.gz"
    ignore = json.loads((root / "raw" / DATASET / "dataset.json").read_text())["labels"]["ignore"]
    empty = sitk.GetArrayFromImage(sitk.ReadImage(str(path))) * 0 + ignore
    write(path, empty.astype(np.uint8))
    assert single(root) == 0
    text = " ".join(text.get_text() for text in figures[0].axes[0].texts)
    assert "Nothing is annotated in this case." in text.replace("\n", " ")
