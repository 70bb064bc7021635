"""How probable is it that the given label is wrong? A first honest estimate from evidence that left the label out.

1. Weigh. Each piece of evidence Z_s (a reader of a layer, see evidence.py) gets a weight w_s >= 0 such that
   softmax(sum_s w_s Z_s + b) predicts the held-out labels best. Held-out samples were not trained on, so layers that
   have memorised the training labels earn little: nobody has to say in which regime the model is.
2. Rank. A sample's margin is the pooled score of its given label minus the best other one.
3. Calibrate. The labels are taken as noisy, P(given = i | x) = sum_j P(j | x) T_ji, with one sharpness, one bias a
   class, and a noise matrix T fitted by maximum likelihood on the training labels (forward correction, Patrini et al.
   2017, arXiv 1609.03683). The sharpness is at least that of step 1: training labels may look less predictable than
   held-out ones because they are wrong, and the noise, not the evidence, must pay for it (calibration error
   0.000 to 0.058 in five cells of benchmarks/detection.py; 0.104 on a memorised Fashion model). The posterior
   1 - P(true = given | x, given) is fitted by a logistic curve in the margin:
       suspicion = sigmoid(a - b * margin),  b > 0
   so the order is that of the margin, and the level is that of the noise model.

The model's own output on its own training samples is deliberately not among the evidence. Limits: on a model that has
memorised its labels the order stays good, but the level is too low, because inner layers also remember.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from influence_core.scores.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What the evidence says of n training labels."""

    suspicion: np.ndarray
    """(n,) in [0, 1], 1 = surely wrong."""
    suggested: np.ndarray
    """(n,) the most probable class other than the given one."""
    suggested_probability: np.ndarray
    """(n,) that this class is the right one."""
    parts: dict[str, np.ndarray]
    """By reader, each (n,) in [0, 1]: large = against the given label."""
    weights: dict[str, float]
    """{"reader on layer": share}, how far each piece of evidence was trusted; shares of the pooled spread."""
    noise_rate: float
    """Estimated share of wrong labels."""


def suspicion(
    evidence: Sequence[Evidence], labels: np.ndarray, held_out_labels: np.ndarray, classes: int
) -> Suspicion:
    """Combine evidence of n training samples with given labels (n,), weighed on m held-out labels (m,)."""
    weights, _ = _pool([e.held_out for e in evidence], held_out_labels, classes)
    pooled = _weighted([e.train for e in evidence], weights)
    posterior, noise_rate = _noisy_posterior(pooled, labels, classes)
    rows = np.arange(len(labels))
    margin = _margin(pooled, labels)
    level = _logistic_in_margin(margin, 1 - posterior[rows, labels])
    others = posterior.copy()
    others[rows, labels] = 0.0
    suggested = others.argmax(1)
    share = others[rows, suggested] / np.maximum(others.sum(1), 1e-300)
    return Suspicion(
        suspicion=level,
        suggested=suggested,
        suggested_probability=level * share,
        parts=_parts(evidence, weights, labels),
        weights=_shares(evidence, weights),
        noise_rate=noise_rate,
    )


