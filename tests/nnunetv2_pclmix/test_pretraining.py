"""-pretrained_weights from another data set with other classes, as nnU-Net documents it.

Its documentation/pretraining_and_finetuning.md: plan the target, move its plans to the source,
preprocess and train the source with the stock trainer and fold "all", start the target from that.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
    DatasetFingerprintExtractor,
)
from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess
from nnunetv2.experiment_planning.plans_for_pretraining.move_plans_between_datasets import (
    move_plans_between_datasets,
)
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import distributed as dist
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel as DDP

from nnunetv2_pclmix.train import load_weights, refuse_own_weights
from nnunetv2_pclmix.training.distributed import bare
from nnunetv2_pclmix.training.requirements import CannotTrain
from tests.conftest import DATASET
from tests.nnunetv2_pclmix.test_trainer import make_trainer

SOURCE = "Dataset902_Dense"
PLANS = "nnUNetPlansOfTheTarget"
HEAD = ".seg_layers."


def write_source(raw: Path) -> None:
    """The target's images with dense labels of one class, and no ignore label."""
    source, target = raw / SOURCE, raw / DATASET
    shutil.copytree(target / "imagesTr", source / "imagesTr")
    (source / "labelsTr").mkdir()
    for path in (target / "labelsTr_dense").iterdir():
        dense = sitk.ReadImage(str(path))
        sitk.WriteImage(dense > 0, str(source / "labelsTr" / path.name))
    content = json.loads((target / "dataset.json").read_text())
    content["labels"] = {"background": 0, "disc": 1}
    (source / "dataset.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def pretrained(preprocessed, tmp_path_factory):
    """Checkpoint of the stock trainer on the source."""
    root = tmp_path_factory.mktemp("pretraining") / "nnunet"
    shutil.copytree(preprocessed, root)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            patch.setenv(name, str(root / name))
        patch.setenv("nnUNet_n_proc_DA", "0")
        write_source(root / "nnUNet_raw")
        folder = root / "nnUNet_preprocessed" / SOURCE
        fingerprint = DatasetFingerprintExtractor(902, num_processes=1)
        fingerprint.num_foreground_voxels_for_intensitystats = 1e4  # 1e8 take half a minute
        fingerprint.run()
        # which planning does, and moving plans does not
        shutil.copy(root / "nnUNet_raw" / SOURCE / "dataset.json", folder)
        move_plans_between_datasets(901, 902, "nnUNetPlans", PLANS)
        preprocess([902], PLANS, configurations=["2d"], num_processes=[1])
        plans = json.loads((folder / f"{PLANS}.json").read_text()) | {"continue_training": False}
        dataset = json.loads((folder / "dataset.json").read_text())
        trainer = nnUNetTrainer(plans, "2d", "all", dataset, torch.device("cpu"))
        trainer.num_epochs = trainer.num_val_iterations_per_epoch = 1
        trainer.num_iterations_per_epoch = 2
        trainer.run_training()
        return Path(trainer.output_folder, "checkpoint_final.pth")


def weights_in(path: Path) -> dict:
    return torch.load(path, weights_only=False)["network_weights"]  # made above


def assert_body_is(network, weights: dict, head: dict) -> None:
    """All is the checkpoint's but the segmentation layers, which have other classes."""
    state = network.state_dict()
    assert state.keys() == weights.keys()
    assert head
    for name, value in state.items():
        assert torch.equal(value, head.get(name, weights[name])), name
    shapes = [{n: v.shape for n, v in w.items() if HEAD in n} for w in (state, weights)]
    assert shapes[0] != shapes[1]


def head_of(network) -> dict:
    return {n: v.clone() for n, v in network.state_dict().items() if HEAD in n}


def test_a_stock_model_of_other_classes_starts_a_training(pretrained, nnunet):
    trainer = make_trainer(nnunet, epochs=1)
    trainer.initialize()
    head = head_of(trainer.network)
    maybe_load_checkpoint(trainer, False, False, str(pretrained))
    assert_body_is(trainer.network, weights_in(pretrained), head)
    trainer.num_iterations_per_epoch = 2
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", -1))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("distributed", [False, True])
def test_nnunet_finds_the_network_inside_its_wrappers(
    pretrained, nnunet, alone, compiled, distributed
):
    if not distributed:
        dist.destroy_process_group()
    trainer = make_trainer(nnunet)
    trainer._do_i_compile = lambda: compiled
    trainer.initialize()
    assert isinstance(trainer.network, DDP) is distributed
    inside = trainer.network.module if distributed else trainer.network
    assert isinstance(inside, OptimizedModule) is compiled
    head = head_of(bare(trainer.network))
    if distributed:  # with a group nnU-Net puts the file on a CUDA device
        dist.destroy_process_group()
    load_pretrained_weights(trainer.network, str(pretrained))
    assert_body_is(bare(trainer.network), weights_in(pretrained), head)


@pytest.mark.parametrize("compiled", [False, True])
def test_in_a_group_of_processes_without_cuda(pretrained, nnunet, alone, compiled):
    trainer = make_trainer(nnunet)
    trainer._do_i_compile = lambda: compiled
    trainer.initialize()
    assert trainer.is_ddp
    head = head_of(bare(trainer.network))
    load_weights(trainer, str(pretrained))
    assert_body_is(bare(trainer.network), weights_in(pretrained), head)


def test_in_a_group_weights_that_do_not_fit_are_named(pretrained, nnunet, alone, tmp_path):
    trainer = make_trainer(nnunet)
    trainer.initialize()
    before = {n: v.clone() for n, v in bare(trainer.network).state_dict().items()}
    weights = weights_in(pretrained)
    narrow, missing, *_ = (n for n in weights if n.startswith("encoder") and n.endswith("weight"))
    weights[narrow] = weights[narrow][:1]
    del weights[missing]
    path = tmp_path / "other.pth"
    torch.save({"network_weights": weights}, path)
    with pytest.raises(RuntimeError, match="other.pth") as error:
        load_weights(trainer, str(path))
    assert narrow in str(error.value)
    assert missing in str(error.value)
    now = bare(trainer.network).state_dict()
    assert all(torch.equal(now[name], value) for name, value in before.items())


def test_in_a_group_a_file_that_carries_code_is_not_executed(nnunet, alone, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "evil.pth"
    torch.save({"network_weights": {}, "extra": Evil()}, path)
    with pytest.raises(Exception, match="holds more than plain data"):
        load_weights(make_trainer(nnunet), str(path))
    assert not (tmp_path / "executed").exists()


def test_weights_that_a_new_training_would_move_aside_are_refused(tmp_path):
    folder, elsewhere = tmp_path / "fold_0", tmp_path / "fold_1"
    for path in (folder, elsewhere):
        path.mkdir()
        (path / "checkpoint_final.pth").touch()
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    refuse_own_weights(elsewhere / "checkpoint_final.pth", folder)
    for weights in (folder, tmp_path / "link"):
        with pytest.raises(CannotTrain, match="checkpoint_final.pth lies in this training's own"):
            refuse_own_weights(weights / "checkpoint_final.pth", folder)
