"""What do we need from a per-sample gradient? Norms, products with directions, and a sketch; never the gradient itself.

For G_i = sum_t d_t a_t^T (factors.py) each quantity is read in its cheapest exact form:

    one position       |G|_2 = |d||a|, |G|_1 = |d|_1 |a|_1, <G, V> = d^T V a, sketch by convolution
    a few positions    |G|^2 = sum_{t,s} (d_t.d_s)(a_t.a_s), sketch by convolution; L1 and products from G
    many positions     everything from G

G itself is written one tile of rows at a time, for all samples of the batch, into one buffer that is used again, and
read while it is in cache: each direction is fetched from memory once a batch instead of once a sample.
Measured on 2 cores, float32, ns a number of G: products with 8 directions 0.25, L1 0.08, square 0.07, sketch 0.11.

`per_sample_gradients` is the slow truth beside it: one backward per sample, every gradient written out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.engine.factors import Dense, Factor, Grid, Outer, Rows, Shifted, samples_of, tensor_of
from influence_core.engine.sketch import FoldingMap

TILE_NUMBERS = 2_000_000
"""Numbers of G that exist at once (8 MB in float32): fits a level-3 cache."""
TILE_SAMPLES = 64
"""Samples of a tile: more would leave too few rows for fast matrix products."""
SIGN_IN_TILE = 0.2
WINDOW_NUMBERS = 8_000_000
"""Numbers of copied convolution windows that exist at once (32 MB in float32)."""
SPLITS = 4
"""Products of a tile are summed in this many pieces: BLAS then uses all cores (0.25 instead of 0.39 ns a number)."""


class Buffer:
    """A reused tile of memory."""

    def __init__(self) -> None:
        self._held: Tensor | None = None

    def tile(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """An uninitialised tensor of this shape, of the kind of `like`; valid until the next call."""
        size = torch.Size(shape).numel()
        if self._held is None or self._held.numel() < size or self._held.dtype != like.dtype:
            self._held = like.new_empty(max(size, TILE_NUMBERS))
        return self._held[:size].view(shape)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read off one parameter's gradient: k directions of its shape, its folding map or None, L1 or not.

    The directions stay where they are: a copy in reading order would take k times the model's memory, and cutting each
    tile out of them anew costs about 4 % of a pass at 64 samples.
    """

    grid: Grid
    directions: tuple[Tensor, ...]
    sketch: FoldingMap | None
    l1: bool = True
    _last: list[tuple[tuple[int, int], Tensor]] = field(default_factory=list)

    def tile(self, block: int, low: int, high: int) -> Tensor:
        """The directions (k, rows * columns) at some rows of a block, signed as the gradients are.

        Cut out for all blocks of these rows at once, since the taps of a kernel lie side by side in memory.
        """
        if not self._last or self._last[0][0] != (low, high):
            stacked = torch.stack([self.grid.rows_of(d, low, high) for d in self.directions])
            if self.sketch is not None:
                stacked *= self.sketch.tile_sign(low, high)
            self._last[:] = [((low, high), stacked)]
        return self._last[0][1][:, block]

    def forget(self) -> None:
        """Let go of the last tile: those of all layers together would be a second copy of the directions."""
        self._last.clear()


@dataclass(slots=True)
class Readings:
    """One parameter, b samples: squared L2 norm (b,), L1 norm (b,), products (b, k), sketch (b, q)."""

    square: Tensor
    l1: Tensor
    products: Tensor
    sketch: Tensor

    def of(self, low: int, high: int) -> "Readings":
        """A view of some samples."""
        return Readings(
            self.square[low:high], self.l1[low:high], self.products[low:high], self.sketch[low:high]
        )


def joined(parts: Sequence[Readings]) -> Readings:
    """Readings of ranges of samples as one."""
    return Readings(*(torch.cat([getattr(part, name) for part in parts]) for name in Readings.__slots__))


def contract(factor: Factor, wanted: Wanted, buffer: Buffer) -> Readings:
    """Read everything wanted off one parameter's per-sample gradient, in the cheapest exact form."""
    b, q = samples_of(factor), wanted.sketch.q if wanted.sketch else 0
    like = tensor_of(factor)
    out = Readings(
        like.new_zeros(b), like.new_zeros(b), like.new_zeros(b, len(wanted.directions)), like.new_zeros(b, q)
    )
    if isinstance(factor, Dense):
        _read_dense(factor.g, wanted, out)
    elif isinstance(factor, Rows):
        _read_rows(factor, wanted, out)
    elif isinstance(factor, Outer):
        _read_outer(factor, wanted, buffer, out)
    else:
        _read_shifted(factor, wanted, buffer, out)
    wanted.forget()
    out.square.clamp_(min=0)  # a Gram sum of zero may round below it
    return out


