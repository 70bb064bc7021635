"""Database schema of the decision log, guarded against loss and change.

Two tables that only grow (triggers refuse UPDATE and DELETE):

    deliveries   one row per client event id and run: a redelivered event is recognised and not applied twice
    events       one row per sample of an event; UNIQUE (run, sample_id, revision) is the compare-and-set

`status` of an event: "accepted" (it has a revision), "conflict" (it came too late), or "withdrawal"
(its reviewer took a conflicting vote back). SQLite by default, PostgreSQL by URL; the SQL is common to both.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import Connection, Engine

from influence_core.decisions import transactions
from influence_core.decisions.faults import in_words
from influence_core.decisions.transactions import alone, file_of, refuse_full_disk
from influence_core.errors import DecisionError

CREATING = 0x1F0E7CE  # id of an advisory lock: one process creates the tables, the others wait

_tables = sa.MetaData()

deliveries = sa.Table(
    "deliveries",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run", sa.String, nullable=False),
    sa.Column("event_id", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("reviewer", sa.String, nullable=False),
    sa.Column("target", sa.String),  # the event_id an undo takes back
    sa.Column("content", sa.String, nullable=False),  # checksum: the same id must mean the same decision
    sa.UniqueConstraint("run", "event_id"),
    sa.Index("deliveries_by_reviewer", "run", "reviewer", "id"),
    sa.Index("deliveries_by_target", "run", "target"),
)

events = sa.Table(
    "events",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run", sa.String, nullable=False),
    sa.Column("event_id", sa.String, nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),  # the sample's place in its event
    sa.Column("sample_id", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("label_before", sa.String),
    sa.Column("label_after", sa.String),
    sa.Column("suggested_label", sa.String),
    sa.Column("suspicion", sa.Float),
    sa.Column("rank", sa.Integer),
    sa.Column("reviewer", sa.String, nullable=False),
    sa.Column("time", sa.String, nullable=False),  # UTC, ISO 8601 with microseconds
    sa.Column("seconds", sa.Float),
    sa.Column("expected_revision", sa.Integer, nullable=False),
    sa.Column("revision", sa.Integer),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("undoes", sa.Integer, sa.ForeignKey("events.id")),
    sa.UniqueConstraint("run", "sample_id", "revision"),
    sa.UniqueConstraint("run", "event_id", "sample_id"),
    sa.CheckConstraint("action IN ('keep', 'relabel', 'remove', 'undo')"),
    sa.CheckConstraint("status IN ('accepted', 'conflict', 'withdrawal')"),
    sa.CheckConstraint("(status = 'accepted') = (revision IS NOT NULL)"),
    sa.CheckConstraint("(action = 'relabel') = (label_after IS NOT NULL)"),
    sa.CheckConstraint("(action = 'undo') = (undoes IS NOT NULL)"),
    sa.Index("events_by_undone", "undoes"),
    sa.Index("events_by_run", "run", "id"),  # what is new since a reader last looked, and history in parts
)


def open_engine(url_or_path: str | Path) -> Engine:
    """Connect to the database and create what is missing of its tables and indexes.

    Raises:
        DecisionError: If the database cannot be reached or written; the text never contains its address.
    """
    url = _url(url_or_path)
    name = Path(url.database or "").name if url.drivername.startswith("sqlite") else "on the database server"
    with in_words(f"The decision log {name} cannot be opened"):
        engine = _prepared_postgresql(url) if _is_postgresql(url) else _prepared_sqlite(url)
        with _creating(engine) as connection:
            _tables.create_all(connection)
            for index in events.indexes:  # a log of an older version has the table, but not every index
                index.create(connection, checkfirst=True)
    return engine


def _url(url_or_path: str | Path) -> sa.URL:
    if not isinstance(url_or_path, str) or "://" not in url_or_path:
        return sa.URL.create("sqlite", database=str(Path(url_or_path).resolve()))
    try:
        url = sa.make_url(url_or_path)
    except (exc.ArgumentError, ValueError):  # a port that is no number
        raise DecisionError(
            "The address of the decision log cannot be understood. "
            "Expected sqlite:///path or postgresql+psycopg://user:password@host/name."
        ) from None
    if url.get_backend_name() == "sqlite" and (not url.database or ":memory:" in url.database):
        raise DecisionError("A decision log in memory would be lost. Expected sqlite:///path, with a file.")
    if url.get_backend_name() not in {"sqlite", "postgresql", "postgres"}:
        raise DecisionError(
            f"Decisions cannot be kept in {url.get_backend_name()!r}. "
            f"Expected sqlite:///path or postgresql+psycopg://user:password@host/name."
        )
    return url


def _is_postgresql(url: sa.URL) -> bool:
    return url.get_backend_name() != "sqlite"


def _prepared_postgresql(url: sa.URL) -> Engine:
    """Look at a connection before use: the server may have been restarted since."""
    if url.drivername in {"postgres", "postgresql"}:  # as services write it; SQLAlchemy means psycopg2 by it
        url = url.set(drivername="postgresql+psycopg")
    patience = (
        {} if "connect_timeout" in url.query or "psycopg" not in url.drivername else {"connect_timeout": 10}
    )
    engine = sa.create_engine(url, pool_pre_ping=True, connect_args=patience)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        """Do without compiled queries: to compile the read of what stands took 1 s, to run it 0.1 s."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('jit', 'off', false)")
        connection.commit()

    return engine


def _prepared_sqlite(url: sa.URL) -> Engine:
    engine = sa.create_engine(url)
    file = file_of(engine)
    file.parent.mkdir(parents=True, exist_ok=True)
    refuse_full_disk(file)
    _configure_sqlite(engine)
    return engine


@contextmanager
def _creating(engine: Engine) -> Iterator[Connection]:
    """Open a transaction in which one process creates the tables while the others wait."""
    if engine.dialect.name == "sqlite":
        with alone(engine) as connection:
            yield connection
        return
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({CREATING})")
        yield connection


def _configure_sqlite(engine: Engine) -> None:
    """Configure SQLite for durability and many users: write-ahead log, flushed at each commit, one writer at a time.

    The sqlite3 module must not begin transactions by itself. A transaction that begins by reading and then writes can
    fail at once while another one writes; one that begins IMMEDIATE waits its turn.
    """

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(transactions.BUSY * 1000)}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    _use_write_ahead_log(engine)


def _use_write_ahead_log(engine: Engine) -> None:
    """Switch the file to the write-ahead log. SQLite does not wait for other connections here, so this loop does."""
    deadline = time.monotonic() + transactions.BUSY
    while True:
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise exc.OperationalError("PRAGMA journal_mode", None, error) from error
            time.sleep(0.02)
        finally:
            connection.close()


def _append_only(table: sa.Table) -> None:
    """Add triggers by which the database refuses to change or delete a row."""
    for verb in ("UPDATE", "DELETE"):
        name = f"{table.name}_refuse_{verb.lower()}"
        sqlite = sa.DDL(
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table.name} "
            f"BEGIN SELECT RAISE(ABORT, 'the decision log is append-only'); END"
        )
        event.listen(table, "after_create", sqlite.execute_if(dialect="sqlite"))
        postgresql = sa.DDL(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'the decision log is append-only'; END $$; "
            f"CREATE TRIGGER {name} BEFORE {verb} ON {table.name} FOR EACH ROW EXECUTE FUNCTION {name}()"
        )
        event.listen(table, "after_create", postgresql.execute_if(dialect="postgresql"))


_append_only(deliveries)
_append_only(events)
