"""Rank correlations in which equal values share the mean of their ranks.

The engine, which lies below, uses scipy directly (engine/agreement.py): the same ranks, its own rule for constants.
"""

import numpy as np


def rank_correlations(columns: np.ndarray) -> np.ndarray:
    """Spearman's correlation (s, s), in [-1, 1], of every two columns (n, s); NaN for a constant or one with NaN."""
    from scipy.stats import rankdata  # up to a second to import, which not every page needs to wait for

    ranks = rankdata(np.asarray(columns, dtype=np.float64), axis=0)
    ranks -= ranks.mean(axis=0)
    length = np.linalg.norm(ranks, axis=0)
    length[length == 0] = np.nan
    ranks /= length
    return np.clip(ranks.T @ ranks, -1.0, 1.0)


def rank_correlation(some: np.ndarray, others: np.ndarray) -> float:
    """Spearman's correlation of two vectors (n,), in [-1, 1]; NaN where one of them has no order."""
    return float(rank_correlations(np.column_stack([some, others]))[0, 1])
