"""Which share of the labels is wrong, and is it noise at all? Told by readers that left the label out; no truth needed.

How much, from the reader that cannot remember labels (fits.py): where it is noise, the likeliest rate; the mean of
all three was 0.06 too low for noise where the classes are close. Where it may be none, that mean, which the other two
keep low on labels that are only hard.

Whether it is noise. A reader also errs where classes overlap, and that is no noise. Overlap is explained by a blunter
softmax, whereas wrong labels contradict a reader also where it is sure: so the free fit is near 0 on clean labels (at
most 0.010 on 36 sets of them, hard ones among them), or explains them no better than 0 does. `support` runs from 0 to
1. Errors that training labels share, one class's name on another, look like overlap to whoever learnt from them, and do
not to the reader taught by validation labels, which is asked too and estimates the level where it alone sees noise.
Two more see noise where the fit sees none: agreement with validation labels (from_validation.py) and samples of no
class (out_of_class.py). What they say counts instead of the fit where that is not supported, and beside it where it is.

Without support anything up to the estimate may be wrong, or nothing: UNSUPPORTED of it counts, and suspicion.py spreads
that so thinly that hardly a sample is flagged.

A reader that predicts the given labels hardly better than chance knows nothing, neither of labels nor of noise: then
the rate is 0 and nothing is flagged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from influence_core.scores.suspicion.evidence import Evidence
from influence_core.scores.suspicion.noise.fits import Fit, free, knows, likeliest, ramp, room
from influence_core.scores.suspicion.noise.from_validation import Told, held_out_level
from influence_core.scores.suspicion.noise.out_of_class import strangers

UNSUPPORTED = 1 / 3
FEW, SOME = 0.02, 0.05
"""Excess of labels that nobody finds likely, from which samples of no class begin to count, and count fully."""


@dataclass(frozen=True, slots=True)
class Noise:
    """rate: estimated share of wrong labels, in [0, HIGHEST]. support in [0, 1]: 0 = overlap would explain it as well.

    possible: the share that would be wrong if all of it were noise; rate lies between a third of it and all.
    sharpness: how much sharper than the given labels let them seem the readers of the anchor's layer are, as a factor.
    """

    rate: float
    support: float
    possible: float
    sharpness: float = 1.0


def noise(
    asked: Sequence[Evidence], pools: Sequence[Evidence], labels: np.ndarray, held_out_labels: np.ndarray
) -> Noise:
    """From log probabilities, each (n, c) and (m, c): of the anchor first and others to compare; of pools.

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
    """The fit of whoever sees noise, and the scores (n, c) that tell how much: the anchor's, or that reader's."""
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
