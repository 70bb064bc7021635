"""What the outputs of a model on labelled samples say against it, before anything is computed from them.

    probabilities   every output is at least 0 and every row sums to 1 within 1e-4: a softmax at the end, refused
    guessing        right on k of n samples, with P(X >= k) > 0.05 or P(X <= k) < 0.01 for X ~ Binomial(n, 1/c): said

Logits are read as log-odds everywhere, so log-softmax is exact and softmax is not. Up to 128 samples at even distances.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom
from torch import Tensor, nn
from torch.utils.data import Subset

from influence_core.engine import batches as loop
from influence_core.engine.watching.watch import scoring
from influence_core.errors import ModelError

LOOKED_AT, FEWEST, A_PASS = 128, 20, 32
ROUNDING = 1e-4
NOT_BETTER, WORSE = 0.05, 0.01
A_CLASS = 5
"""Samples a class, on average, from which another class order is looked for."""
GAIN = 0.3
"""Smallest gain in accuracy of another class order that is named."""
CAUSES = (
    "Likely causes: the classes stand in another order, other mean, std or size in training, or another architecture "
    "whose tensors have the same names, such as a timm network opened as torchvision's."
)


def doubts(model: nn.Module, samples: Any, classes: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return sentences on what is wrong with the model on these samples; empty when nothing is.

    `classes` are the names of the outputs; without them those of the samples, else their numbers.

    Raises:
        ModelError: the outputs are probabilities.
    """
    outputs, labels = seen(model, samples)
    if outputs is None or not readable(outputs, labels):
        return ()
    if len(outputs) > 1 and is_probabilities(outputs):
        raise ModelError(
            f"The model returns probabilities: the outputs of {len(outputs)} samples are at least 0 and sum to 1. "
            "Expected logits, as cross-entropy takes them. Leave the softmax at the end of the model out, or return "
            "the logarithm, which is exact: `return model(x).clamp_min(1e-30).log()`."
        )
    notes = []
    if len(outputs) >= FEWEST and outputs.min() >= 0 and outputs.max() <= 1:
        notes.append(
            f"All outputs of {len(outputs)} samples lie between 0 and 1, as after a sigmoid; they are read as logits. "
            "Leave the sigmoid at the end of the model out if there is one."
        )
    named = classes or getattr(samples, "classes", None) or range(outputs.shape[1])
    return (*notes, *guessing(outputs.argmax(1).numpy(), labels.numpy(), [str(name) for name in named]))


def seen(model: nn.Module, samples: Any) -> tuple[Tensor | None, Tensor]:
    """Outputs and labels of up to LOOKED_AT samples at even distances; None for outputs that are no tensor."""
    n = loop.count(samples)
    rows = [row * n // min(LOOKED_AT, n) for row in range(min(LOOKED_AT, n))]
    with scoring(model), torch.no_grad():
        parts = [
            (loop.outputs_of(model, batch), batch.labels.cpu().reshape(-1))
            for batch in loop.batches(Subset(samples, rows), A_PASS, like=model)
        ]
    whole = all(isinstance(outputs, Tensor) for outputs, _ in parts)
    outputs = torch.cat([outputs.cpu() for outputs, _ in parts]) if whole else None
    return outputs, torch.cat([labels for _, labels in parts])


def readable(outputs: Tensor, labels: Tensor) -> bool:
    """Whether there is one finite number per class, and one class number per sample."""
    if outputs.ndim != 2 or not outputs.is_floating_point() or labels.shape != outputs.shape[:1]:
        return False
    numbered = not labels.is_floating_point() and bool(((labels >= 0) & (labels < outputs.shape[1])).all())
    return numbered and outputs.shape[1] > 1 and bool(outputs.isfinite().all())


def is_probabilities(outputs: Tensor) -> bool:
    return bool((outputs >= 0).all() and ((outputs.double().sum(1) - 1).abs() < ROUNDING).all())


def guessing(predicted: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence when predictions are no better than chance, or worse, with a better order of the classes."""
    n, c, right = len(labels), len(classes), int((predicted == labels).sum())
    worse = binom.cdf(right, n, 1 / c) < WORSE
    if n < FEWEST or not (worse or binom.sf(right - 1, n, 1 / c) > NOT_BETTER):
        return ()
    return (
        f"The model is right on {right} of {n} samples, {'worse' if worse else 'not better'} than guessing among "
        f"{c} classes ({n / c:.0f} of {n}).{better_order(predicted, labels, classes)} {CAUSES}",
    )


def better_order(predicted: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> str:
    """Return a sentence with the order of the classes that would be right most often; empty when none stands out."""
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (predicted, labels), 1)
    _, meant = linear_sum_assignment(confusion, maximize=True)
    hits = int(confusion[np.arange(len(classes)), meant].sum())
    if len(labels) < A_CLASS * len(classes) or hits - (predicted == labels).sum() < GAIN * len(labels):
        return ""
    return f" With the classes in the order {', '.join(classes[int(index)] for index in meant)} it would be {hits}."
