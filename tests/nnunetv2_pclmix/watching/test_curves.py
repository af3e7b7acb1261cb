"""`pclmix_losses.png`: drawn from any number of epochs, whatever is switched off or not known."""

import math

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.text import Text

from nnunetv2_pclmix.config import STROKE_SUPPORT, PCLMixConfig
from nnunetv2_pclmix.method.term_weights import term_weights
from nnunetv2_pclmix.watching.curves import (
    FILE_NAME,
    SHARES,
    SMOOTHED_FROM,
    draw_training_curves,
    smoothed,
    training_curves,
)
from nnunetv2_pclmix.watching.step_diagnostics import series_names

CLASSES = ["background", "left", "right"]
PER_CLASS = ("annotated", "predicted_main", "predicted_auxiliary")


def logged(epochs, config=None, classes=CLASSES):
    """Series as a trainer with these settings logs them."""
    config = config or PCLMixConfig()
    generator = np.random.default_rng(0)
    weights = [term_weights(config, (epoch + 1) / epochs) for epoch in range(epochs)]
    series = {"train_losses": [0.0] * epochs}
    for name in term_weights(config, 0.0):
        sign = -0.5 if "dice" in name else 1
        series[f"pclmix_{name}"] = list(sign * generator.uniform(0.1, 1, epochs))
        series[f"pclmix_weight_{name}"] = [weight[name] for weight in weights]
    for name in series_names(config):
        many = [[0.1] * (len(classes) - 1)] * epochs
        series[f"pclmix_{name}"] = many if name in PER_CLASS else [0.5] * epochs
    return series


def texts(axis):
    legend = axis.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("epochs", [1, 2, 1000])
def test_every_series_is_in_the_picture(epochs):
    figure = training_curves(logged(epochs), CLASSES)
    terms = [texts(axis) for axis in figure.axes[:3]]
    assert terms == [
        [
            "scribble_main",
            "background_main",
            "1 + dice_main",
            "scribble_auxiliary",
            "background_auxiliary",
            "scribble_main_mixed",
            "background_main_mixed",
            "1 + dice_main_mixed",
            "scribble_auxiliary_mixed",
            "background_auxiliary_mixed",
        ],
        ["pseudo_main", "pseudo_auxiliary"],
        ["heterogeneous", "contrast", "heterogeneous_mixed"],
    ]
    weights = ", ".join(texts(figure.axes[3])).split(", ")
    names = [name for name in term_weights(PCLMixConfig(), 0.0) if not name.endswith("_mixed")]
    assert sorted(weights) == sorted(names)
    assert texts(figure.axes[4]) == list(SHARES.values())
    assert texts(figure.axes[5]) == CLASSES[1:]
    for axis in figure.axes:
        assert axis.get_title() and axis.get_xlabel() == "epoch" and axis.get_ylabel()
        shown = [line.get_ydata() for line in axis.lines]
        assert all(len(values) == epochs for values in shown)
        assert any(np.isfinite(values).any() for values in shown)


def test_every_legend_is_within_the_picture():
    figure = training_curves(logged(3), CLASSES)
    figure.draw_without_rendering()
    legends = [axis.get_legend() for axis in figure.axes]
    for box in (legend.get_window_extent() for legend in legends if legend is not None):
        assert box.x0 >= 0 <= box.y0
        assert box.x1 <= figure.bbox.x1


def test_weights_on_mixed_images_are_dashed_in_the_colour_of_their_partners():
    axis = training_curves(logged(4), CLASSES).axes[3]
    named = {line.get_label(): line for line in axis.lines}
    strokes = named["scribble_main, dice_main"]
    faded = [line for line in axis.lines if line.get_ydata()[0] == 0.75]
    assert [line.get_color() for line in faded] == [strokes.get_color()]
    assert faded[0].get_linestyle() == "--" and strokes.get_linestyle() == "-"
    np.testing.assert_allclose(faded[0].get_ydata(), [0.75, 0.5, 0.25, 0])


