"""Region-based labels: the sigmoid form of every term, and a training through nnU-Net itself."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets
from torch._subclasses.fake_tensor import FakeTensorMode

from nnunetv2_pclmix.config import PCLMixConfig
from nnunetv2_pclmix.method.certainty_label import certainty_label, mean_probabilities
from nnunetv2_pclmix.method.dual_consistency import heterogeneous_consistency, pseudo_labels
from nnunetv2_pclmix.method.dynamic_mix import draw_mix
from nnunetv2_pclmix.method.label_encoding import (
    ExclusiveLabels,
    Regions,
    class_names,
    label_encoding,
)
from nnunetv2_pclmix.method.network import TrainingOutput
from nnunetv2_pclmix.method.objective import Objective, resize_nearest
from nnunetv2_pclmix.method.partial_cross_entropy import partial_binary_cross_entropy
from nnunetv2_pclmix.method.pixel_embedding import PixelEmbedding
from nnunetv2_pclmix.method.pixel_memory import PixelMemory
from nnunetv2_pclmix.method.schedules import certainty_threshold
from nnunetv2_pclmix.method.stroke_growth import grow_strokes
from nnunetv2_pclmix.method.stroke_support import stroke_support
from nnunetv2_pclmix.method.term_weights import term_weights, weighted_sum
from nnunetv2_pclmix.trainer import nnUNetTrainerPCLMix
from nnunetv2_pclmix.training.check_annotations import check_annotations
from tests import reference
from tests.conftest import DATASET
from tests.nnunetv2_pclmix.test_trainer import edit_json, make_trainer, read_checkpoint, state_of

R = 3
SHAPES = [(5, 7), (3, 4, 5)]
BRAIN = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
LEVELS = [0.6, 0.4, 0.0]
CONFIG = PCLMixConfig(memory_size=6, anchors_total=64, embedding_dim=8, contrast_start=0.0)


def nnunet_loss():
    kwargs = {"batch_dice": True, "do_bg": True, "smooth": 1e-5, "ddp": False}
    return DC_and_BCE_loss(
        {}, kwargs, use_ignore_label=True, dice_class=MemoryEfficientSoftDiceLoss
    )


def random_target(batch, shape, share=0.3, device="cpu"):
    """Nested regions of a random label map, as nnU-Net's augmentation makes them."""
    label = torch.randint(0, R + 1, (batch, *shape), device=device)
    ignored = torch.rand(batch, *shape, device=device) > share
    regions = [(label > r) & ~ignored for r in range(R)]
    return torch.stack([*regions, ignored], 1)


