"""SQL queries of the decision log; standing.py holds what they find.

What stands is read from the log alone, by its indexes, so that it costs the same after a million events as after ten
thousand: the newest revision of a sample says what counts. If that is an undo, what counts is what did before the
event that it undid, and so on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from influence_core.decisions.schema import deliveries, events
from influence_core.decisions.standing import Event, Standing, frame
from influence_core.errors import DecisionError

CHUNK = 1000  # values per query: databases limit their number
NEW = 10_000  # events; with more new ones everything is read again
HISTORY = [column for column in events.c if column.name not in {"run", "ordinal"}]

# Where single rows of a run are looked up it is "(SELECT :run)", not plain ":run": PostgreSQL takes a run that is newer
# than its statistics for a single row, and goes through all of it for each sample or each decision undone: 13 minutes
# for a read of 100,000 events instead of 0.4 s, 13 s for an undo, 100 ms for a decision instead of 5. What a subquery
# will return it does not know, so it counts with a run of usual size.

# Samples to look at. The first steps through an index from sample to sample and does not read their events.
EVERY = """
    SELECT min(sample_id) FROM events WHERE run = (SELECT :run)
    UNION ALL
    SELECT (SELECT min(sample_id) FROM events WHERE run = (SELECT :run) AND sample_id > samples.sample)
    FROM samples WHERE sample IS NOT NULL"""
LATER = "SELECT DISTINCT sample_id FROM events WHERE run = (SELECT :run) AND id > :newest"
OF_EVENT = "SELECT sample_id FROM events WHERE run = (SELECT :run) AND event_id = :event_id"

STANDING = """
WITH RECURSIVE
samples(sample) AS ({samples}),
newest(sample, revision) AS MATERIALIZED (
    SELECT sample, (SELECT max(revision) FROM events WHERE run = (SELECT :run) AND sample_id = samples.sample)
    FROM samples),
step(sample, newest, revision) AS (
    SELECT sample, coalesce(revision, 0), coalesce(revision, 0) FROM newest WHERE sample IS NOT NULL
    UNION ALL
    SELECT sample, newest, (
        SELECT undone.revision - 1 FROM events AS undo JOIN events AS undone ON undone.id = undo.undoes
        WHERE undo.run = (SELECT :run) AND undo.sample_id = step.sample AND undo.revision = step.revision)
    FROM step WHERE revision > 0),
found(sample, newest, revision) AS (SELECT sample, newest, min(revision) FROM step GROUP BY sample, newest),
standing(sample, newest, top) AS MATERIALIZED (
    SELECT sample, newest, (
        SELECT id FROM events WHERE run = (SELECT :run) AND sample_id = found.sample AND revision = found.revision)
    FROM found)
