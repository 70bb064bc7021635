"""How many labels would have to be wrong for these readers' beliefs to fit? Three estimates, none of them exact.

likeliest  maximum likelihood of P(given = y | x) = (1 - r) p_y(x) + r (1 - p_y(x)) / (c - 1), p being the reader's
           softmax, SHARPER times as sharp as fits the given labels best. Noise blunts a fit; how much is what the
           factor assumes (2: measured over the cells of benchmarks/detection/run.py, errors up to 0.1 in r).
room       were a wrong label any class but the likeliest, the reader's belief in it would be spread as its belief in
           all those classes is. No more can be wrong than the given labels' own low beliefs leave room for:
           r = min over t of P(p_given <= t) / P(p_other <= t) (mixture proportion: Blanchard, Lee, Scott, JMLR 2010).
           Near 0 on clean labels that are only hard; too low for noise that goes to a similar class.
free       as likeliest, r and the sharpness free together: exact for labels thrown at random, too low for any other
           noise. Near 0 where classes merely overlap, which a blunter softmax explains. Its gain in log likelihood over
           r = 0 says how far it can be chance: a reader that knows little may fit as well at 0.6 as at 0.

The readers never saw the labels they are held against.
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
"""Share of the way from chance to perfect that a reader must go before it is asked. 0.1, 0.2: the same in 112 cells."""
CHANCE, SURE = 0.01, 0.04
"""A freely fitted rate up to CHANCE is met on clean labels; from SURE on it is noise, if it is not chance:"""
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
        """0 = overlap or chance would explain it, 1 = it is noise."""
        return ramp(self.rate, CHANCE, SURE) * ramp(self.gain, DOUBTED, CERTAIN)


def ramp(value: float, low: float, high: float) -> float:
    """0 up to low, 1 from high on."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def knows(guess: np.ndarray, labels: np.ndarray, least: float = LEAST_KNOWN) -> bool:
    """Whether guesses (n,) agree with labels (n,) more than two such columns would by chance (Cohen's kappa).

    Not more than the commonest label does: where errors have made one class large, nobody who is right would.
    """
    names, counts = np.unique(labels, return_counts=True)
    chance = sum(
        (guess == name).mean() * count / len(labels) for name, count in zip(names, counts, strict=True)
    )
    return float((guess == labels).mean()) - chance > least * (1 - chance)


def free(scores: np.ndarray, labels: np.ndarray) -> Fit:
    """Rate and gain at whatever sharpness of the scores (n, c) makes the labels (n,) likeliest."""
    own = [_beliefs(sharpness * scores, labels) for sharpness in SHARPNESSES]
    fits = [_fitted_rate(beliefs, scores.shape[1]) for beliefs in own]
    best = int(np.argmin([misfit for _, misfit in fits]))
    without = min(-float(np.log(beliefs + 1e-9).mean()) for beliefs in own)
    rate, misfit = fits[best]
    return Fit(rate, (without - misfit) * len(labels), float(SHARPNESSES[best]))


def likeliest(scores: np.ndarray, labels: np.ndarray) -> float:
    """Rate at SHARPER times the sharpness that the scores (n, c) have."""
    return _fitted_rate(_beliefs(SHARPER * scores, labels), scores.shape[1])[0]


def room(scores: np.ndarray, labels: np.ndarray) -> float:
    """The largest rate for which the given labels' own low beliefs leave room."""
    beliefs, rows = softmax(scores), np.arange(len(labels))
    other = np.ones(beliefs.shape, dtype=bool)
    other[rows, beliefs.argmax(1)] = False
    levels = np.quantile(beliefs[other], np.linspace(COMMON, 1, 30))
    ours, theirs = (
        np.searchsorted(np.sort(values), levels, side="right") / len(values)
        for values in (beliefs[rows, labels], beliefs[other])
    )
    return float((ours / theirs).min())


def _beliefs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return softmax(scores)[np.arange(len(labels)), labels]


def _fitted_rate(own: np.ndarray, classes: int) -> tuple[float, float]:
    """The rate under which beliefs (n,) in the given labels are likeliest, and the mean misfit."""
    others = (1 - own) / max(1, classes - 1)

    def misfit(rate: float) -> float:
        return -float(np.log((1 - rate) * own + rate * others + 1e-9).mean())

    found = minimize_scalar(misfit, bounds=(0.0, HIGHEST), method="bounded")
    return float(found.x), float(found.fun)  # pyright: ignore[reportAttributeAccessIssue]
