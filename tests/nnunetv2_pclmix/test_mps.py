"""`-device mps`: what a training step asks of the device, against torch's own table of kernels.

There is no such device here. But torch lists which devices have a kernel for each operation, and
Apple's have no float64; both can be checked wherever the step runs.
"""

import json
from importlib.resources import files

import pytest
import torch
import yaml
from packaging.version import Version
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from nnunetv2_pclmix.training.checkpoint_state import random_state, restore_random_state
from tests.conftest import DATASET

EVERYWHERE = {
    "MPS",
    "CompositeImplicitAutograd",
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
}
# in torch 2.4; there PYTORCH_ENABLE_MPS_FALLBACK=1 computes them on the CPU
ONCE_MISSING = {
    "_upsample_nearest_exact3d",
    "index_copy_",
    "native_group_norm_backward",
    "special_entr",
}


class Operations(TorchDispatchMode):
    """Notes the name of every operation that a device would be given, and all dtypes."""

    def __init__(self):
        super().__init__()
        self.names, self.dtypes = set(), set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function.namespace == "aten":
            self.names.add(function.name().removeprefix("aten::").removesuffix(".default"))
        leaves = tree_leaves((args, kwargs, result))
        self.dtypes |= {leaf.dtype for leaf in leaves if isinstance(leaf, torch.Tensor)}
        return result


@pytest.fixture(scope="module")
def table():
    """Operation to where its kernels are, or to the operation that stands for it."""
    text = files("torchgen").joinpath("packaged/ATen/native/native_functions.yaml").read_text()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where it was built
    return {entry["func"].split("(")[0]: entry for entry in yaml.load(text, loader)}


def runs_on_mps(name, table):
    entry = table[name]
    if "structured_delegate" in entry:
        return runs_on_mps(entry["structured_delegate"], table)
    kernels = entry.get("dispatch")
    places = {place.strip() for places in kernels or () for place in places.split(",")}
    return kernels is None or bool(places & EVERYWHERE)


def make_trainer(root, configuration, patch, regions):
    folder = root / "nnUNet_preprocessed" / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    config = plans["configurations"][configuration]
    config.update(patch_size=list(patch), batch_size=2, data_identifier="nnUNetPlans_2d")
    network = config["architecture"]["arch_kwargs"]
    network.update(n_stages=3, features_per_stage=[8, 16, 32])
    for key in ("kernel_sizes", "strides", "n_conv_per_stage"):
        network[key] = network[key][:3]
    network["n_conv_per_stage_decoder"] = network["n_conv_per_stage_decoder"][:2]
    plans["continue_training"] = False
    dataset = json.loads((folder / "dataset.json").read_text())
    if regions:
        dataset["labels"] = {"background": 0, "whole": [1, 2], "right": 2, "ignore": 3}
        dataset["regions_class_order"] = [1, 2]
    trainer = nnUNetTrainerPCLMix(plans, configuration, 0, dataset, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch = 1, 3
    trainer.initialize()
    return trainer


def random_batch(trainer, patch, regions):
    if regions:
        target = torch.rand(2, 3, *patch) < 0.3
    else:
        target = torch.randint(0, 4, (2, 1, *patch)).short()
    steps = [[round(1 / s) for s in scale] for scale in trainer._get_deep_supervision_scales()]
    targets = [
        target[(slice(None), slice(None), *(slice(None, None, s) for s in step))] for step in steps
    ]
    return {"data": torch.randn(2, 1, *patch), "target": targets}


@pytest.mark.parametrize(
    ("configuration", "patch", "regions"),
    [("2d", (32, 32), False), ("2d", (32, 32), True), ("3d_fullres", (4, 32, 32), False)],
)
def test_every_operation_of_a_step_has_a_kernel(nnunet, table, configuration, patch, regions):
    trainer = make_trainer(nnunet, configuration, patch, regions)
    operations = Operations()
    with operations:
        for _ in range(3):  # every term has begun in the last
            trainer.train_step(random_batch(trainer, patch, regions))
    assert {"convolution_backward", "index_copy_", "special_entr"} <= operations.names
    assert torch.float64 not in operations.dtypes
    missing = {name for name in operations.names if not runs_on_mps(name, table)}
    assert missing <= (ONCE_MISSING if Version(torch.__version__) < Version("2.15") else set())


def test_the_table_knows_what_has_no_kernel(table):
    assert not runs_on_mps("linalg_eig", table)
    assert runs_on_mps("add.Tensor", table)


def test_the_devices_random_state_is_saved_and_restored(monkeypatch):
    device = torch.device("mps")
    generator = torch.Generator().manual_seed(5)  # in the place of the device's own
    monkeypatch.setattr(torch.mps, "get_rng_state", generator.get_state)
    monkeypatch.setattr(torch.mps, "set_rng_state", generator.set_state)
    state = random_state(device)
    drawn = torch.rand(3, generator=generator)
    restore_random_state(state, device)
    assert torch.equal(torch.rand(3, generator=generator), drawn)
    del state["mps"]  # a checkpoint of another device, or of an earlier version
    restore_random_state(state, device)
