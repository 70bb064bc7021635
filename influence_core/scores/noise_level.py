"""Which share of the labels is wrong? Estimated from the reader that cannot remember labels; no true label is needed.

1. By maximum likelihood on the training labels: P(given = y | x) = (1 - r) p_y(x) + r (1 - p_y(x)) / (c - 1), p being
   the reader's softmax, SHARPER times as sharp as fits the given labels best. Noise blunts a fit; how much is what the
   factor assumes (2: measured over the cells of benchmarks/detection.py, errors up to 0.1 in r).
2. With validation labels: 1 - (agreement with given labels) / (agreement with validation labels). Exact for clean
   validation labels; too low when they are as noisy as the training labels.
The larger of the two counts. A reader that predicts the given labels hardly better than chance knows nothing,
neither of labels nor of noise: then nothing can be said, the rate is 0 and nothing is flagged.
"""

import numpy as np
from scipy.optimize import minimize_scalar

SHARPER = 2.0
HIGHEST = 0.7
LEAST_KNOWN = 0.1
"""Share of the way from chance to perfect that a reader must go before it is asked."""


def noise_rate(
    scores: np.ndarray, labels: np.ndarray, held_out: np.ndarray, held_out_labels: np.ndarray
) -> float:
    """Share of wrong labels in [0, HIGHEST], from one reader's log probabilities (n, c) and (m, c); m may be 0."""
    ours = float((scores.argmax(1) == labels).mean())
    if not _knows(ours, labels):
        return 0.0
    found = _likeliest(scores, labels)
    if len(held_out_labels):
        agrees = float((held_out.argmax(1) == held_out_labels).mean())
        if _knows(agrees, held_out_labels):
            found = max(found, 1 - ours / agrees)
    return float(np.clip(found, 0.0, HIGHEST))


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