def random_batch(batch=3, patch=(32, 48), device="cpu"):
    sizes = [[s // 2**i for s in patch] for i in range(len(LEVELS))]
    main = [torch.randn(batch, R, *s, device=device, requires_grad=True) for s in sizes]
    auxiliary = torch.randn(batch, R, *patch, device=device, requires_grad=True)
    embedding = torch.randn(batch, 8, *[s // 8 for s in patch], device=device, requires_grad=True)
    embedding = torch.nn.functional.normalize(embedding, dim=1)
    as_it_is = torch.eye(8, device=device), torch.zeros(8, device=device)
    embedding = PixelEmbedding(embedding, *as_it_is)
    target = random_target(batch, patch, device=device)
    targets = [target] + [resize_nearest(target, s) for s in sizes[1:]]
    return TrainingOutput(main, auxiliary, embedding), targets


def filled_memory(classes=R + 1, device="cpu"):
    memory = PixelMemory(classes, 6, 8).to(device)
    vectors = torch.nn.functional.normalize(torch.randn(5, classes, 8, device=device), dim=2)
    memory.enqueue(vectors, torch.ones(5, classes, dtype=torch.bool, device=device))
    return memory


def objective(config=CONFIG):
    return Objective(config, Regions(R), LEVELS, nnunet_loss().dc)


def both_passes(o, output, targets, memory, mix, progress=0.5):
    support, implied, trust = None, None, 1.0
    if o.config.stroke_support:
        support = stroke_support(o.labels, output.main[0], targets[0])
        implied, trust = mix(support.background), support.trust
    terms, queued = o.first_pass(output, targets[0], memory, progress, support)
    pseudo = mix(*o.pseudo_labels(output, targets[0], support, progress))
    return terms | o.second_pass(output, mix(targets[0]), pseudo, implied, trust), queued


# ---------------------------------------------------------------- the terms


@pytest.mark.parametrize("shape", SHAPES)
def test_partial_binary_cross_entropy_agrees_with_the_loop_and_with_nnunet(shape):
    logits, target = 3 * torch.randn(2, R, *shape), random_target(2, shape)
    loss = partial_binary_cross_entropy(logits, target)
    expected = reference.partial_binary_cross_entropy(logits, target)
    torch.testing.assert_close(loss, expected)
    stock = nnunet_loss()
    expected = stock(logits, target) - stock.dc(logits, target[:, :-1], loss_mask=~target[:, -1:])
    torch.testing.assert_close(loss, expected)
    for dtype in (torch.uint8, torch.int16, torch.float32):
        assert torch.equal(partial_binary_cross_entropy(logits, target.to(dtype)), loss)


def test_equal_probabilities_cost_log_two_per_region():
    loss = partial_binary_cross_entropy(torch.zeros(2, R, 6, 6), random_target(2, (6, 6)))
    assert loss.item() == pytest.approx(R * math.log(2), rel=1e-6)


def test_gradient_is_right_and_exactly_zero_at_ignored_voxels():
    logits = torch.randn(2, R, 3, 4, dtype=torch.float64, requires_grad=True)
    target = random_target(2, (3, 4), 0.5)
    assert 0 < target[:, -1].sum() < target[:, -1].numel()
    assert torch.autograd.gradcheck(lambda z: partial_binary_cross_entropy(z, target), (logits,))
    partial_binary_cross_entropy(logits, target).backward()
    ignored = target[:, -1:].expand_as(logits)
    assert (logits.grad[ignored] == 0).all()
    assert (logits.grad[~ignored] != 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_ignored_gives_zero_and_zero_gradients(shape):
    logits = torch.randn(2, R, *shape)
    logits[0, 0] = float("inf")  # an overflow where nothing is known
    logits.requires_grad_()
    target = torch.zeros(2, R + 1, *shape, dtype=torch.bool)
    target[:, -1] = True
    loss = partial_binary_cross_entropy(logits, target)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_cross_entropy_of_half_precision_logits_is_float32_and_finite():
    logits = torch.full((1, 1, 2, 2), 60000.0, dtype=torch.float16)
    (mean,) = Regions(1).cross_entropy(logits, torch.zeros(1, 1, 2, 2, 2, dtype=torch.bool))
    loss = mean.value()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(60000, rel=1e-3)


def test_scribble_and_dice_terms_are_together_the_stock_trainers_loss():
    output, targets = random_batch()
    terms, _ = objective().first_pass(output, targets[0], filled_memory(), 0.5)
    expected = DeepSupervisionWrapper(nnunet_loss(), LEVELS)(output.main, targets)
    torch.testing.assert_close(terms["scribble_main"] + terms["dice_main"], expected)


@pytest.mark.parametrize("patch", [(32, 48), (8, 16, 24)])
def test_the_other_terms_agree_with_the_formulas(patch):
    output, targets = random_batch(2, patch)
    terms, (vectors, present) = objective().first_pass(output, targets[0], filled_memory(), 0.5)
    expected = reference.partial_binary_cross_entropy(output.auxiliary.detach(), targets[0])
    torch.testing.assert_close(terms["scribble_auxiliary"], expected, check_dtype=False)
    agreement = (output.main[0].sigmoid() - output.auxiliary.sigmoid()).square().sum(1)
    torch.testing.assert_close(terms["heterogeneous"], agreement.mean())
    assert terms["contrast"] > 0
    assert vectors.shape == (2, R + 1, 8)
    assert present.any()

    pseudo = torch.cat((torch.rand(2, R, *patch) > 0.5, torch.zeros(2, 1, *patch) > 0), 1)
    terms = objective().second_pass(output, targets[0], pseudo)

    def every_voxel(z):
        y = resize_nearest(pseudo, z.shape[2:])[:, :-1].float()
        return R * torch.nn.functional.binary_cross_entropy_with_logits(z, y)

    expected = sum(w * every_voxel(z) for w, z in zip(LEVELS, output.main, strict=True))
    torch.testing.assert_close(terms["pseudo_main"], expected)
    torch.testing.assert_close(terms["pseudo_auxiliary"], every_voxel(output.auxiliary))


def test_consistency_of_probabilities_is_of_the_sigmoid():
    one, two = torch.randn(2, 2, R, 4, 4)
    value = heterogeneous_consistency(one, two, Regions(R).probabilities)
    torch.testing.assert_close(value, (one.sigmoid() - two.sigmoid()).square().sum(1).mean())
    output, targets = random_batch()
    config = replace(CONFIG, heterogeneous_on="logits")
    terms, _ = objective(config).first_pass(output, targets[0], filled_memory(), 0.5)
    expected = (output.main[0] - output.auxiliary).square().mean()
    torch.testing.assert_close(terms["heterogeneous"], expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_certainty_label_agrees_with_the_loop(shape):
    main, auxiliary = 4 * torch.randn(2, 2, R, *shape)
    target = random_target(2, shape)
    p = mean_probabilities(Regions(R), main, auxiliary)
    for threshold in (0.0, 0.4, certainty_threshold(0.5), 0.7):
        label = certainty_label(Regions(R), p, target, threshold)
        expected = reference.region_certainty_label(main, auxiliary, target, threshold)
        assert torch.equal(label, expected)
    # the largest threshold takes all, and what is not finite is never certain
    assert (certainty_label(Regions(R), p, target, 0.7) <= R).all()
    ignored = torch.ones(2, R + 1, *shape, dtype=torch.bool)
    assert (certainty_label(Regions(R), p * math.nan, ignored, 9.0) == R + 1).all()


def test_the_mixed_pseudo_label_is_that_of_the_mixed_sigmoid():
    main, auxiliary = torch.randn(2, 4, R, 8, 9)
    mix = draw_mix(4, (8, 9), 0.3)
    none = torch.zeros(4, R + 1, 8, 9, dtype=torch.int16)
    none[:, -1] = 1
    label = mix(*pseudo_labels(Regions(R), main, auxiliary, none))
    soft = reference.mixed(main.sigmoid(), auxiliary.sigmoid(), mix.second, mix.from_first)
    assert torch.equal(label[:, :-1], soft > 0.5)
    assert not label[:, -1].any()


# ---------------------------------------------------------------- exclusive classes


@pytest.mark.parametrize("order", [[1, 2, 3], [3, 1, 2]])
def test_exclusive_classes_are_nnunets_segmentation(order):
    manager = LabelManager(BRAIN, order)
    labels = label_encoding(manager)
    assert isinstance(labels, Regions)
    assert labels.num_classes == R + 1
    p = torch.rand(2, R, 9, 9)
    found = labels.exclusive(labels.predict(p, 0.5))
    value = torch.tensor([0, *order])  # of each class
    for b in range(2):
        assert torch.equal(value[found[b]], manager.convert_probabilities_to_segmentation(p[b]))
    logits = torch.logit(p)
    assert torch.equal(labels.exclusive(labels.predict(logits)), found)


def test_scribbles_keep_their_label_on_the_way_through_regions():
    manager = LabelManager(BRAIN, [1, 2, 3])
    label = torch.randint(0, 5, (1, 8, 9), dtype=torch.int16)
    convert = ConvertSegmentationToRegionsTransform([*manager.foreground_regions, 4])
    target = convert(segmentation=label)["segmentation"][None]
    assert torch.equal(label_encoding(manager).exclusive(target), label.long())


@pytest.mark.parametrize("dtype", [torch.bool, torch.int16])
def test_ignoring_keeps_the_type_of_the_target(dtype):
    target, where = random_target(2, (5, 7)).to(dtype), torch.rand(2, 1, 5, 7) > 0.5
    ignored = Regions(R).ignore(target, where)
    assert ignored.dtype == dtype
    assert torch.equal(ignored[:, :-1], target[:, :-1])
    assert torch.equal(ignored[:, -1:].bool(), target[:, -1:].bool() | where)


def test_plain_labels_stay_exclusive():
    labels = label_encoding(LabelManager({"background": 0, "a": 1, "b": 2, "ignore": 3}, None))
    assert isinstance(labels, ExclusiveLabels)
    assert labels.num_classes == 3


def test_classes_are_named_in_their_order():
    plain = {"b": 2, "background": 0, "ignore": 3, "a": [1]}
    assert class_names(LabelManager(plain, None)) == ["background", "a", "b"]
    regions = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    manager = LabelManager(regions, [1, 2])
    assert class_names(manager) == ["background", "whole", "core"]
    assert len(class_names(manager)) == label_encoding(manager).num_classes


@pytest.mark.parametrize("background", [True, False])
def test_contrast_is_on_the_exclusive_classes_of_certain_pixels(background):
    output, targets = random_batch(2)
    sharp = output._replace(main=[20 * z for z in output.main], auxiliary=20 * output.main[0])
    config = replace(CONFIG, contrast_background=background)
    _, (means, present) = objective(config).first_pass(sharp, targets[0], filled_memory(), 0.5)
    main, auxiliary = sharp.main[0].detach(), sharp.auxiliary.detach()
    certain = reference.region_certainty_label(
        main, auxiliary, targets[0], certainty_threshold(0.5)
    )
    scribble = Regions(R).exclusive(targets[0])
    label = reference.label_of_cells(certain, scribble, (8, 8), R + 1).flatten(1)
    if not background:
        label[label == 0] = R + 1
    lists = [[] for _ in range(R + 1)]
    reference.enqueue(lists, output.embedding.hidden.detach().flatten(2), label, 99)
    assert present.sum(0).tolist() == [len(queue) for queue in lists]
    for c in range(R + 1):
        if lists[c]:
            torch.testing.assert_close(means[present[:, c], c], torch.stack(lists[c]))
    assert present[:, 0].any() == background


# ---------------------------------------------------------------- identities and edge cases


def test_one_region_is_the_same_as_two_exclusive_labels():
    """The sigmoid of z is the softmax of (0, z): every term has to agree."""
    config = replace(CONFIG, heterogeneous_on="probabilities")
    output, targets = random_batch()
    one = TrainingOutput([z[:, :1] for z in output.main], output.auxiliary[:, :1], output.embedding)
    region = [t[:, [0, -1]] for t in targets]

    def two(z):
        return torch.cat((torch.zeros_like(z), z), 1)

    both = TrainingOutput([two(z) for z in one.main], two(one.auxiliary), one.embedding)
    label = [torch.where(t[:, -1:], 2, t[:, :1].long()) for t in region]
    kwargs = {"batch_dice": True, "do_bg": False, "smooth": 1e-5, "ddp": False}
    softmax_dice = DC_and_CE_loss(kwargs, {}, dice_class=MemoryEfficientSoftDiceLoss).dc
    memory, mix = filled_memory(2), draw_mix(3, (32, 48), 0.2)
    results = []
    for labels, dice, o, t in (
        (Regions(1), nnunet_loss().dc, one, region),
        (ExclusiveLabels(2), softmax_dice, both, label),
    ):
        torch.manual_seed(1)  # the choice of anchors
        results.append(both_passes(Objective(config, labels, LEVELS, dice), o, t, memory, mix))
    (terms, queued), (expected, expected_queued) = results
    assert terms.keys() == term_weights(config, 0.5).keys()
    for name in ("heterogeneous", "heterogeneous_mixed"):  # a sum over two classes, or one region
        expected[name] = expected[name] / 2
    torch.testing.assert_close(terms, expected)
    torch.testing.assert_close(queued, expected_queued)


def test_regions_of_one_label_each_are_plain_labels():
    """What is exclusive stays exclusive: scribbles, and decisions for exactly one region."""
    label = torch.randint(0, R + 2, (2, 1, 6, 7))  # 0 background, 1 to R, ignored
    target = torch.cat([label == r for r in range(1, R + 2)], 1)
    assert torch.equal(Regions(R).exclusive(target), ExclusiveLabels(R + 1).exclusive(label))
    logits = torch.where(target[:, :-1], 5.0, -5.0)
    known = label.masked_fill(label == R + 1, 0)
    predicted = Regions(R).predict(logits)
    assert torch.equal(Regions(R).exclusive(predicted), known[:, 0])
    with_background = torch.cat((torch.zeros(2, 1, 6, 7), logits), 1)
    assert torch.equal(ExclusiveLabels(R + 1).predict(with_background), known)


@pytest.mark.parametrize(
    "regions, order",
    [
        ({"whole": [1, 2, 3], "core": [2, 3], "centre": 3}, [1, 2, 3]),
        ({"left": [1, 3], "right": 2}, [1, 2]),
    ],
    ids=["nested", "side by side"],
)
def test_classes_become_the_regions_that_nnunet_makes_of_their_labels(regions, order):
    """Class i + 1 is, as regions, what nnU-Net's augmentation makes of its label."""
    ignore = 4
    manager = LabelManager({"background": 0, **regions, "ignore": ignore}, order)
    labels = label_encoding(manager)
    values = torch.tensor([0, *order, ignore])
    to_regions = ConvertSegmentationToRegionsTransform([*manager.foreground_regions, [ignore]], 0)
    target = to_regions._apply_to_segmentation(values[None]).bool()[None]
    classes = torch.arange(len(values))[None]
    assert torch.equal(labels.of_classes(classes).bool(), target)


@pytest.mark.parametrize(
    "case", ["nothing annotated", "one sample", "empty memory", "all of these"]
)
def test_degenerate_batches_stay_finite(case):
    every = case == "all of these"
    output, targets = random_batch(batch=1 if every or case == "one sample" else 3)
    if every or case == "nothing annotated":
        for t in targets:
            t[:, :-1], t[:, -1] = False, True
    memory = PixelMemory(R + 1, 6, 8) if every or case == "empty memory" else filled_memory()
    mix = draw_mix(len(targets[0]), (32, 48), 0.2)
    terms, queued = both_passes(objective(), output, targets, memory, mix)
    memory.enqueue(*queued)
    loss = weighted_sum(terms, term_weights(CONFIG, 0.5))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(z.grad).all() for z in (output.main[0], output.auxiliary))
    if every or case == "nothing annotated":
        assert terms["scribble_main"] == terms["scribble_auxiliary_mixed"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"dynamic_mix": False},
        {"contrast": False},
        {"auxiliary_decoder": False},
        {"lambda_pseudo": 0.0, "lambda_heterogeneous": 0.0, "partial_dice": 0.0},
    ],
)
def test_components_can_be_switched_off(change):
    config = replace(CONFIG, **change)
    output, targets = random_batch()
    output = output._replace(
        auxiliary=output.auxiliary if config.auxiliary_decoder else None,
        embedding=output.embedding if config.contrast else None,
    )
    o, mix = objective(config), draw_mix(3, (32, 48), 0.2)
    if config.dynamic_mix:
        terms, _ = both_passes(o, output, targets, filled_memory(), mix)
    else:
        support = stroke_support(o.labels, output.main[0], targets[0])
        terms, _ = o.first_pass(output, targets[0], filled_memory(), 0.5, support)
    assert terms.keys() == term_weights(config, 0.5).keys()


def test_nothing_waits_for_the_device():
    """Fake tensors have no values, so every operation that asks the device for one raises."""
    with FakeTensorMode():
        device = torch.device("cpu")
        output, targets = random_batch(device=device)
        memory, mix = filled_memory(device=device), draw_mix(3, (32, 48), 0.2, device)
        terms, queued = both_passes(objective(), output, targets, memory, mix)
        memory.enqueue(*queued)
        loss = weighted_sum(terms, term_weights(CONFIG, 0.5))
        loss.backward()
        with pytest.raises(RuntimeError):  # shows that the net would catch something
            loss.item()


# ---------------------------------------------------------------- through nnU-Net itself

LABELS = {"background": 0, "whole": [1, 2], "right": 2, "ignore": 3}


def use_regions(dataset, labels=LABELS):
    dataset.update(labels=labels, regions_class_order=[1, 2])


@pytest.fixture(scope="module")
def planned(preprocessed, tmp_path_factory):
    """The tiny data set, preprocessed again by nnU-Net as one of regions; read only."""
    root = tmp_path_factory.mktemp("regions") / "nnunet"
    shutil.copytree(preprocessed, root)
    raw, folder = (root / name / DATASET for name in ("nnUNet_raw", "nnUNet_preprocessed"))
    for path in (raw, folder):
        edit_json(path / "dataset.json", use_regions)
    dataset = json.loads((folder / "dataset.json").read_text())
    plans = PlansManager(str(folder / "nnUNetPlans.json"))
    configuration = plans.get_configuration("2d")
    shutil.rmtree(folder / "nnUNetPlans_2d")
    (folder / "nnUNetPlans_2d").mkdir()
    for case, files in get_filenames_of_train_images_and_targets(str(raw), dataset).items():
        # what nnU-Net's workers do for each case, without a process of its own
        configuration.preprocessor_class(verbose=False).run_case_save(
            str(folder / "nnUNetPlans_2d" / case),
            files["images"],
            files["label"],
            plans,
            configuration,
            dataset,
        )
    return root


@pytest.fixture
def root(planned, tmp_path, monkeypatch):
    shutil.copytree(planned, tmp_path / "nnunet")
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / "nnunet" / name))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_def_n_proc", "1")
    return tmp_path / "nnunet"


def short_trainer(root, cls=nnUNetTrainerPCLMix, **kwargs):
    trainer = make_trainer(root, cls, **kwargs)
    trainer.num_iterations_per_epoch = 2
    return trainer


def test_training_validation_and_prediction_by_stock_tools(root, tmp_path):
    trainer = short_trainer(root)
    trainer.run_training()
    for name in term_weights(trainer.config, 0.0):
        values = trainer.logger.get_value(f"pclmix_{name}", None)
        assert len(values) == 2
        assert np.isfinite(values).all()
    assert len(trainer.step.memory.filled) == 3
    assert len(trainer.logger.get_value("dice_per_class_or_region", -1)) == 2

    trainer.perform_actual_validation()
    summary = json.loads((Path(trainer.output_folder) / "validation/summary.json").read_text())
    assert list(summary["mean"]) == ["(1, 2)", "2"]

    stock = nnUNetTrainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, 1, 2, enable_deep_supervision=False
    )
    assert list(read_checkpoint(trainer)["network_weights"]) == list(stock.state_dict())
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(Path(trainer.output_folder).parent), (0,))
    image = sitk.GetArrayFromImage(
        sitk.ReadImage(str(root / "nnUNet_raw" / DATASET / "imagesTr/case0_0000.nii.gz"))
    )[None]
    properties = {"spacing": [5.0, 1.0, 1.0]}
    predicted = predictor.predict_single_npy_array(image, properties, None, None, False)
    assert predicted.shape == image.shape[1:]
    assert set(np.unique(predicted)) <= {0, 1, 2}
    x = torch.randn(1, 1, 32, 32)
    trainer.set_deep_supervision_enabled(False)
    assert torch.equal(predictor.network.eval()(x), trainer.network.eval()(x))


