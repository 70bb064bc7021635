"""Append-only log of decisions, with conflicts and undo.

A decision names the revision of its sample (the number of accepted events on that sample so far) and the reviewer's own
later events, which may still be on their way. If another reviewer was faster, the vote is kept as a conflict for
reviewers to settle; nothing is overwritten. Undo is an event too. The current state is a replay of the events
(replay.py) and never stored beside them, so that the two cannot differ.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine

from influence_core.decisions import queries
from influence_core.decisions.replay import Replay
from influence_core.decisions.schema import deliveries, events, open_engine
from influence_core.decisions.votes import (
    ACTIONS,
    Action,
    Vote,
    checked_names,
    checked_seconds,
    distinct,
    row_of,
)
from influence_core.errors import DecisionError
from influence_core.system.times import utc_now

__all__ = ["ACTIONS", "Action", "DecisionLog", "Outcome", "Vote", "decision_log_for", "open_log"]

FILE = "decisions.sqlite"
KEPT = 8  # replays in memory
ATTEMPTS = 20  # of a writer that loses races to others on PostgreSQL


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
        self._file = Path(engine.url.database) if engine.dialect.name == "sqlite" else None  # type: ignore[arg-type]
        self._replays: dict[str, Replay] = {}  # a cache: each is checked against the events
        self._replaying = threading.Lock()
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
            written = queries.written(connection, run, [vote.sample_id for vote in votes])
            judged = [_with_status(row, vote, written) for row, vote in zip(rows, votes, strict=True)]
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
        with self._replayed(run) as replay:
            return replay.current()

    def revisions(self, run: str) -> dict[str, int]:
        """Return the revision of every sample that was ever decided, also if undone since; others have 0."""
        with self._replayed(run) as replay:
            return dict(replay.revisions)

    def events(self, run: str) -> pd.DataFrame:
        """Return all events of a run, in order."""
        with self._reading() as connection:
            return queries.history(connection, run)

    def conflicts(self, run: str) -> pd.DataFrame:
        """Return the open conflicts: late votes that no later decision on the sample has settled.

        Columns: sample_id; action, label_after, reviewer, time, event_id of the current decision (empty if it was
        undone); the same with `other_` of the late vote; label_before, revision.
        """
        with self._replayed(run) as replay:
            return replay.conflicts()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _replayed(self, run: str) -> Iterator[Replay]:
        """Yield the replay of a run, continued with all events written since."""
        with self._replaying, self._reading() as connection:
            replay = queries.brought_up_to_date(connection, run, self._replays.pop(run, None) or Replay())
            while len(self._replays) >= KEPT:
                self._replays.pop(next(iter(self._replays)))
            self._replays[run] = replay
            yield replay

    def _reading(self) -> Connection:
        self._refuse_if_gone()
        return self._engine.connect()

    def _write(self, work: Callable[[Connection], Outcome]) -> Outcome:
        """Do the work in one transaction, and again after losing a race to another writer."""
        self._refuse_if_gone()
        problem: exc.DBAPIError | None = None
        for _ in range(ATTEMPTS):
            try:
                with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
                    return work(connection)
            except exc.DBAPIError as error:
                problem = error
                if not _lost_a_race(error):
                    break
        raise DecisionError(
            f"The decision was not written: the database answered {problem.orig if problem else None}. "
            f"Check its disk and rights, then decide again."
        ) from problem

    def _refuse_if_gone(self) -> None:
        """Raise DecisionError if the SQLite file was deleted or replaced: it would accept writes and lose them."""
        if self._file is None:
            return
        inode = self._file.stat().st_ino if self._file.exists() else None
        if inode != self._inode:
            raise DecisionError(
                f"The decision log {self._file} was {'replaced' if inode else 'deleted'} while in use. "
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


def _with_status(row: dict[str, Any], vote: Vote, written: dict[str, list[str]]) -> dict[str, Any]:
    """Compare and set: accept a vote only on the state the reviewer saw, a revision and own later events."""
    accepted = written.get(vote.sample_id, [])
    if vote.revision <= len(accepted) and set(accepted[vote.revision :]) <= set(vote.own_events):
        return row | {"status": "accepted", "revision": len(accepted) + 1}
    return row | {"status": "conflict", "revision": None}


def _repeated(connection: Connection, run: str, event_id: str, content: str) -> Outcome | None:
    """Return the outcome of an earlier delivery of this event; None without one."""
    query = sa.select(deliveries.c.content).where(deliveries.c.run == run, deliveries.c.event_id == event_id)
    if (earlier := connection.execute(query).scalar()) is None:
        return None
    if earlier != content:
        raise DecisionError(
            f"The event id {event_id!r} was used before for another decision of this run. "
            f"Reload the page and decide again."
        )
    rows = (
        sa.select(events.c.sample_id, events.c.status)
        .where(events.c.run == run, events.c.event_id == event_id)
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
