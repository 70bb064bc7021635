"""Ridge classifier with exact leave-group-out scores, without refits.

On columns x (n, f) with one-hot labels as targets y. Leaving a group g out has a closed form,
y_g - (I - H_gg)^-1 (y_g - f_g) with the hat matrix H. In the axes of one eigendecomposition H is cheap
for every ridge strength, so that n refits at all of RIDGES cost one of them. Leaving one out is classical (PRESS).

The eigendecomposition is the most expensive step, and takes half the time in float32. Its error is a rounding of the
largest eigenvalue, which is up to 350 times the mean one here. That is nothing beside a ridge from RELIABLE on; for r
axes and n samples from RELIABLE * r / n on, because one axis counts less for a sample the more samples share it. Where
the smallest of those ridges fits best (easy data, nearly all labels right), everything is computed again in float64,
with all of RIDGES.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

RIDGES = 10.0 ** np.arange(-5, 2.1, 0.5)
"""Ridge strengths tried, as multiples of the mean eigenvalue; the best leave-group-out squared error wins."""
RELIABLE = 10**-2.25
ROWS = 2048
"""Rows read at a time: what is computed from them stays in the cache."""
AT_ONCE = 2**24
"""Residuals held at a time, 64 MB: of all ridges at once unless there are very many samples and classes."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Samples in the axes of their Gram matrix: H = rotated diag(1 / (eigenvalues + ridge)) rotated.T.

    eigenvalues (r,) positive, float64; rotated (n, r); back maps weights (r, c) of these axes to weights (f, c) of a
    sample's columns. mean: the mean eigenvalue over all f columns, of which ridges are multiples.
    """

    eigenvalues: np.ndarray
    rotated: np.ndarray
    back: Callable[[np.ndarray], np.ndarray]
    mean: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """left_out (n, c): scores by fits without a sample's group; weights (f, c) for the columns of new samples."""

    left_out: np.ndarray
    weights: np.ndarray
    ridge: float


def fit_ridge(
    axes: Callable[[type], Axes], labels: np.ndarray, classes: int, groups: dict[int, np.ndarray]
) -> Fitted:
    """The fit at the ridge with the smallest leave-group-out error.

    Args:
        axes: called with np.float32 or np.float64; computes the axes in that precision.
        groups: positions of samples that are left out together, (g, size), by size; each sample in exactly one.
    """
    rough = axes(np.float32)
    n, r = rough.rotated.shape
    safe = RIDGES[RELIABLE * r / n < RIDGES]
    fit = _fitted(rough, labels, classes, groups, safe)
    if fit.ridge > safe[0]:
        return fit
    del rough
    return _fitted(axes(np.float64), labels, classes, groups, RIDGES)


def _fitted(
    axes: Axes, labels: np.ndarray, classes: int, groups: dict[int, np.ndarray], ridges: np.ndarray
) -> Fitted:
    x = axes.rotated
    targets = (np.eye(classes)[labels] - 1 / classes).astype(x.dtype)
    moments = x.T @ targets
    shrinks = 1 / (axes.eigenvalues[:, None] + ridges * axes.mean)
    lowest, best, residual = np.inf, 0, targets
    step = max(1, AT_ONCE // max(1, targets.size))
    for start in range(0, len(ridges), step):
        part = slice(start, start + step)
        for index, left_out in enumerate(_left_out(x, targets, moments, shrinks[:, part], groups), start):
            error = float(np.square(left_out).mean(dtype=np.float64))
            if error < lowest:
                lowest, best, residual = error, index, left_out
    weights = axes.back(moments * shrinks[:, [best]])
    return Fitted((targets - residual).astype(np.float64), weights, float(ridges[best]))


def _left_out(
    x: np.ndarray,
    targets: np.ndarray,
    moments: np.ndarray,
    shrinks: np.ndarray,
    groups: dict[int, np.ndarray],
) -> np.ndarray:
    """(I - H_gg)^-1 (y_g - f_g) of every group g under k ridges, (k, n, c); shrinks (r, k)."""
    shrinks, (n, classes), count = shrinks.astype(x.dtype), targets.shape, shrinks.shape[1]
    weights = (moments[:, None] * shrinks[:, :, None]).reshape(len(moments), -1)
    residuals, remaining = np.empty((count, n, classes), dtype=x.dtype), np.empty((count, n), dtype=x.dtype)
    for start in range(0, n, ROWS):
        rows = slice(start, start + ROWS)
        residual = targets[rows, None] - (x[rows] @ weights).reshape(-1, count, classes)
        residuals[:, rows], remaining[:, rows] = residual.swapaxes(0, 1), 1 - (np.square(x[rows]) @ shrinks).T
    larger = [rows for size, rows in groups.items() if size > 1]
    for rows in larger:
        remaining[:, rows] = 1.0
    residuals /= np.maximum(remaining, 1e-6)[:, :, None]
    for rows in larger:
        for part in np.array_split(rows, -(-rows.size // ROWS)):
            members, alone = x[part], (1 + 1e-6) * np.eye(rows.shape[1], dtype=x.dtype)
            inside = np.stack([(members * shrink) @ members.swapaxes(1, 2) for shrink in shrinks.T])
            residuals[:, part] = np.linalg.solve(alone - inside, residuals[:, part])
    return residuals


def of_columns(x: np.ndarray) -> Callable[[type], Axes]:
    """A function that computes the axes of columns (n, f): at most min(n, f) axes."""
    return lambda dtype: (of_samples if len(x) < x.shape[1] else _of_features)(x, dtype)


def of_samples(x: np.ndarray, dtype: type) -> Axes:
    """Axes from the samples' Gram matrix (n, n), whose scaled eigenvectors are already the rotated columns."""
    inner = x.astype(dtype)
    values, axes = eigh(inner @ inner.T, driver="evd", check_finite=False)
    values = positive(values)
    roots = np.sqrt(values)
    rotated = (axes * roots).astype(dtype)
    return Axes(values, rotated, lambda weights: x.T @ ((axes / roots) @ weights), values.sum() / x.shape[1])


def _of_features(x: np.ndarray, dtype: type) -> Axes:
    values, axes = eigh(gram(x, dtype), driver="evd", check_finite=False)
    values = positive(values)
    return Axes(values, x @ axes.astype(x.dtype), lambda weights: axes @ weights, values.mean())


def positive(values: np.ndarray) -> np.ndarray:
    """Eigenvalues as float64, at least 1e-9: rounding may have made them negative."""
    return np.maximum(values.astype(np.float64), 1e-9)


def gram(x: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """x.T @ x: products in dtype, some rows at a time, summed in float64 and returned in dtype."""
    total = np.zeros((x.shape[1],) * 2)
    for start in range(0, len(x), ROWS):
        part = x[start : start + ROWS].astype(dtype, copy=False)
        total += part.T @ part
    return total.astype(dtype, copy=False)
