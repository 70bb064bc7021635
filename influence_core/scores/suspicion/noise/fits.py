"""Three estimates of the share of wrong labels from one reader's beliefs, none of them exact.

    fit_rate      maximum likelihood of P(given = y | x) = (1 - r) p_y(x) + r (1 - p_y(x)) / (c - 1), p being the
                  reader's softmax, SHARPER times as sharp as fits the given labels best. Noise blunts a fit; the
                  factor is an assumption about how much (2: measured over the cells of benchmarks/detection/run.py,
                  errors up to 0.1 in r).
    rate_bound    if a wrong label were any class but the likeliest, the reader's belief in it would be spread as its
                  belief in all those classes is. No more labels can be wrong than the given labels' own low beliefs
                  allow: r = min over t of P(p_given <= t) / P(p_other <= t) (mixture proportion: Blanchard, Lee, Scott,
                  JMLR 2010). Near 0 on clean labels that are only hard; too low for noise that goes to a similar class.
    fit_rate_and_sharpness
                  as fit_rate, with r and the sharpness fitted together: exact for labels thrown at random, too low for
                  any other noise. Near 0 where classes merely overlap, which a blunter softmax explains. Its gain in
                  log likelihood over r = 0 tells how far it can be chance: a reader that knows little may fit as well
                  at 0.6 as at 0.

The readers never saw the labels that their beliefs are compared with.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from influence_core.scores.plain.outputs import softmax

SHARPER = 2.0
HIGHEST = 0.7
COMMON = 0.5
"""Share of the other classes' beliefs that a level t must cover: shares of few samples are chance."""
LEAST_KNOWN = 0.2
"""Share of the way from chance to perfect from which a reader is used. 0.1 and 0.2: the same in 112 cells."""
CHANCE, SURE = 0.01, 0.04
"""A freely fitted rate up to CHANCE occurs on clean labels; from SURE on it is noise, unless it is chance:"""
DOUBTED, CERTAIN = 1.0, 2.0
"""Log likelihood gained, in nats; chance alone gains 2 once in about 40 times. 1.5 and 2.5: mean ECE 0.001 higher."""
SHARPNESSES = np.exp(np.linspace(-2.5, 3.1, 43))


@dataclass(frozen=True, slots=True)
class Fit:
    """rate: in [0, HIGHEST]; gain: log likelihood above that of rate 0, in nats; sharpness: factor on the scores."""

    rate: float
    gain: float
    sharpness: float

    @property
    def support(self) -> float:
        """0 = overlap or chance would explain the rate, 1 = it is noise."""
        return ramp(self.rate, CHANCE, SURE) * ramp(self.gain, DOUBTED, CERTAIN)


def ramp(value: float, low: float, high: float) -> float:
    """0 up to low, 1 from high on."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def beats_chance(guess: np.ndarray, labels: np.ndarray, least: float = LEAST_KNOWN) -> bool:
    """Whether guesses (n,) agree with labels (n,) more than two such columns would by chance (Cohen's kappa).

    The comparison is not with the commonest label: where errors have made one class large, not even a reader that is
    right would agree more than that.
    """
    names, counts = np.unique(labels, return_counts=True)
    chance = sum(
        (guess == name).mean() * count / len(labels) for name, count in zip(names, counts, strict=True)
    )
    return float((guess == labels).mean()) - chance > least * (1 - chance)


def fit_rate_and_sharpness(scores: np.ndarray, labels: np.ndarray) -> Fit:
    """Rate and gain at the sharpness of the scores (n, c) under which the labels (n,) are likeliest."""
    label_beliefs = [_beliefs(sharpness * scores, labels) for sharpness in SHARPNESSES]
    fits = [_fitted_rate(beliefs, scores.shape[1]) for beliefs in label_beliefs]
    best = int(np.argmin([misfit for _, misfit in fits]))
    without_noise = min(-float(np.log(beliefs + 1e-9).mean()) for beliefs in label_beliefs)
    rate, misfit = fits[best]
    return Fit(rate, (without_noise - misfit) * len(labels), float(SHARPNESSES[best]))


def fit_rate(scores: np.ndarray, labels: np.ndarray) -> float:
    """Likeliest rate at SHARPER times the sharpness of the scores (n, c)."""
    return _fitted_rate(_beliefs(SHARPER * scores, labels), scores.shape[1])[0]


def rate_bound(scores: np.ndarray, labels: np.ndarray) -> float:
    """The largest rate that the given labels' own low beliefs allow, from scores (n, c) and labels (n,)."""
    beliefs, rows = softmax(scores), np.arange(len(labels))
    is_other = np.ones(beliefs.shape, dtype=bool)
    is_other[rows, beliefs.argmax(1)] = False
    levels = np.quantile(beliefs[is_other], np.linspace(COMMON, 1, 30))
    ours, theirs = (
        np.searchsorted(np.sort(values), levels, side="right") / len(values)
        for values in (beliefs[rows, labels], beliefs[is_other])
    )
    return float((ours / theirs).min())


def _beliefs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return softmax(scores)[np.arange(len(labels)), labels]


def _fitted_rate(beliefs: np.ndarray, classes: int) -> tuple[float, float]:
    """The rate under which beliefs (n,) in the given labels are likeliest, and the mean misfit."""
    others = (1 - beliefs) / max(1, classes - 1)

    def misfit(rate: float) -> float:
        return -float(np.log((1 - rate) * beliefs + rate * others + 1e-9).mean())

    result = minimize_scalar(misfit, bounds=(0.0, HIGHEST), method="bounded")
    return float(result.x), float(result.fun)  # pyright: ignore[reportAttributeAccessIssue]
