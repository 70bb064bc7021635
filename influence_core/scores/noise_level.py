"""Which share of the labels is wrong, and is it noise at all? Told by readers that left the label out; no truth needed.

How much, if it is noise, from the reader that cannot remember labels:
1. By maximum likelihood on the training labels: P(given = y | x) = (1 - r) p_y(x) + r (1 - p_y(x)) / (c - 1), p being
   the reader's softmax, SHARPER times as sharp as fits the given labels best. Noise blunts a fit; how much is what the
   factor assumes (2: measured over the cells of benchmarks/detection.py, errors up to 0.1 in r).
2. By room in the tail: were a wrong label any class but the likeliest, the reader's belief in it would be spread as its
   belief in all those classes is. No more can be wrong than the given labels' own low beliefs leave room for:
   r = min over t of P(p_given <= t) / P(p_other <= t) (mixture proportion: Blanchard, Lee, Scott, JMLR 2010). Near 0
   on clean labels that are only hard; too low for noise that goes to a similar class and for samples of no class.
3. With validation labels: 1 - (agreement with given labels) / (agreement with validation labels), of that reader and
   of the one taught by validation labels alone, which has not learnt errors that training labels share. Exact for clean
   validation labels; too low when they are as noisy as the training labels.
4. As 1, r and the sharpness free together: exact for labels thrown at random, too low for any other noise.
The mean of 1, 2 and 4, which miss to different sides, or 3 (the first reader's, unless the other's stands out more)
where that is larger and beyond chance.

Whether it is noise. A reader also errs where classes overlap, and that is no noise. Overlap is explained by a blunter
softmax, whereas wrong labels contradict a reader also where it is sure: so r of 4 is near 0 on clean labels (at most
0.010 on 36 sets of them, hard ones among them). Errors that training labels share, one class's name on another, look
like overlap to whoever learnt from them, and do not to the reader taught by validation labels, which is asked too and
estimates the level where it alone sees noise. `support` runs from 0 to 1 between CHANCE and SURE.
Without it anything up to the estimate may be wrong, or nothing: UNSUPPORTED of it counts, and suspicion.py spreads that
so thinly that hardly a sample is flagged.

A reader that predicts the given labels hardly better than chance knows nothing, neither of labels nor of noise: then
another one is asked (`witness`), and when none knows anything, the rate is 0 and nothing is flagged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from influence_core.scores.baselines import softmax
from influence_core.scores.evidence import VALIDATION_READER, Evidence
from influence_core.scores.trust import OUTPUTS_READER, Trust

SHARPER = 2.0
HIGHEST = 0.7
COMMON = 0.5
"""Share of the other classes' beliefs that a level t must cover: shares of few samples are chance."""
LEAST_KNOWN = 0.1
"""Share of the way from chance to perfect that a reader must go before it is asked."""
CHANCE, SURE = 0.01, 0.04
"""A freely fitted rate up to CHANCE is met on clean labels; from SURE on it is noise."""
SHARPNESSES = np.exp(np.linspace(-0.5, 3.1, 28))
BEYOND = 2.5
"""Standard errors between training and validation agreement from which the gap begins to count; one more: fully."""
UNSUPPORTED = 1 / 3


@dataclass(frozen=True, slots=True)
class Noise:
    """rate: estimated share of wrong labels, in [0, HIGHEST]. support in [0, 1]: 0 = overlap would explain it as well.

    possible: the share that would be wrong if all of it were noise; rate lies between a third of it and all.
    """

    rate: float
    support: float
    possible: float


