"""The group of each held-out sample, the mean of each group, and whether the groups of a column can be compared.

Every fault of a column is one sentence: a refusal of this objective alone (ObjectiveError) or a note on what was left
out. Groups with fewer than FEWEST samples are left out: their mean depends more on chance than on the group.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from influence_core.errors import ObjectiveError
from influence_core.objectives.held_out import HeldOut

FEWEST = 5
"""Held-out samples a group needs to be compared."""
MOST = 50
"""Most groups that are compared: a column with more looks like an identifier."""
NAMED = 5


@dataclass(frozen=True)
class Membership:
    """The group of each of m held-out samples."""

    names: tuple[str, ...]
    codes: np.ndarray
    """(m,) int64, a position in names; -1 for samples in no group."""
    notes: tuple[str, ...]


def membership(held: HeldOut, column: str) -> Membership:
    """The membership of the held-out samples by one group column.

    Raises:
        ObjectiveError: no such column, no value, one value, too many values, or fewer than two groups large enough.
    """
    values = _values(held.groups, column)
    counts = Counter(value for value in values if value is not None)
    _check_count(column, counts)
    kept = sorted(name for name, count in counts.items() if count >= FEWEST)
    if len(kept) < 2:
        raise ObjectiveError(
            f"Fewer than two groups of '{column}' have {FEWEST} validation samples or more ({_sizes(counts)}), so no "
            "gap can be measured. Add validation samples, or join groups."
        )
    number = {name: code for code, name in enumerate(kept)}
    codes = np.array([-1 if value is None else number.get(value, -1) for value in values], dtype=np.int64)
    train = held.train_groups  # clusters of the gradient map exist on train only after the objectives
    trained = _values(train, column) if train is not None and column in train else []
    return Membership(tuple(kept), codes, tuple(_notes(column, values, counts, trained)))


def indicator(cells: Tensor, count: int) -> Tensor:
    """(m, count) float64: 1 where a sample belongs to a cell. cells (m,) int64, -1 for none."""
    return torch.nn.functional.one_hot(torch.where(cells < 0, count, cells), count + 1)[:, :count].double()


def cell_means(values: Tensor, inside: Tensor, weights: Tensor) -> Tensor:
    """Means (..., cells) of values (m, cells) over the samples inside (m, cells), weights (..., m); NaN for none."""
    inside, values = inside.to(values), values * inside.to(values)
    sums, sizes = weights @ values, weights @ inside
    empty = sizes == 0  # 0 / 0 must not reach the backward pass: NaN times zero is NaN
    return torch.where(empty, torch.nan, sums / torch.where(empty, 1, sizes))


def _values(groups: pd.DataFrame | None, column: str) -> list[str | None]:
    """The column as text, None where it is missing."""
    columns = [] if groups is None else [str(name) for name in groups.columns]
    if groups is None or column not in columns:
        raise ObjectiveError(
            f"There is no group column '{column}' on the validation samples; "
            + (f"they carry {_some(columns)}." if columns else "they carry no group columns.")
        )
    values = groups.iloc[:, columns.index(column)].tolist()
    return [None if pd.isna(value) else str(value) for value in values]


def _check_count(column: str, counts: Counter[str]) -> None:
    if len(counts) > MOST:
        raise ObjectiveError(
            f"Group column '{column}' has {len(counts):,} different values on the validation samples; at most {MOST} "
            "groups are compared. It looks like an identifier or a measurement: cut it into a few ranges."
        )
    if not counts:
        raise ObjectiveError(
            f"Group column '{column}' is empty on all validation samples, so there are no groups."
        )
    if len(counts) == 1:
        raise ObjectiveError(
            f"Group column '{column}' has a single value on the validation samples ({next(iter(counts))!r}), so there "
            "is no gap to measure. Expected two groups or more."
        )


def _notes(
    column: str, values: list[str | None], counts: Counter[str], trained: list[str | None]
) -> Iterator[str]:
    if missing := values.count(None):
        yield (
            f"{missing:,} of {len(values):,} validation samples have no value in '{column}' and are left out of its "
            "gaps."
        )
    if few := Counter({name: count for name, count in counts.items() if count < FEWEST}):
        yield f"Groups of '{column}' with fewer than {FEWEST} validation samples are left out: {_sizes(few)}."
    if absent := Counter(value for value in trained if value is not None and value not in counts):
        yield (
            f"Groups of '{column}' without any validation sample: {_some(sorted(absent))} ({absent.total():,} training "
            "samples). The gap does not cover them."
        )


def _sizes(counts: Counter[str]) -> str:
    return _some([f"{name!r} has {count:,}" for name, count in counts.most_common()])


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
