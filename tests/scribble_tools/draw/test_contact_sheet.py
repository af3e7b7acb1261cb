"""The contact sheet: what is drawn where, in which colour, and with which aspect."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from scribble_tools.draw.contact_sheet import (
    COLOURS,
    DOTS_PER_INCH,
    Panel,
    Shades,
    choose_slices,
    colour_of,
    contact_sheet,
    overlay,
    save_png,
    thicken,
)


def stack():
    """An image of 4 slices; scribbles in slices 1 and 3, unlabelled is 4."""
    labels = np.full((4, 10, 12), 4, np.uint8)
    labels[1, 2, 2:8], labels[3, 5, 5] = 1, 0
    return np.arange(480, dtype=float).reshape(4, 10, 12), labels


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def rendered(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255


def panel_pixels(figure, number):
    """The rendered pixels of the figure's ``number``-th image."""
    left, right, bottom, top = figure.axes[0].images[number].get_extent()
    picture = rendered(figure)
    dots = [round(side * DOTS_PER_INCH) for side in (left, right, bottom, top)]
    return picture[len(picture) - dots[3] + 1 : len(picture) - dots[2], dots[0] + 1 : dots[1]]


def test_overlay_colours_and_hides():
    labels = np.array([[0, 1], [2, 4]], np.uint8)
    picture = overlay(labels, hidden=4, alpha=0.5)
    assert picture[1, 1, 3] == 0
    for position, value in {(0, 0): 0, (0, 1): 1, (1, 0): 2}.items():
        assert picture[position] == pytest.approx((*to_rgb(COLOURS[value]), 0.5))
    assert overlay(labels, hidden=0, alpha=1.0)[0, 0, 3] == 0


def test_colours_are_distinct_and_repeat_after_21():
    colours = np.array([colour_of(value) for value in range(21)])
    distance = np.abs(colours[:, None] - colours[None]).sum(axis=-1) + 9 * np.eye(21)
    assert distance.min() > 0.1
    assert colours[:7] == pytest.approx(np.array([to_rgb(colour) for colour in COLOURS]))
    assert colour_of(21) == colour_of(0)


def test_thin_strokes_widen_into_hidden_pixels_only():
    labels = np.full((7, 9), 9, np.uint8)
    labels[2, 3:6], labels[3, 3:6] = 2, 1
    wide = thicken(labels, hidden=9, width_mm=3, spacing_mm=(1, 1))
    assert (wide[2:4] == np.where(labels[2:4] == 9, wide[2:4], labels[2:4])).all()
    assert wide[1, 4] == 2  # hidden pixels take the label of the nearest stroke
    assert wide[4, 4] == 1
    assert (wide[[0, 5, 6]] == 9).all()


def test_wide_strokes_stay_as_they_are():
    labels = np.zeros((20, 60), np.uint8)
    labels[5:9, 2:58], labels[15, 2:58] = 1, 2
    wide = thicken(labels, hidden=0, width_mm=4, spacing_mm=(1, 1))
    assert ((wide == 1) == (labels == 1)).all()
    assert np.flatnonzero(wide[:, 30] == 2).tolist() == [13, 14, 15, 16, 17]


def test_a_wide_stroke_of_the_same_label_does_not_keep_another_thin():
    labels = np.zeros((20, 60), np.uint8)
    labels[3:9, 2:58], labels[15, 2:58] = 1, 1
    wide = thicken(labels, hidden=0, width_mm=3, spacing_mm=(1, 1))
    assert np.flatnonzero(wide[:, 30]).tolist() == [3, 4, 5, 6, 7, 8, 14, 15, 16]


def test_thickening_is_physical_where_pixels_are_not_square():
    labels = np.zeros((9, 30), np.uint8)
    labels[:, 15] = 1
    wide = thicken(labels, hidden=0, width_mm=5, spacing_mm=(4, 1))
    assert (wide == 1).any(axis=0).sum() == 5
    labels = np.zeros((9, 30), np.uint8)
    labels[4] = 1
    assert (thicken(labels, hidden=0, width_mm=5, spacing_mm=(4, 1)) == labels).all()


def test_an_unlabelled_slice_stays_empty():
    labels = np.full((5, 5), 3, np.uint8)
    assert (thicken(labels, hidden=3, width_mm=9, spacing_mm=(1, 1)) == 3).all()


def test_slices_with_scribbles_are_spread_over_the_range():
    labels = np.zeros((12, 4, 4), np.uint8)
    labels[2:11, 0] = 1  # nine labelled slices
    panel = Panel("scribble", labels, strokes=True)
    assert choose_slices(panel, 3) == [3, 6, 9]
    labels[2, 1], labels[10, 1] = 2, 2  # more labels win within their third
    assert choose_slices(panel, 3) == [2, 6, 10]
    assert choose_slices(panel, 99) == list(range(2, 11))


def test_slices_with_most_of_a_segmentation():
    labels = np.zeros((8, 4, 4), np.uint8)
    labels[1:7, 0, 0] = 1
    labels[3, 0], labels[6, :2] = 1, 1
    assert choose_slices(Panel("prediction", labels), 2) == [3, 6]


