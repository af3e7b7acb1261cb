"""What we rely on in nnU-Net without its having promised it, each with the test that watches it.

A test that fails here says which detail a new release of nnU-Net has changed and which of our
files has to follow. What is documented (commands, folders, plans, dataset.json) is tested where it
is used.

| detail of nnU-Net | where we rely on it | test |
|---|---|---|
| trainer's constructor: plans, configuration, fold, dataset_json, device | trainer | `signatures` |
| `build_network_architecture` takes plans_manager, configuration_manager, num_input_channels, \
num_output_channels, enable_deep_supervision; static; asked of the instance to train and of the \
class to predict | trainer | `signatures`, `initialize`, `prediction` |
| hooks that we override exist and take what we pass on | trainer | `hooks` |
| `initialize` calls build_network_architecture, wraps for DDP where `is_ddp`, then calls \
_build_loss, both of the instance | trainer | `initialize` |
| `loss.weight_factors`, `loss.loss.dc`; `loss.dc` without deep supervision | trainer | `loss` |
| `dc(logits, target, loss_mask=)` applies the softmax or sigmoid itself | objective | `dice` |
| `RemoveLabelTansform` with `set_to` lies openly in `ComposeTransforms.transforms` | trainer | \
`padding` |
| the loader's key for annotated voxels, tuple([-1] + all_labels), is in every case's \
`class_locations` | trainer, patch_sampling | `annotated` |
| the loader uses `identifiers` and `load_case` of its data set alone; the latter gives four values\
 | patch_sampling, check_annotations | `load_case` |
| augmented targets: one int16 (B, 1, ...) per level, ignore label in it; those of coarser levels \
are the finest one's at the voxel after each block's centre | objective | `batches` |
| `on_train_epoch_start` before the first `train_step`, `current_epoch` counts from 0 and is \
increased in `on_epoch_end` | trainer | `loop` |
| `train_step` returns a dict that `collate_outputs` joins; "loss" is read | trainer | `loop` |
| `num_epochs`, `num_iterations_per_epoch`, `num_val_iterations_per_epoch`, `save_every` are plain \
attributes read at run time | trainer, variants | `loop` |
| `logger.local_logger.my_fantastic_logging` announces series; `logger.get_checkpoint` gives them \
| trainer | `logger` |
| keys of a checkpoint; `save_checkpoint` takes a file object | trainer, export | \
`checkpoint` |
| names of checkpoints: latest, best, final; --c looks for final, latest, best | trainer | `names` |
| `load_checkpoint` takes a path and sets `current_epoch` | trainer | `hooks`, `checkpoint` |
| `set_deep_supervision_enabled` reaches `network.decoder.deep_supervision` | network | `deep` |
| encoders have `output_channels`, `strides`; U-Nets are `encoder`, `decoder` | network | `unets` |
| `label_manager`: has_regions, ignore_label, num_segmentation_heads, all_labels; the ignore label \
is the number of classes | label_encoding | `labels` |
| `nnUNet_extTrainer` is scanned, after nnU-Net's own folder | discovery | `scan` |
| `get_trainer_from_args`, `maybe_load_checkpoint` and their order of arguments | train | \
`signatures` |
| the constructor looks its arguments up by the name that `__init__` of the class gives them; \
`initialize` takes `initial_lr` | variants, docs/developing.md | `arguments` |
| `_do_i_compile` on CPU is false | doctor, the tests | `hooks` |
"""

import inspect
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run import run_training
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.collate_outputs import collate_outputs
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunetv2_pclmix import discovery
from nnunetv2_pclmix.commands.export import KEPT
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels
from nnunetv2_pclmix.method.objective import resize_nearest
from nnunetv2_pclmix.method.partial_dice import PartialDice
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from tests.nnunetv2_pclmix.test_trainer import make_trainer

TELL = "nnU-Net has changed: {}; adapt nnunetv2_pclmix/{}.py"


def expect(condition: object, detail: str, module: str = "trainer") -> None:
    """Fail with what has changed and the file of ours that relies on it."""
    if not condition:
        pytest.fail(TELL.format(detail, module), pytrace=False)