def _read_dense(g: Tensor, wanted: Wanted, out: Readings) -> None:
    flat, per_block = wanted.grid.flat(g), wanted.grid.rows * wanted.grid.columns
    sign = wanted.sketch.tile_sign(0, wanted.grid.rows) if wanted.sketch else None
    for block in range(wanted.grid.blocks):
        part = flat[:, block * per_block : (block + 1) * per_block]
        own = part.clone() if sign is None else part * sign
        _read(own, block, 0, wanted, out, square=True, sketch=True)


def _read_rows(factor: Rows, wanted: Wanted, out: Readings) -> None:
    out.square += factor.g.square().sum((1, 2))
    out.l1 += factor.g.abs().sum((1, 2))
    for index, direction in enumerate(wanted.directions):
        out.products[:, index] = (direction[factor.ids] * factor.g).sum((1, 2))
    if wanted.sketch is not None:
        out.sketch += wanted.sketch.fold_rows(factor.ids, factor.g)


@dataclass(frozen=True, slots=True)
class _Pair:
    """One block's factors, G = sum_t d_t a_t^T: d (b, rows', t) from a row on, a (b, columns, t); signed or not."""

    d: Tensor
    a: Tensor
    block: int
    row: int
    signed: bool


def _read_shifted(factor: Shifted, wanted: Wanted, buffer: Buffer, out: Readings) -> None:
    small = sum(x.numel() for x in (*factor.ds, *factor.phases)) < _gradient_numbers(wanted, len(out.square))
    signed = wanted.sketch is not None and small
    if wanted.sketch is not None and small:
        ds = tuple(d * wanted.sketch.row_sign[:, None] for d in factor.ds)
        factor = Shifted(
            ds, tuple(x * wanted.sketch.column_sign[:, None] for x in factor.phases), factor.taps
        )
    _read_pairs([_Pair(*factor.pair(tap), tap.block, 0, signed) for tap in factor.taps], wanted, buffer, out)


def _read_outer(factor: Outer, wanted: Wanted, buffer: Buffer, out: Readings) -> None:
    """Group by group; windows are copied for as many samples as fit."""
    b, groups, rows, t = factor.d.shape
    for low, high in _sample_ranges(b, factor.columns() * groups * t, WINDOW_NUMBERS):
        d, a = factor.part(low, high)
        if wanted.grid.tapped:  # a kernel of several groups: written out, then put in reading order
            _read_dense(
                (d @ a.transpose(2, 3)).reshape(high - low, *wanted.grid.shape), wanted, out.of(low, high)
            )
            continue
        signed = wanted.sketch is not None and d.numel() + a.numel() < _gradient_numbers(wanted, high - low)
        if wanted.sketch is not None and signed:
            d = d * wanted.sketch.row_sign.view(groups, rows, 1)
            a = a * wanted.sketch.column_sign[:, None]
        pairs = [_Pair(d[:, group], a[:, group], 0, group * rows, signed) for group in range(groups)]
        for pair in pairs:
            _read_pairs([pair], wanted, buffer, out.of(low, high))


def _gradient_numbers(wanted: Wanted, b: int) -> float:
    """Numbers of G, weighed: a sign costs a fifth in a tile, which is in cache, of what it costs in a factor."""
    return SIGN_IN_TILE * b * prod(wanted.grid.shape)


def _read_pairs(pairs: list[_Pair], wanted: Wanted, buffer: Buffer, out: Readings) -> None:
    """Read the blocks of the same rows of one parameter: directly what is cheaper so, the rest tile by tile."""
    several = []
    for pair in pairs:
        if pair.d.shape[2] == 1:
            _read_one_position(pair, wanted, out)
        elif pair.d.shape[2]:
            several.append((pair, *_read_directly(pair, wanted, out)))
    if not several:
        return
    b, rows, _ = several[0][0].d.shape
    for low, high in _row_ranges(rows, min(b, TILE_SAMPLES) * wanted.grid.columns):
        sign = (
            None
            if wanted.sketch is None
            else wanted.sketch.tile_sign(several[0][0].row + low, several[0][0].row + high)
        )
        for pair, square, sketch in several:
            at = pair.a.transpose(1, 2)
            for first, last in _sample_ranges(b, 1, TILE_SAMPLES):
                g = buffer.tile((last - first, high - low, wanted.grid.columns), pair.d)
                torch.bmm(pair.d[first:last, low:high], at[first:last], out=g)
                flat = g.flatten(1) if pair.signed or sign is None else g.flatten(1).mul_(sign)
                _read(
                    flat,
                    pair.block,
                    pair.row + low,
                    wanted,
                    out.of(first, last),
                    square=square,
                    sketch=sketch,
                )