def test_without_labels_it_is_the_middle_slice():
    assert choose_slices(Panel("scribble", np.full((7, 3, 3), 4), hidden=4), 3) == [3]


def test_sheet_has_a_column_per_panel_and_a_legend_of_what_is_there():
    image, labels = stack()
    dense = np.zeros_like(labels)
    dense[1, 2:5, 2:8] = 3
    panels = [Panel("scribble", labels, 4, strokes=True), Panel("reference", dense)]
    figure = contact_sheet(
        image, panels, (1, 1), [1, 2], {3: "LV"}, "case", ("R", "L", "A", "P"), ["A note."]
    )
    lefts = {round(shown.get_extent()[0], 3) for shown in figure.axes[0].images}
    bottoms = {round(shown.get_extent()[2], 3) for shown in figure.axes[0].images}
    assert (len(lefts), len(bottoms)) == (3, 2)
    assert texts(figure) == [
        "case",
        "A note.",
        *("image", "scribble", "reference"),
        *("slice 1", "slice 2"),
        *("R", "L", "A", "P"),
        *("R", "L", "A", "P"),
    ]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["label 1", "LV"]


def test_a_legend_that_fits_is_one_row():
    image, labels = stack()
    labels[1, :4, 0] = range(4)
    names = {0: "background", 1: "RV", 2: "MYO", 3: "LV"}
    panels = [Panel("scribble", labels, 4, strokes=True)]
    figure = contact_sheet(image, panels, (1, 1), [1], names)
    figure.canvas.draw()
    texts = figure.legends[0].get_texts()
    assert [text.get_text() for text in texts] == list(names.values())
    assert len({round(text.get_window_extent().y0) // 9 for text in texts}) == 1


def test_everything_lies_on_the_sheet():
    image, labels = stack()
    labels[1, :, 0] = np.arange(10) + 5
    names = {value: f"a structure with the long name {value}" for value in range(20)}
    title = "nnUNetTrainerPCLMix__nnUNetPlans_reduced__2d/fold_0/validation"
    panels = [Panel(title, labels, 4, strokes=True)]
    figure = contact_sheet(image, panels, (3, 1), [1], names, 5 * "case", notes=[30 * "note "])
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    parts = [*figure.axes[0].texts, *figure.legends]
    boxes = [part.get_window_extent() for part in parts]
    for part, box in zip(parts, boxes, strict=True):
        assert 0 <= box.x0 <= box.x1 <= width, part
        assert 0 <= box.y0 <= box.y1 <= height, part
    for text, box in zip(parts, boxes, strict=True):
        assert not [other for other in boxes if other is not box and box.overlaps(other)], text


def test_edges_letters_stand_at_their_edges():
    image, labels = stack()
    figure = contact_sheet(image, [Panel("s", labels, 4)], (1, 1), [1], edges=("R", "L", "A", "P"))
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    place = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert left < place["R"][0] < (left + right) / 2 < place["L"][0] < right
    assert bottom < place["P"][1] < (bottom + top) / 2 < place["A"][1] < top


def test_panels_keep_the_physical_aspect():
    image, labels = stack()  # 10 rows of 3 mm, 12 columns of 1.5 mm
    figure = contact_sheet(image, [Panel("scribble", labels, 4)], (3.0, 1.5), [1, 3])
    sheet = figure.axes[0]
    assert sheet.get_xlim() == (0, figure.get_size_inches()[0])  # the axes are in inches
    assert sheet.get_ylim() == (0, figure.get_size_inches()[1])
    for shown in sheet.images:
        left, right, bottom, top = shown.get_extent()
        assert (top - bottom) / (right - left) == pytest.approx(30 / 18)


def test_rendered_colours_are_exact():
    labels = np.full((1, 8, 8), 4, np.uint8)
    labels[0, :4, :4], labels[0, :4, 4:], labels[0, 4:, :4] = 0, 1, 2
    figure = contact_sheet(np.zeros(labels.shape), [Panel("s", labels, 4, True)], (1, 1), [0])
    pixels = panel_pixels(figure, 2)
    quarter = len(pixels) // 4
    for place, value in {(1, 1): 0, (1, 3): 1, (3, 1): 2}.items():
        seen = pixels[place[0] * quarter, place[1] * quarter]
        assert seen == pytest.approx(to_rgb(COLOURS[value]), abs=1 / 255)
    assert pixels[3 * quarter, 3 * quarter].tolist() == [0, 0, 0]
    assert panel_pixels(figure, 0).max() == 0  # nothing over the bare image


def test_the_image_shows_through_a_slice_that_is_annotated_wholly():
    labels = np.ones((1, 8, 8), np.uint8)
    image = np.zeros(labels.shape)
    image[0, :4] = 1
    figure = contact_sheet(image, [Panel("s", labels, 4, True)], (1, 1), [0])
    pixels = panel_pixels(figure, 2)
    assert pixels[20, 20] == pytest.approx(0.6 * np.array(to_rgb(COLOURS[1])) + 0.4, abs=2 / 255)
    assert pixels[-20, 20] == pytest.approx(0.6 * np.array(to_rgb(COLOURS[1])), abs=2 / 255)


def test_a_thin_stroke_stays_visible_in_a_large_picture_and_the_footer_says_so():
    labels = np.zeros((1, 900, 900), np.uint8)
    labels[0, 450] = 1
    panels = [Panel("s", labels, 0, strokes=True)]
    figure = contact_sheet(np.zeros(labels.shape), panels, (1, 1), [0])
    stroke = np.abs(panel_pixels(figure, 2) - to_rgb(COLOURS[1])).max(axis=-1) < 0.02
    assert 3 <= np.count_nonzero(stroke.mean(axis=1) > 0.9) <= 5
    footer = "Thin scribbles are drawn thicker than they are, to be seen."
    assert footer in " ".join(texts(figure)).replace("\n", " ")
    figure = contact_sheet(np.zeros(labels.shape), [Panel("s", labels)], (1, 1), [0])
    assert "thicker" not in " ".join(texts(figure))


def test_colour_images_are_shown_in_colour_and_pale_under_labels():
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[..., 0] = 200
    image[:, :, 2:] = (0, 200, 0)  # as bright: one grey
    figure = contact_sheet(image, [Panel("s", np.zeros((1, 4, 4), int), 0)], (1, 1), [0])
    assert panel_pixels(figure, 0)[50, 50] == pytest.approx((200 / 255, 0, 0), abs=1 / 255)
    pale = panel_pixels(figure, 1)
    assert np.ptp(panel_pixels(figure, 0)[50, 50]) > 2 * np.ptp(pale[50, 50])
    assert pale[50, 50].mean() == pytest.approx(200 / 255 / 3, abs=2 / 255)
    assert np.abs(pale[50, 50] - pale[50, -50]).max() > 0.2


def test_voxels_that_are_no_numbers_are_black():
    image = np.full((1, 20, 20), 5.0)
    image[0, :10], image[0, 0, 0] = 10.0, np.nan
    figure = contact_sheet(image, [Panel("s", np.zeros(image.shape, int))], (1, 1), [0])
    pixels = panel_pixels(figure, 0)
    assert pixels[-9, 9].max() == 0
    assert pixels[90, 90].min() == 1


def test_more_labels_than_colours_are_stated():
    image, labels = stack()
    labels[1, 0, :3] = 22
    figure = contact_sheet(image, [Panel("s", labels, 4)], (1, 1), [1])
    assert "Colours repeat after 21 labels." in " ".join(texts(figure)).replace("\n", " ")


def test_unusable_input_is_named():
    image, labels = stack()
    with pytest.raises(ValueError, match=r"wrong: shape \(3, 10, 12\), image: \(4, 10, 12\)"):
        contact_sheet(image, [Panel("wrong", labels[:3])], (1, 1), [1])
    with pytest.raises(ValueError, match="no slice 4: the image has slices 0 to 3"):
        contact_sheet(image, [Panel("s", labels)], (1, 1), [4])


def test_saving_replaces_all_or_nothing(tmp_path, monkeypatch):
    image, labels = stack()
    figure = contact_sheet(image, [Panel("s", labels, 4)], (1, 1), [1])
    path = tmp_path / "a.png"
    save_png(figure, path)
    before = path.read_bytes()
    assert imread(path).shape[:2] == figure.canvas.get_width_height()[::-1]

    def half_written(temporary, **_):
        temporary.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", half_written)
    with pytest.raises(OSError, match="disk full"):
        save_png(figure, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_shades_are_a_column_from_black_to_white():
    image, labels = stack()
    values = np.zeros(image.shape)
    values[1, :5] = 1
    shades = [Shades("uncertainty", values)]
    figure = contact_sheet(image, [Panel("pred", labels, 4)], (1, 1), [1], shades=shades)
    assert "uncertainty" in texts(figure)
    shown = [np.asarray(own.get_array()) for own in figure.axes[0].images]
    (number,) = (k for k, own in enumerate(shown) if np.array_equal(own, values[1]))
    pixels = panel_pixels(figure, number)
    half = len(pixels) // 2
    assert pixels[: half - 4].min() > 0.9 and pixels[half + 4 :].max() < 0.1


def test_many_slices_stand_in_several_columns():
    labels = np.full((60, 10, 12), 4, np.uint8)
    labels[:, 2, 2:8] = 1
    image = np.zeros(labels.shape)
    image[:, 0, 0] = range(60)
    figure = contact_sheet(image, [Panel("scribble", labels, 4, strokes=True)], (1, 1), range(60))
    width, height = figure.get_size_inches()
    assert 1 / 2 < width / height < 2
    found = texts(figure)
    assert [text for text in found if text.startswith("slice")] == [f"slice {k}" for k in range(60)]
    assert found.count("scribble") == found.count("image") > 2
    pictures = [own for own in figure.axes[0].images if np.ndim(own.get_array()) == 2]
    boxes = {tuple(np.round(own.get_extent(), 3)) for own in pictures}
    assert len(boxes) == 120, "each has a place of its own"
    assert all(
        0 <= left < right <= width and 0 <= low < top <= height for left, right, low, top in boxes
    )
