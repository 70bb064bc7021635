"""Label noise of seven kinds, each planted by seed on true labels.

uniform             to any other class
confusable          to a class that a briefly trained network confuses with the true one
asymmetric          up to 40 % of every other class, always to one class it is confused with
instance-dependent  where that network is least sure, to the class it prefers there
group-dependent     one quarter of the samples (by brightness or value) carries nearly all the errors
near-duplicates     copies of other samples, slightly changed, carry wrong labels; half the pairs share theirs
out-of-class        pictures of no class, each given some label
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.detection.data import Data

KINDS = (
    "uniform",
    "confusable",
    "asymmetric",
    "instance-dependent",
    "group-dependent",
    "near-duplicates",
    "out-of-class",
)


@dataclass(frozen=True)
class Planted:
    """Training inputs (n, ...), given labels (n,) and which of them are wrong (n,) bool."""

    inputs: np.ndarray
    given: np.ndarray
    wrong: np.ndarray


def plant(data: Data, n: int, kind: str, rate: float, belief: np.ndarray, seed: int) -> Planted:
    """Plant noise of one kind on the first n samples; belief (n, c): class probabilities of an auxiliary network."""
    rng = np.random.default_rng(seed)
    inputs, truth = data.inputs[:n].copy(), data.labels[:n]
    given, chosen = truth.copy(), _chosen(kind, inputs, truth, rate, belief, rng)
    wrong = np.zeros(n, dtype=bool)
    wrong[chosen] = True
    if kind == "out-of-class":
        inputs[chosen] = _strangers(data, len(chosen), rng)
        given[chosen] = rng.integers(0, data.classes, len(chosen))
        return Planted(inputs, given, wrong)
    odds = _odds(kind, truth, belief, data.classes)
    for row in chosen:
        given[row] = rng.choice(data.classes, p=odds[row] / odds[row].sum())
    if kind == "near-duplicates":
        _twin(inputs, given, wrong, truth, chosen, rng)
    return Planted(inputs, given, wrong)


def _chosen(
    kind: str, inputs: np.ndarray, truth: np.ndarray, rate: float, belief: np.ndarray, rng
) -> np.ndarray:
    n, count = len(truth), int(rate * len(truth))
    weight = np.ones(n)
    if kind == "asymmetric":
        weight = (truth % 2 == 0).astype(float)
    elif kind == "instance-dependent":
        weight = (1 - belief[np.arange(n), truth] + 0.02) ** 1.0
    elif kind == "group-dependent":
        value = inputs.reshape(n, -1).mean(1)
        weight = np.where(value >= np.quantile(value, 0.75), 1.0, 0.04)
    count = min(count, int((0.4 if kind == "asymmetric" else 0.75) * (weight > 0.05).sum()))
    return rng.choice(n, count, replace=False, p=weight / weight.sum())


def _odds(kind: str, truth: np.ndarray, belief: np.ndarray, classes: int) -> np.ndarray:
    """Odds (n, c) of each wrong label; zero for the true one."""
    rows = np.arange(len(truth))
    confusion = np.stack(
        [belief[truth == c].mean(0) if (truth == c).any() else belief.mean(0) for c in range(classes)]
    )
    confusion[np.arange(classes), np.arange(classes)] = 0
    odds = np.ones((len(truth), classes))
    if kind == "confusable":
        odds = confusion[truth] + 1e-4
    elif kind == "asymmetric":
        odds = np.eye(classes)[_partners(confusion)][truth]
    elif kind == "instance-dependent":
        odds = belief + 1e-6
    odds = odds.copy()
    odds[rows, truth] = 0
    return odds


def _partners(confusion: np.ndarray) -> np.ndarray:
    """For each class the one it is most confused with, no class twice: one would drown in wrong labels otherwise."""
    partner, left = np.zeros(len(confusion), dtype=int), confusion - 3.0 * np.eye(len(confusion))
    for _ in range(len(confusion)):
        source, target = np.unravel_index(np.argmax(left), left.shape)
        partner[source] = target
        left[:, target] = np.minimum(left[:, target], -1)
        left[source] = -4
    return partner


def _twin(
    inputs: np.ndarray, given: np.ndarray, wrong: np.ndarray, truth: np.ndarray, chosen: np.ndarray, rng
) -> None:
    """Make each chosen sample a near-copy of another one of its true class; half of the originals share its error."""
    clean = np.flatnonzero(~wrong)
    for place, row in enumerate(chosen):
        same = clean[truth[clean] == truth[row]]
        if len(same) == 0:
            continue
        other = rng.choice(same)
        moved = inputs[other] + rng.normal(size=inputs[other].shape) * 0.03
        inputs[row] = np.clip(moved, 0, 1) if inputs.ndim == 4 else moved
        if place % 2:
            given[other], wrong[other] = given[row], True


def _strangers(data: Data, count: int, rng: np.random.Generator) -> np.ndarray:
    """The dataset's pictures of no class; without any, two samples superimposed and flipped."""
    if len(data.strangers):
        return data.strangers[rng.integers(0, len(data.strangers), count)]
    one, two = rng.integers(0, len(data.inputs), (2, count))
    mixed = (data.inputs[one] + data.inputs[two]) / 2
    return mixed[..., ::-1, :].swapaxes(-1, -2) if mixed.ndim == 4 else mixed[:, ::-1]
