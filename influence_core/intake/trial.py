"""Trial of a model on a dataset: its accuracy, and other readings of the files that would raise it.

    at chance: the 95 % Wilson interval of the accuracy reaches down to the share of the largest class, or below 1.5 / c
    order:     the assignment of outputs to classes with the most hits (Hungarian method on the confusion matrix)

An accuracy of 30 % is above chance and may still come from a wrong scale, so the alternatives are always tried. They
are measured on the same samples, so the best of several looks a little too good: it is a hint to check.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from influence_core.data import Dataset, Samples
from influence_core.inputs.pair import open_pair
from influence_core.judging.intervals import share
from influence_core.models import OpenedModel, Preprocessing
from influence_core.system.report import Report
from influence_core.training.train import predict

SAMPLES, FEWER = 500, 150
"""Validation samples of the trial, and of each other preprocessing: fewer, since several of them are tried."""
PATIENCE = 20.0
"""Seconds after which no further preprocessing is tried: the user waits."""
BETTER = 0.1
"""Smallest gain in accuracy of an alternative that is reported."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another reading of the same files: the change in words and as options, its accuracy and its gain.

    Accuracy and gain are measured on the same samples: all of the trial for class orders, FEWER for preprocessing.
    """

    words: str
    accuracy: float
    gain: float
    classes: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None


def trial(
    model_path: Path, dataset_path: Path, *, report: Report | None = None, **options: Any
) -> dict[str, Any]:
    """Open model and dataset as an analysis would, and measure accuracy on up to SAMPLES validation samples.

    `report` and `options`, such as skip_unreadable and label, are for open_dataset.

    Returns:
        Plain JSON: `accuracy` with `low` and `high`, `samples`, `chance` (the share of the largest class), `at_chance`,
        `alternatives` (best first).

    Raises:
        InfluenceError: what an analysis would refuse, in the same words.
    """
    model, dataset = open_pair(model_path, dataset_path, dataset_options={"on_progress": report, **options})
    held_out = evenly_spaced(dataset.val, SAMPLES)
    probabilities = predict(model, held_out).numpy()
    right = probabilities.argmax(1) == held_out.labels
    accuracy = share(right)
    largest = float(np.bincount(held_out.labels).max() / len(held_out))
    better = sorted(
        alternatives(model, dataset, held_out, probabilities), key=lambda alternative: -alternative.gain
    )
    return {
        "accuracy": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "samples": len(held_out),
        "chance": largest,
        "at_chance": bool(accuracy.low <= max(largest, 1.5 / len(model.classes))),
        "alternatives": [asdict(alternative) for alternative in better if alternative.gain > BETTER][:3],
    }


def evenly_spaced(samples: Samples, count: int) -> Samples:
    """Up to `count` samples at even distances: the split may be sorted by class."""
    return samples.select(np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int)))


def alternatives(
    model: OpenedModel, dataset: Dataset, held_out: Samples, probabilities: np.ndarray
) -> Iterator[Alternative]:
    """Every other reading that a model.json can describe: the class order, then preprocessings."""
    yield from orders(model.classes, held_out.labels, probabilities.argmax(1))
    few = evenly_spaced(held_out, FEWER)
    now = float((predict(model, few).numpy().argmax(1) == few.labels).mean())
    if now >= 1 - BETTER:  # no alternative can gain enough to be reported
        return
    began = monotonic()
    for words, other in preprocessings(model.preprocessing, dataset.train):
        if monotonic() - began > PATIENCE:
            return
        changed = OpenedModel(
            model.network, classes=model.classes, preprocessing=other, architecture=model.architecture
        ).eval()
        try:
            again = predict(changed, few).numpy()
        except (RuntimeError, ValueError):  # this network does not accept pictures of that size
            continue
        hits = float((again.argmax(1) == few.labels).mean())
        yield Alternative(words, hits, hits - now, preprocessing=other)


def orders(classes: tuple[str, ...], labels: np.ndarray, predicted: np.ndarray) -> Iterator[Alternative]:
    """The class order with the most right predictions, if it differs from the given one."""
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (predicted, labels), 1)
    _, meant = linear_sum_assignment(confusion, maximize=True)
    order = tuple(classes[index] for index in meant)
    if order != classes:
        hits = float(confusion[np.arange(len(classes)), meant].sum() / len(labels))
        gain = hits - float((predicted == labels).mean())
        yield Alternative("The outputs stand for the classes in another order", hits, gain, classes=order)


def preprocessings(now: Preprocessing, train: Samples) -> Iterator[tuple[str, Preprocessing]]:
    """Other common scales and sizes of pictures, each with a description; none for arrays."""
    if train.kind == "array":
        return
    scales = (
        ("Pixels from 0 to 1, not normalised", (0.0,), (1.0,)),
        ("Pixels from -1 to 1 (mean 0.5, std 0.5)", (0.5,), (0.5,)),
        ("Pixels from 0 to 255", (0.0,), (1 / 255,)),
        ("ImageNet mean and std", *(IMAGENET if now.channels == 3 else ((0.449,), (0.226,)))),
    )
    for words, mean, std in scales:
        if (mean, std) != (now.mean, now.std):
            yield words, replace(now, mean=mean, std=std)
    for side in (32, 64, 224):
        if now.size != (side, side):
            yield f"Pictures of {side} x {side} pixels", replace(now, size=(side, side))
