"""Contraction of per-sample gradients to norms, products with directions and a sketch, from their factors.

For G_i = sum_t d_t a_t^T (engine/rules/factors.py) each quantity is read in its cheapest exact form:

    one position       |G|_2 = |d||a|, |G|_1 = |d|_1 |a|_1, <G, V> = d^T V a, sketch by convolution
    a few positions    everything from G, made and read block by block in the innermost cache
    more positions     everything from G

An L1 norm needs every number of G, so the position Gram |G|^2 = sum_{t,s} (d_t.d_s)(a_t.a_s) would only add work. G is
written one tile of rows at a time, for up to 32 samples, into one reused buffer, and read while it is in cache
(tiles.py): each direction is fetched from memory once a tile instead of once a sample. Checked against oracle.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from influence_core.engine.readings.sketch import FoldingMap
from influence_core.engine.readings.tiles import (
    Totals,
    add_products,
    packed_at_once,
    prefers_factor_loop,
    read_made,
    read_rows,
    read_tile,
    totals,
)
from influence_core.engine.rules.factors import (
    Dense,
    Factor,
    Outer,
    Rows,
    Shifted,
    samples_of,
    sides,
    tensor_of,
    wide,
    written_out,
)

TILE_NUMBERS = 2_000_000
"""Numbers of G that exist at once (8 MB in float32, which fits a level-3 cache)."""
TILE_SAMPLES = 32
"""Samples of a tile. More would leave too few rows for fast matrix products."""
WINDOW_NUMBERS = 4_000_000
"""Numbers of copied convolution windows that exist at once (16 MB in float32)."""


class Buffer:
    """A reused tile of memory."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def tile(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """An uninitialised tensor of this shape, in the format of `like`; valid until the next call."""
        size = prod(shape)
        if self._memory is None or self._memory.numel() < size or self._memory.dtype != like.dtype:
            self._memory = None  # freed before a larger one is allocated
            self._memory = like.new_empty(size)
        return self._memory[:size].view(shape)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read off one parameter's gradient.

    shape: of the parameter. directions: k tensors of this shape, contiguous and never copied; None counts as zero.
    sketch: its folding map, or None. present: the directions that are not None, as matrices.
    """

    shape: tuple[int, ...]
    directions: tuple[Tensor | None, ...]
    sketch: FoldingMap | None
    present: list[Tensor] = field(init=False)
    _selected: dict[int, tuple[Tensor, Tensor]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        matrices = [v.view(sides(self.shape)) for v in self.directions if v is not None]
        object.__setattr__(self, "present", matrices)

    def along(self, low: int, high: int, seen: Tensor | None) -> Tensor:
        """Rows low to high of all directions as one matrix (k * rows, columns); only the columns `seen`, unless None.

        Selected columns are cached for the next batch: to select one of 9 taps reads the whole direction, which took
        0.2 of a training pass of stock ResNet-18 (32 x 32) in every batch. The cache takes a ninth of the directions.
        """
        if seen is None:
            return torch.cat([v[low:high] for v in self.present])
        if id(seen) not in self._selected:
            self._selected[id(seen)] = seen, torch.stack([v[:, seen] for v in self.present])
        return self._selected[id(seen)][1][:, low:high].flatten(0, 1)


@dataclass(slots=True)
class Readings:
    """Readings of one parameter for b samples, in float64 on a CPU, so that parameters are added up without rounding.

    sums (b, 2 + k): squared L2 norm, L1 norm, products. folded (b, M): the sketch before it is closed (sketch.py).
    """

    sums: Tensor
    folded: Tensor


def contract(factor: Factor, wanted: Wanted, buffer: Buffer, folded: Tensor | None = None) -> Readings:
    """Readings of one parameter's per-sample gradient, in the cheapest exact form.

    folded: (b, M), to which the sketch is added in place; None for a new one.
    """
    like = wide(tensor_of(factor)[:0])
    into = totals(like, samples_of(factor), len(wanted.present), wanted.sketch, folded)
    if isinstance(factor, Dense):
        _read_dense(wide(factor.g), wanted, into)
    elif isinstance(factor, Rows):
        read_rows(factor.ids, wide(factor.g), factor.v, wanted.present, wanted.sketch, into)
    elif isinstance(factor, Outer):
        _read_outer(factor, wanted, buffer, into)
    else:
        _read_shifted(factor, wanted, into)
    return _readings(into, wanted)


def _readings(into: Totals, wanted: Wanted) -> Readings:
    k, present = len(wanted.directions), len(wanted.present)
    if present == k and len(into.sums) == 1:
        return Readings(into.sums[0, :, : 2 + k], into.folded)
    sums = into.sums.new_zeros(into.sums.shape[1], 2 + k)
    places = [2 + index for index, v in enumerate(wanted.directions) if v is not None]
    sums[:, :2], sums[:, places] = into.sums[0, :, :2], into.products(present)
    return Readings(sums, into.folded)


def _read_dense(g: Tensor, wanted: Wanted, into: Totals) -> None:
    read_tile(g.reshape(len(g), -1).contiguous(), 0, wanted.present, wanted.sketch, into)


def _read_shifted(factor: Shifted, wanted: Wanted, into: Totals) -> None:
    """Read written-out gradients of as many samples as fit, taps in the parameter's order."""
    b, numbers = len(factor.d), prod(wanted.shape)
    for low, high in _ranges(b, max(1, TILE_NUMBERS // numbers)):
        _read_dense(written_out(factor, wanted.shape, low, high), wanted, into.of(low, high))


def _read_outer(factor: Outer, wanted: Wanted, buffer: Buffer, into: Totals) -> None:
    """Read group by group; windows are copied for as many samples as fit."""
    b, groups, rows, t = factor.d.shape
    step = min(TILE_SAMPLES, max(1, WINDOW_NUMBERS // max(1, factor.columns() * groups * t)))
    if prefers_factor_loop(factor.d):
        step = min(step, packed_at_once(t))
    for low, high in _ranges(b, step):
        d, a = factor.part(low, high)
        part = into.of(low, high)
        for group in range(groups):
            pair, row = (d[:, group], a[:, group]), group * rows
            if t == 1:
                _read_one_position(*pair, row, factor.seen, wanted, part)
            elif prefers_factor_loop(d):
                along = wanted.present if groups == 1 else [v[row : row + rows] for v in wanted.present]
                read_made(*pair, row, along, wanted.sketch, part, buffer.tile)
            else:
                _read_positions(*pair, row, wanted, buffer, part)


def _read_positions(d: Tensor, a: Tensor, row: int, wanted: Wanted, buffer: Buffer, into: Totals) -> None:
    """Read d (b, rows', t), which begins at `row`, and a (b, columns, t), by tiles of whole rows."""
    (b, rows, _), columns = d.shape, a.shape[1]
    for low, high in _ranges(rows, max(1, TILE_NUMBERS // max(1, b * columns))):
        g = buffer.tile((b, high - low, columns), d)
        torch.bmm(d[:, low:high], a.transpose(1, 2), out=g)
        along = [v[row + low : row + high] for v in wanted.present]
        read_tile(g.flatten(1), row + low, along, wanted.sketch, into)


def _read_one_position(
    d: Tensor, a: Tensor, row: int, seen: Tensor | None, wanted: Wanted, into: Totals
) -> None:
    """Read a gradient that is an outer product of two vectors."""
    d, a = d[:, :, 0], a[:, :, 0]
    into.sums[0, :, 0] += d.square().sum(1) * a.square().sum(1)
    into.sums[0, :, 1] += d.abs().sum(1) * a.abs().sum(1)
    if wanted.present:
        along = a @ wanted.along(row, row + d.shape[1], seen).T
        add_products((along.unflatten(1, (-1, d.shape[1])) * d.unsqueeze(1)).sum(2).unbind(1), into)
    if wanted.sketch is not None:
        into.folded += wanted.sketch.fold_outer(d, a, row, seen)


def _ranges(size: int, step: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges (low, high) of `step`, up to `size`; the last may be shorter."""
    for low in range(0, size, step):
        yield low, min(low + step, size)
