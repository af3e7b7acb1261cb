"""Strokes that spread on the grid: the one operation against the loop that it stands for."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from nnunetv2_pclmix.method.stroke_spread import COLUMNS, implied_cells, pack, unpack
from nnunetv2_pclmix.method.stroke_support import CELLS, any_in_cells, of_voxels

SHAPES = [
    *((64, 64), (50, 37), (63, 64), (1, 64), (64, 1), (1, 1), (2, 3)),
    *((32, 7, 32), (5, 32, 31), (1, 9, 13), (7, 1, 5), (5, 6, 1), (3, 31, 2)),
]


def by_the_loop(maps, steps):
    """`implied_cells` on floats, one dilation after the other."""
    dilate = F.max_pool2d if maps.ndim == 4 else F.max_pool3d
    inside, ours, theirs, annotated = maps.float().split(1, 1)
    axes = range(2, maps.ndim)
    judged = torch.ones_like(inside)
    for axis in axes:
        others = [other for other in axes if other != axis] if len(axes) == 3 else list(axes)
        judged = judged * annotated.amax(others, keepdim=True)
    theirs = theirs * inside * (1 - ours)
    for _ in range(steps):
        free = inside - theirs
        ours = dilate(ours, 3, 1, 1) * free
        ours = dilate(ours, 3, 1, 1) * free
        theirs = dilate(theirs, 3, 1, 1) * (inside - ours)
    lone = judged * (inside - ours - theirs)
    far = judged * (1 - dilate(torch.maximum(ours, lone), 3, 1, 1))
    return torch.cat((far, judged * theirs, lone), 1) > 0


def random_maps(shape, batch=2):
    """Maps of all kinds: dense and sparse, without strokes, nothing but strokes."""
    for density in (0.4, 0.7, 0.95, 1.0):
        for strokes in (0, 0.01, 0.2, 1):
            inside = torch.rand(batch, 1, *shape) < density
            ours = (torch.rand(inside.shape) < strokes) & (torch.rand(inside.shape) < 0.5)
            theirs = torch.rand(inside.shape) < strokes
            yield torch.cat((inside | ours, ours, theirs, ours | theirs), 1)
            yield torch.cat((inside | ours, ours, theirs, torch.rand(inside.shape) < strokes), 1)


def maze(shape):
    """A corridor that turns back at each end, far longer than the grid is wide."""
    inside = torch.zeros(shape, dtype=torch.bool)
    inside[..., ::2, :] = True
    inside[..., 1::4, -1] = inside[..., 3::4, 0] = True
    ours, theirs = torch.zeros_like(inside), torch.zeros_like(inside)
    ours[..., 0, 0] = theirs[..., (shape[-2] - 1) // 2 * 2, shape[-1] // 2] = True
    if len(shape) == 3:
        inside[1::2] = False
        theirs |= ~inside  # in the walls, where they cannot spread: every slice is judged
    return torch.stack((inside | ours, ours, theirs, ours | theirs))[None]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_loop(shape):
    for maps in random_maps(shape):
        for steps in (max(shape), 2, 0):
            assert torch.equal(implied_cells(maps, steps), by_the_loop(maps, steps))


@pytest.mark.parametrize("shape", [(64, 64), (31, 50), (5, 21, 32)], ids=str)
def test_agrees_with_the_loop_in_a_maze_whether_its_end_is_reached_or_not(shape):
    maps = maze(shape)
    results = []
    for steps in (1, max(shape), 4 * max(shape), shape[-2] * shape[-1]):
        results.append(implied_cells(maps, steps))
        assert torch.equal(results[-1], by_the_loop(maps, steps))
    assert not torch.equal(results[1], results[2])  # so many steps were needed
    assert not torch.equal(results[0], results[1])


def test_rows_of_bits():
    cells = torch.rand(2, 3, 5, COLUMNS) < 0.5
    assert max(CELLS.values()) <= COLUMNS
    for columns in (1, 31, 32, 33, 63, 64):
        part = cells[..., :columns]
        assert torch.equal(unpack(pack(part), columns), part)


@pytest.mark.parametrize("size", [(13, 40), (12, 9), (7, 10, 6)], ids=str)
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_cells_are_pooled_from_voxels_and_voxels_read_from_cells(size, factor):
    cell = [factor, *[max(1, factor - 1)] * (len(size) - 1)]
    maps = torch.rand(2, 3, *size) < 0.2
    pool = F.max_pool2d if len(size) == 2 else F.max_pool3d
    cells = any_in_cells(maps, cell)
    assert torch.equal(cells, pool(maps.float(), cell, ceil_mode=True) > 0)
    voxels = cells
    for axis, f in enumerate(cell, 2):
        voxels = voxels.repeat_interleave(f, axis).narrow(axis, 0, size[axis - 2])
    assert torch.equal(of_voxels(cells, cell, size), voxels)


def test_is_an_operation_of_torch():
    """What torch.compile and fake tensors are told of it holds."""
    for shape in [(5, 6), (3, 4, 5)]:
        torch.library.opcheck(implied_cells, (torch.rand(2, 4, *shape) < 0.5, 4))


IN_THE_INTERPRETER = """
import torch
from nnunetv2_pclmix.method.stroke_spread import implied_cells
from nnunetv2_pclmix.method.stroke_spread_triton import examples, launch
torch.manual_seed(0)
KINDS = (0.7, 0.05), (1.0, 0.01), (0.5, 0.0)  # how much is inside, and is a stroke
for shape in ((64, 64), (9, 37), (1, 1), (4, 7, 13), (1, 5, 32), (6, 1, 3)):
    shares = [[density, strokes / 2, strokes, 2 * strokes] for density, strokes in KINDS]
    maps = torch.rand(len(KINDS), 4, *shape) < torch.tensor(shares).view(-1, 4, *[1] * len(shape))
    maps[:, 0] |= maps[:, 1]
    steps = 2 * max(shape) // 3
    assert torch.equal(launch(maps, steps), implied_cells(maps, steps)), shape
for example in examples("cpu"):
    result = launch(*example)
    assert torch.equal(result, implied_cells(*example))
    assert 0 < result.sum() < result.numel()
"""


@pytest.mark.slow
def test_the_kernel_agrees_in_tritons_interpreter():
    triton = pytest.importorskip("triton")
    if not hasattr(triton.language, "gather"):
        pytest.skip(f"Triton {triton.__version__} has no gather")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", IN_THE_INTERPRETER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_kernel_compiles_without_a_gpu(tmp_path, monkeypatch):
    triton = pytest.importorskip("triton", minversion="3.6")
    from triton.backends.compiler import GPUTarget

    from nnunetv2_pclmix.method.stroke_spread_triton import _kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    signature = dict.fromkeys(("maps", "result"), "*u8")
    signature |= dict.fromkeys(("steps", "planes", "rows", "columns"), "i32")
    signature |= dict.fromkeys(("PLANES", "ROWS"), "constexpr")
    for planes, rows, warps in ((1, 64, 1), (32, 32, 4)):
        sizes = {"PLANES": planes, "ROWS": rows}
        source = triton.compiler.ASTSource(fn=_kernel, signature=signature, constexprs=sizes)
        target = GPUTarget("cuda", 90, 32)
        text = triton.compile(source, target=target, options={"num_warps": warps}).asm["ptx"]
        assert "st.local" not in text  # everything stays in registers
