"""SQL queries of the decision log; replay.py interprets the events."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from influence_core.decisions.replay import Event, Replay, frame
from influence_core.decisions.schema import deliveries, events
from influence_core.errors import DecisionError

CHUNK = 1000  # values per query: databases limit their number


def brought_up_to_date(connection: Connection, run: str, replay: Replay) -> Replay:
    """Extend a replay with the events written since; build a new one if some are missing.

    PostgreSQL may show a smaller id after a larger one, when its writer was slower to commit.
    """
    later = _read(connection, run, after=replay.last)
    count = sa.select(sa.func.count()).select_from(events).where(events.c.run == run)
    if replay.count + len(later) != connection.execute(count).scalar():
        return Replay(_read(connection, run))
    replay.extend(later)
    return replay


def history(connection: Connection, run: str) -> pd.DataFrame:
    """Return all events of a run, in order."""
    columns = [column for column in events.c if column.name not in {"run", "ordinal"}]
    query = sa.select(*columns).where(events.c.run == run).order_by(events.c.id)
    return frame([column.name for column in columns], connection.execute(query).fetchall())


def written(connection: Connection, run: str, samples: Sequence[str]) -> dict[str, list[str]]:
    """Return the event ids of the accepted events of each sample that has any; the first is revision 1, and so on."""
    query = (
        sa.select(events.c.sample_id, events.c.event_id)
        .where(events.c.run == run, events.c.revision.is_not(None))
        .order_by(events.c.sample_id, events.c.revision)
    )
    by_sample: dict[str, list[str]] = {}
    for part in _in_chunks(query, events.c.sample_id, samples):
        for row in connection.execute(part):
            by_sample.setdefault(row.sample_id, []).append(row.event_id)
    return by_sample


def undo_target(connection: Connection, run: str, reviewer: str, target: str | None) -> str | None:
    """Return the event to undo: the requested one, or the reviewer's newest that no undo has named yet."""
    in_run = deliveries.c.run == run
    if target is None:
        later = deliveries.alias("later")
        named = sa.exists().where(later.c.run == run, later.c.target == deliveries.c.event_id)
        newest = (
            sa.select(deliveries.c.event_id)
            .where(in_run, deliveries.c.reviewer == reviewer, deliveries.c.action != "undo", ~named)
            .order_by(deliveries.c.id.desc())
        )
        return connection.execute(newest.limit(1)).scalar()
    query = sa.select(deliveries.c.action).where(in_run, deliveries.c.event_id == target)
    action = connection.execute(query).scalar()
    if action is None:
        raise DecisionError(f"There is no event {target!r} in this run, so it cannot be undone.")
    if action == "undo":
        raise DecisionError(f"The event {target!r} is itself an undo; decide the samples again instead.")
    return target


def undoing(connection: Connection, run: str, target: str) -> list[dict[str, Any]]:
    """Return the rows that undo an event: its standing decisions, and its votes that came too late."""
    query = sa.select(events).where(events.c.run == run, events.c.event_id == target)
    rows = [row._asdict() for row in connection.execute(query.order_by(events.c.ordinal))]
    undone = _undone(connection, [row["id"] for row in rows])
    replay = Replay(_read(connection, run, samples=[row["sample_id"] for row in rows]))
    return [_undo(row, replay) for row in rows if row["id"] not in undone]


def _undo(row: dict[str, Any], replay: Replay) -> dict[str, Any]:
    sample = row["sample_id"]
    revision, top = replay.revisions.get(sample, 0), replay.tops.get(sample)
    undo = {"sample_id": sample, "label_before": row["label_before"], "undoes": row["id"]}
    undo |= {"expected_revision": revision, "revision": None}
    if row["status"] == "conflict":
        return undo | {"status": "withdrawal"}
    if top is None or top[0] != row["id"]:
        return undo | {"status": "conflict"}
    return undo | {"status": "accepted", "revision": revision + 1}


def _undone(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return the ids of these events that were undone. A failed attempt to undo does not count."""
    query = sa.select(events.c.undoes).where(events.c.status != "conflict")
    parts = _in_chunks(query, events.c.undoes, ids)
    return {number for part in parts for number in connection.execute(part).scalars()}


def _read(
    connection: Connection, run: str, *, after: int = 0, samples: Sequence[str] | None = None
) -> list[Sequence[Any]]:
    """Return events in order, with the fields of Event: those after an id, or those of some samples."""
    query = sa.select(*(events.c[name] for name in Event._fields)).where(events.c.run == run)
    if samples is None:
        return list(connection.execute(query.where(events.c.id > after).order_by(events.c.id)).fetchall())
    parts = _in_chunks(query, events.c.sample_id, samples)
    rows = [row for part in parts for row in connection.execute(part).fetchall()]
    return sorted(rows, key=lambda row: row[0])


def _in_chunks(query: Any, column: Any, values: Sequence[Any]) -> list[Any]:
    starts = range(0, len(values), CHUNK)
    return [query.where(column.in_(values[start : start + CHUNK])) for start in starts]
