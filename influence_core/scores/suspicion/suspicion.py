"""The probability that a given label is wrong: one number from every reader that this run can trust.

1. Read. Each piece of evidence (evidence.py: readers that left the label out; and the model's own outputs) becomes log
   probabilities of classes, at the sharpness that fits the given labels best (the model's own outputs: validation
   labels, and never sharper than the outputs themselves).
2. Trust. Each gets a weight from what it remembers, gains and predicts of held-out labels (trust.py). On a model that
   has memorised its labels late layers and the outputs fade, without a setting for it.
3. Pool. Weighted mean of log probabilities (a log opinion pool), p(class | x). The order is that of the odds against
   the given label, z = log((1 - p_y) / p_y) + FREQUENT * log q_y: unlike a margin it also rises when no class fits.
   q_y: how often a wrong label of this sample would be y, if it were drawn from the other classes as often as each is
   given. Without it all of a small class that is hard to tell apart is accused, and errors that made one class large
   are believed. With two classes a wrong label is always the other one, and q_y = 1.
4. Calibrate. suspicion = sigmoid(a + s * STEEPNESS * z); a makes the mean equal to the estimated noise rate
   (noise_rate.py). s is the root of how much sharper the readers are than noise lets them seem, times HESITANT where
   class overlap would explain the noise as well: then doubt is spread over the hard samples, and none of them counts as
   wrong. The order is the same.
5. Share out. What suspicion takes from the given label goes to the others, in proportion to the pool made as steep as
   the odds against the given label were: k = s * STEEPNESS, and for t other than the given class

       p(t) = suspicion * p(t | x)^k / (sum of p(u | x)^k over the other classes u),    p(given) = 1 - suspicion

   These are the bars of a card: they add up to 1, the suggestion has the longest bar but for the given label, and above
   suspicion one half the others outweigh the given label together. The given label may still have the longest single
   bar: where two others share the doubt, no one label is likelier than it, and nothing else would be true. Over the
   wrong labels of 13 memorised models k was near the best of all exponents for their true classes (0.47 nats; 0.56 with
   1, 0.47 with 1.5, 0.49 with 2, 0.61 with 3), so it is no new constant.

Noise-rate estimation as in confident learning (arXiv 1911.00068), with out-of-fold probabilities of many views instead
of one model. STEEPNESS was measured over all cells of benchmarks/detection/run.py, never on one dataset.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from influence_core.scores.plain.outputs import softmax
from influence_core.scores.suspicion.evidence import VALIDATION_READER, Evidence
from influence_core.scores.suspicion.noise_rate import Noise, choose_reader, noise
from influence_core.scores.suspicion.trust import OUTPUTS_READER, Trust, trusted
from influence_core.scores.suspicion.witnesses import Witness, weightiest_view, witnesses

STEEPNESS = 1.7
FREQUENT = 0.5
"""Half-way between two kinds of noise: 0 is right where every other class is an equally likely wrong label, 1 where
classes are drawn as often as they are given. Mean AUROC against 0: over 43 trainings of run.py with more than two
classes 0.002 higher, never lower by more than 0.0006; over 20 of benchmarks/detection/unseen.py 0.005 and 0.0022."""
HESITANT = 0.5
"""When this value was chosen, on clean labels of 31 cells: at most 1.1 % flagged, at full steepness 2.8 %.
Today: docs/detection.md, "Clean labels and calibration"."""
FLOOR = 1e-4
"""Smallest probability a single reader may give: one overconfident vote must not outweigh all others."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Suspicion and suggestions for n training labels, with the evidence behind them."""

    suspicion: np.ndarray
    """(n,) in [0, 1], 1 = surely wrong."""
    suggested: np.ndarray
    """(n,) the most probable class other than the given one."""
    suggested_probability: np.ndarray
    """(n,) that this class is the right one."""
    beliefs: np.ndarray
    """(n, c) that each class is the right one, all evidence and the given label considered; rows add up to 1."""
    witnesses: list[Witness]
    """Who says what, beside the model itself."""
    view: str
    """The view that carries most of the weight, the model's own outputs aside."""
    parts: dict[str, np.ndarray]
    """By reader, each (n,) in [0, 1]: large = against the given label."""
    trust: list[Trust]
    """How far each piece of evidence was trusted, and why."""
    noise: Noise
    """Estimated share of wrong labels, and whether it is noise at all."""


def suspicion(
    evidence: Sequence[Evidence],
    labels: np.ndarray,
    held_out_labels: np.ndarray,
    *,
    anchor: int,
) -> Suspicion:
    """Combine evidence on n training samples with given labels (n,); m held-out labels, m may be 0.

    anchor: position of the reader that remembers no label, ideally the kernel reader of the inputs themselves.
    """
    read = [as_log_probabilities(e, labels, held_out_labels) for e in evidence]
    trust = trusted(read, labels, held_out_labels, anchor)
    rows = np.arange(len(labels))
    pool = pooled(read, trust)
    beliefs = softmax(pool)
    reader = choose_reader(read, trust, labels, anchor)
    compared = [reader, *(e for e in read if e.reader == VALIDATION_READER and e.layer == reader.layer)]
    noise_estimate = noise(compared, _pools(read, trust, reader.layer), labels, held_out_labels)
    doubt = STEEPNESS * (_odds_against(beliefs[rows, labels]) + FREQUENT * _log_drawn(beliefs, labels))
    slope = np.sqrt(noise_estimate.sharpness) * (HESITANT + (1 - HESITANT) * noise_estimate.support)
    level = _levelled(slope * doubt, noise_estimate.rate)
    suggested, shared = _shared_out(slope * STEEPNESS * pool, labels, level)
    unseen = [(e, t) for e, t in zip(read, trust, strict=True) if e.reader != OUTPUTS_READER]
    return Suspicion(
        level,
        suggested,
        shared[rows, suggested],
        shared,
        witnesses(read, trust, labels, suggested, slope * STEEPNESS),
        weightiest_view(*zip(*unseen, strict=True)),
        _parts(read, trust, labels),
        trust,
        noise_estimate,
    )


