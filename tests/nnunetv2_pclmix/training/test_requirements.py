"""What keeps a training from beginning is said at once, with the remedy."""

import json
import shutil

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss, SoftDiceLoss
from nnunetv2.training.nnUNetTrainer.variants.lr_schedule.nnUNetTrainer_warmup import (
    nnUNetTrainer_warmup,
)

from nnunetv2_pclmix import cli
from nnunetv2_pclmix.training import requirements
from nnunetv2_pclmix.training.requirements import levels_and_dice, replaced_hooks, unsupported
from tests.conftest import DATASET

CPU = torch.device("cpu")
LABELS = {"background": 0, "a": 1, "ignore": 2}


def test_nothing_is_wrong():
    assert unsupported(LABELS, True, CPU, 4, True) == []
    regions = {"background": 0, "whole": [1, 3], "core": 3, "ignore": 5}
    assert unsupported(regions, True, CPU, 4, True) == []


def test_all_problems_at_once(monkeypatch):
    monkeypatch.setattr(requirements, "world_size", lambda: 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    no_ignore, no_gpu, shares = unsupported(
        {"background": 0, "a": 1}, False, torch.device("cuda"), 4, True
    )
    assert "no 'ignore' label (labels: {'background': 0, 'a': 1})" in no_ignore
    assert "-device cpu" in no_gpu and "small-plans" in no_gpu
    assert "batch of 4" in shares and "3 processes" in shares


def test_labels_with_a_gap_are_refused():
    (problem,) = unsupported({**LABELS, "b": 3, "ignore": 4}, True, CPU, 4, True)
    assert problem.startswith("the labels of dataset.json are 0, 1, 3, 4: nnU-Net needs 0, 1, 2")


def test_what_would_replace_our_hooks_is_named_with_the_order_that_works():
    class Ours(nnUNetTrainer_warmup.__mro__[1]):
        def on_train_epoch_start(self):
            super().on_train_epoch_start()

        def load_checkpoint(self, filename):
            super().load_checkpoint(filename)

        initialize = train_step = on_train_start = get_tr_and_val_datasets = load_checkpoint
        on_train_epoch_end = load_checkpoint

    class Asks:
        def load_checkpoint(self, filename):
            return super().load_checkpoint(filename)

    def problems(*bases):
        return replaced_hooks(type("Mine", bases, {}), Ours)

    said = problems(nnUNetTrainer_warmup, Ours)
    assert [line.split(":")[0] for line in said] == [
        "nnUNetTrainer_warmup replaces load_checkpoint of Ours, which training needs"
    ]
    assert said[0].endswith("name nnUNetTrainer_warmup after it among the bases of Mine")
    assert problems(Ours, nnUNetTrainer_warmup) == problems(Asks, Ours) == problems(Ours) == []


def test_each_sample_with_a_dice_of_its_own_can_be_shared_by_any_number(monkeypatch):
    monkeypatch.setattr(requirements, "world_size", lambda: 3)
    assert unsupported({}, True, CPU, 4, False) == []


def test_a_dice_of_another_kind_is_refused_in_words():
    def loss(kind, **settings):
        settings = {"batch_dice": True, "do_bg": False, "smooth": 1e-5, "ddp": False, **settings}
        return DC_and_CE_loss(settings, {}, ignore_label=3, dice_class=kind)

    levels, dice = levels_and_dice(loss(MemoryEfficientSoftDiceLoss), False)
    assert levels == [1.0] and dice.smooth == 1e-5

    class Other(MemoryEfficientSoftDiceLoss):
        pass

    for kind in (SoftDiceLoss, Other):
        wrong = DeepSupervisionWrapper(loss(kind), [0.7, 0.3])
        with pytest.raises(RuntimeError, match=f"dc, is {kind.__name__}. Training computes"):
            levels_and_dice(wrong, True)
    with pytest.raises(RuntimeError, match="dc, is NoneType"):
        levels_and_dice(torch.nn.Module(), False)


def test_cases_that_were_not_preprocessed_are_no_missing_file(tmp_path):
    folder = tmp_path / "Dataset901_Tiny" / "nnUNetPlans_small_2d"
    for _ in range(2):  # there is none, and it is empty
        (problem,) = unsupported({}, True, CPU, 4, True, str(folder))
        assert f"no preprocessed cases in {folder}. Run: " in problem
        folder.mkdir(parents=True, exist_ok=True)
    plans = {"2d": {"data_identifier": folder.name}}
    (folder.parent / "small.json").write_text(json.dumps({"configurations": plans}))
    (problem,) = unsupported({}, True, CPU, 4, True, str(folder))
    assert problem.endswith("Run: nnUNetv2_preprocess -d 901 -plans_name small -c 2d")
    (folder / "case0.b2nd").touch()
    assert unsupported({}, True, CPU, 4, True, str(folder)) == []


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("dataset.json", lambda own: own.pop("labels"), "dataset.json: labels is missing"),
        ("nnUNetPlans.json", lambda own: own.pop("configurations"), "configurations is missing"),
        (
            "nnUNetPlans.json",
            lambda own: own["configurations"]["2d"].pop("patch_size"),
            "configurations.2d.patch_size is missing",
        ),
        (
            "nnUNetPlans.json",
            lambda own: own["configurations"]["2d"]["architecture"].update(
                network_class_name="os.system"
            ),
            "it makes nnU-Net import 'os.system'",
        ),
        (
            "nnUNetPlans.json",
            lambda own: own["configurations"].pop("2d"),
            "has no configuration 2d. There are: 3d_fullres",
        ),
    ],
)
def test_files_that_nnunet_would_stop_at_anywhere(nnunet, capsys, name, change, said):
    path = nnunet / "nnUNet_preprocessed" / DATASET / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    assert cli.main(["train", "901", "2d", "0", "-device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not any((nnunet / "nnUNet_results").iterdir())


def test_what_the_user_can_mend_ends_the_command_without_a_traceback(nnunet, capsys):
    shutil.rmtree(nnunet / "nnUNet_preprocessed" / DATASET / "nnUNetPlans_2d")
    assert cli.main(["train", "901", "2d", "0", "-device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert "train: error: nnUNetTrainerPCLMix cannot train Dataset901_Tiny" in error
    assert error.endswith("Run: nnUNetv2_preprocess -d 901 -plans_name nnUNetPlans -c 2d\n")
