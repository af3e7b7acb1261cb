"""Growing strokes: against a loop over voxels, and against shapes whose thickness is known."""

import itertools
import os
import subprocess
import sys

import pytest
import torch

from nnunetv2_pclmix.method import stroke_growth
from nnunetv2_pclmix.method.label_encoding import ExclusiveLabels, Regions
from nnunetv2_pclmix.method.stroke_growth import (
    DEEPEST,
    MOST_RINGS,
    grow_strokes,
    grown_classes,
    half_thickness,
    ring_periods,
)

K = 3
NONE = K


def by_loop(drawn, reach, periods):
    """`grown_classes` of one sample, voxel by voxel; {place: classes that arrived first}."""
    arrived = {tuple(p.tolist()): {int(drawn[tuple(p)])} for p in (drawn < K).nonzero()}
    ring_of = dict.fromkeys(arrived, 0)
    for ring in range(1, MOST_RINGS + 1):
        new = {}
        steps = [(-1, 0, 1) if ring % period == 0 else (0,) for period in periods]
        for place, classes in arrived.items():
            for step in itertools.product(*steps):
                if ring % 2 and sum(map(abs, step)) > 1:
                    continue
                to = tuple(p + s for p, s in zip(place, step, strict=True))
                inside = all(0 <= p < n for p, n in zip(to, drawn.shape, strict=True))
                if inside and to not in arrived:
                    new.setdefault(to, set()).update(classes)
        arrived |= new
        ring_of |= dict.fromkeys(new, ring)
    result = torch.full_like(drawn, NONE)
    for place, classes in arrived.items():
        (owner, *others) = classes
        if not others and ring_of[place] <= reach[owner]:
            result[place] = owner
    return result


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])  # a CPU's, a GPU's
@pytest.mark.parametrize(
    "size, periods", [((23, 17), [1, 1]), ((6, 14, 11), [3, 1, 1]), ((9, 8, 10), [1, 1, 1])]
)
def test_rings_are_those_of_a_loop(size, periods, dtype, monkeypatch):
    monkeypatch.setattr(stroke_growth, "_fastest", lambda device: dtype)
    generator = torch.Generator().manual_seed(4)
    kind = torch.rand((2, *size), generator=generator)
    drawn = torch.full((2, *size), NONE)
    for k in range(K):
        drawn[(kind > 0.01 * k) & (kind < 0.01 * (k + 1))] = k
    reach = torch.tensor([[2.0, 3.7, 9.0], [4.0, 0.9, 1.0]])
    grown = grown_classes(drawn, reach, periods)
    expected = torch.stack([by_loop(*pair, periods) for pair in zip(drawn, reach, strict=True)])
    assert torch.equal(grown, expected)
    assert (grown != NONE).sum() > 2 * (drawn != NONE).sum()


IN_THE_INTERPRETER = """
import torch
from nnunetv2_pclmix.method import stroke_growth_triton
from nnunetv2_pclmix.method.stroke_growth import MOST_RINGS, grown_classes
torch.manual_seed(0)
kernel, launches = stroke_growth_triton._kernel, []
class Counted:
    def __getitem__(self, grid):
        launches.append(grid)
        return kernel[grid]
stroke_growth_triton._kernel = Counted()
reach = torch.tensor([[2.0, 3.7, 9.0], [4.0, 0.9, 1.0], [0.0, 2.0, 6.0]])
SHAPES = {(23, 17): (1, 1), (1, 300): (1, 1), (9, 10): (1, 4), (1, 9, 5): (5, 1, 1)}
SHAPES |= {(6, 14, 11): (3, 1, 1), (5, 8, 7): (1, 1, 1)}
for shape, periods in SHAPES.items():
    kind = (torch.rand(3, *shape) * 100).long()  # three of a hundred voxels are a stroke
    drawn = kind.clamp(max=3).transpose(1, -1).contiguous().transpose(1, -1)
    expected = grown_classes(drawn, reach, list(periods))
    assert torch.equal(stroke_growth_triton.launch(drawn, reach, periods), expected), shape
    assert (expected < 3).sum() > 1.5 * (drawn < 3).sum()
assert len(launches) == MOST_RINGS * len(SHAPES)
for drawn, reach, periods in stroke_growth_triton.examples("cpu"):
    expected = grown_classes(drawn, reach, periods)
    assert torch.equal(stroke_growth_triton.launch(drawn, reach, periods), expected)
    assert (expected < 3).sum() > 1.5 * (drawn < 3).sum()
"""


