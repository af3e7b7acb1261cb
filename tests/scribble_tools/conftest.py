"""A trained model for what predicts with one."""

import pytest
import torch

from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from tests.conftest import DATASET
from tests.nnunetv2_pclmix.conftest import draw_none
from tests.nnunetv2_pclmix.test_trainer import make_trainer


@pytest.fixture(scope="session")
def trained(preprocessed, tmp_path_factory):
    """A model of two folds, trained for some iterations, and the folder of its raw data set."""
    results = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        draw_none(patch)
        for name in ("nnUNet_raw", "nnUNet_preprocessed"):
            patch.setenv(name, str(preprocessed / name))
        patch.setenv("nnUNet_results", str(results))
        patch.setenv("nnUNet_n_proc_DA", "0")
        for fold in (0, 1):
            torch.manual_seed(fold)
            trainer = make_trainer(preprocessed, nnUNetTrainerPCLMix, fold=fold)
            trainer.num_iterations_per_epoch = 2
            trainer.run_training()
    (model,) = results.glob("*/*")
    return model, preprocessed / "nnUNet_raw" / DATASET
