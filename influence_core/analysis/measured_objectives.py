"""The measured objectives of a run: their directions, values and intervals.

An objective that cannot be measured on this data (a class without validation samples, a group column with one value)
is left out with a note; the rest of the run continues.
"""

from dataclasses import dataclass
from typing import Any

from influence_core.analysis.derived_groups import CLUSTER_COLUMN, has_clusters
from influence_core.analysis.request import Request
from influence_core.engine.directions import Direction
from influence_core.engine.precision import exact_name, in_precision
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


def measured_objectives(request: Request) -> MeasuredObjectives:
    """The objectives of the request that can be measured on the validation samples; none without such samples."""
    if request.val is None:
        note = "Without validation samples there is nothing to measure influence by."
        return MeasuredObjectives((), (), {}, (note,))
    model = in_precision(request.model, exact_name(request.precision))
    facts = {
        "groups": request.val.groups,
        "train_groups": request.train.groups,
        "classes": request.classes,
    }
    bound: list[Objective] = []
    notes: dict[str, None] = {}  # without repeats: two objectives of one column give the same note
    for objective in request.objectives:
        try:
            measurable = bind(objective, model, request.val, loss=request.loss, **facts)
        except ObjectiveError as error:
            notes[f"Influence on '{objective.name}' was left out. {error}"] = None
            continue
        bound.append(measurable)
        notes |= dict.fromkeys(measurable.notes)
    measured = measured_all(
        model,
        request.val,
        bound,
        loss=request.loss,
        on_progress=lambda done, total: request.report("objective", done, total),
    )
    return MeasuredObjectives(
        objectives=tuple(bound),
        directions=tuple(one.gradient for one in measured),
        facts={one.objective.name: judged(one, seed=request.seed) for one in measured},
        notes=tuple(notes),
    )


def check_columns(request: Request) -> None:
    """Raise DataError if an objective names a group column that no split has: a mistake, not a property of the data."""
    splits = [split for split in (request.train, request.val) if split is not None]
    columns = sorted({str(name) for split in splits for name in split.groups.columns})
    columns += [CLUSTER_COLUMN] if has_clusters(request.train) else []
    for objective in request.objectives:
        column = getattr(objective, "column", None)
        if column is not None and column not in columns:
            carried = f"it carries {', '.join(columns)}" if columns else "it carries none"
            raise DataError(
                f"Objective '{objective.name}' needs the group column '{column}', which the dataset does not have "
                f"({carried}). Name one of its columns, or add it to metadata.csv or the table."
            )
