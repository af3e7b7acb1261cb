"""nnU-Net's residual encoder presets L and XL; M trains in test_configurations."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiments
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.network import PCLMixNetwork
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from tests.conftest import DATASET

# what the planners make of 150 x 400 x 400 voxels of 2 x .8 x .8 mm, which takes them a minute
LARGE = {
    "L": ([96, 256, 224], [[1, 1, 1], [1, 2, 2], *[[2, 2, 2]] * 4]),
    "XL": ([112, 320, 256], [[1, 1, 1], [1, 2, 2], *[[2, 2, 2]] * 4, [1, 2, 2]]),
}


@pytest.fixture(scope="module")
def planned(preprocessed, tmp_path_factory) -> dict[str, str]:
    """The plans of nnU-Net's own planners for the tiny data set, as they are written."""
    root = tmp_path_factory.mktemp("presets") / "nnunet"
    shutil.copytree(preprocessed, root)
    plans = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            patch.setenv(name, str(root / name))
        patch.setenv("nnUNet_n_proc_DA", "1")  # the planner's number of threads
        for preset in LARGE:
            name = plan_experiments([901], f"nnUNetPlannerResEnc{preset}")
            assert name == f"nnUNetResEncUNet{preset}Plans"
            plans[preset] = (root / "nnUNet_preprocessed" / DATASET / f"{name}.json").read_text()
    return plans


# a preset is a number of features and stages, a configuration the kernels' dimensions
@pytest.mark.parametrize(("preset", "configuration"), [("L", "2d"), ("XL", "3d_fullres")])
def test_planned_network_trains_whole(nnunet, planned, preset, configuration):
    plans = json.loads(planned[preset])
    # both configurations have the same spacing, and so the same preprocessed data
    changed = {"batch_size": 2, "data_identifier": "nnUNetPlans_2d"}
    plans["configurations"][configuration].update(changed)
    plans["continue_training"] = False
    folder = nnunet / "nnUNet_preprocessed" / DATASET
    dataset = json.loads((folder / "dataset.json").read_text())
    trainer = nnUNetTrainerPCLMix(plans, configuration, 0, dataset, torch.device("cpu"))
    trainer.initialize()
    assert type(trainer.network.encoder).__name__ == "ResidualEncoder"
    trainer.on_train_epoch_start()
    batches, _ = trainer.get_dataloaders()
    # twice: residual blocks begin as identities, and their insides have no gradient in step one
    for _ in range(2):
        assert np.isfinite(trainer.train_step(next(batches))["terms"]).all()
    for name, p in trainer.network.named_parameters():
        assert p.isfinite().all(), name
        # without effect: biases before a norm, the coarsest level of deep supervision, and the
        # contrast, which begins later
        idle = p.ndim == 1 or p.grad is None or name.startswith("embedding_head.")
        assert idle or p.grad.any(), name


@pytest.mark.parametrize("preset", LARGE)
def test_auxiliary_parts_fit_the_plans_of_large_images(planned, preset):
    """On the meta device, which computes shapes only."""
    plans = json.loads(planned[preset])
    patch, strides = LARGE[preset]
    stages = len(strides)
    configuration = plans["configurations"]["3d_fullres"]
    configuration["patch_size"] = patch
    configuration["architecture"]["arch_kwargs"].update(
        n_stages=stages,
        features_per_stage=[32, 64, 128, 256, 320, 320, 320][:stages],
        kernel_sizes=[[1, 3, 3]] + [[3, 3, 3]] * (stages - 1),
        strides=strides,
        n_blocks_per_stage=[1, 3, 4, 6, 6, 6, 6][:stages],
        n_conv_per_stage_decoder=[1] * (stages - 1),
    )
    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    with torch.device("meta"):
        stock = nnUNetTrainer.build_network_architecture(manager, configuration, 1, 4, True)
        network = PCLMixNetwork(stock, patch, 4, PCLMixConfig()).train()
        output = network.embedded(network(torch.empty(2, 1, *patch)))
    assert output.auxiliary.shape == output.main[0].shape == (2, 4, *patch)
    voxels = [math.prod(logits.shape[2:]) for logits in output.main]
    assert voxels == sorted(voxels, reverse=True)
    assert len(voxels) == stages - 1
    assert output.embedding.hidden.shape[0] == 2
    assert len(output.embedding.weight) == PCLMixConfig().embedding_dim
