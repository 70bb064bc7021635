"""How can a gradient of millions of numbers be kept in 256, so that inner products survive?

Each parameter, read as blocks of matrices (factors.Grid), is folded into q buckets with signs that split over rows and
columns: the entry at reading position e = (block * rows + row) * columns + column goes to bucket
((e + shift) mod M) mod q with sign s(block) s(row) s(column). The maps of different parameters are independent and
their sketches are added, so without bias

    E <sketch_i, sketch_j> = <g_i, g_j>,   standard error about |g_i| |g_j| / sqrt(q).

Because signs and buckets split, the sketch of sum_t d_t a_t^T is a circular convolution of two small sketches
(TensorSketch, Pham and Pagh 2013) and needs no written-out gradient; both forms give the same numbers. What we changed:
the bucket is a remainder instead of a hash, so that folding a written-out gradient is one sum over consecutive blocks
of M numbers (0.04 ns a number against 0.4 for a scatter), and no two entries of a row, nor of a column, meet while
there are fewer than M. M is the smallest modulus from q on that shares no factor with the pitch and has a fast
transform; M - q buckets are folded once more.
"""

import hashlib
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor

from influence_core.engine.factors import Grid


@dataclass(frozen=True, slots=True)
class FoldingMap:
    """The fixed random map of one parameter: modulus, shift, signs of rows, columns and blocks.

    "Signed" inputs carry the signs of their rows and columns already: signs change no norm, and can be put on the
    factors d and a where these are smaller than the gradient.
    """

    q: int
    modulus: int
    shift: int
    grid: Grid
    row_sign: Tensor
    column_sign: Tensor
    block_sign: Tensor

    def fold(self, g: Tensor, block: int, row: int) -> Tensor:
        """Sketch (b, q) of g (b, rows' * columns), signed, which starts at a row of a block."""
        times = g.shape[1] // self.modulus
        whole = times * self.modulus
        out = g[:, :whole].unflatten(1, (times, self.modulus)).sum(1)
        out[:, : g.shape[1] - whole] += g[:, whole:]
        return self._closed(out.roll(self._place(block, row), 1), block)

    def fold_outer(self, d: Tensor, a: Tensor, block: int, row: int) -> Tensor:
        """Sketch (b, q) of sum_t d_t a_t^T, signed: d (b, rows', t) from a row on, a (b, columns, t), one block."""
        left = _bucketed(d, torch.arange(d.shape[1], device=d.device) * self.grid.columns, self.modulus)
        right = _bucketed(
            a, torch.arange(a.shape[1], device=d.device) + self._place(block, row), self.modulus
        )
        spectrum = (torch.fft.rfft(left, dim=1) * torch.fft.rfft(right, dim=1)).sum(2)
        return self._closed(torch.fft.irfft(spectrum, n=self.modulus, dim=1), block)

    def fold_rows(self, ids: Tensor, g: Tensor) -> Tensor:
        """Sketch (b, q) of rows g (b, t, columns) of a table at ids (b, t)."""
        column = torch.arange(self.grid.columns, device=g.device)
        bucket = (ids.unsqueeze(2) * self.grid.columns + column + self.shift) % self.modulus
        signed = g * self.row_sign[ids].unsqueeze(2) * self.column_sign
        return self._closed(
            g.new_zeros(len(g), self.modulus).scatter_add_(1, bucket.flatten(1), signed.flatten(1)), 0
        )

    def tile_sign(self, row: int, stop: int) -> Tensor:
        """Signs (rows' * columns,) of some rows of any block; its own sign comes last."""
        return (self.row_sign[row:stop, None] * self.column_sign).flatten()

    def _place(self, block: int, row: int) -> int:
        return ((block * self.grid.rows + row) * self.grid.columns + self.shift) % self.modulus

    def _closed(self, out: Tensor, block: int) -> Tensor:
        """(b, M) -> (b, q): the last M - q buckets are added to the first; the block's sign."""
        kept = out[:, : self.q].clone()
        kept[:, : self.modulus - self.q] += out[:, self.q :]
        return kept * self.block_sign[block]


def folding_map(name: str, grid: Grid, q: int, seed: int, like: Tensor) -> FoldingMap:
    """The map of the parameter called `name`: the same in every process for the same (name, shape, q, seed)."""
    digest = hashlib.sha256(f"{seed}:{name}:{grid.shape}:{q}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    modulus = _modulus(q, grid.columns)
    shift = int(torch.randint(modulus, (), generator=generator))
    row, column, block = (_signs(size, generator).to(like) for size in (grid.rows, grid.columns, grid.blocks))
    return FoldingMap(q, modulus, shift, grid, row, column, block)


def _modulus(q: int, pitch: int) -> int:
    """The smallest number in [q, 2q] without a common factor with the pitch and with prime factors up to 13 alone."""
    for candidate in range(q, 2 * q + 1):
        rest = candidate
        for prime in (2, 3, 5, 7, 11, 13):
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and gcd(candidate, max(1, pitch)) == 1:
            return candidate
    return q


def _signs(n: int, generator: torch.Generator) -> Tensor:
    return torch.randint(2, (n,), generator=generator) * 2 - 1


def _bucketed(values: Tensor, bucket: Tensor, size: int) -> Tensor:
    """Sum axis 1 of (b, n, t) into buckets (taken modulo `size`) -> (b, size, t)."""
    return values.new_zeros(values.shape[0], size, values.shape[2]).index_add_(1, bucket % size, values)