@pytest.mark.slow
def test_the_kernel_agrees_in_tritons_interpreter():
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", IN_THE_INTERPRETER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("first", [True, False])
def test_the_kernel_compiles_without_a_gpu(first, tmp_path, monkeypatch):
    triton = pytest.importorskip("triton", minversion="3.6")
    from triton.backends.compiler import GPUTarget

    from nnunetv2_pclmix.method.stroke_growth_triton import BLOCK, _kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    signature = {"source": "*i64" if first else "*i32", "after": "*i32", "result": "*i64"}
    numbers = ("ring", "num_classes", "planes", "rows", "columns")
    signature |= {"reach": "*fp32", **dict.fromkeys(numbers, "i32")}
    constants = dict.fromkeys(("ALONG_PLANES", "ALONG_ROWS", "ALONG_COLUMNS"), 1)
    constants |= {"DIAGONALLY": not first, "FIRST": first, "BLOCK": BLOCK}
    constants |= {"ring": 1, "planes": 1} if first else {}  # Triton makes constants of ones
    signature |= dict.fromkeys(constants, "constexpr")
    source = triton.compiler.ASTSource(fn=_kernel, signature=signature, constexprs=constants)
    text = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    assert "st.local" not in text  # everything stays in registers


def test_between_two_classes_nothing_is_said():
    drawn = torch.full((1, 1, 7), NONE)
    drawn[0, 0, 0], drawn[0, 0, 6] = 1, 2
    grown = grown_classes(drawn, torch.full((1, K), 9.0), [1, 1])
    assert grown[0, 0].tolist() == [1, 1, 1, NONE, 2, 2, 2]
    # a class of short reach keeps its place: the other does not grow past it either
    grown = grown_classes(drawn, torch.tensor([[9.0, 1.0, 9.0]]), [1, 1])
    assert grown[0, 0].tolist() == [1, 1, NONE, NONE, 2, 2, 2]


def test_many_classes():
    drawn = torch.full((1, 1, 300), 200)
    drawn[0, 0, ::3] = torch.arange(100)
    grown = grown_classes(drawn, torch.ones(1, 200), [1, 1])[0, 0]
    assert torch.equal(grown[1::3], torch.arange(100)) and torch.equal(grown[2:-1:3], grown[3::3])


def disc(radius, size=128):
    axis = torch.arange(size) - size // 2
    return axis[:, None] ** 2 + axis**2 <= radius**2


def test_thickness_is_volume_by_surface():
    predicted = torch.zeros(1, 128, 128, dtype=torch.long)
    predicted[0][disc(50) & ~disc(40)] = 2
    predicted[0][disc(40)] = 1
    (half,) = half_thickness(predicted, predicted, K, [1, 1])
    # of a disc half of its radius, of a wall half of its width, from the middle voxel on
    torch.testing.assert_close(half[1:], torch.tensor([19.5, 4.5]), rtol=0.25, atol=0)


@pytest.mark.parametrize("width", [1, 2, 5, 10])
def test_a_straight_wall_grows_from_its_middle_to_its_outermost_voxel(width):
    predicted = torch.zeros(1, 64, 64, dtype=torch.long)
    for start in (20, 41):  # every second column is looked at
        predicted[..., start : start + width] = 1
    half = half_thickness(predicted, predicted, K, [1, 1])
    assert half[0, 1].item() == pytest.approx((max(width, 2) - 1) / 2)


