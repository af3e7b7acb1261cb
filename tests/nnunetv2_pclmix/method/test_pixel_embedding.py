"""The pixel embedding is that of the formula, wherever it is asked for."""

import pytest
import torch
import torch.nn.functional as F

from nnunetv2_pclmix.method.pixel_embedding import EmbeddingHead

K, D = 3, 6


def everywhere(head, feature):
    """1x1 conv, norm, ReLU, 1x1 conv, normalised: (B, P, D)."""
    x = head.reduce(feature.flatten(2).mT).mT
    x = head.project(F.relu(head.norm(x))).mT
    return F.normalize(x, dim=2)


@pytest.mark.parametrize("size", [(1, 1), (4, 5), (2, 3, 4)])
def test_anchors_means_and_gradients_agree_with_the_formula(size):
    head = EmbeddingHead(4, D).double()
    feature = torch.randn(2, 4, *size, dtype=torch.float64)
    pixels = feature[0, 0].numel()
    label, index = torch.randint(0, K + 1, (2, pixels)), torch.randperm(2 * pixels)[:7]
    found = []
    for anchors in (
        lambda: head(feature).at(index),
        lambda: everywhere(head, feature).flatten(0, 1)[index],
    ):
        values = anchors()
        (values * torch.arange(D)).sum().backward()
        found.append([values, *(p.grad.clone() for p in head.parameters())])
        head.zero_grad()
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected)

    means, present = head(feature).region_means(label, K)
    assert not means.requires_grad
    for image, of_image in enumerate(everywhere(head, feature)):
        for c in range(K):
            inside = label[image] == c
            assert present[image, c] == inside.any()
            expected = F.normalize(of_image[inside].sum(0), dim=0)
            torch.testing.assert_close(means[image, c], expected)


def test_means_of_many_pixels_do_not_overflow_half_precision():
    head = EmbeddingHead(4, D)
    with torch.autocast("cpu", torch.float16):
        embedding = head(torch.randn(1, 4, 300, 300))
    assert embedding.hidden.dtype == torch.float16
    means, _ = embedding.region_means(torch.zeros(1, 90000, dtype=torch.long), 1)
    assert means.dtype == torch.float32
    torch.testing.assert_close(means.norm(dim=2), torch.ones(1, 1))