SELECT sample, newest, late.id AS late, {shown} FROM standing LEFT JOIN events AS counts ON counts.id = top
LEFT JOIN events AS late ON
    late.run = (SELECT :run) AND late.sample_id = sample AND late.revision IS NULL AND late.id > coalesce(top, 0)
    AND late.status = 'conflict' AND late.undoes IS NULL
    AND NOT EXISTS (SELECT 1 FROM events AS taken WHERE taken.undoes = late.id AND taken.status = 'withdrawal')"""

# Who is writing events at this very moment, which may be later than the moment that the other queries see: what anybody
# else wrote is seen by the next reader.
WRITERS = """
SELECT virtualtransaction FROM pg_locks WHERE relation = 'events'::regclass AND mode = 'RowExclusiveLock'"""


def among(table: sa.FromClause, run: str) -> sa.ColumnElement[bool]:
    """Return the condition that a row is one of a run, for queries that look up single rows."""
    return table.c.run == sa.select(sa.literal(run)).scalar_subquery()


def brought_up_to_date(connection: Connection, run: str, standing: Standing) -> Standing:
    """Return what stands now: continued with the events written since, or read anew when they do not continue it."""
    news = _news(connection, run, standing)
    if not news or news[0] != standing.newest or len(news) > NEW:
        return _read(connection, run)
    if _came_in_between(connection, run, standing, len(news) - 1):
        return _read(connection, run)
    if len(news) > 1:
        _set(standing, _standing(connection, LATER, run=run, newest=news[0][0]))
        standing.newest = news[-1]
    _count_on(connection, run, standing)
    return standing


def _came_in_between(connection: Connection, run: str, standing: Standing, new: int) -> bool:
    """Whether an event has appeared before the newest known one, beside these new ones.

    PostgreSQL gives an id when a row is written and shows the row when its transaction ends: of two writers the slower
    one may have the smaller id. Only the number of events tells.
    """
    if connection.dialect.name != "postgresql":
        return False
    return count(connection, run, after=standing.settled) != standing.count + new


def _count_on(connection: Connection, run: str, standing: Standing) -> None:
    """Note the number of events for the next look.

    To count a million takes 0.2 s, so only those are counted that another may still come in between: the ids since
    some earlier look, as soon as all who were writing at that look have ended before the last one.
    """
    if connection.dialect.name != "postgresql":
        return
    if standing.writers == set():
        standing.settled, standing.writers = standing.noted, None
    writing = set(connection.execute(sa.text(WRITERS)).scalars())
    if standing.writers is None:
        standing.noted, standing.writers = standing.newest[0] if standing.newest else 0, writing
    standing.writers &= writing
    standing.count = count(connection, run, after=standing.settled)


def votes(connection: Connection, ids: Sequence[int]) -> list[Event]:
    """Return events by their ids, in order."""
    query = sa.select(*(events.c[name] for name in Event._fields))
    parts = _in_chunks(query, events.c.id, ids)
    return sorted(Event(*row) for part in parts for row in connection.execute(part))


def history(connection: Connection, run: str, *, after: int, most: int) -> pd.DataFrame:
    """Return the events of a run after an id, in order, at most so many."""
    query = sa.select(*HISTORY).where(events.c.run == run, events.c.id > after)
    rows = connection.execute(query.order_by(events.c.run, events.c.id).limit(most)).fetchall()
    return frame([column.name for column in HISTORY], rows)


def count(connection: Connection, run: str, *, after: int = 0) -> int:
    """Return the number of events of a run after an id."""
    query = sa.select(sa.func.count()).where(events.c.run == run, events.c.id > after)
    return connection.execute(query).scalar_one()


def tally(connection: Connection, run: str) -> pd.DataFrame:
    """Return how many events each reviewer wrote of each action, the most first."""
    by = [events.c.reviewer, events.c.action]
    query = sa.select(*by, sa.func.count()).where(events.c.run == run).group_by(*by)
    rows = connection.execute(query.order_by(sa.func.count().desc(), *by)).fetchall()
    return pd.DataFrame([tuple(row) for row in rows], columns=["reviewer", "action", "events"])


def revisions(connection: Connection, run: str, samples: Sequence[str]) -> dict[str, int]:
    """Return the revision of each of these samples that has any."""
    newest = sa.func.max(events.c.revision).label("newest")
    query = sa.select(events.c.sample_id, newest).group_by(events.c.sample_id)
    accepted = query.where(among(events, run), events.c.revision.is_not(None))
    parts = _in_chunks(accepted, events.c.sample_id, samples)
    return {row.sample_id: row.newest for part in parts for row in connection.execute(part)}


def accepted_since(connection: Connection, run: str, seen: Mapping[str, int]) -> dict[str, set[str]]:
    """Return the event ids of the accepted events on each sample after the revision that was seen."""
    query = sa.select(events.c.sample_id, events.c.revision, events.c.event_id)
    later = query.where(among(events, run), events.c.revision > min(seen.values(), default=0))
    since: dict[str, set[str]] = {sample: set() for sample in seen}
    for part in _in_chunks(later, events.c.sample_id, list(seen)):
        for row in connection.execute(part):
            since[row.sample_id] |= {row.event_id} if row.revision > seen[row.sample_id] else set()
    return since


def standing_decisions(
    connection: Connection, run: str, samples: Sequence[str]
) -> dict[str, tuple[str, str, str | None]]:
    """Return reviewer, action and new label of the standing decision of each of these samples that has one."""
    found: dict[str, tuple[str, str, str | None]] = {}
    for start in range(0, len(samples), CHUNK):
        names = {f"sample{place}": sample for place, sample in enumerate(samples[start : start + CHUNK])}
        listed = ", ".join(f"(CAST(:{name} AS TEXT))" for name in names)
        for row in _standing(connection, f"VALUES {listed}", run=run, **names):
            if row.id is not None:
                found[row.sample] = (row.reviewer, row.action, row.label_after)
    return found


def undo_target(connection: Connection, run: str, reviewer: str, target: str | None) -> str | None:
    """Return the event to undo: the requested one, or the reviewer's newest that no undo has named yet."""
    in_run = among(deliveries, run)
    if target is None:
        later = deliveries.alias("later")
        named = sa.exists().where(among(later, run), later.c.target == deliveries.c.event_id)
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
    query = sa.select(events).where(among(events, run), events.c.event_id == target)
    rows = [row._asdict() for row in connection.execute(query.order_by(events.c.ordinal))]
    undone = _undone(connection, [row["id"] for row in rows])
    found = _standing(connection, OF_EVENT, run=run, event_id=target)
    standing = {row.sample: (row.newest, row.id) for row in found}
    return [_undo(row, *standing[row["sample_id"]]) for row in rows if row["id"] not in undone]