def noise(
    asked: Sequence[Evidence], unseen: Sequence[np.ndarray], labels: np.ndarray, held_out_labels: np.ndarray
) -> Noise:
    """From log probabilities: of the witness first and others to compare, (n, c) and (m, c); of pools, each (n, c).

    None of them may know the labels (n,) it speaks of. m may be 0.
    """
    sure = asked[0].train
    if not _knows(float((sure.argmax(1) == labels).mean()), labels):
        return Noise(0.0, 0.0, 0.0)
    free, told = max(_free_rate(scores, labels) for scores in unseen), sure
    for e in asked[1:]:
        other = _free_rate(e.train, labels)
        free, told = (other, e.train) if free < SURE <= other else (free, told)
    possible = (_likeliest(told, labels) + _room(told, labels) + free) / 3
    support = float(np.clip((free - CHANCE) / (SURE - CHANCE), 0, 1))
    if len(held_out_labels):
        counts, missing = max(
            (_missing(e, labels, held_out_labels) for e in asked), key=lambda found: found[0]
        )
        support, possible = max(support, counts), max(possible, missing if counts > 0 else 0.0)
    possible = float(np.clip(possible, 0.0, HIGHEST))
    return Noise(possible * (UNSUPPORTED + (1 - UNSUPPORTED) * support), support, possible)


def witness(
    evidence: Sequence[Evidence], trust: Sequence[Trust], labels: np.ndarray, anchor: int
) -> Evidence:
    """Whom to ask: the anchor; where it is blind, the reader that predicts most of the labels it never saw.

    With validation labels those: one that learnt given labels by heart gains nothing there, and errs to too low a rate.
    """
    if _knows(trust[anchor].agrees, labels):
        return evidence[anchor]
    taught = (place for place, t in enumerate(trust) if t.reader not in (OUTPUTS_READER, VALIDATION_READER))
    return evidence[max((np.nan_to_num(trust[p].held_out, nan=trust[p].agrees), p) for p in taught)[1]]


def _knows(agreement: float, labels: np.ndarray) -> bool:
    chance = float((np.unique(labels, return_counts=True)[1] / len(labels)).max())
    return agreement - chance > LEAST_KNOWN * (1 - chance)


def _missing(e: Evidence, labels: np.ndarray, held_out_labels: np.ndarray) -> tuple[float, float]:
    """Share of its agreement that a reader lacks on training labels, and from 0 to 1 how far that is beyond chance."""
    ours, theirs = ((s.argmax(1) == y) for s, y in ((e.train, labels), (e.held_out, held_out_labels)))
    if not _knows(float(theirs.mean()), held_out_labels):
        return 0.0, 0.0
    n, m = len(ours), len(theirs)
    both = (ours.sum() + theirs.sum()) / (n + m)
    error = np.sqrt(both * (1 - both) * (1 / n + 1 / m))
    gap = float(theirs.mean() - ours.mean())
    return float(np.clip(gap / max(error, 1e-9) - BEYOND, 0, 1)), gap / float(theirs.mean())


def _likeliest(scores: np.ndarray, labels: np.ndarray) -> float:
    """Rate at SHARPER times the sharpness that the scores (n, c) have."""
    return _fitted_rate(_beliefs(SHARPER * scores, labels), scores.shape[1])[0]


def _free_rate(scores: np.ndarray, labels: np.ndarray) -> float:
    """Rate at whatever sharpness makes the labels likeliest."""
    fits = [_fitted_rate(_beliefs(s * scores, labels), scores.shape[1]) for s in SHARPNESSES]
    return min(fits, key=lambda fit: fit[1])[0]


def _beliefs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return softmax(scores)[np.arange(len(labels)), labels]


def _fitted_rate(own: np.ndarray, classes: int) -> tuple[float, float]:
    """The rate under which beliefs (n,) in the given labels are likeliest, and the misfit."""
    others = (1 - own) / max(1, classes - 1)

    def misfit(rate: float) -> float:
        return -float(np.log((1 - rate) * own + rate * others + 1e-9).mean())

    found = minimize_scalar(misfit, bounds=(0.0, HIGHEST), method="bounded")
    return float(found.x), float(found.fun)  # pyright: ignore[reportAttributeAccessIssue]


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
