"""Warnings: each known way of going wrong is named, once in a while, and nothing else is."""

import math

import pytest
import torch

from nnunetv2_pclmix.training.finite_watch import TOO_MANY, FiniteWatch
from nnunetv2_pclmix.watching.early_warnings import REPEAT_EPOCHS, find_warnings

CLASSES = ["background", "left", "right"]
LONG = 4  # epochs of 250 iterations that make a thousand
GOOD = {
    "annotated_share": 0.03,
    "annotated": [0.01, 0.005],
    "predicted_main": [0.1, 0.02],
    "predicted_auxiliary": [0.12, 0.01],
    "decoder_agreement": 0.95,
    "certain_share": 0.9,
    "queue_fill": 1.0,
    "pseudo_main": 0.3,
    "weight_pseudo_main": 1.0,
    "stroke_trust": 0.9,
}


def series_of(*epochs):
    """Series of epochs that are as good as ``GOOD`` but for what is given."""
    return {f"pclmix_{name}": [{**GOOD, **epoch}[name] for epoch in epochs] for name in GOOD}


def warnings_of(series, epochs=50, iterations=250):
    """Warnings of all epochs of a training: pairs of epoch and text."""
    found = []
    for epoch in range(len(series["pclmix_annotated"])):
        so_far = {name: values[: epoch + 1] for name, values in series.items()}
        found += [(epoch, text) for text in find_warnings(so_far, CLASSES, iterations, epochs)]
    return found


WRONG = {
    "nothing certain": ({"certain_share": 0.001}, "fewer than 1% of the voxels are certain"),
    "all certain": ({"certain_share": 1.0}, "every voxel is certain"),
    "main collapsed": (
        {"predicted_main": [0.0, 0.0]},
        "the main decoder labels everything as background",
    ),
    "auxiliary collapsed": (
        {"predicted_auxiliary": [1.0, 0.0]},
        "the auxiliary decoder labels everything as left",
    ),
    "class lost": ({"predicted_main": [0.1, 0.0]}, "the main decoder has lost right"),
    "class nearly lost": (
        {"predicted_auxiliary": [0.1, 0.0001]},
        "the auxiliary decoder has lost right",
    ),
    "background lost": (
        {"predicted_main": [0.9, 0.1]},
        "the main decoder has lost background",
    ),
}


def test_a_good_training_is_not_warned_of():
    assert warnings_of(series_of(*[{}] * 200)) == []


@pytest.mark.parametrize("name", WRONG)
def test_what_goes_wrong_for_long_is_said_and_said_again(name):
    wrong, text = WRONG[name]
    found = warnings_of(series_of({}, *[wrong] * (LONG + REPEAT_EPOCHS + 2)), epochs=200)
    assert [epoch for epoch, _ in found] == [LONG, LONG + REPEAT_EPOCHS]
    assert all(said.startswith("WARNING: ") and text in said for _, said in found)
    assert "pclmix_snapshots" in found[0][1]  # what to look at


@pytest.mark.parametrize("name", WRONG)
def test_what_passes_is_not_warned_of(name):
    wrong, _ = WRONG[name]
    passing = [wrong] * (LONG - 1) + [{}]
    assert warnings_of(series_of(*passing * 10)) == []


def test_long_is_more_in_a_long_training_and_never_comes_in_a_short_one():
    wrong = series_of(*[{"predicted_main": [0.0, 0.0]}] * 25)
    assert [epoch for epoch, _ in warnings_of(wrong, epochs=1000)] == [19]  # 2 % of 1000
    short = {name: values[:4] for name, values in wrong.items()}
    assert warnings_of(short, epochs=4, iterations=25) == []
    assert [epoch for epoch, _ in warnings_of(short, epochs=2, iterations=100_000)] == [1]


def test_two_classes_are_all_certain_when_the_threshold_has_come_to_ln_2():
    certain = [{"certain_share": 0.95}] * 100 + [{"certain_share": 1.0}] * 100
    assert warnings_of(series_of(*certain), epochs=200) == []


def test_a_rare_class_that_covers_its_strokes_is_not_lost():
    rare = {
        "annotated": [0.01, 1e-6],
        "predicted_main": [0.1, 2e-6],
        "predicted_auxiliary": [0.1, 1e-6],
    }
    assert warnings_of(series_of(*[rare] * 20)) == []


def test_a_class_that_is_not_annotated_cannot_be_lost():
    without = {"annotated": [0.03, 0.0], "annotated_share": 0.03, "predicted_main": [0.1, 0.0]}
    assert warnings_of(series_of(*[without] * 20)) == []


