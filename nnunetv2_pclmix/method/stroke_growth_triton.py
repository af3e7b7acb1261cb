"""The growing of strokes by one Triton kernel per ring; see `nnunetv2_pclmix.method.stroke_growth`.

What has arrived at a voxel is one integer: the largest class plus one, and above it the smallest,
counted from the last. A ring is read from one buffer and written to another, so that no program has
to wait for its neighbours. What a voxel becomes is known in the ring in which it is reached.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from nnunetv2_pclmix.method.stroke_growth import MOST_RINGS
from nnunetv2_pclmix.method.triton_kernels import disorder

BLOCK = 256


@triton.jit
def _arrived(source, at, there, num_classes, FIRST: tl.constexpr):
    """The largest and the smallest class at voxels, 0 where none is or where there is no voxel."""
    if FIRST:
        drawn = tl.load(source + at, mask=there, other=num_classes).to(tl.int32)
        largest = tl.where(drawn < num_classes, drawn + 1, 0)
        smallest = tl.where(drawn < num_classes, num_classes - drawn, 0)
    else:
        both = tl.load(source + at, mask=there, other=0)
        largest, smallest = both & 0xFFFF, both >> 16
    return largest, smallest


@triton.jit
def _kernel(
    source,
    after,
    result,
    reach,
    ring,
    num_classes,
    planes,
    rows,
    columns,
    ALONG_PLANES: tl.constexpr,
    ALONG_ROWS: tl.constexpr,
    ALONG_COLUMNS: tl.constexpr,
    DIAGONALLY: tl.constexpr,
    FIRST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    size = planes * rows * columns
    sample = tl.program_id(1).to(tl.int64)
    own = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = own < size
    plane, row, column = own // (rows * columns), own // columns % rows, own % columns
    start = sample * size
    largest, smallest = _arrived(source, start + own, inside, num_classes, FIRST)
    free = inside & (largest == 0)
    drawn = largest - 1
    for i in tl.static_range(2 * ALONG_PLANES + 1):
        for j in tl.static_range(2 * ALONG_ROWS + 1):
            for k in tl.static_range(2 * ALONG_COLUMNS + 1):
                p, r, c = i - ALONG_PLANES, j - ALONG_ROWS, k - ALONG_COLUMNS
                if DIAGONALLY or p * p + r * r + c * c == 1:
                    there = free & (plane + p >= 0) & (plane + p < planes)
                    there &= (row + r >= 0) & (row + r < rows)
                    there &= (column + c >= 0) & (column + c < columns)
                    at = start + own + (p * rows + r) * columns + c
                    large, small = _arrived(source, at, there, num_classes, FIRST)
                    largest, smallest = tl.maximum(largest, large), tl.maximum(smallest, small)
    tl.store(after + start + own, largest | (smallest << 16), mask=inside)

    arrived = free & (largest > 0)
    alone = arrived & (largest + smallest == num_classes + 1)
    owner = largest - 1
    reached = tl.load(reach + sample * num_classes + owner, mask=alone, other=-1.0) >= ring
    becomes = tl.where(alone & reached, owner, num_classes)
    if FIRST:  # strokes are what they are, and all else nothing so far
        becomes = tl.where(free, becomes, drawn)
        tl.store(result + start + own, becomes.to(tl.int64), mask=inside)
    else:
        tl.store(result + start + own, becomes.to(tl.int64), mask=arrived)


def launch(drawn: Tensor, reach: Tensor, periods: Sequence[int]) -> Tensor:
    """`stroke_growth.grown_classes`."""
    batch, *spatial = drawn.shape
    num_classes = reach.shape[1]
    planes, rows, columns = (1, *spatial)[-3:]
    drawn, reach = drawn.contiguous(), reach.float().contiguous()
    result = torch.empty_like(drawn)
    buffers = [torch.empty_like(drawn, dtype=torch.int32) for _ in range(2)]
    source = drawn
    for ring in range(1, MOST_RINGS + 1):
        along = [int(ring % period == 0) for period in periods]
        _kernel[(triton.cdiv(planes * rows * columns, BLOCK), batch)](
            source,
            buffers[ring % 2],
            result,
            reach,
            ring,
            num_classes,
            planes,
            rows,
            columns,
            *(0, *along)[-3:],
            ring % 2 == 0,
            ring == 1,
            BLOCK,
        )
        source = buffers[ring % 2]
    return result


def examples(device: str = "cuda") -> list[tuple[Tensor, Tensor, list[int]]]:
    """Arguments, in 2D and 3D, with which all kinds of rings run: few voxels are strokes."""
    reach = torch.tensor([[2.0, 3.7, 9.0], [4.0, 0.9, 1.0]], device=device)
    cases = [((2, 11, 13), [1, 1]), ((2, 5, 11, 13), [2, 1, 1])]
    return [(disorder(shape, device).clamp(max=3), reach, periods) for shape, periods in cases]
