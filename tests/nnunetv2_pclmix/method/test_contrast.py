"""Memory queue, choice of anchors and InfoNCE."""

import math

import pytest
import torch
import torch.nn.functional as F

from nnunetv2_pclmix.method.pixel_contrastive_loss import pixel_contrastive_loss, sample_anchors
from nnunetv2_pclmix.method.pixel_embedding import PixelEmbedding
from nnunetv2_pclmix.method.pixel_memory import PixelMemory
from tests import reference

K, D = 3, 5


def embedded(values):
    """A pixel embedding (B, D, P) that is its values, normalised."""
    return PixelEmbedding(values, torch.eye(D), torch.zeros(D))


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


@pytest.mark.parametrize("size", [1, 3, 4, 8])
def test_queue_agrees_with_lists_around_the_batch_size(size):
    memory, lists = PixelMemory(K, size, D), [[] for _ in range(K)]
    for _ in range(7):
        embedding = F.normalize(torch.randn(4, D, 6), dim=1)
        label = torch.randint(-1, K + 1, (4, 6))
        memory.enqueue(*embedded(embedding).region_means(label, K))
        reference.enqueue(lists, embedding, label, size)
        entries, stored = memory.stored()
        assert stored.sum(1).tolist() == [len(queue) for queue in lists]
        for c in range(K):
            have = sorted(entries[c][stored[c]].tolist())
            want = sorted(v.tolist() for v in lists[c])
            torch.testing.assert_close(torch.tensor(have), torch.tensor(want))


def test_a_class_that_no_image_shows_leaves_its_queue_alone():
    memory = PixelMemory(K, 4, D)
    memory.enqueue(*embedded(unit(2, 6, D).mT).region_means(torch.zeros(2, 6, dtype=torch.long), K))
    assert memory.filled.tolist() == [2, 0, 0]
    assert memory.pointer.tolist() == [2, 0, 0]
    before = memory.entries[:, :4].clone()
    memory.enqueue(*embedded(unit(2, 6, D).mT).region_means(torch.full((2, 6), K), K))
    assert torch.equal(memory.entries[:, :4], before)


def test_what_is_not_finite_is_not_enqueued():
    memory = PixelMemory(K, 4, D)
    vectors = unit(2, K, D)
    vectors[0, 1, 2] = float("nan")
    memory.enqueue(vectors, torch.ones(2, K, dtype=torch.bool))
    assert memory.filled.tolist() == [2, 1, 2]
    assert torch.isfinite(memory.entries[memory.stored()[1].nonzero(as_tuple=True)]).all()


def test_queue_is_saved_and_restored_whole():
    memory = PixelMemory(K, 4, D)
    memory.enqueue(unit(6, K, D), torch.rand(6, K) > 0.3)
    other = PixelMemory(K, 4, D)
    other.load_state_dict(memory.state_dict())
    vectors, present = unit(3, K, D), torch.rand(3, K) > 0.3
    for m in (memory, other):
        m.enqueue(vectors, present)
    for a, b in zip(memory.stored(), other.stored(), strict=True):
        assert torch.equal(a, b)
    assert set(memory.state_dict()) == {"entries", "filled", "pointer"}


@pytest.mark.parametrize("filled", [(4, 4, 4), (2, 0, 3), (0, 0, 2), (0, 0, 0)])
def test_contrastive_loss_agrees_with_the_loop(filled):
    anchors, entries = unit(9, D), unit(K, 4, D)
    stored = torch.arange(4) < torch.tensor(filled)[:, None]
    classes = torch.randint(0, K, (9,))
    valid = torch.rand(9) > 0.3
    loss = pixel_contrastive_loss(anchors, classes, valid, entries, stored, 0.07)
    queues = [list(e[m]) for e, m in zip(entries, stored, strict=True)]
    expected = reference.contrastive_loss(
        anchors[valid].double(), classes[valid], [[q.double() for q in x] for x in queues], 0.07
    )
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)


def test_contrastive_loss_closed_forms():
    anchor = torch.tensor([[1.0, 0.0]])
    classes, valid = torch.tensor([0]), torch.tensor([True])
    stored = torch.ones(2, 1, dtype=torch.bool)

    def loss(positive, negative, mask=stored, temperature=0.5):
        entries = torch.tensor([[positive], [negative]])
        return pixel_contrastive_loss(anchor, classes, valid, entries, mask, temperature).item()

    same = [1.0, 0.0]
    assert loss(same, same) == pytest.approx(math.log(2), rel=1e-6)
    # positive at similarity 1, negative at -1: log(1 + exp(-2 / T))
    assert loss(same, [-1.0, 0.0]) == pytest.approx(math.log1p(math.exp(-4)), rel=1e-5)
    # without a negative there is nothing to tell apart, without a positive nothing to pull
    assert loss(same, same, torch.tensor([[True], [False]])) == 0
    assert loss(same, same, torch.tensor([[False], [True]])) == 0


