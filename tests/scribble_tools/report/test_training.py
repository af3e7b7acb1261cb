"""What is read of a training: logs as text, checkpoints as plain data, pickles never."""

import math
import os
import pickle

import numpy as np
import pytest
import torch

from scribble_tools.report.training import (
    find_fold,
    find_predictions,
    logger_series,
    read_checkpoint,
    read_logs,
    read_training,
)
from tests.scribble_tools.report.example import LOG, make_model


@pytest.fixture
def fold(tmp_path):
    return make_model(tmp_path, "Ours", ("a",))


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_the_log_gives_a_value_per_epoch(fold):
    series, warnings = read_logs(fold)
    assert series == {
        "lrs": [0.01] * 3,
        "train_losses": [1.0, 0.9, 0.8],
        "val_losses": [-0.5] * 3,
        "dice_per_class": [[0.5, 1.0], [0.5, 0.9], [0.5, 0.8]],
        "seconds_per_epoch": [12.5] * 3,
    }
    assert warnings == ["WARNING: all pixels are uncertain"]


def test_a_continued_training_overrules_the_epochs_it_repeats(fold):
    later = LOG.format(epoch=2, loss=0.1) + LOG.format(epoch=3, loss="nan")
    (fold / "training_log_2026_1_2_00_00_00.txt").write_text(later)
    losses = read_logs(fold)[0]["train_losses"]
    assert losses[:3] == [1.0, 0.9, 0.1] and math.isnan(losses[3])


def test_the_epoch_that_runs_now_is_left_out(fold):
    log = fold / "training_log_2026_1_1_00_00_00.txt"
    log.write_text(log.read_text() + LOG.format(epoch=3, loss=0.3).split("train_loss")[0])
    assert all(len(values) == 3 for values in read_logs(fold)[0].values())


def test_an_older_nnunets_pseudo_dice_is_read_too(fold):
    line = "2026-01-01 00:00:00.0: Pseudo dice [0.25, nan] \n"
    log = fold / "training_log_2026_1_1_00_00_00.txt"
    log.write_text(log.read_text() + line)
    last = read_logs(fold)[0]["dice_per_class"][-1]
    assert last[0] == 0.25 and math.isnan(last[1])


def test_a_plain_checkpoint_tells_settings_and_exact_series(fold):
    logging = {
        "train_losses": [1.01, 0.91, 0.81],
        "dice_per_class_or_region": [[0.5, 1.0]] * 3,
        "epoch_start_timestamps": [10.0, 20.0, 30.0],
        "epoch_end_timestamps": [15.0, 26.0, 37.0],
        "pclmix_agreement": [0.5, 0.6, 0.7],
        "text": ["no", "number", "s"],
    }
    config = {"temperature": 7.0, "contrast": False}
    ours = {
        "trainer_name": "OurTrainer",
        "config": config,
        "defaults": {**config, "temperature": 0.07},
    }
    content = {"logging": logging, "pclmix": {**ours, "torch_seed": 5, "num_epochs": 3}}
    torch.save({**content, "network_weights": torch.ones(3)}, fold / "checkpoint_final.pth")
    training = read_training(fold)
    assert training.series["train_losses"] == [1.01, 0.91, 0.81]
    assert training.series["val_losses"] == [-0.5] * 3, "what the checkpoint lacks is the log's"
    assert training.series["pclmix_agreement"] == [0.5, 0.6, 0.7]
    assert training.series["seconds_per_epoch"] == [5.0, 6.0, 7.0]
    assert "text" not in training.series
    assert training.facts["trainer"] == "OurTrainer"
    assert training.facts["seed of torch"] == "5" and training.facts["epochs done"] == "3"
    assert training.facts["trained by"] == (
        "nnUNetv2_train Dataset007_Organs 2d 0 -tr Ours -p nnUNetPlans"
    )
    assert training.changed == ["temperature"] and not training.remarks


def test_a_training_without_its_last_checkpoint_is_not_finished(fold):
    assert not read_training(fold).unfinished, "no checkpoint tells"
    content = {"logging": {"train_losses": [0.5] * 3}, "pclmix": {"num_epochs": 50}}
    torch.save(content, fold / "checkpoint_best.pth")
    words = "The training of fold 0 is not finished: 3 of 50 epochs are done. "
    words += "If it no longer runs, go on with: nnUNetv2_train Dataset007_Organs 2d 0 -tr Ours"
    assert read_training(fold).unfinished == f"{words} -p nnUNetPlans --c"
    content["pclmix"]["num_epochs"] = 3  # killed while it wrote the last one
    torch.save(content, fold / "checkpoint_best.pth")
    assert "not finished: there is no checkpoint_final.pth." in read_training(fold).unfinished
    torch.save(content, fold / "checkpoint_final.pth")
    assert not read_training(fold).unfinished


def test_a_checkpoint_that_is_more_than_data_is_not_executed(fold, tmp_path):
    trap = tmp_path / "executed"
    torch.save({"logging": {"train_losses": [np.float32(1)]}}, fold / "checkpoint_best.pth")
    torch.save({"logging": Evil(trap)}, fold / "checkpoint_final.pth")
    training = read_training(fold)
    assert not trap.exists()
    assert training.series["train_losses"] == [1.0, 0.9, 0.8]
    assert training.remarks == [
        "checkpoint_final.pth was not read (it holds more than plain data, or is damaged); curves "
        "are from the training's log."
    ]
    (fold / "checkpoint_final.pth").write_bytes(pickle.dumps(Evil(trap)))
    assert read_checkpoint(fold)[0] == {} and not trap.exists()


