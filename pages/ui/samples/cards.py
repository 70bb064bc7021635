"""Training samples as cards of the gallery."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from influence_core.decisions.log import DecisionLog
from influence_core.runs.run import Run
from pages.ui.components.gallery import Bar, Card, Decision
from pages.ui.samples import table_rows
from pages.ui.server.routes import thumbnail_base
from pages.ui.shell import cached
from pages.ui.words import formats, why_in_doubt

_TOP = 10


def cards(run: Run, name: str, positions: Iterable[int], log: DecisionLog) -> list[Card]:
    """One card per row position of `run.samples`, in this order, with the decisions made so far.

    Args:
        run: The open run.
        name: Its folder name, for the thumbnail addresses.
        positions: Rows of `run.samples`.
        log: The decision log; read here, so that every card carries the newest decision and revision.
    """
    current, revisions = log.current(run.id), log.revisions(run.id)
    decided = {
        sample: (row.action, _or_none(row.label_after), bool(row.conflict)) for sample, row in _rows(current)
    }
    columns, ranks, base = cached.columns(run.id, run), cached.ranks(run.id, run), thumbnail_base(run, name)
    shown = [_card(run, base, int(position), columns, ranks, decided, revisions) for position in positions]
    return (
        shown
        if run.cells is None
        else [table_rows.with_cells(card, run, columns["position"]) for card in shown]
    )


def _rows(current: pd.DataFrame) -> list[tuple[str, Any]]:
    return list(zip(current.index, current.itertuples(index=False), strict=True))


def _card(
    run: Run,
    base: str,
    row: int,
    columns: dict[str, Any],
    ranks: dict[str, np.ndarray],
    decided: dict[str, tuple[str, str | None, bool]],
    revisions: dict[str, int],
) -> Card:
    sample, given = columns["sample_id"][row], columns["label"][row]
    near = run.neighbours[row].tolist()
    probabilities = run.probabilities[row]
    likeliest = np.argsort(-probabilities, kind="stable")[:_TOP]
    action, label, conflict = decided.get(sample, (None, None, False))
    return Card(
        id=sample,
        src=f"{base}{row}",
        given=given,
        given_index=run.classes.index(given),
        suggested=_suggestion(row, columns),
        rank=int(columns["rank"][row]),
        suspicion=float(columns["suspicion"][row]),
        revision=revisions.get(sample, 0),
        decision=Decision(action=action, label=label) if action else None,
        conflict=conflict,
        bars=_bars(row, columns, ranks),
        why=_why(row, columns, ranks, near),
        top=[(int(index), float(probabilities[index])) for index in likeliest],
        neighbours=[{"src": f"{base}{other}", "label": columns["label"][other]} for other in near],
    )


def _suggestion(row: int, columns: dict[str, Any]) -> str | None:
    """The suggested label, if it differs from the given one."""
    suggested = _or_none(columns["suggested_label"][row])
    return None if suggested == columns["label"][row] else suggested


def _why(row: int, columns: dict[str, Any], ranks: dict[str, np.ndarray], near: Sequence[int]) -> str:
    return why_in_doubt.sentence(
        given=columns["label"][row],
        suggested=_suggestion(row, columns),
        ranks={column: values[row] for column, values in ranks.items()},
        neighbours=[columns["label"][other] for other in near],
        influence=float(columns["influence_utility"][row]) if "influence_utility" in columns else None,
    )


def _bars(row: int, columns: dict[str, Any], ranks: dict[str, np.ndarray]) -> list[Bar]:
    """Three small bars in [0, 1]; longer is more suspicious in each of them."""
    bars = []
    if "grad_norm" in ranks:
        bars.append(_bar("Norm", ranks["grad_norm"][row], columns["grad_norm"][row]))
    if "influence_utility" in ranks:
        bars.append(_bar("Hurts", 1 - ranks["influence_utility"][row], columns["influence_utility"][row]))
    return [*bars, _bar("Suspicion", columns["suspicion"][row], columns["suspicion"][row])]


def _bar(name: str, length: float, value: float) -> Bar:
    return Bar(name=name, value=float(length), text=formats.number(float(value)))


def _or_none(value: Any) -> Any:
    return None if pd.isna(value) else value
