"""Progress of a review and precision of its flags, from decisions alone; no Streamlit.

A flag is confirmed when its sample was relabelled or removed, and rejected when it was kept. The precision of the flags
is confirmed / decided with a 95 % Wilson interval. The errors still to be found are the sum of suspicion, an estimated
probability, over the undecided samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from influence_core.judging.intervals import wilson

CONFIRMING = ("relabel", "remove")


@dataclass(frozen=True, slots=True)
class Tally:
    """The state of one queue. The expected errors are numbers of samples: in the queue, and in all."""

    queue: int
    decided: int
    confirmed: int
    expected_left_in_queue: float
    expected_left: float

    @property
    def share_decided(self) -> float:
        return self.decided / self.queue if self.queue else 1.0

    @property
    def precision(self) -> float | None:
        """Share of decided flags that were real errors; None before the first decision."""
        return self.confirmed / self.decided if self.decided else None

    @property
    def precision_interval(self) -> tuple[float, float]:
        estimate = wilson(self.confirmed, self.decided)
        return estimate.low, estimate.high


def tally(suspicion: np.ndarray, actions: Sequence[str | None], queue: np.ndarray) -> Tally:
    """Count one queue.

    Args:
        suspicion: Probability that the given label is wrong, all training samples, shape (n,).
        actions: "keep", "relabel", "remove" or None for each training sample, in the same order.
        queue: Row positions of the queue.
    """
    undecided = np.array([action is None for action in actions], dtype=bool)
    in_queue = [actions[row] for row in queue]
    return Tally(
        queue=len(queue),
        decided=sum(action is not None for action in in_queue),
        confirmed=sum(action in CONFIRMING for action in in_queue),
        expected_left_in_queue=float(suspicion[queue][undecided[queue]].sum()),
        expected_left=float(suspicion[undecided].sum()),
    )