def test_the_stock_trainers_checkpoint_is_read_too(fold):
    """Its log holds numpy's numbers, which are data."""
    torch.save({"logging": {"train_losses": [np.float32(0.5)] * 3}}, fold / "checkpoint_best.pth")
    training = read_training(fold)
    assert training.series["train_losses"] == [0.5] * 3 and not training.remarks


def test_numbers_and_tables_without_bounds_are_left_out(fold):
    laughs: object = "ha"
    for _ in range(12):
        laughs = [laughs] * 10
    logging = {
        "train_losses": [float("inf"), 1, True],
        "val_losses": [0.0] * 200_000,
        "epoch_start_timestamps": [[1.0]],
        "epoch_end_timestamps": [[2.0]],
    }
    config = {"temperature": 1e300, "long": "x" * 1000, "list": [1] * 1000, "deep": [[1]], 3: 4}
    ours = {
        "trainer_name": "A",
        "config": config,
        "versions": {"torch": "2" * 300},
        "version": [[]],
    }
    torch.save({"logging": logging, "pclmix": ours}, fold / "checkpoint_final.pth")
    training = read_training(fold)
    assert training.series["train_losses"] == [math.inf, 1, 1]
    assert len(training.series["val_losses"]) == 3
    assert training.settings == {"temperature": 1e300}
    assert not [name for name in training.facts if name.startswith("version")]
    torch.save({"logging": laughs}, fold / "checkpoint_final.pth")
    assert "holds more than plain data" in read_training(fold).remarks[0]
    torch.save({"logging": {"lrs": [10**400]}}, fold / "checkpoint_final.pth")
    assert "holds more than plain data" in read_training(fold).remarks[0]


def test_a_log_with_a_billion_epochs_or_one_endless_line(fold):
    log = fold / "training_log_2026_1_1_00_00_00.txt"
    text = log.read_text()
    before = read_logs(fold)
    time = "2026-01-01 00:00:00.0"
    log.write_text(
        f"{text}{time}: Epoch 999999999\n{time}: train_loss 7\n{time}: Epoch {'9' * 5000}\n"
        f"{time}: train_loss {'1' * 10_000_000}x\n"
    )
    os.mkfifo(fold / "training_log_2026_1_2_00_00_00.txt")
    series, warnings = read_logs(fold)
    assert [*map(len, series.values())] == [*map(len, before[0].values())]
    assert warnings == before[1]


def test_a_damaged_checkpoint_is_no_obstacle(fold):
    (fold / "checkpoint_final.pth").write_bytes(b"PK\x03\x04 cut off")
    assert "damaged" in read_training(fold).remarks[0]


@pytest.mark.parametrize("logging", [None, [], {"train_losses": "x"}, {"a": [[1], "x"]}, {"a": []}])
def test_a_logger_of_another_shape_gives_nothing(logging):
    assert logger_series(logging) == {}


def test_an_empty_folder_tells_nothing_and_raises_nothing(tmp_path):
    (tmp_path / "fold_0").mkdir()
    training = read_training(tmp_path / "fold_0")
    assert training.series == {} and training.pictures == []
    assert training.remarks == ["There is no checkpoint in the model's folder."]


def test_plans_of_a_configuration_that_inherits(fold):
    (fold.parent / "plans.json").write_text(
        '{"configurations": {"base": {"patch_size": [8, 9], "spacing": [1, 0.5], "architecture": '
        '{"network_class_name": "a.b.UNet", "arch_kwargs": {"features_per_stage": [4, 8]}}}, '
        '"2d": {"inherits_from": "base", "batch_size": 3}}}'
    )
    facts = read_training(fold).facts
    assert (facts["patch size"], facts["batch size"]) == ("8 x 9", "3")
    assert (facts["network"], facts["features"]) == ("UNet", "4, 8")


def test_pictures_are_found_in_order(fold):
    (fold / "pclmix_snapshots").mkdir()
    for name in (
        "progress.png",
        "pclmix_snapshots/epoch_0010.png",
        "pclmix_snapshots/epoch_0001.png",
    ):
        (fold / name).write_bytes(b"")
    names = [path.name for path in read_training(fold).pictures]
    assert names == ["progress.png", "epoch_0001.png", "epoch_0010.png"]


def test_a_fold_may_be_given_itself(fold):
    assert find_fold(fold) == fold == find_fold(fold.parent) == find_fold(fold.parent, "0")


def test_the_pictures_of_a_training_on_png_are_no_predictions(tmp_path):
    fold = tmp_path / "model" / "fold_0"
    for name in ("progress.png", "pclmix_losses.png", "training_log_1.txt", "validation/a.png"):
        (fold / name).parent.mkdir(parents=True, exist_ok=True)
        (fold / name).touch()
    assert find_predictions(fold, ".png") == fold / "validation"
    (fold / "validation" / "a.png").unlink()
    for checkpoint, todo in (
        (
            "",
            "training of fold 0 was begun or refused, .*log_1.txt says which. .*_train ...",
        ),
        ("checkpoint_best.pth", "is not finished. If it no longer runs, go on with: .*--c"),
        ("checkpoint_final.pth", "Let nnU-Net validate: nnUNetv2_train ... --val"),
    ):
        (fold / checkpoint).touch()
        with pytest.raises(FileNotFoundError, match=todo):
            find_predictions(fold, ".png")