def _undo(row: dict[str, Any], revision: int, top: int | None) -> dict[str, Any]:
    undo = {"sample_id": row["sample_id"], "label_before": row["label_before"], "undoes": row["id"]}
    undo |= {"expected_revision": revision, "revision": None}
    if row["status"] == "conflict":
        return undo | {"status": "withdrawal"}
    if top != row["id"]:
        return undo | {"status": "conflict"}
    return undo | {"status": "accepted", "revision": revision + 1}


def _undone(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return the ids of these events that were undone. A failed attempt to undo does not count."""
    query = sa.select(events.c.undoes).where(events.c.status != "conflict")
    parts = _in_chunks(query, events.c.undoes, ids)
    return {number for part in parts for number in connection.execute(part).scalars()}


def _news(connection: Connection, run: str, standing: Standing) -> list[tuple[int, str]]:
    """Return id and event id of the newest event that is known and of those after it."""
    if standing.newest is None:
        return []
    query = sa.select(events.c.id, events.c.event_id).where(
        events.c.run == run, events.c.id >= standing.newest[0]
    )
    later = query.order_by(events.c.run, events.c.id).limit(NEW + 1)
    return [(row.id, row.event_id) for row in connection.execute(later)]


def _read(connection: Connection, run: str) -> Standing:
    """Read what stands from the log."""
    query = sa.select(events.c.id, events.c.event_id).where(events.c.run == run)
    last = connection.execute(query.order_by(events.c.run.desc(), events.c.id.desc()).limit(1)).first()
    standing = Standing((last.id, last.event_id) if last else None)
    _set(standing, _standing(connection, EVERY, run=run))
    _count_on(connection, run, standing)
    return standing


def _set(standing: Standing, found: list[Any]) -> None:
    """Set revision, current decision and open votes of each of these samples."""
    standing.shown = None
    for row in found:
        standing.tops.pop(row.sample, None)
        standing.late.pop(row.sample, None)
        if row.newest:
            standing.revisions[row.sample] = row.newest
        if row.id is not None:
            standing.tops[row.sample] = Event(*row[3:])
    for row in found:
        if row.late is not None:
            standing.late.setdefault(row.sample, []).append(row.late)


def _standing(connection: Connection, samples: str, **values: Any) -> list[Any]:
    """Return sample, newest revision, id of an open vote, and the current decision; a row for each such vote.

    Args:
        samples: The query that names the samples, with `values`.
    """
    return list(
        connection.execute(
            sa.text(
                STANDING.format(samples=samples, shown=", ".join(f"counts.{name}" for name in Event._fields))
            ),
            values,
        )
    )


def _in_chunks(query: Any, column: Any, values: Sequence[Any]) -> list[Any]:
    starts = range(0, len(values), CHUNK)
    return [query.where(column.in_(values[start : start + CHUNK])) for start in starts]
