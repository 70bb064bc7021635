"""Difference between two arms, paired by seed and by test sample, with its interval.

Both arms start from the same weights and meet the samples in the same order, and both predict the same m test samples,
so the S x m table of differences D holds everything. Its mean is the effect. Two things vary by chance: the training
(another seed) and the drawn test samples:
    se^2 = var_seeds(mean over samples) / S + var_samples(mean over seeds) / m
with Welch-Satterthwaite degrees of freedom. The sample part contains a little of the seed part too, so the interval is
rather too wide than too narrow. A quantity that is no mean (a gap) gets a bootstrap over seeds and samples.
"""

from collections.abc import Callable

import numpy as np

from influence_core.judging import ranks
from influence_core.judging.intervals import Estimate

BOOTSTRAPS = 1000


def paired_mean(differences: np.ndarray) -> Estimate:
    """The mean of D (S, m) with its interval; with one seed the interval covers the test samples only."""
    from scipy import stats  # half a second, which a page that only reads results need not wait

    seeds, m = differences.shape
    value = float(differences.mean())
    parts = [(float(differences.mean(axis=0).var(ddof=1)) / m if m > 1 else 0.0, m - 1)]
    if seeds > 1:
        parts.append((float(differences.mean(axis=1).var(ddof=1)) / seeds, seeds - 1))
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        return Estimate(value, value, value)
    freedom = variance**2 / sum(part**2 / max(1, df) for part, df in parts)
    half = float(stats.t.ppf(0.975, freedom)) * variance**0.5
    return Estimate(value, value - half, value + half)


def bootstrapped(
    statistic: Callable[[np.ndarray, np.ndarray], float], seeds: int, m: int, *, seed: int = 0
) -> Estimate:
    """A statistic of (rows of seeds, rows of samples) with its percentile interval."""
    generator = np.random.default_rng(seed)
    value = statistic(np.arange(seeds), np.arange(m))
    drawn = [
        statistic(generator.integers(seeds, size=seeds), generator.integers(m, size=m))
        for _ in range(BOOTSTRAPS)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))


def rank_correlation(predicted: np.ndarray, measured: np.ndarray, *, seed: int = 0) -> Estimate | None:
    """Spearman's correlation with a bootstrap interval over groups; None below four groups, or for constants."""
    if len(predicted) < 4 or np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return None

    def statistic(_: np.ndarray, rows: np.ndarray) -> float:
        return ranks.rank_correlation(predicted[rows], measured[rows])

    return bootstrapped(statistic, 1, len(predicted), seed=seed)


def slope_through_zero(predicted: np.ndarray, measured: np.ndarray) -> float | None:
    """The change per unit of the prediction: least squares through the origin; None if all predictions are 0."""
    square = float(predicted @ predicted)
    return float(predicted @ measured) / square if square > 0 else None
