"""Which events does the database hold? The questions in SQL; what the answers mean is replay.py."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from influence_core.decisions.replay import Event, Replay, frame
from influence_core.decisions.schema import deliveries, events
from influence_core.errors import DecisionError

CHUNK = 1000  # values per question: databases limit their number


def brought_up_to_date(connection: Connection, run: str, replay: Replay) -> Replay:
    """Read only the events that came since; start over if that does not account for all of them.

    PostgreSQL may show a smaller id after a larger one, when its writer was slower to commit.
    """
    later = _read(connection, run, after=replay.last)
    count = sa.select(sa.func.count()).select_from(events).where(events.c.run == run)
    if replay.count + len(later) != connection.execute(count).scalar():
        return Replay(_read(connection, run))
    replay.extend(later)
    return replay


def history(connection: Connection, run: str) -> pd.DataFrame:
    """All events of a run, in order."""
    columns = [column for column in events.c if column.name not in {"run", "ordinal"}]
    query = sa.select(*columns).where(events.c.run == run).order_by(events.c.id)
    return frame([column.name for column in columns], connection.execute(query).fetchall())


def written(connection: Connection, run: str, samples: Sequence[str]) -> dict[str, list[str]]:
    """The accepted events of each of these samples that has any, as event ids: the first made revision 1, and so on."""
    query = (
        sa.select(events.c.sample_id, events.c.event_id)
        .where(events.c.run == run, events.c.revision.is_not(None))
        .order_by(events.c.sample_id, events.c.revision)
    )
    found: dict[str, list[str]] = {}
    for part in _in_chunks(query, events.c.sample_id, samples):
        for row in connection.execute(part):
            found.setdefault(row.sample_id, []).append(row.event_id)
    return found


def undo_target(connection: Connection, run: str, reviewer: str, target: str | None) -> str | None:
    """The event to take back: the one named, or the reviewer's newest that no undo has named yet."""
    mine = deliveries.c.run == run
    if target is None:
        later = deliveries.alias("later")
        named = sa.exists().where(later.c.run == run, later.c.target == deliveries.c.event_id)
        newest = (
            sa.select(deliveries.c.event_id)
            .where(mine, deliveries.c.reviewer == reviewer, deliveries.c.action != "undo", ~named)
            .order_by(deliveries.c.id.desc())
        )
        return connection.execute(newest.limit(1)).scalar()
    found = sa.select(deliveries.c.action).where(mine, deliveries.c.event_id == target)
    action = connection.execute(found).scalar()
    if action is None:
        raise DecisionError(f"There is no event {target!r} in this run, so it cannot be undone.")
    if action == "undo":
        raise DecisionError(f"The event {target!r} is itself an undo; decide the samples anew instead.")
    return target


def undoing(connection: Connection, run: str, target: str) -> list[dict[str, Any]]:
    """The rows that take an event back: what of it still stands, and its votes that came too late."""
    query = sa.select(events).where(events.c.run == run, events.c.event_id == target)
    rows = [row._asdict() for row in connection.execute(query.order_by(events.c.ordinal))]
    gone = _taken_back(connection, [row["id"] for row in rows])
    replay = Replay(_read(connection, run, samples=[row["sample_id"] for row in rows]))
    return [_undo(row, replay) for row in rows if row["id"] not in gone]


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


def _taken_back(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Which of these events an undo took back. A failed attempt to undo does not count."""
    undone = sa.select(events.c.undoes).where(events.c.status != "conflict")
    parts = _in_chunks(undone, events.c.undoes, ids)
    return {number for part in parts for number in connection.execute(part).scalars()}


def _read(
    connection: Connection, run: str, *, after: int = 0, samples: Sequence[str] | None = None
) -> list[Sequence[Any]]:
    """Events in order, with the fields of Event: those after an id, or those of the samples named."""
    query = sa.select(*(events.c[name] for name in Event._fields)).where(events.c.run == run)
    if samples is None:
        return list(connection.execute(query.where(events.c.id > after).order_by(events.c.id)).fetchall())
    parts = _in_chunks(query, events.c.sample_id, samples)
    rows = [row for part in parts for row in connection.execute(part).fetchall()]
    return sorted(rows, key=lambda row: row[0])


def _in_chunks(query: Any, column: Any, values: Sequence[Any]) -> list[Any]:
    starts = range(0, len(values), CHUNK)
    return [query.where(column.in_(values[start : start + CHUNK])) for start in starts]
