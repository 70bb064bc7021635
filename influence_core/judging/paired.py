"""Is one arm better than another, and how sure is that? Paired by seed and by test sample.

Both arms start from the same weights and meet the samples in the same order, and both answer the same m test samples,
so the S x m table of differences D says everything. Its mean is the effect. Two things could have come out another
way: the training (another seed) and the test samples drawn:
    se^2 = var_seeds(mean over samples) / S + var_samples(mean over seeds) / m
with Welch-Satterthwaite degrees of freedom. The sample part holds a little of the seed part too, so the interval is
rather too wide than too narrow. A quantity that is no mean (a gap) gets a bootstrap over seeds and samples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def measurable(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


def estimate_from(content: dict[str, Any]) -> Estimate:
    return Estimate(float(content["value"]), float(content["low"]), float(content["high"]))


def paired_mean(differences: np.ndarray) -> Estimate:
    """The mean of D (S, m) with its interval; with one seed the interval knows of the test samples only."""
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
    """Spearman's correlation with a bootstrap interval over groups; None below four groups, or without variety."""
    from scipy import stats

    if len(predicted) < 4 or np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return None
    generator = np.random.default_rng(seed)

    def correlation(rows: np.ndarray) -> float:
        first, second = (stats.rankdata(values[rows]) for values in (predicted, measured))
        if np.ptp(first) == 0 or np.ptp(second) == 0:
            return float("nan")
        return float(np.corrcoef(first, second)[0, 1])

    n = len(predicted)
    drawn = [correlation(generator.integers(n, size=n)) for _ in range(BOOTSTRAPS)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Estimate(correlation(np.arange(n)), float(low), float(high))


def slope_through_zero(predicted: np.ndarray, measured: np.ndarray) -> float | None:
    """What one unit of the prediction is worth: least squares through the origin; None without any prediction."""
    square = float(predicted @ predicted)
    return float(predicted @ measured) / square if square > 0 else None
