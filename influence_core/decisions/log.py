"""Append-only log of decisions, with conflicts and undo.

A decision names the revision of its sample (the number of accepted events on that sample so far) and the reviewer's own
later events, which may still be on their way. If another reviewer was faster, the vote is kept as a conflict for
reviewers to settle; nothing is overwritten. Who repeats his own decision agrees with himself. Undo is an event too. The
current state is read from the events (queries.py) and never stored beside them, so that the two cannot differ.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine

from influence_core.decisions import queries
from influence_core.decisions.faults import in_words
from influence_core.decisions.schema import deliveries, events, open_engine
from influence_core.decisions.standing import Standing
from influence_core.decisions.transactions import file_of, reading, writing
from influence_core.decisions.votes import (
    ACTIONS,
    Action,
    Vote,
    checked_id,
    checked_names,
    checked_seconds,
    distinct,
    row_of,
)
from influence_core.errors import DecisionError
from influence_core.system.times import utc_now

__all__ = ["ACTIONS", "Action", "DecisionLog", "Outcome", "Vote", "decision_log_for", "open_log"]

FILE = "decisions.sqlite"
KEPT = 8  # runs in memory
PART = 20_000  # events read at a time
ATTEMPTS = 20  # of a writer that loses races to others on PostgreSQL

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Outcome:
    """The result of an event: every sample of it is either written or in conflict.

    `repeated` means that this event id was delivered before; the outcome is that of the first delivery.
    """

    written: tuple[str, ...]
    conflicts: tuple[str, ...]
    repeated: bool = False


@final
class DecisionLog:
    """The decision log of one database; safe to share between threads, sessions and processes."""

    def __init__(self, engine: Engine) -> None:
        """Use open_log()."""
        self._engine = engine
        self._file = file_of(engine) if engine.dialect.name == "sqlite" else None
        self._known: dict[
            str, Standing
        ] = {}  # by run, a cache: continued with the events since, or thrown away
        self._reading = threading.Lock()
        self._inode = self._file.stat().st_ino if self._file else None

    def record(
        self,
        *,
        event_id: str,
        run: str,
        action: Action | str,
        votes: Sequence[Vote],
        reviewer: str,
        seconds: float | None = None,
    ) -> Outcome:
        """Write one decision on one or more samples, in one transaction.

        Args:
            event_id: Unique per decision, chosen by the client; delivering it again changes nothing.
            run: Run.id.
            votes: One per sample.
            seconds: Time the reviewer spent, if known.

        Raises:
            DecisionError: If it cannot be written as requested; then nothing was written.
        """
        if action not in ACTIONS:
            raise DecisionError(f"Unknown action {action!r}; expected one of {', '.join(ACTIONS)}.")
        event_id, run, reviewer = checked_names(event_id, run, reviewer)
        rows = [row_of(vote, action) for vote in distinct(votes)]
        content = _checksum([action, rows])
        event = {"run": run, "event_id": event_id, "reviewer": reviewer}
        seconds = checked_seconds(seconds)

        def write(connection: Connection) -> Outcome:
            if (earlier := _repeated(connection, run, event_id, content)) is not None:
                return earlier
            delivery = event | {"action": action, "target": None, "content": content}
            connection.execute(sa.insert(deliveries), delivery)
            judged = _judged(connection, run, rows, votes, reviewer)
            return _append(connection, event | {"seconds": seconds}, judged)

        return self._write(write)

    def undo(self, *, event_id: str, run: str, reviewer: str, target: str | None = None) -> Outcome:
        """Undo an event on all samples without a later decision; samples decided since become conflicts.

        Args:
            event_id: The id of this undo itself.
            run: Run.id.
            target: The event id to undo; default the reviewer's newest event not yet undone.

        Returns:
            The samples restored to their state before the event (written), and those decided since
            (conflicts). Both are empty when there is nothing left to undo.
        """
        event_id, run, reviewer = checked_names(event_id, run, reviewer)
        target = None if target is None else checked_id(target)
        content = _checksum(["undo", target])
        event = {"run": run, "event_id": event_id, "reviewer": reviewer, "action": "undo"}

        def write(connection: Connection) -> Outcome:
            if (earlier := _repeated(connection, run, event_id, content)) is not None:
                return earlier
            undone = queries.undo_target(connection, run, reviewer, target)
            connection.execute(sa.insert(deliveries), event | {"target": undone, "content": content})
            if undone is None:
                return Outcome((), ())
            return _append(connection, event, queries.undoing(connection, run, undone))

        return self._write(write)

    def current(self, run: str) -> pd.DataFrame:
        """Return the current decision of each decided sample, index sample_id.

        Columns: action, label_before, label_after, reviewer, time (UTC), revision (for the next vote), conflict
        (whether an open one exists), event_id (for undo).
        """
        return self._standing(run, lambda _connection, standing: standing.current())

    def revisions(self, run: str) -> dict[str, int]:
        """Return the revision of every sample that was ever decided, also if undone since; others have 0."""
        return self._standing(run, lambda _connection, standing: dict(standing.revisions))

    def conflicts(self, run: str) -> pd.DataFrame:
        """Return the open conflicts: late votes that no later decision on the sample has settled.

        Columns: sample_id; action, label_after, reviewer, time, event_id of the current decision (empty if it was
        undone); the same with `other_` of the late vote; label_before, revision.
        """

        def beside(connection: Connection, standing: Standing) -> pd.DataFrame:
            return standing.conflicts(queries.votes(connection, standing.open_votes()))

        return self._standing(run, beside)

    def events(self, run: str, *, first: int | None = None) -> pd.DataFrame:
        """Return all events of a run in one table, in order, or the first ones only. A long log is better read in
        parts."""
        if first is not None:
            return self._read(lambda connection: queries.history(connection, run, after=0, most=first))
        return pd.concat(self.parts(run), ignore_index=True)

    def parts(self, run: str) -> Iterator[pd.DataFrame]:
        """Yield all events of a run, in order, in tables of at most 20,000: a million of them never lie in memory."""
        after = 0
        while True:
            part = self._read(
                lambda connection, after=after: queries.history(connection, run, after=after, most=PART)
            )
            if after == 0 or len(part):
                yield part
            if len(part) < PART:
                return
            after = int(part["id"].iloc[-1])

    def count(self, run: str) -> int:
        """Return the number of events of a run."""
        return self._read(lambda connection: queries.count(connection, run))

    def tally(self, run: str) -> pd.DataFrame:
        """Return how many events each reviewer wrote of each action: columns reviewer, action, events."""
        return self._read(lambda connection: queries.tally(connection, run))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _standing(self, run: str, take: Callable[[Connection, Standing], Answer]) -> Answer:
        """Take something from what stands, continued with all events written since."""

        def work(connection: Connection) -> Answer:
            known = self._known.pop(run, None) or Standing()
            standing = queries.brought_up_to_date(connection, run, known)
            while len(self._known) >= KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[run] = standing
            return take(connection, standing)

        with self._reading:
            return self._read(work)

    def _read(self, work: Callable[[Connection], Answer]) -> Answer:
        with in_words("The decisions cannot be read"):
            return self._persistently(lambda: reading(self._engine), work)

    def _write(self, work: Callable[[Connection], Outcome]) -> Outcome:
        with in_words("The decision was not written"):
            return self._persistently(lambda: writing(self._engine), work)

    def _persistently(
        self,
        transaction: Callable[[], AbstractContextManager[Connection]],
        work: Callable[[Connection], Answer],
    ) -> Answer:
        """Do the work in a transaction; again after losing a race, and once more if the connection broke.

        A write that had arrived before its connection broke is recognised by its event id.
        """
        self._refuse_if_gone()
        broke = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with transaction() as connection:
                    return work(connection)
            except exc.DBAPIError as error:
                again = _lost_a_race(error) or (error.connection_invalidated and not broke)
                if not again or attempt == ATTEMPTS:
                    raise
                broke = broke or error.connection_invalidated
        raise AssertionError("the last attempt returns or raises")

    def _refuse_if_gone(self) -> None:
        """Raise DecisionError if the SQLite file was deleted or replaced: it would accept writes and lose them."""
        if self._file is None:
            return
        inode = self._file.stat().st_ino if self._file.exists() else None
        if inode != self._inode:
            raise DecisionError(
                f"The decision log {self._file.name} was {'replaced' if inode else 'deleted'} while in use. "
                f"Put the file back and restart the app; nothing was written to the new one."
            )


def open_log(url_or_path: str | Path) -> DecisionLog:
    """Open the decision log at a file path or a SQLAlchemy URL; a missing one is created."""
    return DecisionLog(open_engine(url_or_path))


def decision_log_for(root: Path | str) -> DecisionLog:
    """Open the log of a folder of runs: INFLUENCE_DECISIONS if set, else its file decisions.sqlite."""
    return open_log(os.environ.get("INFLUENCE_DECISIONS") or Path(root) / FILE)


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _judged(
    connection: Connection, run: str, rows: list[dict[str, Any]], votes: Sequence[Vote], reviewer: str
) -> list[dict[str, Any]]:
    """Compare and set: accept a vote only on the state the reviewer saw, a revision and own later events.

    A vote that saw less but repeats its reviewer's standing decision is accepted too.
    """
    now = queries.revisions(connection, run, [vote.sample_id for vote in votes])
    behind = {vote.sample_id: vote.revision for vote in votes if vote.revision < now.get(vote.sample_id, 0)}
    since = queries.accepted_since(connection, run, behind)
    late = {vote.sample_id for vote in votes if not _saw_all(vote, now, since)}
    standing = queries.standing_decisions(connection, run, sorted(late))

    def counts(row: dict[str, Any]) -> bool:
        said = (reviewer, row["action"], row["label_after"])
        return row["sample_id"] not in late or standing.get(row["sample_id"]) == said

    return [
        row | {"status": "accepted", "revision": now.get(row["sample_id"], 0) + 1}
        if counts(row)
        else row | {"status": "conflict", "revision": None}
        for row in rows
    ]


def _saw_all(vote: Vote, now: dict[str, int], since: dict[str, set[str]]) -> bool:
    seen_own = since.get(vote.sample_id, set()) <= set(vote.own_events)
    return vote.revision <= now.get(vote.sample_id, 0) and seen_own


def _repeated(connection: Connection, run: str, event_id: str, content: str) -> Outcome | None:
    """Return the outcome of an earlier delivery of this event; None without one."""
    query = sa.select(deliveries.c.content).where(
        queries.among(deliveries, run), deliveries.c.event_id == event_id
    )
    if (earlier := connection.execute(query).scalar()) is None:
        return None
    if earlier != content:
        raise DecisionError(
            f"The event id {event_id!r} was used before for another decision of this run. "
            f"Reload the page and decide again."
        )
    rows = (
        sa.select(events.c.sample_id, events.c.status)
        .where(queries.among(events, run), events.c.event_id == event_id)
        .order_by(events.c.ordinal)
    )
    return _outcome([row._asdict() for row in connection.execute(rows)], repeated=True)


def _append(connection: Connection, event: dict[str, Any], rows: list[dict[str, Any]]) -> Outcome:
    """Insert the rows of an event, in order of sample, so that two writers cannot deadlock."""
    event = event | {"time": utc_now()}
    numbered = [event | row | {"ordinal": ordinal} for ordinal, row in enumerate(rows)]
    if numbered:
        connection.execute(sa.insert(events), sorted(numbered, key=lambda row: row["sample_id"]))
    return _outcome(numbered)


def _outcome(rows: list[dict[str, Any]], *, repeated: bool = False) -> Outcome:
    written = tuple(row["sample_id"] for row in rows if row["status"] != "conflict")
    conflicts = tuple(row["sample_id"] for row in rows if row["status"] == "conflict")
    return Outcome(written, conflicts, repeated)


def _lost_a_race(error: exc.DBAPIError) -> bool:
    """Whether another writer took the revision or the event id first, or PostgreSQL broke a tie."""
    broken_tie = getattr(error.orig, "sqlstate", None) in {"40001", "40P01"}
    return broken_tie or isinstance(error, exc.IntegrityError)