@pytest.mark.parametrize("filled", [(4, 4, 4), (2, 0, 3), (0, 0, 0)])
def test_contrastive_gradient(filled):
    anchors = unit(4, D).double().requires_grad_()
    stored = torch.arange(4) < torch.tensor(filled)[:, None]
    entries, classes = unit(K, 4, D).double(), torch.tensor([0, 1, 2, 0])
    valid = torch.tensor([True, True, True, False])

    def loss(a):  # the loss itself works in float32: check it at float32's precision
        return pixel_contrastive_loss(a, classes, valid, entries, stored, 0.5)

    assert torch.autograd.gradcheck(loss, (anchors,), eps=1e-2, atol=2e-3, rtol=2e-2)
    loss(anchors).backward()
    assert torch.isfinite(anchors.grad).all()
    assert (anchors.grad[3] == 0).all()


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.005])
def test_contrastive_loss_and_gradient_agree_with_the_loop_at_any_temperature(temperature):
    """At the lowest one exp(similarity) is beyond float32, and anchors lie close to entries."""
    entries = unit(K, 4, D)
    stored = torch.arange(4) < torch.tensor([4, 3, 1])[:, None]
    classes = torch.randint(0, K, (9,))
    anchors = F.normalize(entries[classes, 0] + 0.1 * torch.randn(9, D), dim=1).requires_grad_()
    valid = torch.arange(9) != 4
    (3 * pixel_contrastive_loss(anchors, classes, valid, entries, stored, temperature)).backward()
    ours, anchors.grad = anchors.grad, None
    queues = [[q.double() for q in e[m]] for e, m in zip(entries, stored, strict=True)]
    expected = reference.contrastive_loss(
        anchors[valid].double(), classes[valid], queues, temperature
    )
    (3 * expected).backward()
    assert ours.norm() > 0
    torch.testing.assert_close(ours, anchors.grad, rtol=1e-4, atol=1e-5)


def test_contrast_holds_one_matrix_of_similarities():
    """Not one for each operation: they are the largest tensors beside the network's."""
    anchors, entries = unit(512, 16).requires_grad_(), unit(4, 256, 16)
    stored, valid = torch.ones(4, 256, dtype=torch.bool), torch.ones(512, dtype=torch.bool)
    with torch.profiler.profile(profile_memory=True) as profile:
        pixel_contrastive_loss(
            anchors, torch.arange(512) % 4, valid, entries, stored, 0.07
        ).backward()
    events = profile.profiler.kineto_results.events()
    sizes = [event.nbytes() for event in events if event.name() == "[memory]"]
    matrix = 512 * 4 * 256 * 4
    assert sum(size >= matrix for size in sizes) == 1


def counts_of(label, prediction, index, valid):
    """Chosen pixels as {(image, class): (hard, easy)}."""
    pixels, result = label.shape[1], {}
    chosen = index[valid].tolist()
    assert len(set(chosen)) == len(chosen)
    for i in chosen:
        b, p = divmod(i, pixels)
        c = int(label[b, p])
        hard, easy = result.get((b, c), (0, 0))
        is_hard = int(prediction[b, p]) != c
        result[b, c] = (hard + is_hard, easy + (not is_hard))
    return result


def test_anchors_are_half_hard_half_easy_and_topped_up():
    label = torch.full((2, 60), K)
    prediction = torch.zeros(2, 60, dtype=torch.long)
    label[0, :30] = 0  # class 0: predicted 0, but for 3 pixels
    prediction[0, :3] = 1
    label[0, 30:60] = 1  # class 1: half of them hard
    prediction[0, 30:45] = 1
    label[1, :5] = 2  # class 2: all hard, fewer than asked for
    index, valid = sample_anchors(label, prediction, K, per_class=10, total=100)
    assert len(index) == 100
    assert counts_of(label, prediction, index, valid) == {
        (0, 0): (3, 7),
        (0, 1): (5, 5),
        (1, 2): (5, 0),
    }


def test_anchors_share_the_total_and_need_enough_pixels():
    label = torch.randint(0, K, (4, 90))
    label[0] = torch.tensor([0] * 87 + [1] * 3)
    prediction = torch.randint(0, K, (4, 90))
    index, valid = sample_anchors(label, prediction, K, 50, total=44, min_pixels=4)
    counts = counts_of(label, prediction, index, valid)
    # one class in the first image (the other has too few pixels), three in each of the others
    assert len(index) == 44
    assert len(counts) == 10
    assert all(sum(pair) == 4 for pair in counts.values())


def test_anchors_are_random_and_nothing_certain_gives_none():
    label = torch.zeros(1, 200, dtype=torch.long)
    hits = torch.zeros(200)
    for _ in range(200):
        index, valid = sample_anchors(label, label, K, 20, 1024)
        assert valid.sum() == 20
        hits[index[valid]] += 1
    assert (hits > 0).all()  # expected 20 each
    index, valid = sample_anchors(torch.full((2, 30), K), torch.zeros(2, 30).long(), K, 20, 40)
    assert len(index) == 40
    assert not valid.any()


def test_more_image_class_pairs_than_anchors():
    label = torch.arange(40).repeat(3, 1)
    index, valid = sample_anchors(label, label, 40, 100, total=16)
    assert len(index) == 16
    assert valid.all()