def test_strokes_of_several_combinations_of_regions_do_not_grow():
    """A voxel of both regions would grow into voxels of the second alone."""
    content = {"background": 0, "A": [1, 2], "B": [2, 3], "ignore": 4}
    labels = label_encoding(LabelManager(content, [1, 3]))
    assert labels.not_grown == (2,)
    nested = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    assert label_encoding(LabelManager(nested, [1, 2])).not_grown == ()
    logits = torch.full((1, 2, 40, 40), -9.0)
    logits[:, :, 8:32, 8:32] = 9.0
    scribble = torch.zeros(1, 3, 40, 40, dtype=torch.int16)
    scribble[:, 2] = 1
    scribble[:, :, 18:22, 12:28] = torch.tensor([1, 1, 0], dtype=torch.int16).view(1, 3, 1, 1)
    grown = grow_strokes(labels, logits, scribble, 2 / 3, [1, 1])
    assert torch.equal(grown, scribble)


def test_it_learns_both_regions(root):
    trainer = make_trainer(root, epochs=3)
    trainer.num_iterations_per_epoch = 15
    trainer.run_training()
    scribble = trainer.logger.get_value("pclmix_scribble_main", None)
    assert scribble[-1] < 0.6 * scribble[0]
    assert min(trainer.logger.get_value("dice_per_class_or_region", -1)) > 0.5
    assert trainer.step.memory.filled.min() > 0


