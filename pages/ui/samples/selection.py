"""Selections of samples as row positions: thresholds, filters, the queue and pages. Draws nothing.

They are row positions, not ids, because all arrays of a run share the order of its table. They never leave the page.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from influence_core.runs.run import Run
from pages.ui.shell import cached
from pages.ui.words import formats
from pages.ui.words.formats import Markdown
from pages.ui.words.scores import Order

FIRST = 40
"""Samples to look at where none is in doubt."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Class names to keep; None keeps all."""

    given: str | None = None
    predicted: str | None = None
    suggested: str | None = None

    @property
    def words(self) -> str:
        """'given label coat, suggested label dress'; empty when nothing is filtered."""
        named = zip(("given label", "predicted label", "suggested label"), astuple(self), strict=True)
        return ", ".join(f"{kind} {name}" for kind, name in named if name)


def threshold(run: Run, order: Order, share: float) -> float:
    """The score at which the most suspicious `share` (0..1) of all samples ends."""
    ordered = cached.order(run.id, order.column, run)
    last = max(1, round(share * len(ordered))) - 1
    return float(run.samples[order.column].to_numpy(dtype=float)[ordered[last]])


def beyond(run: Run, order: Order, share: float, filters: Filters) -> np.ndarray:
    """Row positions of the first `share` by this score that pass the filters, most suspicious first."""
    ordered = cached.order(run.id, order.column, run)
    return kept(run, ordered[: max(1, round(share * len(ordered)))], filters)


def kept(run: Run, positions: np.ndarray, filters: Filters) -> np.ndarray:
    """The positions that pass the filters, in the same order."""
    columns = cached.columns(run.id, run)
    for column, wanted in (
        ("label", filters.given),
        ("predicted", filters.predicted),
        ("suggested_label", filters.suggested),
    ):
        if wanted is not None:
            positions = positions[[columns[column][position] == wanted for position in positions]]
    return positions


def queue(run: Run, cut: float) -> np.ndarray:
    """Row positions of the labels in doubt, most suspicious first; fixed by the run, whatever is decided."""
    ordered = cached.order(run.id, "suspicion", run)
    suspicion = run.samples["suspicion"].to_numpy(dtype=float)[ordered]
    return ordered[: int((suspicion >= cut).sum())]


@dataclass(frozen=True, slots=True)
class ToReview:
    """What Review shows: row positions, most suspicious first, and whether these labels are in doubt."""

    positions: np.ndarray
    in_doubt: bool


def to_review(run: Run, cut: float) -> ToReview:
    """The queue; where no label reaches the cut, the first ones by suspicion: Review always has something to show."""
    in_doubt = queue(run, cut)
    if len(in_doubt):
        return ToReview(in_doubt, True)
    return ToReview(cached.order(run.id, "suspicion", run)[:FIRST], False)


def one_page(positions: np.ndarray, page: int, size: int) -> np.ndarray:
    """The positions of page 1, 2, ..."""
    return positions[(page - 1) * size : page * size]


def span(page: int, size: int, total: int) -> Markdown:
    """'1 to 60 of 400'."""
    first = (page - 1) * size + 1
    return f"{formats.count(first)} to {formats.count(min(page * size, total))} of {formats.count(total)}"