def _shared_out(pool: np.ndarray, labels: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The suggestions (n,), and beliefs (n, c): 1 - level for the given label, the level shared out by the pool."""
    rows, others = np.arange(len(labels)), pool.copy()
    others[rows, labels] = -1e300  # not infinity: with a single class no number would be left
    shares = softmax(others)
    suggested = shares.argmax(1)
    beliefs = level[:, None] * shares
    beliefs[rows, labels] = 1 - level
    return suggested, beliefs


def pooled(read: Sequence[Evidence], trust: Sequence[Trust], *, held_out: bool = False) -> np.ndarray:
    """Log probabilities (n, c) or (m, c) of several readers, weighted by their relative trust; not normalised."""
    total = max(sum(t.share for t in trust), 1e-300)
    values = [e.held_out if held_out else e.train for e in read]
    return np.sum([t.share / total * v for t, v in zip(trust, values, strict=True)], axis=0)


def _pools(read: Sequence[Evidence], trust: Sequence[Trust], layer: str) -> list[Evidence]:
    """Pools of the readers that training labels taught and that left out the own one: those of one layer, and all."""
    excluded = (OUTPUTS_READER, VALIDATION_READER)
    blind = [(e, t) for e, t in zip(read, trust, strict=True) if e.reader not in excluded]
    same = [(e, t) for e, t in blind if e.layer == layer]
    pairs = (zip(*subset, strict=True) for subset in (same, blind))
    return [Evidence("pool", layer, pooled(e, t), pooled(e, t, held_out=True)) for e, t in pairs]


def as_log_probabilities(e: Evidence, labels: np.ndarray, held_out_labels: np.ndarray) -> Evidence:
    """The same evidence as log probabilities, never below log(FLOOR)."""
    if e.reader == OUTPUTS_READER:
        fit = (e.held_out, held_out_labels) if len(held_out_labels) else (e.train, labels)
        sharpness = min(1.0, _sharpness(*fit))
    else:
        sharpness = 1.0 if e.reader == "neighbours" else _sharpness(e.train, labels)
    log = (np.log(softmax(sharpness * values) + FLOOR) for values in (e.train, e.held_out))
    return Evidence(e.reader, e.layer, *log)


def _sharpness(scores: np.ndarray, labels: np.ndarray) -> float:
    """The factor on scores (n, c) under whose softmax the labels are likeliest; between e^-3 and e^5."""
    rows = np.arange(len(labels))

    def misfit(logarithm: float) -> float:
        return -float(np.log(softmax(np.exp(logarithm) * scores)[rows, labels] + 1e-12).mean())

    result = minimize_scalar(misfit, bounds=(-3.0, 5.0), method="bounded", options={"xatol": 0.02})
    return float(np.exp(result.x))  # pyright: ignore[reportAttributeAccessIssue]


def _odds_against(probability: np.ndarray) -> np.ndarray:
    """Log odds (n,) against probabilities (n,)."""
    clipped = np.clip(probability, 1e-9, 1 - 1e-9)
    return np.log1p(-clipped) - np.log(clipped)


def _log_drawn(beliefs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Log probability (n,) of the given label if it were wrong and drawn from the others as often as each is given.

    If t is right, a wrong label is y with probability f_y / (1 - f_t), f being class frequencies; beliefs (n, c) weigh
    t. With a single class no label is wrong, and the result is 0.
    """
    if beliefs.shape[1] == 1:
        return np.zeros(len(labels))
    frequency = np.bincount(labels, minlength=beliefs.shape[1]) / len(labels)
    others = beliefs + 1e-12  # a belief of 1 must leave something for the others
    others[np.arange(len(labels)), labels] = 0.0
    return np.log(frequency[labels] * (others / np.maximum(1 - frequency, 1e-12)).sum(1) / others.sum(1))


def _levelled(doubt: np.ndarray, rate: float) -> np.ndarray:
    """sigmoid(doubt + a) with a such that the mean is the rate, which is at least 1e-4."""
    rate = max(rate, 1e-4)

    def gap(a: float) -> float:
        return float(_sigmoid(doubt + a).mean()) - rate

    reach = float(np.abs(doubt).max()) + 20.0
    return _sigmoid(doubt + float(brentq(gap, -reach, reach)))  # pyright: ignore[reportArgumentType]


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * values))


def _parts(read: Sequence[Evidence], trust: Sequence[Trust], labels: np.ndarray) -> dict[str, np.ndarray]:
    """One column a reader: the probability of another label by its views alone, weighted by trust."""
    rows, parts = np.arange(len(labels)), {}
    for reader in dict.fromkeys(e.reader for e in read):
        trusted_views = [(e, t) for e, t in zip(read, trust, strict=True) if e.reader == reader]
        parts[reader] = 1 - softmax(pooled(*zip(*trusted_views, strict=True)))[rows, labels]
    return parts