def test_planes_alone_count_where_slices_are_thick():
    predicted = torch.zeros(1, 4, 128, 128, dtype=torch.long)
    predicted[0, 2, disc(30)] = 1
    (half,) = half_thickness(predicted, predicted, K, [5, 1, 1])
    assert half[1].item() == pytest.approx(14.5, rel=0.2)
    assert half_thickness(predicted, predicted, K, [1, 1, 1])[0, 1] == 0.5


@pytest.mark.parametrize("known, trust", [(0.0, 0.0), (0.5, 0.0), (0.75, 0.5), (1.0, 1.0)])
def test_what_the_network_does_not_know_does_not_grow(known, trust):
    predicted = torch.zeros(1, 64, 64, dtype=torch.long)
    predicted[0, :, :32] = 1
    drawn = torch.full_like(predicted, NONE)
    drawn[0, 20, 32 - int(32 * known) :][:32] = 1
    whole = half_thickness(predicted, predicted, K, [1, 1])
    half = half_thickness(drawn, predicted, K, [1, 1])
    assert half[0, 1].item() == pytest.approx(trust * whole[0, 1].item(), abs=0.01)


def test_each_image_has_a_thickness_of_its_own():
    predicted = torch.zeros(3, 128, 128, dtype=torch.long)
    predicted[0][disc(40)], predicted[1][disc(20)] = 1, 2
    half = half_thickness(predicted, predicted, K, [1, 1])
    expected = torch.tensor([[19.5, 0.0], [0.0, 9.5], [0.0, 0.0]])
    torch.testing.assert_close(half[:, 1:], expected, rtol=0.25, atol=0)
    for image, alone in zip(predicted, half, strict=True):
        assert torch.equal(half_thickness(image[None], image[None], K, [1, 1])[0, 1:], alone[1:])
    # the background's is the mean of what is there, also where there is nothing else
    drawn = predicted.clone()
    drawn[predicted == 0] = NONE
    drawn[:, 2] = 0
    mean = half_thickness(drawn, predicted, K, [1, 1])[:, 0]
    drawn[2] = NONE
    drawn[2, 2] = 0
    assert mean.tolist() == [min(half[:2, 1:].sum().item() / 2, DEEPEST)] * 3


@pytest.mark.parametrize("row, depth", [(2, 3.5), (26, 3.0), (28, 1.0)])
def test_the_background_grows_no_deeper_than_its_strokes_lie(row, depth):
    predicted = torch.zeros(2, 64, 64, dtype=torch.long)
    predicted[:, 30:38] = 1  # half 3.5 thick
    drawn = torch.full_like(predicted, NONE)
    drawn[:, 34] = 1
    drawn[0, row], drawn[1, 4] = 0, 0
    assert half_thickness(drawn, predicted, K, [1, 1])[:, 0].tolist() == [depth, 3.5]
    # where most of them lie beside an outline it stays
    drawn[0, row], drawn[0, row, :24], drawn[0, 38] = NONE, 0, 0
    assert half_thickness(drawn, predicted, K, [1, 1])[0, 0] == 0


def scene():
    """Logits that show a square of class 2 in class 1 in the background, and a stroke of each."""
    label = torch.zeros(1, 1, 64, 64, dtype=torch.int16)
    label[..., 8:56, 8:56] = 1
    label[..., 20:44, 20:44] = 2
    scribble = torch.full_like(label, NONE)
    for k, row in ((0, 2), (1, 14), (2, 32)):
        scribble[..., row, 24:40] = k
    return label, scribble


def test_grown_strokes_are_right_and_wider():
    label, scribble = scene()
    labels = ExclusiveLabels(K)
    logits = torch.nn.functional.one_hot(label[:, 0].long(), K).movedim(-1, 1).float()
    grown = grow_strokes(labels, logits, scribble, 0.5, [1, 1])
    said = grown != NONE
    assert grown.dtype == scribble.dtype
    assert torch.equal(grown[said], label[said])
    assert said.sum() > 4 * (scribble != NONE).sum()
    assert torch.equal(grow_strokes(labels, logits, scribble, 0.0, [1, 1]), scribble)
    nothing = torch.full_like(scribble, NONE)
    assert torch.equal(grow_strokes(labels, logits, nothing, 0.5, [1, 1]), nothing)
    # what is not a number is known of nothing
    assert torch.equal(grow_strokes(labels, logits * torch.nan, scribble, 0.5, [1, 1]), scribble)


