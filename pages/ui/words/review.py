"""Progress of a review and precision of its flags, from decisions alone; no Streamlit.

A flag is confirmed when its sample was relabelled or removed, and rejected when it was kept. The precision of the flags
is confirmed / decided with a 95 % Wilson interval: the share that was changed, for a good picture may be removed too.
The errors still to be found are the sum of suspicion, an estimated probability, over the undecided samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from influence_core.judging.intervals import wilson
from pages.ui.words import formats
from pages.ui.words.formats import Markdown

ACTIONS = ("keep", "relabel", "remove")


@dataclass(frozen=True, slots=True)
class Tally:
    """The state of one queue. The expected errors are numbers of samples: in the queue, and in all."""

    queue: int
    kept: int
    relabelled: int
    removed: int
    expected_left_in_queue: float
    expected_left: float

    @property
    def confirmed(self) -> int:
        return self.relabelled + self.removed

    @property
    def decided(self) -> int:
        return self.kept + self.confirmed

    @property
    def precision(self) -> float | None:
        """Share of decided flags that were changed; None before the first decision."""
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
    kept, relabelled, removed = counted(actions, queue)
    return Tally(
        queue=len(queue),
        kept=kept,
        relabelled=relabelled,
        removed=removed,
        expected_left_in_queue=float(suspicion[queue][undecided[queue]].sum()),
        expected_left=float(suspicion[undecided].sum()),
    )


def counted(actions: Sequence[str | None], rows: np.ndarray) -> tuple[int, int, int]:
    """How many of these rows were kept, relabelled and removed."""
    here = [actions[row] for row in rows]
    kept, relabelled, removed = (here.count(action) for action in ACTIONS)
    return kept, relabelled, removed


def done(numbers: Tally) -> Markdown:
    """'34 relabelled, 9 kept, 0 removed'."""
    changed = f"{formats.count(numbers.relabelled)} relabelled, {formats.count(numbers.kept)} kept"
    return f"{changed}, {formats.count(numbers.removed)} removed"


def sentence(numbers: Tally, *, in_doubt: bool = True) -> str:
    """'You changed 70.0 % of them [60.1, 78.6]. About 20 real errors expected among the rest, 71 more outside ...'.

    in_doubt: False where no label reaches the cut, and the queue is the most suspicious ones.
    """
    if not in_doubt:
        return f"No label is in doubt: these are the {formats.count(numbers.queue)} most suspicious."
    here = formats.count(numbers.expected_left_in_queue)
    outside = formats.count(numbers.expected_left - numbers.expected_left_in_queue)
    if numbers.precision is None:
        return f"About {here} real errors expected here, {outside} more outside the queue."
    changed = f"{formats.percent(numbers.precision)} of them {formats.interval(*numbers.precision_interval)}"
    expected = f"About {here} real errors expected among the rest, {outside} more outside the queue."
    return f"You changed {changed}. {expected}"


def decision(action: str, label: str | None) -> str:
    """'Relabel to coat', 'Keep the given label', 'Remove'."""
    return {"keep": "Keep the given label", "remove": "Remove"}.get(action, f"Relabel to {label}")
