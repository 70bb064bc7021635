"""Shortlist of the samples worth an exact product with a direction v, and how many of the extremes it may miss.

A stored sketch estimates <g_i, v> with a standard error of about |g_i| |v| / sqrt(q), and |<g_i, v>| <= |g_i| |v| holds
always (Cauchy-Schwarz). So a sample can reach the top only if

    min(estimate_i + z |g_i| |v| / sqrt(q),  |g_i| |v|)   is above the k-th best exact product found so far.

Samples are scored exactly in the order of this bound until nothing unscored reaches the k-th best, or the budget is
spent. A uniform random control is scored beside them. It gives the measured error of the sketch, its rank agreement,
and an unbiased estimate of the sum over all samples (stratified: the selected rows are known, the rest is sampled).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from influence_core.judging.intervals import Estimate
from influence_core.judging.ranks import rank_correlation

Exact = Callable[[np.ndarray], np.ndarray]
"""Rows (r,) -> exact products (r,)."""

FIRST = 40
"""Fewest rows of the first round, for both ends together; else three for each sample wanted of an end."""
CONTROL = 96
ALL = 320
"""Up to this many samples all are scored: a shortlist would hardly be shorter."""
ROUNDS = 4
BUDGET = 1024
"""Most rows scored exactly, control included: a quarter of the demo's 4,000."""
SIGNS = (1.0, -1.0)
"""Of the two ends, helpful first."""
SURE = 3.0
"""Standard errors above its estimate up to which a sample may lie."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How far a shortlist can be trusted. `missed` are expected numbers among the k most helpful and harmful."""

    n: int
    scored: int
    """Rows with an exact product, control included."""
    missed_helpful: float
    missed_harmful: float
    rank_agreement: float
    """Spearman's correlation of sketch and exact products on the random control; NaN for fewer than 3 rows."""
    sketch_error: float
    """Root mean square error of the sketch on the control, in units of |g_i| |v|; 1/sqrt(q) is expected."""
    top_helpful: Estimate
    """Sum of the k most helpful as a share of everything that helps, in [0, 1]; exact when both ends are the value."""
    top_harmful: Estimate
    """Sum of the k most harmful as a share of everything that hurts."""
    help: Estimate
    """Sum of all positive products."""
    harm: Estimate
    """Sum of all negative products, as a positive number."""


@dataclass(frozen=True, slots=True)
class Shortlist:
    """Rows (r,) with exact products (r,), most helpful first, and the quality of the selection."""

    rows: np.ndarray
    products: np.ndarray
    quality: Quality


def shortlist(
    estimates: np.ndarray,
    bounds: np.ndarray,
    exact: Exact,
    *,
    q: int,
    k: int = 50,
    budget: int = BUDGET,
    seed: int = 0,
) -> Shortlist:
    """Find the k most helpful and the k most harmful of n samples by few exact products.

    Args:
        estimates: (n,) inner products of sketches, estimates of <g_i, v>.
        bounds: (n,) |g_i| |v|.
        exact: called with rows, a few times.
        q: length of the sketches.
        budget: most rows to score exactly; all n where there are no more.
    """
    n = len(estimates)
    control = np.sort(np.random.default_rng(seed).choice(n, min(CONTROL, n), replace=False))
    reach = [np.minimum(sign * estimates + SURE * (bounds / np.sqrt(q)), bounds) for sign in SIGNS]
    search = _Search(estimates, bounds, np.full(n, np.nan), np.zeros(n, dtype=bool), k)
    rows = np.arange(n) if n <= ALL else _first(reach, max(FIRST, 3 * k))
    for _ in range(ROUNDS):
        search.selected[rows] = True
        unscored = np.union1d(rows, control)
        unscored = unscored[~search.scored[unscored]]
        search.exact[unscored] = exact(unscored)
        rows = search.next_rows(reach, budget)
        if not len(rows):
            break
    return search.result(control)