def test_several_classes_are_one_warning():
    shares = {"annotated": [0.01, 0.005, 0.005], "predicted_auxiliary": [0.1, 0.02, 0.01]}
    series = series_of(*[{**shares, "predicted_main": [0.1, 0.0, 0.0]}] * LONG)
    (found,) = find_warnings(series, [*CLASSES, "middle"], 250, 50)
    assert "the main decoder has lost right, middle" in found


def test_without_auxiliary_decoder_and_contrast():
    series = series_of(*[{"predicted_main": [0.1, 0.0]}] * LONG)
    for name in ("predicted_auxiliary", "decoder_agreement", "certain_share", "queue_fill"):
        del series[f"pclmix_{name}"]
    ((epoch, text),) = warnings_of(series)
    assert (epoch, "lost right" in text) == (LONG - 1, True)


@pytest.mark.parametrize("name", WRONG)
def test_pseudo_labels_are_advised_on_only_where_there_are_any(name):
    series = series_of(*[WRONG[name][0]] * LONG)
    ((_, text),) = warnings_of(series)
    assert ("pseudo_ramp" in text) == ("lost" in name or name == "all certain")
    for term in ("pclmix_pseudo_main", "pclmix_weight_pseudo_main"):
        del series[term]
    ((_, text),) = warnings_of(series)
    assert "pseudo" not in text


def test_epochs_of_a_version_that_logged_nothing_say_nothing():
    unknown = dict.fromkeys(GOOD, math.nan) | {"pseudo_main": 0.3}
    wrong = {"predicted_main": [0.0, 0.0]}
    found = warnings_of(series_of(*[unknown] * 30, *[wrong] * LONG))
    assert [epoch for epoch, _ in found] == [30 + LONG - 1]


def test_strokes_that_are_not_trusted_are_warned_of_early():
    distrusted = [{"stroke_trust": 0.05}] * 5
    ((epoch, text),) = warnings_of(series_of(*distrusted), epochs=5)  # a training of 5 epochs
    assert epoch == LONG // 2 - 1
    assert text.startswith("WARNING: for 2 epochs or longer the trust in strokes")
    assert "small-plans" in text and "pclmix_snapshots" in text
    rising = [{"stroke_trust": 0.0}, *[{"stroke_trust": 0.2}] * 20]
    assert warnings_of(series_of(*rising)) == []
    untold = series_of(*distrusted)
    del untold["pclmix_stroke_trust"]  # of a trainer without stroke support
    assert warnings_of(untold) == []


def test_a_loss_that_was_not_finite_is_named_once_in_a_while():
    broken = {"pseudo_main": math.nan}
    found = warnings_of(series_of({}, broken, {}, broken, *[{}] * REPEAT_EPOCHS, broken))
    assert [epoch for epoch, _ in found] == [1, 4 + REPEAT_EPOCHS]
    assert "not finite" in found[0][1]
    assert "pclmix_pseudo_main" in found[0][1]


# ---------------------------------------------------------------- losses that are not finite


def see(watch, losses):
    for iteration, loss in enumerate(losses):
        watch.see(loss, {"fine": 1.0, "broken": loss}, f"iteration {iteration}")
    return watch.problem


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_few_in_a_row_stop_the_training(loss):
    assert see(FiniteWatch(), [1.0, 2.0] + [loss] * (TOO_MANY - 1)) is None
    problem = see(FiniteWatch(), [1.0, 2.0] + [loss] * TOO_MANY)
    assert f"{TOO_MANY} iterations in a row from iteration 2, in broken on" in problem


def test_now_and_then_does_not():
    assert see(FiniteWatch(), ([math.nan] * (TOO_MANY - 1) + [1.0]) * 5) is None


def test_once_found_it_is_not_forgotten_before_the_epoch_ends():
    problem = see(FiniteWatch(), [math.nan] * TOO_MANY + [1.0, 1.0, math.nan])
    assert "from iteration 0, in broken" in problem


def test_weights_are_looked_at_when_an_epoch_ends():
    fine, broken = torch.ones(3), torch.tensor([1.0, math.nan])
    whole = torch.arange(4)
    watch = FiniteWatch()
    assert watch.problem_of_epoch([fine, whole]) is None
    assert watch.problem_of_epoch([fine, broken]) == "the network's weights are not finite any more"
    see(watch, [math.inf])
    assert "any more since iteration 0, in broken" in watch.problem_of_epoch([fine, broken])
