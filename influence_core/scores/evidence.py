"""What would a model that never saw this sample's label say? Out-of-sample evidence from the features of one layer.

A model that has memorised its labels agrees with every one of them, so its own output proves nothing. Two readers of
a layer's features leave each sample's own label out exactly:

    probe        a ridge classifier on the one-hot given labels; its leave-one-out scores have a closed form,
                 y_i - (y_i - f_i) / (1 - h_ii) with the hat matrix H, so n refits cost one eigendecomposition
    neighbours   the labels of the 15 nearest samples by cosine, the sample itself excluded

Both are read for the training samples (own label left out) and for held-out samples (no label of theirs was used).
Probes on inner layers as in Alain and Bengio 2016 (arXiv 1610.01644); the leave-one-out form is classical (PRESS).
"""

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 15
WIDEST = 1024
"""Features beyond this are projected at random first: the eigendecomposition costs their cube (1 s at 1,024)."""
RIDGES = 10.0 ** np.arange(-4, 2.1, 0.5)
"""Ridge strengths tried, as multiples of the mean eigenvalue; the best leave-one-out squared error wins."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One reader of one layer. train (n, c) and held_out (m, c): a class's score, large = this class."""

    reader: str
    layer: str
    train: np.ndarray
    held_out: np.ndarray


def probe(
    layer: str, train: np.ndarray, labels: np.ndarray, held_out: np.ndarray, classes: int, *, seed: int = 0
) -> Evidence:
    """Leave-one-out scores of a ridge classifier on features (n, f) and held-out features (m, f)."""
    x, other = _prepared(train, held_out, seed)
    targets = np.eye(classes)[labels]
    eigenvalues, axes = np.linalg.eigh(x.T @ x)
    eigenvalues = np.maximum(eigenvalues, 1e-9)
    rotated = x @ axes
    moments = rotated.T @ targets
    squares = rotated**2
    best = (np.inf, targets, moments)
    for ridge in RIDGES * eigenvalues.mean():
        shrunk = moments / (eigenvalues + ridge)[:, None]
        leverage = squares @ (1 / (eigenvalues + ridge))
        residual = (targets - rotated @ shrunk) / np.maximum(1 - leverage, 1e-6)[:, None]
        error = float((residual**2).mean())
        if error < best[0]:
            best = (error, targets - residual, shrunk)
    return Evidence("probe", layer, best[1], other @ axes @ best[2])


def neighbours(
    layer: str, train: np.ndarray, labels: np.ndarray, held_out: np.ndarray, classes: int, *, seed: int = 0
) -> tuple[Evidence, np.ndarray]:
    """Label shares among the nearest training samples, as log shares, and their positions (n, k), nearest first."""
    x, other = (_unit(values) for values in _prepared(train, held_out, seed))
    nearest, _ = nearest_rows(None, x, NEIGHBOURS)
    prior = np.bincount(labels, minlength=classes) / len(labels)
    of_train = _log_shares(labels[nearest], prior)
    of_held_out = _log_shares(labels[nearest_rows(other, x, NEIGHBOURS)[0]], prior)
    return Evidence("neighbours", layer, of_train, of_held_out), nearest


def nearest_rows(queries: np.ndarray | None, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (m, k) int32 and distances (m, k) of the nearest unit rows, nearest first; exact, in bounded memory.

    Rows have length 1, so the nearest are those with the largest cosine. queries None: the rows themselves, each
    without itself.
    """
    k = min(k, len(rows) - int(queries is None))
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows)
    distances, positions = search.kneighbors(queries)
    return positions.astype(np.int32), distances


def _log_shares(labels: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(n, k) labels -> (n, c) log of the label shares, one neighbour's worth of prior added."""
    counts = np.stack([(labels == c).sum(1) for c in range(len(prior))], axis=1)
    return np.log((counts + prior + 1e-3) / (labels.shape[1] + 1))


def _prepared(train: np.ndarray, held_out: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Projected to at most WIDEST columns, centred and scaled by the training split, a constant column added."""
    train, held_out = (np.asarray(values, dtype=np.float64) for values in (train, held_out))
    if train.shape[1] > WIDEST:
        mixing = np.random.default_rng(seed).standard_normal((train.shape[1], WIDEST)) / np.sqrt(WIDEST)
        train, held_out = train @ mixing, held_out @ mixing
    centre, spread = train.mean(0), train.std(0) + 1e-6
    return tuple(  # pyright: ignore[reportReturnType]
        np.column_stack([(values - centre) / spread, np.ones(len(values))]) for values in (train, held_out)
    )


def _unit(values: np.ndarray) -> np.ndarray:
    values = values[:, :-1].astype(np.float32)
    return values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-9)
