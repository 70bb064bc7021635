"""Accuracy and rates by group of the held-out samples, each with its interval.

Tables by fairlearn's MetricFrame (Bird et al., 2020). With two classes, or one class against the rest: selection rate
P(predicted = c), true positive rate P(predicted = c | label = c), false positive rate P(predicted = c | label != c).
Intervals: 95 % Wilson, of a share among the n samples it was counted on.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, count

from influence_core.judging.intervals import share

Counted = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(labels, predictions) -> 0 or 1 for each counted sample."""


def counters(positive: str) -> dict[str, Counted]:
    """Functions that return the samples each rate is a mean of; `positive` is the class whose rates are counted."""
    return {
        "accuracy": lambda label, predicted: label == predicted,
        "selection_rate": lambda label, predicted: predicted == positive,
        "true_positive_rate": lambda label, predicted: (predicted == positive)[label == positive],
        "false_positive_rate": lambda label, predicted: (predicted == positive)[label != positive],
    }


def group_metrics(table: pd.DataFrame, column: str, positive: str) -> pd.DataFrame:
    """Metrics by group, index = group: samples and the rates of `counters`; NaN where no sample is counted.

    Args:
        table: validation.parquet or test.parquet of a run: label, predicted and the group column.
        column: the group column; samples without a value are left out.
        positive: the class whose rates are counted.
    """
    groups, labels, predicted = _columns(table, column)
    rates: dict[str, Any] = {name: _mean_of(counter) for name, counter in counters(positive).items()}
    frame = MetricFrame(
        metrics={"samples": count, **rates},
        y_true=labels,
        y_pred=predicted,
        sensitive_features=pd.Series(groups, name=column),
    )
    by_group: Any = frame.by_group
    return by_group.astype(float)


def rate_intervals(table: pd.DataFrame, column: str, positive: str, metric: str) -> pd.DataFrame:
    """One rate by group with its interval and n: columns value, low, high, n; groups without a sample left out."""
    groups, labels, predicted = _columns(table, column)
    counter, rows = counters(positive)[metric], {}
    for group in sorted(set(groups)):
        inside = groups == group
        counted = counter(labels[inside], predicted[inside])
        if len(counted):
            rows[group] = {**share(counted).to_json(), "n": len(counted)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high", "n"])


def _mean_of(counter: Counted) -> Callable[[Any, Any], float]:
    def rate(labels: Any, predicted: Any) -> float:
        counted = counter(np.asarray(labels), np.asarray(predicted))
        return float(counted.mean()) if len(counted) else float("nan")

    return rate


def _columns(table: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups, labels and predictions as text, of the samples that have a group."""
    values = np.asarray(
        [None if pd.isna(value) else str(value) for value in table[column].tolist()], dtype=object
    )
    has_group = np.array([value is not None for value in values])
    labels, predicted = (
        np.asarray(table[name].tolist(), dtype=object)[has_group] for name in ("label", "predicted")
    )
    return values[has_group], labels, predicted
