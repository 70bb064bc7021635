"""Which rows point the same way? Nearest neighbours among rows of length one, by cosine.

One product of matrices for some queries at a time, and the k largest of each row. Those lie among the BLOCK-tuples
with the k largest maxima, so that only these are looked into: a quarter of the time of a partition of whole rows.
scikit-learn's brute force goes over to double precision and takes longer still. Exact among up to EXACT rows; among
more, every query is held against EXACT rows in the cells around it (row_cells.py), so that the time grows with n and
not with its square. Needs NumPy alone, so that the process which draws the map starts at once.
"""

import numpy as np

from influence_core.scores.neighbours.row_cells import Cells, cells

AT_ONCE, LOOKED_AT = 2**24, 2**20
"""Cosines made at a time, 64 MB: of up to 4,096 rows all, and then NumPy makes half of them. And looked at, 4 MB."""
BLOCK = 16
EXACT = 4096
"""Among 20,000 pictures of clothes AUROC of suspicion moved by 0.00002 against all pairs: docs/cost.md, "Suspicion"."""


def unit(values: np.ndarray) -> np.ndarray:
    """Rows of length one, float32; a row of zeros stays."""
    values = values.astype(np.float32)
    return values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-9)


def nearest_rows(queries: np.ndarray | None, rows: np.ndarray, k: int, *, exact: int = EXACT) -> np.ndarray:
    """Positions (m, k) int32 of the nearest unit rows, nearest first, in bounded memory; exact for n <= `exact`.

    Rows have length 1, so the nearest are those with the largest cosine. queries None: the rows themselves, each
    without itself. k is at most the number of rows there are to find.
    """
    n, own = len(rows), queries is None
    k = min(k, n - int(own))
    if n > exact > 2 * k:
        return _in_cells(queries, rows, k, cells(rows), exact)
    return _among(rows if queries is None else queries, rows, k, own=own)


def _in_cells(queries: np.ndarray | None, rows: np.ndarray, k: int, parts: Cells, exact: int) -> np.ndarray:
    """As nearest_rows, each cell's queries among the `exact` rows in and around it."""
    asked = rows if queries is None else queries
    asking = parts.members if queries is None else parts.nearest_to(queries)
    found = np.empty((len(asked), k), dtype=np.int32)
    for cell, mine in enumerate(asking):
        if len(mine):
            around = parts.around(cell, exact)  # its own members come first
            found[mine] = around[_among(asked[mine], rows[around], k, own=queries is None)]
    return found


def _among(queries: np.ndarray, rows: np.ndarray, k: int, *, own: bool) -> np.ndarray:
    """Positions (m, k) of the nearest rows; own: query i is row i, and not its own neighbour."""
    found = np.empty((len(queries), k), dtype=np.int32)
    step, inner = (max(1, size // max(1, len(rows))) for size in (AT_ONCE, LOOKED_AT))
    for start in range(0, len(queries) if k else 0, step):
        likeness = queries[start : start + step] @ rows.T
        if own:
            places = np.arange(len(likeness))
            likeness[places, start + places] = -np.inf
        into = found[start : start + step]
        for place in range(0, len(likeness), inner):
            into[place : place + inner] = largest(likeness[place : place + inner], k)
    return found


def largest(values: np.ndarray, k: int) -> np.ndarray:
    """Positions (m, k) of the k largest of each row of values (m, n), largest first; exact."""
    m, n = values.shape
    blocks = n // BLOCK
    if blocks <= 2 * k:
        return _sorted_largest(values, k)
    inside = values[:, : blocks * BLOCK].reshape(m, BLOCK, blocks)
    best = np.argpartition(inside.max(1), blocks - k, axis=1)[:, blocks - k :]
    places = (best[:, None] + blocks * np.arange(BLOCK)[:, None]).reshape(m, -1)
    rest = np.broadcast_to(np.arange(blocks * BLOCK, n), (m, n - blocks * BLOCK))
    places = np.concatenate([places, rest], axis=1)
    chosen = _sorted_largest(np.take_along_axis(values, places, axis=1), k)
    return np.take_along_axis(places, chosen, axis=1)


def _sorted_largest(values: np.ndarray, k: int) -> np.ndarray:
    n = values.shape[1]
    best = np.argpartition(values, n - k, axis=1)[:, n - k :]
    order = np.argsort(-np.take_along_axis(values, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def distances(queries: np.ndarray, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Euclidean distances (m, k) from each query to the rows at its positions; 0 for an equal row, not nearly 0."""
    apart = [np.linalg.norm(rows[column] - queries, axis=1) for column in positions.T]
    return np.stack(apart, axis=1) if apart else np.zeros(positions.shape, dtype=np.float32)
