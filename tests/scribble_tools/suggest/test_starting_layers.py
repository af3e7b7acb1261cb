"""Label files to draw into: the user's format and values, and what is no stroke apart."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from scribble_tools.convert.stroke_changes import StrokeReader, UpdateOptions
from scribble_tools.dataset.drawn_labels import read_drawn_labels
from scribble_tools.dataset.label_set import LabelSet
from scribble_tools.dataset.not_strokes import read_not_strokes
from scribble_tools.dataset.raw import read_label_set
from scribble_tools.draw.display_plane import display_plane
from scribble_tools.images.colour_tables import read_colour_table
from scribble_tools.images.image_io import save_image
from scribble_tools.images.itksnap_labels import read_label_description
from scribble_tools.images.label_files import GridRules
from scribble_tools.images.picture_labels import TRANSPARENT, colour_codes, picture_of
from scribble_tools.images.slicer_segmentation import count_segment_voxels, read_segments_on_grid
from scribble_tools.suggest.command import names_to_draw
from scribble_tools.suggest.places import Place
from scribble_tools.suggest.starting_layers import (
    style_of,
    write_legends,
    write_starting_layer,
)

SHAPE = (4, 30, 30)
IGNORE = 3


def make_image(shape=SHAPE):
    image = sitk.GetImageFromArray(np.zeros(shape, np.int16))
    image.SetSpacing((1.0, 1.0, 6.0)[: len(shape)])
    if len(shape) == 3:
        image.SetOrigin((-10, 20, 30))
    return image


def make_dataset(folder, scribble="drawn/case.nii.gz", values=None, record=True):
    folder.mkdir()
    labels = {"background": 0, "RV": 1, "LV": 2, "ignore": IGNORE}
    content = {"labels": labels, "file_ending": ".nii.gz", "channel_names": {"0": "MRI"}}
    (folder / "dataset.json").write_text(json.dumps(content))
    if record:
        record = {
            "scribble_labels": {
                "classes": {"background": [7], "RV": [5, 6], "LV": [2]},
                "unlabelled": [0],
            },
            "values_of_names": values or {},
            "cases": {"case": {"part": "Tr", "scribble": scribble}},
        }
        (folder / "conversion.json").write_text(json.dumps(record))
    return folder


def drawn(shape=SHAPE):
    strokes, predicted = np.full(shape, IGNORE), np.zeros(shape, int)
    strokes[1, 10, 5:12], strokes[1, 25, 2:28] = 1, 0
    predicted[:, 8:14, 4:14], predicted[:, 18:24, 18:24] = 1, 2
    return strokes, predicted


def place(predicted="LV", index=(2, 21, 21)):
    return Place("case", index[0], index, "far", {}, predicted, "RV", 0.6, 0.3, 30, 12, 1)


def write(dataset, image, strokes, predicted, folder, ending=None, places=None):
    folder.mkdir()
    labels = read_label_set(dataset / "dataset.json")
    plane = display_plane(image, folder / "case.nii.gz")
    style = style_of(dataset, ending)
    places = [(3, place())] if places is None else places
    path, legend = write_starting_layer(
        style, labels, image, plane, strokes, predicted, places, folder / "case"
    )
    write_legends(legend, style, [path], folder)
    return path


def test_a_label_map_has_the_users_values_and_others_for_what_is_no_stroke(tmp_path):
    dataset, image, (strokes, predicted) = make_dataset(tmp_path / "d"), make_image(), drawn()
    path = write(dataset, image, strokes, predicted, tmp_path / "next")
    assert path.name == "case.nii.gz"
    read = sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(read)
    np.testing.assert_array_equal(values == 5, strokes == 1)
    np.testing.assert_array_equal(values == 7, strokes == 0)
    assert read.GetOrigin() == image.GetOrigin() and read.GetSpacing() == image.GetSpacing()
    ring = values == 201
    assert ring[2].sum() > 15 and ring.sum() == ring[2].sum()
    rows, columns = np.nonzero(ring[2])
    assert abs(rows.mean() - 21) < 1 and abs(columns.mean() - 21) < 1
    free = (strokes == IGNORE) & ~ring
    np.testing.assert_array_equal((values == 102) & free, (predicted == 2) & free)
    assert set(np.unique(values)) == {0, 5, 7, 101, 102, 201}
    names = read_label_description(tmp_path / "next" / "labels.txt")
    to_draw = style_of(dataset).to_draw
    assert to_draw == {name: str(names[name]) for name in ("background", "RV", "LV")}
    assert style_of(dataset, ".seg.nrrd").to_draw == {}  # segments are called as classes
    assert names["RV"] == 5 and names["prediction: LV"] == 102 and names["look here 1"] == 201
    assert read_not_strokes(tmp_path / "next").values == (101, 102, 201)


def test_slicers_segments_keep_their_names_and_lie_over_each_other(tmp_path):
    names = {"Outside": 0, "Right ventricle": 1, "Left ventricle": 2}
    dataset = make_dataset(tmp_path / "d", "drawn/case.seg.nrrd", names)
    record = json.loads((dataset / "conversion.json").read_text())
    record["scribble_labels"] = {
        "classes": {"background": [0], "RV": [1], "LV": [2]},
        "unlabelled": [IGNORE],
    }
    (dataset / "conversion.json").write_text(json.dumps(record))
    image, (strokes, predicted) = make_image(), drawn()
    to_draw = style_of(dataset).to_draw
    assert to_draw["background"] == "'Outside'" and to_draw["RV"] == "'Right ventricle'"
    path = write(dataset, image, strokes, predicted, tmp_path / "next")
    assert path.name == "case.seg.nrrd" and not (tmp_path / "next" / "labels.txt").exists()
    counts, _ = count_segment_voxels(path)
    assert [*counts] == [
        "Outside",
        "Right ventricle",
        "Left ventricle",
        "prediction: RV",
        "prediction: LV",
        "look 3: LV or RV?",
    ]
    assert counts["prediction: RV"] == (predicted == 1).sum(), "strokes hide nothing of it"
    labels = read_segments_on_grid(
        path, image, {**names, **dict.fromkeys([*counts][3:], IGNORE)}, IGNORE, "first"
    )
    np.testing.assert_array_equal(labels, strokes)
    assert all(name.startswith(read_not_strokes(tmp_path).segments) for name in [*counts][3:])
    assert painted(dataset, path, image) is None
    file = path.parent / "not_strokes.json"
    content = json.loads(file.read_text())
    content["voxels"]["case"]["prediction: RV"] -= 1
    file.write_text(json.dumps(content))
    note = "1 voxel was drawn with 'prediction: RV': draw with 'Right ventricle'"
    assert painted(dataset, path, image) == note


def painted(dataset, path, image, options=None):
    """What the reader of `convert --update` says was drawn in vain."""
    reader = StrokeReader(read_drawn_labels(dataset), path.parent, options or UpdateOptions())
    reader.read(path, image)
    return reader.passed_over.get(path)


def test_what_is_drawn_with_a_predictions_label_is_noticed_and_what_is_erased_is_not(tmp_path):
    dataset, image, (strokes, predicted) = make_dataset(tmp_path / "d"), make_image(), drawn()
    path = write(dataset, image, strokes, predicted, tmp_path / "next")
    assert painted(dataset, path, image) is None
    read = sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(read)

    def save(array):
        new = sitk.GetImageFromArray(array)
        new.CopyInformation(read)
        sitk.WriteImage(new, str(path))

    save(np.where(values == 101, 0, values))
    assert painted(dataset, path, image) is None
    values[3, 1, :6], values[3, 2, :4], values[3, 3, 0] = 101, 201, 5
    save(values)
    assert painted(dataset, path, image) == (
        "6 voxels were drawn with 'prediction: RV' (101): draw with 5; "
        "4 voxels were drawn with 'look here 1' (201)"
    )
    assert "prediction" not in painted(dataset, path, image, UpdateOptions(["101"]))
    assert painted(dataset, path, image, UpdateOptions(rules=GridRules(resample=True))) is None
    file = path.parent / "not_strokes.json"
    older = {key: json.loads(file.read_text())[key] for key in ("values", "segments")}
    file.write_text(json.dumps(older))
    assert painted(dataset, path, image) is None


def test_pictures_get_a_grey_png_and_images_without_strokes_only_a_prediction(tmp_path):
    dataset = make_dataset(tmp_path / "d", "drawn/case.png")
    image = make_image((30, 30))
    predicted = drawn()[1][0]
    path = write(
        dataset, image, None, predicted, tmp_path / "next", None, [(1, place("RV", (0, 9, 9)))]
    )
    assert path.name == "case.png"
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert values.dtype == np.uint8 and set(np.unique(values)) == {0, 101, 102, 201}


def test_where_zero_is_background_the_value_to_draw_it_with_is_named(tmp_path):
    dataset = make_dataset(tmp_path / "d")
    record = json.loads((dataset / "conversion.json").read_text())
    classes = {"background": [0], "RV": [1], "LV": [2]}
    record["scribble_labels"] = {"classes": classes, "unlabelled": [4]}
    (dataset / "conversion.json").write_text(json.dumps(record))
    image, (strokes, predicted) = make_image(), drawn()
    path = write(dataset, image, strokes, predicted, tmp_path / "next")
    assert style_of(dataset).to_draw == {"background": "100", "RV": "1", "LV": "2"}
    assert (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) == 100).sum() == (strokes == 0).sum()


def test_another_format_and_no_record(tmp_path):
    dataset = make_dataset(tmp_path / "d", record=False)
    image, (strokes, predicted) = make_image(), drawn()
    path = write(dataset, image, strokes, predicted, tmp_path / "a")
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(values == 1, strokes == 1)
    # in dataset.json background is 0, with which no program draws, and 3 would hide the image
    np.testing.assert_array_equal(values == 100, strokes == 0)
    assert values[0, 0, 0] == 0
    assert read_not_strokes(tmp_path / "a").aliases == {0: IGNORE, 100: 0}
    assert read_label_description(tmp_path / "a/labels.txt")["RV"] == 1
    reader = StrokeReader(read_drawn_labels(dataset), path.parent, UpdateOptions())
    np.testing.assert_array_equal(reader.read(path, image), strokes)
    path = write(dataset, image, strokes, predicted, tmp_path / "b", ".seg.nrrd")
    assert {"background", "RV", "LV"} < set(count_segment_voxels(path)[0])


def test_values_up_to_255_leave_room(tmp_path):
    dataset = make_dataset(tmp_path / "d")
    record = json.loads((dataset / "conversion.json").read_text())
    record["scribble_labels"]["classes"]["LV"] = [255]
    (dataset / "conversion.json").write_text(json.dumps(record))
    image, (strokes, predicted) = make_image(), drawn()
    path = write(dataset, image, strokes, predicted, tmp_path / "next")
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert set(np.unique(values)) == {0, 5, 7, 301, 302, 401}


def test_regions_without_record_are_drawn_by_value(tmp_path):
    dataset = make_dataset(tmp_path / "d", record=False)
    content = json.loads((dataset / "dataset.json").read_text())
    content["labels"] = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    content["regions_class_order"] = [1, 2]
    (dataset / "dataset.json").write_text(json.dumps(content))
    assert style_of(dataset).mapping.names == ("background", "label 1", "core")
    assert isinstance(read_label_set(dataset / "dataset.json"), LabelSet)
    image, (strokes, predicted) = make_image(), drawn()
    path = write(dataset, image, strokes, predicted, tmp_path / "next")
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert {101, 102} <= set(np.unique(values))


def test_a_damaged_list_of_what_is_no_stroke_is_refused(tmp_path):
    file = tmp_path / "not_strokes.json"
    file.write_text('{"values": ["x"], "segments": []}')
    with pytest.raises(ValueError, match="not_strokes.json: values"):
        read_not_strokes(tmp_path)
    file.write_text('{"values": [], "segments": [], "names": {"x": "look"}}')
    with pytest.raises(ValueError, match="not_strokes.json: names has the key 'x'"):
        read_not_strokes(tmp_path)


def test_strokes_in_colours_stay_so_and_all_else_has_other_colours(tmp_path):
    dataset = make_dataset(tmp_path / "d", "drawn/case.png")
    record = json.loads((dataset / "conversion.json").read_text())
    red, pale_red, blue = 0xFF0000, 0xFF8080, 0x0000FF  # pale red is RV's prediction, if free
    classes = {"background": [blue], "RV": [red], "LV": [pale_red]}
    record["scribble_labels"] = {"classes": classes, "unlabelled": [TRANSPARENT]}
    (dataset / "conversion.json").write_text(json.dumps(record | {"pictures": "colour"}))
    image, (strokes, predicted) = make_image((30, 30)), (own[1] for own in drawn())
    path = write(
        dataset, image, strokes, predicted, tmp_path / "next", None, [(1, place("LV", (0, 9, 9)))]
    )
    codes = colour_codes(sitk.ReadImage(str(path)), path)
    np.testing.assert_array_equal(codes == red, strokes == 1)
    np.testing.assert_array_equal(codes == blue, strokes == 0)
    table = read_colour_table(tmp_path / "next" / "colours.csv")
    assert (table["RV"], table["LV"], table["background"]) == (red, pale_red, blue)
    others = {code for name, code in table.items() if name.startswith(("prediction", "look"))}
    assert len(others) == 3 and not others & {red, pale_red, blue}
    assert style_of(dataset).to_draw["LV"] == "#ff8080"
    names = names_to_draw({0: "background", 2: "LV", 4: "LA"}, style_of(dataset))
    assert names == {0: "background = #0000ff", 2: "LV = #ff8080", 4: "LA"}
    assert set(np.unique(codes)) == {TRANSPARENT, red, blue, *others}
    assert set(read_not_strokes(tmp_path / "next").values) == others
    # what `convert --update` does
    reader = StrokeReader(read_drawn_labels(dataset), path.parent, UpdateOptions())
    np.testing.assert_array_equal(reader.read(path, image), strokes)
    assert not reader.passed_over
    codes[0, 1] = next(code for name, code in table.items() if name == "prediction: RV")
    save_image(picture_of(codes), path)
    note = painted(dataset, path, image)
    assert note.startswith("1 voxel was drawn with 'prediction: RV' (#")
    assert note.endswith("): draw with #ff0000")
    codes[0, 0] = 0x123456
    save_image(picture_of(codes), path)
    with pytest.raises(ValueError, match=r"holds the values \[#123456\], .* \(background=#0000ff "):
        reader.read(path, image)
    reader = StrokeReader(read_drawn_labels(dataset), path.parent, UpdateOptions(["#123456"]))
    np.testing.assert_array_equal(reader.read(path, image), strokes)
