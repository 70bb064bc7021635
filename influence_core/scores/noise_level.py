"""Which share of the labels is wrong? Estimated from the reader that cannot remember labels; no true label is needed.

1. By maximum likelihood on the training labels: P(given = y | x) = (1 - r) p_y(x) + r (1 - p_y(x)) / (c - 1), p being
   the reader's softmax, SHARPER times as sharp as fits the given labels best. Noise blunts a fit; how much is what the
   factor assumes (2: measured over the cells of benchmarks/detection.py, errors up to 0.1 in r).
2. By room in the tail: were a wrong label any class but the likeliest, the reader's belief in it would be spread as its
   belief in all those classes is. No more can be wrong than the given labels' own low beliefs leave room for:
   r = min over t of P(p_given <= t) / P(p_other <= t) (mixture proportion: Blanchard, Lee, Scott, JMLR 2010). Near 0
   on clean labels that are only hard; too low for noise that goes to a similar class and for samples of no class.
3. With validation labels: 1 - (agreement with given labels) / (agreement with validation labels). Exact for clean
   validation labels; too low when they are as noisy as the training labels.
The mean of 1 and 2, which miss to opposite sides, or 3 where that is larger. A reader that predicts the given labels
hardly better than chance knows nothing, neither of labels nor of noise: then another one is asked (`witness`), and when
none knows anything, nothing can be said: the rate is 0 and nothing is flagged.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from influence_core.scores.baselines import softmax
from influence_core.scores.evidence import Evidence
from influence_core.scores.trust import OUTPUTS_READER, Trust

SHARPER = 2.0
HIGHEST = 0.7
COMMON = 0.5
"""Share of the other classes' beliefs that a level t must cover: shares of few samples are chance."""
LEAST_KNOWN = 0.1
"""Share of the way from chance to perfect that a reader must go before it is asked."""


def noise_rate(
    scores: np.ndarray, labels: np.ndarray, held_out: np.ndarray, held_out_labels: np.ndarray
) -> float:
    """Share of wrong labels in [0, HIGHEST], from one reader's log probabilities (n, c) and (m, c); m may be 0."""
    ours = float((scores.argmax(1) == labels).mean())
    if not _knows(ours, labels):
        return 0.0
    found = (_likeliest(scores, labels) + _room(scores, labels)) / 2
    if len(held_out_labels):
        agrees = float((held_out.argmax(1) == held_out_labels).mean())
        if _knows(agrees, held_out_labels):
            found = max(found, 1 - ours / agrees)
    return float(np.clip(found, 0.0, HIGHEST))


def witness(
    evidence: Sequence[Evidence], trust: Sequence[Trust], labels: np.ndarray, anchor: int
) -> Evidence:
    """Whom to ask: the anchor; where it is blind, the reader that predicts most of the labels it never saw.

    With validation labels those: one that learnt given labels by heart gains nothing there, and errs to too low a rate.
    """
    if _knows(trust[anchor].agrees, labels):
        return evidence[anchor]
    others = [(np.nan_to_num(t.held_out, nan=t.agrees), place) for place, t in enumerate(trust)]
    return evidence[max(o for o in others if trust[o[1]].reader != OUTPUTS_READER)[1]]


def _knows(agreement: float, labels: np.ndarray) -> bool:
    chance = float((np.unique(labels, return_counts=True)[1] / len(labels)).max())
    return agreement - chance > LEAST_KNOWN * (1 - chance)


def _likeliest(scores: np.ndarray, labels: np.ndarray) -> float:
    sharp = SHARPER * scores
    sharp = np.exp(sharp - sharp.max(1, keepdims=True))
    own = (sharp / sharp.sum(1, keepdims=True))[np.arange(len(labels)), labels]
    others = (1 - own) / max(1, scores.shape[1] - 1)

    def misfit(rate: float) -> float:
        return -float(np.log((1 - rate) * own + rate * others + 1e-9).mean())

    return float(minimize_scalar(misfit, bounds=(0.0, HIGHEST), method="bounded").x)  # pyright: ignore


def _room(scores: np.ndarray, labels: np.ndarray) -> float:
    beliefs, rows = softmax(scores), np.arange(len(labels))
    other = np.ones(beliefs.shape, dtype=bool)
    other[rows, beliefs.argmax(1)] = False
    levels = np.quantile(beliefs[other], np.linspace(COMMON, 1, 30))
    ours, theirs = (
        np.searchsorted(np.sort(values), levels, side="right") / len(values)
        for values in (beliefs[rows, labels], beliefs[other])
    )
    return float((ours / theirs).min())