def _first(reach: list[np.ndarray], size: int) -> np.ndarray:
    """Half of the rows from each end, by the most they can reach."""
    return np.union1d(*(np.argsort(-most, kind="stable")[: size // 2] for most in reach))


@dataclass(frozen=True, slots=True)
class _Search:
    """A search among n samples; `exact` is NaN for rows without a product, `selected` leaves out the control."""

    estimates: np.ndarray
    bounds: np.ndarray
    exact: np.ndarray
    selected: np.ndarray
    k: int

    @property
    def scored(self) -> np.ndarray:
        return ~np.isnan(self.exact)

    def next_rows(self, reach: list[np.ndarray], budget: int) -> np.ndarray:
        """Unscored rows that may still belong to one of the two ends, likeliest first, as many as the budget allows."""
        excess = np.full(len(self.exact), -np.inf)
        for sign, most in zip(SIGNS, reach, strict=True):
            bar = _bar(sign * self.exact[self.selected], self.k)
            excess = np.maximum(excess, np.where(most > bar, most - bar, -np.inf))
        excess[self.scored] = -np.inf
        order = np.argsort(-excess, kind="stable")[: max(0, budget - np.count_nonzero(self.scored))]
        return np.sort(order[np.isfinite(excess[order])])

    def result(self, control: np.ndarray) -> Shortlist:
        rows = np.flatnonzero(self.scored)
        rows = rows[np.argsort(-self.exact[rows], kind="stable")]
        error, agreement = _agreement(self.estimates[control], self.exact[control], self.bounds[control])
        rest = control[~self.selected[control]]
        help, harm = (_total(sign * self.exact, self.selected, rest, self.k) for sign in SIGNS)
        quality = Quality(
            n=len(self.exact),
            scored=len(rows),
            missed_helpful=self._missed(1.0, error**2),
            missed_harmful=self._missed(-1.0, error**2),
            rank_agreement=agreement,
            sketch_error=error,
            top_helpful=_share(self.exact, help, self.k),
            top_harmful=_share(-self.exact, harm, self.k),
            help=help,
            harm=harm,
        )
        return Shortlist(rows, self.exact[rows], quality)

    def _missed(self, sign: float, noise: float) -> float:
        """Expected number of unscored rows above the k-th best; none beyond the certain bound.

        Among the rows that could reach it, in units of |g_i| |v|, products have a mean and a variance s^2 and sketches
        the same mean and the variance s^2 + noise, so an estimate far from the mean is partly luck and is drawn back to
        it by s^2 / (s^2 + noise). `noise` is what the control measured. Errors are taken to be normal.
        """
        bar = _bar(sign * self.exact, self.k)
        reachable = (self.bounds > bar) & (self.bounds > 0)
        unscored = ~self.scored[reachable]
        if not unscored.any():
            return 0.0
        cosine = sign * self.estimates[reachable] / self.bounds[reachable]
        mean, variance = float(cosine.mean()), max(0.0, float(cosine.var()) - noise)
        weight = variance / (variance + noise) if variance + noise > 0 else 1.0
        length = self.bounds[reachable][unscored]
        expected = length * (mean + weight * (cosine[unscored] - mean))
        return float(norm.sf((bar - expected) / np.maximum(length * np.sqrt(weight * noise), 1e-30)).sum())


def _bar(products: np.ndarray, k: int) -> float:
    """The k-th best product, never below zero: a sample that hurts is not among the most helpful."""
    best = np.sort(products[~np.isnan(products)])[::-1]
    return max(0.0, float(best[k - 1])) if len(best) >= k else 0.0


def _agreement(estimates: np.ndarray, exact: np.ndarray, bounds: np.ndarray) -> tuple[float, float]:
    """Root mean square error of the sketch in units of |g_i| |v|, and Spearman's rank correlation."""
    length = np.sqrt(np.mean(bounds**2)) if len(bounds) else 0.0
    error = float(np.sqrt(np.mean((estimates - exact) ** 2)) / length) if length > 0 else 0.0
    return error, rank_correlation(estimates, exact) if len(exact) > 2 else float("nan")


def _total(exact_values: np.ndarray, selected: np.ndarray, rest: np.ndarray, k: int) -> Estimate:
    """Sum of all positive products; unselected rows through their random sample."""
    certain = float(np.maximum(exact_values[selected], 0).sum())
    unseen, sample = int((~selected).sum()), np.maximum(exact_values[rest], 0)
    mean = spread = 0.0
    if unseen:
        if len(sample) < 2:
            return Estimate(float("nan"), 0.0, float("inf"))
        mean, spread = float(sample.mean()), float(sample.std(ddof=1)) / np.sqrt(len(sample))
        spread *= np.sqrt(max(0.0, 1 - len(sample) / unseen))
    least = _top(exact_values, k)
    return Estimate(
        *(max(least, certain + unseen * max(0.0, mean + sign * 1.96 * spread)) for sign in (0, -1, 1))
    )


def _share(exact_values: np.ndarray, total: Estimate, k: int) -> Estimate:
    """The k largest products as a share of all positive ones."""
    top = _top(exact_values, k)
    if np.isnan(total.value):
        return Estimate(float("nan"), 0.0, 1.0)
    return Estimate(*(top / part if part > 0 else 0.0 for part in (total.value, total.high, total.low)))


def _top(exact_values: np.ndarray, k: int) -> float:
    """The sum of the k largest positive products."""
    return float(np.sort(np.maximum(exact_values[~np.isnan(exact_values)], 0))[::-1][:k].sum())