def parameters(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


class Stock(nnUNetTrainer):
    """The stock trainer, noting which of its methods are called, in their order."""

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.calls = []
        self.num_epochs, self.num_iterations_per_epoch = 2, 3

    def __getattribute__(self, name):
        if name in NOTED:
            self.calls.append(name)
        return super().__getattribute__(name)

    def on_train_start(self):
        super().on_train_start()
        self.calls.clear()  # for its debug.json nnU-Net looks at every attribute


NOTED = (
    "_build_loss",
    "on_train_epoch_start",
    "train_step",
    "on_train_epoch_end",
    "on_epoch_end",
    "on_train_end",
)


@pytest.fixture
def stock(nnunet):
    trainer = make_trainer(nnunet, Stock)
    trainer.initialize()
    return trainer


def test_signatures():
    for function, names in (
        (nnUNetTrainer.__init__, ["plans", "configuration", "fold", "dataset_json", "device"]),
        (
            nnUNetTrainer.build_network_architecture,
            [
                "plans_manager",
                "configuration_manager",
                "num_input_channels",
                "num_output_channels",
                "enable_deep_supervision",
            ],
        ),
    ):
        found = parameters(function)
        expect(found == names, f"{function.__qualname__} takes {found}, not {names}")
    static = isinstance(
        inspect.getattr_static(nnUNetTrainer, "build_network_architecture"), staticmethod
    )
    expect(static, "build_network_architecture is not static any more")
    names = ["dataset_name_or_id", "configuration", "fold", "trainer_name", "plans_identifier"]
    names += ["continue_training", "device"]
    found = parameters(run_training.get_trainer_from_args)
    expect(found == names, f"get_trainer_from_args takes {found}", "train")
    names = ["nnunet_trainer", "continue_training", "validation_only", "pretrained_weights_file"]
    found = parameters(run_training.maybe_load_checkpoint)
    expect(found == names, f"maybe_load_checkpoint takes {found}", "train")


def test_hooks(stock):
    for name, count in {
        "initialize": 0,
        "_build_loss": 0,
        "_do_i_compile": 0,
        "on_train_start": 0,
        "get_tr_and_val_datasets": 0,
        "do_split": 0,
        "on_train_epoch_start": 0,
        "train_step": 1,
        "on_train_epoch_end": 1,
        "on_train_end": 0,
        "perform_actual_validation": 1,
        "save_checkpoint": 1,
        "load_checkpoint": 1,
    }.items():
        method = getattr(nnUNetTrainer, name, None)
        expect(method, f"there is no nnUNetTrainer.{name}")
        found = parameters(method)
        expect(len(found) == count, f"nnUNetTrainer.{name} takes {found}")
    expect(not stock._do_i_compile(), "it compiles on CPU", "doctor")
    for name in (
        "is_ddp",
        "local_rank",
        "grad_scaler",
        "was_initialized",
        "disable_checkpointing",
        "enable_deep_supervision",
        "dataset_class",
        "preprocessed_dataset_folder",
        "output_folder",
        "output_folder_base",
        "_best_ema",
    ):
        expect(hasattr(stock, name), f"trainers have no {name}")


def test_initialize(stock):
    expect("_build_loss" in stock.calls, "initialize does not ask the instance for its loss")
    source = inspect.getsource(nnUNetTrainer.initialize)
    steps = "self.build_network_architecture(", "if self.is_ddp", "DDP(", "self._build_loss()"
    places = [source.find(text) for text in steps]
    expect(
        -1 not in places and places == sorted(places),
        "initialize does not wrap for DDP between build_network_architecture and _build_loss",
    )


def test_prediction_asks_the_class_that_the_checkpoint_names():
    source = inspect.getsource(nnUNetPredictor.initialize_from_trained_model_folder)
    expect(
        "trainer_class.build_network_architecture(" in source
        and "enable_deep_supervision=False" in source
        and "checkpoint['trainer_name']" in source,
        "the predictor builds its network in another way",
    )


def test_loss(stock, nnunet):
    loss = stock.loss
    expect(hasattr(loss, "weight_factors"), "the deep supervision loss has no weight_factors")
    expect(hasattr(loss.loss, "dc"), "the loss has no dc (soft Dice)")
    levels = len(stock._get_deep_supervision_scales())
    expect(len(loss.weight_factors) == levels, "weight_factors are not one per level")
    expect(abs(sum(loss.weight_factors) - 1) < 1e-6, "weight_factors do not sum to 1")
    single = make_trainer(nnunet, nnUNetTrainer)
    single.enable_deep_supervision = False
    single.initialize()
    expect(hasattr(single.loss, "dc"), "without deep supervision the loss has no dc")


def test_dice_has_settings_that_make_ours_the_same(stock):
    of_nnunet = stock.loss.loss.dc
    for name in ("batch_dice", "do_bg", "smooth", "ddp"):
        expect(hasattr(of_nnunet, name), f"the Dice has no {name}", "partial_dice")
    target = torch.randint(0, 3, (2, 1, 8, 8))
    sure = 50 * (target == torch.arange(3).view(1, 3, 1, 1)).float() - 25
    mask = torch.ones(target.shape, dtype=torch.bool)
    mask[..., 4:] = False
    sure[..., 4:] *= -1  # wrong where the mask is off
    value = of_nnunet(sure, target, loss_mask=mask)
    expect(abs(value + 1) < 1e-3, f"soft Dice of right logits is {value}, not -1", "partial_dice")
    ours = PartialDice(ExclusiveLabels(3), torch.ones(1), of_nnunet)([sure], [target], [mask])
    expect(abs(value - ours) < 1e-6, f"ours is {ours}, nnU-Net's {value}", "partial_dice")


def test_padding(stock):
    arguments = dict(
        patch_size=(32, 32),
        rotation_for_DA=(-1, 1),
        deep_supervision_scales=None,
        mirror_axes=(0, 1),
        do_dummy_2d_data_aug=False,
        ignore_label=3,
    )
    transforms = stock.get_training_transforms(**arguments)
    expect(hasattr(transforms, "transforms"), "the augmentation has no list of transforms")
    found = [t for t in transforms.transforms if isinstance(t, RemoveLabelTansform)]
    expect(len(found) == 1, f"there are {len(found)} RemoveLabelTansform, not one")
    expect(getattr(found[0], "set_to", None) == 0, "RemoveLabelTansform has no set_to = 0")
    expect(getattr(found[0], "label_value", None) == -1, "it does not replace -1, the padding")


def test_annotated_key(stock):
    training, _ = stock.get_tr_and_val_datasets()
    loader = nnUNetDataLoader(training, 2, (32, 32), (32, 32), stock.label_manager)
    key = (-1, *stock.label_manager.all_labels)
    found = loader.annotated_classes_key
    expect(found == key, f"the loader's key for annotated voxels is {found}, not {key}")
    for case in training.identifiers:
        properties = training.load_case(case)[3]
        found = list(properties["class_locations"])
        expect(key in found, f"class_locations of a case have the keys {found}", "patch_sampling")
        places = properties["class_locations"][key]
        expect(places.shape[1] == 4, "class_locations are not (channel, z, y, x)", "patch_sampling")


def test_load_case_is_all_that_the_loader_needs(stock):
    training, _ = stock.get_tr_and_val_datasets()

    class Little:
        identifiers = training.identifiers

        def load_case(self, identifier):
            case = training.load_case(identifier)
            expect(len(case) == 4, f"load_case gives {len(case)} values", "patch_sampling")
            return case

    loader = nnUNetDataLoader(Little(), 2, (32, 32), (32, 32), stock.label_manager)
    try:
        batch = next(loader)
    except AttributeError as error:
        expect(False, f"the loader asks its data set for more ({error})", "patch_sampling")
    expect({"data", "target"} <= batch.keys(), f"a batch has {sorted(batch)}")


def test_batches(stock):
    training, _ = stock.get_dataloaders()
    targets = next(training)["target"]
    expect(isinstance(targets, list), "targets are no list with one entry per level", "objective")
    expect(len(targets) == len(stock.loss.weight_factors), "a level has no target", "objective")
    values = np.unique(targets[0].numpy())
    expect(values.max() == stock.label_manager.ignore_label, f"labels are {values}", "objective")
    expect(targets[0].shape == (4, 1, 32, 32), f"a target has {targets[0].shape}", "objective")
    ours = [resize_nearest(targets[0], target.shape[2:]) for target in targets]
    same = all(map(torch.equal, ours, targets))
    expect(same, "targets of coarser levels are not every n-th voxel", "objective")


def test_loop(nnunet):
    trainer = make_trainer(nnunet, Stock)
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 3, 2
    epochs, validations = [], []
    step, validate = trainer.train_step, trainer.validation_step
    trainer.train_step = lambda batch: epochs.append(trainer.current_epoch) or step(batch)
    trainer.validation_step = lambda batch: validations.append(1) or validate(batch)
    trainer.run_training()
    expect(epochs == [0, 0, 0, 1, 1, 1], f"current_epoch at the steps is {epochs}")
    expect(len(validations) == 4, f"{len(validations)} validation steps in two epochs, not 4")
    epoch = ["on_train_epoch_start", *["train_step"] * 3, "on_train_epoch_end", "on_epoch_end"]
    expect(trainer.calls == [*epoch, *epoch, "on_train_end"], f"the loop calls {trainer.calls}")
    expect(trainer.current_epoch == 2, "after the last epoch current_epoch is not 2")
    joined = collate_outputs([{"loss": np.asarray(1.0), "terms": np.ones(3)}] * 2)["terms"]
    expect(joined.shape in ((2, 3), (6,)), f"collate_outputs joins two (3,) to {joined.shape}")
    names = {path.name for path in Path(trainer.output_folder).glob("*.pth")}
    expect(names == {"checkpoint_best.pth", "checkpoint_final.pth"}, f"it leaves {names}")


def test_logger(stock):
    series = getattr(stock.logger.local_logger, "my_fantastic_logging", None)
    expect(isinstance(series, dict), "logger.local_logger.my_fantastic_logging is no dict")
    expect(all(v == [] for v in series.values()), "series do not start as empty lists")
    series["ours"] = []
    stock.logger.log("ours", 1.5, 0)
    expect(stock.logger.get_value("ours", None) == [1.5], "a new series is not logged")
    saved = stock.logger.get_checkpoint()
    expect(saved["ours"] == [1.5], "checkpoints do not hold a new series")


def test_checkpoint(stock, nnunet):
    file = io.BytesIO()
    try:
        stock.save_checkpoint(file)
    except (TypeError, AttributeError) as error:
        expect(False, f"save_checkpoint does not take a file object ({error})")
    file.seek(0)
    checkpoint = torch.load(file, weights_only=False)
    keys = {
        "network_weights",
        "optimizer_state",
        "grad_scaler_state",
        "logging",
        "_best_ema",
        "current_epoch",
        "init_args",
        "trainer_name",
        "inference_allowed_mirroring_axes",
    }
    expect(keys <= checkpoint.keys(), f"a checkpoint has no {sorted(keys - checkpoint.keys())}")
    missing = set(KEPT) - checkpoint.keys() - {"pclmix"}
    expect(not missing, f"a checkpoint has no {sorted(missing)}", "export")
    expect(checkpoint["current_epoch"] == 1, "the epoch saved in epoch 0 is not 1")
    path = nnunet / "checkpoint.pth"
    path.write_bytes(file.getvalue())
    other = make_trainer(nnunet, nnUNetTrainer)
    other.load_checkpoint(str(path))
    expect(other.current_epoch == 1, "load_checkpoint does not set current_epoch")


def test_names_of_checkpoints(stock):
    asked = []
    stock.load_checkpoint = asked.append
    folder = Path(stock.output_folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("best", "latest", "final"):
        (folder / f"checkpoint_{name}.pth").touch()
        run_training.maybe_load_checkpoint(stock, True, False)
    expected = [str(folder / f"checkpoint_{name}.pth") for name in ("best", "latest", "final")]
    expect(asked == expected, f"--c looks for {asked}")


def test_deep_supervision_is_switched_in_the_decoder(nnunet):
    trainer = make_trainer(nnunet, nnUNetTrainerPCLMix)
    trainer.initialize()
    for enabled in (False, True):
        nnUNetTrainer.set_deep_supervision_enabled(trainer, enabled)
        expect(
            trainer.network.decoder.deep_supervision is enabled,
            "set_deep_supervision_enabled does not set network.decoder.deep_supervision",
            "network",
        )


def test_unets_are_encoder_and_decoder(stock):
    children = [name for name, _ in stock.network.named_children()]
    expect(children == ["encoder", "decoder"], f"a U-Net consists of {children}", "network")
    for name in ("output_channels", "strides"):
        expect(hasattr(stock.network.encoder, name), f"encoders have no {name}", "network")
    skips = stock.network.encoder(torch.zeros(1, 1, 32, 32))
    channels = [s.shape[1] for s in skips]
    expect(channels == list(stock.network.encoder.output_channels), "skips differ", "network")


def test_label_manager(stock):
    labels = stock.label_manager
    for name, value in {
        "has_regions": False,
        "has_ignore_label": True,
        "ignore_label": 3,
        "num_segmentation_heads": 3,
        "all_labels": [0, 1, 2],
        "foreground_labels": [1, 2],
    }.items():
        found = getattr(labels, name, None)
        expect(found == value, f"label_manager.{name} is {found}, not {value}", "label_encoding")


def test_scan(tmp_path, monkeypatch):
    (tmp_path / "our_folder_for_one_test.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n"
        "class nnUNetTrainerOfOneTest(nnUNetTrainer): pass\n"
    )
    monkeypatch.setenv(discovery.VARIABLE, str(tmp_path))
    try:
        found = recursive_find_trainer_class_by_name("nnUNetTrainerOfOneTest").__name__
    except RuntimeError as error:
        found = str(error)
    expect(
        found == "nnUNetTrainerOfOneTest",
        f"folders in {discovery.VARIABLE} are not scanned ({found})",
        "discovery",
    )
    expect(
        recursive_find_trainer_class_by_name("nnUNetTrainer") is nnUNetTrainer,
        "its own trainers are not found first",
        "discovery",
    )


def test_arguments(nnunet):
    """What docs/developing.md says of variants: no arguments of another name, `initialize`."""

    class Free(nnUNetTrainerPCLMix):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    class Slow(nnUNetTrainerPCLMix):
        def initialize(self):
            self.initial_lr = 0.125
            super().initialize()

    try:
        make_trainer(nnunet, Free)
        found = "accepted"
    except KeyError as error:
        found = f"KeyError {error}"
    expect(found == "KeyError 'args'", f"*args is {found} (docs/developing.md)", "variants")
    trainer = make_trainer(nnunet, Slow)
    trainer.initialize()
    rate = trainer.optimizer.param_groups[0]["lr"]
    expect(rate == 0.125, f"the rate is {rate} (docs/developing.md)", "variants")
