"""Nearest neighbours by cosine among rows of length one.

Cosines are one matrix product for some queries at a time, and the k largest of each row are the neighbours. These lie
among the BLOCK-tuples with the k largest maxima, so only those are searched: a quarter of the time of a partition of
whole rows. scikit-learn's brute force converts to double precision and takes longer still. The search is exact among up
to EXACT rows. Among more, every query is compared with EXACT rows in the cells around it, so that the
time grows with n and not with its square. Needs NumPy alone, so that the process which draws the map starts at once.

Cells: a few rounds of spherical k-means from random rows make cells of rows that point the same way (one centre for
CELL rows, as in an inverted file, Jegou et al. 2011). Near-copies share a cell, or lie in two cells that are each
other's neighbours. A cell of more than PIECE rows is split by nearness to its centre: where most rows are alike, the
time still grows with n.
"""

from dataclasses import dataclass

import numpy as np

AT_ONCE, LOOKED_AT = 2**24, 2**20
"""Cosines computed at a time (64 MB: all of up to 4,096 rows, and NumPy then computes half), and searched (4 MB)."""
BLOCK = 16
CELL, PIECE = 512, 2048
ROUNDS = 3
EXACT = 4096
"""Against all pairs, AUROC of suspicion moved by 0.00002 on 20,000 pictures of clothes: docs/cost.md, "Suspicion"."""


def unit(values: np.ndarray) -> np.ndarray:
    """Rows of length one, float32; a row of zeros stays zero."""
    values = values.astype(np.float32)
    return values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-9)


def nearest_rows(queries: np.ndarray | None, rows: np.ndarray, k: int, *, exact: int = EXACT) -> np.ndarray:
    """Positions (m, k) int32 of the nearest unit rows, nearest first, in bounded memory; exact for n <= `exact`.

    Rows have length 1, so the nearest are those with the largest cosine. k is reduced to the number of available rows.

    Args:
        queries: (m, f); None for the rows themselves, each without itself.
    """
    n, exclude_self = len(rows), queries is None
    k = min(k, n - int(exclude_self))
    if n > exact > 2 * k:
        return _in_cells(queries, rows, k, exact)
    return _among(rows if queries is None else queries, rows, k, exclude_self=exclude_self)


def _in_cells(queries: np.ndarray | None, rows: np.ndarray, k: int, exact: int) -> np.ndarray:
    """nearest_rows with each cell's queries searched among the `exact` rows in and around the cell."""
    all_queries, parts = rows if queries is None else queries, cells(rows)
    queries_by_cell = parts.members if queries is None else parts.nearest_to(queries)
    positions = np.empty((len(all_queries), k), dtype=np.int32)
    for cell, in_cell in enumerate(queries_by_cell):
        if len(in_cell):
            around = parts.around(cell, exact)  # the cell's members come first
            positions[in_cell] = around[
                _among(all_queries[in_cell], rows[around], k, exclude_self=queries is None)
            ]
    return positions


def _among(queries: np.ndarray, rows: np.ndarray, k: int, *, exclude_self: bool) -> np.ndarray:
    """Positions (m, k) of the nearest rows; exclude_self: query i is row i, and not its own neighbour."""
    positions = np.empty((len(queries), k), dtype=np.int32)
    step, inner = (max(1, size // max(1, len(rows))) for size in (AT_ONCE, LOOKED_AT))
    for start in range(0, len(queries) if k else 0, step):
        cosines = queries[start : start + step] @ rows.T
        if exclude_self:
            offsets = np.arange(len(cosines))
            cosines[offsets, start + offsets] = -np.inf
        output = positions[start : start + step]
        for first in range(0, len(cosines), inner):
            output[first : first + inner] = largest(cosines[first : first + inner], k)
    return positions


def largest(values: np.ndarray, k: int) -> np.ndarray:
    """Positions (m, k) of the k largest of each row of values (m, n), largest first; exact."""
    m, n = values.shape
    blocks = n // BLOCK
    if blocks <= 2 * k:
        return _sorted_largest(values, k)
    inside = values[:, : blocks * BLOCK].reshape(m, BLOCK, blocks)
    best_blocks = np.argpartition(inside.max(1), blocks - k, axis=1)[:, blocks - k :]
    places = (best_blocks[:, None] + blocks * np.arange(BLOCK)[:, None]).reshape(m, -1)
    rest = np.broadcast_to(np.arange(blocks * BLOCK, n), (m, n - blocks * BLOCK))
    places = np.concatenate([places, rest], axis=1)
    order = _sorted_largest(np.take_along_axis(values, places, axis=1), k)
    return np.take_along_axis(places, order, axis=1)


def _sorted_largest(values: np.ndarray, k: int) -> np.ndarray:
    n = values.shape[1]
    best = np.argpartition(values, n - k, axis=1)[:, n - k :]
    order = np.argsort(-np.take_along_axis(values, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def distances(queries: np.ndarray, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Euclidean distances (m, k) from each query to the rows at `positions`; exactly 0 for an equal row."""
    columns = [np.linalg.norm(rows[column] - queries, axis=1) for column in positions.T]
    return np.stack(columns, axis=1) if columns else np.zeros(positions.shape, dtype=np.float32)


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
