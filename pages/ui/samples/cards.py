"""A sample as a card of the gallery."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from influence_core.decisions.log import DecisionLog
from influence_core.runs.run import Run
from pages.ui.components.gallery import Bar, Card, Decision
from pages.ui.samples import table_rows as rows
from pages.ui.server.routes import thumbnail_base
from pages.ui.shell import cached
from pages.ui.words import formats as words
from pages.ui.words import why_in_doubt as evidence

_TOP = 10


def cards(run: Run, name: str, positions: Iterable[int], log: DecisionLog) -> list[Card]:
    """One card per row position of `run.samples`, in this order, as decided by now.

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
    shown = [_card(run, base, int(at), columns, ranks, decided, revisions) for at in positions]
    return shown if run.cells is None else [rows.with_cells(card, run, columns["position"]) for card in shown]


def _rows(current: pd.DataFrame) -> list[tuple[str, Any]]:
    return list(zip(current.index, current.itertuples(index=False), strict=True))


def _card(
    run: Run,
    base: str,
    at: int,
    columns: dict[str, Any],
    ranks: dict[str, np.ndarray],
    decided: dict[str, tuple[str, str | None, bool]],
    revisions: dict[str, int],
) -> Card:
    sample, given = columns["sample_id"][at], columns["label"][at]
    near = run.neighbours[at].tolist()
    probabilities = run.probabilities[at]
    likeliest = np.argsort(-probabilities, kind="stable")[:_TOP]
    action, label, conflict = decided.get(sample, (None, None, False))
    return Card(
        id=sample,
        src=f"{base}{at}",
        given=given,
        given_index=run.classes.index(given),
        suggested=_suggestion(at, columns),
        rank=int(columns["rank"][at]),
        suspicion=float(columns["suspicion"][at]),
        revision=revisions.get(sample, 0),
        decision=Decision(action=action, label=label) if action else None,
        conflict=conflict,
        bars=_bars(at, columns, ranks),
        why=_why(at, columns, ranks, near),
        top=[(int(index), float(probabilities[index])) for index in likeliest],
        neighbours=[{"src": f"{base}{other}", "label": columns["label"][other]} for other in near],
    )


def _suggestion(at: int, columns: dict[str, Any]) -> str | None:
    """The suggested label, when it says something else than the given one."""
    suggested = _or_none(columns["suggested_label"][at])
    return None if suggested == columns["label"][at] else suggested


def _why(at: int, columns: dict[str, Any], ranks: dict[str, np.ndarray], near: Sequence[int]) -> str:
    return evidence.sentence(
        given=columns["label"][at],
        suggested=_suggestion(at, columns),
        ranks={column: values[at] for column, values in ranks.items()},
        neighbours=[columns["label"][other] for other in near],
        influence=float(columns["influence_utility"][at]) if "influence_utility" in columns else None,
    )


def _bars(at: int, columns: dict[str, Any], ranks: dict[str, np.ndarray]) -> list[Bar]:
    """Three small bars in [0, 1]; longer is more suspicious in each of them."""
    bars = []
    if "grad_norm" in ranks:
        bars.append(_bar("Norm", ranks["grad_norm"][at], columns["grad_norm"][at]))
    if "influence_utility" in ranks:
        bars.append(_bar("Hurts", 1 - ranks["influence_utility"][at], columns["influence_utility"][at]))
    return [*bars, _bar("Suspicion", columns["suspicion"][at], columns["suspicion"][at])]


def _bar(name: str, length: float, value: float) -> Bar:
    return Bar(name=name, value=float(length), text=words.number(float(value)))


def _or_none(value: Any) -> Any:
    return None if pd.isna(value) else value