def test_values_are_drawn_as_they_are():
    series = logged(3)
    series["pclmix_dice_main"] = [-0.25, -0.5, -0.75]
    series["pclmix_contrast"] = [0.0, 4.0, 3.0]
    figure = training_curves(series, CLASSES)
    axes = figure.axes[:3]
    lines = {line.get_label(): line.get_ydata() for axis in axes for line in axis.lines}
    assert lines["1 + dice_main"].tolist() == [0.75, 0.5, 0.25]
    np.testing.assert_array_equal(lines["contrast"], [np.nan, 4, 3])  # no 0 on this axis
    assert lines["scribble_main"].tolist() == series["pclmix_scribble_main"]


@pytest.mark.parametrize(
    ("config", "panels"),
    [
        (PCLMixConfig(), 6),
        (PCLMixConfig(dynamic_mix=False), 5),
        (PCLMixConfig(auxiliary_decoder=False, contrast=False), 5),
        (STROKE_SUPPORT, 4),
    ],
)
def test_what_is_switched_off_has_no_panel(config, panels):
    figure = training_curves(logged(4, config), CLASSES)
    assert len(figure.axes) == panels
    assert all(axis.lines for axis in figure.axes)
    words = " ".join(text.get_text() for text in figure.findobj(Text))
    assert ("dashed of the mixed image" in words) == config.dynamic_mix
    assert ("auxiliary" in words) == config.auxiliary_decoder
    assert ("pseudo labels" in words) == config.dynamic_mix


def test_a_term_it_has_never_heard_of_is_drawn():
    series = logged(3) | {"pclmix_new": [3.0, 2, 1], "pclmix_weight_new": [1.0] * 3}
    assert "new" in texts(training_curves(series, CLASSES).axes[2])


def test_epochs_that_are_not_known_are_left_out():
    series = logged(5)
    for name in (*series_names(PCLMixConfig()), "weight_contrast"):
        series[f"pclmix_{name}"][:3] = [math.nan] * 3
    series["pclmix_pseudo_main"][1] = math.nan  # a loss that was not finite
    figure = training_curves(series, CLASSES)
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[5].lines}
    np.testing.assert_array_equal(lines["left"], [np.nan] * 3 + [0.1, 0.1])
    assert len(texts(figure.axes[5])) == 2


def test_many_classes_get_no_legend_but_lines():
    many = [f"class {k}" for k in range(40)]
    figure = training_curves(logged(3, classes=many), many)
    assert len(figure.axes[5].lines) == 2 * 39
    assert texts(figure.axes[5]) == []


def test_smoothing():
    values = np.arange(400.0)
    np.testing.assert_allclose(smoothed(values)[10:-10], values[10:-10])
    values[200] = np.nan
    assert smoothed(values)[200] == pytest.approx(200)
    assert np.isnan(smoothed(np.full(100, np.nan))).all()
    constant = smoothed(np.full(150, 3.0))
    np.testing.assert_allclose(constant, 3)
    assert len(training_curves(logged(SMOOTHED_FROM), CLASSES).axes[1].lines) == 4  # and pale ones


def test_the_file_is_whole_and_looks_the_same_whatever_else_draws(tmp_path, monkeypatch):
    draw_training_curves(logged(3), CLASSES, tmp_path)
    picture = imread(tmp_path / FILE_NAME)
    assert picture.shape[0] > 500
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):  # nnU-Net's seaborn
        draw_training_curves(logged(3), CLASSES, tmp_path)
    np.testing.assert_array_equal(imread(tmp_path / FILE_NAME), picture)

    def full(self, file, **kwargs):
        file.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(OSError, match="no space"):
        draw_training_curves(logged(3), CLASSES, tmp_path)
    np.testing.assert_array_equal(imread(tmp_path / FILE_NAME), picture)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
