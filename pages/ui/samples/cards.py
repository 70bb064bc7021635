"""Training samples as cards of the gallery."""

from __future__ import annotations

from collections.abc import Iterable
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
from pages.ui.words.formats import Markdown

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
        sample: (row.action, or_none(row.label_after), bool(row.conflict)) for sample, row in _rows(current)
    }
    columns, ranks, base = cached.columns(run.id, run), cached.ranks(run.id, run), thumbnail_base(run, name)
    shown = [_card(run, base, int(position), columns, ranks, decided, revisions) for position in positions]
    return (
        shown
        if run.cells is None
        else [table_rows.with_cells(card, run, columns["position"]) for card in shown]
    )


def noun(run: Run) -> Markdown:
    """The word for a sample of this run: 'row', 'image' or 'sample'."""
    return "row" if run.cells is not None else "image" if run.has_thumbnails else "sample"


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
    near, case = run.neighbours[row].tolist(), _case(run, row, columns)
    action, label, conflict = decided.get(sample, (None, None, False))
    return Card(
        id=sample,
        src=f"{base}{row}",
        given=given,
        given_index=run.classes.index(given),
        suggested=case.suggested,
        rank=int(columns["rank"][row]),
        suspicion=case.suspicion,
        flagged=case.doubted,
        revision=revisions.get(sample, 0),
        decision=Decision(action=action, label=label) if action else None,
        conflict=conflict,
        bars=_bars(row, columns, ranks),
        why=_why(run, row, case, [columns["label"][other] for other in near]),
        model=_model(run, row, case, columns),
        top=_top(run, row, case),
        neighbours=[{"src": f"{base}{other}", "label": columns["label"][other]} for other in near],
    )


def _case(run: Run, row: int, columns: dict[str, Any]) -> why_in_doubt.Case:
    return why_in_doubt.Case(
        given=columns["label"][row],
        suggested=_suggestion(row, columns),
        suspicion=float(columns["suspicion"][row]),
        suggested_probability=float(columns["suggested_probability"][row]),
        cut=float(run.description["results"]["cut"]),
        noun=noun(run),
    )


def _suggestion(row: int, columns: dict[str, Any]) -> str | None:
    """The suggested label, if it differs from the given one."""
    suggested = or_none(columns["suggested_label"][row])
    return None if suggested == columns["label"][row] else suggested


def _top(run: Run, row: int, case: why_in_doubt.Case) -> list[tuple[int, float | None]]:
    """The likeliest classes by all trusted evidence; of a run that kept two of these numbers, two numbers."""
    if run.beliefs is not None:
        beliefs = run.beliefs[row]
        return [(int(k), float(beliefs[k])) for k in np.argsort(-beliefs, kind="stable")[:_TOP]]
    known = {case.given: 1 - case.suspicion}
    if case.suggested is not None:
        known[case.suggested] = case.suggested_probability
    names = sorted(run.classes, key=lambda name: -known.get(name, -1.0))[:_TOP]
    return [(run.classes.index(name), known.get(name)) for name in names]


def _why(run: Run, row: int, case: why_in_doubt.Case, near: list[str]) -> str:
    return why_in_doubt.sentence(case, cached.witnesses(run.id, row, run), near, run.description["results"])


def _model(run: Run, row: int, case: why_in_doubt.Case, columns: dict[str, Any]) -> str:
    predicted, confidence = columns["predicted"][row], float(columns["confidence"][row])
    memorised = why_in_doubt.memorised(run.description["results"])
    return why_in_doubt.of_the_model(case, predicted, confidence, memorised=memorised)


def _bars(row: int, columns: dict[str, Any], ranks: dict[str, np.ndarray]) -> list[Bar]:
    """Three small bars in [0, 1], longer = more suspicious; ranks are shown, the numbers behind them on hover."""
    bars = []
    if "grad_norm" in ranks:
        rank = float(ranks["grad_norm"][row])
        raw = f"gradient norm {formats.number(float(columns['grad_norm'][row]))}"
        bars.append(Bar(name="Pull on the model", value=rank, text=formats.among(rank), raw=raw))
    if "influence_utility" in ranks:
        rank, value = 1 - float(ranks["influence_utility"][row]), float(columns["influence_utility"][row])
        text = f"hurts, {formats.among(rank)}" if value < 0 else "helps"
        raw = f"influence on validation loss {formats.number(value)}"
        bars.append(Bar(name="Effect on validation", value=rank, text=text, raw=raw))
    level = float(columns["suspicion"][row])
    return [*bars, Bar(name="Suspicion", value=level, text=formats.percent(level))]


def or_none(value: Any) -> Any:
    """A cell of a table, None where it is missing."""
    return None if pd.isna(value) else value