def _parts(evidence: Sequence[Evidence], weights: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """One column a reader: the probability of another label that this reader alone would state.

    Each is brought to its own best sharpness on the given labels; it knows nothing of noise, so it is a part of
    the reasoning, not a second estimate.
    """
    rows = np.arange(len(labels))
    parts = {}
    for reader in dict.fromkeys(e.reader for e in evidence):
        chosen = [i for i, e in enumerate(evidence) if e.reader == reader]
        own = weights[chosen]
        # a reader that the pool ignores still has something to show: its layers then count alike
        own = own if own.sum() > 1e-3 else np.ones(len(chosen))
        scores = _weighted([evidence[i].train for i in chosen], own)
        sharpness, bias = _pool([scores], labels, scores.shape[1])
        parts[reader] = 1 - _softmax(sharpness[0] * scores + bias)[rows, labels]
    return parts


def _shares(evidence: Sequence[Evidence], weights: np.ndarray) -> dict[str, float]:
    spread = np.array([w * e.train.std() for w, e in zip(weights, evidence, strict=True)])
    shares = spread / max(spread.sum(), 1e-12)
    return {f"{e.reader} on {e.layer}": round(float(s), 4) for e, s in zip(evidence, shares, strict=True)}


def _margin(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    return scores[rows, labels] - others.max(1)


def _weighted(scores: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    return np.tensordot(weights, np.stack(scores), axes=1)


def _softmax(scores: np.ndarray) -> np.ndarray:
    return torch.softmax(torch.from_numpy(scores), 1).numpy()


def _pool(scores: Sequence[np.ndarray], labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (s,) >= 0 and class biases (c,) of the log-opinion pool that predicts `labels` best.

    A weak pull to equal weights (one sample's worth) decides only when there are few held-out samples.
    """
    stacked, target = torch.from_numpy(np.stack(scores)).double(), torch.from_numpy(labels)
    raw = torch.zeros(len(scores), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)

    def objective() -> Tensor:
        pooled = (functional.softplus(raw)[:, None, None] * stacked).sum(0) + bias
        pull = (raw.square().sum() + bias.square().sum()) / (100 * len(target))
        return functional.cross_entropy(pooled, target) + pull

    _minimise(objective, [raw, bias])
    return functional.softplus(raw).detach().numpy(), bias.detach().numpy()


def _noisy_posterior(pooled: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, float]:
    """P(true class | x, given label) as (n, c), and the estimated share of wrong labels.

    Rates of noise have a weak Beta(3, 9) prior, targets of noise a weak pull to uniform.
    """
    scores, given, n = torch.from_numpy(pooled), torch.from_numpy(labels), len(labels)
    sharpness = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    rate = torch.full((classes,), -2.5, dtype=torch.float64, requires_grad=True)
    where = torch.zeros(classes, classes, dtype=torch.float64, requires_grad=True)
    itself = torch.eye(classes, dtype=torch.bool)

    def joint() -> tuple[Tensor, Tensor]:
        clean = torch.softmax(torch.exp(functional.softplus(sharpness)) * scores + bias, 1)
        wrong = torch.sigmoid(rate)
        target = torch.softmax(where.masked_fill(itself, -1e9), 1)
        noise = torch.diag(1 - wrong) + wrong[:, None] * target
        return clean * noise[:, given].T, wrong

    def objective() -> Tensor:
        both, wrong = joint()
        prior = (2 * wrong.log() + 8 * (1 - wrong).log()).sum() - 0.1 * where.square().sum()
        return -both.sum(1).clamp_min(1e-12).log().mean() - prior / n + 1e-3 * bias.square().mean()

    _minimise(objective, [sharpness, bias, rate, where])
    with torch.no_grad():
        both, _ = joint()
        posterior = (both / both.sum(1, keepdim=True).clamp_min(1e-300)).numpy()
    return posterior, float(1 - posterior[np.arange(n), labels].mean())


def _logistic_in_margin(margin: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The logistic curve in the margin, falling, that fits soft labels `level` (n,) in [0, 1] best."""
    scale = margin.std() + 1e-12
    x, target = torch.from_numpy(margin / scale), torch.from_numpy(level)
    offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
    steep = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def curve() -> Tensor:
        return offset - torch.exp(steep) * x

    def objective() -> Tensor:
        misfit = functional.binary_cross_entropy_with_logits(curve(), target)
        return misfit + 1e-4 * (offset.square() + steep.square())

    _minimise(objective, [offset, steep])
    return torch.sigmoid(curve()).detach().numpy()


def _minimise(objective, parameters: list[Tensor]) -> None:
    """Deterministic L-BFGS over a handful of numbers, on all samples at once."""
    optimiser = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = objective()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(closure)
