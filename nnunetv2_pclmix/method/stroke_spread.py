"""How strokes spread on the small grid of `stroke_support`, as one operation of torch.

A row of the grid is one integer, a cell one bit of it: a cell and its neighbours in the row are two
shifts, however long the row and large the batch. On CUDA one Triton kernel does all steps of a
sample; elsewhere, and without Triton, the same is done row by row of all samples at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_pclmix.method.triton_kernels import Kernel, tried

KERNEL = "nnunetv2_pclmix.method.stroke_spread_triton"
COLUMNS = 64
"""Bits of a row, at most."""


@torch.library.custom_op("nnunetv2_pclmix::implied_cells", mutates_args=())
def implied_cells(maps: Tensor, steps: int) -> Tensor:
    """Let strokes spread through what may be foreground: what each cell is by implication.

    In each step the foreground's strokes spread twice by a cell, diagonally too, then those of the
    background once, each not where the other is. Only what lies in annotated slices is judged: in
    2D the whole of a sample that has a stroke, in 3D cells whose slices all have one.

    Args:
        maps: (B, 4, *grid) bool: what may be foreground, which foreground strokes always are;
            cells with foreground strokes; cells from which the background spreads; cells with a
            stroke of any kind. 2D or 3D, at most `COLUMNS` cells along the last axis.
        steps: how many.

    Returns:
        (B, 3, *grid) bool: further than a cell from all foreground; reached from background
        strokes; reached by none.
    """
    if maps.device.type == "cuda":
        with torch.cuda.device(maps.device):  # Triton takes the current one
            return (kernel().launch or _by_torch)(maps, steps)
    return _by_torch(maps, steps)


@implied_cells.register_fake
def _(maps: Tensor, steps: int) -> Tensor:
    return maps.new_empty((len(maps), 3, *maps.shape[2:]))


def kernel() -> Kernel:
    """The one on the current GPU."""
    return tried(KERNEL, _by_torch)


def _by_torch(maps: Tensor, steps: int) -> Tensor:
    return unpack(torch.stack(_spread(*pack(maps).unbind(1), steps), 1), maps.shape[-1])


def pack(cells: Tensor) -> Tensor:
    """(..., columns) bool to (...) int64, column c as bit c."""
    bits = torch.arange(cells.shape[-1], device=cells.device)
    return (cells.long() << bits).sum(-1)


def unpack(rows: Tensor, columns: int) -> Tensor:
    """The reverse of `pack`."""
    bits = torch.arange(columns, device=rows.device)
    return ((rows[..., None] >> bits) & 1).bool()


def _grow(rows: Tensor, axes: range) -> Tensor:
    """Every cell and its neighbours; bits past the last column may be set."""
    # of the highest bit >> makes copies to its right, as it should be; of the lowest << makes none
    grown = rows | (rows << 1)
    grown |= grown >> 1
    for axis in axes:
        before, n = grown, grown.shape[axis] - 1
        grown = before.clone()
        for to, of in ((0, 1), (1, 0)):
            grown.narrow(axis, to, n).bitwise_or_(before.narrow(axis, of, n))
    return grown


def _spread(
    inside: Tensor, ours: Tensor, theirs: Tensor, annotated: Tensor, steps: int
) -> list[Tensor]:
    """`implied_cells` with maps of rows, (B, *rows) int64."""
    judged = _in_annotated_slices(annotated)
    state = torch.stack((ours, theirs & inside & ~ours))
    axes = range(2, state.ndim)
    for _ in range(steps):
        ours, theirs = state
        free = inside & ~theirs
        once, theirs = _grow(state, axes)
        once &= free
        ours = _grow(once[None], axes)[0] & free
        after = torch.stack((ours, theirs & inside & ~ours))
        # nothing changes any more; elsewhere looking would wait for the device
        if state.device.type == "cpu" and torch.equal(after, state):
            break
        state = after
    ours, theirs = state
    lone = judged & inside & ~(ours | theirs)
    far = judged & ~_grow((ours | lone)[None], axes)[0]
    return [far, judged & theirs, lone]


def _in_annotated_slices(annotated: Tensor) -> Tensor:
    """Cells whose slices all have annotations, as rows; see `implied_cells`.

    Args:
        annotated: (B, *rows) int64.
    """
    some = annotated != 0
    if annotated.ndim == 2:
        return -some.any(1, keepdim=True).long().expand_as(annotated)
    columns = annotated.flatten(1)
    while columns.shape[1] > 1:  # their union
        half = columns.shape[1] // 2
        rest = columns[:, 2 * half :]
        columns = torch.cat((columns[:, :half] | columns[:, half : 2 * half], rest), 1)
    slices = some.any(2, keepdim=True) & some.any(1, keepdim=True)
    return torch.where(slices, columns[:, :, None], 0)
