"""Everything that nnU-Net plans: 3D, cascades, residual encoders, channels, many classes, PNG.

Planner, preprocessing, loader, training loop and validation are nnU-Net's; the plans are shrunk.
"""

import json
import math
import shutil
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import (
    DownsampleSegForDSTransform,
)
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
    DatasetFingerprintExtractor,
)
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    plan_experiments,
    preprocess,
)
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.run.run_training import run_training
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from PIL import Image

from nnunetv2_pclmix import discovery
from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.term_weights import term_weights
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix

pytestmark = pytest.mark.slow

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
VOLUMES, MIXED, MANY, NATURAL, STRIPPED, SINGLE = (
    "Dataset911_Volumes",
    "Dataset912_Mixed",
    "Dataset913_Many",
    "Dataset914_Natural",
    "Dataset915_Stripped",
    "Dataset916_Single",
)
IGNORE = 3
RESENC = "nnUNetResEncUNetMPlans"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """nnU-Net's folders for this module."""
    root = tmp_path_factory.mktemp("configurations")
    with pytest.MonkeyPatch.context() as patch:
        for name in FOLDERS:
            (root / name).mkdir()
            patch.setenv(name, str(root / name))
        patch.setenv("nnUNet_n_proc_DA", "0")
        patch.setenv("nnUNet_def_n_proc", "1")
        yield root