def test_resume_restores_everything_and_goes_on(root):
    class Killed(Exception):
        pass

    class DiesInTheSecondEpoch(nnUNetTrainerPCLMix):
        def on_epoch_start(self):
            if self.current_epoch == 1:
                raise Killed
            super().on_epoch_start()

    DiesInTheSecondEpoch.__name__ = "nnUNetTrainerPCLMix"  # names the folder
    first = short_trainer(root, DiesInTheSecondEpoch)
    with pytest.raises(Killed):
        first.run_training()
    second = short_trainer(root, continue_training=True)
    maybe_load_checkpoint(second, continue_training=True, validation_only=False)
    assert second.iteration == first.iteration == 2
    one, two = state_of(first), state_of(second)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)
    second.run_training()
    assert read_checkpoint(second)["current_epoch"] == 2


def test_augmentation_gives_the_targets_that_the_terms_expect(root):
    trainer = short_trainer(root)
    trainer.initialize()
    trainer.on_train_start()
    annotated = 0
    for _ in range(4):
        batch = next(trainer.dataloader_train)
        assert [t.shape[1] for t in batch["target"]] == [3, 3]
        assert all(t.dtype == torch.bool for t in batch["target"])
        whole, right, ignored = batch["target"][0].unbind(1)
        assert (whole | ~right).all()  # nested
        assert not (whole & ignored).any()
        annotated += (whole & ~right).sum() * right.sum() * (~whole & ~ignored).sum()
    assert annotated > 0  # whole alone, right, and background
    # without any scribble, too
    for t in batch["target"]:
        t[:, :-1], t[:, -1] = False, True
    assert np.isfinite(trainer.train_step(batch)["loss"])
    assert all(torch.isfinite(p).all() for p in trainer.network.parameters())


def test_a_region_that_is_never_annotated_is_named(root):
    folder = root / "nnUNet_preprocessed" / DATASET

    def check(labels):
        trainer = short_trainer(root)
        trainer.initialize()
        cases = [f"case{i}" for i in range(5)]
        check_annotations(trainer.dataset_class, str(folder / "nnUNetPlans_2d"), cases, labels)

    check(LABELS)
    check({**LABELS, "whole": (1, 2)})
    with pytest.raises(
        RuntimeError, match=r"no voxel of other \(labels 4, 5\), spleen \(label 5\)"
    ):
        check({**LABELS, "spleen": 5, "other": [4, 5]})
    left = {
        name: label for name, label in LABELS.items() if name in ("background", "right", "ignore")
    }
    with pytest.raises(
        RuntimeError, match=r"preprocessed with the labels 0, 1, 2, .* now has 0, 2 and 'ignore'"
    ):
        check(left)


def test_regions_without_ignore_label_are_refused(root):
    def drop(dataset):
        del dataset["labels"]["ignore"]

    edit_json(root / "nnUNet_preprocessed" / DATASET / "dataset.json", drop)
    with pytest.raises(RuntimeError, match="no 'ignore' label .*plan_and_preprocess"):
        short_trainer(root).initialize()
