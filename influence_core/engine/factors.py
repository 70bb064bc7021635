"""How is a per-sample gradient written down without writing it out?

Every gradient of a parameter seen as a matrix is a sum over positions, G_i = sum_t d_it a_it^T. A rule of layers.py
hands over the two factors; contractions.py reads norms, products and sketches off them. Four forms, each exact:

    Outer    d and a as they are (linear layers, convolutions whose windows are an overlapping view)
    Shifted  a convolution by shifted views of its padded input: one product a kernel tap, no window is ever copied
    Rows     an embedding: only the rows of the table that a sample used
    Dense    the gradient itself, where it is as small as a vector or nothing better is known

Sources: Goodfellow 2015 (arXiv 1510.01799); Rochette et al. 2019 (arXiv 1912.06015) for convolutions. Ours: Shifted.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Grid:
    """A parameter as a stack of matrices (blocks, rows, columns), the order in which its gradient is read.

    Kernels are stacked tap by tap (`tapped`) from 8 channels on; all else is one matrix, trailing axes as columns.
    """

    shape: tuple[int, ...]
    blocks: int
    rows: int
    columns: int
    tapped: bool

    def flat(self, g: Tensor) -> Tensor:
        """(b, *shape) -> (b, blocks * rows * columns) in reading order."""
        return (g.flatten(3).permute(0, 3, 1, 2) if self.tapped else g).reshape(len(g), -1)

    def matrix(self, value: Tensor, block: int) -> Tensor:
        """One block (rows, columns) of a tensor of the parameter's shape, as a view."""
        if self.tapped:
            return value.flatten(2)[:, :, block]
        return value.reshape(self.rows, self.columns)

    def rows_of(self, value: Tensor, low: int, high: int) -> Tensor:
        """Some rows of all blocks (blocks, rows' * columns) of a tensor of the parameter's shape."""
        if self.tapped:
            return value.flatten(2)[low:high].permute(2, 0, 1).reshape(self.blocks, -1)
        return value.reshape(self.rows, self.columns)[low:high].reshape(1, -1)


def grid_of(shape: tuple[int, ...]) -> Grid:
    """The grid depends on the shape alone, so every form of a parameter's gradient is read in the same order."""
    if len(shape) < 2:
        return Grid(shape, 1, 1, prod(shape), False)
    taps = prod(shape[2:])
    if taps > 1 and shape[1] >= 8:
        return Grid(shape, taps, shape[0], shape[1], True)
    return Grid(shape, 1, shape[0], prod(shape[1:]), False)


@dataclass(frozen=True, slots=True)
class Outer:
    """sum_t d_t a_t^T. d (b, groups, rows, t); a, samples on axis 0, whose other axes flatten to (groups, columns, t).

    `a` may be an overlapping view, so that the windows of a convolution are copied only for the samples at hand.
    The parameter is (groups * rows, columns).
    """

    d: Tensor
    a: Tensor

    def columns(self) -> int:
        """Columns of each group's matrix."""
        return prod(self.a.shape[1:]) // max(1, self.d.shape[1] * self.d.shape[3])

    def part(self, low: int, high: int) -> tuple[Tensor, Tensor]:
        """d (n, groups, rows, t) and a (n, groups, columns, t) of samples low to high, a copied if it must be."""
        d = self.d[low:high]
        return d, self.a[low:high].reshape(len(d), d.shape[1], self.columns(), d.shape[3])


@dataclass(frozen=True, slots=True)
class Tap:
    """One block of a kernel's gradient: which d, which phase, and where the phase's positions start."""

    block: int
    d: int
    phase: int
    offset: int


