"""Which rows lie around a row, among very many? Cells of some hundred rows of length one, and the cells around each.

All pairs of n rows are n^2 products: at 50,000 samples most of the time of all evidence. A few rounds of spherical
k-means from random rows (one centre for CELL rows, as an inverted file does, Jegou et al. 2011) make cells of rows that
point the same way; the neighbours of a cell's rows are then looked for in the cells whose centres are nearest to its
own. Near-copies share a cell, or lie in two that are each other's neighbours. A cell of more than PIECE rows is cut by
nearness to its centre: where most rows are alike, the time still grows with n. Needs NumPy alone.
"""

from dataclasses import dataclass

import numpy as np

CELL, PIECE = 512, 2048
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Cells:
    """centres (c, f), rows of length one; members: positions of each cell's rows, every row in exactly one cell."""

    centres: np.ndarray
    members: list[np.ndarray]

    def around(self, cell: int, count: int) -> np.ndarray:
        """Positions of at least `count` rows, or of all: those of the cell, then of the cells nearest to it."""
        likeness = self.centres @ self.centres[cell]
        likeness[cell] = np.inf
        order = np.argsort(-likeness, kind="stable")
        sizes = np.cumsum([len(self.members[place]) for place in order])
        enough = int(np.searchsorted(sizes, count)) + 1
        return np.concatenate([self.members[place] for place in order[:enough]])

    def nearest_to(self, queries: np.ndarray) -> list[np.ndarray]:
        """Positions of the queries whose nearest centre is that of each cell."""
        return _by_number(_assigned(queries, self.centres), len(self.centres))


def cells(rows: np.ndarray, *, seed: int = 0) -> Cells:
    """Cells of unit rows (n, f), seeded."""
    count = max(1, len(rows) // CELL)
    centres = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])]
    for _ in range(ROUNDS):
        own = _by_number(_assigned(rows, centres), len(centres))
        sums = np.stack([rows[mine].sum(0) if len(mine) else c for mine, c in zip(own, centres, strict=True)])
        centres = sums / (np.linalg.norm(sums, axis=1, keepdims=True) + 1e-9)
    own = _by_number(_assigned(rows, centres), len(centres))
    pieces = [_cut(rows, mine, centre) for mine, centre in zip(own, centres, strict=True)]
    repeated = np.repeat(np.arange(len(centres)), [len(parts) for parts in pieces])
    return Cells(centres[repeated], [part for parts in pieces for part in parts])


def _assigned(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest centre (n,) of each row; the first of several."""
    parts = [(rows[s : s + PIECE] @ centres.T).argmax(1) for s in range(0, len(rows), PIECE)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _by_number(numbers: np.ndarray, count: int) -> list[np.ndarray]:
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.searchsorted(numbers[order], np.arange(1, count)))


def _cut(rows: np.ndarray, mine: np.ndarray, centre: np.ndarray) -> list[np.ndarray]:
    """A cell's positions in pieces of at most PIECE, those nearest to the centre first."""
    if len(mine) <= PIECE:
        return [mine]
    ordered = mine[np.argsort(-(rows[mine] @ centre), kind="stable")]
    return np.array_split(ordered, -(-len(ordered) // PIECE))
