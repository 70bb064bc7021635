"""The measured objectives of a run: their directions, values and intervals.

An objective that cannot be measured on this data (a class without validation samples, a group column with one value)
is left out with a note; the rest of the run continues.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import nn
from torch.utils.data import Dataset

from influence_core.analysis.derived_groups import CLUSTER_COLUMN
from influence_core.engine.losses import Loss
from influence_core.engine.sweep import Direction
from influence_core.errors import DataError, ObjectiveError
from influence_core.objectives import Objective, bind, judged, measured_all


@dataclass(frozen=True, slots=True)
class MeasuredObjectives:
    """k measured objectives, each with its direction and its entry for run.json."""

    objectives: tuple[Objective, ...]
    directions: tuple[Direction, ...]
    facts: dict[str, dict[str, Any]]
    """By name: value, low, high, present, unit, notes and more; see objectives/significance.py."""
    notes: tuple[str, ...]
    """Sentences: the objectives that were left out, and what was left out of the others."""


def measure_objectives(
    model: nn.Module,
    val: Dataset,
    objectives: Sequence[Objective],
    *,
    loss: str | Loss,
    classes: Sequence[str],
    groups: pd.DataFrame | None,
    train_groups: pd.DataFrame | None,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> MeasuredObjectives:
    """Measure every objective that can be measured on the validation samples."""
    bound: list[Objective] = []
    notes: dict[str, None] = {}  # without repeats: two objectives of one column give the same note
    for objective in objectives:
        try:
            measurable = bind(
                objective,
                model,
                val,
                loss=loss,
                groups=groups,
                train_groups=train_groups,
                classes=classes,
            )
        except ObjectiveError as error:
            notes[f"Influence on '{objective.name}' was left out. {error}"] = None
            continue
        bound.append(measurable)
        notes |= dict.fromkeys(measurable.notes)
    measured = measured_all(model, val, bound, loss=loss, on_progress=on_progress)
    return MeasuredObjectives(
        objectives=tuple(bound),
        directions=tuple(one.gradient for one in measured),
        facts={one.objective.name: judged(one, seed=seed) for one in measured},
        notes=tuple(notes),
    )


def check_columns(
    objectives: Sequence[Objective], *groups: pd.DataFrame | None, gradient_clusters: bool = False
) -> None:
    """Raise DataError if an objective names a group column that no split has: a mistake, not a property of the data."""
    columns = sorted({str(name) for table in groups if table is not None for name in table.columns})
    columns += [CLUSTER_COLUMN] if gradient_clusters else []
    for objective in objectives:
        column = getattr(objective, "column", None)
        if column is not None and column not in columns:
            carried = f"it carries {', '.join(columns)}" if columns else "it carries none"
            raise DataError(
                f"Objective '{objective.name}' needs the group column '{column}', which the dataset does not have "
                f"({carried}). Name one of its columns, or add it to metadata.csv or the table."
            )
