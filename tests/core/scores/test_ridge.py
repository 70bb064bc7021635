"""Laws of the ridge readers: leaving out is exact, on columns and kernels, in float32 as far as that is enough"""

import numpy as np
import pytest

from influence_core.scores.suspicion import kernel_reader as kernels
from influence_core.scores.suspicion.kernel_reader import CONSTANT, JITTER, kernel
from influence_core.scores.suspicion.ridge_reader import RELIABLE, fit_ridge, of_columns


def refitted(inner: np.ndarray, labels: np.ndarray, classes: int, ridge: float, groups) -> np.ndarray:
    """Scores (n, c) by fits without each group, from the samples' Gram matrix (n, n): the slow truth."""
    targets, found = np.eye(classes)[labels] - 1 / classes, np.zeros((len(labels), classes))
    for rows in (group for groups_ in groups.values() for group in groups_):
        rest = np.setdiff1d(np.arange(len(labels)), rows)
        learnt = np.linalg.solve(inner[np.ix_(rest, rest)] + ridge * np.eye(len(rest)), targets[rest])
        found[rows] = inner[np.ix_(rows, rest)] @ learnt
    return found


def gaussian(x: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Gram matrix of samples (n, f) under the kernel as seen from landmarks, in float64 and without any shortcut."""
    apart = ((marks[:, None] - marks) ** 2).sum(2)
    width = np.median(apart) + 1e-9
    seen = np.exp(-((x[:, None] - marks) ** 2).sum(2) / width)
    own = np.exp(-apart / width) + JITTER * np.eye(len(marks))
    return seen @ np.linalg.solve(own, seen.T) + CONSTANT**2


def samples(n: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Samples (n, 6) of three classes, a share of the labels wrong."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 6)) * 0.6 + 2 * np.eye(6)[labels]
    return x.astype(np.float32), np.where(rng.random(n) < noise, (labels + 1) % 3, labels)


GROUPS = {1: np.arange(20, 60)[:, None], 2: np.arange(20).reshape(10, 2)}


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("landmarks", [100, 25], ids=["whole kernel", "seen from 25 landmarks"])
def test_a_kernel_reader_left_out_equals_refits(monkeypatch, landmarks, noise):
    monkeypatch.setattr(kernels, "LANDMARKS", landmarks)
    x, labels = samples(60, noise)
    seen = kernel(x, seed=0)
    found = fit_ridge(seen.axes, labels, 3, GROUPS)
    inner = gaussian(x.astype(float), seen.marks.astype(float))
    ridge = found.ridge * np.trace(inner) / (len(seen.marks) + 1)
    slow = refitted(inner, labels, 3, ridge, GROUPS)
    gap = np.abs(found.left_out - slow).max()
    assert gap < 2e-3, (
        f"own labels leaked in, or rounding: {gap:.2g} away from refits at ridge {found.ridge:.2g}"
    )


def test_new_samples_are_scored_as_by_a_refit_on_all(monkeypatch):
    for landmarks in (100, 25):
        monkeypatch.setattr(kernels, "LANDMARKS", landmarks)
        x, labels = samples(80, 0.3)
        seen = kernel(x[:60], seed=0)
        found = fit_ridge(seen.axes, labels[:60], 3, {1: np.arange(60)[:, None]})
        inner = gaussian(x.astype(float), seen.marks.astype(float))
        ridge = found.ridge * np.trace(inner[:60, :60]) / (len(seen.marks) + 1)
        targets = np.eye(3)[labels[:60]] - 1 / 3
        slow = inner[60:, :60] @ np.linalg.solve(inner[:60, :60] + ridge * np.eye(60), targets)
        gap = np.abs(seen.scores(x[60:], found.weights) - slow).max()
        assert gap < 2e-3, f"{landmarks} landmarks: scores of new samples are {gap:.2g} away from a refit"


def test_float64_is_asked_only_where_a_tiny_ridge_fits_best():
    """Labels that a line tells apart want hardly any ridge, labels thrown at random the largest."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 90)).astype(np.float32)
    x[:, 0] = np.where(np.arange(40) % 2, 9.0, -9.0)
    asked: list[type] = []

    def watched(dtype: type):
        asked.append(dtype)
        return of_columns(x)(dtype)

    alone = {1: np.arange(40)[:, None]}
    thrown = fit_ridge(watched, rng.integers(0, 2, 40), 2, alone)
    assert asked == [np.float32], f"a second decomposition was paid for, at ridge {thrown.ridge:.2g}"
    exact = fit_ridge(watched, np.arange(40) % 2, 2, alone)
    assert asked[1:] == [np.float32, np.float64] and exact.ridge < RELIABLE, (
        f"{asked[1:]}: ridge {exact.ridge:.2g} is below what float32 can tell"
    )
