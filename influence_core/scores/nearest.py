"""Which rows point the same way? Exact nearest neighbours among rows of length one, by cosine.

One product of matrices for some queries at a time, and the k largest of each row: scikit-learn's brute force goes
over to double precision and takes twice as long. Needs NumPy alone, so that the process which draws the map starts at
once.
"""

import numpy as np

AT_ONCE = 2**22
"""Cosines at a time, 16 MB."""


def unit(values: np.ndarray) -> np.ndarray:
    """Rows of length one, float32; a row of zeros stays."""
    values = values.astype(np.float32)
    return values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-9)


def nearest_rows(queries: np.ndarray | None, rows: np.ndarray, k: int) -> np.ndarray:
    """Positions (m, k) int32 of the nearest unit rows, nearest first; exact, in bounded memory.

    Rows have length 1, so the nearest are those with the largest cosine. queries None: the rows themselves, each
    without itself. k is at most the number of rows there are to find.
    """
    n, asked = len(rows), rows if queries is None else queries
    k = min(k, n - int(queries is None))
    found, step = np.empty((len(asked), k), dtype=np.int32), max(1, AT_ONCE // max(1, n))
    for start in range(0, len(asked) if k else 0, step):
        likeness = asked[start : start + step] @ rows.T
        if queries is None:
            own = np.arange(len(likeness))
            likeness[own, start + own] = -np.inf
        best = np.argpartition(likeness, n - k, axis=1)[:, n - k :]
        order = np.argsort(-np.take_along_axis(likeness, best, axis=1), axis=1, kind="stable")
        found[start : start + step] = np.take_along_axis(best, order, axis=1)
    return found


def distances(queries: np.ndarray, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Euclidean distances (m, k) from each query to the rows at its positions; 0 for an equal row, not nearly 0."""
    apart = [np.linalg.norm(rows[column] - queries, axis=1) for column in positions.T]
    return np.stack(apart, axis=1) if apart else np.zeros(positions.shape, dtype=np.float32)
