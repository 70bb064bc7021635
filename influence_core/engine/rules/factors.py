"""Factored per-sample gradients: four exact forms that need not be written out.

A gradient of a parameter seen as a matrix is a sum over positions, G_i = sum_t d_it a_it^T. A rule of layer_rules.py
returns the two factors; contract.py reads norms, products and sketches off them.

    Outer    d and a as they are (linear layers, convolutions whose windows are an overlapping view)
    Shifted  a convolution by shifted views of its padded input: one product a kernel tap, no window is copied
    Rows     an embedding: only the rows of the table that a sample used
    Dense    the gradient itself, where it is as small as a vector or has no better form

Sources: Goodfellow 2015 (arXiv 1510.01799); Rochette et al. 2019 (arXiv 1912.06015) for convolutions. Ours: Shifted.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor


def sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a parameter seen as a matrix, in its order of numbers: a vector is one row."""
    return (1, prod(shape)) if len(shape) < 2 else (shape[0], prod(shape[1:]))


@dataclass(frozen=True, slots=True)
class Outer:
    """sum_t d_t a_t^T. d (b, groups, rows, t); a, samples on axis 0, whose other axes flatten to (groups, columns, t).

    `a` may be an overlapping view, so that the windows of a convolution are copied only for the samples being read.
    The parameter is (groups * rows, columns). With `seen`, a has only these columns, and the others get no gradient.
    """

    d: Tensor
    a: Tensor
    seen: Tensor | None = None

    def columns(self) -> int:
        """Columns of each group's matrix."""
        return prod(self.a.shape[1:]) // max(1, self.d.shape[1] * self.d.shape[3])

    def part(self, low: int, high: int) -> tuple[Tensor, Tensor]:
        """d (n, groups, rows, t) and a (n, groups, columns, t) of samples low to high; a is copied if it overlaps."""
        d, a = wide(self.d[low:high]), wide(self.a[low:high])
        return d, a.reshape(len(d), d.shape[1], self.columns(), d.shape[3])


@dataclass(frozen=True, slots=True)
class Tap:
    """One tap of a kernel: its index in the kernel, the index of its phase, and where the phase's positions start."""

    place: int
    phase: int
    offset: int


@dataclass(frozen=True, slots=True)
class Shifted:
    """One group's convolution: a tap of the kernel is d @ phases[phase][:, :, offset : offset + t]^T.

    d (b, rows, t); phases (b, columns, length). A phase is every stride-th pixel of the padded input, its rows end
    to end. d is padded to the same pitch, so that a kernel tap is a plain shift.
    """

    d: Tensor
    phases: tuple[Tensor, ...]
    taps: tuple[Tap, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table (v, columns): g (b, t, columns) at ids (b, t). An id occurs once a sample, or its g is zero."""

    ids: Tensor
    g: Tensor
    v: int


@dataclass(frozen=True, slots=True)
class Dense:
    """A per-sample gradient written out: (b, *parameter shape)."""

    g: Tensor


Factor = Outer | Shifted | Rows | Dense


def wide(value: Tensor) -> Tensor:
    """The tensor in float32 if its format has half precision, else unchanged: sums of rounded products lose digits."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


def samples_of(factor: Factor) -> int:
    """b, the number of samples on axis 0."""
    return len(tensor_of(factor))


def tensor_of(factor: Factor) -> Tensor:
    """One of the factor's tensors, for its dtype, device and number of samples."""
    return factor.d if isinstance(factor, Outer | Shifted) else factor.g


def written_out(factor: Factor, shape: tuple[int, ...], low: int, high: int) -> Tensor:
    """Gradients of samples low to high, (high - low, *shape): for parameters whose uses must be added first."""
    n = high - low
    if isinstance(factor, Dense):
        return wide(factor.g[low:high]).reshape(n, *shape)
    if isinstance(factor, Outer):
        d, a = factor.part(low, high)
        g = d @ a.transpose(2, 3)
        if factor.seen is not None:
            all_columns = g.new_zeros(*g.shape[:3], sides(shape)[1])
            all_columns[..., factor.seen] = g
            g = all_columns
        return g.reshape(n, *shape)
    if isinstance(factor, Rows):
        ids, g = factor.ids[low:high], wide(factor.g[low:high])
        table = g.new_zeros(n, factor.v, g.shape[2])
        return table.scatter_add_(1, ids.unsqueeze(2).expand_as(g), g).reshape(n, *shape)
    d, t = wide(factor.d[low:high]), factor.d.shape[2]
    kernel = d.new_empty(len(factor.taps), n, shape[0], shape[1])
    for tap in factor.taps:
        a = wide(factor.phases[tap.phase][low:high, :, tap.offset : tap.offset + t])
        torch.bmm(d, a.transpose(1, 2), out=kernel[tap.place])
    return kernel.permute(1, 2, 3, 0).reshape(n, *shape)


def side_by_side(factors: list[Factor]) -> Factor | None:
    """One factor of a parameter used several times, positions side by side; None unless all are whole Outer factors."""
    outer = [factor for factor in factors if isinstance(factor, Outer) and factor.seen is None]
    if len(outer) < len(factors):
        return None
    pairs = [factor.part(0, len(factor.d)) for factor in outer]
    return Outer(torch.cat([d for d, _ in pairs], 3), torch.cat([a for _, a in pairs], 3))


def regrouped(factor: Factor, b: int, shape: tuple[int, ...]) -> Factor:
    """The factor of b * f rows, f consecutive ones of each sample, as a factor of b samples."""
    f = samples_of(factor) // b if b else 1
    if f == 1:
        return factor
    if isinstance(factor, Dense):
        return Dense(factor.g.unflatten(0, (b, f)).sum(1))
    if isinstance(factor, Rows):
        ids, g = factor.ids.reshape(b, -1), factor.g.reshape(b, -1, factor.g.shape[2])
        return merged_rows(ids, g, factor.v)
    if isinstance(factor, Outer) and factor.seen is None:
        d, a = factor.part(0, b * f)
        return Outer(*(x.unflatten(0, (b, f)).permute(0, 2, 3, 1, 4).flatten(3) for x in (d, a)))
    return Dense(written_out(factor, shape, 0, b * f).unflatten(0, (b, f)).sum(1))


def merged_rows(ids: Tensor, g: Tensor, v: int) -> Rows:
    """Rows with each id once a sample, from ids (b, t) and g (b, t, columns): rows of one id are added up."""
    same = ids.unsqueeze(1) == ids.unsqueeze(2)  # (b, t, t)
    first = same.int().argmax(2) == torch.arange(ids.shape[1], device=ids.device)
    return Rows(ids, (same & first.unsqueeze(2)).to(g) @ g, v)
