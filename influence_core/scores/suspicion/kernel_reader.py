"""Gaussian kernel of a ridge classifier with curved borders: the inputs of ridge_reader.py.

The kernel is exp(-d^2 / width), width being the median squared distance, plus a constant, CONSTANT^2. Among at most
LANDMARKS samples it is used in full: its matrix is the samples' Gram matrix, so one eigendecomposition is all that is
needed. Among more it is seen from LANDMARKS of them (Nystroem): columns k(x, marks) L^-T, L L^T = K + JITTER. Landmarks
are drawn without labels, so leaving a group out stays exact.

The kernel of the landmarks may be nearly singular, so L and its inverse are computed in float64. What float32 then
loses in the product with it is below 1e-3 of a column, and the eigendecomposition is that of the columns.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import block_diag, cholesky, eigh, get_blas_funcs, get_lapack_funcs

from influence_core.scores.suspicion.ridge_reader import ROWS, Axes, gram, positive

LANDMARKS = 800
JITTER = 1e-5
"""Added to the landmarks' kernel, whose diagonal is 1: two equal landmarks must not make it singular."""
CONSTANT = 0.3


@dataclass(frozen=True)
class Kernel:
    """Samples x (n, f) float32, and their landmarks (l, f): all samples where these are few."""

    x: np.ndarray
    marks: np.ndarray

    @property
    def is_whole(self) -> bool:
        return len(self.marks) == len(self.x)

    @cached_property
    def _mark_distances(self) -> np.ndarray:
        return _square_distances(*[self.marks.astype(np.float64)] * 2)

    @cached_property
    def width(self) -> float:
        return float(np.median(self._mark_distances)) + 1e-9

    def columns(self, rows: np.ndarray) -> np.ndarray:
        """Columns for the weights of ridge_reader.Fitted: (m, l) for a whole kernel, else (m, l + 1), last constant."""
        values = _square_distances(rows, self.marks)
        values *= -values.dtype.type(1 / self.width)
        np.exp(values, out=values)
        if self.is_whole:
            values += values.dtype.type(CONSTANT**2)
            return values
        return np.column_stack([values, np.full(len(values), CONSTANT, dtype=values.dtype)])

    def scores(self, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Scores (m, c) float64 of other samples (m, f)."""
        narrow = weights.astype(rows.dtype)
        parts = [self.columns(rows[s : s + ROWS]) @ narrow for s in range(0, len(rows), ROWS)]
        return np.concatenate(parts or [np.zeros((0, weights.shape[1]))]).astype(np.float64)

    def axes(self, dtype: type) -> Axes:
        """Axes for ridge_reader.fit_ridge."""
        return self._whole(dtype) if self.is_whole else self._seen_from_landmarks(dtype)

    def _whole(self, dtype: type) -> Axes:
        inner = (np.exp(self._mark_distances / -self.width) + CONSTANT**2).astype(dtype)
        values, axes = eigh(inner, driver="evd", overwrite_a=True, check_finite=False)
        values = positive(values)
        roots = np.sqrt(values + JITTER)  # as if seen from landmarks: K (K + JITTER)^-1 K
        rotated = (axes * (values / roots)).astype(dtype)
        values = (values / roots) ** 2
        mean = values.sum() / (len(roots) + 1)
        return Axes(values, rotated, lambda weights: (axes / roots) @ weights, mean)

    def _seen_from_landmarks(self, dtype: type) -> Axes:
        among_marks = np.exp(self._mark_distances / -self.width) + JITTER * np.eye(len(self.marks))
        root = cholesky(np.asarray(block_diag(among_marks, 1.0)), lower=True, check_finite=False)
        (inverted,) = get_lapack_funcs(("trtri",), (root,))
        inverse = inverted(root, lower=1)[0].astype(dtype)
        columns = np.empty((len(self.x), len(root)), dtype=dtype)
        for start in range(0, len(columns), ROWS):
            rows = slice(start, start + ROWS)
            columns[rows] = self.columns(self.x[rows])
        (product,) = get_blas_funcs(("trmm",), (inverse, columns))
        white = product(1.0, inverse, columns.T, lower=1, overwrite_b=1).T  # half a product, and in place
        values, axes = eigh(gram(white, dtype), driver="evd", check_finite=False)
        values = positive(values)
        return Axes(values, white @ axes, lambda weights: inverse.T @ (axes @ weights), values.mean())


def kernel(x: np.ndarray, *, seed: int) -> Kernel:
    """The Gaussian kernel of samples (n, f), landmarks drawn by seed."""
    drawn = np.sort(np.random.default_rng(seed).permutation(len(x))[:LANDMARKS])
    return Kernel(x, x if len(drawn) == len(x) else x[drawn])


def _square_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squared = a @ b.T  # for one matrix with itself NumPy computes half
    squared *= -2
    squared += (a**2).sum(1)[:, None]
    squared += (b**2).sum(1)
    return np.maximum(squared, 0, out=squared)
