"""Estimated share of wrong labels, and whether it is noise at all, without any truth.

All estimates come from readers that left the label out. Three of them read one reader's beliefs; none is exact:

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

How much: estimated from the reader that cannot remember labels. Where it is noise, the likeliest rate; the
mean of all three estimates was 0.06 too low for noise where the classes are close. Where it may be no noise, that mean,
which the other two keep low on labels that are only hard.

Whether it is noise: a reader also errs where classes overlap, and that is no noise. A blunter softmax explains overlap,
whereas wrong labels contradict a reader also where it is sure. So the free fit is near 0 on clean labels (at most 0.010
on 36 sets of them, hard ones among them), or explains them no better than 0 does. `support` runs from 0 to 1. Errors
that training labels share, one class's name on another, look like overlap to a reader that learnt from them, but not to
the reader taught by validation labels. That one is fitted too, and gives the level where it alone sees noise. Two more
estimates see noise where the fit sees none: agreement with validation labels (held_out_level) and samples of no class
(strangers). They replace the fit where it has no support, and count beside it where it has.

Without support anything up to the estimate may be wrong, or nothing: UNSUPPORTED of it counts, and suspicion.py spreads
that so thinly that hardly a sample is flagged.

A reader that predicts the given labels hardly better than chance knows nothing, neither of labels nor of noise: then
another reader is used (`choose_reader`). Where none beats chance, the rate is 0 and nothing is flagged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from influence_core.scores.plain.outputs import softmax
from influence_core.scores.suspicion.evidence import VALIDATION_READER, Evidence
from influence_core.scores.suspicion.trust import OUTPUTS_READER, Trust

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
UNSUPPORTED = 1 / 3
FEW, SOME = 0.02, 0.05
"""Excess of labels that no reader finds likely from which samples of no class begin to count, and count fully."""
BEYOND = 2.5
"""Standard errors between training and validation agreement from which the gap begins to count; one more: fully."""
CALMER = 4.0
FEWEST_CLASSES = 5


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


@dataclass(frozen=True, slots=True)
class LevelEstimate:
    """level: estimated share of wrong training labels; sure: in [0, 1], how far it is beyond chance.

    weight: of the level against a fit that sees noise itself; 1 = it replaces the fit, 0.5 = their mean.
    """

    level: float
    sure: float
    weight: float


@dataclass(frozen=True, slots=True)
class Noise:
    """rate: estimated share of wrong labels, in [0, HIGHEST]. support in [0, 1]: 0 = overlap would explain it as well.

    possible: the share that would be wrong if all of it were noise; rate lies between a third of it and all of it.
    sharpness: how much sharper the readers of the chosen layer are than the given labels suggest, as a factor.
    """

    rate: float
    support: float
    possible: float
    sharpness: float = 1.0


def noise(
    readers: Sequence[Evidence], pools: Sequence[Evidence], labels: np.ndarray, held_out_labels: np.ndarray
) -> Noise:
    """The noise estimate from log probabilities, each (n, c) and (m, c).

    None of the readers may know the labels (n,) it is compared with; pools must not know the m held-out labels either.

    Args:
        readers: the main one first, then others to compare.
        pools: pooled readers that training labels taught.
        labels, held_out_labels: (n,) and (m,); m may be 0.
    """
    if not beats_chance(readers[0].train.argmax(1), labels):
        return Noise(0.0, 0.0, 0.0)
    fits = [fit_rate_and_sharpness(pool.train, labels) for pool in pools]
    fit, scores = _best_supported(fits, readers, labels)
    support, likeliest_rate = fit.support, fit_rate(scores, labels)
    possible = (
        support * likeliest_rate
        + (1 - support) * (likeliest_rate + rate_bound(scores, labels) + fit.rate) / 3
    )
    for estimate in _level_estimates(readers, pools, labels, held_out_labels):
        possible += (1 - support * (1 - estimate.weight)) * estimate.sure * (estimate.level - possible)
        support = max(support, estimate.sure)
    return Noise(possible * (UNSUPPORTED + (1 - UNSUPPORTED) * support), support, possible, fits[0].sharpness)


def _best_supported(
    fits: Sequence[Fit], readers: Sequence[Evidence], labels: np.ndarray
) -> tuple[Fit, np.ndarray]:
    """The fit of the reader that sees noise most clearly, and the scores (n, c) to fit the rate to."""
    fit = max(fits, key=lambda f: (f.support, f.rate))
    others = [(fit_rate_and_sharpness(e.train, labels), e.train) for e in readers[1:]]
    return max([(fit, readers[0].train), *others], key=lambda pair: pair[0].support)


def _level_estimates(
    readers: Sequence[Evidence], pools: Sequence[Evidence], labels: np.ndarray, held_out_labels: np.ndarray
) -> Iterator[LevelEstimate]:
    if len(held_out_labels):
        yield held_out_level(readers, pools, labels, held_out_labels)
    share, excess = strangers(pools[0].train, labels)
    yield LevelEstimate(share, ramp(excess, FEW, SOME), 0.5)


def choose_reader(
    evidence: Sequence[Evidence], trust: Sequence[Trust], labels: np.ndarray, anchor: int
) -> Evidence:
    """The anchor; where it is blind, the reader that predicts most of the labels it never saw.

    With validation labels the prediction of those counts: a reader that memorised given labels gains nothing there, and
    errs to too low a rate. Of bright against dark pictures the inputs' own reader sees nothing, as it divides by
    contrast: docs/detection.md, "Tried and left out".
    """
    if beats_chance(evidence[anchor].train.argmax(1), labels):
        return evidence[anchor]
    taught = (place for place, t in enumerate(trust) if t.reader not in (OUTPUTS_READER, VALIDATION_READER))
    return evidence[max((np.nan_to_num(trust[p].held_out, nan=trust[p].agrees), p) for p in taught)[1]]


def held_out_level(
    readers: Sequence[Evidence], pools: Sequence[Evidence], labels: np.ndarray, held_out_labels: np.ndarray
) -> LevelEstimate:
    """Level from the gap between agreement with training labels and agreement with validation labels.

    A reader agrees with fewer labels where more of them are wrong. If it is right with probability a, and a wrong label
    is any other class, it agrees with a share (1 - r) a + r (1 - a) / (c - 1) of labels of which r are wrong.
    Validation labels that are right give a, and the training labels' share of agreement then gives r, whatever the
    noise.

    Validation labels are often as bad as the training labels: then no agreement is missing, and nothing seems wrong.
    But errors thrown at random among them show in the free fit of readers that training labels taught and that share
    none of these errors. That share r' enters the same equations. Where both agreements differ by no more than chance,
    the training labels are taken to be as wrong as the validation labels: r is drawn towards r' by
    1 - e^2 / (r - r')^2, e being the standard error of r (James and Stein 1961, the positive part). Noise among
    validation labels that is not random goes unseen; the estimate is then too low, as it is without them. Measured:
    docs/detection.md, "Clean labels and calibration".

    Args:
        readers: those whose agreement is compared, each (n, c) and (m, c).
        pools: readers that training labels taught.
    """
    fit = max(
        (fit_rate_and_sharpness(pool.held_out, held_out_labels) for pool in pools),
        key=lambda f: (f.support, f.rate),
    )
    held_out_rate = fit.rate * fit.support
    beyond, level = max(_compared(e, labels, held_out_labels, held_out_rate) for e in readers)
    # r' itself comes from few labels: then the mean of two doubtful estimates is better than one
    return LevelEstimate(
        level, max(beyond, fit.support * ramp(level, CHANCE, SURE)), 0.5 if held_out_rate else 1.0
    )


def _compared(
    e: Evidence, labels: np.ndarray, held_out_labels: np.ndarray, held_out_rate: float
) -> tuple[float, float]:
    """How far one reader's gap in agreement is beyond chance, and the share of wrong training labels it implies."""
    guess = e.held_out.argmax(1)
    # half of the usual demand: a reader that knows little shows a small gap, and the standard error covers it
    if not beats_chance(guess, held_out_labels, LEAST_KNOWN / 2):
        return 0.0, 0.0
    hits = e.train.argmax(1) == labels, guess == held_out_labels
    ours, theirs = (float(h.mean()) for h in hits)
    both = np.concatenate(hits).mean()
    error = np.sqrt(both * (1 - both) * (1 / len(labels) + 1 / len(guess))) + 1e-9
    stray = 1 / max(1, e.train.shape[1] - 1)
    remaining = max(1 - held_out_rate * (1 + stray), 0.05)
    right = min(1.0, (theirs - held_out_rate * stray) / remaining)
    scale = max(right - (1 - right) * stray, 0.05)
    excess = (right - ours) / scale - held_out_rate
    excess *= max(0.0, 1 - (error / scale / remaining) ** 2 / max(excess**2, 1e-12))
    return ramp((theirs - ours) / error, BEYOND, BEYOND + 1), float(
        np.clip(held_out_rate + excess, 0, HIGHEST)
    )


def strangers(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Share of samples whose label is thrown at random, from scores (n, c), and its excess where readers are unsure.

    A picture of no class looks like overlap to every reader: no class is likely, nor is the label. But where classes
    overlap, two or three of them are likely, and the given label is one of those. So the labels in the lower half of
    the reader's order of classes are counted: two such labels for one in the upper half mean that nothing is known. As
    a share of all samples, times (c - 1) / (number of those classes), this is the share of labels thrown at random.

    A reader that knows little has such labels too, but everywhere. Samples of no class lie where it is least sure: the
    share counts as far as it exceeds CALMER times the one among the surer half of the samples. With fewer than
    FEWEST_CLASSES overlap reaches the lower half, and both numbers are 0.

    Over the cells of benchmarks/detection/run.py the share met 0.10 to 0.30 planted strangers within 0.04; its excess
    was at most 0.01 on 24 clean sets.
    """
    n, classes = scores.shape
    if classes < FEWEST_CLASSES:
        return 0.0, 0.0
    better = (scores > scores[np.arange(n), labels][:, None]).sum(1)
    unlikely = better > (classes - 1) / 2
    factor = (classes - 1) / (np.arange(classes) > (classes - 1) / 2).sum()
    surest = np.argsort(scores.max(1) - np.logaddexp.reduce(scores, axis=1))[n - n // 2 :]
    calm = (unlikely[surest].sum() + 1) / max(1, len(surest))
    share = factor * float(unlikely.mean())
    return float(share), float(share - factor * CALMER * calm)