@pytest.mark.parametrize("members", [None, [[True, False], [True, True]]])
def test_regions_grow_like_their_classes(members):
    label, scribble = scene()
    exclusive, regions = ExclusiveLabels(K), Regions(2, members)
    logits = torch.nn.functional.one_hot(label[:, 0].long(), K).movedim(-1, 1).float()
    expected = grow_strokes(exclusive, logits, scribble, 0.5, [1, 1])
    nested = torch.cat((label >= 1, label >= 2), 1).float() - 0.5
    target = torch.cat((scribble >= 1, scribble >= 2, scribble == NONE), 1)
    target[:, :2] &= ~target[:, 2:]
    grown = grow_strokes(regions, nested, target, 0.5, [1, 1])
    assert grown.dtype == target.dtype
    assert torch.equal(regions.exclusive(grown), exclusive.exclusive(expected))
    assert torch.equal(grown[:, 0], (expected[:, 0] >= 1) & (expected[:, 0] != NONE))


@pytest.mark.parametrize("labels", [ExclusiveLabels(K), Regions(2, [[True, False], [True, True]])])
def test_the_background_leaves_objects_without_a_stroke_alone(labels):
    """An object of 4 x 4 voxels lies at the end of the background's stroke."""
    label, scribble = scene()
    small = (..., slice(1, 5), slice(41, 45))
    label[small] = 1
    classes = scribble[:, 0].long()
    shown = torch.nn.functional.one_hot(label[:, 0].long(), K).movedim(-1, 1).float()
    if isinstance(labels, Regions):
        shown = torch.cat((shown[:, 1:].sum(1, keepdim=True), shown[:, 2:]), 1) - 0.5
    said = {}
    for sure, scale in (False, 1.0), (True, 20.0):
        grown = grow_strokes(labels, scale * shown, labels.of_classes(classes), 0.9, [1, 1])
        said[sure] = labels.exclusive(grown)[:, None]
    changed = said[False] != said[True]
    inside = torch.zeros_like(changed)
    inside[small] = True
    assert (said[False][small] == 0).any() and (said[True][small] == NONE).all()
    # everything else grows as before
    assert not changed[~inside].any()


def test_it_compiles_as_one_graph():
    label, scribble = scene()
    logits = torch.nn.functional.one_hot(label[:, 0].long(), K).movedim(-1, 1).float()
    compiled = torch.compile(grow_strokes, backend="aot_eager", fullgraph=True)
    arguments = ExclusiveLabels(K), logits, scribble, 0.5, [1, 1]
    assert torch.equal(compiled(*arguments), grow_strokes(*arguments))


def test_periods_make_rings_of_equal_length():
    assert ring_periods((1.5625, 1.5625)) == [1, 1]
    assert ring_periods((3.0, 1.25, 1.0)) == [3, 1, 1]


@pytest.mark.parametrize("periods", [[1, 1], [4, 1, 1], [1, 1, 1]])
def test_thickness_is_the_same_by_pooling(periods, monkeypatch):
    generator = torch.Generator().manual_seed(2)
    size = (2, 12, 18, 20)[: 1 + len(periods)]
    drawn, predicted = (torch.randint(0, K, size, generator=generator) for _ in range(2))
    drawn[torch.rand(size, generator=generator) < 0.5] = NONE
    predicted[:, 3:9] = 1
    halves = []
    for kind in torch.int16, torch.float32:
        monkeypatch.setattr(stroke_growth, "_fastest", lambda device, kind=kind: kind)
        halves.append(half_thickness(drawn, predicted, K, periods))
    assert torch.equal(*halves) and halves[0].any()
