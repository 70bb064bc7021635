"""How many training labels are wrong, held against the validation labels, which may be wrong themselves?

A reader agrees with fewer labels where more of them are wrong. If it is right with probability a, and a wrong label is
any other class, it agrees with a share (1 - r) a + r (1 - a) / (c - 1) of labels of which r are wrong. Held against
validation labels that are right, that gives a, and the training labels' share of agreement gives r, whatever the noise.

Validation labels are often as bad as the training labels: then nothing is missing, and nothing seems wrong. But errors
thrown at random among them are seen by the free fit (fits.py) of readers that training labels taught, and none of
whose errors they share. That share r' enters the same equations. Where both agreements differ by no more than chance,
the training labels are taken to be as wrong as the validation labels: r is drawn towards r' by 1 - e^2 / (r - r')^2, e
being the standard error of r (James and Stein 1961, the positive part). Measured: docs/detection.md, "Clean labels and
calibration".
Noise among validation labels that is not random goes unseen, and then the estimate is too low, as it is without.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from influence_core.scores.suspicion.evidence import Evidence
from influence_core.scores.suspicion.noise.fits import (
    CHANCE,
    HIGHEST,
    LEAST_KNOWN,
    SURE,
    free,
    knows,
    ramp,
)

BEYOND = 2.5
"""Standard errors between training and validation agreement from which the gap begins to count; one more: fully."""


@dataclass(frozen=True, slots=True)
class Told:
    """level: estimated share of wrong training labels; sure: from 0 to 1, how far it is beyond chance.

    weight: that of the level beside a fit that sees noise itself; 1 = it replaces the fit, 0.5 = their mean.
    """

    level: float
    sure: float
    weight: float


def held_out_level(
    asked: Sequence[Evidence], pools: Sequence[Evidence], labels: np.ndarray, held_out_labels: np.ndarray
) -> Told:
    """From readers whose agreement is compared, and pools that training labels taught; each (n, c) and (m, c)."""
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
