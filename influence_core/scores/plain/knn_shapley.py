"""Shapley value of a training sample to a nearest-neighbour classifier, exactly, by sorting.

Jia et al., VLDB 2019 (arXiv 1908.08619): with the training samples sorted by nearness to a validation sample (x, y),
    s_n = [y_n = y] / n,      s_i = s_{i+1} + ([y_i = y] - [y_{i+1} = y]) / K * min(K, i) / i,
and the value of a sample is the mean over validation samples. Computed on the features of the last layer, as its
authors do for networks. What we changed: at most QUERIES validation samples, drawn by seed, so that the cost stays
linear in n. Positive = helpful; a wrong label has a low value.
"""

import numpy as np

from influence_core.scores.nearest import unit
from influence_core.scores.views import Scaled

NEIGHBOURS = 10
QUERIES = 1000
CHUNK = 64
"""Queries at a time: a distance row is n numbers."""


def knn_shapley(
    view: Scaled, labels: np.ndarray, held_out_labels: np.ndarray, *, seed: int = 0
) -> np.ndarray:
    """Shapley value (n,) of each training sample, from features (n, f), (m, f) and their given labels; m >= 1."""
    drawn = np.random.default_rng(seed).permutation(len(held_out_labels))[:QUERIES]
    rows, queries = view.rows, unit(view.held_out[drawn])
    query_labels, total = held_out_labels[drawn], np.zeros(len(labels))
    for start in range(0, len(queries), CHUNK):
        order = np.argsort(-(queries[start : start + CHUNK] @ rows.T), axis=1, kind="stable")
        same = labels[order] == query_labels[start : start + CHUNK, None]
        np.add.at(total, order, _values(same))
    return total / len(queries)


def _values(same: np.ndarray) -> np.ndarray:
    """Shapley values (b, n), nearest first, from whether each sample has the query's label (b, n)."""
    n = same.shape[1]
    rank = np.arange(1, n)
    steps = (same[:, :-1].astype(float) - same[:, 1:]) / NEIGHBOURS * np.minimum(NEIGHBOURS, rank) / rank
    values = np.empty(same.shape)
    values[:, -1] = same[:, -1] / n
    values[:, :-1] = values[:, -1:] + np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
    return values
