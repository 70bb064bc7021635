"""What does a ridge classifier say of the samples it was taught by, had it never seen them? Exactly, without refits.

On columns x (n, f) with one-hot labels as targets y. Leaving a group g out has a closed form, y_g - (I - H_gg)^-1
(y_g - f_g) with the hat matrix H; in the axes of one eigendecomposition H is cheap for every ridge strength, so that n
refits at all of RIDGES cost one of them. Leaving one out is classical (PRESS).

The eigendecomposition is the dearest step, and takes half the time in float32. Its error is a rounding of the largest
eigenvalue, up to 350 times the mean one here, and so nothing beside a ridge from RELIABLE on; of r axes and n samples,
RELIABLE * r / n, because what one axis says of a sample counts less the more samples share it. Where the smallest of
those fits best (easy data, nearly all labels right), everything is done again in float64, with all of RIDGES.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

RIDGES = 10.0 ** np.arange(-5, 2.1, 0.5)
"""Ridge strengths tried, as multiples of the mean eigenvalue; the best leave-group-out squared error wins."""
RELIABLE = 10**-2.25
ROWS = 2048
"""Rows that are read at a time: what is made of them stays in the cache."""
AT_ONCE = 2**24
"""Residuals held at a time, 64 MB: of all ridges at once unless there are very many samples and classes."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Samples in the axes of their Gram matrix: H = rotated diag(1 / (eigenvalues + ridge)) rotated.T.

    eigenvalues (r,) positive, float64; rotated (n, r); back takes weights (r, c) of these axes to those (f, c) of a
    sample's columns. mean: what ridges are multiples of, the mean eigenvalue over all f columns.
    """

    eigenvalues: np.ndarray
    rotated: np.ndarray
    back: Callable[[np.ndarray], np.ndarray]
    mean: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """left_out (n, c): scores by fits that have not seen a sample's group; weights (f, c) for new samples' columns."""

    left_out: np.ndarray
    weights: np.ndarray
    ridge: float


def fitted(
    axes: Callable[[type], Axes], labels: np.ndarray, classes: int, groups: dict[int, np.ndarray]
) -> Fitted:
    """At the ridge with the smallest leave-group-out error. axes: makes them in np.float32 or np.float64, as asked.

    groups: positions of samples that are left out together, (g, size), by size; each sample in exactly one.
    """
    rough = axes(np.float32)
    n, r = rough.rotated.shape
    safe = RIDGES[RELIABLE * r / n < RIDGES]
    found = _fitted(rough, labels, classes, groups, safe)
    if found.ridge > safe[0]:
        return found
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
        some = slice(start, start + step)
        for place, left_out in enumerate(_left_out(x, targets, moments, shrinks[:, some], groups), start):
            error = float(np.square(left_out).mean(dtype=np.float64))
            if error < lowest:
                lowest, best, residual = error, place, left_out
    weights = axes.back(moments * shrinks[:, [best]])
    return Fitted((targets - residual).astype(np.float64), weights, float(ridges[best]))


def _left_out(
    x: np.ndarray,
    targets: np.ndarray,
    moments: np.ndarray,
    shrinks: np.ndarray,
    groups: dict[int, np.ndarray],
) -> np.ndarray:
    """(k, n, c): (I - H_gg)^-1 (y_g - f_g) of every group g under k ridges, shrinks (r, k)."""
    shrinks, (n, classes), count = shrinks.astype(x.dtype), targets.shape, shrinks.shape[1]
    weights = (moments[:, None] * shrinks[:, :, None]).reshape(len(moments), -1)
    found, kept = np.empty((count, n, classes), dtype=x.dtype), np.empty((count, n), dtype=x.dtype)
    for start in range(0, n, ROWS):
        rows = slice(start, start + ROWS)
        residual = targets[rows, None] - (x[rows] @ weights).reshape(-1, count, classes)
        found[:, rows], kept[:, rows] = residual.swapaxes(0, 1), 1 - (np.square(x[rows]) @ shrinks).T
    larger = [rows for size, rows in groups.items() if size > 1]
    for rows in larger:
        kept[:, rows] = 1.0
    found /= np.maximum(kept, 1e-6)[:, :, None]
    for rows in larger:
        for some in np.array_split(rows, -(-rows.size // ROWS)):
            members, alone = x[some], (1 + 1e-6) * np.eye(rows.shape[1], dtype=x.dtype)
            inside = np.stack([(members * shrink) @ members.swapaxes(1, 2) for shrink in shrinks.T])
            found[:, some] = np.linalg.solve(alone - inside, found[:, some])
    return found


def of_columns(x: np.ndarray) -> Callable[[type], Axes]:
    """Axes of columns (n, f), of at most min(n, f) of them."""
    return lambda dtype: (of_samples if len(x) < x.shape[1] else _of_features)(x, dtype)


def of_samples(x: np.ndarray, dtype: type) -> Axes:
    """From the samples' Gram matrix (n, n): the same eigenvalues, and its axes are the rotated columns already."""
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
    """Eigenvalues, float64; what rounding made of zero is nearly zero again."""
    return np.maximum(values.astype(np.float64), 1e-9)


def gram(x: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """x.T @ x, products in dtype, some rows at a time that are added up in float64 and come back in dtype."""
    total = np.zeros((x.shape[1],) * 2)
    for start in range(0, len(x), ROWS):
        part = x[start : start + ROWS].astype(dtype, copy=False)
        total += part.T @ part
    return total.astype(dtype, copy=False)
