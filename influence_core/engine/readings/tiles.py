"""Readers of tiles of a gradient: norms, products and sketch in one pass, by a compiled loop or by torch operations.

A tile is some consecutive numbers of one parameter's gradient, for several samples: g (n, e). Read are

    |g|^2, |g|_1, <g, v> for k directions, and the sketch (sketch.py), added up over the tiles of a parameter.

On a CPU one compiled loop (numba) reads all of them while 512 numbers lie in registers and the innermost cache. Sums of
512 numbers are added in float64. As separate torch operations the same cost 3 times as much, a third of a whole sweep
of ResNet-18. The loop runs in torch's own OpenMP threads where that library is GOMP (Linux), since threads of a second
pool would wait for cores on which the first one spins. Elsewhere it runs in the calling thread.
CUDA and other number formats are read by torch operations.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from influence_core.engine.kernels import tasks
from influence_core.engine.kernels.loops import compiles, run
from influence_core.engine.kernels.tasks import packed_size
from influence_core.engine.readings.sketch import FoldingMap

WIDE = 8
"""Directions read in one pass over the gradient, called a look; more directions take further looks."""
FEW = 96
"""Most positions for the loop that makes and reads a gradient at once. It takes 0.4 to 0.65 of the time of writing the
gradient out first at 4 and 16 positions, 0.65 to 0.9 at 64, and 1.5 at 256."""
SHORT, TALL = 32, (6, 24)
"""Rows of a block (TALL), up to SHORT positions and beyond. 8 directions of 6 rows take 12 kB of an innermost cache of
32 kB. With 24 rows, 4 positions took 1.3 times as long, but 64 took 0.95, since their factors are read less often."""

PACKED = 32, 16
"""Samples of a thread whose factors are packed at once, up to SHORT positions and beyond. With 64 positions, 16 take as
long as 32, and 8 take 1.05 times as long, because the directions are copied for each such group."""


@dataclass(slots=True)
class Totals:
    """Readings so far of one parameter for n samples, in float64 on a CPU, else in the format of the gradient.

    sums (looks, n, 2 + width): square, L1 norm, products. folded (n, modulus): the sketch before it is closed.
    """

    sums: Tensor
    folded: Tensor

    def of(self, low: int, high: int) -> "Totals":
        """A view of samples low to high."""
        return Totals(self.sums[:, low:high], self.folded[low:high])

    def products(self, k: int) -> Tensor:
        """Products (n, k) of all looks."""
        return self.sums[:, :, 2:].movedim(0, 1).flatten(1)[:, :k]


def totals(like: Tensor, n: int, k: int, folding: FoldingMap | None, folded: Tensor | None = None) -> Totals:
    """Zeros for n samples and k directions; `folded` continues a sketch, None starts one."""
    width = 1 if k <= 1 else WIDE
    exact = torch.float64 if like.device.type == "cpu" else like.dtype
    sums = torch.zeros(max(1, -(-k // width)), n, 2 + width, dtype=exact, device=like.device)
    if folded is None:
        folded = torch.zeros(n, folding.modulus if folding else 0, dtype=exact, device=like.device)
    return Totals(sums, folded)


def read_tile(
    g: Tensor, row: int, directions: Sequence[Tensor], folding: FoldingMap | None, into: Totals
) -> None:
    """Add the readings of whole rows of a gradient seen as a matrix, from `row` on.

    g (n, e) contiguous; directions: as many numbers each, contiguous. g may be overwritten.
    """
    if not g.numel():
        return
    if compiles(g):
        _read_compiled(g, row, directions, folding, into)
    else:
        _read_plainly(g, row, directions, folding, into)


def _read_plainly(
    g: Tensor, row: int, directions: Sequence[Tensor], folding: FoldingMap | None, into: Totals
) -> None:
    into.sums[0, :, 0] += torch.linalg.vecdot(g, g)
    into.sums[0, :, 1] += g.abs().sum(1)
    width = into.sums.shape[2] - 2
    for look in range(0, len(directions), width):
        matrix = torch.stack([v.flatten() for v in directions[look : look + width]])
        into.sums[look // width, :, 2 : 2 + len(matrix)] += g @ matrix.T
    if folding is not None:
        into.folded += folding.fold(g, row)


def prefers_factor_loop(d: Tensor) -> bool:
    """Whether a gradient with factor d (..., t) is made and read at once by the factor loop, not written out first."""
    return compiles(d) and d.shape[-1] <= FEW


def packed_at_once(t: int) -> int:
    """Samples whose packed factors exist at once. Limited: those of 32 samples of a layer of 1,000 rows take 9 MB."""
    return PACKED[t > SHORT] * torch.get_num_threads()


def read_made(
    d: Tensor,
    a: Tensor,
    row: int,
    directions: Sequence[Tensor],
    folding: FoldingMap | None,
    into: Totals,
    space: Callable[[tuple[int, ...], Tensor], Tensor],
) -> None:
    """Add the readings of sum_t d_t a_t^T, d (n, rows', t) from `row` on, a (n, columns, t), without writing it out.

    space: (shape, like) -> a tensor that may be overwritten (contract.Buffer.tile).
    """
    if not d.numel() or not a.numel():
        return
    (n, rows, t), columns = d.shape, a.shape[1]
    packed = space((packed_size(n, rows, columns, t, torch.get_num_threads()),), d)
    for part, fold, sums in _looks(rows, row, directions, folding, into):
        run(tasks.made(d, a, part, fold, sums, packed, TALL[t > SHORT]))


def read_rows(
    ids: Tensor, g: Tensor, v: int, directions: Sequence[Tensor], folding: FoldingMap | None, into: Totals
) -> None:
    """Add the readings of rows g (n, t, columns) of a table of v rows, at ids (n, t), each once a sample or zero."""
    ids, g = ids.contiguous().long(), g.contiguous()
    if not g.numel():
        return
    if compiles(g):
        for part, fold, sums in _looks(v, 0, directions, folding, into):
            run(tasks.rows(ids, g, v, part, fold, sums))
        return
    into.sums[0, :, 0] += g.square().sum((1, 2))
    into.sums[0, :, 1] += g.abs().sum((1, 2))
    add_products([(along[ids] * g).sum((1, 2)) for along in directions], into)
    if folding is not None:
        into.folded += folding.fold_rows(ids, g)


def add_products(products: Sequence[Tensor], into: Totals) -> None:
    """Add products (n,), one tensor a direction."""
    width = into.sums.shape[2] - 2
    for index, product in enumerate(products):
        into.sums[index // width, :, 2 + index % width] += product


def _read_compiled(
    g: Tensor, row: int, directions: Sequence[Tensor], folding: FoldingMap | None, into: Totals
) -> None:
    columns = folding.columns if folding else 1
    for part, fold, sums in _looks(g.shape[1] // columns, row, directions, folding, into):
        run(tasks.written(g, part, fold, sums))


def _looks(
    rows: int, row: int, directions: Sequence[Tensor], folding: FoldingMap | None, into: Totals
) -> Iterator[tuple[Sequence[Tensor], tasks.Fold | None, Tensor]]:
    """Directions, sketch and sums of each look; only the first look has a sketch."""
    width, fold = into.sums.shape[2] - 2, None
    if folding is not None:
        start = (row * folding.columns + folding.shift) % folding.modulus
        signs = folding.row_sign[row : row + rows], folding.column_sign
        fold = tasks.Fold(folding.columns, folding.modulus, start, *signs, into.folded)
    for look, sums in enumerate(into.sums):
        yield directions[look * width : (look + 1) * width], None if look else fold, sums
