"""The linear datamodeling score (LDS): how well scores predict trainings on random halves of the samples.

Park et al. 2023 (arXiv 2303.14186): for random half-subsets S, the rank correlation, over subsets, between the
predicted sum of scores in S and the measured output of a model trained on S alone. It is one number a target; their
mean is the LDS. 0 = no better than chance. The scores may come from any method.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats


def half_subsets(n: int, count: int, seed: int = 0) -> np.ndarray:
    """Random half-subsets (count, n) bool, each row true for n // 2 samples."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros((count, n), bool)
    for row in chosen:
        row[rng.permutation(n)[: n // 2]] = True
    return chosen


def measured(
    subsets: np.ndarray, train_on: Callable[[np.ndarray, int], np.ndarray], repeats: int = 1
) -> np.ndarray:
    """Outputs (count, k) of models trained on each subset: train_on(positions, seed) -> (k,), averaged over repeats."""
    return np.stack(
        [np.mean([train_on(np.flatnonzero(row), seed) for seed in range(repeats)], axis=0) for row in subsets]
    )


def lds(scores: np.ndarray, subsets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Rank correlation over subsets, (k,), one a target.

    scores: (n, k), positive = the sample lowers the target's loss. outputs: (count, k) measured LOSSES: with more
    helpful samples in S the loss is lower, so the predicted change is minus the sum.
    """
    predicted = -(subsets.astype(np.float64) @ scores)
    return np.array([stats.spearmanr(p, o).statistic for p, o in zip(predicted.T, outputs.T, strict=True)])


def with_interval(values: np.ndarray, draws: int = 2000) -> tuple[float, float, float]:
    """Mean over targets and its 95 % bootstrap interval."""
    drawn = np.random.default_rng(0).choice(values, (draws, len(values))).mean(1)
    return float(values.mean()), float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))
