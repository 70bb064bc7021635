"""What does a ridge classifier say of the samples it was taught by, had it never seen them? Exactly, without refits.

On columns x (n, f) with one-hot labels as targets y. Leaving a group g out has a closed form, y_g - (I - H_gg)^-1
(y_g - f_g) with the hat matrix H; in the axes of one eigendecomposition H is cheap for every ridge strength, so that n
refits at all of RIDGES cost one of them. Leaving one out is classical (PRESS).

The eigendecomposition is the dearest step, and takes half the time in float32. Its error is a rounding of the largest
eigenvalue, up to 350 times the mean one here, and so nothing beside a ridge from RELIABLE on. Where one as small as that
fits best (easy data, nearly all labels right), everything is done again in float64, with all of RIDGES.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

RIDGES = 10.0 ** np.arange(-5, 2.1, 0.5)
"""Ridge strengths tried, as multiples of the mean eigenvalue; the best leave-group-out squared error wins."""
RELIABLE = 10**-2.25
ROWS = 2048
"""Rows that are read at a time: what is made of them stays in the cache."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Samples in the axes of their Gram matrix: H = rotated diag(1 / (eigenvalues + ridge)) rotated.T.

    eigenvalues (r,) positive, float64; rotated (n, r) in the samples' precision; onto (f, r) takes a new sample's
    columns there. mean: what ridges are multiples of, the mean eigenvalue over all f columns.
    """

    eigenvalues: np.ndarray
    rotated: np.ndarray
    onto: np.ndarray
    mean: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """left_out (n, c): scores by a fit that has not seen the sample's group; weights (f, c) for new samples' columns."""

    left_out: np.ndarray
    weights: np.ndarray
    ridge: float


def fitted(
    axes: Callable[[type], Axes], labels: np.ndarray, classes: int, groups: dict[int, np.ndarray]
) -> Fitted:
    """At the ridge with the smallest leave-group-out error. axes: makes them in np.float32 or np.float64, as asked.

    groups: positions of samples that are left out together, (g, size), by size; each sample in exactly one.
    """
    safe = RIDGES[RIDGES > RELIABLE]
    found = _fitted(axes(np.float32), labels, classes, groups, safe)
    if found.ridge > safe[0]:
        return found
    return _fitted(axes(np.float64), labels, classes, groups, RIDGES)


def _fitted(
    axes: Axes, labels: np.ndarray, classes: int, groups: dict[int, np.ndarray], ridges: np.ndarray
) -> Fitted:
    x = axes.rotated
    targets = (np.eye(classes)[labels] - 1 / classes).astype(x.dtype)
    moments = x.T @ targets
    shrinks = 1 / (axes.eigenvalues[:, None] + ridges * axes.mean)
    errors = np.zeros(len(ridges))
    for _, residual in _left_out(x, targets, moments, shrinks, groups):
        errors += np.square(residual).sum((1, 2, 3), dtype=np.float64)
    best = [int(errors.argmin())]
    scores = targets.astype(np.float64)
    for rows, residual in _left_out(x, targets, moments, shrinks[:, best], groups):
        scores[rows] -= residual[0]
    return Fitted(scores, axes.onto @ (moments * shrinks[:, best]), float(ridges[best[0]]))


def _left_out(
    x: np.ndarray, targets: np.ndarray, moments: np.ndarray, shrinks: np.ndarray, groups: dict[int, np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions (g, size) and (I - H_gg)^-1 (y_g - f_g) of these groups under k ridges, (k, g, size, c)."""
    shrinks, classes = shrinks.astype(x.dtype), targets.shape[1]
    weights = (moments[:, None] * shrinks[:, :, None]).reshape(len(x.T), -1)
    for size, all_rows in groups.items():
        for start in range(0, len(all_rows), max(1, ROWS // size)):
            rows = all_rows[start : start + max(1, ROWS // size)]
            members = x[rows]
            said = (members.reshape(rows.size, -1) @ weights).reshape(*rows.shape, -1, classes)
            residual = (targets[rows][:, :, None] - said).transpose(2, 0, 1, 3)
            if size == 1:
                kept = 1 - np.square(members[:, 0]) @ shrinks
                yield rows, residual / np.maximum(kept, 1e-6).T[:, :, None, None]
                continue
            inside = np.stack([(members * shrink) @ members.swapaxes(1, 2) for shrink in shrinks.T])
            yield rows, np.linalg.solve((1 + 1e-6) * np.eye(size, dtype=x.dtype) - inside, residual)


def of_columns(x: np.ndarray) -> Callable[[type], Axes]:
    """Axes of columns (n, f), of at most min(n, f) of them."""
    return lambda dtype: (of_samples if len(x) < x.shape[1] else _of_features)(x, dtype)


def of_samples(x: np.ndarray, dtype: type) -> Axes:
    """From the samples' Gram matrix (n, n): the same eigenvalues, and its axes are the rotated columns already."""
    inner = x.astype(dtype)
    values, axes = eigh(inner @ inner.T, driver="evd", check_finite=False)
    roots = np.sqrt(positive(values))
    return Axes(roots**2, (axes * roots).astype(dtype), x.T @ (axes / roots), float(np.sum(roots**2)) / x.shape[1])


def _of_features(x: np.ndarray, dtype: type) -> Axes:
    values, axes = eigh(gram(x, dtype), driver="evd", check_finite=False)
    values = positive(values)
    return Axes(values, x @ axes.astype(x.dtype), axes, float(values.mean()))


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
