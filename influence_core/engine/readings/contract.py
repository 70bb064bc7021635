"""What do we need from a per-sample gradient? Norms, products with directions, and a sketch; never the gradient itself.

For G_i = sum_t d_t a_t^T (engine/rules/factors.py) each quantity is read in its cheapest exact form:

    one position       |G|_2 = |d||a|, |G|_1 = |d|_1 |a|_1, <G, V> = d^T V a, sketch by convolution
    a few positions    everything from G, made and read block by block in the innermost cache
    more positions     everything from G

An L1 norm needs every number of G, so the position Gram |G|^2 = sum_{t,s} (d_t.d_s)(a_t.a_s) would only be paid on top.
G itself is written one tile of rows at a time, for up to 32 samples, into one buffer that is used again, and read while
it is in cache (tiles.py): each direction is fetched from memory once a tile instead of once a sample.

The slow truth that all of it is tested against: oracle.py.
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
    makes,
    packed_at_once,
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
"""Numbers of G that exist at once (8 MB in float32): fits a level-3 cache."""
TILE_SAMPLES = 32
"""Samples of a tile: more would leave too few rows for fast matrix products."""
WINDOW_NUMBERS = 4_000_000
"""Numbers of copied convolution windows that exist at once (16 MB in float32)."""


class Buffer:
    """A reused tile of memory."""

    def __init__(self) -> None:
        self._held: Tensor | None = None

    def tile(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """An uninitialised tensor of this shape, of the kind of `like`; valid until the next call."""
        size = prod(shape)
        if self._held is None or self._held.numel() < size or self._held.dtype != like.dtype:
            self._held = None  # given back before a larger one is asked for
            self._held = like.new_empty(size)
        return self._held[:size].view(shape)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read off one parameter's gradient: its shape, k directions of this shape (None counts as zero), laid out
    in order and never copied, and its folding map or None. present: the directions that are not zero, as matrices."""

    shape: tuple[int, ...]
    directions: tuple[Tensor | None, ...]
    sketch: FoldingMap | None
    present: list[Tensor] = field(init=False)
    _picked: dict[int, tuple[Tensor, Tensor]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        matrices = [v.view(sides(self.shape)) for v in self.directions if v is not None]
        object.__setattr__(self, "present", matrices)

    def along(self, low: int, high: int, seen: Tensor | None) -> Tensor:
        """Rows low to high of all directions, one matrix (k * rows, columns), only the columns `seen`.

        Those are kept for the next batch: picking a ninth of a direction of 9 taps reads all of it, which took 0.2 of
        a training pass of stock ResNet-18 (32 x 32) in every batch, and keeping it takes a ninth of the directions.
        """
        if seen is None:
            return torch.cat([v[low:high] for v in self.present])
        if id(seen) not in self._picked:
            self._picked[id(seen)] = seen, torch.stack([v[:, seen] for v in self.present])
        return self._picked[id(seen)][1][:, low:high].flatten(0, 1)


@dataclass(slots=True)
class Readings:
    """One parameter, b samples. sums (b, 2 + k): squared L2 norm, L1 norm, products; folded (b, M): its sketch before
    it is closed (sketch.py). In float64 where the device has it, so that parameters are added up without rounding."""

    sums: Tensor
    folded: Tensor


def contract(factor: Factor, wanted: Wanted, buffer: Buffer, folded: Tensor | None = None) -> Readings:
    """Read everything wanted off one parameter's per-sample gradient, in the cheapest exact form.

    folded: (b, M), to which its sketch is added, in place; None for a new one.
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
    k, found = len(wanted.directions), len(wanted.present)
    if found == k and len(into.sums) == 1:
        return Readings(into.sums[0, :, : 2 + k], into.folded)
    sums = into.sums.new_zeros(into.sums.shape[1], 2 + k)
    there = [2 + index for index, v in enumerate(wanted.directions) if v is not None]
    sums[:, :2], sums[:, there] = into.sums[0, :, :2], into.products(found)
    return Readings(sums, into.folded)


def _read_dense(g: Tensor, wanted: Wanted, into: Totals) -> None:
    read_tile(g.reshape(len(g), -1).contiguous(), 0, wanted.present, wanted.sketch, into)


def _read_shifted(factor: Shifted, wanted: Wanted, into: Totals) -> None:
    """Written out for as many samples as fit, taps put in the parameter's order."""
    b, numbers = len(factor.d), prod(wanted.shape)
    for low, high in _ranges(b, max(1, TILE_NUMBERS // numbers)):
        _read_dense(written_out(factor, wanted.shape, low, high), wanted, into.of(low, high))


def _read_outer(factor: Outer, wanted: Wanted, buffer: Buffer, into: Totals) -> None:
    """Group by group; windows are copied for as many samples as fit."""
    b, groups, rows, t = factor.d.shape
    step = min(TILE_SAMPLES, max(1, WINDOW_NUMBERS // max(1, factor.columns() * groups * t)))
    if makes(factor.d):
        step = min(step, packed_at_once(t))
    for low, high in _ranges(b, step):
        d, a = factor.part(low, high)
        part = into.of(low, high)
        for group in range(groups):
            pair, row = (d[:, group], a[:, group]), group * rows
            if t == 1:
                _read_one_position(*pair, row, factor.seen, wanted, part)
            elif makes(d):
                along = wanted.present if groups == 1 else [v[row : row + rows] for v in wanted.present]
                read_made(*pair, row, along, wanted.sketch, part, buffer.tile)
            else:
                _read_positions(*pair, row, wanted, buffer, part)


def _read_positions(d: Tensor, a: Tensor, row: int, wanted: Wanted, buffer: Buffer, into: Totals) -> None:
    """d (b, rows', t) from a row on, a (b, columns, t): tile by tile of whole rows."""
    (b, rows, _), columns = d.shape, a.shape[1]
    for low, high in _ranges(rows, max(1, TILE_NUMBERS // max(1, b * columns))):
        g = buffer.tile((b, high - low, columns), d)
        torch.bmm(d[:, low:high], a.transpose(1, 2), out=g)
        along = [v[row + low : row + high] for v in wanted.present]
        read_tile(g.flatten(1), row + low, along, wanted.sketch, into)


def _read_one_position(
    d: Tensor, a: Tensor, row: int, seen: Tensor | None, wanted: Wanted, into: Totals
) -> None:
    """The gradient is an outer product of two vectors."""
    d, a = d[:, :, 0], a[:, :, 0]
    into.sums[0, :, 0] += d.square().sum(1) * a.square().sum(1)
    into.sums[0, :, 1] += d.abs().sum(1) * a.abs().sum(1)
    if wanted.present:
        along = a @ wanted.along(row, row + d.shape[1], seen).T
        add_products((along.unflatten(1, (-1, d.shape[1])) * d.unsqueeze(1)).sum(2).unbind(1), into)
    if wanted.sketch is not None:
        into.folded += wanted.sketch.fold_outer(d, a, row, seen)


def _ranges(size: int, step: int) -> Iterator[tuple[int, int]]:
    for low in range(0, size, step):
        yield low, min(low + step, size)
