"""Transactions of the decision log: a reader sees one moment, writers to a SQLite file wait in line.

On PostgreSQL writers work beside each other: in one line, 20 of them waited twice as long, because each commit then
flushes a single decision. Two that want the same revision of a sample collide, and the later one tries again.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import Connection, Engine

from influence_core.errors import DecisionError
from influence_core.system.turns import turn

BUSY = 30  # seconds a writer waits for others
FREE = 2**20
"""Bytes on the disk. SQLite maps its index of the log; a page of it that finds no room ends the process."""


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction whose queries all see the same moment."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":  # in SQLite every transaction does
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that writes, committed at the end."""
    with alone(engine) if engine.dialect.name == "sqlite" else engine.begin() as connection:
        yield connection


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """Open a transaction of the only writer of a SQLite file. The line is a file beside it, as long as the log."""
    file = file_of(engine)
    refuse_full_disk(file)
    with (
        engine.connect().execution_options(writes=True) as connection,
        turn(file.with_name(f"{file.name}-line"), BUSY),
        connection.begin(),
    ):
        yield connection


def file_of(engine: Engine) -> Path:
    """Return the file of a SQLite database, without the parts of an address such as file:...?mode=ro."""
    return Path((engine.url.database or "").removeprefix("file:"))


def refuse_full_disk(file: Path) -> None:
    """Raise DecisionError if too little room is left to write the log safely."""
    total, _, free = shutil.disk_usage(file.parent)
    if total and free < FREE:  # a disk in memory without a limit tells 0 of 0
        raise DecisionError(
            f"The disk of the decision log {file.name} is full: {free / 1000:,.0f} kB are free, at least "
            f"{FREE / 1000:,.0f} kB are needed. Nothing was written. Make room on it, then decide again."
        )
