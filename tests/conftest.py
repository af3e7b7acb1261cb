"""A tiny scribbled data set, planned and preprocessed by nnU-Net itself, for the trainer tests."""

import json
import multiprocessing
import os
import pickle
import shutil
import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import settings
from torch import distributed as dist
from torch import multiprocessing as mp

from scribble_tools import parallel
from tests.pools import pools_of_threads

# nnU-Net reads this when it is imported; its default is eight processes
os.environ["nnUNet_def_n_proc"] = "1"

# the tests' networks are so small that more threads only wait for each other
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]
DATASET = "Dataset901_Tiny"
LABELS = {"background": 0, "left": 1, "right": 2, "ignore": 3}


settings.register_profile("few", max_examples=50, deadline=None, derandomize=True)
settings.load_profile("few")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What nnU-Net plans for is trained, which is slow, as is what starts processes."""
    for item in items:
        if {"preprocessed", "processes"} & {*item.fixturenames}:
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def same_everywhere():
    """Every test draws the same random numbers and prints tables as wide, whatever runs it."""
    os.environ["COLUMNS"] = "120"
    torch.manual_seed(0)
    np.random.seed(0)


class InThisProcess(Executor):
    """In the place of processes, which import for seconds; what they would be sent is pickled."""

    def __init__(self, *args, **options):
        pass

    def submit(self, function, /, *args, **options):
        future = Future()
        try:
            work, args, options = pickle.loads(pickle.dumps((function, args, options)))
            future.set_result(pickle.loads(pickle.dumps(work(*args, **options))))
        except Exception as error:
            future.set_exception(pickle.loads(pickle.dumps(error)))
        return future


@pytest.fixture(scope="session", autouse=True)
def without_processes():
    """What a pool of processes would do is done here; `processes` brings ours back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "ProcessPoolExecutor", InThisProcess)
        pools_of_threads(patch.setattr)
        yield


@pytest.fixture(autouse=True)
def one_thread():
    """Whatever a command has set: with more, sums are of another order, and slower here."""
    yield
    torch.set_num_threads(1)


@pytest.fixture
def processes(monkeypatch):
    """Work for several processes is given to processes."""
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", ProcessPoolExecutor)


@pytest.fixture
def commands_without_processes(tmp_path_factory, monkeypatch):
    """Python that is started has threads for processes in its pools, too."""
    folder = tmp_path_factory.mktemp("startup")
    start = "from tests.pools import no_processes\nno_processes()\n"
    (folder / "sitecustomize.py").write_text(start)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(ROOT))))


@pytest.fixture
def nnunet_command(monkeypatch):
    """Runs an entry point of nnU-Net's with words as of a command line."""

    def run(entry_point, *words):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["command", *map(str, words)])
            for name in ("set_num_threads", "set_num_interop_threads"):
                patch.setattr(torch, name, lambda number: None)
            entry_point()

    return run


def in_processes(function, *args, number=2):
    """Call ``function(rank, *args)`` in processes of their own, at once, and wait for them.

    They are forked from a server that has imported torch and the trainer and computed nothing:
    new ones would import for seconds, and forks of this one, in which torch has computed, can hang.
    """
    multiprocessing.set_forkserver_preload(["nnunetv2_pclmix.trainer"])
    mp.start_processes(function, args, number, start_method="forkserver")


@pytest.fixture
def alone():
    """torch.distributed with this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def make_case(generator: np.random.Generator, depth: int = 3, size: int = 48):
    """A bright and a dark disc; one stroke per class and slice."""
    z, y, x = np.meshgrid(np.arange(depth), np.arange(size), np.arange(size), indexing="ij")
    image = generator.normal(0, 0.3, z.shape)
    dense = np.zeros(z.shape, np.uint8)
    scribble = np.full(z.shape, LABELS["ignore"], np.uint8)
    top = generator.integers(16, 32)
    for label, column in ((1, 14), (2, 34)):
        inside = (y - top) ** 2 + (x - column) ** 2 < 64
        image[inside] += 4 if label == 1 else -4
        dense[inside] = label
        scribble[:, top - 4 : top + 4, column] = label
    scribble[:, 2, 4:40] = 0
    return image.astype(np.float32), dense, scribble


def write_raw_dataset(folder: Path, cases: int = 5) -> None:
    generator = np.random.default_rng(0)
    for sub in ("imagesTr", "labelsTr", "labelsTr_dense"):
        (folder / sub).mkdir(parents=True)
    for i in range(cases):
        image, dense, scribble = make_case(generator)
        for array, name in (
            (image, f"imagesTr/case{i}_0000"),
            (scribble, f"labelsTr/case{i}"),
            (dense, f"labelsTr_dense/case{i}"),
        ):
            nifti = sitk.GetImageFromArray(array)
            nifti.SetSpacing((1.0, 1.0, 5.0))
            sitk.WriteImage(nifti, str(folder / f"{name}.nii.gz"))
    content = {
        "channel_names": {"0": "MRI"},
        "labels": LABELS,
        "numTraining": cases,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
    }
    (folder / "dataset.json").write_text(json.dumps(content))


def shrink(plans: dict) -> dict:
    """The planner's configuration with a network that trains in a second."""
    config = plans["configurations"]["2d"]
    config.update(patch_size=[32, 32], batch_size=4)
    network = config["architecture"]["arch_kwargs"]
    network.update(n_stages=3, features_per_stage=[8, 16, 32])
    for key in ("kernel_sizes", "strides", "n_conv_per_stage"):
        network[key] = network[key][:3]
    network["n_conv_per_stage_decoder"] = network["n_conv_per_stage_decoder"][:2]
    return plans


@pytest.fixture(scope="session")
def preprocessed(tmp_path_factory):
    """Root with nnUNet_raw and nnUNet_preprocessed, made once; read only for the tests."""
    root = tmp_path_factory.mktemp("nnunet")
    set_folders(root)
    write_raw_dataset(root / "nnUNet_raw" / DATASET)
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiments, preprocess

    fingerprint = DatasetFingerprintExtractor(901, num_processes=1)
    fingerprint.num_foreground_voxels_for_intensitystats = 1e4  # nnU-Net's 1e8 take half a minute
    fingerprint.run()
    plan_experiments([901])
    preprocess([901], configurations=["2d"], num_processes=[1])
    path = root / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json"
    path.write_text(json.dumps(shrink(json.loads(path.read_text()))))
    return root


def set_folders(root: Path) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (root / name).mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(root / name)


@pytest.fixture
def nnunet(preprocessed, tmp_path, monkeypatch):
    """A copy of the tiny data set and empty results, for one test; returns its root."""
    shutil.copytree(preprocessed, tmp_path / "nnunet")
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / "nnunet" / name))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_def_n_proc", "1")
    return tmp_path / "nnunet"