@pytest.fixture(autouse=True)
def short(root, tmp_path, monkeypatch):
    """2 epochs of 2 iterations, for the trainer that a user names on the command line, too."""
    monkeypatch.setattr(nnUNetTrainerPCLMix, "epochs", 2)
    stock = nnUNetTrainerPCLMix.__init__

    def shortened(self, plans, configuration, fold, dataset_json, device):
        stock(self, plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 1

    monkeypatch.setattr(nnUNetTrainerPCLMix, "__init__", shortened)
    monkeypatch.setenv("nnUNet_extTrainer", discovery.FOLDER)


def make_volume(generator, channels=2, depth=6, size=32):
    """A bright and a dark cylinder, slices of three times the pixel size; image and dense label."""
    z, y, x = np.meshgrid(np.arange(depth), np.arange(size), np.arange(size), indexing="ij")
    image = generator.normal(0, 0.3, (channels, *z.shape)).astype(np.float32)
    dense = np.zeros(z.shape, np.uint8)
    top = generator.integers(14, 24)
    for label, column in ((1, 9), (2, 23)):
        inside = (y - top) ** 2 + (x - column) ** 2 < 49
        image[:, inside] += 4 if label == 1 else -4
        dense[inside] = label
    return image, dense


def scribble_of(dense, width=4):
    """A stroke per class and slice, some voxels wide: nnU-Net's resampling loses thinner ones."""
    scribble = np.full_like(dense, IGNORE)
    scribble[:, 1 : 1 + width, 4:30] = 0
    for label in (1, 2):
        middle = int(np.argwhere(dense == label)[:, 1].mean())
        left = 7 if label == 1 else 21
        stroke = np.s_[:, middle - 3 : middle + 3, left : left + width]
        scribble[stroke] = np.where(dense[stroke] == label, label, IGNORE)
    return scribble


def every_second_slice(dense):
    label = dense.copy()
    label[1::2] = IGNORE
    return label


def unannotated(dense):
    return np.full_like(dense, IGNORE)


def write_volumes(folder, annotations):
    """Two-channel volumes, each annotated in its own way."""
    generator = np.random.default_rng(0)
    for sub in ("imagesTr", "labelsTr", "labelsTr_dense"):
        (folder / sub).mkdir(parents=True)
    for i, annotate in enumerate(annotations):
        image, dense = make_volume(generator)
        files = {f"imagesTr/case{i}_{c:04}": channel for c, channel in enumerate(image)}
        files |= {f"labelsTr/case{i}": annotate(dense), f"labelsTr_dense/case{i}": dense}
        for name, array in files.items():
            nifti = sitk.GetImageFromArray(array)
            nifti.SetSpacing((1.0, 1.0, 3.0))
            sitk.WriteImage(nifti, str(folder / f"{name}.nii.gz"))
    write_json(
        folder / "dataset.json",
        channel_names={"0": "T1", "1": "T2"},
        labels={"background": 0, "left": 1, "right": 2, "ignore": IGNORE},
        numTraining=len(annotations),
        file_ending=".nii.gz",
        overwrite_image_reader_writer="SimpleITKIO",
    )


def write_json(path, **content):
    path.write_text(json.dumps(content))


def shrink(configuration, patch_size, batch_size=2):
    """The planned configuration with its first stages only, narrow ones."""
    configuration.update(patch_size=list(patch_size), batch_size=batch_size)
    network = configuration["architecture"]["arch_kwargs"]
    network.update(n_stages=3, features_per_stage=[4, 8, 16])
    for key in ("kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage"):
        if key in network:
            network[key] = network[key][:3]
    network["n_conv_per_stage_decoder"] = network["n_conv_per_stage_decoder"][:2]


def plan(root, dataset, planner="ExperimentPlanner", change=lambda plans: None):
    """Fingerprint and plans by nnU-Net, changed by ``change``; returns the plans' name."""
    number = int(dataset[7:10])
    (root / "nnUNet_preprocessed" / dataset).mkdir(exist_ok=True)
    fingerprint = DatasetFingerprintExtractor(number, 1)
    fingerprint.num_foreground_voxels_for_intensitystats = 1e4  # nnU-Net's 1e8 take half a minute
    fingerprint.run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_n_proc_DA", "1")  # the planner's number of threads
        name = plan_experiments([number], planner)
    path = root / "nnUNet_preprocessed" / dataset / f"{name}.json"
    plans = json.loads(path.read_text())
    change(plans)
    path.write_text(json.dumps(plans))
    return name


def make_trainer(root, dataset, configuration, fold=0, plans="nnUNetPlans", cls=None):
    folder = root / "nnUNet_preprocessed" / dataset
    content = json.loads((folder / f"{plans}.json").read_text())
    content["continue_training"] = False
    dataset_json = json.loads((folder / "dataset.json").read_text())
    device = torch.device("cpu")
    return (cls or nnUNetTrainerPCLMix)(content, configuration, fold, dataset_json, device)


def spied(trainer):
    """The list of what the trainer's network is given in training from now on."""
    inputs = []
    if not trainer.was_initialized:
        trainer.initialize()
    trainer.network.register_forward_pre_hook(
        lambda network, args: inputs.append(args[0].clone()) if network.training else None
    )
    return inputs


def assert_trained(trainer):
    for name in term_weights(trainer.config, 0.0):
        values = trainer.logger.get_value(f"pclmix_{name}", None)
        assert len(values) == trainer.num_epochs
        assert np.isfinite(values).all()
    assert trainer.iteration == trainer.num_epochs * trainer.num_iterations_per_epoch
    assert Path(trainer.output_folder, "checkpoint_final.pth").exists()


def summary_of(fold):
    return json.loads((Path(fold) / "validation" / "summary.json").read_text())


# -------------------------------------------------------- 3D, cascade, residual encoder


@pytest.fixture(scope="module")
def volumes(root):
    """Scribbled two-channel volumes, planned for 2D, 3D, low resolution and cascade."""
    write_volumes(root / "nnUNet_raw" / VOLUMES, [scribble_of] * 5)

    def change(plans):
        configurations = plans["configurations"]
        shrink(configurations["2d"], (32, 32), 4)
        shrink(configurations["3d_fullres"], (4, 32, 32))
        # what the planner writes for larger images
        low = json.loads(json.dumps(configurations["3d_fullres"]))
        low.update(
            data_identifier="nnUNetPlans_3d_lowres",
            spacing=[3.0, 2.0, 2.0],
            patch_size=[4, 16, 16],
            median_image_size_in_voxels=[6, 16, 16],
            next_stage="3d_cascade_fullres",
        )
        configurations["3d_lowres"] = low
        configurations["3d_cascade_fullres"] = {
            "inherits_from": "3d_fullres",
            "previous_stage": "3d_lowres",
        }

    plan(root, VOLUMES, change=change)
    preprocess([911], configurations=["3d_fullres", "3d_lowres"], num_processes=[1])
    return root


def test_3d_with_anisotropic_kernels_and_flat_augmentation(volumes):
    trainer = make_trainer(volumes, VOLUMES, "3d_fullres")
    inputs = spied(trainer)
    kernels = trainer.configuration_manager.network_arch_init_kwargs["kernel_sizes"]
    assert kernels[0] == [1, 3, 3]
    assert trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[1]
    trainer.run_training()
    assert_trained(trainer)
    assert {tuple(x.shape) for x in inputs} == {(2, 2, 4, 32, 32)}
    trainer.perform_actual_validation()
    assert len(summary_of(trainer.output_folder)["metric_per_case"]) == 1


@pytest.fixture(scope="module")
def cascaded(volumes):
    """The low resolution, trained on all cases; its predictions lie where the cascade looks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nnUNetTrainerPCLMix, "epochs", 2)
        trainer = make_trainer(volumes, VOLUMES, "3d_lowres", fold="all")
        trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 2, 1
        trainer.run_training()
        assert_trained(trainer)
        trainer.perform_actual_validation()
    return volumes, trainer


def test_low_resolution_writes_what_the_cascade_trains_on(cascaded):
    root, low = cascaded
    trainer = make_trainer(root, VOLUMES, "3d_cascade_fullres")
    folder = Path(trainer.folder_with_segs_from_previous_stage)
    model = "nnUNetTrainerPCLMix__nnUNetPlans__3d_lowres"
    assert folder == (
        root / "nnUNet_results" / VOLUMES / model / "predicted_next_stage" / "3d_cascade_fullres"
    )
    assert Path(low.output_folder) == folder.parents[1] / "fold_all"
    assert {p.name.split(".")[0] for p in folder.iterdir()} == {f"case{i}" for i in range(5)}
    inputs = spied(trainer)
    trainer.run_training()
    assert_trained(trainer)
    # two channels of the image, two of the previous stage
    assert {tuple(x.shape) for x in inputs} == {(2, 4, 4, 32, 32)}
    for x in inputs:
        assert set(x[:, 2:].unique().tolist()) <= {0.0, 1.0}
    trainer.perform_actual_validation()
    assert len(summary_of(trainer.output_folder)["metric_per_case"]) == 1


def test_the_previous_stage_is_mixed_with_the_boxes_of_the_image(cascaded):
    trainer = make_trainer(cascaded[0], VOLUMES, "3d_cascade_fullres")
    inputs = spied(trainer)
    trainer.on_train_epoch_start()
    patch = (4, 32, 32)
    data = torch.cat([torch.randn(2, 2, *patch), (torch.rand(2, 2, *patch) < 0.5).float()], 1)
    target = torch.full((2, 1, *patch), IGNORE).short()
    scales = trainer._get_deep_supervision_scales()
    targets = [target[..., :: round(1 / s[1]), :: round(1 / s[2])] for s in scales]
    trainer.train_step({"data": data, "target": targets})
    image, mixed = inputs
    assert torch.equal(image, data)
    for sample in mixed:
        first = sample[0] == data[0, 0]
        assert first.any()
        assert not first.all()
        assert torch.equal(sample, torch.where(first, data[0], data[1]))


def test_strokes_that_resampling_lost_are_explained(volumes):
    class Lost(nnUNetDatasetBlosc2):
        """The preprocessed cases as they are when all strokes were one voxel wide."""

        def load_case(self, identifier):
            data, labels, previous, properties = super().load_case(identifier)
            nothing = {k: [] for k in properties["class_locations"]}
            labels = np.full(labels.shape, IGNORE)
            return data, labels, previous, {**properties, "class_locations": nothing}

    trainer = make_trainer(volumes, VOLUMES, "3d_lowres")
    trainer.initialize()
    trainer.dataset_class = Lost
    with pytest.raises(RuntimeError, match="too thin for the voxels of nnUNetPlans_3d_lowres"):
        trainer.on_train_start()


@pytest.mark.parametrize("ignore_padding", [True, False])
def test_padding_of_the_previous_stage_is_no_class(cascaded, ignore_padding):
    class Trainer(nnUNetTrainerPCLMix):
        config = PCLMixConfig(ignore_padding=ignore_padding)

    trainer = make_trainer(cascaded[0], VOLUMES, "3d_cascade_fullres", cls=Trainer)
    geometry = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    rotation, flat, size, mirror = geometry
    transforms = trainer.get_training_transforms(
        trainer.configuration_manager.patch_size,
        rotation,
        None,
        mirror,
        flat,
        is_cascaded=True,
        foreground_labels=trainer.label_manager.foreground_labels,
        ignore_label=IGNORE,
    )
    size = [int(s) for s in size]
    image = torch.randn(2, *size)
    padding = torch.full((1, *size), -1).short()
    predicted = torch.full((1, *size), 1).short()
    seen = False
    for _ in range(10):
        out = transforms(image=image, segmentation=torch.cat([padding, padding]))
        assert out["image"].shape == (4, 4, 32, 32)
        assert not out["image"][2:].any()
        assert set(out["segmentation"].unique().tolist()) == {IGNORE if ignore_padding else 0}
        out = transforms(image=image, segmentation=torch.cat([padding, predicted]))
        seen |= bool(out["image"][2].any())
    assert seen


@pytest.fixture(scope="module")
def residual(volumes):
    """The same data with the plans of the residual encoder."""

    def change(plans):
        for name in ("2d", "3d_fullres"):
            assert (
                "ResidualEncoderUNet"
                in plans["configurations"][name]["architecture"]["network_class_name"]
            )
        shrink(plans["configurations"]["3d_fullres"], (4, 32, 32))
        # the preprocessed data are the same
        plans["configurations"]["3d_fullres"]["data_identifier"] = "nnUNetPlans_3d_fullres"

    assert plan(volumes, VOLUMES, "nnUNetPlannerResEncM", change) == RESENC
    return volumes


def test_residual_encoder_by_command_with_all_cases_and_without_checkpoints(residual):
    run_training(
        "911",
        "3d_fullres",
        "all",
        "nnUNetTrainerPCLMix",
        RESENC,
        disable_checkpointing=True,
        device=torch.device("cpu"),
    )
    model = residual / "nnUNet_results" / VOLUMES / f"nnUNetTrainerPCLMix__{RESENC}__3d_fullres"
    assert not list(model.rglob("*.pth*"))
    assert len(summary_of(model / "fold_all")["metric_per_case"]) == 5


def test_residual_encoder_is_what_its_plans_build(residual):
    trainer = make_trainer(residual, VOLUMES, "3d_fullres", plans=RESENC)
    trainer.initialize()
    assert type(trainer.network.encoder).__name__ == "ResidualEncoder"
    trainer.run_training()
    assert_trained(trainer)


# -------------------------------------------------------- small batches


def batches(trainer):
    """nnU-Net's training batches; the trainer is ready for `train_step`."""
    trainer.initialize()
    trainer.on_train_epoch_start()
    loader, _ = trainer.get_dataloaders()
    while True:
        yield next(loader)


def shares(mixed, sources):
    """How much of a mixed sample is each source's; every voxel has to be one source's."""
    equal = torch.stack([(mixed == source).all(0) for source in sources])
    assert equal.any(0).all()
    return equal.float().flatten(1).mean(1).tolist()


def test_a_batch_of_one_is_mixed_with_the_one_before(volumes):
    trainer = make_trainer(volumes, VOLUMES, "3d_fullres")
    trainer.configuration_manager.configuration["batch_size"] = 1
    trainer.batch_size = 1
    inputs = []
    for i, batch in enumerate(batches(trainer)):
        if i == 0:
            inputs = spied(trainer)
        # noise of their own, so that no voxel agrees by chance
        batch["data"] = batch["data"] + 0.01 * torch.randn_like(batch["data"])
        trainer.train_step(batch)
        if i == 3:
            break
    images, mixed = inputs[0::2], inputs[1::2]
    assert len(images) == 4
    assert torch.equal(mixed[0], images[0])  # nothing came before the first
    for now, before, x in zip(images[1:], images, mixed[1:], strict=False):
        own, other = shares(x[0], [now[0], before[0]])
        assert own > 0
        assert other > 0
        assert math.isclose(own + other, 1, rel_tol=1e-5)


def test_a_batch_of_two_always_mixes_both(volumes):
    trainer = make_trainer(volumes, VOLUMES, "3d_fullres")
    inputs = []
    for i, batch in enumerate(batches(trainer)):
        if i == 0:
            inputs = spied(trainer)
        batch["data"] = batch["data"] + 0.01 * torch.randn_like(batch["data"])
        trainer.train_step(batch)
        if i == 3:
            break
    for images, mixed in zip(inputs[0::2], inputs[1::2], strict=True):
        for sample in mixed:
            assert min(shares(sample, images)) > 0


# -------------------------------------------------------- annotated in several ways


@pytest.fixture(scope="module")
def mixed(root):
    """One case scribbled, one dense, one not annotated, one with every second slice dense."""
    annotations = [scribble_of, np.copy, unannotated, every_second_slice, scribble_of]
    write_volumes(root / "nnUNet_raw" / MIXED, annotations)

    def change(plans):
        shrink(plans["configurations"]["2d"], (32, 32), 4)
        shrink(plans["configurations"]["3d_fullres"], (4, 32, 32))

    plan(root, MIXED, change=change)
    preprocess([912], configurations=["2d", "3d_fullres"], num_processes=[1])
    cases = [f"case{i}" for i in range(5)]
    splits = [
        {"train": [c for c in cases if c != left_out], "val": [left_out]}
        for left_out in ("case4", "case2")
    ]
    path = root / "nnUNet_preprocessed" / MIXED / "splits_final.json"
    path.write_text(json.dumps(splits))
    return root


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_cases_annotated_in_several_ways_train_together(mixed, configuration):
    trainer = make_trainer(mixed, MIXED, configuration)
    trainer.num_iterations_per_epoch = 6
    keys = Counter()
    blank = Counter()
    step = trainer.train_step

    def spy(batch):
        keys.update(batch["keys"])
        for key, target in zip(batch["keys"], batch["target"][0], strict=True):
            blank[key] += bool((target == IGNORE).all())
        return step(batch)

    trainer.train_step = spy
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.run_training()
    assert not [w for w in caught if "No annotated pixels" in str(w.message)]
    assert_trained(trainer)
    assert set(keys) == {"case0", "case1", "case2", "case3"}
    assert blank["case2"] == keys["case2"]
    assert blank["case1"] == 0


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_an_unannotated_case_can_be_validated(mixed, configuration):
    trainer = make_trainer(mixed, MIXED, configuration, fold=1)
    trainer.run_training()
    trainer.perform_actual_validation()
    assert_trained(trainer)
    assert len(summary_of(trainer.output_folder)["metric_per_case"]) == 1


# -------------------------------------------------------- images with zeros around the body


@pytest.fixture(scope="module")
def stripped(root):
    """Dense labels; the images are zero around a disc, as after skull stripping."""
    folder = root / "nnUNet_raw" / STRIPPED
    write_volumes(folder, [np.copy] * 5)
    y, x = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    body = (y - 15.5) ** 2 + (x - 15.5) ** 2 < 256
    for path in (folder / "imagesTr").iterdir():
        image = sitk.ReadImage(str(path))
        masked = sitk.GetImageFromArray(sitk.GetArrayFromImage(image) * body)
        masked.CopyInformation(image)
        sitk.WriteImage(masked, str(path))
    plan(root, STRIPPED, change=lambda plans: shrink(plans["configurations"]["2d"], (32, 32), 4))
    preprocess([915], configurations=["2d"], num_processes=[1])
    return root


@pytest.mark.parametrize("masked", [False, True])
def test_padding_is_ignored_but_annotated_background_around_the_body_is_not(
    stripped, masked, monkeypatch
):
    trainer = make_trainer(stripped, STRIPPED, "2d")
    trainer.configuration_manager.configuration["use_mask_for_norm"] = [masked] * 2
    stock = trainer.get_training_transforms

    def labels_only(*args, **kwargs):
        # neither moved nor changed in intensity: padding is exactly zero, the image nowhere is
        transforms = stock(*args, **kwargs)
        kept = (RemoveLabelTansform, MaskImageTransform, DownsampleSegForDSTransform)
        transforms.transforms = [t for t in transforms.transforms if isinstance(t, kept)]
        return transforms

    monkeypatch.setattr(trainer, "get_training_transforms", labels_only)
    monkeypatch.setattr(  # patches larger than the image
        trainer,
        "configure_rotation_dummyDA_mirroring_and_inital_patch_size",
        lambda: ((-0.1, 0.1), False, np.array([48, 48]), None),
    )
    loader = batches(trainer)
    for _ in range(3):
        batch = next(loader)
        padded = (batch["data"][:, :1] == 0) & (batch["data"][:, 1:] == 0)
        ignored = batch["target"][0] == IGNORE
        assert ignored.any()
        assert (batch["target"][0] >= 0).all()
        if masked:  # nnU-Net sets what lies around the body to zero, too
            assert (padded[ignored]).all()
            assert (padded & (batch["target"][0] == 0)).any()
        else:
            assert torch.equal(ignored, padded)


# -------------------------------------------------------- one class, many classes


@pytest.fixture(scope="module")
def single(root):
    """Both cylinders are one organ: two classes with the background, the fewest there can be."""
    folder = root / "nnUNet_raw" / SINGLE
    write_volumes(folder, [lambda dense: np.array([0, 1, 1, 2], np.uint8)[scribble_of(dense)]] * 5)
    shutil.rmtree(folder / "labelsTr_dense")
    content = json.loads((folder / "dataset.json").read_text())
    write_json(
        folder / "dataset.json",
        **content | {"labels": {"background": 0, "cylinder": 1, "ignore": 2}},
    )
    plan(root, SINGLE, change=lambda plans: shrink(plans["configurations"]["2d"], (32, 32), 4))
    preprocess([916], configurations=["2d"], num_processes=[1])
    return root


def test_a_single_class_trains_and_is_validated(single):
    trainer = make_trainer(single, SINGLE, "2d")
    trainer.run_training()
    assert_trained(trainer)
    assert trainer.step.memory.filled.shape == (2,)
    trainer.perform_actual_validation()
    assert list(summary_of(trainer.output_folder)["mean"]) == ["1"]


@pytest.fixture(scope="module")
def many(root):
    """99 organs of a few pixels each, on a grid."""
    folder = root / "nnUNet_raw" / MANY
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True)
    generator = np.random.default_rng(0)
    y, x = np.meshgrid(np.arange(48), np.arange(48), indexing="ij")
    cell = (y // 4) * 12 + x // 4
    stroke = (y % 4 == 1) & (x % 4 < 3)
    label = np.where(stroke & (cell < 100), cell, 100).astype(np.uint8)[None].repeat(2, 0)
    for i in range(5):
        image = (cell / 50 + generator.normal(0, 0.3, (2, 48, 48))).astype(np.float32)
        for array, name in ((image, f"imagesTr/case{i}_0000"), (label, f"labelsTr/case{i}")):
            nifti = sitk.GetImageFromArray(array)
            nifti.SetSpacing((1.0, 1.0, 5.0))
            sitk.WriteImage(nifti, str(folder / f"{name}.nii.gz"))
    labels = {"background": 0, **{f"organ{k}": k for k in range(1, 100)}, "ignore": 100}
    write_json(
        folder / "dataset.json",
        channel_names={"0": "MRI"},
        labels=labels,
        numTraining=5,
        file_ending=".nii.gz",
        overwrite_image_reader_writer="SimpleITKIO",
    )
    plan(root, MANY, change=lambda plans: shrink(plans["configurations"]["2d"], (32, 32)))
    preprocess([913], configurations=["2d"], num_processes=[1])
    return root


def test_a_hundred_classes_train_with_a_memory_of_bounded_size(many):
    trainer = make_trainer(many, MANY, "2d")
    trainer.run_training()
    assert_trained(trainer)
    memory = trainer.step.memory
    config = trainer.config
    classes, size, dim = 100, config.memory_total // 100, config.embedding_dim
    assert memory.size == size < config.memory_size
    assert memory.entries.nbytes == classes * (size + 1) * dim * 4


@pytest.mark.parametrize(
    ("classes", "size"), [(2, 500), (20, 500), (40, 250), (100, 100), (10_001, 1)]
)
def test_memory_of_all_classes_together_is_bounded(classes, size):
    config = PCLMixConfig()
    assert config.memory_per_class(classes) == size
    # of the loss: anchors x classes x entries, in float32
    assert config.anchors_total * max(classes, config.memory_total) * 4 <= 42e6


# -------------------------------------------------------- natural images


@pytest.fixture(scope="module")
def natural(root):
    """RGB images in PNG, as nnU-Net reads and writes them."""
    folder = root / "nnUNet_raw" / NATURAL
    for sub in ("imagesTr", "labelsTr", "labelsTr_dense"):
        (folder / sub).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for i in range(5):
        image, dense = make_volume(generator, channels=3, depth=1, size=48)
        image = (128 + 20 * image[:, 0]).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(image).save(folder / "imagesTr" / f"case{i}_0000.png")
        Image.fromarray(scribble_of(dense)[0]).save(folder / "labelsTr" / f"case{i}.png")
        Image.fromarray(dense[0]).save(folder / "labelsTr_dense" / f"case{i}.png")
    write_json(
        folder / "dataset.json",
        channel_names={"0": "rgb_to_0_1", "1": "rgb_to_0_1", "2": "rgb_to_0_1"},
        labels={"background": 0, "left": 1, "right": 2, "ignore": IGNORE},
        numTraining=5,
        file_ending=".png",
    )
    plan(root, NATURAL, change=lambda plans: shrink(plans["configurations"]["2d"], (32, 32), 4))
    preprocess([914], configurations=["2d"], num_processes=[1])
    return root


def test_natural_images_train_and_are_validated(natural):
    trainer = make_trainer(natural, NATURAL, "2d")
    assert trainer.plans_manager.image_reader_writer_class is NaturalImage2DIO
    inputs = spied(trainer)
    trainer.run_training()
    assert_trained(trainer)
    assert {tuple(x.shape) for x in inputs} == {(4, 3, 32, 32)}
    trainer.perform_actual_validation()
    validation = Path(trainer.output_folder, "validation")
    assert len(list(validation.glob("*.png"))) == 1
    assert len(summary_of(trainer.output_folder)["metric_per_case"]) == 1
    assert "Dense validation, 1 of 1 case (" in Path(trainer.log_file).read_text()
