"""The share of wrong labels, and whether it is noise at all, by readers that left the label out; no truth is needed.

How much, from the reader that cannot remember labels (fits.py): where it is noise, the likeliest rate; the mean of
all three was 0.06 too low for noise where the classes are close. Where it may be none, that mean, which the other two
keep low on labels that are only hard.

Whether it is noise. A reader also errs where classes overlap, and that is no noise. Overlap is explained by a blunter
softmax, whereas wrong labels contradict a reader also where it is sure: so the free fit is near 0 on clean labels (at
most 0.010 on 36 sets of them, hard ones among them), or explains them no better than 0 does. `support` runs from 0 to
1. Errors that training labels share, one class's name on another, look like overlap to whoever learnt from them, and do
not to the reader taught by validation labels, which is asked too and estimates the level where it alone sees noise.
Two more see noise where the fit sees none: agreement with validation labels (held_out_level) and samples of no class
(strangers). What they say counts instead of the fit where that is not supported, and beside it where it is.

Without support anything up to the estimate may be wrong, or nothing: UNSUPPORTED of it counts, and suspicion.py spreads
that so thinly that hardly a sample is flagged.

A reader that predicts the given labels hardly better than chance knows nothing, neither of labels nor of noise: then
another one is asked (`telling_reader`), and when none knows anything, the rate is 0 and nothing is flagged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from influence_core.scores.suspicion.evidence import VALIDATION_READER, Evidence
from influence_core.scores.suspicion.noise.fits import (
    CHANCE,
    HIGHEST,
    LEAST_KNOWN,
    SURE,
    Fit,
    free,
    knows,
    likeliest,
    ramp,
    room,
)
from influence_core.scores.suspicion.trust import OUTPUTS_READER, Trust

UNSUPPORTED = 1 / 3
FEW, SOME = 0.02, 0.05
"""Excess of labels that nobody finds likely, from which samples of no class begin to count, and count fully."""
BEYOND = 2.5
"""Standard errors between training and validation agreement from which the gap begins to count; one more: fully."""
CALMER = 4.0
FEWEST_CLASSES = 5


@dataclass(frozen=True, slots=True)
class Told:
    """level: estimated share of wrong training labels; sure: from 0 to 1, how far it is beyond chance.

    weight: that of the level beside a fit that sees noise itself; 1 = it replaces the fit, 0.5 = their mean.
    """

    level: float
    sure: float
    weight: float


@dataclass(frozen=True, slots=True)
class Noise:
    """rate: estimated share of wrong labels, in [0, HIGHEST]. support in [0, 1]: 0 = overlap would explain it as well.

    possible: the share that would be wrong if all of it were noise; rate lies between a third of it and all.
    sharpness: how much sharper than the given labels let them seem the readers of the asked layer are, as a factor.
    """

    rate: float
    support: float
    possible: float
    sharpness: float = 1.0


def noise(
    asked: Sequence[Evidence], pools: Sequence[Evidence], labels: np.ndarray, held_out_labels: np.ndarray
) -> Noise:
    """From log probabilities, each (n, c) and (m, c): of who is asked first, then others to compare; of pools.

    None of them may know the labels (n,) it speaks of; pools must not know the m held-out labels either. m may be 0.
    """
    if not knows(asked[0].train.argmax(1), labels):
        return Noise(0.0, 0.0, 0.0)
    fits = [free(pool.train, labels) for pool in pools]
    fit, scores = _telling(fits, asked, labels)
    support, most = fit.support, likeliest(scores, labels)
    possible = support * most + (1 - support) * (most + room(scores, labels) + fit.rate) / 3
    for told in _others(asked, pools, labels, held_out_labels):
        possible += (1 - support * (1 - told.weight)) * told.sure * (told.level - possible)
        support = max(support, told.sure)
    return Noise(possible * (UNSUPPORTED + (1 - UNSUPPORTED) * support), support, possible, fits[0].sharpness)


def _telling(fits: Sequence[Fit], asked: Sequence[Evidence], labels: np.ndarray) -> tuple[Fit, np.ndarray]:
    """The fit of whoever sees noise, and the scores (n, c) that tell how much: the first's, or that reader's."""
    fit = max(fits, key=lambda f: (f.support, f.rate))
    others = [(free(e.train, labels), e.train) for e in asked[1:]]
    return max([(fit, asked[0].train), *others], key=lambda found: found[0].support)


def _others(
    asked: Sequence[Evidence], pools: Sequence[Evidence], labels: np.ndarray, held_out_labels: np.ndarray
) -> Iterator[Told]:
    if len(held_out_labels):
        yield held_out_level(asked, pools, labels, held_out_labels)
    share, excess = strangers(pools[0].train, labels)
    yield Told(share, ramp(excess, FEW, SOME), 0.5)


def telling_reader(
    evidence: Sequence[Evidence], trust: Sequence[Trust], labels: np.ndarray, anchor: int
) -> Evidence:
    """The anchor; where it is blind, the reader that predicts most of the labels it never saw.

    With validation labels those: one that memorised given labels gains nothing there, and errs to too low a rate. Of
    bright against dark pictures the inputs' own reader sees nothing, as it divides by contrast: docs/detection.md,
    "Tried and left out".
    """
    if knows(evidence[anchor].train.argmax(1), labels):
        return evidence[anchor]
    taught = (place for place, t in enumerate(trust) if t.reader not in (OUTPUTS_READER, VALIDATION_READER))
    return evidence[max((np.nan_to_num(trust[p].held_out, nan=trust[p].agrees), p) for p in taught)[1]]


def held_out_level(
    asked: Sequence[Evidence], pools: Sequence[Evidence], labels: np.ndarray, held_out_labels: np.ndarray
) -> Told:
    """From readers whose agreement is compared, and pools that training labels taught; each (n, c) and (m, c).

    A reader agrees with fewer labels where more of them are wrong. If it is right with probability a, and a wrong
    label is any other class, it agrees with a share (1 - r) a + r (1 - a) / (c - 1) of labels of which r are wrong.
    Held against validation labels that are right, that gives a, and the training labels' share of agreement gives
    r, whatever the noise. Validation labels are often as bad as the training labels: then nothing is missing, and
    nothing seems wrong. But errors thrown at random among them are seen by the free fit of readers that training
    labels taught, and none of whose errors they share. That share r' enters the same equations. Where both
    agreements differ by no more than chance, the training labels are taken to be as wrong as the validation labels:
    r is drawn towards r' by 1 - e^2 / (r - r')^2, e being the standard error of r (James and Stein 1961, the
    positive part). Noise among validation labels that is not random goes unseen, and then the estimate is too low,
    as it is without. Measured: docs/detection.md, "Clean labels and calibration".
    """
    fit = max((free(pool.held_out, held_out_labels) for pool in pools), key=lambda f: (f.support, f.rate))
    among_them = fit.rate * fit.support
    found = [_compared(e, labels, held_out_labels, among_them) for e in asked]
    beyond, level = max(found)
    # r' itself is known from few labels: then two doubtful estimates are better than one
    return Told(level, max(beyond, fit.support * ramp(level, CHANCE, SURE)), 0.5 if among_them else 1.0)


def _compared(
    e: Evidence, labels: np.ndarray, held_out_labels: np.ndarray, among_them: float
) -> tuple[float, float]:
    """How far one reader's gap in agreement is beyond chance, and the share of wrong training labels it speaks for."""
    guess = e.held_out.argmax(1)
    # asked half as much as elsewhere: who knows little shows little of a gap, and its error tells
    if not knows(guess, held_out_labels, LEAST_KNOWN / 2):
        return 0.0, 0.0
    hits = e.train.argmax(1) == labels, guess == held_out_labels
    ours, theirs = (float(h.mean()) for h in hits)
    both = np.concatenate(hits).mean()
    error = np.sqrt(both * (1 - both) * (1 / len(labels) + 1 / len(guess))) + 1e-9
    stray = 1 / max(1, e.train.shape[1] - 1)
    kept = max(1 - among_them * (1 + stray), 0.05)
    right = min(1.0, (theirs - among_them * stray) / kept)
    scale = max(right - (1 - right) * stray, 0.05)
    more = (right - ours) / scale - among_them
    more *= max(0.0, 1 - (error / scale / kept) ** 2 / max(more**2, 1e-12))
    return ramp((theirs - ours) / error, BEYOND, BEYOND + 1), float(np.clip(among_them + more, 0, HIGHEST))


def strangers(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Share of samples whose label is thrown at random, from scores (n, c), and its excess where little is known.

    A picture of no class looks like overlap to every reader: it finds no class likely, and the label says nothing
    else. But where classes overlap, two or three of them do, and the given label is one of those. So the labels are
    counted that lie in the lower half of the reader's order of classes: two such labels for one among the upper
    half mean that nothing is known. As a share of all samples, times (c - 1) / (number of those classes), it is
    that of labels thrown at random. A reader that knows little has such labels too, but everywhere. Samples of no
    class lie where it is least sure: the share counts as far as it exceeds CALMER times the one among the surer
    half of the samples. With fewer than FEWEST_CLASSES overlap reaches the lower half, and nothing is said. Over
    the cells of benchmarks/detection.py the share met 0.10 to 0.30 planted strangers within 0.04; its excess was at
    most 0.01 on 24 clean sets.
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