def _read_directly(pair: _Pair, wanted: Wanted, out: Readings) -> tuple[bool, bool]:
    """Square and sketch without G where few positions make that cheaper; which of the two is still to be read."""
    d, a, t = pair.d, pair.a, pair.d.shape[2]
    rows, columns = d.shape[1], a.shape[1]
    by_gram = t * t * (rows + columns) < 4 * rows * columns
    if by_gram:
        out.square += ((d.transpose(1, 2) @ d) * (a.transpose(1, 2) @ a)).sum((1, 2))
    by_convolution = (
        wanted.sketch is not None and t * (rows + columns + 60 * wanted.sketch.q) < rows * columns // 5
    )
    if wanted.sketch is not None and by_convolution:
        _fold_outer(pair, wanted.sketch, out)
    return not by_gram, wanted.sketch is not None and not by_convolution


def _fold_outer(pair: _Pair, sketch: FoldingMap, out: Readings) -> None:
    d, a = pair.d, pair.a
    if not pair.signed:
        d = d * sketch.row_sign[pair.row : pair.row + d.shape[1], None]
        a = a * sketch.column_sign[:, None]
    out.sketch += sketch.fold_outer(d, a, pair.block, pair.row)


def _read_one_position(pair: _Pair, wanted: Wanted, out: Readings) -> None:
    """The gradient is an outer product of two vectors."""
    d, a = pair.d[:, :, 0], pair.a[:, :, 0]
    out.square += d.square().sum(1) * a.square().sum(1)
    out.l1 += d.abs().sum(1) * a.abs().sum(1)
    if wanted.sketch is not None:
        _fold_outer(pair, wanted.sketch, out)
        if pair.signed:  # the directions are not
            d, a = d * wanted.sketch.row_sign[pair.row : pair.row + d.shape[1]], a * wanted.sketch.column_sign
    for index, direction in enumerate(wanted.directions):
        matrix = wanted.grid.matrix(direction, pair.block)[pair.row : pair.row + d.shape[1]]
        out.products[:, index] += ((a @ matrix.T) * d).sum(1)


def _read(
    g: Tensor, block: int, row: int, wanted: Wanted, out: Readings, *, square: bool, sketch: bool
) -> None:
    """Add the readings of g (b, rows' * columns), signed, which starts at a row of a block; g is overwritten."""
    if square:
        out.square += torch.linalg.vecdot(g, g)
    if wanted.directions:
        tile = wanted.tile(block, row, row + g.shape[1] // wanted.grid.columns)
        out.products += _products(g, tile)
    if sketch and wanted.sketch is not None:
        out.sketch += wanted.sketch.fold(g, block, row)
    if wanted.l1:
        out.l1 += g.abs_().sum(1)


def _products(g: Tensor, directions: Tensor) -> Tensor:
    """g (b, e), directions (k, e) -> (b, k)."""
    if g.shape[1] % SPLITS:
        return (directions @ g.T).T
    pieces = directions.unflatten(1, (SPLITS, -1)).transpose(0, 1) @ g.unflatten(1, (SPLITS, -1)).permute(
        1, 2, 0
    )
    return pieces.sum(0).T


def _sample_ranges(b: int, numbers: int, limit: int) -> Iterator[tuple[int, int]]:
    """Ranges of samples of at most `limit` numbers in all, at least one sample."""
    step = max(1, limit // max(1, numbers))
    for low in range(0, b, step):
        yield low, min(low + step, b)


def _row_ranges(rows: int, numbers: int) -> Iterator[tuple[int, int]]:
    step = max(1, TILE_NUMBERS // max(1, numbers))
    for low in range(0, rows, step):
        yield low, min(low + step, rows)


def per_sample_gradients(
    model: nn.Module, samples: Dataset, loss: Callable[[Any, Tensor], Tensor]
) -> Mapping[str, Tensor]:
    """The slow truth: every sample alone through autograd, (n, *parameter shape) by parameter name.

    Runs the model as it is, parameters with requires_grad only. For tests and for a researcher's doubts: n backward
    passes and n * p numbers of memory. `loss(outputs, labels) -> (b,)`.
    """
    named = {name: value for name, value in model.named_parameters() if value.requires_grad}
    rows: dict[str, list[Tensor]] = {name: [] for name in named}
    for batch in loop.batches(samples, 1, like=model):
        value = loss(loop.forward(model, batch.inputs), batch.labels).sum()
        gradients = torch.autograd.grad(value, list(named.values()), allow_unused=True)
        for (name, parameter), gradient in zip(named.items(), gradients, strict=True):
            rows[name].append(torch.zeros_like(parameter) if gradient is None else gradient)
    return {name: torch.stack(parts) if parts else named[name].new_zeros(0) for name, parts in rows.items()}