@dataclass(frozen=True, slots=True)
class Shifted:
    """One group's convolution: a block is ds[d] @ phases[phase][:, :, offset : offset + t]^T, others are zero.

    ds (b, rows, t); phases (b, columns, length). Either a phase is every stride-th pixel of the padded input, its rows
    laid end to end, and d is padded to the same pitch, so that a kernel tap is a plain shift; or, for small pictures,
    each tap has its own d and phase, cut to the positions where it sees the picture.
    """

    ds: tuple[Tensor, ...]
    phases: tuple[Tensor, ...]
    taps: tuple[Tap, ...]

    def pair(self, tap: Tap) -> tuple[Tensor, Tensor]:
        """d (b, rows, t) and a (b, columns, t) of one block."""
        d = self.ds[tap.d]
        return d, self.phases[tap.phase][:, :, tap.offset : tap.offset + d.shape[2]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table (v, columns): g (b, t, columns) at ids (b, t); an id occurs once a sample, or its g is zero."""

    ids: Tensor
    g: Tensor
    v: int


@dataclass(frozen=True, slots=True)
class Dense:
    """A per-sample gradient written out: (b, *parameter shape)."""

    g: Tensor


Factor = Outer | Shifted | Rows | Dense


def samples_of(factor: Factor) -> int:
    """b, the number of samples on axis 0."""
    return len(tensor_of(factor))


def tensor_of(factor: Factor) -> Tensor:
    """One of its tensors, for dtype and device."""
    if isinstance(factor, Shifted):
        return factor.phases[0]
    return factor.d if isinstance(factor, Outer) else factor.g


def written_out(factor: Factor, shape: tuple[int, ...], low: int, high: int) -> Tensor:
    """The gradients of samples low to high, (high - low, *shape): for parameters whose uses must be added first."""
    n = high - low
    if isinstance(factor, Dense):
        return factor.g[low:high].reshape(n, *shape)
    if isinstance(factor, Outer):
        d, a = factor.part(low, high)
        return (d @ a.transpose(2, 3)).reshape(n, *shape)
    if isinstance(factor, Rows):
        ids, g = factor.ids[low:high], factor.g[low:high]
        table = g.new_zeros(n, factor.v, g.shape[2])
        return table.scatter_add_(1, ids.unsqueeze(2).expand_as(g), g).reshape(n, *shape)
    kernel = factor.phases[0].new_zeros(prod(shape[2:]), n, shape[0], shape[1])
    for tap in factor.taps:
        d, a = factor.pair(tap)
        torch.bmm(d[low:high], a[low:high].transpose(1, 2), out=kernel[tap.block])
    return kernel.permute(1, 2, 3, 0).reshape(n, *shape)


def side_by_side(factors: list[Factor]) -> Factor | None:
    """The gradient of a parameter used several times as one factor, positions side by side; None where that fails."""
    outer = [factor for factor in factors if isinstance(factor, Outer)]
    if len(outer) < len(factors):
        return None
    pairs = [factor.part(0, len(factor.d)) for factor in outer]
    return Outer(torch.cat([d for d, _ in pairs], 3), torch.cat([a for _, a in pairs], 3))


def regrouped(factor: Factor, b: int, shape: tuple[int, ...]) -> Factor:
    """Factors of b * f rows, f of them of each sample, as factors of b samples."""
    f = samples_of(factor) // b if b else 1
    if f == 1:
        return factor
    if isinstance(factor, Dense):
        return Dense(factor.g.unflatten(0, (b, f)).sum(1))
    if isinstance(factor, Rows):
        ids, g = factor.ids.reshape(b, -1), factor.g.reshape(b, -1, factor.g.shape[2])
        return merged_rows(ids, g, factor.v)
    if isinstance(factor, Outer):
        d, a = factor.part(0, b * f)
        return Outer(*(x.unflatten(0, (b, f)).permute(0, 2, 3, 1, 4).flatten(3) for x in (d, a)))
    return Dense(written_out(factor, shape, 0, b * f).unflatten(0, (b, f)).sum(1))


def merged_rows(ids: Tensor, g: Tensor, v: int) -> Rows:
    """Add the rows of one sample that have the same id: ids (b, t), g (b, t, columns) -> Rows with each id once."""
    same = ids.unsqueeze(1) == ids.unsqueeze(2)  # (b, t, t)
    first = same.int().argmax(2) == torch.arange(ids.shape[1], device=ids.device)
    return Rows(ids, (same & first.unsqueeze(2)).to(g) @ g, v)
