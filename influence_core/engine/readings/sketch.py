"""Sketches: a gradient of millions of numbers folded into q, by default 256, with unbiased inner products.

Each parameter, seen as a matrix in its order of numbers (factors.sides), is folded into q buckets with signs that
split over rows and columns: entry e = row * columns + column goes to bucket ((e + shift) mod M) mod q with sign
s(row) s(column). The maps of different parameters are independent and their sketches are added, so without bias

    E <sketch_i, sketch_j> = <g_i, g_j>,   standard error about |g_i| |g_j| / sqrt(q).

Because signs and buckets split, the sketch of an outer product d a^T is a circular convolution of two small sketches
(TensorSketch, Pham and Pagh 2013) and needs no written-out gradient; both forms give the same numbers. What we changed:
the bucket is a remainder instead of a hash. So folding a written-out gradient is a sum over consecutive runs (a tenth
of the cost of a scatter), and no two entries of a row, nor of a column, share a bucket while they are fewer than M.
M is the smallest modulus from q on that shares no factor with the number of columns and has a fast transform. The last
M - q buckets are folded once more.
"""

import hashlib
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor

from influence_core.engine.rules.factors import sides


@dataclass(frozen=True, slots=True)
class FoldingMap:
    """Fixed random map of one parameter: length q, modulus M, shift, signs (rows,) and (columns,)."""

    q: int
    modulus: int
    shift: int
    columns: int
    row_sign: Tensor
    column_sign: Tensor

    def fold(self, g: Tensor, row: int) -> Tensor:
        """Fold g (b, rows' * columns), whole rows from `row` on, into (b, M)."""
        rows = g.shape[1] // self.columns
        signed = g * (self.row_sign[row : row + rows, None] * self.column_sign).flatten()
        runs = g.shape[1] // self.modulus
        length = runs * self.modulus
        out = signed[:, :length].unflatten(1, (runs, self.modulus)).sum(1)
        out[:, : g.shape[1] - length] += signed[:, length:]
        return out.roll((row * self.columns + self.shift) % self.modulus, 1)

    def fold_outer(self, d: Tensor, a: Tensor, row: int, seen: Tensor | None = None) -> Tensor:
        """Fold d a^T into (b, M): d (b, rows') from `row` on, a (b, columns), or only the columns `seen`."""
        rows = torch.arange(row, row + d.shape[1], device=d.device)
        columns = torch.arange(self.columns, device=d.device) if seen is None else seen
        left = _bucketed(d * self.row_sign[rows], rows * self.columns + self.shift, self.modulus)
        right = _bucketed(a * self.column_sign[columns], columns, self.modulus)
        if d.device.type != "mps":  # a transform rounds relative to the whole vector; float64 costs nothing
            left, right = left.double(), right.double()
        return torch.fft.irfft(torch.fft.rfft(left) * torch.fft.rfft(right), n=self.modulus).to(d.dtype)

    def fold_rows(self, ids: Tensor, g: Tensor) -> Tensor:
        """Fold rows g (b, t, columns) of a table at ids (b, t) into (b, M)."""
        column = torch.arange(self.columns, device=g.device)
        bucket = (ids.unsqueeze(2) * self.columns + column + self.shift) % self.modulus
        signed = g * self.row_sign[ids].unsqueeze(2) * self.column_sign
        return g.new_zeros(len(g), self.modulus).scatter_add_(1, bucket.flatten(1), signed.flatten(1))

    def closed(self, folded: Tensor) -> Tensor:
        """The sketch (b, q) of folded (b, M): the last M - q buckets are added to the first."""
        sketch = folded[:, : self.q].clone()
        sketch[:, : self.modulus - self.q] += folded[:, self.q :]
        return sketch


def folding_map(name: str, shape: tuple[int, ...], q: int, seed: int, like: Tensor) -> FoldingMap:
    """Map of the parameter `name`: the same in every process for the same (name, shape, q, seed)."""
    digest = hashlib.sha256(f"{seed}:{name}:{shape}:{q}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    rows, columns = sides(shape)
    modulus = _modulus(q, columns)
    shift = int(torch.randint(modulus, (), generator=generator))
    row, column = (_signs(size, generator).to(like) for size in (rows, columns))
    return FoldingMap(q, modulus, shift, columns, row, column)


def _modulus(q: int, pitch: int) -> int:
    """Smallest number in [q, 2q] that shares no factor with the pitch and has no prime factor above 13; else q."""
    for candidate in range(q, 2 * q + 1):
        rest = candidate
        for prime in (2, 3, 5, 7, 11, 13):
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and gcd(candidate, max(1, pitch)) == 1:
            return candidate
    return q


def _signs(n: int, generator: torch.Generator) -> Tensor:
    """n random signs, -1 or 1."""
    return torch.randint(2, (n,), generator=generator) * 2 - 1


def _bucketed(values: Tensor, bucket: Tensor, size: int) -> Tensor:
    """Sum axis 1 of (b, n) into buckets (taken modulo `size`) -> (b, size)."""
    return values.new_zeros(len(values), size).index_add_(1, bucket % size, values)
