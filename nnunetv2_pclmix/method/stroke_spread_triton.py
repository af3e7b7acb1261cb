"""The spreading of strokes as one Triton kernel; see `nnunetv2_pclmix.method.stroke_spread`.

A program has a sample. Its rows are integers that stay in registers, where neighbouring rows are
fetched by `tl.gather`; memory is read once and written once.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nnunetv2_pclmix.method.triton_kernels import disorder

GATHER = tl.gather  # Triton has it from 3.2 on; without it this module cannot be used


@triton.jit
def _union(a, b):
    return a | b


@triton.jit
def _grow(rows, PLANES: tl.constexpr, ROWS: tl.constexpr):
    """Every cell and its neighbours; at the edges a row is its own neighbour."""
    rows |= rows << 1
    rows |= rows >> 1
    plane = tl.arange(0, PLANES)[:, None] + tl.zeros((PLANES, ROWS), tl.int32)
    row = tl.arange(0, ROWS)[None, :] + tl.zeros((PLANES, ROWS), tl.int32)
    before = tl.gather(rows, tl.maximum(row - 1, 0), 1)
    rows |= before | tl.gather(rows, tl.minimum(row + 1, ROWS - 1), 1)
    if PLANES > 1:
        before = tl.gather(rows, tl.maximum(plane - 1, 0), 0)
        rows |= before | tl.gather(rows, tl.minimum(plane + 1, PLANES - 1), 0)
    return rows


@triton.jit
def _load(maps, offset, inside, columns):
    rows = tl.zeros(offset.shape, tl.int64)
    for column in range(columns):
        cell = tl.load(maps + offset + column, mask=inside, other=0)
        rows |= (cell != 0).to(tl.int64) << column
    return rows


@triton.jit
def _store(maps, offset, inside, columns, rows):
    for column in range(columns):
        tl.store(maps + offset + column, ((rows >> column) & 1).to(tl.uint8), mask=inside)


@triton.jit
def _kernel(maps, result, steps, planes, rows, columns, PLANES: tl.constexpr, ROWS: tl.constexpr):
    plane = tl.arange(0, PLANES)[:, None]
    row = tl.arange(0, ROWS)[None, :]
    there = (plane < planes) & (row < rows)
    size = planes * rows * columns
    row_start = (plane * rows + row) * columns
    offset = tl.program_id(0) * 4 * size + row_start
    inside = _load(maps, offset, there, columns)
    ours = _load(maps, offset + size, there, columns)
    theirs = _load(maps, offset + 2 * size, there, columns)
    annotated = _load(maps, offset + 3 * size, there, columns)

    some = (annotated != 0).to(tl.int32)
    if PLANES > 1:
        in_slices = (tl.max(some, 1)[:, None] * tl.max(some, 0)[None, :]).to(tl.int64)
        of_planes = tl.reduce(annotated, 1, _union)
        judged = -in_slices & tl.reduce(of_planes, 0, _union)
    else:
        judged = -tl.max(tl.max(some, 1), 0).to(tl.int64)

    theirs = theirs & inside & ~ours
    for _ in range(steps):
        free = inside & ~theirs
        ours = _grow(ours, PLANES, ROWS) & free
        ours = _grow(ours, PLANES, ROWS) & free
        theirs = _grow(theirs, PLANES, ROWS) & inside & ~ours
    lone = judged & inside & ~(ours | theirs)
    far = judged & ~_grow(ours | lone, PLANES, ROWS)
    offset = tl.program_id(0) * 3 * size + row_start
    _store(result, offset, there, columns, far)
    _store(result, offset + size, there, columns, judged & theirs)
    _store(result, offset + 2 * size, there, columns, lone)


def launch(maps: Tensor, steps: int) -> Tensor:
    """`stroke_spread.implied_cells`."""
    batch, _, *grid = maps.shape
    planes, rows, columns = (1, *grid)[-3:]
    maps = maps.contiguous()
    result = maps.new_empty((batch, 3, *grid))
    # a plane of one in 3D is a plane all the same, since its slices are judged
    powers = [triton.next_power_of_2(n) for n in (planes, rows)]
    if len(grid) == 3:
        powers[0] = max(2, powers[0])
    _kernel[(batch,)](
        maps.view(torch.uint8),
        result.view(torch.uint8),
        steps,
        planes,
        rows,
        columns,
        *powers,
        num_warps=1 if len(grid) == 2 else 4,
    )
    return result


def examples(device: str = "cuda") -> list[tuple[Tensor, int]]:
    """Arguments, in 2D and 3D."""
    kinds = [disorder(shape, device) for shape in ((2, 19, 17), (2, 4, 19, 17))]
    return [
        (torch.stack((kind < 26, kind < 2, (kind > 23) & (kind < 27), kind % 9 == 0), 1), 2)
        for kind in kinds
    ]
