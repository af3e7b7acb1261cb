"""What keeps a training from beginning is said at once, with the remedy."""

import json
import shutil

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss, SoftDiceLoss

from nnunetv2_pclmix import cli
from nnunetv2_pclmix.training import requirements
from nnunetv2_pclmix.training.requirements import levels_and_dice, unsupported
from tests.conftest import DATASET

CPU = torch.device("cpu")


def test_nothing_is_wrong():
    assert unsupported({"ignore": 2}, True, CPU, 4, True) == []


def test_all_problems_at_once(monkeypatch):
    monkeypatch.setattr(requirements, "world_size", lambda: 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    no_ignore, no_gpu, shares = unsupported({"a": 1}, False, torch.device("cuda"), 4, True)
    assert "no 'ignore' label (labels: {'a': 1})" in no_ignore
    assert "-device cpu" in no_gpu and "small-plans" in no_gpu
    assert "batch of 4" in shares and "3 processes" in shares


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
