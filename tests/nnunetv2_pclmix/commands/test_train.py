"""`nnunetv2_pclmix train`: what reaches nnU-Net's training, and what torchrun's processes do."""

import inspect
import json

import pytest
import torch
from nnunetv2.run import run_training as nnunets

import nnunetv2_pclmix.train
from nnunetv2_pclmix.cli import main


@pytest.fixture
def started(monkeypatch, tmp_path):
    """A planned data set, and the calls of nnU-Net's training."""
    calls = []
    folder = tmp_path / "planned" / "Dataset130_Hearts"
    folder.mkdir(parents=True)
    configuration = {"spacing": [1, 1], "patch_size": [8, 8], "batch_size": 2, "architecture": {}}
    for name in ("nnUNetPlans", "Plans"):
        configurations = dict.fromkeys(("2d", "3d_fullres"), configuration)
        plans = {"plans_name": name, "configurations": configurations}
        (folder / f"{name}.json").write_text(json.dumps(plans))
    monkeypatch.setenv("nnUNet_preprocessed", str(folder.parent))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))

    signature = inspect.signature(nnunets.run_training)

    def run_training(*args, **kwargs):
        calls.append(signature.bind(*args, **kwargs).arguments)

    monkeypatch.setattr(nnunets, "run_training", run_training)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    threads = torch.get_num_threads()
    yield calls
    torch.set_num_threads(threads)


def as_under_torchrun(monkeypatch):
    for name, value in {"LOCAL_RANK": 0, "RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "x"}.items():
        monkeypatch.setenv(name, str(value))


def test_here_it_is_nnunets_training_with_our_trainer(started):
    assert main("train 130 3d_fullres 2 -device cpu --c --npz".split()) == 0
    (call,) = started
    assert call.pop("device") == torch.device("cpu")
    assert call == {
        "dataset_name_or_id": "130",
        "configuration": "3d_fullres",
        "fold": 2,
        "trainer_class_name": "nnUNetTrainerPCLMix",
        "plans_identifier": "nnUNetPlans",
        "pretrained_weights": None,
        "num_gpus": 1,
        "export_validation_probabilities": True,
        "continue_training": True,
        "only_run_validation": False,
        "disable_checkpointing": False,
        "val_with_best": False,
    }


def test_all_folds_and_another_trainer(started):
    assert main("train 130 2d all -tr Other -p Plans -device mps".split()) == 0
    (call,) = started
    assert [call[k] for k in ("fold", "trainer_class_name", "plans_identifier")] == [
        *("all", "Other", "Plans")
    ]


@pytest.mark.parametrize(
    "words, message",
    [
        ("--c --val", "--c and --val exclude each other"),
        ("--val_best --disable_checkpointing", "exclude each other"),
        ("--c -pretrained_weights w.pth", "--c and -pretrained_weights exclude each other"),
        ("-num_gpus 2 -device cpu", "-num_gpus 2 needs -device cuda, not cpu"),
    ],
)
def test_contradictions(started, capsys, words, message):
    assert main(["train", "130", "2d", "0", *words.split()]) == 2
    assert message in capsys.readouterr().err and not started


def test_the_old_word_for_channels_is_taken_as_nnunet_takes_it(started, tmp_path):
    content = {"modality": {"0": "MRI"}, "labels": {"background": 0}, "file_ending": ".nii.gz"}
    path = tmp_path / "planned" / "Dataset130_Hearts" / "dataset.json"
    path.write_text(json.dumps(content))
    assert main("train 130 2d 0 -device cpu".split()) == 0
    del content["modality"]
    path.write_text(json.dumps(content))
    assert main("train 130 2d 0 -device cpu".split()) == 1
    assert len(started) == 1


def test_folders_that_are_not_set_are_named_together(started, monkeypatch, capsys):
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name)
    assert main("train 130 2d 0 -device cpu".split()) == 1
    words = "export nnUNet_preprocessed=/your/folder nnUNet_results=/your/folder\n"
    assert capsys.readouterr().err.endswith(words) and not started


def test_plans_that_are_not_there_are_refused_with_those_that_are(
    started, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    for name in ("130", "Dataset130_Hearts"):
        assert main(["train", name, "2d", "0", "-device", "cpu"]) == 1
        said = capsys.readouterr().err
        assert said.endswith("planned first: nnUNetv2_plan_and_preprocess -d 130 -c 2d\n")
        assert "found none. There are: none at all" in said
    folder = tmp_path / "Dataset130_Hearts"
    folder.mkdir()
    command = "train 130 2d 0 -device cpu -p nnUNetPlans_smal".split()
    planning = "nnUNetv2_plan_and_preprocess -d 130 -c 2d\n"
    assert main(command) == 1
    assert capsys.readouterr().err.endswith(f"There are: none. Run first: {planning}")
    configuration = {"spacing": [1, 1], "architecture": {}}
    for name in ("nnUNetPlans_small", "nnUNetPlans"):
        plans = {"plans_name": name, "configurations": {"2d": configuration}}
        (folder / f"{name}.json").write_text(json.dumps(plans))
    words = "no plans nnUNetPlans_smal (-p). There are: nnUNetPlans, nnUNetPlans_small\n"
    assert main(command) == 1
    assert capsys.readouterr().err.endswith(words)
    as_under_torchrun(monkeypatch)
    with pytest.raises(SystemExit):
        nnunetv2_pclmix.train.main(command[1:])
    assert capsys.readouterr().err.endswith(words)
    assert not started


def test_under_torchrun_it_is_one_of_its_processes(started, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(nnunetv2_pclmix.train, "train", trained.append)
    monkeypatch.setenv("LOCAL_RANK", "0")  # of a cluster's script
    assert main("train 130 2d 0 -device cpu".split()) == 0
    assert len(started) == 1 and not trained
    started.clear()
    as_under_torchrun(monkeypatch)
    assert main("train 130 2d 0 -device cpu".split()) == 0
    assert [args.dataset for args in trained] == ["130"] and not started
    assert main("train 130 2d 0 -device mps".split()) == 2
    assert "-device mps is for one process" in capsys.readouterr().err
