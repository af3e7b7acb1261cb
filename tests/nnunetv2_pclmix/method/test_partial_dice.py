"""The Dice of all levels is the weighted sum of nnU-Net's, in value and gradient."""

import pytest
import torch
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.helpers import softmax_helper_dim1

from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels, Regions
from nnunetv2_pclmix.method.partial_dice import PartialDice

WEIGHTS = torch.tensor([0.7, 0.3])


def levels(labels, shape=(8, 12)):
    """Logits, targets and masks from 0 to 1 of two levels."""
    logits, targets, masks = [], [], []
    for size in (shape, [n // 2 for n in shape]):
        logits.append(torch.randn(3, 3, *size, requires_grad=True))
        target = torch.randint(0, 4, (3, 1, *size), dtype=torch.int16)  # 3 is "not annotated"
        masks.append(torch.where(target == 3, 0.4 * (torch.rand(target.shape) < 0.5), 1.0))
        if isinstance(labels, Regions):
            regions = [(target > i) & (target != 3) for i in range(3)]
            target = torch.cat([*regions, target == 3], 1).to(torch.int16)
        targets.append(target)
    return logits, targets, masks


@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("do_bg", [True, False])
@pytest.mark.parametrize("labels", [ExclusiveLabels(3), Regions(3)], ids=lambda x: type(x).__name__)
def test_it_is_nnunets(labels, do_bg, batch_dice):
    exclusive = isinstance(labels, ExclusiveLabels)
    activation = softmax_helper_dim1 if exclusive else torch.sigmoid
    stock = MemoryEfficientSoftDiceLoss(activation, batch_dice, do_bg, smooth=1e-5, ddp=False)
    logits, targets, masks = levels(labels)
    ours = PartialDice(labels, WEIGHTS, stock)(logits, targets, masks)
    parts = []
    for weight, z, y, mask in zip(WEIGHTS, logits, targets, masks, strict=True):
        y = y.masked_fill(y == 3, 0) if exclusive else y[:, :-1]
        parts.append(weight * stock(z, y, loss_mask=mask))
    expected = sum(parts)
    torch.testing.assert_close(ours, expected)
    mine, theirs = (torch.autograd.grad(value, logits) for value in (ours, expected))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("smooth", [0, 1e-5])
def test_where_nothing_is_annotated_there_is_no_gradient(smooth):
    stock = MemoryEfficientSoftDiceLoss(None, True, False, smooth, ddp=False)
    labels = ExclusiveLabels(3)
    logits, targets, masks = levels(labels)
    value = PartialDice(labels, WEIGHTS, stock)(logits, targets, [0 * mask for mask in masks])
    assert torch.isfinite(value)
    for gradient in torch.autograd.grad(value, logits):
        assert not gradient.any()
