"""Cells of some hundred similar rows, and the cells around each: where to search among very many rows.

All pairs of n rows are n^2 products: at 50,000 samples most of the time of all evidence. A few rounds of spherical
k-means from random rows make cells of rows that point the same way (one centre for CELL rows, as in an inverted file,
Jegou et al. 2011). The neighbours of a cell's rows are searched in the cells whose centres are nearest. Near-copies
share a cell, or lie in two cells that are each other's neighbours. A cell of more than PIECE rows is split by nearness
to its centre: where most rows are alike, the time still grows with n. Needs NumPy alone.
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
        cosines = self.centres @ self.centres[cell]
        cosines[cell] = np.inf
        order = np.argsort(-cosines, kind="stable")
        sizes = np.cumsum([len(self.members[other]) for other in order])
        enough = int(np.searchsorted(sizes, count)) + 1
        return np.concatenate([self.members[other] for other in order[:enough]])

    def nearest_to(self, queries: np.ndarray) -> list[np.ndarray]:
        """Positions of the queries nearest to each cell's centre, one array per cell."""
        return _by_number(_assigned(queries, self.centres), len(self.centres))


def cells(rows: np.ndarray, *, seed: int = 0) -> Cells:
    """Cells of unit rows (n, f), seeded."""
    count = max(1, len(rows) // CELL)
    centres = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])]
    for _ in range(ROUNDS):
        assigned = _by_number(_assigned(rows, centres), len(centres))
        sums = np.stack(
            [
                rows[members].sum(0) if len(members) else c
                for members, c in zip(assigned, centres, strict=True)
            ]
        )
        centres = sums / (np.linalg.norm(sums, axis=1, keepdims=True) + 1e-9)
    assigned = _by_number(_assigned(rows, centres), len(centres))
    pieces = [_cut(rows, members, centre) for members, centre in zip(assigned, centres, strict=True)]
    repeated = np.repeat(np.arange(len(centres)), [len(parts) for parts in pieces])
    return Cells(centres[repeated], [part for parts in pieces for part in parts])


def _assigned(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Nearest centre (n,) of each row; the first where several are equally near."""
    parts = [(rows[s : s + PIECE] @ centres.T).argmax(1) for s in range(0, len(rows), PIECE)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _by_number(numbers: np.ndarray, count: int) -> list[np.ndarray]:
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.searchsorted(numbers[order], np.arange(1, count)))


def _cut(rows: np.ndarray, members: np.ndarray, centre: np.ndarray) -> list[np.ndarray]:
    """A cell's members in pieces of at most PIECE, those nearest to the centre first."""
    if len(members) <= PIECE:
        return [members]
    ordered = members[np.argsort(-(rows[members] @ centre), kind="stable")]
    return np.array_split(ordered, -(-len(ordered) // PIECE))
