"""Plain signals from the model's outputs alone: loss, confidence, margin and EL2N.

They are strong for finding wrong labels in a model that has not memorised them, and belong beside every gradient score.
Sources: margin as in Pleiss et al. 2020 (arXiv 2001.10528), here of one checkpoint and of probabilities; EL2N of Paul
et al. 2021 (arXiv 2107.07075), |softmax(z) - onehot(y)|_2 with y the GIVEN label.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Baselines:
    """Plain signals of n samples, each (n,). probabilities (n, c) are the model's softmax outputs.

    predicted: the most probable class. confidence: its probability. margin: probability of the given label minus the
    largest other one, in [-1, 1], negative = the model prefers another label. el2n: in [0, sqrt 2], large = unusual.
    """

    probabilities: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    margin: np.ndarray
    el2n: np.ndarray


def baselines(logits: np.ndarray, labels: np.ndarray) -> Baselines:
    """Plain signals from logits (n, c) and given labels (n,)."""
    probabilities = softmax(logits)
    rows = np.arange(len(labels))
    given = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1.0
    error = probabilities.copy()
    error[rows, labels] -= 1.0
    return Baselines(
        probabilities,
        predicted=probabilities.argmax(1),
        confidence=probabilities.max(1),
        margin=given - others.max(1),
        el2n=np.linalg.norm(error, axis=1),
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Rows of probabilities, computed in float64 and stable for large logits."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(1, keepdims=True)
    exponential = np.exp(shifted)
    return exponential / exponential.sum(1, keepdims=True)
